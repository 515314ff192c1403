"""One model's tensors by their official names, and how they fill a model: strictly, and without a second copy.

A model is built on the meta device and takes each tensor as it is read and cast, so the host never holds more than the
model and the tensors in hand. Strict: each tensor of a file is used and each parameter filled, else one ValueError.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

import torch
from torch import Tensor, nn

from wan.files.key_names import official_names, recognise
from wan.files.packed import Format
from wan.files.readers import open_tensors, some
from wan.files.stored import Stored

log = logging.getLogger(__name__)
Model = TypeVar("Model", bound=nn.Module)
Shape = tuple[int, ...]

SCRATCH = 8 << 20  # bytes read before they are cast
READERS = 4
SCALE = "weight_scale"  # what a model that keeps such weights calls them
UP, DOWN = "lora_up", "lora_down"  # and the factors of what is added to them
FOUR_BITS = ".weight_scale_2"  # only such weights have a second scale
LONGEST_NOTE = 4096
SCALES = (".scale_weight", ".weight_scale")  # one number, or one a row, that an fp8 weight is multiplied by


@dataclass(frozen=True)
class Kept:
    """How a tensor stays in memory if it stays as its file has it."""

    dtype: torch.dtype
    shape: Shape  # of packed weights: rows, and the bytes of each
    format: Format | None
    scales: int  # how many numbers belong to it: none, one, or one a row
    rank: int = 0  # of what is added to it in a product


@dataclass(frozen=True)
class Weights:
    """The tensors of one model by their official names; read one by one, when asked for."""

    path: Path
    holds: str
    parts: dict[str, tuple[Stored, ...]]  # more than one are joined along the first axis
    scales: dict[str, Stored]
    full_precision: bool = False  # its maker wants products of 8-bit weights in wider numbers

    def of(self, holds: str) -> Weights:
        """These, if they are what is wanted."""
        if self.holds != holds:
            raise ValueError(f"{self.path} holds {self.holds}; {holds} is needed here")
        return self

    @property
    def shapes(self) -> dict[str, Shape]:
        return {name: self.shape(name) for name in self.parts}

    def shape(self, name: str) -> Shape:
        parts = self.parts[name]
        first = parts[0].shape
        return first if len(parts) == 1 else (sum(part.shape[0] for part in parts), *first[1:])

    def kept(self, name: str) -> Kept | None:
        """None for numbers of a usual kind, which are read as the model wants them."""
        parts = self.parts.get(name, ())
        if len(parts) != 1 or len(parts[0].shape) != 2:
            return None
        stored, scale = parts[0], self.scales.get(name)
        if stored.packed:
            return Kept(torch.uint8, (stored.shape[0], stored.packed.bytes_of(stored.shape[1])), stored.packed, 0)
        if stored.dtype.itemsize > 1:
            return None
        return Kept(stored.dtype, stored.shape, None, math.prod(scale.shape) if scale else 0)

    @property
    def stored(self) -> int:
        """Bytes in the file."""
        return sum(part.nbytes for parts in (*self.parts.values(), self.scales.values()) for part in parts)

    def nbytes(self, dtype: torch.dtype) -> int:
        """In memory, what can be kept as it is kept so and the rest in `dtype`."""
        kept = {name: self.kept(name) for name in self.parts}
        return sum(
            math.prod(held.shape) * held.dtype.itemsize if held else math.prod(self.shape(name)) * dtype.itemsize
            for name, held in kept.items()
        )

    def read_into(self, name: str, target: Tensor, scratch: Tensor) -> None:
        """Into a tensor of the stored kind as it stands, into any other as numbers."""
        weight, _, kind = name.rpartition(".")
        if kind == SCALE:
            self._read_scale(f"{weight}.weight", target, scratch)
            return
        parts = self.parts[name]
        # the only tensor, or one after another along the first axis
        pieces = target.split([part.shape[0] for part in parts]) if len(parts) > 1 else (target,)
        for part, piece in zip(parts, pieces):
            part.read_into(piece, scratch)
        if name in self.scales and target.dtype != parts[0].dtype:
            scale = torch.empty(self.scales[name].shape, device=target.device)
            self.scales[name].read_into(scale, scratch)
            scale_rows(target, scale)

    def _read_scale(self, weight: str, target: Tensor, scratch: Tensor) -> None:
        """One number for all rows may be wanted as one a row; a weight without any is what it says."""
        stored = self.scales.get(weight)
        if stored is None or math.prod(stored.shape) == 1 != target.numel():
            number = torch.ones(())
            if stored is not None:
                stored.read_into(number, scratch)
            target.fill_(number.item())
        else:
            stored.read_into(target, scratch)


def scale_rows(numbers: Tensor, scale: Tensor) -> None:
    """By one number, or one a row, in place. 8 bits are exact in every wider dtype, and the product is rounded once."""
    numbers.mul_(scale.view(-1, 1) if scale.numel() > 1 else scale.view(()))


class UnknownModel(ValueError):
    """A whole file, but of something else."""


def open_weights(path: Path | str) -> Weights:
    """A file, an index or a folder of shards, in any known layout; nothing but headers is read."""
    path = Path(path)
    stored = open_tensors(path)
    known = recognise(stored)
    if known is None:
        raise UnknownModel(f"{path} holds no model known here (its tensors: {some(sorted(stored)) or 'none'})")
    names = official_names(stored, *known)
    parts = {name: tuple(stored[key] for key in keys) for name, keys in names.items()}
    for name, pieces in parts.items():
        if len(pieces) > 1 and not (pieces[0].shape and len({piece.shape[1:] for piece in pieces}) == 1):
            raise ValueError(f"{path}: the parts of {name} ({some(names[name])}) do not join; download it again")
    return Weights(path, known[0].holds, parts, _take_scales(parts), _wants_full_precision(path, stored))


def _wants_full_precision(path: Path, stored: dict[str, Stored]) -> bool:
    """What ComfyUI's quantised files say of themselves beside the weights, of the older kind and of the newer."""
    if any(name.endswith(FOUR_BITS) for name in stored):
        raise ValueError(
            f"{path} holds 4-bit floats (nvfp4), which are not read here; take an fp8_scaled or a GGUF file"
        )
    older = any(name.endswith("scaled_fp8") and math.prod(t.shape) == 2 for name, t in stored.items())
    return older or any(_says_so(t) for name, t in stored.items() if name.endswith(".comfy_quant"))


