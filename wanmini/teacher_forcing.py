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


def second_mask(frames: int, block: int, window: int, device: torch.device) -> Tensor:
    """(F, 2F): a noisy frame sees the clean ones of its window that come before its block, and its own noisy block."""
    frame = torch.arange(frames, device=device)
    start = (frame // block * block)[:, None]
    clean = (frame < start) & (frame >= start + block - window)
    noisy = (frame >= start) & (frame < start + block)
    return torch.cat([clean, noisy], 1)


def teacher_forced(
    model: CausalWanModel, past: Tensor, noisy: Tensor, t: Tensor, given: Given, both: BothPasses | None = None
) -> Tensor:
    """Flow [B, 16, F, h, w] of `noisy` at t [B, F], each block behind the clean latents `past` of the blocks before.

    `both` may be a compiled `both_passes`, which is nearly all of the work and none of the host's.
    """
    frames, device = noisy.shape[2], noisy.device
    clean, clean_inputs, _ = _embed(model, past, torch.zeros_like(t), given)
    tokens, inputs, grid = _embed(model, noisy, t, given)
    mask = second_mask(frames, model.num_frame_per_block, window_frames(model.config.local_attn_size), device)
    token_mask = mask.repeat_interleave(grid[1] * grid[2], 0).repeat_interleave(grid[1] * grid[2], 1)
    inputs = replace(inputs, frame_mask=mask, token_mask=token_mask)
    for block in model.blocks:
        clean, tokens = (both or both_passes)(block, clean, clean_inputs, tokens, inputs)
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
