"""Weights that stay as their file has them, packed or in 8 bits, and become numbers only on their way into a product.

A model of 14 billion parameters is 29 GB in bfloat16 and 8 GB as Q4_K; unpacking one matrix costs a hundredth of the
product it is for. The product is the one that a model unpacked while loading would run, on the same numbers: so are the
results. What is held are parameters, so that whoever moves, streams or counts parameters finds them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wan.fast.kernels.packed import unpack
from wan.files.weights import Kept, Weights, scale_rows

JOINED = ("q", "k", "v")
ATTENTION = tuple(f"cross_attn.{name}" for name in (*JOINED, "o"))
HOLDABLE = ("self_attn.qkv", "self_attn.o", *ATTENTION, "ffn.0", "ffn.2")  # of a block: what is called, not taken apart


class HeldWeight(nn.Module):
    """A matrix as stored, without memory yet, and what makes it numbers."""

    def __init__(self, kept: Kept, columns: int):
        super().__init__()
        self.format, self.in_features = kept.format, columns
        self.weight = nn.Parameter(torch.empty(kept.shape, dtype=kept.dtype, device="meta"), requires_grad=False)
        scale = nn.Parameter(torch.empty(kept.scales, device="meta"), requires_grad=False) if kept.scales else None
        self.weight_scale = scale  # one number, or one a row

    def write_into(self, out: Tensor) -> None:
        """All rows, (rows, columns) of any float dtype."""
        self.decode(self.weight, out)

    def matrix(self, dtype: torch.dtype) -> Tensor:
        out = torch.empty(len(self.weight), self.in_features, dtype=dtype, device=self.weight.device)
        self.write_into(out)
        return out

    def decode(self, rows: Tensor, out: Tensor) -> None:
        if self.format is not None:
            unpack(rows, self.format, out)
            return
        out.copy_(rows)
        if self.weight_scale is not None:
            scale_rows(out, self.weight_scale)


class HeldLinear(HeldWeight):
    def __init__(self, kept: Kept, linear: nn.Linear):
        super().__init__(kept, linear.in_features)
        self.bias, self.rank = linear.bias, kept.rank
        if self.rank:
            rows, dtype = kept.shape[0], linear.bias.dtype
            self.lora_up = nn.Parameter(torch.empty(rows, self.rank, dtype=dtype, device="meta"), requires_grad=False)
            self.lora_down = nn.Parameter(
                torch.empty(self.rank, self.in_features, dtype=dtype, device="meta"), requires_grad=False
            )

    def write_into(self, out: Tensor) -> None:
        super().write_into(out)
        if self.rank:
            # into the matrix, not a second product: a rank in so many tokens of the work, and whoever wants numbers has these
            out.addmm_(self.lora_up.to(out.dtype), self.lora_down.to(out.dtype))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.matrix(x.dtype), self.bias)


class HeldEmbedding(HeldWeight):
    """Only the rows that are asked for are unpacked."""

    def __init__(self, kept: Kept, embedding: nn.Embedding):
        super().__init__(kept, embedding.embedding_dim)
        self.dtype = embedding.weight.dtype

    def forward(self, ids: Tensor) -> Tensor:
        # 8-bit floats are not indexed everywhere, bytes are
        rows = self.weight.view(torch.uint8)[ids.flatten()].view(self.weight.dtype)
        out = torch.empty(len(rows), self.in_features, dtype=self.dtype, device=rows.device)
        self.decode(rows, out)
        return out.view(*ids.shape, -1)


class HeldJoined(nn.Module):
    """q, k and v, each as it is stored, as one product."""

    def __init__(self, q: Single, k: Single, v: Single):
        super().__init__()
        self.q, self.k, self.v = q, k, v

    @property
    def parts(self) -> tuple[Single, Single, Single]:
        return self.q, self.k, self.v

    @property
    def bias(self) -> Tensor:
        return torch.cat([part.bias for part in self.parts])

    def write_into(self, out: Tensor) -> None:
        for part, rows in zip(self.parts, out.chunk(len(JOINED))):
            rows.copy_(part.weight) if isinstance(part, nn.Linear) else part.write_into(rows)

    def matrix(self, dtype: torch.dtype) -> Tensor:
        columns = self.q.in_features
        out = torch.empty(len(JOINED) * columns, columns, dtype=dtype, device=self.q.weight.device)
        self.write_into(out)
        return out

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.matrix(x.dtype), self.bias)


Single = nn.Linear | HeldLinear
Product = Single | HeldJoined


def matrix(linear: Product, dtype: torch.dtype | None = None) -> Tensor:
    """The weight in numbers."""
    return linear.weight if isinstance(linear, nn.Linear) else linear.matrix(dtype or linear.bias.dtype)


def hold_blocks(model: nn.Module, weights: Weights) -> None:
    """Of a model without memory: every product that the file has packed or in 8 bits becomes one that stays so."""
    for i, block in enumerate(model.blocks):  # type: ignore[arg-type]
        for path in HOLDABLE:
            held = held_product(block.get_submodule(path), f"blocks.{i}.{path}", weights)
            if held is not None:
                block.set_submodule(path, held)


def held_product(linear: nn.Linear, name: str, weights: Weights) -> nn.Module | None:
    """In place of the linear of that name; none where the file has plain numbers."""
    if not name.endswith(".qkv"):
        kept = weights.kept(f"{name}.weight")
        return HeldLinear(kept, linear) if kept else None
    parts = [nn.Linear(linear.in_features, linear.in_features, device="meta", dtype=linear.bias.dtype) for _ in JOINED]
    held = [held_product(part, name.removesuffix("qkv") + letter, weights) for part, letter in zip(parts, JOINED)]
    if not any(held):
        return None
    return HeldJoined(*(kept or part for kept, part in zip(held, parts)))  # type: ignore[arg-type]


def hold_text_encoder(model: nn.Module, weights: Weights) -> None:
    for name, module in list(model.named_modules()):
        kept = weights.kept(f"{name}.weight")
        if kept and isinstance(module, nn.Linear):
            model.set_submodule(name, HeldLinear(kept, module))
        elif kept and name == "token_embedding" and isinstance(module, nn.Embedding):
            model.set_submodule(name, HeldEmbedding(kept, module))
