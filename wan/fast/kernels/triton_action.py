"""Triton half of wan.fast.kernels.action: scores of a few frames live in registers, softmax and sum follow at once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from wan.fast.kernels import launch
from wan.fast.kernels.arguments import UNIT_EPS, KeysValues
from wan.modules.rope import Rope


@triton.jit
def _unit_rotated(x, cos, sin, ROWS: tl.constexpr, D: tl.constexpr, EPSILON: tl.constexpr):
    """Rows (ROWS, D) -> RMS-normed and turned by (ROWS, D/2) angles."""
    x = x * tl.rsqrt(tl.sum(x * x, 1) / D + EPSILON)[:, None]
    even, odd = tl.split(tl.reshape(x, (ROWS, D // 2, 2)))
    return tl.reshape(tl.join(even * cos - odd * sin, odd * cos + even * sin), (ROWS, D))


@triton.jit
def _attend_one(q, k, v, top, total, y):
    """One more key in a running softmax. Not a product of (rows, keys): Triton would make a tiny tensor-core dot of it."""
    score = tl.sum(q * k.to(tl.float32)[None, :], 1)
    higher = tl.maximum(top, score)
    kept, weight = tl.exp(top - higher), tl.exp(score - higher)
    return higher, total * kept + weight, y * kept[:, None] + weight[:, None] * v.to(tl.float32)[None, :]


@triton.jit
def _mouse(qkv, cos, sin, keys, values, past_keys, past_values, out, spatial, past, cache_rows, scale,
           H: tl.constexpr, D: tl.constexpr, F: tl.constexpr, ROWS: tl.constexpr, EPSILON: tl.constexpr):  # fmt: skip
    position, head = tl.program_id(0).to(tl.int64), tl.program_id(1)  # position = b * S + s
    batch, s = position // spatial, position % spatial
    frame, d = tl.arange(0, ROWS), tl.arange(0, D)
    real = frame[:, None] < F
    token = (batch * F + frame) * spatial + s
    source = qkv + token[:, None] * 3 * H * D + head * D + d[None, :]
    angle = frame[:, None] * (D // 2) + tl.arange(0, D // 2)[None, :]
    c = tl.load(cos + angle, mask=real, other=0.0)
    sn = tl.load(sin + angle, mask=real, other=0.0)
    q = _unit_rotated(tl.load(source, mask=real, other=0.0).to(tl.float32), c, sn, ROWS, D, EPSILON)
    k = _unit_rotated(tl.load(source + H * D, mask=real, other=0.0).to(tl.float32), c, sn, ROWS, D, EPSILON)
    v = tl.load(source + 2 * H * D, mask=real, other=0.0)
    base = position * cache_rows + head * D + d[None, :]
    k = k.to(keys.dtype.element_ty)
    tl.store(keys + base + frame[:, None] * H * D, k, mask=real)
    tl.store(values + base + frame[:, None] * H * D, v, mask=real)
    # the current block comes from registers, the past from the cache: nothing is read that this launch writes
    kf, vf = k.to(tl.float32), v.to(tl.float32)
    q = q.to(out.dtype.element_ty).to(tl.float32) * scale
    scores = tl.sum(q[:, None, :] * kf[None, :, :], 2)
    scores = tl.where((frame < F)[None, :], scores, float("-inf"))
    top = tl.max(scores, 1)
    weights = tl.exp(scores - top[:, None])
    total = tl.sum(weights, 1)
    y = tl.sum(weights[:, :, None] * vf[None, :, :], 1)
    for slot in range(past):
        old = position * cache_rows + slot * H * D + head * D + d
        top, total, y = _attend_one(q, tl.load(past_keys + old), tl.load(past_values + old), top, total, y)
    target = out + token[:, None] * H * D + head * D + d[None, :]
    tl.store(target, (y / total[:, None]).to(out.dtype.element_ty), mask=real)


@triton.jit
def _keyboard(q, cos, sin, keys, values, out, length, spatial, seen, cache_rows, scale, H: tl.constexpr,
              D: tl.constexpr, ROWS: tl.constexpr, EPSILON: tl.constexpr):  # fmt: skip
    batch, head = tl.program_id(1).to(tl.int64), tl.program_id(2)
    token, d = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, D)
    real = token[:, None] < length
    source = (batch * length + token[:, None]) * H * D + head * D + d[None, :]
    angle = (token[:, None] // spatial) * (D // 2) + tl.arange(0, D // 2)[None, :]
    c = tl.load(cos + angle, mask=real, other=0.0)
    sn = tl.load(sin + angle, mask=real, other=0.0)
    turned = _unit_rotated(tl.load(q + source, mask=real, other=0.0).to(tl.float32), c, sn, ROWS, D, EPSILON)
    turned = turned.to(out.dtype.element_ty).to(tl.float32) * scale
    top = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    y = tl.zeros((ROWS, D), tl.float32)
    for slot in range(seen):
        one = batch * cache_rows + slot * H * D + head * D + d
        top, total, y = _attend_one(turned, tl.load(keys + one), tl.load(values + one), top, total, y)
    y = y / total[:, None]
    tl.store(out + source, y.to(out.dtype.element_ty), mask=real)


@triton.jit
def _bias_gelu(x, bias, out, per_frame, C: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < C
    value = tl.load(x + row * C + column, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(bias + (row // per_frame) * C + column, mask=inside, other=0.0).to(tl.float32)
    inner = 0.7978845608028654 * (value + 0.044715 * value * value * value)
    tanh = 1 - 2 / (tl.exp(2 * inner) + 1)
    tl.store(out + row * C + column, (0.5 * value * (1 + tanh)).to(out.dtype.element_ty), mask=inside)


def _row_distance(heads: int, width: int, *caches: Tensor) -> int:
    """Slots of a position lie behind one another; positions may lie apart, all by the same distance."""
    for cache in caches:
        assert cache.stride()[1:] == (heads * width, width, 1) and cache.stride(0) == caches[0].stride(0)
    return caches[0].stride(0)


def mouse_attention(qkv: Tensor, frames: int, heads: int, rope: Rope, slots: KeysValues, past: KeysValues) -> Tensor:
    batch, length, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    spatial, head_dim, seen = length // frames, width // heads, past[0].shape[1]
    assert qkv.is_contiguous() and slots[0].shape == (batch * spatial, frames, heads, head_dim)
    out, rows = qkv.new_empty(batch, length, width), _row_distance(heads, head_dim, *slots, *past)
    launch(
        _mouse, (batch * spatial, heads),
        qkv, *rope, *slots, *past, out, spatial, seen, rows, head_dim**-0.5, H=heads, D=head_dim, F=frames,
        ROWS=triton.next_power_of_2(frames), EPSILON=UNIT_EPS, num_warps=1,
    )  # fmt: skip
    return out


def keyboard_attention(q: Tensor, frames: int, heads: int, rope: Rope, seen: KeysValues) -> Tensor:
    batch, length, width = q.shape
    assert q.is_contiguous()
    head_dim, rows, keys = width // heads, 16, seen[0].shape[1]
    out = torch.empty_like(q)
    launch(
        _keyboard, (triton.cdiv(length, rows), batch, heads),
        q, *rope, *seen, out, length, length // frames, keys, _row_distance(heads, head_dim, *seen), head_dim**-0.5,
        H=heads, D=head_dim, ROWS=rows, EPSILON=UNIT_EPS, num_warps=4,
    )  # fmt: skip
    return out


def bias_gelu(x: Tensor, bias: Tensor) -> Tensor:
    batch, length, width = x.shape
    assert x.is_contiguous() and bias.is_contiguous()
    out = torch.empty_like(x)
    launch(
        _bias_gelu, (batch * length,),
        x, bias, out, length // bias.shape[1], C=width, BLOCK=triton.next_power_of_2(width), num_warps=4,
    )  # fmt: skip
    return out
