"""WanModel: one Wan2.2 A14B expert, text to video or (with `y`) image to video. The reference, plain and eager.

forward = unembed(transform(embed(...))). The residual stream, modulation and time embedding stay in float32 as
upstream has them (its autocast leaves them there); matrix products run in the dtype of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wan.config import T2V_A14B, WanConfig
from wan.modules.layers import (
    CrossAttention,
    Head,
    LayerNorm,
    SelfAttention,
    feed_forward,
    gated,
    modulate,
    patchify,
    sinusoid,
    unpatchify,
)
from wan.modules.rope import Rope, axis_dims, rope_table


@dataclass(frozen=True)
class Conditions:
    """Everything the blocks need beside the tokens; made once a forward."""

    time: Tensor  # (B, F or 1, C) float32
    modulation: Tensor  # (B, F or 1, 6, C) float32
    context: Any  # what `embed_text` makes of the prompts: here (B, text_len, C)
    rope: Rope


class WanBlock(nn.Module):
    def __init__(self, config: WanConfig):
        super().__init__()
        dim, heads, eps = config.dim, config.num_heads, config.eps
        self.norm1 = LayerNorm(dim, eps=eps, elementwise_affine=False)
        self.self_attn = SelfAttention(dim, heads, eps, config.qk_norm)
        self.norm3 = LayerNorm(dim, eps=eps) if config.cross_attn_norm else nn.Identity()
        self.cross_attn = CrossAttention(dim, heads, eps, config.qk_norm)
        self.norm2 = LayerNorm(dim, eps=eps, elementwise_affine=False)
        self.ffn = feed_forward(dim, config.ffn_dim)
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)

    def forward(self, x: Tensor, modulation: Tensor, context: Tensor, rope: Rope) -> Tensor:
        dtype = context.dtype
        e = (self.modulation.float() + modulation).chunk(6, dim=2)  # six of (B, F, 1, C)
        x = gated(x, self.self_attn(modulate(self.norm1(x), e[0], e[1]).to(dtype), rope), e[2])
        x = x + self.cross_attn(self.norm3(x).to(dtype), self.cross_attn.keys_values(context))
        return gated(x, self.ffn(modulate(self.norm2(x), e[3], e[4]).to(dtype)), e[5])


class WanModel(nn.Module):
    block_class: type[nn.Module] = WanBlock

    def __init__(self, config: WanConfig = T2V_A14B):
        super().__init__()
        self.config = config
        dim = config.dim
        self.patch_embedding = nn.Conv3d(config.in_dim, dim, config.patch_size, config.patch_size)
        self.text_embedding = nn.Sequential(nn.Linear(config.text_dim, dim), nn.GELU("tanh"), nn.Linear(dim, dim))
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim * 6))
        self.blocks = nn.ModuleList(self.block_class(config) for _ in range(config.num_layers))
        self.head = Head(dim, config.out_dim, config.patch_size, config.eps)

    @property
    def dtype(self) -> torch.dtype:
        return self.patch_embedding.weight.dtype

    def embed_text(self, context: Sequence[Tensor]) -> Any:
        """Prompts (L, text_dim), any L up to text_len, padded with zeros as upstream pads them: (B, text_len, C)."""
        length = self.config.text_len
        longest = max(len(c) for c in context)
        if longest > length:
            raise ValueError(f"a prompt embedding has {longest} tokens, the model reads {length}; truncate it")
        padded = torch.stack([F.pad(c, (0, 0, 0, length - len(c))) for c in context])
        return self.text_embedding(padded.to(self.dtype))

    def embed_time(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """t (B, F or 1) -> time (B, F, C) and modulation (B, F, 6, C); in float32, whatever the weights are."""
        e = sinusoid(t, self.config.freq_dim)
        for layer in self.time_embedding:
            e = _float32(layer, e)
        m = e
        for layer in self.time_projection:
            m = _float32(layer, m)
        return e, m.unflatten(-1, (6, -1))

    def embed(
        self,
        x: Tensor,
        t: Tensor,
        context: Any,
        y: Tensor | None = None,
        frame_positions: Sequence[float] | Tensor | None = None,
    ) -> tuple[Tensor, Conditions, tuple[int, int, int]]:
        if (y is None) == (self.config.model_type == "i2v"):
            raise ValueError(f"this is a {self.config.model_type} model: an image condition y is {'needed' if y is None else 'not taken'}")  # fmt: skip
        tokens, grid = patchify(self.patch_embedding, x if y is None else torch.cat([x, y], dim=1))
        positions = range(grid[0]) if frame_positions is None else frame_positions
        rope = rope_table(positions, grid[1], grid[2], axis_dims(self.head_dim), device=x.device)
        time, modulation = self.embed_time(_per_frame(t, len(x), x.device))
        text = self.embed_text(context) if isinstance(context, list | tuple) else context
        return tokens.float(), Conditions(time, modulation, text, rope), grid

    @property
    def head_dim(self) -> int:
        return self.config.dim // self.config.num_heads

    def transform(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens, conditions.modulation, conditions.context, conditions.rope)
        return tokens

    def unembed(self, tokens: Tensor, conditions: Conditions, grid: tuple[int, int, int]) -> Tensor:
        return unpatchify(self.head(tokens, conditions.time), grid, self.config.patch_size)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        context: Any,
        y: Tensor | None = None,
        frame_positions: Sequence[float] | Tensor | None = None,
    ) -> Tensor:
        """Velocity (B, C, F, H, W) float32 of x (B, C, F, H, W) at t: a number, (B,), or (B, F) for one a frame.

        `context` is a list of prompts (L, text_dim), or what `embed_text` made of such a list once for all steps; `frame_positions` are the rope positions of the latent frames (default 0, 1, 2, ...).
        """
        tokens, conditions, grid = self.embed(x, t, context, y, frame_positions)
        return self.unembed(self.transform(tokens, conditions), conditions, grid)


def _float32(layer: nn.Module, x: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return F.linear(x, layer.weight.float(), layer.bias.float())
    return layer(x)


def _per_frame(t: Tensor | float, batch: int, device: torch.device) -> Tensor:
    """Any accepted form of t -> (B, 1) or (B, F): a shared timestep is never spread over frames or tokens."""
    t = torch.as_tensor(t, device=device)
    t = t.reshape(-1, 1) if t.dim() < 2 else t
    return t.expand(batch, -1)
