"""One tensor of a file, not read yet: what it is, and how it fills memory that is already there.

It is read in the dtype of the tensor it fills, so that nothing exists twice; into one of its own dtype, or for packed weights
into bytes, it is copied as it stands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from wan.files.packed import Format, unpack

REPEAT = "the download is incomplete, repeat it"


class Stored(Protocol):
    @property
    def path(self) -> Path: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def packed(self) -> Format | None: ...

    @property
    def nbytes(self) -> int: ...

    def read_into(self, target: Tensor, scratch: Tensor) -> None:
        """Fill a contiguous tensor of as many elements, of any dtype and on any device. `scratch` is some bytes of host
        memory: one for a whole model, because a new one for each tensor would leave the heap full of holes."""


@dataclass(frozen=True)
class StoredBytes:
    """A tensor that lies in its file as it lies in memory."""

    path: Path
    shape: tuple[int, ...]
    dtype: torch.dtype
    offset: int
    packed: Format | None = None

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def read_into(self, target: Tensor, scratch: Tensor) -> None:
        flat = target.view(-1)
        with self.path.open("rb") as file:
            file.seek(self.offset)
            if flat.dtype == self.dtype and flat.device.type == "cpu":
                fill(file, self.path, flat)
                return
            # cast piece by piece, so that the tensor never exists a second time
            stored = scratch.view(self.dtype)
            for piece in flat.split(len(stored)):
                fill(file, self.path, stored[: len(piece)])
                piece.copy_(stored[: len(piece)])


@dataclass(frozen=True)
class StoredPacked:
    """A tensor of packed weights: read as bytes into bytes, or unpacked where they arrive."""

    path: Path
    shape: tuple[int, ...]
    packed: Format
    offset: int
    dtype: torch.dtype = torch.float32  # of what is unpacked

    @property
    def nbytes(self) -> int:
        return self.packed.bytes_of(math.prod(self.shape))

    def read_into(self, target: Tensor, scratch: Tensor) -> None:
        if target.dtype == torch.uint8:
            StoredBytes(self.path, tuple(target.shape), torch.uint8, self.offset).read_into(target, scratch)
            return
        blocks = len(scratch) // self.packed.size
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for piece in target.view(-1).split(blocks * self.packed.elements):
                raw = scratch[: self.packed.bytes_of(len(piece))]
                fill(file, self.path, raw)
                unpack(raw.to(piece.device), self.packed, piece)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a torch file, mapped from disk."""

    path: Path
    tensor: Tensor
    packed: Format | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.tensor.dtype

    @property
    def nbytes(self) -> int:
        return self.tensor.nbytes

    def read_into(self, target: Tensor, _: Tensor) -> None:
        target.copy_(self.tensor.reshape(target.shape))


def fill(file: BufferedReader, path: Path, tensor: Tensor) -> None:
    memory = tensor.view(torch.uint8).numpy().data
    if file.readinto(memory) < memory.nbytes:
        raise ValueError(f"{path} ends inside a tensor; {REPEAT}")
