"""Keys and camera drawn over a video, as the player of each mode had them.

Key caps light up when held; the camera is a pad whose dot leans where the view turns. Drawn four times too large and
scaled down, so edges are smooth at 96x160 as at 720p, and once per distinct action: a video has few of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wan.game.actions import Action
from wan.game.modes import CAM_VALUE, Mode

FINER = 4  # supersampling
CAP_OF_HEIGHT, CAP_OF_WIDTH = 0.105, 0.085  # the side of a key cap, whichever is smaller,
LEGIBLE = 13.0  # but no less than this in pixels
GAP, MARGIN = 0.14, 0.55  # in caps
STRIP = 2 + GAP + 2 * MARGIN  # what everything fits into, in caps

GLASS, RIM, INK = (16, 18, 24, 120), (255, 255, 255, 110), (255, 255, 255, 225)
LIT, LIT_RIM, LIT_INK = (255, 199, 64, 240), (255, 236, 179, 255), (36, 26, 4, 255)

# Where the caps are, as on the keyboard: (row, column) of a grid.
CROSS = {"W": (0, 1), "A": (1, 0), "S": (1, 1), "D": (1, 2)}
LAYOUTS = {"universal": CROSS, "gta_drive": CROSS, "templerun": CROSS | {"Z": (0, 0), "C": (0, 2)}}


class Overlay:
    def __init__(self, mode: Mode, height: int, width: int):
        self.mode = mode
        self.size = (height, width)
        cap = max(min(CAP_OF_HEIGHT * height, CAP_OF_WIDTH * width), LEGIBLE)
        self._cap = min(cap, height / STRIP)
        self._top = height - round(STRIP * self._cap)
        self._strip = lru_cache(maxsize=256)(self._draw_strip)

    def draw(self, video: np.ndarray, actions: Sequence[Action]) -> np.ndarray:
        """A copy of the frames (uint8, (F, H, W, 3)) with the action of each on it."""
        drawn = video.copy()
        for frame, action in zip(drawn, actions, strict=True):
            colour, opacity = self._strip(action)
            under = frame[self._top :].astype(np.float32)
            frame[self._top :] = np.rint(under + (colour - under) * opacity).astype(np.uint8)
        return drawn

    def _draw_strip(self, action: Action) -> tuple[np.ndarray, np.ndarray]:
        """Colour (h, W, 3) and opacity (h, W, 1) of the lower part of the frame, where everything is."""
        height, width = self.size[0] - self._top, self.size[1]
        canvas = _Canvas(width, height, self._cap)
        held = self._held(action)
        for letter, (row, column) in LAYOUTS[self.mode.name].items():
            canvas.key_cap(letter, row, column, letter in held)
        if self.mode.name == "universal":
            canvas.camera_pad(*action.mouse)
        pressed = self.mode.key(action.keys)
        if self.mode.name == "templerun" and pressed is not None:
            canvas.caption(pressed.does)  # its letters do not say what they do
        return canvas.finish(width, height)

    def _held(self, action: Action) -> str:
        """Movement keys, and camera keys where the camera is steered with caps of its own."""
        turning = [k.letter for k in self.mode.keys if k.turn and _leans(k.turn, action.mouse)]
        return action.keys + "".join(turning)


def _leans(turn: tuple[float, float], mouse: tuple[float, float]) -> bool:
    return turn[0] * mouse[0] + turn[1] * mouse[1] > 0


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def __iter__(self) -> Iterator[float]:
        return iter((self.left, self.top, self.right, self.bottom))


class _Canvas:
    """Drawing in supersampled pixels; the cap is the unit of length."""

    def __init__(self, width: int, height: int, cap: float):
        self.cap = cap * FINER
        self.width, self.height = width * FINER, height * FINER
        # transparent, and white below it: what is scaled down with an edge must not get a dark seam
        self.image = Image.new("RGBA", (self.width, self.height), (255, 255, 255, 0))
        self.pen = ImageDraw.Draw(self.image)
        self.line = max(FINER, round(self.cap * 0.045))
        self.font = ImageFont.load_default(self.cap * 0.52)

    def key_cap(self, letter: str, row: int, column: int, lit: bool) -> None:
        pitch, margin = self.cap * (1 + GAP), self.cap * MARGIN
        left, top = margin + column * pitch, margin + row * pitch
        box = _Box(left, top, left + self.cap, top + self.cap)
        fill, rim, ink = (LIT, LIT_RIM, LIT_INK) if lit else (GLASS, RIM, INK)
        self.pen.rounded_rectangle(tuple(box), self.cap * 0.24, fill, rim, self.line)
        self.pen.text(box.centre, letter, ink, self.font, anchor="mm", stroke_width=self.cap * 0.018, stroke_fill=ink)

    def camera_pad(self, pitch: float, yaw: float) -> None:
        """A disc at the right; the dot leans up for positive pitch and right for positive yaw."""
        radius, margin = self.cap * (1 + GAP / 2), self.cap * MARGIN
        x, y = self.width - margin - radius, margin + radius
        self._disc(x, y, radius, GLASS, RIM)
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            self._tick(x, y, dx, dy, radius)
        reach = 0.52 * radius / CAM_VALUE
        lean = np.clip((yaw * reach, -pitch * reach), -0.62 * radius, 0.62 * radius)
        turning = bool(pitch or yaw)
        if turning:
            self.pen.line((x, y, x + lean[0], y + lean[1]), LIT, round(self.cap * 0.13))
            self._disc(x, y, self.cap * 0.065, LIT, LIT)
        self._disc(
            x + lean[0],
            y + lean[1],
            self.cap * (0.24 if turning else 0.17),
            *((LIT, LIT_RIM) if turning else (INK, INK)),
        )

    def caption(self, words: str) -> None:
        """A line of text in a pill at the right."""
        bottom, right = self.height - self.cap * MARGIN, self.width - self.cap * MARGIN
        pad, height = self.cap * 0.4, self.cap
        box = _Box(right - self.font.getlength(words) - 2 * pad, bottom - height, right, bottom)
        self.pen.rounded_rectangle(tuple(box), height / 2, GLASS, RIM, self.line)
        self.pen.text(box.centre, words, INK, self.font, anchor="mm")

    def _disc(self, x: float, y: float, radius: float, fill: tuple, rim: tuple) -> None:
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill, rim, self.line)

    def _tick(self, x: float, y: float, dx: int, dy: int, radius: float) -> None:
        """A small arrow head near the rim."""
        tip, base, half = 0.86 * radius, 0.72 * radius, 0.1 * radius
        points = [(tip, 0), (base, half), (base, -half)]
        self.pen.polygon([(x + dx * a - dy * b, y + dy * a + dx * b) for a, b in points], RIM)

    def finish(self, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        # scaled with colour times opacity, so that what is transparent lends no colour to what is not
        small = np.asarray(
            self.image.convert("RGBa").resize((width, height), Image.Resampling.BOX).convert("RGBA"), np.float32
        )
        return small[..., :3], small[..., 3:] / 255
