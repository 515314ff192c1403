"""Weights packed in blocks of bytes, as GGUF files have them: every format is a table, and one function unpacks them all.

An element of a block is `d * scale * quant - dmin * min`. quant, scale and min are small integers, each put together from
at most two places of the block's bytes; the tables say which, so that a kernel needs no code of its own for a format.
The arithmetic and its order are those of the `gguf` package, float32 throughout, so that the results are too, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

Place = tuple[int, int]  # a byte of the block, and how far right it is shifted
PIECE = 1 << 20  # elements unpacked at a time: the plain way makes a few integers of each


@dataclass(frozen=True)
class Bits:
    """A small integer for every element: `low` bits of one place, and above them `high` bits of another."""

    places: tuple[tuple[Place, Place], ...]
    low: int  # a mask
    high: int = 0  # a mask; none: the second place is not looked at
    left: int = 0  # where the high bits go
    minus: int = 0
    signed: bool = False  # a whole byte, two's complement

    @property
    def table(self) -> list[int]:
        return [low[0] | low[1] << 8 | high[0] << 11 | high[1] << 19 for low, high in self.places]


@dataclass(frozen=True)
class Format:
    name: str
    elements: int  # of a block
    size: int  # its bytes
    quants: Bits
    d: int  # the byte at which its float16 begins
    scales: Bits | None = None
    dmin: int | None = None
    mins: Bits | None = None  # none, with a dmin: that is added as it is
    codebook: tuple[int, ...] | None = None  # what the quants stand for

    def bytes_of(self, elements: int) -> int:
        return elements // self.elements * self.size


def _bits(count: int, low: Callable[[int], Place], high: Callable[[int], Place] | None = None, /, **masks: int) -> Bits:
    places = tuple((low(e), high(e) if high else (0, 0)) for e in range(count))
    return Bits(places, **masks)  # type: ignore[arg-type]


def _halves(start: int, run: int) -> Callable[[int], Place]:
    """4 bits an element: of every 2 * `run` elements the first half are low nibbles, the second the high ones."""
    return lambda e: (start + e // (2 * run) * run + e % run, e % (2 * run) // run * 4)


def _quarters(start: int) -> Callable[[int], Place]:
    """2 bits an element: 128 elements in 32 bytes, 32 at a time."""
    return lambda e: (start + e // 128 * 32 + e % 32, e % 128 // 32 * 2)


def _eighths(start: int) -> Callable[[int], Place]:
    """1 bit an element: 256 elements in 32 bytes, 32 at a time."""
    return lambda e: (start + e % 32, e // 32)


def _six_bits(start: int, group: int, minimum: bool) -> Bits:
    """Scale or minimum of Q4_K and Q5_K: eight of 6 bits each in twelve bytes, the last four of them split."""

    def low(e: int) -> Place:
        j = e // group
        return (start + j + 4, 4 if minimum else 0) if j >= 4 else (start + j + 4 * minimum, 0)

    def high(e: int) -> Place:
        j = e // group
        return (start + j - 4 + 4 * minimum, 6) if j >= 4 else (start + j + 4 * minimum, 4)

    return _bits(256, low, high, low=15, high=3, left=4)


CODEBOOK = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)  # of IQ4: steps of a bell curve

FORMATS = {format.name: format for format in (
    Format("Q4_0", 32, 18, _bits(32, _halves(2, 16), low=15, minus=8), d=0),
    Format("Q4_1", 32, 20, _bits(32, _halves(4, 16), low=15), d=0, dmin=2),
    Format("Q5_0", 32, 22, _bits(32, _halves(6, 16), lambda e: (2 + e // 8, e % 8), low=15, high=1, left=4, minus=16), d=0),
    Format("Q5_1", 32, 24, _bits(32, _halves(8, 16), lambda e: (4 + e // 8, e % 8), low=15, high=1, left=4), d=0, dmin=2),
    Format("Q8_0", 32, 34, _bits(32, lambda e: (2 + e, 0), low=255, signed=True), d=0),
    Format(
        "Q2_K", 256, 84, _bits(256, _quarters(16), low=3), d=80, scales=_bits(256, lambda e: (e // 16, 0), low=15),
        dmin=82, mins=_bits(256, lambda e: (e // 16, 4), low=15),
    ),
    Format(
        "Q3_K", 256, 110, _bits(256, _quarters(32), _eighths(0), low=3, high=1, left=2, minus=4), d=108,
        scales=_bits(
            256, lambda e: (96 + e // 16 % 8, e // 128 * 4), lambda e: (104 + e // 16 % 4, e // 64 * 2),
            low=15, high=3, left=4, minus=32,
        ),
    ),
    Format(
        "Q4_K", 256, 144, _bits(256, _halves(16, 32), low=15), d=0, scales=_six_bits(4, 32, False),
        dmin=2, mins=_six_bits(4, 32, True),
    ),
    Format(
        "Q5_K", 256, 176, _bits(256, _halves(48, 32), _eighths(16), low=15, high=1, left=4), d=0,
        scales=_six_bits(4, 32, False), dmin=2, mins=_six_bits(4, 32, True),
    ),
    Format(
        "Q6_K", 256, 210,
        _bits(256, _halves(0, 64), lambda e: (128 + e // 128 * 32 + e % 32, e % 128 // 32 * 2), low=15, high=3, left=4, minus=32),
        d=208, scales=_bits(256, lambda e: (192 + e // 16, 0), low=255, signed=True),
    ),
    Format("IQ4_NL", 32, 18, _bits(32, _halves(2, 16), low=15), d=0, codebook=CODEBOOK),
    Format(
        "IQ4_XS", 256, 136, _bits(256, _halves(8, 16), low=15), d=0, codebook=CODEBOOK,
        scales=_bits(
            256, lambda e: (4 + e // 64, e // 32 % 2 * 4), lambda e: (2 + e // 128, e // 32 % 4 * 2),
            low=15, high=3, left=4, minus=32,
        ),
    ),
)}  # fmt: skip


def unpack(packed: Tensor, format: Format, out: Tensor) -> None:
    """Bytes of whole blocks, uint8, into as many elements of any dtype, contiguous; both on one device."""
    blocks, flat = packed.view(-1, format.size), out.view(-1, format.elements)
    rows = max(1, PIECE // format.elements)
    for source, target in zip(blocks.split(rows), flat.split(rows)):
        target.copy_(_unpack(source, format))


def _unpack(blocks: Tensor, format: Format) -> Tensor:
    value = _integers(blocks, format, "quants")
    if format.codebook:
        value = torch.tensor(format.codebook, device=blocks.device)[value]
    factor = half_at(blocks, format.d)
    if format.scales:
        factor = factor * _integers(blocks, format, "scales").float()
    value = factor * value.float()
    if format.dmin is None:
        return value
    least = half_at(blocks, format.dmin)
    return value - least * _integers(blocks, format, "mins").float() if format.mins else value + least


def half_at(blocks: Tensor, byte: int) -> Tensor:
    """The float16 there in every block, (B, 1) as float32."""
    return blocks[:, byte : byte + 2].contiguous().view(torch.float16).float()


def _integers(blocks: Tensor, format: Format, field: str) -> Tensor:
    """(B, elements), int32."""
    bits: Bits = getattr(format, field)
    low, low_shift, high, high_shift = _places(format.name, field, blocks.device)
    value = (blocks[:, low].int() >> low_shift) & bits.low
    if bits.high:
        value |= ((blocks[:, high].int() >> high_shift) & bits.high) << bits.left
    return (value ^ 128) - 128 if bits.signed else value - bits.minus


@lru_cache(maxsize=128)
def _places(name: str, field: str, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    bits: Bits = getattr(FORMATS[name], field)
    columns = torch.tensor([(*low, *high) for low, high in bits.places], device=device).unbind(1)
    return columns[0], columns[1].int(), columns[2], columns[3].int()
