"""One model's tensors by their official names, and how they fill a model: strictly, and without a second copy.

A model is built on the meta device and takes each tensor as it is read and cast, so the host never holds more than the
model and the tensors in hand. Strict: each tensor of a file is used and each parameter filled, else one ValueError.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from wan.files.key_names import official_names, recognise
from wan.files.readers import Stored, open_tensors, some

log = logging.getLogger(__name__)
Model = TypeVar("Model", bound=nn.Module)
Shape = tuple[int, ...]

SCRATCH = 8 << 20  # bytes read before they are cast
SCALES = (".scale_weight", ".weight_scale")  # one number, or one a row, that an fp8 weight is multiplied by


@dataclass(frozen=True)
class Weights:
    """The tensors of one model by their official names; read one by one, when asked for."""

    path: Path
    holds: str
    parts: dict[str, tuple[Stored, ...]]  # more than one are joined along the first axis
    scales: dict[str, Stored]

    @property
    def shapes(self) -> dict[str, Shape]:
        return {name: self.shape(name) for name in self.parts}

    def shape(self, name: str) -> Shape:
        parts = self.parts[name]
        first = parts[0].shape
        return first if len(parts) == 1 else (sum(part.shape[0] for part in parts), *first[1:])

    def read_into(self, name: str, target: Tensor, scratch: Tensor) -> None:
        parts = self.parts[name]
        # the only tensor, or one after another along the first axis
        pieces = target.split([part.shape[0] for part in parts]) if len(parts) > 1 else (target,)
        for part, piece in zip(parts, pieces):
            part.read_into(piece, scratch)
        if name in self.scales:
            scale = torch.empty(self.scales[name].shape, device=target.device)
            self.scales[name].read_into(scale, scratch)
            # fp8 is exact in every wider dtype, and the product is rounded once
            target.mul_(scale.view(-1, 1) if scale.numel() > 1 else scale.view(()))


def open_weights(path: Path | str) -> Weights:
    """A file, an index or a folder of shards, in any known layout; nothing but headers is read."""
    path = Path(path)
    stored = open_tensors(path)
    known = recognise(stored)
    if known is None:
        raise ValueError(f"{path} holds no model known here (its tensors: {some(sorted(stored)) or 'none'})")
    names = official_names(stored, *known)
    parts = {name: tuple(stored[key] for key in keys) for name, keys in names.items()}
    for name, pieces in parts.items():
        if len(pieces) > 1 and not (pieces[0].shape and len({piece.shape[1:] for piece in pieces}) == 1):
            raise ValueError(f"{path}: the parts of {name} ({some(names[name])}) do not join; download it again")
    return Weights(path, known[0].holds, parts, _take_scales(parts))


def _take_scales(parts: dict[str, tuple[Stored, ...]]) -> dict[str, Stored]:
    """The scales of fp8 weights, by the weight; a scale of any other shape stays behind and is found unexpected."""
    scales = {}
    for name in [name for name in parts if name.endswith(SCALES)]:
        weight = name.rpartition(".")[0] + ".weight"
        fp8 = weight in parts and parts[weight][0].dtype.itemsize == 1
        if fp8 and math.prod(parts[name][0].shape) in (1, parts[weight][0].shape[0]):
            scales[weight] = parts.pop(name)[0]
    return scales


def load_into(model: Model, weights: Weights, *, dtype: torch.dtype, device: torch.device | str) -> Model:
    """Fill a model built on the meta device. A model may name, in `unused_keys()`, what its files have beside it."""
    if not dtype.is_floating_point:
        raise ValueError(f"{weights.path} cannot be loaded as {dtype}; ask for bfloat16, float16 or float32")
    found = [f"{len(names)} {kind} ({some(names)})" for kind, names in faults(model, weights).items() if names]
    if found:
        raise ValueError(f"{weights.path} does not fit {type(model).__name__}: {'; '.join(found)}")
    assert not any(buffer.is_meta for buffer in model.buffers()), "a buffer that no file has must not be made on meta"
    started = time.perf_counter()
    model = model.to(dtype).to_empty(device=device)
    scratch = torch.empty(SCRATCH, dtype=torch.uint8)
    state = model.state_dict()  # the parameters' own storage, under the official names
    for name, tensor in state.items():
        weights.read_into(name, tensor, scratch)
    size = sum(t.numel() for t in state.values())
    log.info("%s: %.1f M parameters in %.1f s", weights.path, size / 1e6, time.perf_counter() - started)
    return model.eval().requires_grad_(False)


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
        "not floating point": [name for name in shared if not weights.parts[name][0].dtype.is_floating_point],
    }


def _fits(given: Shape, wanted: Shape) -> bool:
    """The same shape; some files leave out leading axes of length one (a class token stored as a vector)."""
    lead = len(wanted) - len(given)
    return lead >= 0 and wanted[lead:] == given and math.prod(wanted[:lead]) == 1
