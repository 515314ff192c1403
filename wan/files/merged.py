"""Weights with the changes of LoRA files in them: whoever reads a tensor gets it changed, and needs to know nothing of it.

Added once, in float32, as a tensor is read, and rounded once. A weight that stays in memory as its file has it, packed or in
8 bits, takes no additions: it keeps the two narrow factors beside it, which are added to its numbers on their way into a product.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from wan.files.lora import Change, Lora
from wan.files.weights import DOWN, UP, Kept, Weights

Changes = dict[str, list[tuple[Change, float]]]


@dataclass(frozen=True)
class MergedWeights(Weights):
    changes: Changes = field(default_factory=dict)  # by official names, each with its strength
    # one tensor at a time exists in float32: they are up to 283 MB, and several threads read
    _one: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def stored(self) -> int:
        """Bytes that come as they stand in a file; what is added to does not."""
        added = [name for name in self.changes if self.kept(name) is None]
        beside = [change for name in self.changes if name not in added for change, _ in self.changes[name]]
        computed = sum(part.nbytes for name in added for part in self.parts[name])
        return super().stored - computed + sum(change.nbytes for change in beside)

    def kept(self, name: str) -> Kept | None:
        """With the rank of what is added to it; a whole difference is as large as the weight, which stays no more as it is."""
        kept, changes = super().kept(name), self.changes.get(name, [])
        if kept is None or not all(change.rank for change, _ in changes):
            return None
        return replace(kept, rank=sum(change.rank for change, _ in changes))

    def read_into(self, name: str, target: Tensor, scratch: Tensor) -> None:
        module, _, kind = name.rpartition(".")
        if kind in (UP, DOWN):
            self._read_factors(f"{module}.weight", kind, target, scratch)
        elif name not in self.changes or target.dtype.itemsize == 1:
            super().read_into(name, target, scratch)
        else:
            with self._one:
                self._read_changed(name, target, scratch)

    def _read_changed(self, name: str, target: Tensor, scratch: Tensor) -> None:
        numbers = target if target.dtype == torch.float32 else torch.empty_like(target, dtype=torch.float32)
        super().read_into(name, numbers, scratch)
        for change, strength in self.changes[name]:
            change.add_to(numbers, strength, scratch)
        if numbers is not target:
            target.copy_(numbers)

    def _read_factors(self, weight: str, kind: str, target: Tensor, scratch: Tensor) -> None:
        """Those of several files side by side; scale and strength are in the first factor."""
        changes = self.changes[weight]
        ranks = [change.rank for change, _ in changes]
        for (change, strength), piece in zip(changes, target.split(ranks, dim=1 if kind == UP else 0)):
            up, down = change.factors(target.device, scratch)
            piece.copy_(up * (strength * change.scale) if kind == UP else down)


def merged(weights: Weights, loras: Iterable[tuple[Lora, float]]) -> Weights:
    """With these added, each as strongly as its number says; one of strength 0 adds nothing."""
    changes: Changes = {}
    for lora, strength in loras:
        for name, change in lora.changes.items() if strength else ():
            changes.setdefault(name, []).append((change, strength))
    if not changes:
        return weights
    return MergedWeights(**{f.name: getattr(weights, f.name) for f in fields(Weights)}, changes=changes)
