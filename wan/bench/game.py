"""The cases of the game model, in the order they are shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from wan.bench.causal import forward_case
from wan.bench.decoding import stream_case
from wan.bench.ladder import Case
from wan.bench.official import What, official_rung
from wan.bench.sizes import GameSize
from wan.bench.timing import Budget
from wan.bench.world import block_case, key_press_case


def game_cases(size: GameSize, device: torch.device, compiled: bool = False) -> list[Case]:
    forwards = [forward_case(size, window, device, compiled) for window in size.windows]
    return [*forwards, stream_case(size, device), block_case(size, device), key_press_case(size, device)]


def with_official(cases: list[Case], checkout: Path, size: GameSize, device: torch.device, budget: Budget) -> list[Case]:  # fmt: skip
    """The official code beside ours, wherever it does the same work in one piece."""

    def beside(case: Case, what: What, window: int) -> Case:
        rung = official_rung(checkout, what, size, window, device, case.budget or budget)
        return replace(case, rungs=(*case.rungs, rung))

    jobs: dict[str, tuple[What, int]] = {f"forward-{window}": ("forward", window) for window in size.windows}
    jobs |= {"decode": ("decode", size.windows[0]), "block": ("block", size.windows[0])}
    return [beside(case, *jobs[case.name]) if case.name in jobs else case for case in cases]
