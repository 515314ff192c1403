"""The denoising loop: a plan read row by row. A generator of steps, so that a command, a comparison and a benchmark are the
same loop watched by different eyes.

Nothing here knows files or prompts (wan22.generation does) and nothing here decides anything: which expert, which branches,
how many frames and when they are completed are columns of the plan.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from wan.device import wait_for
from wan.finite import all_finite, require_finite
from wan.modules.model import WanModel
from wan.solvers import SOLVERS, History
from wan22 import frames
from wan22.guidance import Guidance, Prompt
from wan22.plan import Expert, Step


class ExpertSource(Protocol):
    def get(self, expert: Expert) -> WanModel: ...


@dataclass(frozen=True)
class VideoConditions:
    """What one video is made from: prompt embeddings (L, text_dim), and for image to video the condition of all frames."""

    context: Tensor
    context_null: Tensor
    y: Tensor | None = None  # (1, 20, F, H, W)


@dataclass(frozen=True)
class StepDone:
    step: Step
    latents: Tensor  # (1, 16, latent_frames, H, W) at step.sigma_next
    seconds: float  # the step's own work
    waited: float  # for its expert to be there; a switch's price


def draw_noise(shape: Sequence[int], seed: int, device: torch.device | str) -> Tensor:
    """Noise of all frames (C, F, H, W) with a leading batch of 1; drawn where the official code draws it, so that a seed means
    the same video."""
    generator = torch.Generator(device=device).manual_seed(seed)
    return torch.randn(*shape, generator=generator, device=device, dtype=torch.float32).unsqueeze(0)


@torch.no_grad()
def denoise(
    steps: Sequence[Step],
    experts: ExpertSource,
    noise: Tensor,
    conditions: VideoConditions,
    solver_name: str = "unipc",
    half_noise: frames.Start = "alternate",
) -> Iterator[StepDone]:
    """From noise (1, C, F, H, W) of all frames to clean latents, one step at a time."""
    solver = SOLVERS[solver_name]([step.sigma for step in steps] + [0.0])
    history, guidance, texts = History(), Guidance(), Texts(conditions)
    latents = frames.start(noise, steps[0].latent_frames, half_noise)
    for step in steps:
        started = time.perf_counter()
        experts.get(step.expert)  # not kept: at a switch nothing here may hold on to the one that leaves
        ready = time.perf_counter()
        if step.completion:
            latents = frames.complete(step.completion, latents, history, noise, step.sigma, steps[step.index - 1].sigma)
        flow = velocity(experts.get(step.expert), step, latents, texts, conditions.y, guidance)
        latents = solver.step(step.index, flow, latents, history)
        if all(later.expert != step.expert for later in steps[step.index + 1 :]):
            texts.forget()
        wait_for(latents.device)
        require_finite(all_finite(latents), f"step {step.index + 1} ({step.expert}-noise expert)")
        yield StepDone(step, latents, time.perf_counter() - ready, ready - started)


def velocity(
    model: WanModel, step: Step, latents: Tensor, texts: Texts, y: Tensor | None, guidance: Guidance
) -> Tensor:
    """The guided velocity of one step."""
    check_tokens(model, latents, step)
    t = torch.tensor([step.timestep], device=latents.device)
    part = None if y is None else y[:, :, list(step.condition_frames)]

    def ask(prompt: Prompt) -> Tensor:
        return model(latents, t, texts.embedded(model, prompt), part, step.frame_positions)

    return guidance.velocity(step, ask)


class Texts:
    """The two prompts as the present expert embeds them; each expert has its own embedding, done once for all its steps."""

    def __init__(self, conditions: VideoConditions):
        self._contexts = {"cond": conditions.context, "uncond": conditions.context_null}
        self._embedded: dict[Prompt, Any] = {}

    def forget(self) -> None:
        """After an expert's last step: many runs may wait for the next expert, and each layer keeps keys."""
        self._embedded.clear()

    def embedded(self, model: WanModel, prompt: Prompt) -> Any:
        if prompt not in self._embedded:
            self._embedded[prompt] = model.embed_text([self._contexts[prompt]])
        return self._embedded[prompt]


def check_tokens(model: WanModel, latents: Tensor, step: Step) -> None:
    """The model derives its length from the latents; the plan worked it out beforehand. One number, two ways."""
    depth, height, width = model.config.patch_size
    _, _, latent_frames, rows, columns = latents.shape
    tokens = (latent_frames // depth) * (rows // height) * (columns // width)
    assert (latent_frames, tokens) == (step.latent_frames, step.seq_len), f"step {step.index}: {tokens} tokens, {step}"


def one_by_one(_: Sequence[Sequence[Step]], runs: Sequence[Iterator[StepDone]]) -> Iterator[tuple[int, StepDone]]:
    """Each run to its end before the next; the number of the run beside its step."""
    for i, run in enumerate(runs):
        for done in run:
            yield i, done


def phase_by_phase(
    plans: Sequence[Sequence[Step]], runs: Sequence[Iterator[StepDone]]
) -> Iterator[tuple[int, StepDone]]:
    """Several runs through the high-noise expert, then all of them through the low-noise one: one switch for any number of
    videos, so that no expert is loaded twice."""
    for expert in ("high", "low"):
        for i, (steps, run) in enumerate(zip(plans, runs, strict=True)):
            for step in steps:
                if step.expert == expert:
                    yield i, next(run)
