"""What the machine can do, measured: seconds of one operation alone, and the floor of a case, the sum over its operations.

Each operation is run by the fastest library that is there, in the shape the case has it in, back to back, and its best
time counts. A floor is therefore reached only by what launches for free and does nothing else; norms, rope and copies are on top of it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from mgcli.bench.timing import make_room
from mgcli.bench.work import Attention, Convolution, Operation, Product, Work
from wan.device import wait_for
from wan.modules.attention import attend_with

FASTEST_FIRST = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
BATCH_SECONDS, BATCHES = 0.02, 3  # long enough not to measure the clock, short enough for some thirty shapes


class Machine:
    def __init__(self, device: torch.device):
        self.device = device
        self._known: dict[tuple[Operation, torch.dtype], float] = {}

    @property
    def name(self) -> str:
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else cpu_name()

    def seconds(self, operation: Operation, dtype: torch.dtype) -> float:
        key = (operation, dtype)
        if key not in self._known:
            ways = RUN[type(operation)](operation, self._random(dtype))
            # cuDNN tries its algorithms instead of guessing one
            with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=torch.backends.cudnn.allow_tf32):
                self._known[key] = min(best_seconds(way, self.device) for way in ways)
        return self._known[key]

    def floor_ms(self, work: Work, dtype: torch.dtype) -> float:
        seconds = sum(times * self.seconds(operation, dtype) for operation, times in work.items())
        make_room(self.device)
        return 1000 * seconds

    def rates(self, dtype: torch.dtype, typical: Iterable[Operation]) -> dict[str, float]:
        """TFLOP/s of a large matrix product and of some `typical` operations, and GB/s of a copy."""
        side = 8192 if self.device.type == "cuda" else 1024
        operations = [Product(side, side, side), *typical]
        rates = {f"{o}, TFLOP/s": o.flops / self.seconds(o, dtype) / 1e12 for o in operations}
        return rates | {"copy, GB/s": self.copy_rate()}

    def copy_rate(self) -> float:
        """Read and written, of a tensor that no cache holds."""
        source = torch.zeros(2**28 if self.device.type == "cuda" else 2**25, dtype=torch.float32, device=self.device)
        target = torch.empty_like(source)
        return 2 * source.nbytes / best_seconds(lambda: target.copy_(source), self.device) / 1e9

    def _random(self, dtype: torch.dtype) -> Callable[..., Tensor]:
        return lambda *shape: torch.randn(shape, device=self.device, dtype=dtype)


def best_seconds(call: Callable[[], Any], device: torch.device) -> float:
    """Of one call among many back to back, so that launching the next one is hidden."""
    call()
    count = max(1, int(BATCH_SECONDS / batch_seconds(call, 1, device)))
    return min(batch_seconds(call, count, device) / count for _ in range(BATCHES))


@torch.no_grad()
def batch_seconds(call: Callable[[], Any], count: int, device: torch.device) -> float:
    wait_for(device)
    started = time.perf_counter()
    for _ in range(count):
        call()
    wait_for(device)
    return time.perf_counter() - started


def product(o: Product, random: Callable[..., Tensor]) -> list[Callable[[], Tensor]]:
    a, weight = random(o.rows, o.inner), random(o.columns, o.inner)
    return [lambda: F.linear(a, weight)]


def attention(o: Attention, random: Callable[..., Tensor]) -> list[Callable[[], Tensor]]:
    """torch's own kernels, and FlashAttention where it is installed."""
    q, k, v = random(o.batch, o.heads, o.queries, o.width), *random(2, o.batch, o.heads, o.keys, o.width)
    rows = [x.transpose(1, 2).contiguous() for x in (q, k, v)]

    def torchs() -> Tensor:
        with sdpa_kernel(FASTEST_FIRST, set_priority=True):
            return F.scaled_dot_product_attention(q, k, v)

    flash = partial(attend_with, "flash", *rows)
    return [torchs, flash] if _works(flash) else [torchs]


def _works(call: Callable[[], Tensor]) -> bool:
    try:
        call()
    except (RuntimeError, ValueError):  # not installed, or not for such tensors
        return False
    return True


def convolution(o: Convolution, random: Callable[..., Tensor]) -> list[Callable[[], Tensor]]:
    """In both memory layouts: which one is faster depends on the machine."""

    def way(layout: torch.memory_format) -> Callable[[], Tensor]:
        x = random(o.images, o.in_dim, o.height, o.width).contiguous(memory_format=layout)
        weight = random(o.out_dim, o.in_dim, o.side, o.side).contiguous(memory_format=layout)
        return lambda: F.conv2d(x, weight, padding=o.side // 2)

    return [way(torch.contiguous_format), way(torch.channels_last)]


RUN: dict[type, Callable[..., list[Callable[[], Tensor]]]] = {
    Product: product,
    Attention: attention,
    Convolution: convolution,
}


def cpu_name() -> str:
    """As Linux states it; another system's is just a CPU."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return found[1].strip() if found else "CPU"
