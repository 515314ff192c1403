"""Which device and dtype a run gets, and what it used of the device. Imports torch, so commands import it when they run."""

from __future__ import annotations

import torch


def device_and_dtype(device_name: str, dtype_name: str) -> tuple[torch.device, torch.dtype]:
    """bfloat16 is what the released models were made in; a CPU is slow at it."""
    if device_name == "auto":
        device_name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(device_name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):  # what torch raises depends on how it was built
        raise ValueError(f"device {device_name!r} cannot be used here: leave --device out, or see mg doctor") from None
    if dtype_name == "auto":
        return device, torch.float32 if device.type == "cpu" else torch.bfloat16
    return device, getattr(torch, dtype_name)


def peak_gib(device: torch.device) -> float | None:
    """Most memory the device has held for us at once; None where it does not count."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
