"""CUDA graphs around a StreamedDecoder: one for the first chunk of a clip, one for all later ones of its shape.

The state lives at constant addresses, which belong to the clip decoded last; when another clip (or a loaded state)
comes, its state is copied in and the other's copied out. Any decoder will do; one that replaces its state in place
spares the graph that copy.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch
from torch import Tensor

from wan.modules.streaming import StreamedDecoder, StreamState

WARMUPS = 2  # libraries choose kernels and allocate workspaces in their first calls


@dataclass
class Captured:
    graph: torch.cuda.CUDAGraph
    latents: Tensor  # the address the graph reads
    frames: Tensor


class CapturedChunks:
    """Stands in for `decoder.decode_chunk`."""

    def __init__(self, decoder: StreamedDecoder):
        self.eager, self.new_state = decoder.decode_chunk, decoder.new_state
        self.places: dict[torch.Size, StatePlace] = {}
        self.captured: dict[tuple[bool, torch.Size, torch.dtype], Captured] = {}
        self.pool = torch.cuda.graph_pool_handle()

    @torch.inference_mode()
    def __call__(self, latents: Tensor, state: StreamState) -> Tensor:
        place = self._place(latents, state)
        place.hold(state)
        key = (state.started, latents.shape, latents.dtype)
        if key not in self.captured:
            self.captured[key] = self._capture(latents.clone(), place, state.started)
        captured = self.captured[key]
        captured.latents.copy_(latents)
        captured.graph.replay()
        state.tails = dict(place.tails)
        return captured.frames.clone()  # the next replay overwrites them

    def _place(self, latents: Tensor, state: StreamState) -> StatePlace:
        shape = latents[:, :, 0].shape
        if shape not in self.places:
            self.eager(latents, copy := state.clone())  # shows the state as the decoder itself lays it out
            self.places[shape] = StatePlace(copy.tails)
        return self.places[shape]

    def _capture(self, latents: Tensor, place: StatePlace, started: bool) -> Captured:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARMUPS):
                self.eager(latents, self._state(place, started).clone())
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            frames = self.eager(latents, state := self._state(place, started))
            place.fill(state.tails)
        return Captured(graph, latents, frames)

    def _state(self, place: StatePlace, started: bool) -> StreamState:
        state = self.new_state()
        state.tails = dict(place.tails) if started else {}
        return state


class StatePlace:
    """The addresses of the state of one shape, and whose state it is."""

    def __init__(self, tails: dict[str, Tensor]):
        self.tails = tails
        self.owner: weakref.ref[StreamState] | None = None

    def hold(self, state: StreamState) -> None:
        owner = self.owner() if self.owner else None
        if owner is not None and owner is not state:
            owner.tails = owner.clone().tails
        self.fill(state.tails)
        self.owner = weakref.ref(state)

    def fill(self, tails: dict[str, Tensor]) -> None:
        for name, tail in tails.items():
            if tail.data_ptr() != self.tails[name].data_ptr():
                self.tails[name].copy_(tail)


def capture_chunks(decoder: StreamedDecoder) -> None:
    """From now on chunks are decoded by graphs; call it once the weights are in place."""
    decoder.decode_chunk = CapturedChunks(decoder)  # type: ignore[method-assign]
