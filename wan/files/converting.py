"""A model's weights written as `finish` makes them of its blocks: what was quantised becomes a file that opens at once.

The file is safetensors under official names, 8-bit weights with a `weight_scale` a row beside them, as other programs write
and read them. A block at a time is in memory.
"""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import torch
from torch import Tensor, nn

from wan.files.loading import Finish, Readers, fill, finished_skeleton, parts_of, require_fit
from wan.files.readers import DTYPES
from wan.files.weights import SCALE, Weights

NAMES = {dtype: name for name, dtype in DTYPES.items()}


def convert(
    model: nn.Module, weights: Weights, finish: Finish, dtype: torch.dtype, out: Path
) -> Iterator[tuple[int, int]]:
    """From a model without memory to a file; yields how many of its parts are written, and of how many."""
    assert finish.hold is None, "what stays packed has no name in such a file: it is unpacked, and made anew"
    require_fit(model, weights)
    unread = parts_of(copy.deepcopy(model.to(dtype)))
    count = len(unread)
    finished = finished_skeleton(model, weights, dtype, finish)
    tensors = {name: t for prefix, part in parts_of(finished) for name, t in part.state_dict(prefix=prefix).items()}
    part_file = out.with_name(f".{out.name}.part")
    try:
        with part_file.open("wb") as file:
            file.write(_header(tensors))
            readers = Readers()
            while unread:  # each is let go when it is written
                _write_part(file, *unread.pop(0), weights, finish, readers)
                yield count - len(unread), count
        part_file.replace(out)
    finally:
        part_file.unlink(missing_ok=True)


def _write_part(
    file: IO[bytes], prefix: str, part: nn.Module, weights: Weights, finish: Finish, readers: Readers
) -> None:
    fill(part, prefix, weights, finish.through or "cpu", readers)
    if finish.block and prefix.startswith("blocks."):
        finish.block(part)
    for tensor in part.state_dict(prefix=prefix).values():
        file.write(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())


def _header(tensors: dict[str, Tensor]) -> bytes:
    entries: dict[str, object] = {}
    end = 0
    for name, tensor in tensors.items():
        shape = [tensor.numel(), 1] if name.endswith(SCALE) else list(tensor.shape)
        entries[name] = {"dtype": NAMES[tensor.dtype], "shape": shape, "data_offsets": [end, end + tensor.nbytes]}
        end += tensor.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
