"""The memory that a number of strips takes, counted from the layers, and the number of strips that fits in a memory.

An estimate from above of what torch allocates beside weights, input and result: of the largest strip its state at every
resolution, and the activations of the stage that has most of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wan.modules.strips import FRAMES, Size, Span, Stage, Strip, strips

WORKSPACE = 160 * 2**20  # of convolutions, and what rounding up to blocks wastes


@dataclass(frozen=True)
class Work:
    """How a model goes through its stages."""

    bytes: int  # of a number
    busy: float  # tensors like a stage's input, of its most channels, that are there at once
    frames: int  # of a chunk, as the first stage is given it
    full: int = -1  # the stage at full resolution, where a strip has FRAMES at once


def peak_bytes(stages: Sequence[Stage], size: Size, count: int, work: Work) -> int:
    """At the most, of `count` strips one after the other."""
    parts = strips(stages, size, count)
    most = max(_strip_bytes(stages, size, strip, count > 1, work) for strip in parts)
    return WORKSPACE + int(1.03 * most)  # and a little for pictures on their way


def _strip_bytes(stages: Sequence[Stage], size: Size, strip: Strip, cut: bool, work: Work) -> float:
    state = most = 0.0
    across, frames, span = size[1 - strip.side], float(work.frames), strip.given
    full = work.full % len(stages) if cut else None
    for i, stage in enumerate(stages):
        pixels = across * (span[1] - span[0])
        state += stage.kept * pixels
        at_once = min(frames, FRAMES) if i == full else frames
        # its input is there all along, beside it what its frames are worked on with
        most = max(most, stage.channels * pixels * ((work.busy - 1) * at_once + frames))
        across, frames, span = stage.made(across), frames * stage.frames, _after(stage, span, strip.cuts[i])
    return work.bytes * (state + most)


def _after(stage: Stage, span: Span, right: Span) -> Span:
    first = stage.made(span[0])
    return first + right[0], first + right[1]


def fewest(bytes_of: Callable[[int], int], free: float, most: int) -> int:
    """The fewest strips whose bytes are free; if none are few enough, those that need least. More than 16 are mostly halo."""
    needed: dict[int, int] = {}
    for count in range(1, min(most, 16) + 1):
        needed[count] = bytes_of(count)
        if needed[count] <= free:
            return count
    return min(needed, key=needed.__getitem__)
