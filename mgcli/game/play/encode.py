"""The bytes of a frame on its way to the page: the one place where both sides are told the layout.

A binary message is a header of 40 bytes, little-endian, and a JPEG:

    offset  type  what
    0       u8    1, a frame
    1       u8    keys that the model was given: bit i is letter i of the mode (the "keys" of a state message)
    2       u16   world, counted up by every restart
    4       u32   video frame in its world; what is missing in between was dropped
    8       u32   block
    12      f32   pitch, 16 f32 yaw: how far the camera turns in this frame
    20      f32   seconds from the sampling of the keys to the frames
    24      f64   when to show it: milliseconds of the server's clock, to be compared with each other only
    32      f64   when the oldest key change that this block answers happened: the player's own clock, 0 for none

JPEG and not a video codec: any frame can be left out for a slow client without hurting the next, a client that joins
sees the next frame, and at these sizes it costs half a millisecond.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from wan.game.modes import Mode

HEADER = struct.Struct("<BBHIIfffdd")
FRAME = 1


@dataclass(frozen=True)
class Level:
    """How well a frame is sent."""

    quality: int
    every: int = 1  # one frame of this many
    subsampling: int = 2  # 4:2:0


# The best first. A client that cannot keep up goes down, one that can comes back.
LEVELS = (Level(92, subsampling=0), Level(82), Level(65), Level(45), Level(45, every=2), Level(30, every=3))


@dataclass
class Frame:
    """One frame for all clients; each level of quality is made once, and only if somebody needs it."""

    world: int
    number: int
    block: int
    keys: int
    turn: tuple[float, float]
    made_in: float
    due: float
    pixels: np.ndarray  # uint8 (H, W, 3)
    mark: Any = None  # (client, its time) of the oldest key change
    jpegs: dict[Level, bytes] = field(default_factory=dict)

    def header(self, key_at: float) -> bytes:
        world = self.world & 0xFFFF
        place = (FRAME, self.keys, world, self.number, self.block)
        return HEADER.pack(*place, *self.turn, self.made_in, self.due * 1000, key_at)

    def jpeg(self, level: Level) -> bytes:
        if level not in self.jpegs:
            file = io.BytesIO()
            Image.fromarray(self.pixels).save(file, "JPEG", quality=level.quality, subsampling=level.subsampling)
            self.jpegs[level] = file.getvalue()
        return self.jpegs[level]


def key_bits(mode: Mode, keys: str) -> int:
    return sum(1 << bit for bit, letter in enumerate(mode.letters) if letter in keys)