def _says_so(note: Stored) -> bool:
    size = math.prod(note.shape)
    if note.dtype != torch.uint8 or size > LONGEST_NOTE:
        return False
    text = torch.empty(size, dtype=torch.uint8)
    note.read_into(text, text)
    try:
        said = json.loads(text.numpy().tobytes())
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("full_precision_matrix_mult") is True


def _take_scales(parts: dict[str, tuple[Stored, ...]]) -> dict[str, Stored]:
    """The scales of fp8 weights, by the weight; a scale of any other shape stays behind and is found unexpected."""
    scales = {}
    for name in [name for name in parts if name.endswith(SCALES)]:
        weight = name.rpartition(".")[0] + ".weight"
        fp8 = weight in parts and parts[weight][0].dtype.itemsize == 1
        if fp8 and math.prod(parts[name][0].shape) in (1, parts[weight][0].shape[0]):
            scales[weight] = parts.pop(name)[0]
    return scales


@dataclass(frozen=True)
class Finish:
    """What is done to a model as it is loaded: `hold` replaces parts before it has memory, `block` a block once it is full.
    Blocks are filled, and finished, on the device `through`, and go on to where the model is wanted; or `stream` takes
    them over unread."""

    hold: Callable[[nn.Module, Weights], None] | None = None
    block: Callable[[nn.Module], None] | None = None
    through: torch.device | None = None
    stream: Callable[[nn.Module, Weights], None] | None = None


