"""The world itself in the terminal, above the keys: newest frames, as large as there is room.

Two ways to draw. Half blocks work wherever there are colours: a cell shows two pixels, the upper one as the colour of ▀, the
lower one as what is behind it. Kitty's graphics protocol shows real pixels. preview_kind.py says which suits a terminal.
"""

from __future__ import annotations

import base64
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from PIL import Image
from rich.console import Console, ConsoleOptions
from rich.segment import ControlType, Segment

from mgcli.game.preview_kind import Kind

MOST_A_SECOND = 12  # frames drawn; the eye follows, and a block of the model costs a hundred times a drawing
WIDEST = 120  # cells
LEAST_ROWS = 4  # of a picture in which anything can be seen
CHUNK = 4096  # bytes of a picture that kitty takes at once
SCALE = 8  # pixels a cell is wide in kitty's picture, at most
BETWEEN = (47, 115, 155, 195, 235)  # the levels of red, green and blue that they have: 0, 95, 135, 175, 215, 255


def fitted(height: int, width: int, columns: int, rows: int) -> tuple[int, int]:
    """Columns and rows of cells for a picture, in its shape; a cell is twice as high as wide."""
    scale = min(min(columns, WIDEST) / width, 2 * rows / height)
    return max(1, round(width * scale)), max(1, round(height * scale / 2))


def half_blocks(frame: np.ndarray, columns: int, rows: int, deep: bool = True) -> list[str]:
    """A frame (H, W, 3) as rows of text; `deep` colours are 24 bits, others the cube of 256."""
    picture = np.asarray(Image.fromarray(frame).resize((columns, 2 * rows), Image.Resampling.BOX))
    cell = "\x1b[38;2;{};{};{};48;2;{};{};{}m▀" if deep else "\x1b[38;5;{};48;5;{}m▀"
    pixels = picture if deep else cube(picture)
    pairs = np.concatenate([pixels[0::2], pixels[1::2]], axis=2).tolist()
    return ["".join([cell.format(*both) for both in row]) + "\x1b[0m" for row in pairs]


def cube(picture: np.ndarray) -> np.ndarray:
    """Numbers of the nearest of the 6x6x6 colours that terminals with 256 have (H, W, 1)."""
    return 16 + np.searchsorted(BETWEEN, picture) @ np.array([[36], [6], [1]])


def kitty_picture(frame: np.ndarray, columns: int, rows: int) -> list[str]:
    """A frame over these cells, in place of the one before. What it covers is empty lines."""
    height, width = frame.shape[:2]
    if width > columns * SCALE:
        size = (columns * SCALE, height * columns * SCALE // width)
        frame = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX))
    height, width = frame.shape[:2]
    data = base64.standard_b64encode(zlib.compress(frame.tobytes(), 1)).decode()
    head = f"a=T,q=2,C=1,i={os.getpid()},p=1,f=24,o=z,s={width},v={height},c={columns},r={rows},"
    parts = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    chunks = (f"\x1b_G{head if i == 0 else ''}m={int(i < len(parts) - 1)};{part}\x1b\\" for i, part in enumerate(parts))
    return ["".join(chunks), *[""] * (rows - 1)]


class Rows:
    """Lines that are ready for the terminal, as something that rich can put above other things."""

    def __init__(self, lines: list[str]):
        self.lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for line in self.lines:
            # as a control code it has no width: rich need not look at a thousand colours
            yield Segment(line, None, [(ControlType.BELL,)])
            yield Segment.line()


@dataclass(frozen=True)
class Playing:
    """A block (F, H, W, 3), since when, and the seconds it is shown in."""

    frames: np.ndarray
    since: float
    seconds: float

    def index(self) -> int:
        passed = (time.monotonic() - self.since) / self.seconds
        return min(int(passed * len(self.frames)), len(self.frames) - 1)


class Preview:
    """The newest block, played in the time that the next one takes; `draw` is called for each frame, from a thread."""

    def __init__(self, kind: Kind, draw: Callable[[], None], deep: bool = True):
        self.kind, self._draw, self._deep = kind, draw, deep
        self._playing: Playing | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def show(self, frames: np.ndarray, seconds: float) -> None:
        """A new block, and how long one takes."""
        self._playing = Playing(frames, time.monotonic(), max(seconds, 1e-3))

    def rows(self, columns: int, rows: int) -> Rows:
        """What is on screen now, if there is room for it."""
        playing = self._playing
        if playing is None or self.kind == "off" or rows < LEAST_ROWS:
            return Rows([])
        frame = playing.frames[playing.index()]
        height, width = frame.shape[:2]
        size = fitted(height, width, columns, rows)
        if self.kind == "kitty":
            return Rows(kitty_picture(frame, *size))
        return Rows(half_blocks(frame, *size, self._deep))

    def start(self) -> None:
        if self.kind != "off":
            self._stop.clear()
            self._thread = threading.Thread(target=self._play, name="preview", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Nothing is drawn after this."""
        self._stop.set()
        if self._thread:
            self._thread.join()
            self._thread = None

    def _play(self) -> None:
        drawn = None
        with suppress(OSError):  # a terminal that has gone; whoever plays hears of it elsewhere
            while not self._stop.wait(1 / MOST_A_SECOND):
                playing = self._playing
                if playing and (now := (playing.since, playing.index())) != drawn:
                    drawn = now
                    self._draw()
