"""The vision tower, up to and without its last layer."""

import torch

from tests.golden.golden_file import GoldenFile, assert_close
from wan.config import CLIPConfig, from_dict
from wan.modules.clip import CLIPVision


def check(golden: GoldenFile) -> None:
    model = CLIPVision(from_dict(CLIPConfig, golden.config)).eval()
    weights = golden.weights("weights/visual.")
    model.load_state_dict({k: v for k, v in weights.items() if not k.startswith(model.unused_keys())})
    with torch.no_grad():
        tokens = model.encode(golden["in/image"])
    # the same float32 formulas; only the order of sums inside attention and norms differs
    assert_close("visual_context", tokens, golden["out/visual_context"], 1e-5)
