"""Noise schedules as pure functions: which timesteps the model is given and which sigmas the solver works with.

A schedule is host data, decided before any weight is loaded. sigma is the share of noise in x = (1 - sigma) * x0 +
sigma * noise, and a flow model predicts noise - x0. The three schedules differ in small ways that released models and
published videos depend on (where the first sigma is, how a timestep is rounded), so each is spelled out on its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # a plan is printed without torch
    from torch import Tensor

TRAIN_TIMESTEPS = 1000


@dataclass(frozen=True)
class Schedule:
    """What each step hands to the model, and the noise level before each step (solvers end with one more: 0)."""

    timesteps: tuple[float, ...]
    sigmas: tuple[float, ...]


def shifted(sigma: Any, shift: float | np.floating) -> Any:
    """Move a sigma (a number or an array) towards noise: where large videos need their steps."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def unipc(steps: int, shift: float) -> Schedule:
    """Starts just below pure noise, at the last trained sigma 0.999 (before the shift)."""
    largest = float(np.float32(1 - 1 / TRAIN_TIMESTEPS))
    return _solver_schedule(shifted(np.linspace(largest, 0, steps + 1)[:-1], shift))


def dpmpp(steps: int, shift: float) -> Schedule:
    """Starts at pure noise."""
    return _solver_schedule(shifted(np.linspace(1, 0, steps + 1)[:-1], shift))


def _solver_schedule(sigmas: np.ndarray) -> Schedule:
    # The model sees the timestep cut to an integer and the solver the sigma rounded to float32, as the weights were
    # published with; near pure noise 1 - sigma is a few units of that rounding, so it is not noise to be cleaned up.
    timesteps = (sigmas * TRAIN_TIMESTEPS).astype(np.int64)
    return Schedule(tuple(map(float, timesteps)), tuple(map(float, sigmas.astype(np.float32))) + (0.0,))


SCHEDULES = {"unipc": unipc, "dpm++": dpmpp}


def few_step(denoising_steps: Sequence[float], shift: float, warp: bool = True) -> Schedule:
    """The list a distilled model was trained on, such as (1000, 666, 333); `warp` reads it before the shift.

    A sigma is the nearest entry of the 1000-entry training table, which is how the model was distilled; sigmas are as
    many as timesteps, because the last step ends at its own x0.
    """
    if not denoising_steps or not all(0 < t <= TRAIN_TIMESTEPS for t in denoising_steps):
        raise ValueError(f"denoising steps {list(denoising_steps)} must be numbers from 1 to {TRAIN_TIMESTEPS}")
    # float32 arithmetic, as the models were distilled with: 908.8427, where exact arithmetic has 908.8428
    table = shifted((np.arange(TRAIN_TIMESTEPS, 0, -1) / TRAIN_TIMESTEPS).astype(np.float32), np.float32(shift))
    listed = np.array(denoising_steps, dtype=np.float32)
    thousand = np.float32(TRAIN_TIMESTEPS)
    timesteps = shifted(listed / thousand, np.float32(shift)) * thousand if warp else listed
    nearest = np.abs(table[None] * thousand - timesteps[:, None]).argmin(axis=1)
    return Schedule(tuple(map(float, timesteps)), tuple(map(float, table[nearest])))


def x0_from_flow(flow: Tensor, x: Tensor, sigma: float) -> Tensor:
    """The clean latents a flow prediction points at, in the dtype of `flow`.

    In float32 and not in the dtype of bf16 latents, so that rounding happens once. The official code uses float64:
    after rounding to bf16 that is the same number, and MPS has no float64.
    """
    return (x.float() - sigma * flow.float()).to(flow.dtype)


def renoise(x0: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """Put clean latents back at a noise level: how a distilled model goes from one of its steps to the next."""
    return ((1 - sigma) * x0.float() + sigma * noise.float()).to(noise.dtype)
