"""One page that looks on: its queue of frames, how well they are sent, and how far behind it is.

Nothing here grows. Frames wait in a queue of fixed length that loses the oldest; only so many may be on their way before
the page says that they have arrived, because what lies in the buffers of a slow network is old when it is shown; and the
latest state replaces one that has not been sent yet.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from mgcli.game.play.encode import LEVELS, Frame, Level

FIRST_PATIENCE, LONGEST_PATIENCE = 5.0, 60.0  # seconds without a loss after which a better level is tried


class Pace:
    """Which level a client gets: down when frames are lost, up when none were for a while, longer after each failure."""

    def __init__(self, now: float):
        self.step = self._best = 0
        self._patience, self._since = FIRST_PATIENCE, now

    @property
    def level(self) -> Level:
        return LEVELS[self.step]

    def limit(self, best: int) -> None:
        """The best level that the page wants, from now on."""
        self.step = self._best = best

    def block(self, lost: int, now: float) -> None:
        if lost:
            self.step = min(self.step + 1, len(LEVELS) - 1)
            self._patience, self._since = min(2 * self._patience, LONGEST_PATIENCE), now
        elif self.step > self._best and now - self._since > self._patience:
            self.step -= 1
            self._since = now


class Client:
    def __init__(self, tab: str, send: Callable[[str | bytes], Awaitable[None]], block_frames: int):
        self.tab = tab
        self.sent = self.got = self.dropped = 0
        self.encode_seconds = 0.0
        self.pace = Pace(time.monotonic())
        self.over: int | None = None  # the code to close with
        self._send = send
        # a block on its way, and half a one more waiting than comes at once
        self._most_under_way, self._most_waiting = block_frames, block_frames * 3 // 2
        self._frames: deque[Frame] = deque()
        self._state: str | None = None
        self._wake = asyncio.Event()

    def offer(self, frames: list[Frame]) -> None:
        """A block, to be sent if there is time for it."""
        self._frames.extend(frame for frame in frames if frame.number % self.pace.level.every == 0)
        lost = max(0, len(self._frames) - self._most_waiting)
        for _ in range(lost):
            self._frames.popleft()
        self.dropped += lost
        self.pace.block(lost, time.monotonic())
        self._wake.set()

    def tell(self, state: str) -> None:
        self._state = state
        self._wake.set()

    def arrived(self, frames: int) -> None:
        if not self.got <= frames <= self.sent:
            raise ValueError(f"{frames} frames arrived of {self.sent} sent")
        self.got = frames
        self._wake.set()

    def close(self, code: int) -> None:
        self.over = code
        self._wake.set()

    async def send_until_over(self) -> None:
        while self.over is None:
            if self._state:
                state, self._state = self._state, None
                await self._send(state)
            elif self._frames and self.sent - self.got < self._most_under_way:
                self.sent += 1
                await self._send(self._packed(self._frames.popleft()))
            else:
                self._wake.clear()
                await self._wake.wait()

    def _packed(self, frame: Frame) -> bytes:
        """With the time of the key change, if it was this page's: another one's clock says nothing here."""
        client, key_at = frame.mark or (None, 0.0)
        began = time.thread_time()
        data = frame.header(key_at if client is self else 0.0) + frame.jpeg(self.pace.level)
        self.encode_seconds += time.thread_time() - began
        return data
