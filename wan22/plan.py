"""The plan of a run: everything that depends on the step number, decided before any weight is loaded.

Expert, noise level, guidance, which branches run, how many latent frames and tokens, and the completion at the switch are
columns of one table. The pipeline reads it row by row and has no rule of its own about steps; `wan22 plan` prints it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from wan.config import WanConfig
from wan.latents import video_frames
from wan.refusal import Refusal
from wan.schedule import SCHEDULES, TRAIN_TIMESTEPS, Schedule
from wan22 import frames
from wan22.config import Request, ResolvedRequest, Task, find_task

Expert = Literal["high", "low"]
Branch = Literal["both", "cond", "uncond", "delta"]
MOST_TOKENS = 2**20  # of a forward of A14B: its activations alone take 134 GiB
FIXED_GUIDANCE = {"cond": 1.0, "uncond": 0.0}  # uncond + g * (cond - uncond) with one branch left


@dataclass(frozen=True)
class Step:
    index: int
    timestep: float  # what the model is given
    sigma: float
    sigma_next: float
    expert: Expert
    guidance: float
    branch: Branch  # what is asked of the model: both prompts, one of them, or one and the last difference
    latent_frames: int
    frame_positions: tuple[int, ...]  # rope positions
    condition_frames: tuple[int, ...]  # which frames of an image condition belong to them
    seq_len: int
    completion: frames.Method | None = None  # the latents are completed in time before this step

    @property
    def forwards(self) -> int:
        return 2 if self.branch == "both" else 1


@dataclass(frozen=True)
class Totals:
    high: int  # steps
    low: int
    forwards: int
    token_forwards: int
    relative_cost: float  # arithmetic of all forwards, attention included, as a share of the exact plan's


@dataclass(frozen=True)
class PlannedVideo:
    """A request with nothing left open and its plan, made once: whoever asks about a run is handed this."""

    request: ResolvedRequest
    steps: tuple[Step, ...]

    @property
    def tokens(self) -> int:
        """Of the longest forward."""
        return max(step.seq_len for step in self.steps)

    @cached_property
    def totals(self) -> Totals:
        model, exact = find_task(self.request.task).model, self.request.exact()
        exact_steps = self.steps if exact == self.request else make_steps(exact)
        return Totals(
            high=sum(s.expert == "high" for s in self.steps),
            low=sum(s.expert == "low" for s in self.steps),
            forwards=sum(s.forwards for s in self.steps),
            token_forwards=sum(s.forwards * s.seq_len for s in self.steps),
            relative_cost=cost(self.steps, model) / cost(exact_steps, model),
        )


def planned(asked: Request) -> PlannedVideo:
    request = asked.resolved()
    return PlannedVideo(request, make_steps(request))


def plan(asked: Request) -> tuple[Step, ...]:
    return make_steps(asked.resolved())


def make_steps(request: ResolvedRequest) -> tuple[Step, ...]:
    task = find_task(request.task)
    check_length(request, task.model)
    schedule = SCHEDULES[request.sample_solver](request.sample_steps, request.sample_shift)
    experts = experts_of(task, schedule)
    check_shift(request, task, experts)
    check_switch(request, experts.count("high"))
    branches = branches_of(request, experts)
    return tuple(make_step(request, task, schedule, experts, branches, i) for i in range(len(experts)))


def make_step(
    request: ResolvedRequest, task: Task, schedule: Schedule, experts: list[Expert], branches: list[Branch], i: int
) -> Step:
    positions = frame_positions(request, experts[i])
    at_switch = i > 0 and experts[i] != experts[i - 1]
    return Step(
        index=i,
        timestep=schedule.timesteps[i],
        sigma=schedule.sigmas[i],
        sigma_next=schedule.sigmas[i + 1],
        expert=experts[i],
        guidance=FIXED_GUIDANCE.get(branches[i], scale_of(request, experts[i])),
        branch=branches[i],
        latent_frames=len(positions),
        frame_positions=positions,
        condition_frames=condition_frames(request, positions),
        seq_len=sequence_length(request, task.model, len(positions)),
        completion=request.frame_completion if at_switch else None,
    )


def experts_of(task: Task, schedule: Schedule) -> list[Expert]:
    return ["high" if t >= task.boundary * TRAIN_TIMESTEPS else "low" for t in schedule.timesteps]


def check_length(request: ResolvedRequest, model: WanConfig) -> None:
    frame, tokens = (sequence_length(request, model, frames) for frames in (1, request.latent_size[0]))
    if tokens > MOST_TOKENS:
        raise Refusal(
            f"size {request.size} with {request.frame_num} frames is {tokens:,} tokens a forward, more than the"
            f" {MOST_TOKENS:,} that any GPU has room for; at this size frame_num is at most"
            f" {video_frames(MOST_TOKENS // frame)}",
            "frame_num",
            "size",
        )


def check_shift(request: ResolvedRequest, task: Task, experts: list[Expert]) -> None:
    """A shift may not take the low-noise expert its steps. That a run is too short for any with the usual shift is another
    thing, and allowed; the first step is the high-noise expert's with every shift."""

    def both(shift: float) -> bool:
        return "low" in experts_of(task, SCHEDULES[request.sample_solver](request.sample_steps, shift))

    if "low" not in experts and request.sample_shift > task.sample_shift and both(task.sample_shift):
        nearest = next(shift for shift in range(math.ceil(request.sample_shift), 0, -1) if both(shift))
        raise Refusal(
            f"shift {request.sample_shift:g} leaves none of {request.sample_steps} steps to the low-noise expert; nearest is"
            f" {nearest}",
            "sample_shift",
        )


