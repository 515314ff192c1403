"""Who plays a stream. A player answers, block by block, what is done, and may ask for another world afterwards.

`actions` is the action source of the rollout: it is asked as a block begins, and None ends the take. Here are the two
that need nobody: a script and the random walk; dialogue.py asks line by line, live.py listens to keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from mgcli.app.console import console
from mgcli.app.recording import Recording
from wan.game.actions import Action, ActionScript, walk
from wan.game.modes import Mode
from wan.game.timeline import Span


@dataclass(frozen=True)
class Take:
    """One world of a session."""

    number: int
    image: Path
    seed: int


@dataclass(frozen=True)
class BlockReport:
    """What there is after a block."""

    span: Span
    recording: Recording
    frames: np.ndarray  # of the block, uint8 (F, H, W, 3)

    def __str__(self) -> str:
        made = self.recording
        return f"block {self.span.block}: {made.frames} frames in {made.growing}, {made.frames_per_second:.1f} frames/s"


class Player(Protocol):
    def start_image(self, default: Path) -> Path | None: ...  # none: nobody wants to play
    def __enter__(self) -> object: ...
    def __exit__(self, *exception: object) -> None: ...
    def actions(self, frames: range) -> list[list[Action]] | None: ...
    def shown(self, report: BlockReport) -> None: ...
    def next_take(self, take: Take) -> Take | None: ...


class UnattendedPlayer:
    """Plays one take and says how it goes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def start_image(self, default: Path) -> Path | None:
        return default

    def shown(self, report: BlockReport) -> None:
        console.say(str(report))

    def next_take(self, take: Take) -> Take | None:  # noqa: ARG002  as every player is asked
        return None


class ScriptPlayer(UnattendedPlayer):
    """A script of the whole world, or with `from_here` of what is played."""

    def __init__(self, script: ActionScript, from_here: bool = False):
        self.script = script
        self._begun: int | None = None if from_here else 0

    def actions(self, frames: range) -> list[list[Action]] | None:
        self._begun = frames.start if self._begun is None else self._begun
        ours = range(frames.start - self._begun, frames.stop - self._begun)
        return [self.script.window(ours)] if ours.start < len(self.script) else None


class RandomPlayer(UnattendedPlayer):
    """The official random walk, without end."""

    def __init__(self, mode: Mode, seed: int):
        self._walk: Iterator[Action] = walk(mode, seed)
        self._frame = 0

    def actions(self, frames: range) -> list[list[Action]] | None:
        behind = frames.start - self._frame  # a loaded world is some way into its walk
        self._frame = frames.stop
        return [list(islice(self._walk, behind, behind + len(frames)))]
