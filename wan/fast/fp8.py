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

from wan.fast.kernels.fp8 import quantised

ALIGNED = 16  # rows and columns of an fp8 weight come in sixteens


class Fp8Linear(nn.Module):
    """What it holds are parameters, so that whoever moves or streams a block's parameters moves these too."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight = linear.weight.data
        assert not any(n % ALIGNED for n in weight.shape), f"{tuple(weight.shape)} is not in multiples of {ALIGNED}"
        rows, scale = quantised(weight)
        self.weight = nn.Parameter(rows, requires_grad=False)  # (N, K) e4m3
        self.scale = nn.Parameter(scale.t(), requires_grad=False)  # (1, N)
        self.bias = nn.Parameter(linear.bias.data.clone(), requires_grad=False)

    def forward(self, x: Tensor, gelu: bool = False) -> Tensor:
        """The product with x, or with its tanh-GELU."""
        out = self.product(*quantised(x, gelu)).to(x.dtype)
        return out.view(*x.shape[:-1], -1)

    def product(self, rows: Tensor, scale: Tensor) -> Tensor:
        if not rows.is_cuda:
            return F.linear(rows.float() * scale, self.weight.float() * self.scale.t(), self.bias.float())
        return torch._scaled_mm(
            rows, self.weight.t(), scale, self.scale, self.bias.to(torch.bfloat16),
            out_dtype=torch.bfloat16, use_fast_accum=True,
        )  # fmt: skip


class Fp8FeedForward(nn.Module):
    def __init__(self, ffn: nn.Sequential):
        super().__init__()
        self.first, self.second = (Fp8Linear(m) for m in ffn if isinstance(m, nn.Linear))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x), gelu=True)


def quantise(model: Any, on: torch.device | None = None) -> None:
    """Replace the large products, block by block; call it before the first forward.

    A block is quantised `on` that device (default: where it is) and returns to where it was: a model on the host needs
    room for one block on the GPU that does the work.
    """
    for block in model.blocks:
        home = block.modulation.device
        block.to(on or home)
        quantise_block(block)
        block.to(home)


def quantise_block(block: Any) -> None:
    attention, cross = block.self_attn, block.cross_attn
    attention.qkv = Fp8Linear(attention.qkv)
    attention.o, cross.q, cross.o = Fp8Linear(attention.o), Fp8Linear(cross.q), Fp8Linear(cross.o)
    block.ffn = Fp8FeedForward(block.ffn)
