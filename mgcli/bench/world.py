"""A whole block as a rollout makes it, and how long a key press takes to become a picture on the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mgcli.bench import causal, decoding
from mgcli.bench.ladder import Calls, Case, Kind, Rung
from mgcli.bench.sizes import CONDITION_CHANNELS, Draw, GameSize
from mgcli.bench.work import Work, repeated
from wan.fast.speed import Speed
from wan.game.actions import Action, action
from wan.game.conditions import ImageCondition
from wan.game.rollout import Block, SeededNoise, World

# what a step gets wrong the next one starts from, so two right roundings drift further apart than in a single forward
ROLLOUT_SLACK = 1.5


@dataclass(frozen=True)
class WorldWay:
    name: str
    speed: Speed
    decoder: decoding.OpenDecoder
    kind: Kind = "exact"


REFERENCE, FUSED, GRAPHS, _ = (speed for _, speed in causal.WAYS)
BEST = Speed()  # graphs where they exist
WAYS = (
    WorldWay("reference", REFERENCE, decoding.reference),
    WorldWay("+ fused kernels", FUSED, decoding.fused),
    WorldWay("+ CUDA graphs", GRAPHS, decoding.fused),
    WorldWay("+ tiny VAE", BEST, decoding.tiny, "lossy"),
)


def block_case(size: GameSize, device: torch.device) -> Case:
    steps = len(size.sampling.denoising_step_list)
    return Case(
        name="block",
        title=f"a block of {4 * size.block} frames: {steps} steps, clean pass, decode",
        rungs=rungs(partial(open_block, size, device), size),
        dtype=size.dtype,
        work=world_work(size, forwards=steps + 1),
        truth=partial(open_block, size, device, WAYS[0], torch.float32),
        slack=ROLLOUT_SLACK,
        goal_ms=size.goals.get("block"),
        frames=4 * size.block,
    )


def key_press_case(size: GameSize, device: torch.device) -> Case:
    """Of a player who waits for the picture: by then the clean pass of the block before is done."""
    return Case(
        name="key-press",
        title="key press to the first frame of its action, on the host",
        rungs=rungs(partial(open_key_press, size, device), size),
        dtype=size.dtype,
        work=world_work(size, forwards=len(size.sampling.denoising_step_list)),
        goal_ms=size.goals.get("key-press"),
    )


def rungs(opens: Callable[[WorldWay, torch.dtype], Calls], size: GameSize) -> tuple[Rung, ...]:
    return tuple(
        Rung(way.name, partial(opens, way, size.dtype), way.kind, cuda_only=bool(way.speed.graphs))
        for way in WAYS
        if size.tiny_vae or way.decoder is not decoding.tiny
    )


def world_work(size: GameSize, forwards: int) -> Work:
    return repeated(causal.forward_work(size, size.windows[0]), forwards) + decoding.stream_work(size)


def open_block(size: GameSize, device: torch.device, way: WorldWay, dtype: torch.dtype) -> Calls:
    player = KeyPresser(size, open_world(size, device, way, dtype))
    latents = player.fill_window()
    # a decoder of its own changes the frames and not the latents, and has no trained weights to be judged by
    return Calls(lambda: None if way.kind == "lossy" else latents, player.block)


def open_key_press(size: GameSize, device: torch.device, way: WorldWay, dtype: torch.dtype) -> Calls:
    player = KeyPresser(size, open_world(size, device, way, dtype))
    player.fill_window()
    return Calls(lambda: None, player.press, prepare=player.world.commit)  # `block` has compared the same ways


def open_world(size: GameSize, device: torch.device, way: WorldWay, dtype: torch.dtype) -> World:
    engine = causal.open_engine(size, size.windows[0], device, way.speed, dtype)
    decoder = way.decoder(size.vae, device, size.vae_dtype)
    draw = Draw(device, dtype)
    visual = draw(1, size.image_tokens, size.causal.visual_dim)
    condition = ImageCondition(visual, draw(1, CONDITION_CHANNELS, 2, *size.latent))
    return World(size.mode, engine, decoder, condition, SeededNoise([0]), size.sampling)


class KeyPresser:
    """Presses another key in every block."""

    def __init__(self, size: GameSize, world: World):
        self.size, self.world = size, world

    def fill_window(self) -> Tensor:
        """The latents of all blocks until the oldest frames have left the window."""
        blocks = self.size.windows[0] // self.size.block + 1
        return torch.cat([self.block().latents for _ in range(blocks)], dim=2)

    def block(self) -> Block:
        block = self.world.generate(self.actions())
        self.world.commit()
        return block

    def press(self) -> Tensor:
        return self.world.generate(self.actions()).video.cpu()

    def actions(self) -> list[list[Action]]:
        key = self.size.mode.letters[self.world.block % len(self.size.mode.letters)]
        return [[action(self.size.mode, key)] * len(self.world.span.frames)]