def load_into(
    model: Model, weights: Weights, *, dtype: torch.dtype, device: torch.device | str, finish: Finish | None = None
) -> Model:
    """Fill a model built on the meta device. A model may name, in `unused_keys()`, what its files have beside it."""
    if not dtype.is_floating_point:
        raise ValueError(f"{weights.path} cannot be loaded as {dtype}; ask for bfloat16, float16 or float32")
    found = [f"{len(names)} {kind} ({some(names)})" for kind, names in faults(model, weights).items() if names]
    if found:
        raise ValueError(f"{weights.path} does not fit {type(model).__name__}: {'; '.join(found)}")
    assert not any(buffer.is_meta for buffer in model.buffers()), "a buffer that no file has must not be made on meta"
    started, finish = time.perf_counter(), finish or Finish()
    model = model.to(dtype)
    if finish.hold:
        finish.hold(model, weights)
    size = sum(map(math.prod, weights.shapes.values()))
    readers = Readers()
    if finish.block or finish.stream:
        for name, child in model.named_children():
            if name != "blocks":
                fill(child, f"{name}.", weights, device, readers)
        _take_blocks(model, weights, device, finish, readers)
    else:
        fill(model, "", weights, device, readers)
    log.info("%s: %.1f M parameters in %.1f s", weights.path, size / 1e6, time.perf_counter() - started)
    return model.eval().requires_grad_(False)


def finished_skeleton(model: Model, weights: Weights, dtype: torch.dtype, finish: Finish) -> Model:
    """What `load_into` would make of it, still without memory."""
    model = model.to(dtype)
    if finish.hold:
        finish.hold(model, weights)
    if finish.block:
        for block in model.blocks:  # type: ignore[union-attr]
            finish.block(block)
    return model


def parts_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """What is filled one by one, by the beginning of its names: blocks last."""
    children = [(f"{name}.", child) for name, child in model.named_children() if name != "blocks"]
    return children + [(f"blocks.{i}.", block) for i, block in enumerate(model.blocks)]  # type: ignore[arg-type]


def _take_blocks(
    model: nn.Module, weights: Weights, device: torch.device | str, finish: Finish, readers: Readers
) -> None:
    if finish.stream:
        finish.stream(model, weights)
        return
    assert finish.block is not None
    for i, block in enumerate(model.blocks):  # type: ignore[arg-type]
        fill(block, f"blocks.{i}.", weights, finish.through or device, readers)
        finish.block(block)
        block.to(device)


def fill(module: nn.Module, prefix: str, weights: Weights, device: torch.device | str, readers: Readers) -> None:
    """Give memory to what has none, and read all of it from the file."""
    module._apply(lambda t: torch.empty_like(t, device=device) if t.is_meta else t)
    # the parameters' own storage, under the official names
    readers.read(weights, module.state_dict(prefix=prefix), torch.device(device))


class Readers:
    """A few threads that read tensors at once: one alone leaves a fast disk, and a copy to a device, waiting. Daemons, because
    Ctrl-C must not wait for 28 GB. Each has some bytes of its own for what is cast."""

    def __init__(self, count: int = READERS):
        self._scratch = [torch.empty(SCRATCH, dtype=torch.uint8) for _ in range(count)]

    def read(self, weights: Weights, targets: dict[str, Tensor], device: torch.device) -> None:
        """Returns when all of it is there; copies are on the caller's stream."""
        stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        # the large ones first, so that none is left alone at the end
        names = SimpleQueue[str]()
        for name in sorted(targets, key=lambda name: -targets[name].nbytes):
            names.put(name)
        failures: list[BaseException] = []

        def work(scratch: Tensor) -> None:
            try:
                with torch.cuda.stream(stream) if stream else nullcontext():
                    while not failures:
                        name = names.get_nowait()
                        weights.read_into(name, targets[name], scratch)
            except Empty:
                return
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(s,), daemon=True, name="reading") for s in self._scratch]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]


def faults(model: nn.Module, weights: Weights) -> dict[str, list[str]]:
    """What keeps the file from being this model, by kind."""
    wanted = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    given = weights.shapes
    unused: tuple[str, ...] = getattr(model, "unused_keys", tuple)()
    shared = [name for name in wanted if name in given]
    return {
        "missing": [name for name in wanted if name not in given],
        "unexpected": [name for name in given if name not in wanted and not name.startswith(unused)],
        "misshapen": [
            f"{name} is {given[name]}, not {wanted[name]}" for name in shared if not _fits(given[name], wanted[name])
        ],
        "not floating point": [
            name for name in shared if name not in weights.scales and not weights.parts[name][0].dtype.is_floating_point
        ],
    }


def _fits(given: Shape, wanted: Shape) -> bool:
    """The same shape; some files leave out leading axes of length one (a class token stored as a vector)."""
    lead = len(wanted) - len(given)
    return lead >= 0 and wanted[lead:] == given and math.prod(wanted[:lead]) == 1
