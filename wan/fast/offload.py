"""A model larger than the device: its blocks stay on the host and pass through the device one after the other.

While a block computes, the next one is copied on a stream of its own, so the cost is what copying takes longer than
computing. Applied to a finished model from outside; the model's code and results do not change.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


def stream_blocks(model: Model, device: torch.device) -> Model:
    """Everything but `model.blocks` moves to the device; the blocks come and go as they are called, in order."""
    blocks = list(model.blocks)  # type: ignore[arg-type]
    for name, child in model.named_children():
        if name != "blocks":
            child.to(device)
    stream = BlockStream(blocks, device)
    for i, block in enumerate(blocks):
        block.register_forward_pre_hook(lambda *_, i=i: stream.enter(i))
        block.register_forward_hook(lambda *_, i=i: stream.leave(i))
    return model


class BlockStream:
    """The host copies of all blocks, and the one or two that are on the device at a time."""

    def __init__(self, blocks: list[nn.Module], device: torch.device):
        self.device = device
        self.parameters = [list(block.parameters()) for block in blocks]
        pinned = device.type == "cuda"  # only pinned memory is copied while the device computes
        if pinned:
            for parameter in (p for params in self.parameters for p in params):
                parameter.data = parameter.data.pin_memory()
        self.host = [[p.data for p in params] for params in self.parameters]
        self.coming: dict[int, list[Tensor]] = {}
        self.stream = torch.cuda.Stream(device) if pinned else None

    def enter(self, index: int) -> None:
        self._fetch(index)
        arrived = self.coming.pop(index)
        if self.stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.stream)
            for tensor in arrived:
                tensor.record_stream(torch.cuda.current_stream(self.device))
        self._set(index, arrived)
        self._fetch((index + 1) % len(self.host))  # after the last block comes the first of the next forward

    def leave(self, index: int) -> None:
        self._set(index, self.host[index])

    def _set(self, index: int, tensors: list[Tensor]) -> None:
        for parameter, tensor in zip(self.parameters[index], tensors, strict=True):
            parameter.data = tensor

    def _fetch(self, index: int) -> None:
        if index in self.coming:
            return
        with torch.cuda.stream(self.stream):  # no effect without one
            self.coming[index] = [t.to(self.device, non_blocking=True, copy=True) for t in self.host[index]]
