"""The cases of Wan2.2 A14B: one forward of an expert at both lengths of a half-frame run, decoding, and whole videos.

Random weights made on the device: no files, and two experts only for whole videos. A clip is decoded as `Generation` does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from mgcli.bench.decoding import clip_case
from mgcli.bench.ladder import COMPILED, Calls, Case, speed_rung
from mgcli.bench.random_weights import random_model
from mgcli.bench.sizes import Draw
from mgcli.bench.timing import Budget
from mgcli.bench.work import latent_tokens, wan_forward
from wan.config import T2V_A14B, WAN21_VAE, VAEConfig, WanConfig
from wan.fast.speed import Speed
from wan.modules.model import WanModel
from wan22.frames import half_positions

TIMESTEP = 500.0
PROMPT_TOKENS = 77  # of a prompt of some fifty words; the rest of the text is padding
# a forward takes seconds, and seconds are steady: fewer calls say as much
BUDGET = Budget(seconds=6, least=3, most=20, warmups=1)
WAYS = (
    ("reference", Speed(reference=True, graphs=False)),
    ("+ fused kernels", Speed(graphs=False)),
    ("+ fp8", Speed(graphs=False, fp8=True)),
)


@dataclass(frozen=True)
class ExpertSize:
    label: str
    model: WanConfig
    vae: VAEConfig
    latents: tuple[int, int, int]  # frames, height and width
    size: str  # of the video, as `wan22` is asked for it
    dtype: torch.dtype
    vae_dtypes: tuple[torch.dtype, ...]
    goals: Mapping[str, float] = field(default_factory=dict)  # case -> milliseconds on one H100

    @property
    def lengths(self) -> tuple[int, int]:
        """Latent frames: all of them, and half of them."""
        return self.latents[0], len(half_positions(self.latents[0], "native"))

    def shape(self, frames: int) -> tuple[int, int, int]:
        return (frames, *self.latents[1:])


RELEASED = ExpertSize(
    label="A14B, random weights: 832*480, 49 frames",
    model=T2V_A14B,
    vae=WAN21_VAE,
    latents=(13, 60, 104),
    size="832*480",
    dtype=torch.bfloat16,
    vae_dtypes=(torch.float16, torch.float32),
    goals={"forward-20280": 1330, "forward-10920": 560, "decode-float16": 450},
)


def expert_cases(size: ExpertSize, device: torch.device, compiled: bool = False) -> list[Case]:
    forwards = [forward_case(size, size.shape(frames), device, compiled) for frames in size.lengths]
    names = {dtype: f"decode-{str(dtype).removeprefix('torch.')}" for dtype in size.vae_dtypes}
    decodes = [
        clip_case(name, size.vae, size.latents, device, dtype, size.goals.get(name)) for dtype, name in names.items()
    ]
    return [*forwards, *decodes]


def forward_case(size: ExpertSize, shape: tuple[int, int, int], device: torch.device, compiled: bool) -> Case:
    tokens = latent_tokens(size.model.patch_size, *shape)
    name, ways = f"forward-{tokens}", (*WAYS, ("reference, compiled", COMPILED)) if compiled else WAYS
    opens = partial(open_forward, size, shape, device)
    return Case(
        name=name,
        title=f"one forward of an expert, {shape[0]} latent frames, {tokens:,} tokens",
        rungs=tuple(speed_rung(way, speed, partial(opens, speed, size.dtype)) for way, speed in ways),
        dtype=size.dtype,
        work=wan_forward(size.model, tokens, min(PROMPT_TOKENS + 1, size.model.text_len)),
        truth=partial(opens, WAYS[0][1], torch.float32),
        goal_ms=size.goals.get(name),
        budget=BUDGET if device.type == "cuda" else None,
    )


def open_forward(size: ExpertSize, shape: tuple[int, int, int], device: torch.device, speed: Speed, dtype: torch.dtype) -> Calls:  # fmt: skip
    model = open_expert(size.model, device, speed, dtype)
    x, prompt = forward_inputs(size, shape, device)
    with torch.no_grad():
        context = model.embed_text([prompt])  # once for all steps, as the loop does it

    def forward() -> Tensor:
        return model(x, TIMESTEP, context)

    return Calls(forward, forward)


def open_expert(config: WanConfig, device: torch.device, speed: Speed, dtype: torch.dtype, seed: int = 0) -> WanModel:
    model = random_model(lambda: speed.wan_class(config), device, dtype, seed)
    speed.finish_wan(model)
    return model


def forward_inputs(size: ExpertSize, shape: tuple[int, int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Latents (1, C, F, H, W) and a prompt (L, text_dim)."""
    draw = Draw(device, torch.float32)
    return draw(1, size.model.in_dim, *shape), draw(min(PROMPT_TOKENS, size.model.text_len), size.model.text_dim)
