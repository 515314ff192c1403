"""A model larger than the device, or than the host: its blocks pass through the device one after the other.

While a block computes, the next one is copied on a stream of its own, and the ones after it are read from their file into
pinned memory: all of them once, where the host has room (`slots` as many as blocks), or again for every forward through a
ring of a few. The cost is what reading and copying take longer than computing. The model knows nothing of it: its blocks are
built without memory, and are given some before each call and relieved of it afterwards.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from wan.files.loading import Finish, Readers, fill
from wan.files.weights import Weights

Read = Callable[[int, list[Tensor]], None]  # the tensors of a block, on the host, to be filled

ALIGNED = 256  # bytes; what a device likes its tensors to begin at
RING = 4  # blocks: one on its way to the device, one ready, two being read
AHEAD = 2  # blocks that are read at once


@dataclass(frozen=True)
class Arrangement:
    """How a block's parameters lie in one piece of memory."""

    places: tuple[tuple[int, torch.dtype, torch.Size], ...]
    size: int

    @classmethod
    def of(cls, block: nn.Module) -> Arrangement:
        places, end = [], 0
        for p in block.parameters():
            places.append((end, p.dtype, p.shape))
            end += -(-p.nbytes // ALIGNED) * ALIGNED
        return cls(tuple(places), end)

    def views(self, memory: Tensor) -> list[Tensor]:
        return [
            memory[start : start + shape.numel() * dtype.itemsize].view(dtype).view(shape)
            for start, dtype, shape in self.places
        ]


@dataclass
class Slot:
    """Host memory for one block. Pinned in place: torch's own pinned memory is rounded up to the next power of two."""

    memory: Tensor
    pinned: bool
    copied: torch.cuda.Event | None = None  # to the device, when this has happened

    @classmethod
    def of(cls, size: int, pinned: bool) -> Slot:
        memory = torch.empty(size, dtype=torch.uint8)
        if pinned:
            refused = int(torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), size, 0))
            pinned = refused == 0  # else it is copied slowly
        return cls(memory, pinned)

    def free(self) -> None:
        if self.copied is not None:
            self.copied.synchronize()
        if self.pinned:
            torch.cuda.cudart().cudaHostUnregister(self.memory.data_ptr())
            self.pinned = False


@dataclass
class HostBlocks:
    """The blocks on the host, read by threads that stay ahead of whoever takes them, in order and round again."""

    read: Read
    arrangements: list[Arrangement]
    slots: int
    pinned: bool
    ready: dict[int, Slot] = field(default_factory=dict)
    spare: list[Slot] = field(default_factory=list)
    reading: set[int] = field(default_factory=set)
    made: int = 0  # slots
    next: int = 0  # the block that nobody reads yet
    turn: int = 0  # how often reading began anew, because a forward was broken off
    failure: BaseException | None = None
    closed: bool = False
    readers: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.changed = threading.Condition()
        self.slots = min(self.slots, len(self.arrangements))

    @property
    def all_stay(self) -> bool:
        return self.slots == len(self.arrangements)

    def take(self, index: int) -> Slot:
        """Waits for what is left of the reading."""
        with self.changed:
            if not self.readers:
                self.readers = [threading.Thread(target=self._run, daemon=True, name="blocks") for _ in range(AHEAD)]
                for reader in self.readers:
                    reader.start()
            if not self.all_stay and index not in (*self.ready, *self.reading) and (index != self.next or self.ready):
                self._turn_to(index)  # a forward was broken off, and what was read for it is not wanted
            self.changed.wait_for(lambda: index in self.ready or self.failure is not None)
            if self.failure is not None:
                raise self.failure
            return self.ready[index]

    def give_back(self, index: int, copied: torch.cuda.Event | None) -> None:
        if self.all_stay:
            return
        with self.changed:
            slot = self.ready.pop(index)
            slot.copied = copied
            self.spare.append(slot)
            self.changed.notify_all()

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        for reader in self.readers:
            reader.join()
        for slot in [*self.ready.values(), *self.spare]:
            slot.free()
        self.ready.clear()
        self.spare.clear()

    def _turn_to(self, index: int) -> None:
        self.spare += self.ready.values()
        self.ready.clear()
        self.reading.clear()
        self.next, self.turn = index, self.turn + 1
        self.changed.notify_all()

    def _run(self) -> None:
        try:
            while (claimed := self._claim()) is not None:
                turn, index, slot = claimed
                slot = slot or Slot.of(self._size(index), self.pinned)
                if slot.copied is not None:
                    slot.copied.synchronize()
                self.read(index, self.arrangements[index].views(slot.memory))
                self._arrived(turn, index, slot)
        except BaseException as error:
            with self.changed:
                self.failure = error
                self.changed.notify_all()

    def _claim(self) -> tuple[int, int, Slot | None] | None:
        """The next block and memory for it, if that was made before; None when there is nothing left to read."""
        with self.changed:
            self.changed.wait_for(lambda: self._over or self.spare or self.made < self.slots)
            if self._over:
                return None
            index, slot = self.next, self.spare.pop() if self.spare else None
            self.made += slot is None
            self.next = (index + 1) % len(self.arrangements)
            self.reading.add(index)
            return self.turn, index, slot

    @property
    def _over(self) -> bool:
        return self.closed or self.failure is not None or self.all_stay and self.made == self.slots

    def _size(self, index: int) -> int:
        return self.arrangements[index].size if self.all_stay else max(a.size for a in self.arrangements)

    def _arrived(self, turn: int, index: int, slot: Slot) -> None:
        with self.changed:
            if turn == self.turn:
                self.reading.remove(index)
                self.ready[index] = slot
            else:  # nobody waits for it any more
                self.spare.append(slot)
            self.changed.notify_all()


