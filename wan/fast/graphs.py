"""CUDA graphs around the layers of an OptimizedCausalWanModel: a block's thousand launches become one.

A graph is captured for each state of the rolling caches. There are as many as blocks until the window is full, then
one for ever, because from then on every address is constant. Inputs are copied into the addresses the graph reads;
what stays the same within a block (rope, actions) is copied once a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from wan.fast.causal import LayerInputs, OptimizedCausalWanModel
from wan.modules.cache import RolloutCache

WARMUPS = 2  # libraries choose kernels and allocate workspaces in their first calls


@dataclass
class Captured:
    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]  # addresses the graph reads
    sources: list[Tensor]  # what was last copied there
    versions: list[int]
    output: Tensor


class CapturedLayers:
    """Stands in for `model.run_layers`."""

    def __init__(self, model: OptimizedCausalWanModel):
        self.model = model
        self.captured: dict[tuple[Any, ...], Captured] = {}

    def __call__(self, tokens: Tensor, given: LayerInputs, cache: Any) -> Tensor:
        if not isinstance(cache, RolloutCache):  # official dicts move with every block
            return self.model.layers(tokens, given, cache)
        for block in self.model.blocks:  # image keys are outside the graph: once a rollout, at constant addresses
            cache.cross_kv(block.index, lambda block=block: block.cross_attn.keys_values(given.context))
        inputs = list(tensors(tokens)) + list(tensors(given))
        key = self._key(inputs, cache)
        if key not in self.captured:
            self.captured[key] = self._capture(tokens, given, cache)
        captured = self.captured[key]
        self._feed(captured, inputs)
        captured.graph.replay()
        for rolling in cache.rolling.values():
            rolling.written = True
        return captured.output

    def _key(self, inputs: list[Tensor], cache: RolloutCache) -> tuple[Any, ...]:
        addresses = (cache.self_attn.buffer.data_ptr(), self.model.fused_qkv()[0].weight.data_ptr())
        return cache.self_attn.attended, addresses, tuple(t.shape for t in inputs)

    def _capture(self, tokens: Tensor, given: LayerInputs, cache: RolloutCache) -> Captured:
        tokens, given = own(tokens), own(given)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARMUPS):  # writes the same keys into the same slots as the replay will
                self.model.layers(tokens, given, cache)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        shared = next((c.graph.pool() for c in self.captured.values()), None)  # they never run at the same time
        with torch.cuda.graph(graph, pool=shared):
            output = self.model.layers(tokens, given, cache)
        inputs = list(tensors(tokens)) + list(tensors(given))
        return Captured(graph, inputs, list(inputs), [-1] * len(inputs), output)

    def _feed(self, captured: Captured, inputs: list[Tensor]) -> None:
        versions = [-1 if t.is_inference() else t._version for t in inputs]
        stale = [
            i
            for i, (new, old) in enumerate(zip(inputs, captured.sources, strict=True))
            if new is not old or versions[i] != captured.versions[i]
        ]
        if stale:
            torch._foreach_copy_([captured.inputs[i] for i in stale], [inputs[i] for i in stale])
        captured.sources, captured.versions = inputs, versions


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
        return tuple(own(item) for item in value)
    if is_dataclass(value):
        return type(value)(**{f.name: own(getattr(value, f.name)) for f in fields(value)})  # type: ignore[operator]
    return value


def capture_layers(model: OptimizedCausalWanModel) -> None:
    """From now on the model's cached forwards replay graphs; call it once the weights are in place."""
    model.run_layers = CapturedLayers(model)  # type: ignore[method-assign]
