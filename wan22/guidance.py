"""Classifier-free guidance with the branches a plan asks for: both prompts, one of them, or one and the last difference.

Truncation rests on late steps being decided by the video itself: the difference between the prompts is then small (cond),
or slow to change (delta). uncond keeps the negative prompt's branch, as the first published code with truncation did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from wan22.plan import Step

Prompt = Literal["cond", "uncond"]


class Guidance:
    """One run's guidance; it remembers the last difference, which the plan re-adds only for the expert that made it."""

    def __init__(self) -> None:
        self._difference: Tensor | None = None

    def velocity(self, step: Step, ask: Callable[[Prompt], Tensor]) -> Tensor:
        """The guided velocity; `ask` runs the model once with the prompt of that name."""
        if step.branch == "both":
            cond, uncond = ask("cond"), ask("uncond")
            self._difference = cond - uncond
            return uncond + step.guidance * self._difference
        if step.branch == "delta":
            assert self._difference is not None, "the plan re-adds a difference after one was made"
            return ask("cond") + (step.guidance - 1) * self._difference
        return ask(step.branch)
