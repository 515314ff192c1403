"""A case is the same work done in several ways; climbing its ladder compares and then measures them, one after the other.

The truth is the reference in float32. An exact row may be no further from it than the first row, the reference as it is
run, times 1.1: a path of other rounding passes, a path of another function does not. One model lives at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from mgcli.bench.machine import Machine
from mgcli.bench.timing import Budget, Timing, make_room, measure, nothing
from mgcli.bench.work import Work, flops
from wan.fast.speed import Speed

log = logging.getLogger(__name__)

AS_GOOD = 1.1  # times the reference's own error
ROUNDING = 1e-4  # of float32: where the reference is the truth itself, nobody equals it exactly
FINITE = 1e6  # what is lossy may differ, not break
UNPROVEN = 0.05  # two right roundings of a deep bfloat16 model are 1 to 3 % apart: all there is to say without a truth

COMPILED = Speed(compile=True, graphs=False)  # a rung that is asked for

Kind = Literal["exact", "lossy", "peer"]


class Measured(Protocol):
    """A way of doing the work, ready to run. `outputs` are made of the case's fresh inputs, the same in every row."""

    def outputs(self) -> Tensor | None: ...
    def time(self, device: torch.device, budget: Budget) -> Timing: ...


@dataclass(frozen=True)
class Calls:
    """One that runs in this process; an output of None is nothing to compare, as with a decoder of its own, untrained."""

    output: Callable[[], Tensor | None]
    call: Callable[[], object]
    prepare: Callable[[], object] = nothing

    @torch.no_grad()
    def outputs(self) -> Tensor | None:
        return self.output()

    @torch.no_grad()
    def time(self, device: torch.device, budget: Budget) -> Timing:
        return measure(self.call, device, budget, self.prepare)


@dataclass(frozen=True)
class Rung:
    name: str
    open: Callable[[], Measured]
    kind: Kind = "exact"
    cuda_only: bool = False


def speed_rung(name: str, speed: Speed, opens: Callable[[], Measured]) -> Rung:
    return Rung(name, opens, "lossy" if speed.fp8 else "exact", cuda_only=bool(speed.graphs or speed.fp8))


@dataclass(frozen=True)
class Case:
    name: str  # what --only takes
    title: str
    rungs: tuple[Rung, ...]
    dtype: torch.dtype
    work: Work | None = None
    truth: Callable[[], Measured] | None = None
    slack: float = AS_GOOD
    goal_ms: float | None = None  # on one H100
    frames: int | None = None  # made by a call: a rate is shown too
    budget: Budget | None = None  # none: the run's


@dataclass(frozen=True)
class Row:
    case: str
    name: str
    kind: Kind
    timing: Timing | None = None
    error: float | None = None  # relative to the truth
    wrong: bool = False
    note: str = ""  # why there is no number, or what is wrong


@dataclass(frozen=True)
class Floor:
    ms: float
    tflop: float


def floor_of(case: Case, machine: Machine) -> Floor | None:
    if case.work is None:
        return None
    return Floor(machine.floor_ms(case.work, case.dtype), flops(case.work) / 1e12)


def climb(case: Case, device: torch.device, budget: Budget, proven: bool = True) -> Iterator[Row]:
    """A row for every rung; without `proven` nothing is run in float32 and rows are compared with the first one."""
    judge = Judge(case, device, proven)
    for rung in case.rungs:
        if rung.cuda_only and device.type != "cuda":
            yield Row(case.name, rung.name, rung.kind, note="needs a CUDA GPU")
            continue
        yield climb_one(case, rung, device, case.budget or budget, judge)
        make_room(device)


def climb_one(case: Case, rung: Rung, device: torch.device, budget: Budget, judge: Judge) -> Row:
    """What cannot run here is a row that says why, and does not take the others with it."""
    try:
        measured = rung.open()
        error, wrong = judge.error(rung, measured.outputs())
        note = "wrong: too far from the reference" if wrong else ""
        return Row(case.name, rung.name, rung.kind, measured.time(device, budget), error, wrong, note)
    except (RuntimeError, ImportError) as problem:  # out of memory is a RuntimeError
        note = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        return Row(case.name, rung.name, rung.kind, wrong=rung.kind != "peer", note=note)


class Judge:
    """How far a row is from the truth, and whether that is too far."""

    def __init__(self, case: Case, device: torch.device, proven: bool):
        self.slack = case.slack
        true_already = device.type == "cpu" and case.dtype == torch.float32
        self.truth = true_outputs(case, device) if proven and case.truth and not true_already else None
        self.allowed = None if self.truth is not None or true_already else UNPROVEN

    def error(self, rung: Rung, outputs: Tensor | None) -> tuple[float | None, bool]:
        if outputs is None:
            return None, False
        if self.truth is None:
            self.truth = outputs.clone()
        error = relative_error(outputs, self.truth)
        if self.allowed is None:
            self.allowed = max(self.slack * error, ROUNDING)
        bound = self.allowed if rung.kind == "exact" else FINITE
        return error, rung.kind != "peer" and not error <= bound  # a NaN is within no bound


def true_outputs(case: Case, device: torch.device) -> Tensor | None:
    """None where the model in float32 is too large for the device."""
    assert case.truth
    try:
        # convolutions are in TF32 by default, with a mantissa hardly longer than bfloat16's
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            outputs = case.truth().outputs()
    except torch.OutOfMemoryError:
        log.warning("%s: no room for the reference in float32; rows are compared with the first one", case.name)
        outputs = None
    make_room(device)
    return outputs


def relative_error(got: Tensor, want: Tensor) -> float:
    return float((got.float() - want.float()).norm() / want.float().norm())
