"""OptimizedWanModel: a Wan2.2 expert with the same weights, call and result as WanModel, and fewer passes over memory.

q, k and v are one matrix product; residual, norm and modulation are one pass (wan.fast.kernels), as are norm and rope; GELU
leaves the product that feeds it. Text keys and values are computed once a prompt, and a prompt's zero padding, hundreds
of identical keys, is one key that counts for all of them. The residual stream stays float32, as upstream's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from wan.config import WanConfig
from wan.fast.fused import FusedFeedForward, JoinedSelfAttention, layer_norm_affine
from wan.fast.kernels.norm import add_norm, gated_add
from wan.fast.kernels.qkv import norm_rope_place, rms_norm_heads
from wan.modules.attention import attend, attend_biased, count_bias
from wan.modules.layers import unpatchify
from wan.modules.model import Conditions, WanBlock, WanModel
from wan.modules.rope import Rope

FEWEST_REPEATS = 3  # as many keys as a weighted one may take
KeysValues = tuple[Tensor, Tensor]


class Text:
    """One prompt as this expert reads it, without its padding; with a bias, its last few rows stand for all of it.

    Each layer's keys are computed in the first forward and kept for as long as whoever asked for the text keeps that.
    """

    def __init__(self, context: Tensor, layers: int):
        self.rows, self.bias = without_padding(context)
        self._keys: list[KeysValues | None] = [None] * layers

    def keys(self, layer: int, compute: Callable[[Tensor], KeysValues]) -> KeysValues:
        kept = self._keys[layer]
        if kept is None:
            kept = self._keys[layer] = compute(self.rows)
        return kept


class OptimizedWanBlock(WanBlock):
    """A layer as a link of a chain: it is given what the one before still has to add to x, and returns its own."""

    self_attn: JoinedSelfAttention

    def __init__(self, config: WanConfig):
        super().__init__(config)
        self.eps = config.eps
        self.self_attn = JoinedSelfAttention(config.dim, config.num_heads, config.eps, config.qk_norm)
        self.ffn = FusedFeedForward(config.dim, config.ffn_dim)

    def forward(  # type: ignore[override]
        self, x: Tensor, y: Tensor | None, gate: Tensor | None, modulation: Tensor, rope: Rope, text: Text, layer: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        dtype = text.rows.dtype
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.modulation.float() + modulation).unbind(2)
        x, h = add_norm(x, y, gate, (shift1, scale1), eps=self.eps, out_dtype=dtype)
        y = self.attend_self(h, rope)
        x, h = add_norm(x, y, gate1, None, layer_norm_affine(self.norm3), self.eps, dtype)
        y = self.attend_text(h, text, layer)
        x, h = add_norm(x, y, None, (shift2, scale2), eps=self.eps, out_dtype=dtype)
        return x, self.ffn(h), gate2

    def attend_self(self, h: Tensor, rope: Rope) -> Tensor:
        attention, projected = self.self_attn, self.self_attn.qkv(h)
        heads, norms = attention.num_heads, (attention.norm_q.weight, attention.norm_k.weight)
        k = torch.empty_like(h).unflatten(-1, (heads, -1))
        q = norm_rope_place(projected, norms, rope, heads, (k, None), self.eps)
        v = projected[..., -h.shape[-1] :].unflatten(-1, (heads, -1))  # read in place: attention takes strided rows
        return attention.o(attend(q, k, v).flatten(2))

    def attend_text(self, h: Tensor, text: Text, layer: int) -> Tensor:
        attention = self.cross_attn
        keys = text.keys(layer, attention.keys_values)
        q = rms_norm_heads(attention.q(h), attention.norm_q.weight, attention.num_heads, self.eps)
        y = attend(q, *keys) if text.bias is None else attend_biased(q, *keys, text.bias)
        return attention.o(y.flatten(2))


class OptimizedWanModel(WanModel):
    block_class = OptimizedWanBlock

    def embed_text(self, context: Sequence[Tensor]) -> Text:
        return Text(super().embed_text(context), len(self.blocks))

    def transform(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        text, x = conditions.context, tokens.contiguous()
        y: Tensor | None = None
        gate: Tensor | None = None
        for layer, block in enumerate(self.blocks):
            x, y, gate = block(x, y, gate, conditions.modulation, conditions.rope, text, layer)
        assert y is not None
        return gated_add(x, y, gate)

    def unembed(self, tokens: Tensor, conditions: Conditions, grid: tuple[int, int, int]) -> Tensor:
        shift, scale = (self.head.modulation + conditions.time[:, :, None]).unbind(2)
        _, h = add_norm(tokens, modulation=(shift, scale), eps=self.config.eps)
        linear = self.head.head
        return unpatchify(F.linear(h, linear.weight.float(), linear.bias.float()), grid, self.config.patch_size)


def without_padding(context: Tensor) -> tuple[Tensor, Tensor | None]:
    """(B, L, C) with its trailing identical rows cut to the few that `count_bias` weighs, and that bias."""
    repeats = trailing_repeats(context)
    if repeats <= FEWEST_REPEATS:
        return context, None
    keys = context.shape[1] - repeats + 1
    bias, kept = count_bias(keys, repeats, context.dtype, context.device)
    return context[:, : keys - 1 + kept], bias


def trailing_repeats(context: Tensor) -> int:
    """How many of the last rows of (B, L, C) are the same row, at least 1; read from the device once a prompt."""
    same = (context == context[:, -1:]).all(dim=-1).all(dim=0)  # (L,)
    return int(same.flip(0).long().cumprod(0).sum())
