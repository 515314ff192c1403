"""Where the time of a rollout goes: names for its parts in a profiler's trace, put on from outside, and their sums.

The rollout names its phases itself; the parts of the model get theirs while profiling only: modules of the reference by
hooks, methods of the optimized model by a wrapper. Its graphs are taken off for that time: a replay has no parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from wan.fast.causal import OptimizedCausalWanModel
from wan.fast.engine import Engine
from wan.modules.cache import RollingCache, RollingLayer

PHASES = ("denoise", "clean pass", "decode")
PARTS = {"self_attn": "self attention", "cross_attn": "cross attention", "action_model": "action", "ffn": "ffn"}
METHODS = {"attend_self": "self attention", "attend_image": "cross attention", "act": "action", "feed_forward": "ffn"}
WARM_BLOCKS, RECORDED_BLOCKS = 2, 4
CACHE = "cache"  # inside the attention parts, and counted there too


class BlockProfiler:
    """Records a few blocks of a rollout; a trace of all of them would be larger than the video.

    `with BlockProfiler(engine, blocks) as profiler: for block in rollout(...): profiler.next_block()`
    """

    def __init__(self, engine: Engine, blocks: int):
        # not the first ones, where the window is not full and libraries choose their kernels
        self.first = min(WARM_BLOCKS, blocks - 1)
        self.last = min(self.first + RECORDED_BLOCKS, blocks) - 1
        activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])
        self._profile, self._names = profile(activities=activities), named_parts(engine)
        self._block, self._recording = 0, False

    def __enter__(self) -> Self:
        self._names.__enter__()
        self._switch()
        return self

    def next_block(self) -> None:
        self._block += 1
        self._switch()

    def _switch(self) -> None:
        if self._block == self.first:
            self._profile.start()
            self._recording = True
        elif self._block == self.last + 1:
            self._stop()

    def _stop(self) -> None:
        if self._recording:
            self._profile.stop()
        self._recording = False

    def __exit__(self, *exception: Any) -> None:
        self._stop()
        self._names.__exit__(*exception)

    @property
    def recorded(self) -> tuple[int, int]:
        """First and last block."""
        return self.first, self.last

    def write_trace(self, path: str | Path) -> None:
        """For chrome://tracing or ui.perfetto.dev."""
        self._profile.export_chrome_trace(str(path))

    def seconds(self) -> dict[str, float]:
        return seconds_by_part(self._profile)


def seconds_by_part(recorded: profile) -> dict[str, float]:
    """Device time where there is a GPU, else CPU time, of each phase and part."""
    names = (*PHASES, *PARTS.values(), CACHE)
    total: dict[str, float] = {}
    on_gpu = any(event.device_type == DeviceType.CUDA for event in recorded.events())
    for event in recorded.events():
        if event.name in names and event.device_type == DeviceType.CPU:
            spent = event.device_time_total if on_gpu else event.cpu_time_total
            total[event.name] = total.get(event.name, 0.0) + spent / 1e6
    return {name: total[name] for name in names if name in total}


@contextmanager
def named_parts(engine: Engine) -> Iterator[None]:
    model, graphs = engine.model, engine.graphs
    engine.graphs = False
    with ExitStack() as stack:
        stack.callback(setattr, engine, "graphs", graphs)
        stack.enter_context(_named_method(RollingLayer, "write", CACHE))
        stack.enter_context(_named_method(RollingCache, "_keep_current", CACHE))
        if isinstance(model, OptimizedCausalWanModel):
            for name, part in METHODS.items():
                stack.enter_context(_named_method(type(model), name, part))
        else:
            for name, module in model.named_modules():
                for handle in _name_calls(module, PARTS.get(name.rpartition(".")[2])):
                    stack.callback(handle.remove)
        yield


def _name_calls(module: nn.Module, part: str | None) -> list[Any]:
    if part is None:
        return []
    running: list[record_function] = []

    def enter(*_: Any) -> None:
        running.append(record_function(part))
        running[-1].__enter__()

    def leave(*_: Any) -> None:
        running.pop().__exit__(None, None, None)

    return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]


@contextmanager
def _named_method(owner: type, name: str, part: str) -> Iterator[None]:
    plain: Callable[..., Any] = getattr(owner, name)

    def named(*args: Any) -> Any:
        with record_function(part):
            return plain(*args)

    setattr(owner, name, named)
    try:
        yield
    finally:
        setattr(owner, name, plain)
