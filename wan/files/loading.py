"""How a file's weights fill a model: strictly, and without a second copy.

A model is built on the meta device and takes each tensor as it is read and cast, so the host never holds more than the
model and the tensors in hand. Strict: each tensor of a file is used and each parameter filled, else one ValueError.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TypeVar

import torch
from torch import Tensor, nn

from wan.files.readers import some
from wan.files.weights import Shape, Weights

log = logging.getLogger(__name__)
Model = TypeVar("Model", bound=nn.Module)

SCRATCH = 8 << 20  # bytes read before they are cast
READERS = 4


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
    require_fit(model, weights)
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

    def __init__(self) -> None:
        self._scratch = [torch.empty(SCRATCH, dtype=torch.uint8) for _ in range(READERS)]

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


def require_fit(model: nn.Module, weights: Weights) -> None:
    found = [f"{len(names)} {kind} ({some(names)})" for kind, names in faults(model, weights).items() if names]
    if found:
        raise ValueError(f"{weights.path} does not fit {type(model).__name__}: {'; '.join(found)}")


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
