"""OptimizedCausalWanModel: the same weights, calls and results as CausalWanModel, with less work around the products.

What differs, and why it is equal up to rounding: q, k and v are one matrix product; residual, norm and modulation are
one pass (wan.fast.kernels), as are norm, rope and the cache write; the mouse window enters its MLP as a bias a frame
instead of being copied to every token. `time` and `prepare` make what outlasts a step; nothing is remembered here: an
engine (wan.fast.engine) calls them once where a plain call makes them anew. No step waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache as once
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wan.config import CausalConfig
from wan.fast.fused import FusedFeedForward, JoinedSelfAttention, layer_norm_affine
from wan.fast.kernels.action import bias_gelu, keyboard_attention, mouse_attention
from wan.fast.kernels.norm import add_norm, gated_add
from wan.fast.kernels.qkv import norm_rope_place, rms_norm_heads
from wan.modules.action import ActionModule, action_windows, tail_frames
from wan.modules.attention import attend
from wan.modules.causal_model import BlockCaches, BlockConditions, CausalBlock, CausalWanModel
from wan.modules.layers import Head, sinusoid, unpatchify
from wan.modules.rope import Rope, axis_dims, rope_table

Context = Callable[[], Tensor]  # the image's tokens (B, L, C), asked for only where their keys are not there yet


class Time(NamedTuple):
    """A timestep, embedded, and what it comes to in every layer."""

    embedded: Tensor  # (B, F or 1, C)
    modulation: Tensor  # (layers, B, F or 1, 6, C)


class ActionFeatures(NamedTuple):
    """What an action layer takes from the actions of a block."""

    mouse_bias: Tensor | None  # (B, F, mouse width)
    keyboard_kv: Tensor | None  # (B, F, 2 * keyboard width)


@dataclass(frozen=True)
class BlockTables:
    """What the layers take from a block's place and its actions, all of constant shape."""

    rope: Rope
    action_rope: Rope | None
    actions: tuple[ActionFeatures, ...]  # one an action layer


@dataclass(frozen=True)
class Prepared:
    tables: BlockTables
    context: Context


Layers = Callable[[Tensor, Tensor], Tensor]  # tokens and modulation of all layers -> tokens


class OptimizedCausalBlock(CausalBlock):
    self_attn: JoinedSelfAttention

    def __init__(self, config: CausalConfig, index: int):
        super().__init__(config, index)
        self.self_attn = JoinedSelfAttention(config.dim, config.num_heads, config.eps, config.qk_norm)
        self.ffn = FusedFeedForward(config.dim, config.ffn_dim)


