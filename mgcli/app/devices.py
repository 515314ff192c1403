"""Which device and dtype a run gets, and what is said when its memory does not do. Imports torch, so commands import it when
they run.

An Apple GPU is taken where it does a small piece of the work right. What it can do depends on the Mac, on macOS and on torch,
and asking is surer than a table of versions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from wan.schema import shown

log = logging.getLogger(__name__)
CPU, APPLE = torch.device("cpu"), torch.device("mps")
DEVICES = ("cpu", "cuda", "mps", "xpu")

OUT_OF_MEMORY = ("MPS backend out of memory", "DefaultCPUAllocator: can't allocate")  # which have no class of their own


def device_and_dtype(device_name: str, dtype_name: str) -> tuple[torch.device, torch.dtype]:
    """bfloat16 is what the released models were made in; a CPU is slow at it."""
    device = _best(dtype_name) if device_name == "auto" else torch.device(_usable(device_name, dtype_name))
    return device, _dtype(device, dtype_name)


def _best(dtype_name: str) -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    if not torch.backends.mps.is_available():
        return CPU
    why_not = apple_problem(_dtype(APPLE, dtype_name))
    if why_not is None:
        return APPLE
    log.info(f"this Mac's GPU is left alone ({why_not}): the run is on the CPU")
    return CPU


def _usable(name: str, dtype_name: str) -> str:
    try:
        if name.split(":")[0] not in DEVICES:  # torch knows others by name alone, and one without numbers
            raise RuntimeError
        device = torch.device(name)
        torch.empty(0, device=device)
        usable = True
    except (RuntimeError, AssertionError, NotImplementedError):  # what torch raises depends on how it was built
        usable = False
    if not usable:
        raise ValueError(f"device {shown(name)} cannot be used here: leave --device out, or see mg doctor")
    why_not = apple_problem(_dtype(device, dtype_name)) if device.type == "mps" else None
    if why_not is not None:
        raise ValueError(f"device {name!r} cannot do this run ({why_not}): use --device cpu")
    return name


def _dtype(device: torch.device, name: str) -> torch.dtype:
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return getattr(torch, name)


def apple_problem(dtype: torch.dtype) -> str | None:
    """None if the GPU of this Mac convolves and attends in this dtype, else what it says of it: 3D convolutions came with
    macOS 13.2, bfloat16 with macOS 14."""
    try:
        x, weight = (torch.ones(shape, device=APPLE, dtype=dtype) for shape in ((1, 16, 3, 4, 4), (16, 16, 3, 3, 3)))
        tokens = F.conv3d(x, weight).flatten(2) / weight[0].numel()  # ones again
        answer = F.scaled_dot_product_attention(tokens, tokens, tokens).float().cpu()
    except (RuntimeError, TypeError) as problem:
        return (str(problem).strip() or type(problem).__name__).splitlines()[0].rstrip(".")
    right = torch.allclose(answer, torch.ones_like(answer), atol=1e-2)
    return None if right else f"{str(dtype).removeprefix('torch.')} comes out wrong"


@contextmanager
def out_of_memory_as(explained: Callable[[torch.OutOfMemoryError], ValueError]) -> Iterator[None]:
    """Running out of device memory as advice."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise explained(error) from error
    except MemoryError as error:
        raise explained(torch.OutOfMemoryError("the host has none left")) from error
    except RuntimeError as error:
        if not any(sign in str(error) for sign in OUT_OF_MEMORY):
            raise
        raise explained(torch.OutOfMemoryError(str(error))) from error
