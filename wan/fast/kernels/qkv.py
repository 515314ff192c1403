"""From one fused projection to attention inputs: RMS norm of q and k over the whole width, rope, and k and v into place.

`place` is where keys and values go: slots of a cache, so that nothing is copied twice. Without a place for values
(None) they stay where the projection left them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wan.fast.kernels import use_triton
from wan.fast.kernels.arguments import Norms, Place
from wan.modules.rope import Rope, apply_rope


def norm_rope_place(qkv: Tensor, norms: Norms, rope: Rope, heads: int, place: Place, eps: float) -> Tensor:
    """qkv (B, L, 3C) -> q (B, L, H, D); keys and values are written into place[0], place[1] (B, L, H, D)."""
    if use_triton(qkv):
        from wan.fast.kernels.triton_qkv import norm_rope_place as fused

        return fused(qkv, norms, rope, heads, place, eps)
    q, k, v = (part.unflatten(-1, (heads, -1)) for part in qkv.chunk(3, dim=-1))
    place[0].copy_(apply_rope(rms_norm(k, norms[1], eps), rope))
    if place[1] is not None:
        place[1].copy_(v)
    return apply_rope(rms_norm(q, norms[0], eps), rope).to(qkv.dtype)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Over heads and head width together, (B, L, H, D) -> float32."""
    wide = x.float()
    scale = torch.rsqrt(wide.pow(2).mean((-2, -1), keepdim=True) + eps)
    return wide * scale * weight.float().view(x.shape[-2:])


def rms_norm_heads(x: Tensor, weight: Tensor, heads: int, eps: float) -> Tensor:
    """Queries of cross attention: (B, L, C) -> normed (B, L, H, D), no rope."""
    if use_triton(x):
        from wan.fast.kernels.triton_qkv import rms_norm_heads as fused

        return fused(x, weight, heads, eps)
    return rms_norm(x.unflatten(-1, (heads, -1)), weight, eps).to(x.dtype)
