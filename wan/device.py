"""What is asked of a device beside computing: to finish, to give memory back, and how much of it was held.

On a CPU there is nothing to wait for, and but for CUDA nobody counts. torch is imported by what needs it only, because the
command line counts GiB without it.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
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


def device_available(device: torch.device) -> int:
    """Bytes that we may still take: what is free, what torch keeps for us, and not more than `limit_device` left us."""
    import torch

    device = _numbered(device)
    free, whole = torch.cuda.mem_get_info(device)
    ours = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    allowed = torch.cuda.get_per_process_memory_fraction(device) * whole - torch.cuda.memory_allocated(device)
    return min(free + ours, int(allowed))


def available(device: torch.device) -> int:
    """Bytes, before anything is loaded; of the host where its memory is the device's."""
    return device_available(device) if device.type == "cuda" else host_available()


def limit_device(device: torch.device, gib: float) -> None:
    """Take no more than that, so that others have the rest; torch refuses what goes beyond."""
    if device.type == "cuda":
        import torch

        whole = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, gib * GIB / whole), _numbered(device))


def _numbered(device: torch.device) -> torch.device:
    """torch wants to know which, where it counts memory; "cuda" is the present one."""
    import torch

    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)


def host_available() -> int:
    """Bytes of the host's memory that nobody uses, in a container those that are left of its share; where the system does
    not say, as many as anybody may want."""
    return min(_free_on_host(), _left_of_share())


def _free_on_host() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return sys.maxsize


def _left_of_share() -> int:
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / name).read_text(encoding="utf-8")) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # none is set ("max"), or groups are counted in another way
        return sys.maxsize
    return max(0, limit - used)


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
