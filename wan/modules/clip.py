"""The vision tower of CLIP ViT-H/14: one image in, the tokens the causal model attends to out.

Only what conditions a video is here: no text tower, and nothing behind the last but one transformer layer, because
the models were trained on that layer's output. What a released file holds beyond it is named in `unused_keys`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wan.config import CLIPConfig
from wan.modules.constants import constant

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class SelfAttention(nn.Module):
    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.to_qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.to_qkv(x).unflatten(-1, (3, self.num_heads, -1))  # (B, L, 3, H, D)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, L, D)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, config: CLIPConfig):
        super().__init__()
        dim, hidden = config.dim, config.dim * config.mlp_ratio
        self.norm1 = nn.LayerNorm(dim, eps=config.norm_eps)
        self.attn = SelfAttention(dim, config.num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=config.norm_eps)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class CLIPVision(nn.Module):
    """Parameter names are the official ones without their `visual.` prefix."""

    def __init__(self, config: CLIPConfig):
        super().__init__()
        shape = (config.pool_type, config.pre_norm, config.post_norm, config.activation)
        if shape != ("token", True, False, "gelu"):
            raise ValueError(
                f"this CLIP has one shape (class token, pre-norm, gelu), not {shape}; use ViT-H/14 weights"
            )
        self.config = config
        grid = config.image_size // config.patch_size
        self.patch_embedding = nn.Conv2d(3, config.dim, config.patch_size, stride=config.patch_size, bias=False)
        self.cls_embedding = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embedding = nn.Parameter(torch.zeros(1, grid * grid + 1, config.dim))
        self.pre_norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.transformer = nn.Sequential(*(Layer(config) for _ in range(config.num_layers - 1)))

    def unused_keys(self) -> tuple[str, ...]:
        """Prefixes of the keys a complete file has and this module does not."""
        return (f"transformer.{self.config.num_layers - 1}.", "post_norm.", "head")

    def encode(self, image: Tensor) -> Tensor:
        """Images in [-1, 1], (B, 3, H, W) or (B, 3, T, H, W), of any size -> (B * T, tokens, dim)."""
        if image.ndim == 5:
            image = image.transpose(1, 2).flatten(0, 1)  # (B, 3, T, H, W) -> (B * T, 3, H, W)
        size = (self.config.image_size, self.config.image_size)
        # resized in float32: bicubic is neither precise nor everywhere implemented in half precision
        image = F.interpolate(image.float(), size=size, mode="bicubic", align_corners=False)
        mean, std = (constant(v, image).view(3, 1, 1) for v in (MEAN, STD))
        return self(((image * 0.5 + 0.5 - mean) / std).to(self.pos_embedding.dtype))

    def forward(self, image: Tensor) -> Tensor:
        patches = self.patch_embedding(image).flatten(2).transpose(1, 2)  # (B, grid * grid, dim)
        x = torch.cat([self.cls_embedding.expand(len(patches), -1, -1), patches], dim=1)
        return self.transformer(self.pre_norm(x + self.pos_embedding))
