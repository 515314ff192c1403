"""Wall-clock time of a call, the device's work included: median and p90 after warm-up, and the memory it took.

Imports torch and wan.device only, so that it can also time other people's code in a process where `wan` becomes theirs.
"""

from __future__ import annotations

import gc
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from wan.device import peak_gib, release, reset_peak, wait_for


@dataclass(frozen=True)
class Budget:
    """At least `least` calls and at most `most`; between the two, until `seconds` are spent."""

    seconds: float = 2.0
    least: int = 4
    most: int = 50
    warmups: int = 2


FULL, QUICK = Budget(), Budget(seconds=0.4, least=2, most=10, warmups=1)
CPU = Budget(seconds=1.0, least=3, most=10, warmups=1)  # slow, and with small models to make up for it
ONCE = Budget(least=1, most=1, warmups=0)


@dataclass(frozen=True)
class Timing:
    median_ms: float
    p90_ms: float
    calls: int
    peak_gib: float | None  # of the device while it ran, weights included; None where nobody counts it


def nothing() -> None:
    pass


def measure(
    call: Callable[[], object], device: torch.device, budget: Budget = FULL, prepare: Callable[[], object] = nothing
) -> Timing:
    """`prepare` comes before every call and is not counted."""
    for _ in range(budget.warmups):
        prepare()
        call()
    reset_peak(device)
    samples: list[float] = []
    started = time.perf_counter()
    while len(samples) < budget.least or (
        len(samples) < budget.most and time.perf_counter() - started < budget.seconds
    ):
        prepare()
        samples.append(seconds_of(call, device) * 1000)
    return Timing(statistics.median(samples), percentile(samples, 0.9), len(samples), peak_gib(device))


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    wait_for(device)
    started = time.perf_counter()
    call()
    wait_for(device)
    return time.perf_counter() - started


def percentile(samples: list[float], share: float) -> float:
    """The smallest sample that at least this share of them does not exceed."""
    return sorted(samples)[math.ceil(share * len(samples)) - 1]


def make_room(device: torch.device) -> None:
    """Give the memory of what was dropped back, so that the next row has the device to itself."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()  # compiled code holds on to its model
    gc.collect()  # a model and the graphs around it know each other
    release(device)
