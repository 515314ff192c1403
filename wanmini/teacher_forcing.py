"""Every block of a clip denoised at once, each in front of a clean past: training that sees what a rollout sees.

A rollout denoises a block whose past was written to the caches by a clean pass at t = 0. Here a first pass runs over
the clean clip at t = 0 and keeps its keys and values; a second one runs over the noisy clip, where a block attends to
itself and to the kept keys of the window before it. Same positions, same windows, same weights: nothing to unlearn, and
every block of every clip is a target. Diffusion forcing (one pass, a noise level a block) would cost half as much a
step, but only the blocks that happen to be noisy behind clean ones teach what is needed. The past need not be the
truth: given the model's own frames, the same pass trains it to go on from its own mistakes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from wan.modules.attention import attend
from wan.modules.cache import window_frames
from wan.modules.causal_model import BlockInputs, CausalBlock, CausalWanModel

KeysValues = tuple[Tensor, Tensor]
Kept = dict[str, KeysValues]  # of one layer and one past, by kind


@dataclass(frozen=True)
class Given:
    """What a clip is conditioned on: image tokens (B, L, C), mask and image latents (B, 20, F, h, w), its actions."""

    visual: Tensor
    concat: Tensor
    mouse: Tensor
    keyboard: Tensor


class TwoPasses:
    """Stands where a layer has its caches (of which the reference model only writes): keeps what the first pass writes, and puts it before what the second does."""

    def __init__(self, kept: Kept | None = None) -> None:
        self.kept: Kept = kept or {}

    def layer(self, kind: str, _: int) -> Any:  # a LayerCache without what only faster models ask for
        return _Layer(self.kept, kind)

    def cross_kv(self, _: int, compute: Callable[[], KeysValues]) -> KeysValues:
        if "cross" not in self.kept:
            self.kept["cross"] = compute()
        return self.kept["cross"]


@dataclass(frozen=True)
class _Layer:
    kept: Kept
    kind: str

    def write(self, k: Tensor, v: Tensor) -> KeysValues:
        if self.kind not in self.kept:
            self.kept[self.kind] = k, v
            return k, v
        past_k, past_v = self.kept[self.kind]
        return torch.cat([past_k, k], 1), torch.cat([past_v, v], 1)


@dataclass(frozen=True)
class ByBlocks:
    """Attention in which a block sees the one before it and itself: every block an element of the batch, no mask.

    The keys are those of one clip or, in the second pass, of the clean clip and behind them those of the noisy one. The
    first block has none before it and sees itself twice, which is the same as once.
    """

    blocks: int
    clips: int

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = attend(q.unflatten(1, (self.blocks, -1)).flatten(0, 1), self._windows(k), self._windows(v))
        return out.unflatten(0, (len(q), self.blocks)).flatten(1, 2)

    def _windows(self, x: Tensor) -> Tensor:
        clips = x.unflatten(1, (self.clips, self.blocks, -1)).unbind(1)  # of (B, blocks, L, H, D)
        before = torch.cat([clips[-1][:, :1], clips[0][:, :-1]], 1)
        return torch.cat([before, clips[-1]], 2).flatten(0, 1)


def _past_pass(layer: CausalBlock, clean: Tensor, inputs: BlockInputs) -> tuple[Tensor, Kept]:
    cache = TwoPasses()
    return layer(clean, inputs, layer.caches(cache, inputs)), cache.kept


def _pass_behind(layer: CausalBlock, kept: Kept, noisy: Tensor, inputs: BlockInputs) -> Tensor:
    return layer(noisy, inputs, layer.caches(TwoPasses(kept), inputs))


def _both_passes(
    layer: CausalBlock, clean: Tensor, clean_inputs: BlockInputs, noisy: Tensor, inputs: BlockInputs
) -> tuple[Tensor, Tensor]:
    """One layer: tokens of the clean clip, also for what they leave behind, then those of the noisy clip."""
    clean, kept = _past_pass(layer, clean, clean_inputs)
    return clean, _pass_behind(layer, kept, noisy, inputs)


class Passes:
    """The work in the layers, which may be compiled; everything else in a forward is little."""

    def __init__(self, compiled: bool = False):
        if compiled:  # the layers differ in weights and in their number, which is no reason to compile again
            torch._dynamo.config.allow_unspec_int_on_nn_module = True
        self.both = torch.compile(_both_passes) if compiled else _both_passes
        self.past = torch.compile(_past_pass) if compiled else _past_pass
        self.behind = torch.compile(_pass_behind) if compiled else _pass_behind


EAGER = Passes()


def teacher_forced(
    model: CausalWanModel, past: Tensor, noisy: Tensor, t: Tensor, given: Given, passes: Passes = EAGER
) -> Tensor:
    """Flow (B, 16, F, h, w) of `noisy` at t (B, F), each block behind the clean latents `past` of the blocks before."""
    clean, clean_inputs = _embed_past(model, past, given)
    tokens, inputs, grid = _embed_noisy(model, noisy, t, given)
    for layer in model.blocks:
        clean, tokens = passes.both(layer, clean, clean_inputs, tokens, inputs)
    return model.unembed(tokens, inputs, grid)


def past_of(model: CausalWanModel, past: Tensor, given: Given, passes: Passes = EAGER) -> list[Kept]:
    """What every layer keeps of a past, to be used more than once."""
    clean, inputs = _embed_past(model, past, given)
    kept = []
    for layer in model.blocks:
        clean, of_layer = passes.past(layer, clean, inputs)
        kept.append(of_layer)
    return kept


def flow_behind(
    model: CausalWanModel, kept: list[Kept], noisy: Tensor, t: Tensor, given: Given, passes: Passes = EAGER
) -> Tensor:
    """What `teacher_forced` gives, behind the past of `past_of`."""
    tokens, inputs, grid = _embed_noisy(model, noisy, t, given)
    for layer, of_layer in zip(model.blocks, kept, strict=True):
        tokens = passes.behind(layer, of_layer, tokens, inputs)
    return model.unembed(tokens, inputs, grid)


def _embed_past(model: CausalWanModel, past: Tensor, given: Given) -> tuple[Tensor, BlockInputs]:
    frames = past.shape[2]
    assert window_frames(model.config.local_attn_size) == 2 * model.num_frame_per_block, "the minis see one block back"
    clean, inputs, _ = _embed(model, past, past.new_zeros(len(past), frames, dtype=torch.float32), given)
    return clean, _by_blocks(inputs, frames // model.num_frame_per_block, 1)


def _embed_noisy(
    model: CausalWanModel, noisy: Tensor, t: Tensor, given: Given
) -> tuple[Tensor, BlockInputs, tuple[int, int, int]]:
    tokens, inputs, grid = _embed(model, noisy, t, given)
    return tokens, _by_blocks(inputs, noisy.shape[2] // model.num_frame_per_block, 2), grid


def _by_blocks(inputs: BlockInputs, blocks: int, clips: int) -> BlockInputs:
    mask = ByBlocks(blocks, clips)
    return replace(inputs, frame_mask=mask, token_mask=mask)


def _embed(
    model: CausalWanModel, x: Tensor, t: Tensor, given: Given
) -> tuple[Tensor, BlockInputs, tuple[int, int, int]]:
    x = torch.cat([x, given.concat.to(x.dtype)], 1)
    actions = given.mouse.to(x.dtype), given.keyboard.to(x.dtype)
    return model.embed(x, t, given.visual, actions, None, 0)
