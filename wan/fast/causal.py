"""OptimizedCausalWanModel: the same weights, calls and results as CausalWanModel, with less work around the products.

What differs, and why it is equal up to rounding: q, k and v are one matrix product; residual, norm and modulation are
one pass (wan.fast.kernels), as are norm, rope and the cache write; the mouse window enters its MLP as a bias a frame instead
of being copied to every token; actions are embedded once a block, image keys once a rollout, timesteps once ever; rope
angles are kept. No step waits for the device. Graphs are put around `layers` from outside (wan.fast.graphs).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wan.config import UNIVERSAL, CausalConfig
from wan.fast.fused import Projection, feed_forward, identity, joined, layer_norm_affine, quantised_qkv
from wan.fast.kernels.action import bias_gelu, keyboard_attention, mouse_attention
from wan.fast.kernels.norm import add_norm, gated_add
from wan.fast.kernels.qkv import norm_rope_place, rms_norm_heads
from wan.modules.action import ActionModule, action_windows, tail_frames
from wan.modules.attention import attend
from wan.modules.causal_model import BlockCaches, BlockInputs, CausalBlock, CausalWanModel
from wan.modules.layers import Head, sinusoid, unpatchify
from wan.modules.rope import Rope, axis_dims, rope_table

FRAME_KEPT = 64  # rope tables of the latest latent frames; a stream visits each once


@dataclass(frozen=True)
class ActionFeatures:
    """What an action layer takes from the actions of a block: the same in each of its denoising steps."""

    mouse_bias: Tensor | None  # (B, F, mouse width)
    keyboard_kv: Tensor | None  # (B, F, 2 * keyboard width)


@dataclass(frozen=True)
class LayerInputs:
    """Tensors of one forward, all of constant shape, beside the tokens and the cache."""

    modulation: Tensor  # (layers, B, F or 1, 6, C)
    context: Tensor  # (B, L, C)
    rope: Rope
    action_rope: Rope | None
    actions: tuple[ActionFeatures, ...] = field(default=())  # one an action layer


class OptimizedCausalWanModel(CausalWanModel):
    def __init__(self, config: CausalConfig = UNIVERSAL):
        super().__init__(config)
        self._forget()
        self.register_load_state_dict_post_hook(lambda module, keys: module._forget())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._forget()  # .to() makes new storages
        return super()._apply(fn, recurse)

    def _forget(self) -> None:
        """Drop everything derived from weights or kept from earlier calls."""
        self._qkv: list[Projection] | None = None
        self._times: dict[tuple[float, int], tuple[Tensor, Tensor]] = {}
        self._ropes: dict[Any, Rope] = {}
        self._actions: tuple[Any, tuple[ActionFeatures, ...]] = (None, ())
        self._context: tuple[Any, Tensor | None] = (None, None)

    # What is computed once -------------------------------------------------------------------------------------------

    def fused_qkv(self) -> list[Projection]:
        """One (3C, C) weight a layer; q, k and v become views of it, so it costs no memory."""
        if self._qkv is None:
            layers = [b.self_attn for b in self.blocks]
            self._qkv = [quantised_qkv(layer) or joined(layer.q, layer.k, layer.v) for layer in layers]
        return self._qkv

    def embed_time(self, t: Tensor | float, batch: int) -> tuple[Tensor, Tensor]:
        """t -> time (B, F or 1, C), modulation of every layer (layers, B, F or 1, 6, C); a number is remembered."""
        if isinstance(t, Tensor):
            return self._embed_time(t)
        key = (float(t), batch)
        if key not in self._times:
            self._times[key] = self._embed_time(torch.full((batch, 1), float(t), device=self.device))
        return self._times[key]

    def _embed_time(self, t: Tensor) -> tuple[Tensor, Tensor]:
        time = self.time_embedding(sinusoid(t, self.config.freq_dim).to(self.dtype))
        own = torch.stack([b.modulation for b in self.blocks])[:, :, None]  # (layers, 1, 1, 6, C)
        return time, own + self.time_projection(time).unflatten(-1, (6, -1))

    def rope(self, frames: range, height: int, width: int, dims: tuple[int, ...], theta: float) -> Rope:
        key = (frames, height, width, theta)
        if key not in self._ropes:
            if len(self._ropes) >= FRAME_KEPT:
                self._ropes.clear()
            self._ropes[key] = rope_table(frames, height, width, dims, theta, self.device)
        return self._ropes[key]

    def action_features(
        self, mouse: Tensor | None, keyboard: Tensor | None, start_frame: int, frames: int
    ) -> tuple[ActionFeatures, ...]:
        """Once a block: a rollout passes the same tensors at each of its steps."""
        key = (identity(mouse), identity(keyboard), start_frame, frames)
        held, features = self._actions
        if held is None or held[0] != key:
            modules = [b.action_model for b in self.blocks if b.action_model is not None]
            features = tuple(_features(m, mouse, keyboard, frames, self.dtype) for m in modules)
            self._actions = ((key, mouse, keyboard), features)  # holding the tensors keeps their ids theirs
        return features

    def embed_context(self, visual_context: Tensor) -> Tensor:
        key = identity(visual_context)
        held, context = self._context
        if held is None or held[0] != key or context is None:
            context = self.img_emb(visual_context.to(self.dtype))
            self._context = ((key, visual_context), context)
        return context

    # Three phases ----------------------------------------------------------------------------------------------------

    def embed(self, x: Tensor, t: Tensor | float, visual_context: Tensor, actions: tuple[Tensor | None, Tensor | None],
              cache: BlockCaches | None, start_frame: int) -> tuple[Tensor, BlockInputs, tuple[int, int, int]]:  # fmt: skip
        if cache is None:
            return super().embed(x, t, visual_context, actions, cache, start_frame)
        tokens, grid = self.patches(x)
        positions = range(start_frame, start_frame + grid[0])
        time, modulation = self.embed_time(t, len(x))
        config, action = self.config, self.config.action_config
        dims = axis_dims(config.dim // config.num_heads)
        inputs = LayerInputs(
            modulation=modulation,
            context=self.embed_context(visual_context),
            rope=self.rope(positions, *grid[1:], dims, 10000.0),
            action_rope=action and self.rope(positions, 1, 1, action.rope_dim_list, float(action.rope_theta)),
            actions=self.action_features(*actions, start_frame, grid[0]) if action else (),
        )
        return tokens, FastInputs(time, inputs, cache), grid  # type: ignore[return-value]

    def patches(self, x: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
        """The patch embedding as one matrix product: its stride is its kernel."""
        (p, q, r), (b, _, f, h, w) = self.config.patch_size, x.shape
        if h % q or w % r:
            raise ValueError(f"latent size {h}x{w} does not fit the patch {q}x{r}; video sizes are multiples of 16")
        grid = (f // p, h // q, w // r)
        x = x.reshape(b, -1, grid[0], p, grid[1], q, grid[2], r).permute(0, 2, 4, 6, 1, 3, 5, 7)
        weight = self.patch_embedding.weight.flatten(1)
        return F.linear(x.flatten(4).flatten(1, 3).to(self.dtype), weight, self.patch_embedding.bias), grid

    def transform(self, tokens: Tensor, inputs: Any) -> Tensor:
        if isinstance(inputs, BlockInputs):
            return super().transform(tokens, inputs)  # without a cache: training and tests, where the mask rules
        return self.run_layers(tokens, inputs.layers, inputs.cache)

    def run_layers(self, tokens: Tensor, given: LayerInputs, cache: BlockCaches) -> Tensor:
        """What accel.graphs replaces by a captured one."""
        return self.layers(tokens, given, cache)

    def layers(self, x: Tensor, given: LayerInputs, cache: BlockCaches) -> Tensor:
        """All transformer blocks; y and gate are what the next link of the chain still has to add to x."""
        y = gate = None
        for block, qkv, e in zip(self.blocks, self.fused_qkv(), given.modulation, strict=True):
            shift1, scale1, gate1, shift2, scale2, gate2 = e.unbind(2)  # (B, F, C) each
            x, h = add_norm(x, y, gate, (shift1, scale1), eps=self.config.eps)
            y = self.attend_self(block, qkv, h, given.rope, cache)
            x, h = add_norm(x, y, gate1, None, layer_norm_affine(block.norm3), self.config.eps)
            y = self.attend_image(block, h, given.context, cache)
            if block.action_model is not None:
                x, y = self.act(block, gated_add(x, y, None), given, cache)
            x, h = add_norm(x, y, None, (shift2, scale2), eps=self.config.eps)
            y, gate = self.feed_forward(block, h), gate2
        return gated_add(x, y, gate)

    def attend_self(self, block: CausalBlock, qkv: Projection, h: Tensor, rope: Rope, cache: BlockCaches) -> Tensor:  # fmt: skip
        attention, layer = block.self_attn, cache.layer("self_attn", block.index)
        norms = (attention.norm_q.weight, attention.norm_k.weight)
        q = norm_rope_place(qkv(h), norms, rope, attention.num_heads, layer.slots(), self.config.eps)
        return attention.o(attend(q, *layer.seen()).flatten(2))

    def attend_image(self, block: CausalBlock, h: Tensor, context: Tensor, cache: BlockCaches) -> Tensor:
        attention = block.cross_attn
        kv = cache.cross_kv(block.index, lambda: attention.keys_values(context))
        q = rms_norm_heads(attention.q(h), attention.norm_q.weight, attention.num_heads, self.config.eps)
        return attention.o(attend(q, *kv).flatten(2))

    def act(
        self, block: CausalBlock, x: Tensor, given: LayerInputs, cache: BlockCaches
    ) -> tuple[Tensor, Tensor | None]:
        """x and what to add to it next; products accumulate into x where one follows another."""
        module, index = block.action_model, block.action_index
        assert module is not None and index is not None and given.action_rope is not None
        features, heads, width = given.actions[index], module.config.heads_num, x.shape[-1]
        frames, y = given.action_rope[0].shape[0], None
        if features.mouse_bias is not None:
            hidden = bias_gelu(F.linear(x, module.mouse_mlp[0].weight[:, :width]), features.mouse_bias)
            norm = module.mouse_mlp[3]
            _, hidden = add_norm(module.mouse_mlp[2](hidden), affine=(norm.weight, norm.bias), eps=norm.eps)
            layer = cache.layer("mouse", index)
            slots, past = layer.slots(), layer.past()
            out = mouse_attention(module.t_qkv(hidden), frames, heads, given.action_rope, slots, past)
            x = _add_product(x, out, module.proj_mouse)
        if features.keyboard_kv is not None:
            layer = cache.layer("keyboard", index)
            slots, seen = layer.slots(), layer.seen()
            q = module.mouse_attn_q(x)
            y = module.proj_keyboard(keyboard_attention(q, features.keyboard_kv, heads, given.action_rope, slots, seen))
        return x, y

    def feed_forward(self, block: CausalBlock, h: Tensor) -> Tensor:
        return feed_forward(block.ffn, h)

    def unembed(self, tokens: Tensor, inputs: Any, grid: tuple[int, int, int]) -> Tensor:
        if isinstance(inputs, BlockInputs):
            return super().unembed(tokens, inputs, grid)
        head: Head = self.head
        shift, scale = (head.modulation[:, None] + inputs.time[:, :, None]).unbind(2)
        _, h = add_norm(tokens, modulation=(shift, scale), eps=self.config.eps)
        return unpatchify(head.head(h), grid, self.config.patch_size)


@dataclass(frozen=True)
class FastInputs:
    time: Tensor
    layers: LayerInputs
    cache: BlockCaches


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
