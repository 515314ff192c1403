"""Files of tensors, opened without loading them: safetensors, torch zips (.pth), GGUF, folders and indexes of shards.

What a file is stands in its first bytes, not in its name. Safetensors are read here, one tensor at a time into the
memory it ends in, not mapped: the pages of a mapped 57 GB file count as the process's own until it is closed.
Every fault of a file is one sentence naming it; what the tensors mean is wan.files.checkpoint's business.
"""

from __future__ import annotations

import json
import math
import pickle
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wan.files.gguf import MAGIC, open_gguf
from wan.files.stored import REPEAT, Stored, StoredBytes, StoredTensor
from wan.files.text import read_json

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
HEADER_LIMIT = 100_000_000  # bytes; what the safetensors library allows
SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.safetensors")

# First bytes of what people have in place of a checkpoint, and what to do about it.
NOT_TENSORS = (
    (b"version https://git-lfs", "a git-LFS pointer, not the file it points to; run `git lfs pull` or download it"),
    (b"<", "a web page, not a checkpoint; the download went wrong, repeat it"),
    (b"\x80", "a bare pickle, which can run code when opened; save it with a current torch or as safetensors"),
)
NO_CHECKPOINT = "not a checkpoint: neither safetensors nor a torch file"


def open_tensors(path: Path) -> dict[str, Stored]:
    """Every tensor of a file, of the shards an index names, or of a folder holding one model."""
    if path.is_dir():
        return open_folder(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    return open_index(path) if path.suffix == ".json" else open_file(path)


def require_file(path: Path) -> None:
    """Opening a pipe would wait for somebody to write into it."""
    if not path.is_file():
        raise ValueError(f"{path} is no file (a pipe, a device, a link to nothing); name the file of a checkpoint")


def open_file(path: Path) -> dict[str, Stored]:
    require_file(path)
    with path.open("rb") as file:
        start = file.read(32)
    if not start:
        raise ValueError(f"{path} is empty; {REPEAT}")
    # asked first: the length a safetensors file begins with may look like anything
    if begins_safetensors(start):
        return open_safetensors(path)
    if start.startswith(b"PK\3\4"):
        return open_torch(path)
    if start.startswith(MAGIC):
        return open_gguf(path)
    what = next((what for sign, what in NOT_TENSORS if start.startswith(sign)), NO_CHECKPOINT)
    raise ValueError(f"{path} is {what}")


def begins_safetensors(start: bytes) -> bool:
    return start[8:9] == b"{" and _header_length(start) <= HEADER_LIMIT


def _header_length(start: bytes) -> int:
    return int.from_bytes(start[:8], "little")


def open_safetensors(path: Path) -> dict[str, Stored]:
    size = path.stat().st_size
    with path.open("rb") as file:
        data = 8 + _header_length(file.read(8))
        if data > size:
            raise ValueError(f"{path} ends inside its header; {REPEAT}")
        entries = _parse_header(path, file.read(data - 8))
    whole = data + max((end for _, _, _, end in entries.values()), default=0)
    if whole != size:
        fault = REPEAT if whole > size else "it is damaged, download it again"
        raise ValueError(f"{path} has {size} bytes where its header says {whole}; {fault}")
    stored: dict[str, Stored] = {}
    for name, (dtype, shape, start, end) in entries.items():
        if dtype not in DTYPES:
            raise ValueError(f"{path}: {name} has the dtype {dtype}, which is not read here; use a bf16 file")
        if start < 0 or end - start != math.prod(shape) * DTYPES[dtype].itemsize:
            raise ValueError(f"{path}: the header gives {name} {end - start} bytes for {shape}; download it again")
        stored[name] = StoredBytes(path, shape, DTYPES[dtype], data + start)
    return stored


def _parse_header(path: Path, header: bytes) -> dict[str, tuple[str, tuple[int, ...], int, int]]:
    """Name -> dtype, shape, first byte and the byte after the last."""
    parsed = {}
    try:
        entries = json.loads(header)
        entries.pop("__metadata__", None)
        for name, entry in entries.items():
            start, end = map(int, entry["data_offsets"])
            parsed[name] = (str(entry["dtype"]), tuple(map(int, entry["shape"])), start, end)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path} has a damaged header; download it again") from error
    return parsed


