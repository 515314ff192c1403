"""Rolling key/value caches of a rollout, with every position a Python int on the host.

A buffer is [current block | history]. All denoising steps of a block write the same current slots; when the next block
opens, the finished one is copied into the history, a ring of the `window - block` latest frames. Keys carry their
rope, so order inside the buffer does not matter, and what is attended to is always one leading slice: from the moment
the window is full every address is constant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wan.config import CausalConfig

GLOBAL_WINDOW = 15  # what `local_attn_size` -1 means in the official code, in latent frames


def window_frames(local_attn_size: int) -> int:
    return GLOBAL_WINDOW if local_attn_size == -1 else local_attn_size


class RollingCache:
    """Keys and values of one kind of attention for all its layers; a frame is `tokens` tokens."""

    def __init__(self, layers: int, batch: int, window: int, block: int, tokens: int, heads: int, head_dim: int,
                 device: torch.device | str, dtype: torch.dtype):  # fmt: skip
        if block > window:
            raise ValueError(f"a block of {block} latent frames does not fit a window of {window}; use local_attn_size >= {block}")  # fmt: skip
        self.block, self.history, self.tokens = block, window - block, tokens
        # 2 = keys, values
        self.buffer = torch.zeros(2, layers, batch, window * tokens, heads, head_dim, device=device, dtype=dtype)
        self.reset()

    def reset(self) -> None:
        self.start = 0  # first frame of the current block
        self.written = False

    @property
    def attended(self) -> int:
        """Tokens in the leading slice that queries see: the current block and the history filled so far."""
        return (self.block + min(self.start, self.history)) * self.tokens

    def open_block(self, start: int) -> None:
        """Begin (or begin again) the block whose first latent frame is `start`; blocks follow one another."""
        if start == self.start:
            return
        if start != self.start + self.block or not self.written:
            raise ValueError(f"the cache is at latent frame {self.start}: the next block starts at {self.start + self.block}, not {start}; reset() starts over")  # fmt: skip
        self._keep_current()
        self.start, self.written = start, False

    def _keep_current(self) -> None:
        """Copy the finished block into the ring; only its last `history` frames when the ring is shorter than a block."""
        for frame in range(max(0, self.block - self.history), self.block):
            slot = self.block + (self.start + frame) % self.history
            self.buffer[:, :, :, self._slots(slot)] = self.buffer[:, :, :, self._slots(frame)]

    def _slots(self, frame: int) -> slice:
        return slice(frame * self.tokens, (frame + 1) * self.tokens)

    def layer(self, index: int) -> RollingLayer:
        return RollingLayer(self, self.buffer[:, index], self.block * self.tokens, self.attended)


@dataclass(frozen=True)
class RollingLayer:
    """One layer's keys and values: where the current block's go, what lies behind it, and both together."""

    cache: RollingCache
    buffer: Tensor  # (2, B, window tokens, H, D)
    new: int  # tokens of the current block
    attended: int

    def slots(self) -> tuple[Tensor, Tensor]:
        self.cache.written = True
        return self._part(0, self.new)

    def past(self) -> tuple[Tensor, Tensor]:
        return self._part(self.new, self.attended)

    def seen(self) -> tuple[Tensor, Tensor]:
        return self._part(0, self.attended)

    def write(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store the current block's keys and values; return everything its queries attend to."""
        keys, values = self.slots()
        assert k.shape == keys.shape, f"a block has keys {tuple(keys.shape)}, got {tuple(k.shape)}"
        keys.copy_(k)
        values.copy_(v)
        return self.seen()

    def _part(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        keys, values = self.buffer[:, :, start:stop]
        return keys, values


class CrossCache:
    """Keys and values of the image context, computed once a rollout and layer; later rollouts reuse the addresses."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}
        self.reset()

    def reset(self) -> None:
        self.current: set[int] = set()

    def once(self, index: int, compute: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        if index not in self.current:
            kv = compute()
            kept = self.layers.setdefault(index, kv)
            if kept is not kv:  # a captured graph reads these addresses
                kept[0].copy_(kv[0])
                kept[1].copy_(kv[1])
            self.current.add(index)
        return self.layers[index]


class RolloutCache:
    """All caches of one rollout: self attention, mouse and keyboard (action layers only), and cross attention."""

    def __init__(self, config: CausalConfig, batch: int, tokens: int, block: int, device: torch.device | str, dtype: torch.dtype):  # fmt: skip
        window = window_frames(config.local_attn_size)

        def rolling(layers: int, rows: int, tokens: int, heads: int, head_dim: int) -> RollingCache:
            return RollingCache(layers, rows, window, block, tokens, heads, head_dim, device, dtype)

        self.self_attn = rolling(config.num_layers, batch, tokens, config.num_heads, config.dim // config.num_heads)
        self.rolling = {"self_attn": self.self_attn}
        if action := config.action_config:
            layers, heads = len(action.blocks), action.heads_num
            if action.enable_mouse:
                self.rolling["mouse"] = rolling(layers, batch * tokens, 1, heads, action.mouse_hidden_dim // heads)
            if action.enable_keyboard:
                self.rolling["keyboard"] = rolling(layers, batch, 1, heads, action.keyboard_hidden_dim // heads)
        self.cross = CrossCache()

    def open_block(self, start: int) -> None:
        for cache in self.rolling.values():
            cache.open_block(start)

    def layer(self, kind: str, index: int) -> RollingLayer:
        return self.rolling[kind].layer(index)

    def cross_kv(self, index: int, compute: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        return self.cross.once(index, compute)

    def wrote(self) -> None:
        """The current block is in place, written by what does not ask for its slots: a graph."""
        for cache in self.rolling.values():
            cache.written = True

    def reset(self) -> None:
        for cache in self.rolling.values():
            cache.reset()
        self.cross.reset()

    def tensors(self) -> dict[str, Tensor]:
        """What a save point must hold; positions included, so that loading needs no second channel."""
        saved = {kind: cache.buffer for kind, cache in self.rolling.items()}
        return saved | {"start": torch.tensor(self.self_attn.start), "written": torch.tensor(self.self_attn.written)}

    def load_tensors(self, saved: dict[str, Tensor]) -> None:
        """Take over what was saved. The image's keys are not in it: they are the world's that has begun, or computed again."""
        for kind, cache in self.rolling.items():
            if saved[kind].shape != cache.buffer.shape:
                raise ValueError(f"save point has a {kind} cache of {tuple(saved[kind].shape)}, this model needs {tuple(cache.buffer.shape)}; load it with the model and size that wrote it")  # fmt: skip
            cache.buffer.copy_(saved[kind])
            cache.start, cache.written = int(saved["start"]), bool(saved["written"])
