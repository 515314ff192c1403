"""Triton half of wan.fast.kernels.packed: a program unpacks a few blocks, each element reading its places from the table."""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from wan.fast.kernels import launch
from wan.files.packed import FORMATS, Bits, Format

ELEMENTS = 2048  # of a program


@triton.jit
def _integer(block, table, inside, LOW: tl.constexpr, HIGH: tl.constexpr, LEFT: tl.constexpr, MINUS: tl.constexpr,
             SIGNED: tl.constexpr):  # fmt: skip
    where = tl.load(table)
    value = (tl.load(block + (where & 255), mask=inside, other=0).to(tl.int32) >> ((where >> 8) & 7)) & LOW
    if HIGH > 0:
        above = tl.load(block + ((where >> 11) & 255), mask=inside, other=0).to(tl.int32) >> ((where >> 19) & 7)
        value = value | ((above & HIGH) << LEFT)
    if SIGNED:
        value = (value ^ 128) - 128
    return value - MINUS


@triton.jit
def _unpack(
    packed, halves, out, tables, codebook, count,
    SIZE: tl.constexpr, E: tl.constexpr, BLOCKS: tl.constexpr, D: tl.constexpr, DMIN: tl.constexpr, CODES: tl.constexpr,
    QL: tl.constexpr, QH: tl.constexpr, QLEFT: tl.constexpr, QMINUS: tl.constexpr, QSIGNED: tl.constexpr,
    SCALED: tl.constexpr, SL: tl.constexpr, SH: tl.constexpr, SLEFT: tl.constexpr, SMINUS: tl.constexpr, SSIGNED: tl.constexpr,
    LEAST: tl.constexpr, ML: tl.constexpr, MH: tl.constexpr, MLEFT: tl.constexpr, MMINUS: tl.constexpr, MSIGNED: tl.constexpr,
):  # fmt: skip
    number = tl.program_id(0).to(tl.int64) * BLOCKS + tl.arange(0, BLOCKS)[:, None]
    element = tl.arange(0, E)[None, :]
    inside = number < count
    block = packed + number * SIZE
    half = halves + number * (SIZE // 2)
    quant = _integer(block, tables + element, inside, QL, QH, QLEFT, QMINUS, QSIGNED)
    if CODES:
        quant = tl.load(codebook + quant)
    factor = tl.load(half + D // 2, mask=inside, other=0).to(tl.float32)
    if SCALED:
        factor = factor * _integer(block, tables + E + element, inside, SL, SH, SLEFT, SMINUS, SSIGNED).to(tl.float32)
    value = factor * quant.to(tl.float32)
    if DMIN >= 0:
        least = tl.load(half + DMIN // 2, mask=inside, other=0).to(tl.float32)
        if LEAST:
            small = _integer(block, tables + 2 * E + element, inside, ML, MH, MLEFT, MMINUS, MSIGNED)
            value = value - least * small.to(tl.float32)
        else:
            value = value + least
    tl.store(out + number * E + element, value.to(out.dtype.element_ty), mask=inside)


def unpack(packed: Tensor, format: Format, out: Tensor) -> None:
    assert packed.is_contiguous() and out.is_contiguous()
    count = packed.numel() // format.size
    blocks = ELEMENTS // format.elements
    tables, codebook = _tables(format.name, packed.device)
    launch(
        _unpack, (triton.cdiv(count, blocks),),
        packed, packed.view(torch.float16), out, tables, codebook, count,
        SIZE=format.size, E=format.elements, BLOCKS=blocks, D=format.d,
        DMIN=-1 if format.dmin is None else format.dmin, CODES=format.codebook is not None,
        **_constants("Q", format.quants),
        SCALED=format.scales is not None, **_constants("S", format.scales or format.quants),
        LEAST=format.mins is not None, **_constants("M", format.mins or format.quants),
        enable_fp_fusion=False,  # a product and a difference rounded as one would be another number than the twin's
    )  # fmt: skip


def _constants(name: str, bits: Bits) -> dict[str, int]:
    return {
        f"{name}L": bits.low,
        f"{name}H": bits.high,
        f"{name}LEFT": bits.left,
        f"{name}MINUS": bits.minus,
        f"{name}SIGNED": bits.signed,
    }


@lru_cache(maxsize=64)
def _tables(name: str, device: torch.device) -> tuple[Tensor, Tensor]:
    format = FORMATS[name]
    bits = (format.quants, format.scales or format.quants, format.mins or format.quants)
    tables = torch.tensor([b.table for b in bits], dtype=torch.int32, device=device)
    return tables, torch.tensor(format.codebook or (0,), dtype=torch.int32, device=device)