class BlockStream:
    """What is on the device of them: the block that computes, and the one that comes next."""

    def __init__(self, blocks: list[nn.Module], device: torch.device, host: HostBlocks):
        self.device, self.host = device, host
        self.blocks = blocks
        self.coming: dict[int, Tensor] = {}
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def enter(self, index: int) -> None:
        self._fetch(index)
        arrived = self.coming.pop(index)
        if self.stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.stream)
            arrived.record_stream(torch.cuda.current_stream(self.device))
        _set(self.blocks[index], self.host.arrangements[index].views(arrived))

    def leave(self, index: int) -> None:
        """Its work has been given to the device, so that there is time to wait for the next one."""
        _empty(self.blocks[index], self.device)
        self._fetch((index + 1) % len(self.blocks))  # after the last block comes the first of the next forward

    def _fetch(self, index: int) -> None:
        if index in self.coming:
            return
        self.coming.clear()  # of a forward that was broken off
        slot = self.host.take(index)
        with torch.cuda.stream(self.stream) if self.stream else nullcontext():
            size = self.host.arrangements[index].size
            self.coming[index] = slot.memory[:size].to(self.device, non_blocking=True, copy=True)
            copied = None
            if self.stream is not None:
                copied = torch.cuda.Event()
                copied.record(self.stream)
        self.host.give_back(index, copied)


def stream_from_file(model: nn.Module, weights: Weights, finish: Finish, device: torch.device, slots: int) -> None:
    """A model whose blocks have no memory: they are read as they are needed, `slots` of them at a time on the host."""
    unread = [copy.deepcopy(block) for block in model.blocks]  # type: ignore[union-attr]
    own = torch.cuda.Stream(device) if device.type == "cuda" else None
    threads = threading.local()  # each reads with its own

    def read(index: int, out: list[Tensor]) -> None:
        readers = threads.readers = getattr(threads, "readers", None) or Readers()
        block, prefix = copy.deepcopy(unread[index]), f"blocks.{index}."
        if finish.block is None:
            _set(block, out)
            fill(block, prefix, weights, "cpu", readers)
            return
        with torch.cuda.stream(own):
            fill(block, prefix, weights, device, readers)
            finish.block(block)
            for tensor, target in zip(block.parameters(), out):
                target.copy_(tensor)

    if finish.block is not None:
        for block in model.blocks:  # type: ignore[union-attr]
            finish.block(block)
    _stream(model, device, read, slots)


def stop_streaming(model: nn.Module) -> None:
    """Give the host's memory back; the model is of no use after that."""
    host: HostBlocks | None = getattr(model, "_host_blocks", None)
    if host is not None:
        host.close()


def _stream(model: nn.Module, device: torch.device, read: Read, slots: int) -> None:
    blocks = list(model.blocks)  # type: ignore[arg-type]
    host = HostBlocks(read, [Arrangement.of(block) for block in blocks], slots, pinned=device.type == "cuda")
    stream = BlockStream(blocks, device, host)
    model._host_blocks = host  # type: ignore[assignment]
    for i, block in enumerate(blocks):
        _empty(block, device)
        block.register_forward_pre_hook(lambda *_, i=i: stream.enter(i))
        block.register_forward_hook(lambda *_, i=i: stream.leave(i))


def _set(block: nn.Module, tensors: list[Tensor]) -> None:
    """These in place of its parameters, in their order."""
    given = iter(tensors)
    for module in block.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(next(given), requires_grad=False)


def _empty(block: nn.Module, device: torch.device) -> None:
    _set(block, [torch.empty(0, dtype=p.dtype, device=device) for p in block.parameters()])
