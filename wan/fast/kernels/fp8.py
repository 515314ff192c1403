"""Rows of a matrix as 8-bit floats, e4m3, each row with a scale of its own: what an fp8 product reads.

A row's largest magnitude becomes 448, the largest that e4m3 has. Three bits of mantissa round by up to 1/16 of a value;
over a product's sum the errors average out to a few percent. `gelu` saves a pass: the hidden state of a feed-forward is
read once, activated and quantised.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wan.fast.kernels import use_triton
from wan.fast.kernels.arguments import LARGEST_E4M3, LEAST_PEAK

E4M3 = torch.float8_e4m3fn


def quantised(x: Tensor, gelu: bool = False) -> tuple[Tensor, Tensor]:
    """x (..., C) -> rows (R, C) in e4m3 and their scales (R, 1) float32; with `gelu`, of its tanh-GELU."""
    if use_triton(x):
        from wan.fast.kernels.triton_fp8 import quantised as fused

        return fused(x, gelu, E4M3)
    wide = x.flatten(0, -2).float()
    if gelu:
        wide = F.gelu(wide, approximate="tanh")
    scale = wide.abs().amax(-1, keepdim=True).clamp(min=LEAST_PEAK) / LARGEST_E4M3
    return (wide / scale).to(E4M3), scale
