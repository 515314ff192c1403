"""The text encoder, at the positions that hold text."""

import torch

from tests.golden.golden_file import GoldenFile, assert_close
from wan.config import T5Config, from_dict
from wan.modules.t5 import T5Encoder


def check(golden: GoldenFile) -> None:
    model = T5Encoder(from_dict(T5Config, golden.config)).eval()
    model.load_state_dict(golden.weights())
    with torch.no_grad():
        hidden = model(golden["in/ids"], golden["in/mask"])
    text = golden["in/mask"].bool()
    # the same float32 formulas; only the order of sums inside matrix products differs
    assert_close("hidden", hidden[text], golden["out/hidden"][text], 1e-5)
