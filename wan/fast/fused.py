"""Parts of a layer as fewer products, which both fast models put in place of the plain ones: the same names in files.

What is joined is a parameter of the layer, there from the moment the model is built: whoever loads, moves, streams,
quantises or counts parameters finds it, and nothing is derived a second time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from wan.fast.held import JOINED, HeldJoined, HeldLinear, matrix
from wan.modules.layers import SelfAttention


class JoinedSelfAttention(SelfAttention):
    """q, k and v as one product, `qkv`; in a state dict they are three, whose tensors are views of its own."""

    qkv: Any  # a linear, or what became of it: held as stored, or in 8 bits

    def __init__(self, dim: int, num_heads: int, eps: float, qk_norm: bool = True):
        super().__init__(dim, num_heads, eps, qk_norm)
        del self.q, self.k, self.v
        self.qkv = nn.Linear(dim, len(JOINED) * dim)
        self.register_state_dict_post_hook(_divide)
        self.register_load_state_dict_pre_hook(_join)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return q, k, v


def _divide(module: nn.Module, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    joined = f"{prefix}qkv."
    for key in [key for key in state if key.startswith(joined)]:
        whole, kind = state.pop(key), key.removeprefix(joined)
        if isinstance(module.qkv, HeldJoined):  # apart already
            state[prefix + kind] = whole
            continue
        axis = 1 if kind == "weight_scale" else 0
        state.update({f"{prefix}{name}.{kind}": part for name, part in zip(JOINED, whole.chunk(len(JOINED), axis))})


def _join(_module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for kind in ("weight", "bias"):
        names = [f"{prefix}{name}.{kind}" for name in JOINED]
        if all(name in state for name in names):
            state[f"{prefix}qkv.{kind}"] = torch.cat([state.pop(name) for name in names])


class FusedFeedForward(nn.Sequential):
    """Two products with GELU between them, which on a GPU is applied as the first one leaves its registers (cuBLASLt)."""

    def __init__(self, dim: int, ffn_dim: int):
        super().__init__(nn.Linear(dim, ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(ffn_dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_cuda:
            return super().forward(x)
        first, _, second = list(self)
        assert isinstance(first, nn.Linear | HeldLinear)
        hidden = torch._addmm_activation(first.bias, x.flatten(0, 1), matrix(first, x.dtype).t(), use_gelu=True)
        return second(hidden).view_as(x)


def layer_norm_affine(norm: nn.Module) -> tuple[Tensor, Tensor] | None:
    return (norm.weight, norm.bias) if isinstance(norm, nn.LayerNorm) else None
