"""Which device and dtype a run gets, and what is said when its memory does not do. Imports torch, so commands import it when
they run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from wan.schema import shown

DEVICES = ("cpu", "cuda", "mps", "xpu")


def device_and_dtype(device_name: str, dtype_name: str) -> tuple[torch.device, torch.dtype]:
    """bfloat16 is what the released models were made in; a CPU is slow at it."""
    if device_name == "auto":
        device_name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        usable = device_name.split(":")[0] in DEVICES  # torch knows others by name alone, and one without numbers
        device = torch.device(device_name if usable else "cpu")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):  # what torch raises depends on how it was built
        usable = False
    if not usable:
        raise ValueError(f"device {shown(device_name)} cannot be used here: leave --device out, or see mg doctor")
    if dtype_name == "auto":
        return device, torch.float32 if device.type == "cpu" else torch.bfloat16
    return device, getattr(torch, dtype_name)


@contextmanager
def out_of_memory_as(explained: Callable[[torch.OutOfMemoryError], ValueError]) -> Iterator[None]:
    """Running out of device memory as advice."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise explained(error) from error
