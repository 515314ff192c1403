"""Adapter: the official rollout caches (lists of dicts of tensors) behind the interface of wan.modules.cache.

Code written against the official class passes dicts with `k`, `v`, `global_end_index`, `local_end_index` (or `k`, `v`,
`is_init`) and reads them afterwards; here they are rolled and updated exactly as the official code does it. Its index
tensors force a device sync a layer, which is why nothing else in this project uses this form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

OfficialDicts = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class OfficialLayer:
    """One dict; `end` is the token count of the rollout after this block, `window` what queries may see, in tokens."""

    entry: dict[str, Any]
    end: int
    window: int

    def write(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        entry, new, size = self.entry, k.shape[1], self.entry["k"].shape[1]
        seen, filled = int(entry["global_end_index"]), int(entry["local_end_index"])
        evicted = max(0, filled + new - size) if self.end > seen else 0
        stop = filled + self.end - seen - evicted
        for name, value in (("k", k), ("v", v)):
            if evicted:
                entry[name][:, : filled - evicted] = entry[name][:, evicted:filled].clone()
            entry[name][:, stop - new : stop] = value
        entry["global_end_index"].fill_(self.end)
        entry["local_end_index"].fill_(stop)
        seen_from = max(0, stop - self.window)
        return entry["k"][:, seen_from:stop], entry["v"][:, seen_from:stop]


class OfficialCaches:
    """The four lists a caller passed, for the block of `frames` latent frames that starts at `start`."""

    def __init__(self, start: int, frames: int, tokens: int, window: int, action_blocks: Sequence[int],
                 kv: OfficialDicts, mouse: OfficialDicts | None, keyboard: OfficialDicts | None,
                 cross: OfficialDicts):  # fmt: skip
        self.end, self.tokens, self.window = start + frames, tokens, window
        self.kv, self.cross, self.action = kv, cross, {"mouse": mouse, "keyboard": keyboard}
        # the official lists have an entry for every layer; the model counts only those that carry an action module
        self.action_blocks = action_blocks

    def layer(self, kind: str, index: int) -> OfficialLayer:
        if kind == "self_attn":
            return OfficialLayer(self.kv[index], self.end * self.tokens, self.window * self.tokens)
        entries = self.action[kind]
        if entries is None:
            raise ValueError(f"this model attends to {kind} conditions: pass kv_cache_{kind}, one dict a layer")
        return OfficialLayer(entries[self.action_blocks[index]], self.end, self.window)

    def cross_kv(self, index: int, compute: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        entry = self.cross[index]
        if not entry["is_init"]:
            entry["k"], entry["v"] = compute()
            entry["is_init"] = True
        return entry["k"], entry["v"]
