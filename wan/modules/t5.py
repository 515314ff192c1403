"""The UMT5 encoder: token ids in, the hidden states the video model reads its prompt from out.

T5's habits that matter here: attention scores are not scaled, positions enter only as a learned bias per bucket of
distance, and norms have no mean. Scores and softmax are float32 because unscaled scores leave the range of half floats.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from wan.config import T5Config

MAX_DISTANCE = 128  # farther apart than this, all positions share the last bucket


def finite(x: Tensor) -> Tensor:
    """UMT5's activations outgrow float16; every other dtype has room."""
    if x.dtype is not torch.float16:
        return x
    top = torch.finfo(x.dtype).max
    return x.clamp(-top, top)


def distance_buckets(length: int, num_buckets: int, device: torch.device) -> Tensor:
    """Bucket of every (query, key) pair, (L, L): half for keys behind, half for keys ahead; near ones exact, far ones
    logarithmic."""
    position = torch.arange(length, device=device)
    offset = position[None, :] - position[:, None]
    half = num_buckets // 2
    exact = half // 2
    distance = offset.abs()
    ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(MAX_DISTANCE / exact)
    far = (exact + (ratio * (half - exact)).long()).clamp(max=half - 1)
    return torch.where(distance < exact, distance, far) + (offset > 0) * half


class RMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float = 1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        # rounded before the weight is applied, as the official encoder does in half precision
        scale = torch.rsqrt(x.float().pow(2).mean(dim=-1, keepdim=True) + self.eps)
        return self.weight * (x * scale).to(self.weight.dtype)


class PositionBias(nn.Module):
    def __init__(self, num_buckets: int, num_heads: int):
        super().__init__()
        self.embedding = nn.Embedding(num_buckets, num_heads)

    def forward(self, buckets: Tensor) -> Tensor:
        return self.embedding(buckets).permute(2, 0, 1)  # (H, L, L)


class Attention(nn.Module):
    def __init__(self, config: T5Config):
        super().__init__()
        self.num_heads = config.num_heads
        self.q = nn.Linear(config.dim, config.dim_attn, bias=False)
        self.k = nn.Linear(config.dim, config.dim_attn, bias=False)
        self.v = nn.Linear(config.dim, config.dim_attn, bias=False)
        self.o = nn.Linear(config.dim_attn, config.dim, bias=False)

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, H, L, D)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        q, k, v = self.heads(self.q(x)), self.heads(self.k(x)), self.heads(self.v(x))
        scores = q.float() @ k.float().transpose(-1, -2) + bias
        x = scores.softmax(dim=-1).to(v.dtype) @ v
        return self.o(x.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, config: T5Config):
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(config.dim, config.dim_ffn, bias=False), nn.GELU(approximate="tanh"))
        self.fc1 = nn.Linear(config.dim, config.dim_ffn, bias=False)
        self.fc2 = nn.Linear(config.dim_ffn, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(finite(self.fc1(x) * self.gate(x)))


class Block(nn.Module):
    def __init__(self, config: T5Config):
        super().__init__()
        self.norm1 = RMSNorm(config.dim)
        self.attn = Attention(config)
        self.norm2 = RMSNorm(config.dim)
        self.ffn = FeedForward(config)
        self.pos_embedding = None if config.shared_pos else PositionBias(config.num_buckets, config.num_heads)

    def forward(self, x: Tensor, buckets: Tensor, hidden: Tensor, shared: PositionBias | None) -> Tensor:
        positions = self.pos_embedding or shared
        assert positions is not None, "the layers have one each, or one is for all"
        bias = positions(buckets).float() + hidden[:, None, None, :]  # (B, H, L, L)
        x = finite(x + self.attn(self.norm1(x), bias))
        return finite(x + self.ffn(self.norm2(x)))


class T5Encoder(nn.Module):
    def __init__(self, config: T5Config):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab, config.dim)
        self.pos_embedding = PositionBias(config.num_buckets, config.num_heads) if config.shared_pos else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.dim)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids and mask (1 for text, 0 for padding), both (B, L) -> (B, L, dim); states at padding mean nothing."""
        x = self.token_embedding(ids)
        buckets = distance_buckets(ids.shape[1], self.config.num_buckets, ids.device)
        hidden = torch.zeros(mask.shape, device=ids.device).masked_fill(mask == 0, torch.finfo(torch.float32).min)
        for block in cast("Iterable[Block]", self.blocks):
            x = block(x, buckets, hidden, self.pos_embedding)
        return self.norm(x)
