"""Whole videos with each acceleration: every step of the denoising loop, and decoding to the host. Minutes and 57 GB at A14B.

Random weights make no picture, so there is no quality here: `wan22 compare` measures that on trained ones.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from mgcli.bench import decoding
from mgcli.bench.expert import PROMPT_TOKENS, ExpertSize, open_expert
from mgcli.bench.ladder import Calls, Case, Rung, speed_rung
from mgcli.bench.sizes import Draw
from mgcli.bench.timing import ONCE
from mgcli.video.request import accelerations
from wan.fast.speed import Speed
from wan.latents import video_frames
from wan.modules.model import WanModel
from wan22.compare import TRUNCATION
from wan22.config import Request
from wan22.pipeline import VideoConditions, denoise, draw_noise
from wan22.plan import Expert, PlannedVideo, planned

EXACT, FP8 = Speed(), Speed(fp8=True)
STEPS, WARM_STEPS = 20, 3


def ways() -> dict[str, dict[str, Any]]:
    """What is asked of each video beside its size: the recommended accelerations last, and before them some of theirs."""
    recommended = accelerations("recommended")
    half = {"enable_half_frame_generation": True}
    truncated = {name: recommended[name] for name in TRUNCATION}
    return {
        "exact": {},
        "half frames": half,
        "half frames, improved completion": half | {"frame_completion": "improved"},
        f"half frames, CFG truncation {' and '.join(map(str, truncated.values()))}": half | truncated,
        "recommended": recommended,
    }


def video_case(size: ExpertSize, device: torch.device) -> Case:
    frames = video_frames(size.latents[0])
    opens, made = partial(open_video, size, device), ways()
    eighth = {"fp8": made["exact"], "recommended + fp8": made["recommended"]}
    rungs = (Rung(name, partial(opens, asked), kind="lossy" if asked else "exact") for name, asked in made.items())
    return Case(
        name="video",
        title=f"a video of {frames} frames: {STEPS} steps of two experts, decode",
        rungs=(*rungs, *(speed_rung(name, FP8, partial(opens, asked, FP8)) for name, asked in eighth.items())),
        dtype=size.dtype,
        frames=frames,
        budget=ONCE,
    )


def open_video(size: ExpertSize, device: torch.device, changes: dict[str, Any], speed: Speed = EXACT) -> Calls:
    maker = VideoMaker(size, device, speed)
    maker.make(planned_video(size, WARM_STEPS, changes))  # both lengths, and the decoder
    return Calls(lambda: None, partial(maker.make, planned_video(size, STEPS, changes)))


def planned_video(size: ExpertSize, steps: int, changes: dict[str, Any]) -> PlannedVideo:
    # so few steps cannot be truncated
    kept = {k: v for k, v in changes.items() if steps == STEPS or not k.startswith("cfg_")}
    frames = video_frames(size.latents[0])
    return planned(Request(size=size.size, any_size=True, frame_num=frames, sample_steps=steps, base_seed=0, **kept))


class VideoMaker:
    """Both experts and the decoder on the device."""

    def __init__(self, size: ExpertSize, device: torch.device, speed: Speed):
        self.size, self.device = size, device
        names: tuple[Expert, ...] = ("high", "low")
        self.experts = {
            name: open_expert(size.model, device, speed, size.dtype, seed) for seed, name in enumerate(names)
        }
        self.decoder = decoding.fused(size.vae, device, size.vae_dtypes[0])
        draw = Draw(device, size.dtype)
        length = min(PROMPT_TOKENS, size.model.text_len)
        self.conditions = VideoConditions(*(draw(length, size.model.text_dim) for _ in range(2)))

    def get(self, expert: Expert) -> WanModel:
        return self.experts[expert]

    @torch.no_grad()
    def make(self, video: PlannedVideo) -> None:
        request = video.request
        noise = draw_noise((self.size.model.out_dim, *request.latent_size), request.base_seed, self.device)
        *_, last = denoise(video.steps, self, noise, self.conditions, request.sample_solver)
        for chunk in self.decoder.decode_chunks(last.latents):
            chunk.clamp(-1, 1).cpu()
