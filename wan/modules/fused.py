"""What both optimized models share: weights joined without copies, products with their epilogue, and keeping by identity."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def joined(*linears: nn.Linear) -> tuple[Tensor, Tensor]:
    """One weight and bias over several projections; theirs become views of it, so nothing is stored twice."""
    weight = torch.cat([m.weight.data for m in linears])
    bias = torch.cat([m.bias.data for m in linears])
    for m, w, b in zip(linears, weight.chunk(len(linears)), bias.chunk(len(linears)), strict=True):
        m.weight.data, m.bias.data = w, b
    return weight, bias


def layer_norm_affine(norm: nn.Module) -> tuple[Tensor, Tensor] | None:
    return (norm.weight, norm.bias) if isinstance(norm, nn.LayerNorm) else None


def feed_forward(ffn: nn.Sequential, x: Tensor) -> Tensor:
    first, second = ffn[0], ffn[2]
    if not x.is_cuda:
        return ffn(x)
    # cuBLASLt applies bias and tanh-GELU as the product leaves its registers
    hidden = torch._addmm_activation(first.bias, x.flatten(0, 1), first.weight.t(), use_gelu=True)
    return second(hidden).view_as(x)


def identity(a: Tensor | None) -> tuple[int, int] | None:
    """Tells whether a tensor is the same object with the same contents (inference tensors cannot say the latter)."""
    return None if a is None else (id(a), 0 if a.is_inference() else a._version)
