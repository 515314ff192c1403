"""Triton half of wan.fast.kernels.qkv: one program a token; q, k and v of that token are read once and written once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from wan.fast.kernels import launch
from wan.fast.kernels.arguments import Norms, Place
from wan.modules.rope import Rope


@triton.jit
def _normed(x, weight, column, inside, C: tl.constexpr, EPS: tl.constexpr):
    value = tl.load(x + column, mask=inside, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(value * value, 0) / C + EPS)
    return value * scale * tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _rotated(value, cos, sin, BLOCK: tl.constexpr):
    even, odd = tl.split(tl.reshape(value, (BLOCK // 2, 2)))
    return tl.reshape(tl.join(even * cos - odd * sin, odd * cos + even * sin), (BLOCK,))


@triton.jit
def _norm_rope_place(qkv, weight_q, weight_k, cos, sin, q_out, k_out, v_out, length, place_rows,
                     C: tl.constexpr, D: tl.constexpr, EPS: tl.constexpr, BLOCK: tl.constexpr, VALUES: tl.constexpr):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    token = row % length
    column = tl.arange(0, BLOCK)
    inside = column < C
    pair = tl.arange(0, BLOCK // 2)
    angle = token * (D // 2) + pair % (D // 2)  # every head turns by the same angles
    c = tl.load(cos + angle, mask=pair < C // 2, other=0.0)
    s = tl.load(sin + angle, mask=pair < C // 2, other=0.0)
    source = qkv + row * 3 * C
    target = (row // length) * place_rows + token * C + column
    q = _rotated(_normed(source, weight_q, column, inside, C, EPS), c, s, BLOCK)
    tl.store(q_out + row * C + column, q.to(q_out.dtype.element_ty), mask=inside)
    k = _rotated(_normed(source + C, weight_k, column, inside, C, EPS), c, s, BLOCK)
    tl.store(k_out + target, k.to(k_out.dtype.element_ty), mask=inside)
    if VALUES:
        tl.store(v_out + target, tl.load(source + 2 * C + column, mask=inside), mask=inside)


@triton.jit
def _rms_norm(x, weight, out, C: tl.constexpr, EPS: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < C
    value = _normed(x + row * C, weight, column, inside, C, EPS)
    tl.store(out + row * C + column, value.to(out.dtype.element_ty), mask=inside)


def norm_rope_place(qkv: Tensor, norms: Norms, rope: Rope, heads: int, place: Place, eps: float) -> Tensor:
    batch, length, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    q = qkv.new_empty(batch, length, heads, width // heads)
    k, v = place
    for slot in (k,) if v is None else (k, v):  # rows of C behind one another; batches may lie apart, as in a cache
        assert slot.shape == q.shape and slot.stride()[1:] == q.stride()[1:] and slot.stride(0) == k.stride(0)
    assert qkv.is_contiguous() and rope[0].is_contiguous() and rope[0].shape == (length, width // heads // 2)
    block = triton.next_power_of_2(width)
    launch(
        _norm_rope_place, (batch * length,),
        qkv, *norms, *rope, q, k, k if v is None else v, length, k.stride(0), C=width, D=width // heads, EPS=eps,
        BLOCK=block, VALUES=v is not None, num_warps=4 if block <= 2048 else 8,
    )  # fmt: skip
    return q


def rms_norm_heads(x: Tensor, weight: Tensor, heads: int, eps: float) -> Tensor:
    assert x.is_contiguous()
    out, width = torch.empty_like(x), x.shape[-1]
    block = triton.next_power_of_2(width)
    launch(
        _rms_norm, (x.shape[0] * x.shape[1],),
        x, weight, out, C=width, EPS=eps, BLOCK=block, num_warps=4 if block <= 2048 else 8,
    )  # fmt: skip
    return out.unflatten(-1, (heads, -1))
