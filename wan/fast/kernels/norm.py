"""Residual, layer norm and modulation in one pass over the tokens.

add_norm: x' = x + gate * y, h = LN(x') * (1 + scale) + shift, or LN with weight and bias. A transformer block is a
chain of these between matrix products; fused, the residual stream is read and written once a link.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wan.fast.kernels import use_triton
from wan.fast.kernels.arguments import Modulation


def add_norm(
    x: Tensor,
    y: Tensor | None = None,
    gate: Tensor | None = None,
    modulation: Modulation | None = None,
    affine: tuple[Tensor, Tensor] | None = None,
    eps: float = 1e-6,
    out_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """x (B, L, C), y (B, L, C), gate (B, F, C) -> x' in x's dtype and h in `out_dtype` (default x's dtype)."""
    dtype = out_dtype or x.dtype
    if use_triton(x):
        from wan.fast.kernels.triton_norm import add_norm as fused

        return fused(x, y, gate, modulation, affine, eps, dtype)
    if y is not None:
        x = gated_add(x, y, gate)
    h = F.layer_norm(x.float(), x.shape[-1:], eps=eps)
    if affine is not None:
        h = h * affine[0].float() + affine[1].float()
    if modulation is not None:
        shift, scale = (per_token(m, x.shape[1]).float() for m in modulation)
        h = h * (1 + scale) + shift
    return x, h.to(dtype)


def gated_add(x: Tensor, y: Tensor, gate: Tensor | None) -> Tensor:
    """x + gate * y, in x's dtype; without a gate, x + y."""
    if gate is None:
        return (x.float() + y.float()).to(x.dtype)
    if use_triton(x):
        from wan.fast.kernels.triton_norm import gated_add as fused

        return fused(x, y, gate)
    return (x.float() + per_token(gate, x.shape[1]).float() * y.float()).to(x.dtype)


def per_token(m: Tensor, tokens: int) -> Tensor:
    """(B, F, C) -> (B, L, C): every token of a frame reads its frame's row."""
    return m.repeat_interleave(tokens // m.shape[1], dim=1)
