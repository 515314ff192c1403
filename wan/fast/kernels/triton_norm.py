"""Triton half of wan.fast.kernels.norm: one program a token row, the row held in registers from first read to last write."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from wan.fast.kernels import launch
from wan.fast.kernels.arguments import Modulation


@triton.jit
def _add_norm(x, y, gate, shift, scale, weight, bias, x_out, h_out, length, per_frame, frames, gate_rows, shift_rows,
              C: tl.constexpr, EPS: tl.constexpr, ADD: tl.constexpr, GATED: tl.constexpr, MODULATED: tl.constexpr,
              AFFINE: tl.constexpr, NORM: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    frame = (row // length) * frames + (row % length) // per_frame  # which of the (B*F) modulation rows
    column = tl.arange(0, BLOCK)
    inside = column < C
    value = tl.load(x + row * C + column, mask=inside, other=0.0).to(tl.float32)
    if ADD:
        added = tl.load(y + row * C + column, mask=inside, other=0.0).to(tl.float32)
        if GATED:
            added *= tl.load(gate + frame * gate_rows + column, mask=inside, other=0.0).to(tl.float32)
        # round as it is stored, so that the norm sees what the next link of the chain will read
        value = (value + added).to(x_out.dtype.element_ty)
        tl.store(x_out + row * C + column, value, mask=inside)
        value = value.to(tl.float32)
    if NORM:
        mean = tl.sum(value, 0) / C
        centred = tl.where(inside, value - mean, 0.0)
        h = centred * tl.rsqrt(tl.sum(centred * centred, 0) / C + EPS)
        if AFFINE:
            w = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
            h = h * w + tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
        if MODULATED:
            s = tl.load(scale + frame * shift_rows + column, mask=inside, other=0.0).to(tl.float32)
            h = h * (1 + s) + tl.load(shift + frame * shift_rows + column, mask=inside, other=0.0).to(tl.float32)
        tl.store(h_out + row * C + column, h.to(h_out.dtype.element_ty), mask=inside)


def _link(x: Tensor, y: Tensor | None, gate: Tensor | None, modulation: Modulation | None,
          affine: tuple[Tensor, Tensor] | None, eps: float, h: Tensor | None) -> Tensor:  # fmt: skip
    batch, length, width = x.shape
    x_out = torch.empty_like(x) if y is not None else x
    shift, scale = modulation or (x, x)
    weight, bias = affine or (x, x)
    rows = shift if modulation else x if gate is None else gate
    frames = rows.shape[1] if modulation or gate is not None else 1
    for m in (gate, *(modulation or ())):  # one row a frame, any stride between rows
        assert m is None or (m.shape == (batch, frames, width) and m.stride(2) == 1)
        assert m is None or batch == 1 or m.stride(0) == frames * m.stride(1)
    assert x.is_contiguous() and (y is None or y.is_contiguous())
    block = triton.next_power_of_2(width)
    launch(
        _add_norm, (batch * length,),
        x, x if y is None else y, x if gate is None else gate, shift, scale, weight, bias, x_out, x if h is None else h,
        length, length // frames, frames, 0 if gate is None else gate.stride(1), shift.stride(1) if modulation else 0,
        C=width, EPS=eps, ADD=y is not None, GATED=gate is not None, MODULATED=modulation is not None,
        AFFINE=affine is not None, NORM=h is not None, BLOCK=block, num_warps=4 if block <= 2048 else 8,
    )  # fmt: skip
    return x_out


def add_norm(x: Tensor, y: Tensor | None, gate: Tensor | None, modulation: Modulation | None,
             affine: tuple[Tensor, Tensor] | None, eps: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:  # fmt: skip
    h = torch.empty_like(x, dtype=dtype)
    return _link(x, y, gate, modulation, affine, eps, h), h


def gated_add(x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
    return _link(x, y, gate, None, None, 0.0, None)
