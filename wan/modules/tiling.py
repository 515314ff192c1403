"""Overlapping tiles of a frame and their blending back into one.

A decoder whose memory grows with the frame is run tile by tile; weights that ramp over the overlap hide the seams.
Positions are in latent pixels, the blended tiles may be any whole number of times larger.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from types import EllipsisType

import torch
from torch import Tensor


class Grid:
    """The tiles that cover a frame of `size`, neighbours sharing at least `overlap`."""

    def __init__(self, size: Sequence[int], tile: tuple[int, int], overlap: int):
        if not 0 <= overlap < min(tile):
            raise ValueError(f"tile overlap {overlap} does not fit tiles of {tile[0]}x{tile[1]}: make it smaller")
        self.size = size
        self.overlap = overlap
        self.spans = list(itertools.product(*(_spans(n, t, overlap) for n, t in zip(size, tile, strict=True))))

    def __len__(self) -> int:
        return len(self.spans)

    def where(self, index: int, scale: int = 1) -> tuple[EllipsisType, slice, slice]:
        """The index expression of a tile in the last two dimensions, enlarged `scale` times."""
        (top, bottom), (left, right) = self.spans[index]
        return ..., slice(top * scale, bottom * scale), slice(left * scale, right * scale)

    def blend(self, tiles: Iterable[Tensor]) -> Tensor:
        """One frame (or clip) from its tiles, taken one at a time and in order."""
        frame = total = torch.empty(0)
        for i, tile in enumerate(tiles):
            (top, bottom), _ = self.spans[i]
            scale = tile.shape[-2] // (bottom - top)
            if i == 0:
                frame = tile.new_zeros(*tile.shape[:-2], *(n * scale for n in self.size))
                total = tile.new_zeros(frame.shape[-2:])
            weight = self._weight(i, scale, tile)
            frame[self.where(i, scale)] += tile * weight
            total[self.where(i, scale)] += weight
        return frame.div_(total)

    def _weight(self, index: int, scale: int, like: Tensor) -> Tensor:
        rows, columns = (
            _ramps(span, n, self.overlap, scale).to(like) for span, n in zip(self.spans[index], self.size, strict=True)
        )
        return rows[:, None] * columns[None, :]


def _spans(size: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Tiles of equal size along one side; the last one is moved back to end with the frame."""
    tile = min(tile, size)
    starts = range(0, max(size - overlap, 1), max(tile - overlap, 1))
    return sorted({(min(s, size - tile), min(s, size - tile) + tile) for s in starts})


def _ramps(span: tuple[int, int], size: int, overlap: int, scale: int) -> Tensor:
    """Weights along one side: 1 inside, falling over the overlap towards a neighbour, never 0."""
    start, end = span
    rise = torch.arange(1, (end - start) * scale + 1) / (overlap * scale + 1)
    weights = torch.ones_like(rise)
    if start > 0:
        weights = torch.minimum(weights, rise)
    if end < size:
        weights = torch.minimum(weights, rise.flip(0))
    return weights
