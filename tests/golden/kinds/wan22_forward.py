"""One forward of a Wan2.2 expert, t2v or i2v."""

import torch

from tests.golden.golden_file import GoldenFile, assert_close
from wan.config import WanConfig, from_dict
from wan.modules.model import WanModel


@torch.no_grad()
def check(golden: GoldenFile) -> None:
    model = WanModel(from_dict(WanConfig, golden.config))
    model.load_state_dict(golden.weights(), strict=True)
    y = golden["in/y"][None] if "in/y" in golden else None
    flow = model(golden["in/x"][None], golden["in/t"], [golden["in/context"]], y)[0]
    # Same float32 operations in another order; rope differs most: upstream rotates in complex128, we in float32.
    assert_close("flow", flow, golden["out/flow"], 1e-5)
