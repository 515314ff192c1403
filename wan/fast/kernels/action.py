"""The small attentions of the action module, each from projection to attention output in one pass.

Per spatial position (mouse) or per token (keyboard) there are a few frames of keys: far too little for an attention
library, whose calls would cost more than the work. q and k are RMS-normed per head without a weight and turned by time.
Keys and values of the current block go straight into the slots of a cache; what came before is read from it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wan.fast.kernels import use_triton
from wan.fast.kernels.arguments import UNIT_EPS, KeysValues
from wan.modules.attention import attend
from wan.modules.rope import Rope, apply_rope

MOST_FRAMES = 8  # a block's scores live in the registers of one warp


def mouse_attention(qkv: Tensor, frames: int, heads: int, rope: Rope, slots: KeysValues, past: KeysValues) -> Tensor:
    """qkv (B, F*S, 3*H*D); slots (B*S, F, H, D) are written, past (B*S, P, H, D) read -> (B, F*S, H*D)."""
    if use_triton(qkv) and frames <= MOST_FRAMES:
        from wan.fast.kernels.triton_action import mouse_attention as fused

        return fused(qkv, frames, heads, rope, slots, past)
    batch, spatial = qkv.shape[0], qkv.shape[1] // frames
    over_time = qkv.unflatten(1, (frames, spatial)).transpose(1, 2).flatten(0, 1)  # (B*S, F, 3*H*D)
    q, k, v = over_time.unflatten(-1, (3, heads, -1)).unbind(2)
    slots[0].copy_(apply_rope(unit_norm(k), rope))
    slots[1].copy_(v)
    keys, values = (torch.cat(pair, dim=1) for pair in zip(slots, past, strict=True))
    out = attend(apply_rope(unit_norm(q), rope).to(v.dtype), keys, values)
    return out.flatten(2).unflatten(0, (batch, spatial)).transpose(1, 2).flatten(1, 2)


def keyboard_attention(q: Tensor, kv: Tensor, heads: int, rope: Rope, slots: KeysValues, seen: KeysValues) -> Tensor:
    """q (B, F*S, H*D), kv (B, F, 2*H*D); slots (B, F, H, D), a part of seen, are written first -> (B, F*S, H*D)."""
    frames = kv.shape[1]
    k, v = kv.unflatten(-1, (2, heads, -1)).unbind(2)
    slots[0].copy_(apply_rope(unit_norm(k), rope))  # a few rows
    slots[1].copy_(v)
    if use_triton(q):
        from wan.fast.kernels.triton_action import keyboard_attention as fused

        return fused(q, frames, heads, rope, seen)
    spatial = q.shape[1] // frames
    per_token = (rope[0].repeat_interleave(spatial, 0), rope[1].repeat_interleave(spatial, 0))
    turned = apply_rope(unit_norm(q.unflatten(-1, (heads, -1))), per_token).to(q.dtype)
    return attend(turned, *seen).flatten(2)


def bias_gelu(x: Tensor, bias: Tensor) -> Tensor:
    """gelu(x + bias) with one bias row a frame: x (B, F*S, C), bias (B, F, C); tanh approximation."""
    if use_triton(x):
        from wan.fast.kernels.triton_action import bias_gelu as fused

        return fused(x, bias)
    wide = x.float().unflatten(1, (bias.shape[1], -1)) + bias.float()[:, :, None]
    return F.gelu(wide, approximate="tanh").flatten(1, 2).to(x.dtype)


def unit_norm(x: Tensor) -> Tensor:
    wide = x.float()
    return wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + UNIT_EPS)
