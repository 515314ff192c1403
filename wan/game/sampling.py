"""How a block is denoised, and where its numbers end: beyond these nothing is computed, or no number is one any more.

No torch: a request is held to the same limits before anything is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wan.schedule import TRAIN_TIMESTEPS
from wan.schema import shown, within

MOST_OF_A_BLOCK = 48  # latent frames generated together; the models were trained on 3
LIMITS: dict[str, tuple[float, float, Any]] = {  # least, most, usual
    "timestep_shift": (0.01, 100.0, 5.0),  # further out, neighbouring steps have one noise level
    "num_frame_per_block": (1, MOST_OF_A_BLOCK, 3),
    "context_noise": (0.0, float(TRAIN_TIMESTEPS), 0.0),
}


@dataclass(frozen=True)
class Sampling:
    """The names and defaults are those of the official configuration."""

    denoising_step_list: tuple[int, ...] = (1000, 666, 333)
    warp_denoising_step: bool = True
    timestep_shift: float = 5.0
    num_frame_per_block: int = 3
    context_noise: float = 0.0

    def __post_init__(self) -> None:
        steps = self.denoising_step_list
        if not 1 <= len(steps) <= TRAIN_TIMESTEPS or not all(1 <= step <= TRAIN_TIMESTEPS for step in steps):
            raise ValueError(
                f"denoising_step_list {shown(list(steps))} must be numbers from 1 to {TRAIN_TIMESTEPS}, such as"
                " [1000, 666, 333]"
            )
        for name, limits in LIMITS.items():
            within(name, getattr(self, name), *limits)
