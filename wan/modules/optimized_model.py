"""OptimizedWanModel: a Wan2.2 expert with the same weights, call and result as WanModel, and fewer passes over memory.

q, k and v are one matrix product; residual, norm and modulation are one pass (wan.kernels), as are norm and rope; GELU
leaves the product that feeds it. Text keys and values are computed once a prompt, and a prompt's zero padding, hundreds
of identical keys, is one key that counts for all of them. The residual stream stays float32, as upstream's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from wan.config import T2V_A14B, WanConfig
from wan.kernels.norm import add_norm, gated_add
from wan.kernels.qkv import norm_rope_place, rms_norm_heads
from wan.modules.attention import attend, attend_biased, count_bias
from wan.modules.fused import feed_forward, identity, joined, layer_norm_affine
from wan.modules.layers import unpatchify
from wan.modules.model import Conditions, WanBlock, WanModel
from wan.modules.rope import Rope

PROMPTS_KEPT = 2  # the two branches of guidance
FEWEST_REPEATS = 3  # as many keys as a weighted one may take


@dataclass(frozen=True)
class TextKeys:
    """Keys and values of one prompt in every layer; with a bias, the last few stand for all of its padding."""

    source: Tensor  # held, so that its identity stays its own
    layers: tuple[tuple[Tensor, Tensor], ...]
    bias: Tensor | None


class OptimizedWanModel(WanModel):
    def __init__(self, config: WanConfig = T2V_A14B):
        super().__init__(config)
        self._forget()
        self.register_load_state_dict_post_hook(lambda module, keys: module._forget())

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self._forget()  # .to() makes new storages
        return super()._apply(fn, recurse)

    def _forget(self) -> None:
        """Drop everything derived from weights or kept from earlier calls."""
        self._qkv: list[tuple[Tensor, Tensor]] | None = None
        self._texts: dict[Any, TextKeys] = {}

    def fused_qkv(self) -> list[tuple[Tensor, Tensor]]:
        """One (3C, C) weight a layer; q, k and v become views of it, so it costs no memory."""
        if self._qkv is None:
            self._qkv = [joined(b.self_attn.q, b.self_attn.k, b.self_attn.v) for b in self.blocks]
        return self._qkv

    def text_keys(self, context: Tensor) -> TextKeys:
        key = identity(context)
        if key not in self._texts:
            while len(self._texts) >= PROMPTS_KEPT:
                self._texts.pop(next(iter(self._texts)))
            used, bias = without_padding(context)
            layers = tuple(b.cross_attn.keys_values(used) for b in self.blocks)
            self._texts[key] = TextKeys(context, layers, bias)
        return self._texts[key]

    def transform(self, tokens: Tensor, conditions: Conditions) -> Tensor:
        """All transformer blocks; y and gate are what the next link of the chain still has to add to x."""
        text = self.text_keys(conditions.context)
        dtype, eps = conditions.context.dtype, self.config.eps
        x, y, gate = tokens.contiguous(), None, None
        for block, qkv, keys in zip(self.blocks, self.fused_qkv(), text.layers, strict=True):
            shift1, scale1, gate1, shift2, scale2, gate2 = (block.modulation.float() + conditions.modulation).unbind(2)
            x, h = add_norm(x, y, gate, (shift1, scale1), eps=eps, out_dtype=dtype)
            y = self.attend_self(block, qkv, h, conditions.rope)
            x, h = add_norm(x, y, gate1, None, layer_norm_affine(block.norm3), eps, dtype)
            y = self.attend_text(block, h, keys, text.bias)
            x, h = add_norm(x, y, None, (shift2, scale2), eps=eps, out_dtype=dtype)
            y, gate = feed_forward(block.ffn, h), gate2
        return gated_add(x, y, gate)

    def attend_self(self, block: WanBlock, qkv: tuple[Tensor, Tensor], h: Tensor, rope: Rope) -> Tensor:
        attention, projected = block.self_attn, F.linear(h, *qkv)
        heads, norms = attention.num_heads, (attention.norm_q.weight, attention.norm_k.weight)
        k = torch.empty_like(h).unflatten(-1, (heads, -1))
        q = norm_rope_place(projected, norms, rope, heads, (k, None), self.config.eps)
        v = projected[..., -h.shape[-1] :].unflatten(-1, (heads, -1))  # read in place: attention takes strided rows
        return attention.o(attend(q, k, v).flatten(2))

    def attend_text(self, block: WanBlock, h: Tensor, keys: tuple[Tensor, Tensor], bias: Tensor | None) -> Tensor:
        attention = block.cross_attn
        q = rms_norm_heads(attention.q(h), attention.norm_q.weight, attention.num_heads, self.config.eps)
        y = attend(q, *keys) if bias is None else attend_biased(q, *keys, bias)
        return attention.o(y.flatten(2))

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
