"""What the player does: one action a video frame, as letters for people and as numbers for the model.

An Action is canonical (keys in the mode's order, the camera as (pitch, yaw)), so two ways of writing the same thing are
equal. An ActionScript is a run-length list of them; it drives batch, terminal and browser alike, and what a session
records is one. Parsing lives in scripts.py. No torch in this file.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from wan.game.modes import CAM_VALUE, Mode

Turn = tuple[float, float]
MOST_TURN = 100 * CAM_VALUE  # what is larger comes to infinity in some dtype


@dataclass(frozen=True)
class Action:
    """One video frame: the movement keys held, and how far the camera turns in it."""

    keys: str = ""
    mouse: Turn = (0.0, 0.0)


def action(mode: Mode, letters: str, mouse: Turn | None = None) -> Action:
    """`WL` in this mode; `mouse` in place of the camera letters for turns they cannot say."""
    letters = letters.upper()
    _check(mode, letters, mouse)
    held = [key for key in mode.keys if key.letter in letters]
    turns = [key.turn for key in held if key.turn]
    turn = mouse or (sum(t[0] for t in turns), sum(t[1] for t in turns))
    return Action("".join(k.letter for k in held if k.column is not None), (float(turn[0]), float(turn[1])))


def _check(mode: Mode, letters: str, mouse: Turn | None) -> None:
    for letter in letters:
        if not mode.key(letter) and letter not in mode.rests:
            known = " ".join(mode.letters) + " and " + " ".join(mode.rests)
            raise ValueError(f"'{letter}' is not a key of mode {mode.name}: its keys are {known}")
    for group in mode.opposed:
        held = [letter for letter in group if letter in letters]
        if len(held) > 1:
            raise ValueError(f"'{letters}' holds {' and '.join(held)}, which exclude each other in mode {mode.name}")
    if mouse is not None and not mode.has_mouse:
        raise ValueError(f"mode {mode.name} has no mouse: leave ({mouse[0]:g},{mouse[1]:g}) out")
    if mouse is not None and not all(abs(turn) <= MOST_TURN for turn in mouse):  # nor is what is not finite
        raise ValueError(
            f"a camera turn of {mouse} is not within {MOST_TURN:g}: {CAM_VALUE} per frame is what the models know"
        )
    if mouse is not None and any(k.turn for k in mode.keys if k.letter in letters):
        raise ValueError(f"'{letters}' turns the camera and so does ({mouse[0]:g},{mouse[1]:g}): keep one of them")


def text(mode: Mode, act: Action) -> str:
    """The shortest way to write an action; `action()` reads it back."""
    letters = act.keys + "".join(k.letter for k in mode.keys if k.turn and _turns(k.turn, act.mouse))
    if action(mode, letters) == act:
        return letters or "Q"
    return f"{act.keys}({act.mouse[0]!r},{act.mouse[1]!r})"


def _turns(turn: Turn, mouse: Turn) -> bool:
    return any(part and part == given for part, given in zip(turn, mouse))


def keyboard_vector(mode: Mode, act: Action) -> list[float]:
    """The row of the keyboard condition: a 1 for every key held, or for standing idle where the mode has that."""
    columns = {key.column for key in mode.keys if key.letter in act.keys and key.column is not None}
    if not columns and mode.idle_column is not None:
        columns = {mode.idle_column}
    return [float(column in columns) for column in range(mode.keyboard_dim)]


@dataclass(frozen=True)
class ActionScript:
    """Actions and for how many frames each is held; past the end the last one is held on."""

    mode: Mode
    segments: tuple[tuple[Action, int], ...]
    _ends: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ends", tuple(accumulate(frames for _, frames in self.segments)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, frame: int) -> Action:
        at = min(bisect_right(self._ends, frame), len(self.segments) - 1)
        return self.segments[at][0]

    def window(self, frames: range) -> list[Action]:
        return [self[frame] for frame in frames]

    def __str__(self) -> str:
        return " ".join(text(self.mode, act) + f"*{frames}" for act, frames in self.segments)


def script_of(mode: Mode, actions: Iterable[Action]) -> ActionScript:
    """The script of these frames: neighbours that are equal become one segment."""
    segments: list[tuple[Action, int]] = []
    for act in actions:
        if segments and segments[-1][0] == act:
            segments[-1] = (act, segments[-1][1] + 1)
        else:
            segments.append((act, 1))
    return ActionScript(mode, tuple(segments))


SEGMENT = 12  # frames of one choice in a walk, the length of a block


def walk(mode: Mode, seed: int) -> Iterator[Action]:
    """The official random walk of this seed, without end: one choice for the first frame, then one every 12 frames."""
    rng = random.Random(seed)
    yield _choose(mode, rng)
    while True:
        chosen = _choose(mode, rng)
        yield from (chosen for _ in range(SEGMENT))


def _choose(mode: Mode, rng: random.Random) -> Action:
    rng.randint(0, 0)  # the official tool also draws the length, from a list of one: kept, or the walks would differ
    return action(mode, mode.walk[rng.randint(0, len(mode.walk) - 1)])
