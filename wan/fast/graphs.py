"""CUDA graphs: a thousand launches become one. What a graph reads and writes lies at the addresses it was captured with,
so whoever owns the graph owns those buffers, and fills them before a replay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from wan.fast.causal import BlockTables, OptimizedCausalWanModel
from wan.modules.cache import RolloutCache

WARMUPS = 2  # libraries choose kernels and allocate workspaces in their first calls
Output = TypeVar("Output")


@dataclass(frozen=True)
class Captured(Generic[Output]):
    graph: torch.cuda.CUDAGraph
    output: Output  # at the addresses that every replay writes


def capture(work: Callable[[], Output], pool: Any = None, warmups: int = WARMUPS) -> Captured[Output]:
    """`work` as a graph; it runs a few times before, for good. Graphs of one pool never run at the same time."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(warmups):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # on a stream named here: torch's own for captures is one for all, on the device that was the first to capture
    with torch.cuda.graph(graph, pool=pool, stream=side):
        output = work()
    return Captured(graph, output)


class CapturedLayers:
    """The layers of a model over one cache, whose buffers and image keys stay where they are.

    There is a graph for each state of the cache: as many as blocks until the window is full, then one for ever, because
    from then on every address is constant.
    """

    def __init__(self, model: OptimizedCausalWanModel, cache: RolloutCache):
        self.model, self.cache = model, cache
        self.pool = torch.cuda.graph_pool_handle()
        self.graphs: dict[int, Captured[Tensor]] = {}  # by the tokens that are attended to
        self.tables: BlockTables | None = None
        self.inputs: tuple[Tensor, Tensor] | None = None  # tokens, modulation

    def open_block(self, tables: BlockTables) -> None:
        """What is the same in all steps of a block is copied once."""
        if self.tables is None:
            self.tables = own(tables)
        else:
            fill(self.tables, tables)

    def __call__(self, tokens: Tensor, modulation: Tensor) -> Tensor:
        if self.inputs is None:
            self.inputs = own((tokens, modulation))
        else:
            fill(self.inputs, (tokens, modulation))
        state = self.cache.self_attn.attended
        if state not in self.graphs:
            self.graphs[state] = capture(self._layers, self.pool)  # writes what the replay writes, to the same slots
        self.graphs[state].graph.replay()
        self.cache.wrote()
        return self.graphs[state].output

    def _layers(self) -> Tensor:
        assert self.inputs is not None and self.tables is not None
        return self.model.layers(*self.inputs, self.tables, self.cache, _kept)


def _kept() -> Tensor:
    raise AssertionError("the image's keys are in the cache before the first step of a world")


def fill(places: Any, values: Any) -> None:
    """Copy the tensors of a structure to those of another of the same shapes."""
    torch._foreach_copy_(list(tensors(places)), list(tensors(values)))


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of a dataclass or tuple, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from tensors(item)
    elif is_dataclass(value):
        for f in fields(value):
            yield from tensors(getattr(value, f.name))


def own(value: Any) -> Any:
    """The same structure with tensors of its own."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, tuple):
        items = [own(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{f.name: own(getattr(value, f.name)) for f in fields(value)})
    return value