def read_metadata(path: Path) -> dict[str, str]:
    """The notes in a safetensors file's header; any other file has none."""
    with path.open("rb") as file:
        start = file.read(9)
        if start[8:] != b"{" or _header_length(start) > HEADER_LIMIT:
            return {}
        file.seek(8)
        try:
            notes = json.loads(file.read(_header_length(start))).get("__metadata__")
        except (AttributeError, ValueError, RecursionError):
            return {}
    return {k: v for k, v in notes.items() if isinstance(v, str)} if isinstance(notes, dict) else {}


def open_torch(path: Path) -> dict[str, Stored]:
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} holds code, which is never run, or is damaged; get it as safetensors") from error
    except Exception as error:  # a damaged file lets anything out, from KeyError to OSError
        raise ValueError(f"{path} is damaged or no torch file; download it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a dict of tensors; save the model's state dict")
    strangers = [name for name, value in content.items() if not isinstance(value, Tensor) or not isinstance(name, str)]
    if strangers:
        raise ValueError(f"{path} holds more than tensors: {some(strangers)}; save the model's state dict alone")
    return {name: StoredTensor(path, tensor) for name, tensor in content.items()}


def open_folder(path: Path) -> dict[str, Stored]:
    indexes = sorted(path.glob("*.safetensors.index.json"))
    if len(indexes) == 1:
        return open_index(indexes[0])
    files = sorted(path.glob("*.safetensors"))
    if indexes or not files:
        inside = some([p.name + "/" * p.is_dir() for p in sorted(path.iterdir()) if not p.name.startswith(".")])
        problem = f"has {len(indexes)} indexes" if indexes else "holds no .safetensors"
        raise FileNotFoundError(f"{path} {problem}; name one model in it (it has {inside})")
    _check_numbering(path, files)
    return _join(files)


def open_index(path: Path) -> dict[str, Stored]:
    require_file(path)
    try:
        weight_map = read_json(path)["weight_map"]
        names = sorted(set(weight_map.values()))
        strangers = [name for name in names if Path(name).name != name]
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not an index of shards; download it again") from error
    if strangers:  # an index is as foreign as any download
        raise ValueError(f"{path} names shards outside its folder: {some(strangers)}; download it again")
    files = [path.parent / name for name in names]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise FileNotFoundError(f"{path} names shards that are not beside it: {some(missing)}; download them")
    stored = _join(files)
    lost = [name for name in weight_map if name not in stored]
    if lost:
        raise ValueError(f"{path} names tensors that no shard has: {some(lost)}; download index and shards again")
    return stored


def _check_numbering(folder: Path, files: list[Path]) -> None:
    """Without an index, the names of the shards still say how many there are."""
    present = {file.name for file in files}
    for match in filter(None, map(SHARD.fullmatch, sorted(present))):
        stem, _, count = match.groups()
        names = [f"{stem}-{i:05d}-of-{count}.safetensors" for i in range(1, int(count) + 1)]
        missing = [name for name in names if name not in present]
        if missing:
            raise FileNotFoundError(f"{folder} lacks {some(missing)} of {int(count)} shards; download them")


def _join(files: Iterable[Path]) -> dict[str, Stored]:
    stored: dict[str, Stored] = {}
    for file in files:
        for name, tensor in open_file(file).items():
            if name in stored:
                raise ValueError(f"{stored[name].path} and {file.name} both hold {name}; name one of the two files")
            stored[name] = tensor
    return stored


def some(names: Iterable[Any], count: int = 3) -> str:
    """The first few names, for a message."""
    names = list(names)
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(map(str, names[:count])) + more
