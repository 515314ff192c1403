"""What both optimized models share: weights joined without copies, products with their epilogue, and keeping by identity."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wan.fast.fp8 import Fp8FeedForward, Fp8Linear
from wan.modules.layers import SelfAttention


class Joined(NamedTuple):
    """Several projections of one input as one product."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


Projection = Joined | Fp8Linear


def quantised_qkv(attention: SelfAttention) -> Fp8Linear | None:
    """What q, k and v have become in a quantised block."""
    return getattr(attention, "qkv", None)


def joined(*linears: nn.Linear) -> Joined:
    """One weight and bias over several projections; theirs become views of it, so nothing is stored twice."""
    weight = torch.cat([m.weight.data for m in linears])
    bias = torch.cat([m.bias.data for m in linears])
    for m, w, b in zip(linears, weight.chunk(len(linears)), bias.chunk(len(linears)), strict=True):
        m.weight.data, m.bias.data = w, b
    return Joined(weight, bias)


def layer_norm_affine(norm: nn.Module) -> tuple[Tensor, Tensor] | None:
    return (norm.weight, norm.bias) if isinstance(norm, nn.LayerNorm) else None


def feed_forward(ffn: nn.Sequential | Fp8FeedForward, x: Tensor) -> Tensor:
    if isinstance(ffn, Fp8FeedForward) or not x.is_cuda:
        return ffn(x)
    first, second = ffn[0], ffn[2]
    # cuBLASLt applies bias and tanh-GELU as the product leaves its registers
    hidden = torch._addmm_activation(first.bias, x.flatten(0, 1), first.weight.t(), use_gelu=True)
    return second(hidden).view_as(x)


def identity(a: Tensor | None) -> tuple[int, int] | None:
    """Tells whether a tensor is the same object with the same contents (inference tensors cannot say the latter)."""
    return None if a is None else (id(a), 0 if a.is_inference() else a._version)
