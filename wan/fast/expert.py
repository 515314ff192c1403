"""OptimizedWanModel: a Wan2.2 expert with the same weights, call and result as WanModel, and fewer passes over memory.

q, k and v are one matrix product; residual, norm and modulation are one pass (wan.fast.kernels), as are norm and rope; GELU
leaves the product that feeds it. Text keys and values are computed once a prompt, and a prompt's zero padding, hundreds
of identical keys, is one key that counts for all of them. The residual stream stays float32, as upstream's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wan.config import WanConfig
from wan.fast.fused import Joined, Projection, feed_forward, identity, joined, layer_norm_affine, quantised_qkv
from wan.fast.kernels.norm import add_norm, gated_add
from wan.fast.kernels.qkv import norm_rope_place, rms_norm_heads
from wan.modules.attention import attend, attend_biased, count_bias
from wan.modules.layers import unpatchify
from wan.modules.model import Conditions, WanBlock, WanModel
from wan.modules.rope import Rope

PROMPTS_KEPT = 2  # the two branches of guidance
FEWEST_REPEATS = 3  # as many keys as a weighted one may take


@dataclass(frozen=True)
class Text:
    """One prompt without its padding; with a bias, its last few rows stand for all of it."""

    source: Tensor  # held, so that its identity stays its own
    rows: Tensor
    bias: Tensor | None


class OptimizedWanBlock(WanBlock):
    """A layer as a link of a chain: it is given what the one before still has to add to x, and returns its own."""

    def __init__(self, config: WanConfig):
        super().__init__(config)
        self.eps = config.eps
        self._qkv: Joined | None = None
        self._keys: dict[int, tuple[Text, tuple[Tensor, Tensor]]] = {}

    def fused_qkv(self) -> Projection:
        """One (3C, C) weight of which q, k and v are views; made again when something moved them."""
        if quantised := quantised_qkv(self.self_attn):
            return quantised
        q, v = self.self_attn.q.weight, self.self_attn.v.weight
        if self._qkv is None or (q.data_ptr(), v.data_ptr()) != _ends(self._qkv.weight):
            self._qkv = joined(self.self_attn.q, self.self_attn.k, self.self_attn.v)
            self._keys.clear()
        return self._qkv

    def text_keys(self, text: Text) -> tuple[Tensor, Tensor]:
        """Computed once a prompt."""
        held = self._keys.get(id(text))
        if held is None or held[0] is not text:
            while len(self._keys) >= PROMPTS_KEPT:
                self._keys.pop(next(iter(self._keys)))
            held = self._keys[id(text)] = text, self.cross_attn.keys_values(text.rows)
        return held[1]

    def forward(  # type: ignore[override]
        self, x: Tensor, y: Tensor | None, gate: Tensor | None, modulation: Tensor, text: Text, rope: Rope
    ) -> tuple[Tensor, Tensor, Tensor]:
        qkv, dtype = self.fused_qkv(), text.rows.dtype
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.modulation.float() + modulation).unbind(2)
        x, h = add_norm(x, y, gate, (shift1, scale1), eps=self.eps, out_dtype=dtype)
        y = self.attend_self(h, qkv, rope)
        x, h = add_norm(x, y, gate1, None, layer_norm_affine(self.norm3), self.eps, dtype)
        y = self.attend_text(h, text)
        x, h = add_norm(x, y, None, (shift2, scale2), eps=self.eps, out_dtype=dtype)
        return x, feed_forward(self.ffn, h), gate2

    def attend_self(self, h: Tensor, qkv: Projection, rope: Rope) -> Tensor:
        attention, projected = self.self_attn, qkv(h)
        heads, norms = attention.num_heads, (attention.norm_q.weight, attention.norm_k.weight)
        k = torch.empty_like(h).unflatten(-1, (heads, -1))
        q = norm_rope_place(projected, norms, rope, heads, (k, None), self.eps)
        v = projected[..., -h.shape[-1] :].unflatten(-1, (heads, -1))  # read in place: attention takes strided rows
        return attention.o(attend(q, k, v).flatten(2))

    def attend_text(self, h: Tensor, text: Text) -> Tensor:
        attention, keys = self.cross_attn, self.text_keys(text)
        q = rms_norm_heads(attention.q(h), attention.norm_q.weight, attention.num_heads, self.eps)
        y = attend(q, *keys) if text.bias is None else attend_biased(q, *keys, text.bias)
        return attention.o(y.flatten(2))


class OptimizedWanModel(WanModel):
    block_class = OptimizedWanBlock

    def text(self, context: Tensor) -> Text:
        """The same object for the same prompt, so that layers know what they have keys for."""
        self._texts: dict[Any, Text] = getattr(self, "_texts", {})
        key = identity(context)
        if key not in self._texts:
            while len(self._texts) >= PROMPTS_KEPT:
                self._texts.pop(next(iter(self._texts)))
            self._texts[key] = Text(context, *without_padding(context))
        return self._texts[key]

    def transform(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        text, x = self.text(conditions.context), tokens.contiguous()
        y = gate = None
        for block in self.blocks:
            x, y, gate = block(x, y, gate, conditions.modulation, text, conditions.rope)
        return gated_add(x, y, gate)

    def unembed(self, tokens: Tensor, conditions: Conditions, grid: tuple[int, int, int]) -> Tensor:
        shift, scale = (self.head.modulation + conditions.time[:, :, None]).unbind(2)
        _, h = add_norm(tokens, modulation=(shift, scale), eps=self.config.eps)
        linear = self.head.head
        return unpatchify(F.linear(h, linear.weight.float(), linear.bias.float()), grid, self.config.patch_size)


def _ends(qkv: Tensor) -> tuple[int, int]:
    """Where q begins and where v does."""
    return qkv.data_ptr(), qkv.chunk(3)[2].data_ptr()


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
