"""Adapter: the official rollout caches (lists of dicts of tensors) behind the interface of wan.modules.cache.

Code written against the official class passes dicts with `k`, `v`, `global_end_index`, `local_end_index` (or `k`, `v`,
`is_init`) and reads them afterwards; here they are rolled and updated exactly as the official code does it. Its index
tensors force a device sync a layer, which is why nothing else in this project uses this form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

OfficialDicts = Sequence[dict[str, Any]]


class OfficialLayer:
    """One dict; `end` is the token count of the rollout after this block, `window` what queries may see, in tokens."""

    def __init__(self, entry: dict[str, Any], end: int, window: int, new: int):
        self.entry, self.new = entry, new
        seen, filled = int(entry["global_end_index"]), int(entry["local_end_index"])
        evicted = max(0, filled + new - entry["k"].shape[1]) if end > seen else 0
        for name in ("k", "v") if evicted else ():
            entry[name][:, : filled - evicted] = entry[name][:, evicted:filled].clone()
        self.stop = filled + end - seen - evicted
        self.start = max(0, self.stop - window)
        entry["global_end_index"].fill_(end)
        entry["local_end_index"].fill_(self.stop)

    def slots(self) -> tuple[Tensor, Tensor]:
        return self._part(self.stop - self.new, self.stop)

    def past(self) -> tuple[Tensor, Tensor]:
        return self._part(self.start, self.stop - self.new)

    def seen(self) -> tuple[Tensor, Tensor]:
        return self._part(self.start, self.stop)

    def write(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = self.slots()
        keys.copy_(k)
        values.copy_(v)
        return self.seen()

    def _part(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        return self.entry["k"][:, start:stop], self.entry["v"][:, start:stop]


class OfficialCaches:
    """The four lists a caller passed, for the block of `frames` latent frames that starts at `start`."""

    def __init__(self, start: int, frames: int, tokens: int, window: int, action_blocks: Sequence[int],
                 kv: OfficialDicts, mouse: OfficialDicts | None, keyboard: OfficialDicts | None,
                 cross: OfficialDicts):  # fmt: skip
        self.frames, self.end, self.tokens, self.window = frames, start + frames, tokens, window
        self.kv, self.cross, self.action = kv, cross, {"mouse": mouse, "keyboard": keyboard}
        # the official lists have an entry for every layer; the model counts only those that carry an action module
        self.action_blocks = action_blocks

    def layer(self, kind: str, index: int) -> OfficialLayer:
        if kind == "self_attn":
            return OfficialLayer(
                self.kv[index], self.end * self.tokens, self.window * self.tokens, self.frames * self.tokens
            )
        entries = self.action[kind]
        if entries is None:
            raise ValueError(f"this model attends to {kind} conditions: pass kv_cache_{kind}, one dict a layer")
        return OfficialLayer(entries[self.action_blocks[index]], self.end, self.window, self.frames)

    def cross_kv(self, index: int, compute: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        entry = self.cross[index]
        if not entry["is_init"]:
            entry["k"], entry["v"] = compute()
            entry["is_init"] = True
        return entry["k"], entry["v"]
