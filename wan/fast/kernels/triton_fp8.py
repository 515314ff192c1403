"""Triton half of wan.fast.kernels.fp8: one program a row, held in registers while its largest value is found."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from wan.fast.kernels import launch
from wan.fast.kernels.arguments import LARGEST_E4M3, LEAST_PEAK


@triton.jit
def _quantise(x, out, scales, C: tl.constexpr, GELU: tl.constexpr, TOP: tl.constexpr, BOTTOM: tl.constexpr,
              BLOCK: tl.constexpr):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < C
    value = tl.load(x + row * C + column, mask=inside, other=0.0).to(tl.float32)
    if GELU:
        inner = 0.7978845608028654 * (value + 0.044715 * value * value * value)
        value = value - value / (tl.exp(2 * inner) + 1)
    scale = tl.maximum(tl.max(tl.abs(value), 0), BOTTOM) / TOP
    tl.store(scales + row, scale)
    tl.store(out + row * C + column, (value / scale).to(out.dtype.element_ty), mask=inside)


def quantised(x: Tensor, gelu: bool, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    width = x.shape[-1]
    assert x.is_contiguous()
    out = torch.empty(x.numel() // width, width, dtype=dtype, device=x.device)
    scales = torch.empty(len(out), 1, dtype=torch.float32, device=x.device)
    block = triton.next_power_of_2(width)
    launch(
        _quantise, (len(out),),
        x, out, scales, C=width, GELU=gelu, TOP=LARGEST_E4M3, BOTTOM=LEAST_PEAK, BLOCK=block,
        num_warps=4 if block <= 2048 else 8 if block <= 8192 else 16,
    )  # fmt: skip
    return out, scales
