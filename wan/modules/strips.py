"""Strips of a picture, each with what it needs around it to be the whole picture's strip.

Where layers are convolutions, or work on a pixel alone, a row of the result depends on a few rows of the input. A strip is
given those too, its halo. Its convolutions pad it with zeros as they do a picture, which spoils rows at its inner borders and
none at the picture's; what is spoilt is cut off wherever the resolution changes. So a strip is an independent call, layers
and kernels know nothing of it, and what is computed twice is a halo at each resolution. Spans are of rows, or of columns.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

FRAMES = 2  # of a strip that are at full resolution at once: half of a chunk, whose activations are most of the memory
Span = tuple[int, int]
Size = Sequence[int]  # height and width


class Reach(NamedTuple):
    """A layer as rows see it: a convolution, or each row `up` times."""

    up: int = 1
    kernel: int = 1
    stride: int = 1
    padding: int = 0

    def needed(self, span: Span) -> Span:
        first, end = span[0] * self.stride - self.padding, (span[1] - 1) * self.stride + self.kernel - self.padding
        return first // self.up, -(-end // self.up)


@dataclass(frozen=True)
class Stage:
    """Layers at whose end, and nowhere else, rows become more or fewer."""

    reaches: tuple[Reach, ...]
    channels: int = 0  # the most that a convolution makes
    kept: int = 0  # numbers of each pixel of its input that a state keeps
    frames: float = 1  # that it makes of one

    @property
    def up(self) -> int:
        return math.prod(reach.up for reach in self.reaches)

    @property
    def down(self) -> int:
        return math.prod(reach.stride for reach in self.reaches)

    def made(self, size: int) -> int:
        return size * self.up // self.down

    def needed(self, span: Span, size: int) -> Span:
        """The rows of `size` that a span of the result depends on; they begin where those of the whole picture could."""
        for reach in reversed(self.reaches):
            span = reach.needed(span)
        first = max(0, span[0])
        return first - first % self.down, min(size, span[1])


def stage(layers: Iterable[nn.Module]) -> Stage:
    """As the layers' own kernels have it: kernels along height and width are the same, and so are strips of either."""
    modules = [module for layer in layers for module in layer.modules()]
    reaches = (_reach(module) for module in modules if isinstance(module, nn.Upsample | nn.Conv2d | nn.Conv3d))
    wide = [module for module in modules if isinstance(module, nn.Conv2d | nn.Conv3d) and module.kernel_size[-1] > 1]
    causal = [module for module in modules if isinstance(module, nn.Conv3d)]
    return Stage(
        tuple(reach for reach in reaches if reach != Reach()),
        max((conv.out_channels for conv in wide), default=0),
        sum((conv.kernel_size[0] - 1) * conv.in_channels for conv in causal),
        math.prod(_frames(conv) for conv in causal if conv.kernel_size[-1] == 1),
    )


def _frames(conv: nn.Conv3d) -> float:
    """What a convolution in time alone makes of a frame: two side by side as channels, or a half."""
    return (2 if conv.kernel_size[0] > 1 and conv.out_channels == 2 * conv.in_channels else 1) / conv.stride[0]


def _reach(module: Any) -> Reach:
    if hasattr(module, "scale_factor"):
        return Reach(up=int(module.scale_factor))
    return Reach(1, module.kernel_size[-1], module.stride[-1], module.padding[-1])


@dataclass(frozen=True)
class Strip:
    side: int  # the side that is cut: 0 height, 1 width
    given: Span  # of the input, with the halo
    cuts: tuple[Span, ...]  # of what each stage makes of it, what is right
    made: Span  # of the result: the strip itself


def strips(stages: Sequence[Stage], size: Size, count: int) -> tuple[Strip, ...]:
    """`count` strips, as equal as they can be, of what `stages` make of a picture: across its longer side, where a halo is the
    smaller part (1280x720 decoded in 4: 1.11 of the whole's multiplications; across the other side 1.20). The borders are at
    whole rows of the smallest picture."""
    side = 0 if size[0] > size[1] else 1
    sizes = list(itertools.accumulate(stages, lambda n, stage: stage.made(n), initial=size[side]))
    parts = min(sizes[0], sizes[-1])
    if not 1 <= count <= parts:
        raise ValueError(f"{parts} rows or columns cannot be {count} strips: ask for 1 to {parts}")
    bounds = [sizes[-1] // parts * (parts * i // count) for i in range(count + 1)]
    return tuple(_strip(side, stages, sizes, made) for made in itertools.pairwise(bounds))


def _strip(side: int, stages: Sequence[Stage], sizes: Sequence[int], made: Span) -> Strip:
    span, cuts = made, []
    for stage, size in zip(reversed(stages), reversed(sizes[:-1]), strict=True):
        given = stage.needed(span, size)
        first = stage.made(given[0])
        cuts.append((span[0] - first, span[1] - first))
        span = given
    return Strip(side, span, tuple(reversed(cuts)), made)


def cut(x: Tensor, dim: int, span: Span) -> Tensor:
    """A span of `x`, a copy that does not keep the rest alive; all of it is `x` itself."""
    if span == (0, x.shape[dim]):
        return x
    return x.narrow(dim, span[0], span[1] - span[0]).clone(memory_format=torch.contiguous_format)


def through(strip: Strip | None, x: Tensor, stages: Sequence[Callable[[Tensor], Tensor]], height: int) -> Tensor:
    """A strip (none: all) of the picture `x` through all stages; `height` is that dimension of it."""
    if strip is None:
        return reduce(lambda x, run: run(x), stages, x)
    x = cut(x, height + strip.side, strip.given)
    for run, right in zip(stages, strip.cuts, strict=True):
        x = cut(run(x), height + strip.side, right)
    return x
