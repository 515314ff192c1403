"""A streamed decoder as CUDA graphs: one for the first chunk of a clip, one for all later ones of its shape.

The state lies at constant addresses and belongs to the clip begun last; when another begins (or a saved state is
loaded), the one before has ended. Any decoder will do; one that replaces its state in place spares the graph a copy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wan.fast.engine import guard
from wan.fast.graphs import Captured, capture
from wan.modules.streaming import StreamedDecoder, StreamState

ENDED = "this clip has ended, because another one began on the same decoder; two at once need a decoder each"


class CapturedDecoder(StreamedDecoder):
    """Build it when the decoder is on its device, with its weights in place."""

    def __init__(self, decoder: StreamedDecoder):
        super().__init__()
        self.decoder = decoder
        self.close()

    def close(self) -> None:
        """Give graphs and state back; a clip begun later makes them anew."""
        self.graphs: dict[tuple[bool, torch.Size], Captured[Tensor]] = {}
        self.inputs: dict[torch.Size, Tensor] = {}
        self.place: dict[str, Tensor] = {}  # the state of the clip that has it
        self.shape: torch.Size | None = None  # of a frame of its latents
        self.holder: StreamState | None = None
        self.pool = None

    def new_state(self) -> StreamState:
        return self.decoder.new_state()

    @torch.inference_mode()
    def decode_chunk(self, latents: Tensor, state: StreamState) -> Tensor:
        with guard(latents.device):
            self._take_over(latents, state)
            key = (state.started, latents.shape)
            if key not in self.graphs:
                self._capture(latents, state.started)
            self.inputs[latents.shape].copy_(latents)
            self.graphs[key].graph.replay()
            state.tails = dict(self.place)
            return self.graphs[key].output.clone()  # the next replay overwrites it

    def _take_over(self, latents: Tensor, state: StreamState) -> None:
        """The place is that clip's from now on, and holds its state."""
        if latents[:, :, 0].shape != self.shape:
            self.close()
            self.shape, self.pool = latents[:, :, 0].shape, torch.cuda.graph_pool_handle()
            self.decoder.decode_chunk(latents, shown := state.clone())  # lays the state out
            self.place = shown.tails
        ours = [name for name, tail in state.tails.items() if tail is self.place[name]]
        if ours and state is not self.holder:
            raise ValueError(ENDED)
        self.holder = state
        for name in state.tails.keys() - set(ours):
            self.place[name].copy_(state.tails[name])

    def _capture(self, latents: Tensor, started: bool) -> None:
        given = self.inputs.setdefault(latents.shape, latents.clone())
        before = {name: tail.clone() for name, tail in self.place.items()}

        def decode() -> Tensor:
            state = self.new_state()
            state.tails = dict(self.place) if started else {}
            frames = self.decoder.decode_chunk(given, state)
            for name, tail in state.tails.items():
                if tail is not self.place[name]:
                    self.place[name].copy_(tail)
            return frames

        self.graphs[started, latents.shape] = capture(decode, self.pool)
        for name, tail in before.items():  # as it was before the runs that warm up
            self.place[name].copy_(tail)
