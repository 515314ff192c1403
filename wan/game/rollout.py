"""The rollout: a world generated block by block from an image and actions. One generator for batch, terminal, browser.

A World is everything that changes from block to block, with its positions on the host; `rollout` drives it. A block's
frames do not depend on the clean pass that writes the block into the caches, so they are handed out before it: the
pass runs when the next block is asked for, or at `commit`. Memory does not grow with length.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from wan.fast.engine import Engine
from wan.finite import all_finite, require_finite
from wan.game.actions import Action, ActionScript, keyboard_vector
from wan.game.conditions import ImageCondition
from wan.game.modes import Mode
from wan.game.sampling import Sampling
from wan.game.timeline import Span, span
from wan.modules.action import tail_frames
from wan.modules.streaming import StreamedDecoder
from wan.schedule import few_step, renoise, x0_from_flow

LATENT_CHANNELS = 16
# For each world of a batch, an action for each of these video frames; None ends the rollout.
ActionSource = Callable[[range], Sequence[Sequence[Action]] | None]


class Noise(Protocol):
    def draw(self, shape: tuple[int, ...]) -> Tensor: ...


class SeededNoise:
    """One generator a world, on the CPU: a seed means the same world on every device and in every batch."""

    def __init__(self, seeds: Sequence[int]):
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        return torch.stack([torch.randn(shape[1:], generator=g) for g in self.generators])

    def state(self) -> Tensor:
        return torch.stack([g.get_state() for g in self.generators])

    def load_state(self, state: Tensor) -> None:
        for generator, saved in zip(self.generators, state, strict=True):
            generator.set_state(saved)


@dataclass(frozen=True)
class Block:
    span: Span
    latents: Tensor  # (B, 16, n, h, w)
    video: Tensor  # uint8 (B, frames, H, W, 3), on the device that made it
    actions: Sequence[Sequence[Action]]
    finite: Tensor  # whether latents and video are, as the device knows it

    def on_host(self) -> np.ndarray:
        """The video, uint8 (B, frames, H, W, 3); ValueError if it was made of numbers that are none."""
        video = self.video.cpu().numpy()
        require_finite(self.finite, f"block {self.span.block}")
        return video


class World:
    """A batch of worlds in progress. `generate` and `commit` alternate; what lies between two blocks can be saved."""

    def __init__(
        self,
        mode: Mode,
        engine: Engine,
        decoder: StreamedDecoder,
        condition: ImageCondition,
        noise: Noise,
        sampling: Sampling,
    ):
        self.mode, self.model, self.decoder = mode, engine.model, decoder
        self.condition, self.noise, self.sampling = condition, noise, sampling
        self.schedule = few_step(sampling.denoising_step_list, sampling.timestep_shift, sampling.warp_denoising_step)
        batch, _, _, height, width = condition.concat.shape
        self.shape = (batch, LATENT_CHANNELS, sampling.num_frame_per_block, height, width)
        self.lease = engine.begin(condition.visual_context, height, width, sampling.num_frame_per_block)
        self.decoder_state = decoder.new_state()
        self.block = 0
        self.pending: Tensor | None = None  # latents of this block, not yet in the caches
        self.concat = condition.concat[:, :, :0]  # the image's part of every forward of this block
        self.keyboard = torch.zeros(batch, 0, mode.keyboard_dim)  # the actions that the model can still see
        self.mouse = torch.zeros(batch, 0, 2)

    @property
    def span(self) -> Span:
        return span(self.block, self.sampling.num_frame_per_block)

    @torch.no_grad()
    def generate(self, actions: Sequence[Sequence[Action]]) -> Block:
        """The next block. It is not yet past: `commit` makes it so."""
        self.commit()
        self._remember(actions)
        self._open_block()
        with torch.profiler.record_function("denoise"):
            self.pending = self._denoise()
        with torch.profiler.record_function("decode"):
            # float32 until the decoder casts: the latents are scaled before that
            decoded = self.decoder.decode_chunk(self.pending.float(), self.decoder_state)
            video = _pixels(decoded)
        return Block(self.span, self.pending, video, actions, all_finite(self.pending, decoded))

    @torch.no_grad()
    def commit(self) -> None:
        """The clean pass: writes the generated block into the caches. Nothing to do twice."""
        if self.pending is None:
            return
        with torch.profiler.record_function("clean pass"):
            self._forward(self.pending, self.sampling.context_noise)
        self.pending = None
        self.block += 1

    def _denoise(self) -> Tensor:
        steps = list(zip(self.schedule.timesteps, self.schedule.sigmas, strict=True))
        # all drawn first: drawing and copying would make a GPU wait between the steps
        x, *noises = [self.noise.draw(self.shape).to(self.model.device, self.model.dtype) for _ in steps]
        for (timestep, sigma), (_, next_sigma), noise in zip(steps, steps[1:], noises):
            x = renoise(x0_from_flow(self._forward(x, timestep), x, sigma), noise, next_sigma)
        timestep, sigma = steps[-1]
        return x0_from_flow(self._forward(x, timestep), x, sigma)

    def _forward(self, x: Tensor, timestep: float) -> Tensor:
        return self.lease.step(torch.cat([x, self.concat], dim=1), timestep)

    def _open_block(self) -> None:
        mouse = self._as_given(self.mouse) if self.mode.has_mouse else None
        self.concat = self._as_given(self.condition.block(self.span.latent))
        self.lease.open_block(self.span.latent.start, mouse, self._as_given(self.keyboard))

    def _as_given(self, condition: Tensor) -> Tensor:
        return condition.to(self.model.device, self.model.dtype).contiguous()

    def _remember(self, actions: Sequence[Sequence[Action]]) -> None:
        assert all(len(row) == len(self.span.frames) for row in actions), "one action for every frame of the block"
        keyboard = torch.tensor([[keyboard_vector(self.mode, act) for act in row] for row in actions])
        mouse = torch.tensor([[act.mouse for act in row] for row in actions])
        assert self.model.config.action_config is not None
        seen = tail_frames(self.sampling.num_frame_per_block, self.model.config.action_config)
        self.keyboard = torch.cat([self.keyboard, keyboard], dim=1)[:, -seen:]
        self.mouse = torch.cat([self.mouse, mouse], dim=1)[:, -seen:]


def rollout(world: World, actions: ActionSource, blocks: int | None = None) -> Iterator[Block]:
    """Blocks as they are made, until `actions` answers None or `blocks` are done. Actions are asked for when needed."""
    for _ in itertools.count() if blocks is None else range(blocks):
        chosen = actions(world.span.frames)
        if chosen is None:
            return
        yield world.generate(chosen)
        world.commit()


def scripted(scripts: Sequence[ActionScript]) -> ActionSource:
    """Each world of a batch by its own script."""
    return lambda frames: [script.window(frames) for script in scripts]


def _pixels(video: Tensor) -> Tensor:
    """(B, 3, F, H, W) in [-1, 1] to uint8 (B, F, H, W, 3)."""
    return video.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 4, 1).contiguous()