class OptimizedCausalWanModel(CausalWanModel):
    block_class = OptimizedCausalBlock

    def time(self, t: Tensor | float, batch: int) -> Time:
        if not isinstance(t, Tensor):
            t = torch.full((batch, 1), float(t), device=self.device)
        embedded = self.time_embedding(sinusoid(t, self.config.freq_dim).to(self.dtype))
        own = torch.stack([b.modulation for b in self.blocks])[:, :, None]  # (layers, 1, 1, 6, C)
        return Time(embedded, own + self.time_projection(embedded).unflatten(-1, (6, -1)))

    def prepare(self, given: BlockConditions, size: Sequence[int]) -> Prepared:
        frames, height, width = self.grid(size)
        positions = range(given.start_frame, given.start_frame + frames)
        dims = axis_dims(self.config.dim // self.config.num_heads)
        modules = [b.action_model for b in self.blocks if b.action_model is not None]
        tables = BlockTables(
            rope=rope_table(positions, height, width, dims, device=self.device),
            action_rope=self.action_rope(positions, self.device),
            actions=tuple(_features(m, given.mouse, given.keyboard, frames, self.dtype) for m in modules),
        )
        return Prepared(tables, once(lambda: self.embed_image(given.visual_context)))

    def step(self, x: Tensor, time: Time, block: Prepared, cache: BlockCaches, layers: Layers | None = None) -> Tensor:
        """`layers` stands in for the layers of this model: a captured graph of them, say."""
        if layers is None:

            def layers(tokens: Tensor, modulation: Tensor) -> Tensor:
                return self.layers(tokens, modulation, block.tables, cache, block.context)

        tokens = self.patches(x)
        return self.unpatched(layers(tokens, time.modulation), time.embedded, self.grid(x.shape[2:]))

    def grid(self, size: Sequence[int]) -> tuple[int, int, int]:
        """Of tokens, for latents of `size` (F, H, W)."""
        (p, q, r), (frames, height, width) = self.config.patch_size, size
        if height % q or width % r:
            raise ValueError(
                f"latent size {height}x{width} does not fit the patch {q}x{r}; video sizes are multiples of 16"
            )
        return frames // p, height // q, width // r

    def patches(self, x: Tensor) -> Tensor:
        """The patch embedding as one matrix product: its stride is its kernel."""
        (p, q, r), (f, h, w) = self.config.patch_size, self.grid(x.shape[2:])
        x = x.reshape(len(x), -1, f, p, h, q, w, r).permute(0, 2, 4, 6, 1, 3, 5, 7)
        weight = self.patch_embedding.weight.flatten(1)
        return F.linear(x.flatten(4).flatten(1, 3).to(self.dtype), weight, self.patch_embedding.bias)

    def layers(
        self, x: Tensor, modulation: Tensor, tables: BlockTables, cache: BlockCaches, context: Context
    ) -> Tensor:
        """All transformer blocks; y and gate are what the next link of the chain still has to add to x."""
        y: Tensor | None = None
        gate: Tensor | None = None
        for block, e in zip(self.blocks, modulation, strict=True):
            shift1, scale1, gate1, shift2, scale2, gate2 = e.unbind(2)  # (B, F, C) each
            x, h = add_norm(x, y, gate, (shift1, scale1), eps=self.config.eps)
            y = self.attend_self(block, h, tables.rope, cache)
            x, h = add_norm(x, y, gate1, None, layer_norm_affine(block.norm3), self.config.eps)
            y = self.attend_image(block, h, context, cache)
            if block.action_model is not None:
                x, y = self.act(block, gated_add(x, y, None), tables, cache)
            x, h = add_norm(x, y, None, (shift2, scale2), eps=self.config.eps)
            y, gate = self.feed_forward(block, h), gate2
        assert y is not None
        return gated_add(x, y, gate)

    def attend_self(self, block: OptimizedCausalBlock, h: Tensor, rope: Rope, cache: BlockCaches) -> Tensor:
        attention, layer = block.self_attn, cache.layer("self_attn", block.index)
        norms = (attention.norm_q.weight, attention.norm_k.weight)
        q = norm_rope_place(attention.qkv(h), norms, rope, attention.num_heads, layer.slots(), self.config.eps)
        return attention.o(attend(q, *layer.seen()).flatten(2))

    def attend_image(self, block: CausalBlock, h: Tensor, context: Context, cache: BlockCaches) -> Tensor:
        attention = block.cross_attn
        kv = cache.cross_kv(block.index, lambda: attention.keys_values(context()))
        q = rms_norm_heads(attention.q(h), attention.norm_q.weight, attention.num_heads, self.config.eps)
        return attention.o(attend(q, *kv).flatten(2))

    def act(
        self, block: CausalBlock, x: Tensor, tables: BlockTables, cache: BlockCaches
    ) -> tuple[Tensor, Tensor | None]:
        """x and what to add to it next; products accumulate into x where one follows another."""
        module, index = block.action_model, block.action_index
        assert module is not None and index is not None and tables.action_rope is not None
        features, heads, width = tables.actions[index], module.config.heads_num, x.shape[-1]
        frames, y = tables.action_rope[0].shape[0], None
        if features.mouse_bias is not None:
            hidden = bias_gelu(F.linear(x, module.mouse_mlp[0].weight[:, :width]), features.mouse_bias)
            norm = module.mouse_mlp[3]
            _, hidden = add_norm(module.mouse_mlp[2](hidden), affine=(norm.weight, norm.bias), eps=norm.eps)
            layer = cache.layer("mouse", index)
            slots, past = layer.slots(), layer.past()
            out = mouse_attention(module.t_qkv(hidden), frames, heads, tables.action_rope, slots, past)
            x = _add_product(x, out, module.proj_mouse)
        if features.keyboard_kv is not None:
            layer = cache.layer("keyboard", index)
            slots, seen = layer.slots(), layer.seen()
            q = module.mouse_attn_q(x)
            out = keyboard_attention(q, features.keyboard_kv, heads, tables.action_rope, slots, seen)
            y = module.proj_keyboard(out)
        return x, y

    def feed_forward(self, block: CausalBlock, h: Tensor) -> Tensor:
        return block.ffn(h)

    def unpatched(self, tokens: Tensor, time: Tensor, grid: tuple[int, int, int]) -> Tensor:
        head: Head = self.head
        shift, scale = (head.modulation[:, None] + time[:, :, None]).unbind(2)
        _, h = add_norm(tokens, modulation=(shift, scale), eps=self.config.eps)
        return unpatchify(head.head(h), grid, self.config.patch_size)


def _features(module: ActionModule, mouse: Tensor | None, keyboard: Tensor | None, frames: int, dtype: torch.dtype) -> ActionFeatures:  # fmt: skip
    """The part of an action module that sees only the actions."""
    config, mouse_bias, keyboard_kv = module.config, None, None
    if config.enable_mouse and mouse is not None:
        first = module.mouse_mlp[0]
        windows = action_windows(mouse, frames, config).flatten(2).to(dtype)
        mouse_bias = F.linear(windows, first.weight[:, config.img_hidden_size :], first.bias)
    if config.enable_keyboard and keyboard is not None:
        needed = keyboard[:, -tail_frames(frames, config) :].to(dtype)
        windows = action_windows(module.keyboard_embed(needed), frames, config)
        keyboard_kv = module.keyboard_attn_kv(windows.flatten(2))
    return ActionFeatures(mouse_bias, keyboard_kv)


def _add_product(x: Tensor, a: Tensor, linear: nn.Linear) -> Tensor:
    """x + linear(a) with the sum inside the matrix product."""
    if linear.bias is not None:
        return x + linear(a)
    return torch.addmm(x.flatten(0, 1), a.flatten(0, 1), linear.weight.t()).view_as(x)
