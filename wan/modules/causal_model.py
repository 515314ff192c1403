"""CausalWanModel: the Matrix-Game 2.0 world model. The reference, plain and eager, oracle of every faster path.

It sees one block of latent frames at a time with the past in caches, or, without a cache, any number of blocks under a
block-causal mask of the same window: the two are equal. Everything runs in the dtype of the weights, norms and rope in
float32 inside. Nothing here knows a resolution: tokens a frame come from the latents.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from wan.compat.dict_caches import OfficialCaches
from wan.config import UNIVERSAL, CausalConfig, from_dict
from wan.modules.action import ActionModule
from wan.modules.attention import Mask
from wan.modules.cache import RolloutCache, window_frames
from wan.modules.layers import (
    CrossAttention,
    Head,
    ImageProjection,
    LayerCache,
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


class BlockCaches(Protocol):
    """What the layers ask of a cache: ours (RolloutCache) or the official dicts behind their adapter."""

    def layer(self, kind: str, index: int) -> LayerCache: ...
    def cross_kv(self, index: int, compute: Any) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class BlockInputs:
    """Everything the layers need beside the tokens; made once a forward."""

    frames: int
    time: Tensor  # (B, F, C)
    modulation: Tensor  # (B, F, 6, C)
    context: Tensor  # (B, L, C)
    rope: Rope
    action_rope: Rope | None
    mouse: Tensor | None
    keyboard: Tensor | None
    token_mask: Mask | None = None
    frame_mask: Mask | None = None


@dataclass(frozen=True)
class LayerCaches:
    """What one layer keeps. Looked up before the layer runs, so that its code depends on tensors and not on its number."""

    self_attn: LayerCache
    cross: tuple[Tensor, Tensor]
    mouse: LayerCache | None
    keyboard: LayerCache | None


class CausalBlock(nn.Module):
    modulation: nn.Parameter
    norm3: nn.Module
    ffn: nn.Module

    def __init__(self, config: CausalConfig, index: int):
        super().__init__()
        dim, heads, eps = config.dim, config.num_heads, config.eps
        self.index = index
        self.norm1 = LayerNorm(dim, eps=eps, elementwise_affine=False)
        self.self_attn = SelfAttention(dim, heads, eps, config.qk_norm)
        self.norm3 = LayerNorm(dim, eps=eps) if config.cross_attn_norm else nn.Identity()
        self.cross_attn = CrossAttention(dim, heads, eps, config.qk_norm)
        self.norm2 = LayerNorm(dim, eps=eps, elementwise_affine=False)
        self.ffn = feed_forward(dim, config.ffn_dim)
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)
        action = config.action_config
        self.action_index = action.blocks.index(index) if action and index in action.blocks else None
        self.action_model = ActionModule(action) if action and self.action_index is not None else None

    def caches(self, cache: BlockCaches, given: BlockInputs) -> LayerCaches:
        """This layer's part of a cache."""
        acts = self.action_index if self.action_index is not None else -1
        mouse, keyboard = (acts >= 0 and actions is not None for actions in (given.mouse, given.keyboard))
        return LayerCaches(
            self_attn=cache.layer("self_attn", self.index),
            cross=cache.cross_kv(self.index, lambda: self.cross_attn.keys_values(given.context)),
            mouse=cache.layer("mouse", acts) if mouse else None,
            keyboard=cache.layer("keyboard", acts) if keyboard else None,
        )

    def forward(self, x: Tensor, given: BlockInputs, kept: LayerCaches | None = None) -> Tensor:
        e = (self.modulation[:, None] + given.modulation)[:, :, :, None].unbind(2)  # six of (B, F, 1, C)
        h = modulate(self.norm1(x), e[0], e[1])
        x = gated(x, self.self_attn(h, given.rope, given.token_mask, kept and kept.self_attn), e[2])
        context = kept.cross if kept else self.cross_attn.keys_values(given.context)
        x = x + self.cross_attn(self.norm3(x), context)
        if self.action_model is not None:
            x = self.act(x, given, kept)
        return gated(x, self.ffn(modulate(self.norm2(x), e[3], e[4])), e[5])

    def act(self, x: Tensor, given: BlockInputs, kept: LayerCaches | None) -> Tensor:
        assert self.action_model is not None and given.action_rope is not None
        mouse, keyboard = (kept.mouse, kept.keyboard) if kept else (None, None)
        return self.action_model(
            x, given.frames, given.action_rope, given.mouse, given.keyboard, given.frame_mask, mouse, keyboard
        )


