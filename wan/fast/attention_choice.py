"""Which of several attention backends is fastest for a shape: measured once a machine, then remembered on disk.

Backends round differently, so the same run must take the same ones tomorrow: what was measured is written down per
device, torch and installed libraries, and only a clear gain moves a shape away from the first backend. Nothing is measured where
that cannot be: while a graph is captured, while torch.compile traces, or for gradients, which not every backend has.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import distributions
from pathlib import Path

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
Key = tuple[torch.device, tuple[str, ...], torch.dtype, torch.Size, torch.Size, torch.Size]  # of q, k and v

KEPT_IN = Path("~/.cache/mgcli/attention.json")
CLEARLY = 0.97  # of the first backend's time; less is noise, and not worth another rounding
WORTH = 2**20  # scores a head: below them there is nothing to gain, and a call takes longer to launch than to run
FLASH = ("flash-attn", "flash-attn-3", "fa3-fwd")
ROUNDS, CALLS = 5, 4
_known: dict[Key, str] = {}


def fastest(backends: Mapping[str, Attention], q: Tensor, k: Tensor, v: Tensor) -> str:
    """The name of the backend to take for this shape; the first one where there is no clear winner."""
    first = next(iter(backends))
    if q.shape[1] * k.shape[1] < WORTH or not _measurable(q, k, v):
        return first
    key = (q.device, tuple(backends), q.dtype, q.shape, k.shape, v.shape)
    if key not in _known:
        with torch.cuda.device_of(q):  # a stream, and the events on it, are of the current device
            if torch.cuda.is_current_stream_capturing():
                return first
            _known[key] = _read_or_measure(backends, q, k, v)
    return _known[key]


def _measurable(*tensors: Tensor) -> bool:
    if torch.compiler.is_compiling():
        return False
    return not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))


def _read_or_measure(backends: Mapping[str, Attention], q: Tensor, k: Tensor, v: Tensor) -> str:
    machine = f"{_device_name(q.device)}, torch {torch.__version__}, {' '.join((*backends, *_libraries()))}"
    shape = _named(q.dtype, q.shape, k.shape, v.shape)
    kept = read(machine).get(shape)
    if kept is not None and kept in backends:
        return kept
    times = measured(backends, q, k, v)
    name = choose(times)
    log.info("attention %s: %s (%s)", shape, name, ", ".join(f"{n} {ms:.3f} ms" for n, ms in times.items()))
    keep(machine, shape, name)
    return name


def _named(dtype: torch.dtype, *shapes: Sequence[int]) -> str:
    return " ".join([str(dtype), *("x".join(map(str, shape)) for shape in shapes)])


def choices(device_type: str) -> dict[str, str]:
    """shape -> backend, of those that this process has run and where there was a choice."""
    known = {_named(dtype, *qkv): name for (on, _, dtype, *qkv), name in _known.items() if on.type == device_type}
    return dict(sorted(known.items()))


@cache
def _libraries() -> list[str]:
    """FlashAttention as installed: another one is another measurement."""
    return sorted(f"{d.name} {d.version}" for d in distributions() if d.name.replace("_", "-").lower() in FLASH)


def choose(times: Mapping[str, float]) -> str:
    first, best = next(iter(times)), min(times, key=lambda name: times[name])
    return best if times[best] < CLEARLY * times[first] else first


def measured(backends: Mapping[str, Attention], q: Tensor, k: Tensor, v: Tensor) -> dict[str, float]:
    """Milliseconds each, the best of a few rounds in turns; infinite where the backend does not take such tensors."""
    times = {name: _warm(attention, q, k, v) for name, attention in backends.items()}
    for _ in range(ROUNDS):
        for name in [name for name, ms in times.items() if ms < float("inf")]:
            times[name] = min(times[name], _milliseconds(partial(backends[name], q, k, v)))
    return times


def _warm(attention: Attention, q: Tensor, k: Tensor, v: Tensor) -> float:
    try:
        attention(q, k, v)  # libraries choose kernels in their first call
        return _milliseconds(partial(attention, q, k, v))
    except (RuntimeError, ValueError) as problem:
        log.debug("no attention on %s: %s", q.shape, problem)
        return float("inf")


def _milliseconds(call: Callable[[], object]) -> float:
    """Of one call among several: the first ones keep the GPU busy, so that launching the timed ones is not in the time."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for _ in range(CALLS):
        call()
    start.record()
    for _ in range(CALLS):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / CALLS


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device)


def read(machine: str) -> dict[str, str]:
    """shape -> backend; nothing where the file is not there, or is not ours to understand."""
    choices = _content().get(machine)
    named = choices.items() if isinstance(choices, dict) else ()
    return {shape: name for shape, name in named if isinstance(name, str)}


def keep(machine: str, shape: str, name: str) -> None:
    """Replace the file as a whole, so that whoever reads it at that moment reads one or the other."""
    content = _content() | {machine: {shape: name} | read(machine)}  # another process may have come first
    try:
        path = KEPT_IN.expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        fresh.replace(path)
    except (OSError, RuntimeError) as problem:  # a home that is read-only, or that nobody knows
        log.warning("the choice of attention is not kept: %s", problem)


def _content() -> dict[str, object]:
    try:
        content = json.loads(KEPT_IN.expanduser().read_text(encoding="utf-8"))
    except (OSError, RuntimeError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
