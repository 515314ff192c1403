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

import torch
from torch import Tensor, nn

from wan.modules.attention import attend
from wan.modules.cache import window_frames
from wan.modules.causal_model import BlockInputs, CausalWanModel

KeysValues = tuple[Tensor, Tensor]
BothPasses = Callable[..., tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Given:
    """What a clip is conditioned on: image tokens [B, L, C], mask and image latents [B, 20, F, h, w], its actions."""

    visual: Tensor
    concat: Tensor
    mouse: Tensor
    keyboard: Tensor


class TwoPasses:
    """Stands where a layer has its caches (of which the reference model only writes): keeps what the first pass writes, and puts it before what the second does."""

    def __init__(self) -> None:
        self.kept: dict[str, KeysValues] = {}

    def layer(self, kind: str, index: int) -> _Layer:
        return _Layer(self.kept, kind)

    def cross_kv(self, index: int, compute: Callable[[], KeysValues]) -> KeysValues:
        if "cross" not in self.kept:
            self.kept["cross"] = compute()
        return self.kept["cross"]


@dataclass(frozen=True)
class _Layer:
    kept: dict[str, KeysValues]
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
        clips = x.unflatten(1, (self.clips, self.blocks, -1)).unbind(1)  # of [B, blocks, L, H, D]
        before = torch.cat([clips[-1][:, :1], clips[0][:, :-1]], 1)
        return torch.cat([before, clips[-1]], 2).flatten(0, 1)


def teacher_forced(
    model: CausalWanModel, past: Tensor, noisy: Tensor, t: Tensor, given: Given, both: BothPasses | None = None
) -> Tensor:
    """Flow [B, 16, F, h, w] of `noisy` at t [B, F], each block behind the clean latents `past` of the blocks before.

    `both` may be a compiled `both_passes`, which is nearly all of the work and none of the host's.
    """
    block = model.num_frame_per_block
    assert window_frames(model.config.local_attn_size) == 2 * block, "the minis see one block behind the present one"
    clean, clean_inputs, _ = _embed(model, past, torch.zeros_like(t), given)
    tokens, inputs, grid = _embed(model, noisy, t, given)
    one, two = (ByBlocks(noisy.shape[2] // block, clips) for clips in (1, 2))
    clean_inputs = replace(clean_inputs, frame_mask=one, token_mask=one)
    inputs = replace(inputs, frame_mask=two, token_mask=two)
    for layer in model.blocks:
        clean, tokens = (both or both_passes)(layer, clean, clean_inputs, tokens, inputs)
    return model.unembed(tokens, inputs, grid)


def both_passes(
    block: nn.Module, clean: Tensor, clean_inputs: BlockInputs, noisy: Tensor, inputs: BlockInputs
) -> tuple[Tensor, Tensor]:
    """One layer: tokens of the clean clip, also for what they leave behind, then those of the noisy clip."""
    kept = TwoPasses()
    clean = block(clean, replace(clean_inputs, cache=kept))
    return clean, block(noisy, replace(inputs, cache=kept))


def _embed(
    model: CausalWanModel, x: Tensor, t: Tensor, given: Given
) -> tuple[Tensor, BlockInputs, tuple[int, int, int]]:
    x = torch.cat([x, given.concat.to(x.dtype)], 1)
    actions = given.mouse.to(x.dtype), given.keyboard.to(x.dtype)
    return model.embed(x, t, given.visual, actions, None, 0)