@dataclass(frozen=True)
class BlockConditions:
    """What a block of latent frames is conditioned on; the same in each of its steps."""

    visual_context: Tensor
    mouse: Tensor | None
    keyboard: Tensor | None
    start_frame: int


class CausalWanModel(nn.Module):
    block_class: type[CausalBlock] = CausalBlock
    blocks: Any  # ModuleList of it

    def __init__(self, config: CausalConfig = UNIVERSAL):
        super().__init__()
        self.config = config
        self.num_frame_per_block = 3
        dim = config.dim
        self.patch_embedding = nn.Conv3d(config.in_dim, dim, config.patch_size, config.patch_size)
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim * 6))
        self.blocks = nn.ModuleList(self.block_class(config, i) for i in range(config.num_layers))
        self.head = Head(dim, config.out_dim, config.patch_size, config.eps)
        self.img_emb = ImageProjection(config.visual_dim, dim)

    @classmethod
    def from_config(cls, config: str | Path | dict[str, Any] | CausalConfig) -> Self:
        """From a folder with config.json, the file itself, its contents, or a CausalConfig; weights are random."""
        if isinstance(config, CausalConfig):
            return cls(config)
        if isinstance(config, dict):
            return cls(from_dict(CausalConfig, config))
        path = Path(config)
        values = json.loads((path / "config.json" if path.is_dir() else path).read_text(encoding="utf-8"))
        return cls(from_dict(CausalConfig, values))

    @property
    def dtype(self) -> torch.dtype:
        return self.patch_embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.patch_embedding.weight.device

    def tokens_per_frame(self, height: int, width: int) -> int:
        _, rows, columns = self.config.patch_size
        return (height // rows) * (width // columns)

    def new_cache(self, batch: int, height: int, width: int, block: int | None = None) -> RolloutCache:
        """Empty caches for latents of height x width, `block` latent frames at a time."""
        tokens = self.tokens_per_frame(height, width)
        return RolloutCache(self.config, batch, tokens, block or self.num_frame_per_block, self.device, self.dtype)

    def embed(
        self,
        x: Tensor,
        t: Tensor | float,
        visual_context: Tensor,
        actions: tuple[Tensor | None, Tensor | None],
        cache: BlockCaches | None,
        start_frame: int,
    ) -> tuple[Tensor, BlockInputs, tuple[int, int, int]]:
        tokens, grid = patchify(self.patch_embedding, x)
        t = t if isinstance(t, Tensor) else torch.full((len(x), 1), float(t), device=x.device)
        time = self.time_embedding(sinusoid(t, self.config.freq_dim).to(self.dtype))  # (B, F or 1, C)
        positions = range(start_frame, start_frame + grid[0])
        frame_mask = self.frame_mask(grid[0], x.device) if cache is None else None
        inputs = BlockInputs(
            frames=grid[0],
            time=time,
            modulation=self.time_projection(time).unflatten(-1, (6, -1)),
            context=self.embed_image(visual_context),
            rope=rope_table(positions, *grid[1:], axis_dims(self.config.dim // self.config.num_heads), device=x.device),
            action_rope=self.action_rope(positions, x.device),
            mouse=actions[0],
            keyboard=actions[1],
            frame_mask=frame_mask,
            token_mask=frame_mask if frame_mask is None else _per_token(frame_mask, grid[1] * grid[2]),
        )
        return tokens, inputs, grid

    def embed_image(self, visual_context: Tensor) -> Tensor:
        return self.img_emb(visual_context.to(self.dtype))

    def keep_image(self, visual_context: Tensor, cache: BlockCaches) -> None:
        """The image's keys and values of every layer into the cache, where the layers will look for them."""
        context = self.embed_image(visual_context)
        for block in self.blocks:
            cache.cross_kv(block.index, partial(block.cross_attn.keys_values, context))

    def frame_mask(self, frames: int, device: torch.device) -> Tensor | None:
        """(F, F), True where a frame sees another: its own block and the window before the block's end."""
        window, block = window_frames(self.config.local_attn_size), self.num_frame_per_block
        if frames <= block <= window:
            return None  # one block sees all of itself
        frame = torch.arange(frames, device=device)
        end = (frame // block + 1) * block  # where the block of each query ends
        return (frame < end[:, None]) & (frame >= end[:, None] - window)

    def action_rope(self, positions: range, device: torch.device) -> Rope | None:
        action = self.config.action_config
        return rope_table(positions, 1, 1, action.rope_dim_list, action.rope_theta, device) if action else None

    def transform(self, tokens: Tensor, inputs: BlockInputs, cache: BlockCaches | None = None) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens, inputs, block.caches(cache, inputs) if cache else None)
        return tokens

    def unembed(self, tokens: Tensor, inputs: BlockInputs, grid: tuple[int, int, int]) -> Tensor:
        return unpatchify(self.head(tokens, inputs.time), grid, self.config.patch_size)

    def forward(
        self,
        x: Tensor,
        t: Tensor | float,
        visual_context: Tensor,
        cond_concat: Tensor,
        mouse_cond: Tensor | None = None,
        keyboard_cond: Tensor | None = None,
        cache: RolloutCache | None = None,
        start_frame: int = 0,
        *,
        kv_cache: list[dict[str, Any]] | None = None,
        kv_cache_mouse: list[dict[str, Any]] | None = None,
        kv_cache_keyboard: list[dict[str, Any]] | None = None,
        crossattn_cache: list[dict[str, Any]] | None = None,
        current_start: int = 0,
        cache_start: int | None = None,  # noqa: ARG002
    ) -> Tensor:
        """Flow (B, 16, F, H, W) of x (B, 16, F, H, W) at t: (B, F), or a number for all frames.

        With `cache`, x is the block whose first latent frame is `start_frame`; without, it is a whole sequence from
        frame 0. mouse_cond (B, T, 2) and keyboard_cond (B, T, keys) end with the last frame of x, one action a video
        frame, and reach back to frame 0 or at least over `tail_frames`; what is older has no effect. The keyword-only
        arguments are the official ones, for code written against the official class (`cache_start` is unused there too).
        """
        per_frame = self.tokens_per_frame(*x.shape[3:])
        block_cache: BlockCaches | None = cache
        if kv_cache is not None:
            start_frame = current_start // per_frame
            assert crossattn_cache is not None, "kv_cache comes with crossattn_cache"
            block_cache = OfficialCaches(
                start_frame, x.shape[2], per_frame, window_frames(self.config.local_attn_size), self.action_blocks,
                kv_cache, kv_cache_mouse, kv_cache_keyboard, crossattn_cache,
            )  # fmt: skip
        elif cache is not None:
            cache.open_block(start_frame)
        elif start_frame:
            raise ValueError(
                f"start_frame {start_frame} needs a cache: without one, x is the whole sequence from frame 0"
            )
        x = torch.cat([x, cond_concat.to(x.dtype)], dim=1)
        given = BlockConditions(visual_context, mouse_cond, keyboard_cond, start_frame)
        if block_cache is None:
            return self.whole(x, t, given)
        return self.step(x, self.time(t, len(x)), self.prepare(given, x.shape[2:]), block_cache)

    def whole(self, x: Tensor, t: Tensor | float, given: BlockConditions, cache: BlockCaches | None = None) -> Tensor:
        """The three phases in one. Without a cache x is a whole sequence, under the mask of its blocks."""
        actions = given.mouse, given.keyboard
        tokens, inputs, grid = self.embed(x, t, given.visual_context, actions, cache, given.start_frame)
        return self.unembed(self.transform(tokens, inputs, cache), inputs, grid)

    # One step of a block in three parts, by how long each stays what it is: here none is made before it is needed.

    def time(self, t: Tensor | float, batch: int) -> Any:  # noqa: ARG002  for who makes more of it
        """What a timestep comes to, for as long as the weights last."""
        return t

    def prepare(self, given: BlockConditions, size: Sequence[int]) -> Any:  # noqa: ARG002
        """What a block's conditions come to, for latents of `size` (F, H, W), in each of its steps."""
        return given

    def step(self, x: Tensor, time: Any, block: Any, cache: BlockCaches) -> Tensor:
        """Flow of a block; x (B, 16 + conditions, F, H, W)."""
        return self.whole(x, time, block, cache)

    @property
    def action_blocks(self) -> tuple[int, ...]:
        """The layers that carry an action module."""
        return self.config.action_config.blocks if self.config.action_config else ()


def _per_token(frame_mask: Tensor, tokens: int) -> Tensor:
    return frame_mask.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)
