"""Colours of the mini world: a few hand-picked palettes, one per map.

Few and fixed on purpose: a model of a few million parameters can learn them by heart, and neighbouring hues keep
the pictures calm enough for a small VAE.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Palette:
    zenith: str
    horizon: str  # also the colour of distance
    floor: tuple[str, str]
    ceiling: str
    walls: tuple[str, str, str, str]
    accents: tuple[str, str, str, str]


PALETTES = (
    Palette("5b9bd5", "f4d3bd", ("e2ccb0", "c4a485"), "efe2d2", ("e59d8f", "e6c48c", "94b3a4", "7898c0"), ("c8404f", "f2b441", "107a8b", "f6efe2")),
    Palette("2b6cb0", "bfe3e6", ("dbe2ce", "abc0b0"), "e3ece4", ("56a9b1", "84c3a0", "e6d39a", "4079a3"), ("ee9420", "e0623f", "f3f0dc", "19566b")),
    Palette("39376f", "ee9d7c", ("ad97a8", "8b7794"), "c9b4c0", ("c46d80", "8871a0", "e3a09f", "5f83aa"), ("ffcf62", "2fc49a", "e8486b", "a9d6ec")),
    Palette("69b1e4", "e6f0d6", ("d6d4b0", "aaad82"), "ece9d3", ("8bb06d", "d8be75", "76a49b", "c98a64"), ("b84044", "f3e7c6", "356a49", "f09d4e")),
)  # fmt: skip


def _rgb(code: str) -> list[float]:
    return [int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)]


def table() -> Tensor:
    """All palettes as (palette, colour, rgb); the rows of one palette are named by the constants below."""
    rows = [(p.zenith, p.horizon, *p.floor, p.ceiling, *p.walls, *p.accents) for p in PALETTES]
    return torch.tensor([[_rgb(code) for code in row] for row in rows])


ZENITH, HORIZON, FLOOR, CEILING, WALLS, ACCENTS = 0, 1, 2, 4, 5, 9
