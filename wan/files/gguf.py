"""GGUF files: a header of facts, a list of tensors, then their bytes. Packed weights stay packed (wan.files.packed).

Everything is checked against the size of the file before it is believed: counts, lengths, places. What the facts say of
tokens and architecture is there for who asks; a model is recognised by its tensors, as in every other kind of file.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import torch

from wan.files.packed import FORMATS
from wan.files.stored import REPEAT, Stored, StoredBytes, StoredPacked
from wan.schema import shown

MAGIC = b"GGUF"
VERSIONS = (2, 3)
LONGEST = 1 << 20  # bytes of a name or a fact; tensors and lists of tokens have many, each of them short
MOST = 1 << 24  # entries of a list, tensors, facts
DEPTH = 4  # lists in lists
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, LIST = 8, 9
PLAIN = {
    0: torch.float32, 1: torch.float16, 24: torch.int8, 25: torch.int16, 26: torch.int32, 27: torch.int64, 28: torch.float64,
    30: torch.bfloat16,
}  # fmt: skip
PACKED = {
    2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K",
    20: "IQ4_NL", 23: "IQ4_XS",
}  # fmt: skip
OTHERS = {
    9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 21: "IQ3_S", 22: "IQ2_S", 29: "IQ1_M",
    34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
}  # fmt: skip
ORIGINAL_SHAPE = "comfy.gguf.orig_shape."  # of what was flattened, because its rows were too short for a block
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Listed:
    name: str
    shape: Shape
    type: int
    offset: int  # from where the data begin


class Cursor:
    """Reads the header; nothing in it may be longer than what is left of the file."""

    def __init__(self, path: Path, file: BinaryIO):
        self.path, self.file, self.size = path, file, path.stat().st_size

    def bytes(self, count: int) -> bytes:
        read = self.file.read(count) if count <= self.size - self.file.tell() else b""
        if len(read) < count:
            raise ValueError(f"{self.path} ends inside its header; {REPEAT}")
        return read

    def number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self.bytes(struct.calcsize(code)))[0]

    def count(self, most: int, what: str) -> int:
        count: int = self.number("Q")
        if count > most:
            raise self.damaged(f"{count} {what}")
        return count

    def text(self) -> str:
        raw = self.bytes(self.count(LONGEST, "letters in one name"))
        return raw.decode("utf-8", errors="surrogateescape")  # a token may be half of a letter

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind == STRING:
            return self.text()
        if kind in NUMBERS:
            return self.number(NUMBERS[kind])
        if kind != LIST or depth > DEPTH:
            raise self.damaged(f"a fact of the unknown type {kind}")
        inner, count = self.number("I"), self.count(MOST, "entries in a list")
        if inner in NUMBERS:
            code = f"{count}{NUMBERS[inner]}"
            return list(struct.unpack(f"<{code}", self.bytes(struct.calcsize(f"<{code}"))))
        return [self.value(inner, depth + 1) for _ in range(count)]

    def entry(self) -> Listed:
        name, axes = self.text(), self.number("I")
        if not 0 < axes <= 8:
            raise self.damaged(f"{axes} axes for {shown(name)}")
        shape = tuple(reversed([self.number("Q") for _ in range(axes)]))
        return Listed(name, shape, self.number("I"), self.number("Q"))

    def damaged(self, what: str) -> ValueError:
        return ValueError(f"{self.path} has a damaged header ({what}); download it again")


def open_gguf(path: Path) -> dict[str, Stored]:
    return dict(_open(path)[0])


def gguf_facts(path: Path) -> dict[str, Any]:
    """What the header says beside the tensors: architecture, tokens and so on."""
    return _open(path)[1]


def _open(path: Path) -> tuple[dict[str, Stored], dict[str, Any]]:
    """A text encoder's header has 256,000 tokens in it, takes a second, and is asked for by several: once a file as it is."""
    now = path.stat()
    return _read(path, now.st_size, now.st_mtime_ns)


@lru_cache(maxsize=4)
def _read(path: Path, _size: int, _changed: int) -> tuple[dict[str, Stored], dict[str, Any]]:
    with path.open("rb") as file:
        cursor = Cursor(path, file)
        facts, entries = _read_header(cursor)
        alignment = facts.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise cursor.damaged(f"an alignment of {alignment}")
        start = -(-file.tell() // alignment) * alignment
    stored: dict[str, Stored] = {}
    for name, tensor in _tensors(cursor, entries, start, facts):
        if name in stored:
            raise cursor.damaged(f"{name} twice")
        stored[name] = tensor
    return stored, facts


def _read_header(cursor: Cursor) -> tuple[dict[str, Any], list[Listed]]:
    magic, version = cursor.bytes(4), cursor.number("I")
    assert magic == MAGIC
    if version not in VERSIONS:
        raise ValueError(
            f"{cursor.path} is GGUF version {version}; {VERSIONS[0]} and {VERSIONS[1]} are read here, convert it anew"
        )
    tensors, facts = cursor.count(MOST, "tensors"), cursor.count(MOST, "facts")
    known = {}
    for _ in range(facts):
        name = cursor.text()
        known[name] = cursor.value(cursor.number("I"))
    return known, [cursor.entry() for _ in range(tensors)]


def _tensors(cursor: Cursor, entries: list[Listed], start: int, facts: dict[str, Any]) -> Iterator[tuple[str, Stored]]:
    for entry in entries:
        elements = math.prod(entry.shape)
        shape = _original(cursor, entry, facts)
        offset = start + entry.offset
        size = _bytes(cursor, entry, elements)
        if offset + size > cursor.size:
            raise ValueError(f"{cursor.path} ends before {entry.name} does; {REPEAT}")
        if entry.type in PLAIN:
            yield entry.name, StoredBytes(cursor.path, shape, PLAIN[entry.type], offset)
        else:
            yield entry.name, StoredPacked(cursor.path, shape, FORMATS[PACKED[entry.type]], offset)


def _original(cursor: Cursor, entry: Listed, facts: dict[str, Any]) -> Shape:
    shape = facts.get(ORIGINAL_SHAPE + entry.name, entry.shape)
    if not all(isinstance(n, int) for n in shape) or math.prod(shape) != math.prod(entry.shape):
        raise cursor.damaged(f"{entry.name} is {entry.shape} and was {shape}")
    return tuple(shape)


def _bytes(cursor: Cursor, entry: Listed, elements: int) -> int:
    if entry.type in PLAIN:
        return elements * PLAIN[entry.type].itemsize
    if entry.type not in PACKED:
        known = OTHERS.get(entry.type, f"the unknown type {entry.type}")
        raise ValueError(
            f"{cursor.path}: {entry.name} is {known}, which is not read here; take a Q4_K_M, Q5_K_M or Q8_0 file"
        )
    format = FORMATS[PACKED[entry.type]]
    if entry.shape[-1] % format.elements:
        raise cursor.damaged(
            f"rows of {entry.shape[-1]} for {entry.name}, {format.name} has blocks of {format.elements}"
        )
    return format.bytes_of(elements)
