"""The large products of both optimized models in 8-bit floats: lossy, a byte a weight, on tensor cores of twice the rate.

Weights are e4m3 with a scale an output channel, activations e4m3 with a scale a token, sums float32 in the tensor cores.
Embeddings, keys and values of the prompt or image, action modules and the head stay as they are: small, or computed once.
Off CUDA the product is that of the same rounded numbers in float32: for tests and estimates, not for speed.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wan.fast.held import HeldJoined, HeldLinear, Product, matrix
from wan.fast.kernels.fp8 import E4M3, quantised

PRODUCTS = ("self_attn.qkv", "self_attn.o", "cross_attn.q", "cross_attn.o")  # beside those of the feed-forward
ALIGNED = 16  # rows and columns of an fp8 weight come in sixteens


class Fp8Linear(nn.Module):
    """What it holds are parameters, so that whoever moves or streams a block's parameters moves these too; their names
    are those that such weights have in files."""

    def __init__(self, rows: Tensor, scale: Tensor, bias: Tensor):
        super().__init__()
        assert not any(n % ALIGNED for n in rows.shape), f"{tuple(rows.shape)} is not in multiples of {ALIGNED}"
        self.weight = nn.Parameter(rows, requires_grad=False)  # (N, K) e4m3
        self.weight_scale = nn.Parameter(scale, requires_grad=False)  # (1, N)
        self.bias = nn.Parameter(bias, requires_grad=False)

    @classmethod
    def of(cls, linear: Product | Fp8Linear) -> Fp8Linear:
        if isinstance(linear, Fp8Linear):
            return linear
        rows, scale = quantised(matrix(linear))
        return cls(rows, scale.t(), linear.bias.data.clone())

    def forward(self, x: Tensor, gelu: bool = False) -> Tensor:
        """The product with x, or with its tanh-GELU."""
        out = self.product(*quantised(x, gelu)).to(x.dtype)
        return out.view(*x.shape[:-1], -1)

    def product(self, rows: Tensor, scale: Tensor) -> Tensor:
        if not rows.is_cuda:
            return F.linear(rows.float() * scale, self.weight.float() * self.weight_scale.t(), self.bias.float())
        return torch._scaled_mm(
            rows, self.weight.t(), scale, self.weight_scale, self.bias.to(torch.bfloat16),
            out_dtype=torch.bfloat16, use_fast_accum=True,
        )  # fmt: skip


class Fp8FeedForward(nn.Sequential):
    """GELU happens as the second product reads what the first one left."""

    def __init__(self, first: Fp8Linear, second: Fp8Linear):
        super().__init__(first, nn.Identity(), second)

    def forward(self, x: Tensor) -> Tensor:
        first, _, second = self
        return second(first(x), gelu=True)


def hold_fp8(model: nn.Module) -> None:
    """Of a model without memory whose products are held: those that the file has in e4m3 become 8-bit products."""
    for block in model.blocks:  # type: ignore[union-attr]
        for path in PRODUCTS:
            if product := _empty(block.get_submodule(path)):
                block.set_submodule(path, product)
        first, second = _empty(block.ffn[0]), _empty(block.ffn[2])
        if first and second:
            block.ffn = Fp8FeedForward(first, second)


def _empty(held: nn.Module) -> Fp8Linear | None:
    """As large as what is held, if that is e4m3 throughout and nothing is to be added to it."""
    parts = held.parts if isinstance(held, HeldJoined) else [held]
    if not all(isinstance(part, HeldLinear) and part.weight.dtype == E4M3 and not part.rank for part in parts):
        return None
    rows, bias = (torch.cat([getattr(part, name) for part in parts]) for name in ("weight", "bias"))
    if any(n % ALIGNED for n in rows.shape):
        return None
    return Fp8Linear(rows, torch.empty(1, len(rows), device=rows.device), bias)


def quantise(model: Any) -> None:
    """Replace the large products of a model that is loaded already; call it before the first forward."""
    for block in model.blocks:
        quantise_block(block)


def quantise_block(block: Any) -> None:
    for path in PRODUCTS:
        block.set_submodule(path, Fp8Linear.of(block.get_submodule(path)))
    first, _, second = block.ffn
    block.ffn = Fp8FeedForward(Fp8Linear.of(first), Fp8Linear.of(second))
