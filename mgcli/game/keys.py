"""Live keys: what is held, guessed from a terminal that only ever says "this key again".

A terminal reports no release, and repeats only the key pressed last. So a key counts as held until it has been silent
for a while; as long as any key repeats, those held together with it stay held; and one that excludes another (left
and right) ends it. A tap counts for the next block even if that begins late.
"""

from __future__ import annotations

import os
import queue
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from wan.game.modes import Mode

RELEASED_AFTER = 0.7  # seconds of silence; keyboards wait up to 0.66 before they begin to repeat
ARROWS = {"\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left"}


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


def split_keys(text: str) -> Iterator[str]:
    """One key at a time from what a terminal sent; arrows by name, unknown escape sequences left out."""
    while text:
        if text[:3] in ARROWS:
            yield ARROWS[text[:3]]
            text = text[3:]
        elif text[0] == "\x1b":
            return
        else:
            yield text[0]
            text = text[1:]


class Keyboard:
    """Keys with the time they came, read in the background: a block may take longer than a key is held."""

    def __init__(self, fd: int | None = None):
        self._fd = sys.stdin.fileno() if fd is None else fd
        self._keys: queue.SimpleQueue[tuple[float, str]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._settings = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)
        self._stop.clear()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._settings)

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

    def _read(self) -> None:
        while not self._stop.is_set():
            if select.select([self._fd], [], [], 0.05)[0]:
                text = os.read(self._fd, 1024).decode(errors="ignore")
                if not text:  # the terminal is gone
                    return
                for key in split_keys(text):
                    self._keys.put((time.monotonic(), key))
