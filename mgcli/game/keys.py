"""Live keys: what is held, guessed from a terminal that only ever says "this key again".

A terminal reports no release, and repeats only the key pressed last. So a key counts as held until it has been silent
for a while; as long as any key repeats, those held together with it stay held; and one that excludes another (left
and right) ends it. A tap counts for the next block even if that begins late.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

from mgcli.app import system
from wan.game.modes import Mode

RELEASED_AFTER = 0.7  # seconds of silence; keyboards wait up to 0.66 before they begin to repeat
LOOK = 0.05  # seconds, for keys and for whether we are to stop


class HeldKeys:
    """Letters of the mode that are held at a moment; knows nothing of terminals."""

    def __init__(self, mode: Mode, released_after: float = RELEASED_AFTER):
        self.mode, self.released_after = mode, released_after
        self._seen: dict[str, float] = {}
        self._sampled = float("-inf")

    def press(self, letter: str, now: float) -> None:
        excluded = {other for group in self.mode.opposed if letter in group for other in group}
        alive = [key for key, seen in self._seen.items() if key not in excluded and self._held(seen, now)]
        pressed = [letter] if self.mode.key(letter) else []
        self._seen = dict.fromkeys(alive + pressed, now)

    def sample(self, now: float) -> str:
        """What is held as a block begins."""
        self._seen = {key: seen for key, seen in self._seen.items() if self._held(seen, now)}
        self._sampled = now
        return "".join(letter for letter in self.mode.letters if letter in self._seen)

    def _held(self, seen: float, now: float) -> bool:
        return now - seen < self.released_after or seen > self._sampled


def arrow_letters(mode: Mode) -> dict[str, str]:
    """Arrows turn the camera where it has keys of its own, else they move."""
    letters = "IKJL" if mode.key("I") else "WSAD"
    return dict(zip(("up", "down", "left", "right"), letters))


class Keyboard:
    """Keys with the time they came, read in the background: a block may take longer than a key is held."""

    def __init__(self, fd: int | None = None):
        self._fd = sys.stdin.fileno() if fd is None else fd
        self._keys: queue.SimpleQueue[tuple[float, str]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        read = self._open.enter_context(system.keys(self._fd))
        self._stop.clear()
        thread = threading.Thread(target=self._listen, args=(read,), daemon=True)
        thread.start()
        self._open.callback(thread.join)
        self._open.callback(self._stop.set)
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """The terminal as it was before, to ask for a line."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def pressed(self) -> Iterator[tuple[float, str]]:
        """Everything since the last call, oldest first."""
        while not self._keys.empty():
            yield self._keys.get()

    def _listen(self, read: Callable[[float], list[str] | None]) -> None:
        while not self._stop.is_set():
            pressed = read(LOOK)
            if pressed is None:  # the terminal is gone
                return
            for key in pressed:
                self._keys.put((time.monotonic(), key))
