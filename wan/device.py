"""What is asked of a device beside computing: to finish, to give memory back, and how much of it was held.

On a CPU there is nothing to wait for, and but for CUDA nobody counts. torch is imported by what needs it only, because the
command line counts GiB without it.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

GIB = 2**30


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given, so that seconds are those of the work."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
    elif device.type == "mps":
        import torch

        torch.mps.synchronize()


def release(device: torch.device) -> None:
    """Let others have the memory of what was just dropped, also where it lies in a cycle, as a compiled model does."""
    gc.collect()
    if device.type == "cuda":
        import torch

        torch.cuda.empty_cache()
    elif device.type == "mps":
        import torch

        torch.mps.empty_cache()


def peak_gib(device: torch.device) -> float | None:
    """Most memory the device has held for us at once since `reset_peak`; None where nobody counts it."""
    if device.type != "cuda":
        return None
    import torch

    return torch.cuda.max_memory_allocated(device) / GIB


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
