"""One forward of the causal model with a full window, the four of which a block is made."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from mgcli.bench.ladder import COMPILED, Calls, Case, speed_rung
from mgcli.bench.random_weights import random_model
from mgcli.bench.sizes import CONDITION_CHANNELS, Draw, GameSize
from mgcli.bench.work import Work, causal_forward
from wan.fast.engine import Engine
from wan.fast.speed import Speed
from wan.game.rollout import LATENT_CHANNELS
from wan.latents import video_frames

TIMESTEP = 713.9794  # the last one of the released models
WAYS = (
    ("reference", Speed(reference=True, graphs=False)),
    ("+ fused kernels", Speed(graphs=False)),
    ("+ CUDA graph", Speed(graphs=True)),
    ("+ fp8", Speed(graphs=True, fp8=True)),
)


def forward_case(size: GameSize, window: int, device: torch.device, compiled: bool = False) -> Case:
    name, ways = f"forward-{window}", (*WAYS, ("reference, compiled", COMPILED)) if compiled else WAYS
    opens = partial(open_forward, size, window, device)
    return Case(
        name=name,
        title=f"causal model, one forward of {size.block} latent frames, window {window} full",
        rungs=tuple(speed_rung(way, speed, partial(opens, speed, size.dtype)) for way, speed in ways),
        dtype=size.dtype,
        work=forward_work(size, window),
        truth=partial(opens, WAYS[0][1], torch.float32),
        goal_ms=size.goals.get(name),
    )


def forward_work(size: GameSize, window: int) -> Work:
    return causal_forward(size.causal, size.block * size.tokens, window * size.tokens, size.image_tokens)


def open_forward(size: GameSize, window: int, device: torch.device, speed: Speed, dtype: torch.dtype) -> Calls:
    engine = open_engine(size, window, device, speed, dtype)
    forward = CachedForward(engine, size, inputs_past_eviction(size, window, device, dtype))
    return Calls(forward.all_blocks, forward.last_block)


def open_engine(size: GameSize, window: int, device: torch.device, speed: Speed, dtype: torch.dtype) -> Engine:
    config = replace(size.causal, local_attn_size=window)
    return speed.engine(random_model(lambda: speed.causal_class(config), device, dtype))


class CachedForward:
    """Blocks one after the other as a world makes them, and then a step of the last one again and again."""

    def __init__(self, engine: Engine, size: GameSize, inputs: list[dict[str, Tensor]]):
        self.engine, self.size, self.inputs = engine, size, inputs

    def all_blocks(self) -> Tensor:
        self.lease = self.engine.begin(self.inputs[0]["visual_context"], *self.size.latent, self.size.block)
        return torch.cat([self.block(i) for i in range(len(self.inputs))], dim=2)

    def block(self, i: int) -> Tensor:
        given = self.inputs[i]
        self.lease.open_block(i * self.size.block, given["mouse_cond"], given["keyboard_cond"])
        self.x = torch.cat([given["x"], given["cond_concat"]], dim=1)
        return self.last_block()

    def last_block(self) -> Tensor:
        return self.lease.step(self.x, TIMESTEP)


def inputs_past_eviction(size: GameSize, window: int, device: torch.device, dtype: torch.dtype) -> list[dict[str, Tensor]]:  # fmt: skip
    """What the model is given in each block, until the oldest frames have left the window."""
    blocks = window // size.block + 2
    draw, frames = Draw(device, dtype), blocks * size.block
    x, condition = draw(1, LATENT_CHANNELS, frames, *size.latent), draw(1, CONDITION_CHANNELS, frames, *size.latent)
    visual = draw(1, size.image_tokens, size.causal.visual_dim)
    mouse = draw(1, video_frames(frames), 2)
    keyboard = draw(1, video_frames(frames), size.mode.keyboard_dim)
    ends = range(size.block, frames + 1, size.block)
    return [
        {
            "x": x[:, :, end - size.block : end],
            "cond_concat": condition[:, :, end - size.block : end],
            "visual_context": visual,
            "mouse_cond": mouse[:, : video_frames(end)],
            "keyboard_cond": keyboard[:, : video_frames(end)],
        }
        for end in ends
    ]