def check_switch(request: ResolvedRequest, high: int) -> None:
    """Rules about the two parts of the run, which the request alone cannot know."""
    low = request.sample_steps - high
    if request.cfg_truncate_high_noise_steps > high:
        raise ValueError(
            f"cfg_truncate_high_noise_steps {request.cfg_truncate_high_noise_steps} is more than the {high} high-noise steps"
            f" of this run; use at most {high}"
        )
    if request.enable_half_frame_generation and not (high and low):
        raise Refusal(
            f"half frames need steps of both experts, and {request.sample_steps} steps at shift {request.sample_shift:g} are"
            f" {high} high-noise and {low} low-noise; {'raise the shift' if low else 'use more steps'}",
            "sample_shift" if low else "sample_steps",
        )


def scale_of(request: ResolvedRequest, expert: Expert) -> float:
    low, high = request.sample_guide_scale
    return high if expert == "high" else low


def branches_of(request: ResolvedRequest, experts: list[Expert]) -> list[Branch]:
    """One branch for the last steps of the run and of the high-noise expert; a guidance of 1 is the conditional branch."""
    branches: list[Branch] = ["cond" if scale_of(request, e) == FIXED_GUIDANCE["cond"] else "both" for e in experts]
    end, switch = len(experts), experts.count("high")
    high_truncated = range(switch - request.cfg_truncate_high_noise_steps, switch)
    for i in [*high_truncated, *range(max(end - request.cfg_truncate_steps, 0), end)]:
        branches[i] = truncated_branch(request.cfg_truncate_mode, experts[i], experts[:i], branches[:i])
    return branches


def truncated_branch(mode: Branch, expert: Expert, experts: list[Expert], branches: list[Branch]) -> Branch:
    """`mode`, except that there is no difference to re-add before this expert has made one: those of the other do not fit."""
    made_one = (expert, "both") in zip(experts, branches, strict=True)
    return "cond" if mode == "delta" and not made_one else mode


def frame_positions(request: ResolvedRequest, expert: Expert) -> tuple[int, ...]:
    full = request.latent_size[0]
    if request.enable_half_frame_generation and expert == "high":
        return frames.half_positions(full, request.half_frame_rope)
    return tuple(range(full))


def condition_frames(request: ResolvedRequest, positions: tuple[int, ...]) -> tuple[int, ...]:
    """Of half frames those that they become, every other one, where more is given than a first frame: the last comes last.
    Behind a first frame alone the condition is empty, and frames that are side by side take it as it comes."""
    full = request.latent_size[0]
    if len(positions) == full or not request.more_given:
        return positions
    every_other = tuple(range(0, full, 2))
    both_ends = request.last_image is not None and len(every_other) > 1
    return (*every_other[:-1], full - 1) if both_ends else every_other


def sequence_length(request: ResolvedRequest, model: WanConfig, latent_frames: int) -> int:
    """Tokens of a forward; the only place where this is worked out beforehand, the pipeline holds the model to it."""
    _, rows, columns = request.latent_size
    depth, height, width = model.patch_size
    return (latent_frames // depth) * (rows // height) * (columns // width)


def cost(steps: tuple[Step, ...], model: WanConfig) -> float:
    return sum(s.forwards * forward_flops(model, s.seq_len) for s in steps)


def forward_flops(model: WanConfig, tokens: int) -> float:
    """Multiplications and additions of the blocks' matrix products and attention, which is all but a percent of a forward."""
    projections = 6 * model.dim**2 + 2 * model.dim * model.ffn_dim  # q, k, v, o, the text's q and o, the two of the ffn
    attention = 2 * model.dim * (tokens + model.text_len)  # scores and sums, to every token and to the text
    return 2.0 * model.num_layers * tokens * (projections + attention)
