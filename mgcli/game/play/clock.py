"""When a block begins and when its frames are shown.

A block begins as late as it can and still be ready when the one before it has been shown: whatever is made earlier
answers an older key. Frames are due at a steady rate, that of the video, or of the model where it is the slower one. The
schedule never runs backwards; a block that is late, or comes after a pause, moves the rest of it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import median

SPARE = 0.03  # seconds between a block being ready and being needed: its way to the page
EASE = 1.05  # a slow model is shown a little slower than it is: what that saves evens out the blocks that take longer
RECENT = 5  # blocks whose times say how long the next one takes,
WARM_UP = 2  # which the first ones of a model do not: they prepare what later ones use


class Clock:
    """For every block: `wait` until it is nothing, `begin`, `due`, `done`."""

    def __init__(self, fps: float, now: Callable[[], float] = time.monotonic):
        self.now = now
        self._frame = 1 / fps
        self._blocks = 0
        self._begun = 0.0
        self._frames = 0  # of the latest block,
        self._shown_for = 0.0  # how long it is shown,
        self._shown_until = float("-inf")  # and until when
        self._leads: deque[float] = deque(maxlen=RECENT)  # from keys to frames
        self._busy: deque[float] = deque(maxlen=RECENT)  # all the work of a block, per frame

    def wait(self) -> float:
        """Seconds until the next block should begin."""
        # never more than one whole block ahead of what is shown, even when blocks have just taken long
        ahead = min(max(self._leads, default=0.0) + SPARE, self._shown_for)
        return max(0.0, self._shown_until - ahead - self.now())

    def begin(self) -> None:
        """The keys are sampled."""
        self._begun = self.now()

    def due(self, frames: int) -> tuple[float, float]:
        """The block is ready: when to show its first frame, and for how long each."""
        ready = self.now()
        self._leads.append(ready - self._begun)
        interval = max(self._frame, median(self._busy) * EASE if self._busy else 0.0)
        first = max(self._shown_until, ready)
        self._frames, self._shown_for = frames, frames * interval
        self._shown_until = first + self._shown_for
        return first, interval

    def done(self) -> None:
        """Whatever had to be done for the block is done."""
        self._blocks += 1
        if self._blocks > WARM_UP:
            self._busy.append((self.now() - self._begun) / self._frames)

    @property
    def lead(self) -> float:
        """Seconds from keys to frames."""
        return self._leads[-1]
