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
from wan.fast.speed import Speed
from wan.game.timeline import video_frames
from wan.modules.model import WanModel
from wan22.config import Request, ResolvedRequest
from wan22.pipeline import Conditions, denoise, draw_noise
from wan22.plan import Expert, plan

EXACT, FP8 = Speed(), Speed(fp8=True)
STEPS, WARM_STEPS = 20, 3
HALF = {"enable_half_frame_generation": True}
TRUNCATED = {"cfg_truncate_steps": 5, "cfg_truncate_high_noise_steps": 3}
PAIRED = {"frame_completion": "renoise", "half_frame_rope": "stretch", "half_frame_noise": "pairs"}
RECOMMENDED = HALF | PAIRED | TRUNCATED  # as in configs/wan22/recommended.yaml
WAYS: dict[str, dict[str, Any]] = {
    "exact": {},
    "half frames": HALF,
    "half frames, improved completion": HALF | {"frame_completion": "improved"},
    "half frames, CFG truncation 5 and 3": HALF | TRUNCATED,
    "recommended": RECOMMENDED,
}
FP8_WAYS = {"fp8": {}, "recommended + fp8": RECOMMENDED}


def video_case(size: ExpertSize, device: torch.device) -> Case:
    frames = video_frames(size.latents[0])
    opens = partial(open_video, size, device)
    return Case(
        name="video",
        title=f"a video of {frames} frames: {STEPS} steps of two experts, decode",
        rungs=(
            *(
                Rung(name, partial(opens, changes), kind="lossy" if changes else "exact")
                for name, changes in WAYS.items()
            ),
            *(speed_rung(name, FP8, partial(opens, changes, FP8)) for name, changes in FP8_WAYS.items()),
        ),
        dtype=size.dtype,
        frames=frames,
        budget=ONCE,
    )


def open_video(size: ExpertSize, device: torch.device, changes: dict[str, Any], speed: Speed = EXACT) -> Calls:
    maker = VideoMaker(size, device, speed)
    maker.make(request(size, WARM_STEPS, changes))  # both lengths, and the decoder
    return Calls(lambda: None, partial(maker.make, request(size, STEPS, changes)))


def request(size: ExpertSize, steps: int, changes: dict[str, Any]) -> ResolvedRequest:
    # so few steps cannot be truncated
    kept = {k: v for k, v in changes.items() if steps == STEPS or not k.startswith("cfg_")}
    frames = video_frames(size.latents[0])
    return Request(size=size.size, any_size=True, frame_num=frames, sample_steps=steps, base_seed=0, **kept).resolved()


class VideoMaker:
    """Both experts and the decoder on the device."""

    def __init__(self, size: ExpertSize, device: torch.device, speed: Speed):
        self.size, self.device = size, device
        self.experts: dict[Expert, WanModel] = {
            name: open_expert(size.model, device, speed, size.dtype, seed) for seed, name in enumerate(("high", "low"))
        }
        self.decoder = decoding.fused(size.vae, device, size.vae_dtypes[0])
        draw = Draw(device, size.dtype)
        length = min(PROMPT_TOKENS, size.model.text_len)
        self.conditions = Conditions(*(draw(length, size.model.text_dim) for _ in range(2)))

    def get(self, expert: Expert) -> WanModel:
        return self.experts[expert]

    @torch.no_grad()
    def make(self, video: ResolvedRequest) -> None:
        noise = draw_noise((self.size.model.out_dim, *video.latent_size), video.base_seed, self.device)
        *_, last = denoise(plan(video), self, noise, self.conditions, video.sample_solver)
        for chunk in self.decoder.decode_chunks(last.latents):
            chunk.clamp(-1, 1).cpu()
