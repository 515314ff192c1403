"""taew2_1's architecture against its authors' code, with weights from a formula, so that the file stays small.

`in/z` and `out/video` are their decoder (before its clamp), `in/video` and `out/latents` their encode_video; images
there are in [0, 1].
"""

import math

import torch

from tests.golden.golden_file import GoldenFile, assert_close
from wan.modules.tiny_vae import TinyVAE

# float32 rounding of some 30 convolutions
TOLERANCE = 1e-5


def formula_weights(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Numbers that look random and are the same everywhere, at the scale that keeps activations alive."""
    weights = {}
    for i, (name, like) in enumerate(sorted(state_dict.items())):
        angle = torch.arange(like.numel(), dtype=torch.float64) * 12.9898 + i
        uniform = (angle.sin() * 43758.5453) % 1 * 2 - 1
        bound = math.sqrt(6 / like[0].numel()) if name.endswith("weight") else 0.1
        weights[name] = (uniform * bound).float().view_as(like)
    return weights


@torch.no_grad()
def check(golden: GoldenFile) -> None:
    vae = TinyVAE()
    vae.load_state_dict(formula_weights(vae.state_dict()))
    for whole in (False, True):
        image = (vae.decode(golden["in/z"], whole) + 1) / 2
        assert_close("video", image, golden["out/video"], TOLERANCE)
    assert_close("latents", vae.encode(golden["in/video"] * 2 - 1), golden["out/latents"], TOLERANCE)
