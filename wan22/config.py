"""What a user asks for (Request) and what each released model needs (Task). No torch: a plan is made from these alone.

A Request's fields are the command-line flags and the preset keys, spelled as upstream and the notes spell them; `resolved`
fills what was left out from the task and refuses what cannot run, so that everything after it can trust its values.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, Self

from wan.config import I2V_A14B, T2V_A14B, WanConfig
from wan.latents import SPATIAL_STRIDE, TEMPORAL_STRIDE, latent_frames_for, video_frames
from wan.refusal import Refusal
from wan.schedule import SCHEDULES, TRAIN_TIMESTEPS
from wan.schema import shown, within
from wan22.frames import Method, Rope, Start

# published with the weights: they were evaluated with this exact string
NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，"
    "多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，"
    "背景人很多，倒着走"
)
SIDES = 2 * SPATIAL_STRIDE  # both sides are multiples of it: of the VAE's stride and of the transformer's patch
MOST_POSITIONS = 1024  # in time, height and width: those that the released models' position tables have
LONGEST_SIDE = SIDES * MOST_POSITIONS
MOST_DIGITS = 20  # of a side; Python refuses to read thousands
SIZES = ("720*1280", "1280*720", "480*832", "832*480")

# where numbers end: beyond them nothing is computed, or no number is one any more
LIMITS = {
    "frame_num": (1, video_frames(MOST_POSITIONS)),
    "sample_steps": (1, TRAIN_TIMESTEPS),
    "sample_shift": (0.01, 100.0),  # further out, neighbouring steps have one noise level
    "sample_guide_scale": (0.0, 100.0),
    "overlap": (1, video_frames(MOST_POSITIONS)),
    "base_seed": (-(2**63), 2**63 - 1),
}
Residency = Literal[
    "both", "one", "stream", "disk"
]  # of the experts: both on the device, one at a time, or block by block from the host or from disk


@dataclass(frozen=True)
class Task:
    """A released model: its architecture, where its experts hand over, and its defaults."""

    name: str
    model: WanConfig
    boundary: float  # the high-noise expert runs while timestep >= boundary * 1000
    sample_shift: float
    sample_guide_scale: tuple[float, float]  # low noise, high noise
    sample_steps: int = 40
    frame_num: int = 81
    fps: int = 16


TASKS = {
    "t2v-A14B": Task("t2v-A14B", T2V_A14B, 0.875, 12.0, (3.0, 4.0)),
    "i2v-A14B": Task("i2v-A14B", I2V_A14B, 0.900, 5.0, (3.5, 3.5)),
}
DENSE_TASKS = ("ti2v-5B",)
PARTS = ("high_noise", "low_noise", "text_encoder", "tokenizer", "vae")  # of a checkpoint, each a file or a folder


@dataclass(frozen=True)
class Request:
    """One video. None means "as the task has it"."""

    task: str = "t2v-A14B"
    prompt: str = ""
    n_prompt: str = ""
    size: str = "1280*720"
    any_size: bool = False
    frame_num: int | None = None
    sample_steps: int | None = None
    sample_shift: float | None = None
    sample_solver: Literal["unipc", "dpm++"] = "unipc"
    sample_guide_scale: float | tuple[float, float] | None = None  # one number, or low and high
    base_seed: int = -1
    last_image: Path | None = None  # what it ends with
    video: Path | None = None  # what it goes on from, in place of an image: its last frames, as many as `overlap`
    overlap: int = 5
    enable_half_frame_generation: bool = False
    enable_improved_frame_completion: bool = False
    frame_completion: Method | None = None
    half_frame_rope: Rope = "native"
    half_frame_noise: Start = "alternate"
    cfg_truncate_steps: int = 0
    cfg_truncate_high_noise_steps: int = 0
    cfg_truncate_mode: Literal["cond", "uncond", "delta"] = "cond"

    def resolved(self) -> ResolvedRequest:
        task = find_task(self.task, self.enable_half_frame_generation)
        given = {field.name: getattr(self, field.name) for field in fields(Request)}
        for name in ("frame_num", "sample_steps", "sample_shift", "sample_guide_scale"):
            if given[name] is None:
                given[name] = getattr(task, name)
        if not isinstance(given["sample_guide_scale"], tuple):
            given["sample_guide_scale"] = (given["sample_guide_scale"],) * 2
        given["n_prompt"] = self.n_prompt or NEGATIVE_PROMPT
        given["frame_completion"] = completion_method(self)
        request = ResolvedRequest(**given)
        check(request)
        return request

    def exact(self) -> Self:
        """The same video without any acceleration: what the cost of a plan is measured against."""
        return replace(
            self,
            enable_half_frame_generation=False,
            enable_improved_frame_completion=False,
            frame_completion=None,
            cfg_truncate_steps=0,
            cfg_truncate_high_noise_steps=0,
        )


@dataclass(frozen=True)
class ResolvedRequest(Request):
    """A request with nothing left open and nothing wrong; what is written beside a video."""

    frame_num: int = 0
    sample_steps: int = 0
    sample_shift: float = 0.0
    sample_guide_scale: tuple[float, float] = (0.0, 0.0)  # low noise, high noise

    @property
    def width_height(self) -> tuple[int, int]:
        return parse_size(self.size)

    @property
    def more_given(self) -> bool:
        """More than a first frame."""
        return self.last_image is not None or self.known_frames > 1

    @property
    def known_frames(self) -> int:
        """That it begins with and that are in another video already; they are made once more and left out."""
        return self.overlap if self.video else 0

    @property
    def latent_size(self) -> tuple[int, int, int]:
        """Latent frames, rows and columns of the finished video."""
        width, height = self.width_height
        return latent_frames_for(self.frame_num), height // SPATIAL_STRIDE, width // SPATIAL_STRIDE


def seeded(request: Request, offset: int = 0) -> Request:
    """The request of a video to be made, its seed decided: a negative one is drawn, and recorded like any other."""
    if not request.prompt.strip():
        raise Refusal("the prompt is empty; say what the video shows", "prompt")
    seed = request.base_seed if request.base_seed >= 0 else secrets.randbelow(2**31)
    return replace(request, base_seed=seed + offset)


def rounding_note(request: ResolvedRequest) -> str | None:
    """What is said once about a length that the VAE cannot have: it is rounded up, and cut after decoding."""
    made = video_frames(latent_frames_for(request.frame_num))
    short = f"{request.frame_num} frames are not 4n+1: {made} are made and cut to {request.frame_num}"
    return None if made == request.frame_num else short


def find_task(name: str, half: bool = False) -> Task:
    if name in DENSE_TASKS and half:
        raise no_switch(name)
    if name in DENSE_TASKS:
        raise ValueError(
            f"task {name} is a dense model with another VAE, which is not supported; use {' or '.join(TASKS)}"
        )
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; use {' or '.join(TASKS)}")
    return TASKS[name]


def no_switch(what: object) -> Refusal:
    return Refusal(
        "half frames need two experts: the frames are completed where the high-noise expert hands over to the low-noise"
        f" one, and {what} is one dense model without such a point; leave them out",
        "enable_half_frame_generation",
    )


def parse_size(size: str) -> tuple[int, int]:
    """ "832*480" (or 832x480): width, then height, as upstream writes it."""
    found = re.fullmatch(r"(\d+)[*xX](\d+)", size)
    if not found:
        raise ValueError(f"size {size!r} is not WIDTH*HEIGHT, such as 832*480")
    width, height = (int(digits[:MOST_DIGITS]) for digits in found.groups())
    return width, height


def completion_method(request: Request) -> Method | None:
    """The one method that two flags name together; None without half frames."""
    method = request.frame_completion or ("improved" if request.enable_improved_frame_completion else None)
    if request.enable_improved_frame_completion and method != "improved":
        raise Refusal(
            f"two completions of half frames are asked for, improved and {method}; give one",
            "enable_improved_frame_completion",
            f"frame_completion {method}",
        )
    if method and not request.enable_half_frame_generation:
        raise Refusal(
            f"frame completion ({method}) completes half frames; ask for them too", "enable_half_frame_generation"
        )
    return method or ("repeat" if request.enable_half_frame_generation else None)


def check(request: ResolvedRequest) -> None:
    """What a resolved request must satisfy, beyond the types of its fields."""
    for name in ("prompt", "n_prompt"):
        if any("\ud800" <= letter <= "\udfff" for letter in getattr(request, name)):  # what Python makes of such bytes
            raise ValueError(f"the {name} is not text in UTF-8; write it in another way, or in a file")
    check_size(request)
    if request.sample_solver not in SCHEDULES:
        raise ValueError(f"unknown sample_solver {request.sample_solver!r}; use {' or '.join(SCHEDULES)}")
    for name, (least, most) in LIMITS.items():
        within(name, getattr(request, name), least, most, getattr(find_task(request.task), name, most))
    check_given(request)
    for name in ("cfg_truncate_steps", "cfg_truncate_high_noise_steps"):
        if not 0 <= getattr(request, name) <= request.sample_steps:
            raise ValueError(
                f"{name} {shown(getattr(request, name))} must be between 0 and the run's {request.sample_steps} steps"
            )


def check_given(request: ResolvedRequest) -> None:
    """Given frames fill latent frames whole, but for the last one, which is the last of its four."""
    for name in ("last_image", "video"):
        if getattr(request, name) and request.task != "i2v-A14B":
            raise ValueError(f"{name} is for i2v-A14B, not {request.task}, which is given no frames")
    made = video_frames(latent_frames_for(request.frame_num))
    if request.last_image and (request.frame_num != made or made == 1):
        raise ValueError(
            f"frame_num {request.frame_num}: a video that ends with an image has 4n+1 frames, 5 or more; nearest is {max(made, 5)}"
        )
    if request.video and (request.overlap % TEMPORAL_STRIDE != 1 or not 0 < request.overlap < request.frame_num):
        raise ValueError(
            f"overlap {request.overlap}: a video goes on from 4n+1 frames, from 1 to less than its own {request.frame_num}; usual is 5"
        )


def check_size(request: ResolvedRequest) -> None:
    width, height = request.width_height
    near = [min(max((side + SIDES // 2) // SIDES * SIDES, SIDES), LONGEST_SIDE) for side in (width, height)]
    if [width, height] != near:
        raise ValueError(
            f"size {request.size}: both sides must be multiples of {SIDES} from {SIDES} to {LONGEST_SIDE}; nearest is"
            f" {near[0]}*{near[1]}"
        )
    if not request.any_size and f"{width}*{height}" not in SIZES:
        raise Refusal(
            f"size {request.size} is not one {request.task} was trained on ({', '.join(SIZES)}); allow any", "any_size"
        )
