"""What the player does: keys held, keys tapped, how far the mouse went. Told from any thread, sampled as a block begins.

Of keys that exclude each other the one pressed last counts. A tap shorter than a block counts for the next block, and
the way the mouse went is spread over the frames of that block.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from wan.game.actions import Action, Turn, action
from wan.game.modes import CAM_VALUE, Mode

TURN_PER_PIXEL = CAM_VALUE / 20  # mouse movement of 20 pixels a frame turns as fast as the models were trained to


@dataclass(frozen=True)
class Sample:
    action: Action
    mark: Any  # of the oldest key change in it; None: no key has changed


class Controls:
    def __init__(self, mode: Mode):
        self.mode = mode
        self._steers = [any(key.turn and key.turn[axis] for key in mode.keys) for axis in (0, 1)]
        self._lock = threading.Lock()
        self._held = self._tapped = ""
        self._moved = (0.0, 0.0)  # pixels right and down
        self._mark: Any = None

    def hold(self, keys: str, mark: Any = None) -> None:
        """All letters held now, in the order they were pressed. `mark` comes back with the block that answers."""
        with self._lock:
            if keys == self._held:
                return
            self._tapped += "".join(key for key in keys if key not in self._held)
            self._held = keys
            self._mark = self._mark if self._mark is not None else mark

    def look(self, right: float, down: float) -> None:
        with self._lock:
            self._moved = (self._moved[0] + right, self._moved[1] + down)

    def forget(self) -> None:
        """What was tapped and moved until now does not count; what is held still does."""
        with self._lock:
            self._tapped, self._moved, self._mark = "", (0.0, 0.0), None

    def sample(self, frames: int) -> Sample:
        """What is done in a block of this many video frames."""
        with self._lock:
            released = "".join(key for key in self._tapped if key not in self._held)
            pressed, moved, mark = released + self._held, self._moved, self._mark
            self._tapped, self._moved, self._mark = "", (0.0, 0.0), None
        keys = latest(self.mode, pressed)
        letters = "".join(key for key in keys if key in self.mode.move_letters)
        turn = self._turn(keys, moved, frames)
        return Sample(action(self.mode, letters, turn if any(turn) else None), mark)

    def _turn(self, keys: str, moved: tuple[float, float], frames: int) -> Turn:
        turns = [key.turn for key in self.mode.keys if key.letter in keys and key.turn]
        by_mouse = (-moved[1], moved[0])  # up and right are positive
        pitch, yaw = (
            _limited(sum(turn[axis] for turn in turns) + steers * by_mouse[axis] * TURN_PER_PIXEL / frames)
            for axis, steers in enumerate(self._steers)
        )
        return pitch, yaw


def _limited(turn: float) -> float:
    """Within what the models know, and short to write down; the 0 does away with -0."""
    return round(min(max(turn, -CAM_VALUE), CAM_VALUE), 3) + 0.0


def latest(mode: Mode, pressed: str) -> str:
    """The letters that go together, where a later one ends those that it excludes."""
    kept = ""
    for letter in reversed(pressed):
        excluded = {other for group in mode.opposed if letter in group for other in group}
        if letter not in kept and not excluded & set(kept):
            kept = letter + kept
    return kept
