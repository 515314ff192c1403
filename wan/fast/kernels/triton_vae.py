"""Triton half of wan.fast.kernels.vae: one program a few pixels, which it follows through all frames of the chunk.

Following them in one program is what lets the state of the stream be read and replaced in place.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from wan.fast.kernels import launch
from wan.fast.kernels.arguments import TAPS, Sum

ELEMENTS = 2048  # in flight per program


@triton.jit
def _place(h, out, past, batch, j, frames, pixels, at, row, column, inside,
           C: tl.constexpr, PAST: tl.constexpr, COPIES: tl.constexpr):  # fmt: skip
    """Frame j, counted from the oldest frame of the past, to its places in the output and, if recent, in the past."""
    if COPIES == 1:
        tl.store(out + (batch * frames + j) * pixels * C + at, h, mask=inside)
    else:
        for tap in tl.static_range(COPIES):
            t = j - tap
            if t >= 0:
                if t < frames:
                    target = out + ((batch * frames + t) * pixels + row[:, None]) * COPIES * C + tap * C
                    tl.store(target + column[None, :], h, mask=inside)
    if PAST > 0:
        if j >= frames:
            tl.store(past + (batch * PAST + j - frames) * pixels * C + at, h, mask=inside)


@triton.jit
def _lay(x, y, bias, gamma, past, total, out, pixels, frames, scale,
         C: tl.constexpr, PAST: tl.constexpr, COPIES: tl.constexpr, ADD: tl.constexpr, BIASED: tl.constexpr,
         NORM: tl.constexpr, KEEP: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    batch = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = (row[:, None] < pixels) & (column[None, :] < C)
    at = row[:, None] * C + column[None, :]
    if BIASED:
        b = tl.load(bias + column, mask=column < C, other=0.0).to(tl.float32)
    if NORM:
        g = tl.load(gamma + column, mask=column < C, other=0.0).to(tl.float32) * scale
    if PAST > 0:  # both are read before either is replaced
        oldest = tl.load(past + batch * PAST * pixels * C + at, mask=inside, other=0.0)
        old = tl.load(past + (batch * PAST + 1) * pixels * C + at, mask=inside, other=0.0)
        tl.debug_barrier()
        _place(oldest, out, past, batch, 0, frames, pixels, at, row, column, inside, C, PAST, COPIES)
        _place(old, out, past, batch, 1, frames, pixels, at, row, column, inside, C, PAST, COPIES)
    for t in range(frames):
        here = (batch * frames + t) * pixels * C + at
        value = tl.load(x + here, mask=inside, other=0.0).to(tl.float32)
        if ADD:
            value += tl.load(y + here, mask=inside, other=0.0).to(tl.float32)
        if BIASED:
            value += b[None, :]
        if KEEP:  # round as it is stored, so that the norm sees what the shortcut will read
            tl.store(total + here, value.to(total.dtype.element_ty), mask=inside)
            value = value.to(total.dtype.element_ty).to(tl.float32)
        if NORM:
            squares = tl.sum(tl.where(inside, value * value, 0.0), 1)
            value = value / tl.maximum(tl.sqrt(squares), 1e-12)[:, None] * g[None, :]
            value = value * tl.sigmoid(value)
        h = value.to(out.dtype.element_ty)
        _place(h, out, past, batch, PAST + t, frames, pixels, at, row, column, inside, C, PAST, COPIES)


def lay(terms: Sum, gamma: Tensor | None, past: Tensor | None, keep: bool) -> tuple[Tensor, Tensor]:
    """Without a past the frames are the sum alone."""
    x, y, bias = terms
    batch, frames, height, width, channels = x.shape
    before = 0 if past is None else past.shape[1]
    assert x.is_contiguous() and (y is None or y.is_contiguous()) and before in (0, TAPS - 1)
    assert past is None or (past.is_contiguous() and past.shape == (batch, before, height, width, channels))
    kept = torch.empty_like(x) if keep else x
    copies = TAPS if before else 1
    out = x.new_empty(batch, frames, height, width, copies * channels)
    block = triton.next_power_of_2(channels)
    rows = max(1, ELEMENTS // block)
    launch(
        _lay, (triton.cdiv(height * width, rows), batch),
        x, x if y is None else y, x if bias is None else bias, x if gamma is None else gamma,
        x if past is None else past, kept, out, height * width, frames, channels**0.5,
        C=channels, PAST=before, COPIES=copies, ADD=y is not None, BIASED=bias is not None,
        NORM=gamma is not None, KEEP=keep, ROWS=rows, BLOCK=block, num_warps=4,
    )  # fmt: skip
    return kept, out
