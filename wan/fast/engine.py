"""The engine of a causal model: what belongs to it on its device, for worlds that come one after the other.

It owns the cache buffers with the image's keys, the tables of the timesteps and the captured graphs. A world is a lease
on all of it: beginning one resets the buffers in place, so that whatever was captured serves it too, and ends the lease
before. Two worlds at once need an engine each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from wan.fast.causal import OptimizedCausalWanModel
from wan.modules.cache import RolloutCache, window_frames
from wan.modules.causal_model import BlockConditions, CausalWanModel

if TYPE_CHECKING:
    from wan.fast.graphs import CapturedLayers

ENDED = "this world has ended, because another one began on the same models; two at once need an engine each"


class Engine:
    def __init__(self, model: CausalWanModel, graphs: bool = False):
        if graphs and not isinstance(model, OptimizedCausalWanModel):
            raise ValueError("graphs are captured of the optimized model, this is the reference")
        self.model, self.graphs = model, graphs
        self._room: _Room | None = None
        self._times: dict[tuple[float, int], Any] = {}
        self._holder: object = None  # of the lease that may use the room

    def begin(self, visual_context: Tensor, height: int, width: int, block: int) -> Lease:
        """For latents of height x width, `block` latent frames at a time; a world for each row of `visual_context`."""
        with guard(self.model.device):
            room = self._room_of(len(visual_context), height, width, block)
            room.cache.reset()
            self.model.keep_image(visual_context, room.cache)
        lease = Lease(self, room, visual_context)
        self._holder = lease.mark
        return lease

    def close(self) -> None:
        """Give everything back; a world begun later makes it anew."""
        self._room = self._holder = None
        self._times.clear()

    def holds(self, lease: Lease) -> bool:
        return self._holder is lease.mark

    def time(self, t: float, batch: int) -> Any:
        key = (t, batch)
        if key not in self._times:
            self._times[key] = self.model.time(t, batch)
        return self._times[key]

    def _room_of(self, batch: int, height: int, width: int, block: int) -> _Room:
        """That of the world before, if it was of this size."""
        key = (batch, height, width, block, window_frames(self.model.config.local_attn_size))
        if self._room is None or self._room.key != key:
            self.close()  # first, so that the two are never there together
            self._room = _Room(key, self.model, self.graphs)
        return self._room


class _Room:
    """Buffers for worlds of one size, and the graphs that were captured over them."""

    def __init__(self, key: tuple[int, ...], model: CausalWanModel, graphs: bool):
        self.key = key
        batch, height, width, block, _ = key
        self.cache = model.new_cache(batch, height, width, block)
        self.layers: CapturedLayers | None = None
        if graphs:
            from wan.fast.graphs import CapturedLayers

            assert isinstance(model, OptimizedCausalWanModel)
            self.layers = CapturedLayers(model, self.cache)


class Lease:
    """One world's use of an engine, for as long as no other world begins on it."""

    def __init__(self, engine: Engine, room: _Room, visual_context: Tensor):
        self.engine, self.mark = engine, object()
        self._room, self._context = room, visual_context
        _, height, width, block, _ = room.key
        self._size = (block, height, width)
        self._block: Any = None

    @property
    def cache(self) -> RolloutCache:
        if not self.engine.holds(self):
            raise ValueError(ENDED)
        return self._room.cache

    def open_block(self, start_frame: int, mouse: Tensor | None, keyboard: Tensor | None) -> None:
        """The block whose first latent frame is `start_frame`, and the actions up to its last video frame."""
        self.cache.open_block(start_frame)
        with guard(self.engine.model.device):
            given = BlockConditions(self._context, mouse, keyboard, start_frame)
            self._block = self.engine.model.prepare(given, self._size)
            if layers := self._layers():
                layers.open_block(self._block.tables)

    def step(self, x: Tensor, t: float) -> Tensor:
        """Flow of the open block; x (B, 16 + conditions, F, H, W)."""
        model, cache, layers = self.engine.model, self.cache, self._layers()
        with guard(model.device):
            time = self.engine.time(t, len(x))
            if layers is None:
                return model.step(x, time, self._block, cache)
            assert isinstance(model, OptimizedCausalWanModel)
            return model.step(x, time, self._block, cache, layers)

    def _layers(self) -> CapturedLayers | None:
        return self._room.layers if self.engine.graphs else None


def guard(device: torch.device) -> torch.cuda.device:
    """Makes a device the current one: kernels, streams and graphs go there. Without a GPU it does nothing."""
    return torch.cuda.device(device if device.type == "cuda" else -1)
