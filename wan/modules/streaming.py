"""What a causal video model needs to work through a clip chunk by chunk: a state, and a decoder's loops over it.

Every causal layer looks a few frames back. `StreamState` keeps those frames under the layer's own name, so a chunk
and a state give the next frames and the next state, and one chunk with a fresh state is the whole clip. Nothing here
knows a model: the Wan VAE, the tiny VAE and any faster decoder are `StreamedDecoder`s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from wan.modules import tiling


class StreamState:
    """The last input frames of every causal layer, by layer name; empty before the first chunk."""

    def __init__(self, names: Iterable[str]):
        self.names = frozenset(names)
        self.tails: dict[str, Tensor] = {}

    @property
    def started(self) -> bool:
        return bool(self.tails)

    def extend(self, name: str, x: Tensor, past: int, dim: int = 2) -> Tensor:
        """`x` behind the `past` frames that came before it (zeros before a clip); remembers its last ones."""
        before = self.tails.get(name)
        if before is None:
            before = torch.zeros_like(x.narrow(dim, 0, 1)).repeat_interleave(past, dim)
        x = torch.cat([before, x], dim)
        # a copy, so that the state does not keep the whole chunk alive
        self.tails[name] = x.narrow(dim, x.shape[dim] - past, past).clone()
        return x

    def reset(self) -> None:
        self.tails.clear()

    def clone(self) -> StreamState:
        copy = StreamState(self.names)
        copy.tails = {name: tail.clone() for name, tail in self.tails.items()}
        return copy

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.tails)

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take over saved tensors (none: a clip not yet begun); they must be where the decoder is."""
        if tensors and tensors.keys() != self.names:
            odd = sorted(tensors.keys() ^ self.names)[0]
            raise ValueError(f"saved state does not fit this decoder ({odd!r}): load it with the VAE that saved it")
        self.tails = dict(tensors)


class Causal:
    """Marks the modules whose forward also takes the clip's state."""


class Remembering(Causal):
    """Marks the layers that keep frames of their own in the state, under `name`."""

    name: str = ""


def name_layers(model: nn.Module) -> list[str]:
    """Give every remembering layer its path in the model as its name in the state; returns the names."""
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, Remembering)]
    for name, layer in layers:
        layer.name = name
    return [name for name, _ in layers]


def run(layers: Iterable[nn.Module], x: Tensor, state: StreamState) -> Tensor:
    for layer in layers:
        x = layer(x, state) if isinstance(layer, Causal) else layer(x)
    return x


class StreamedDecoder(ABC, nn.Module):
    """Decoding a whole clip in terms of `new_state` and `decode_chunk`.

    Latents (B, z, n, h, w) are normalised; frames (B, 3, 1 + 4(n-1), 8h, 8w) are in [-1, 1] but not clamped.
    """

    @abstractmethod
    def new_state(self) -> StreamState:
        """The state before the first chunk of a clip."""

    @abstractmethod
    def decode_chunk(self, latents: Tensor, state: StreamState) -> Tensor:
        """The frames of the next latents of a clip: 1 + 4(n-1) for its first n latents, 4n for later ones."""

    def decode_chunks(self, latents: Tensor, chunk: int = 1) -> Iterator[Tensor]:
        """A clip's frames, `chunk` latent frames at a time, so that memory does not grow with its length."""
        state = self.new_state()
        for part in latents.split(chunk, dim=2):
            yield self.decode_chunk(part, state)

    def decode(self, latents: Tensor, whole: bool = False) -> Tensor:
        """A clip's frames; `whole` runs it in one pass, for training on short clips."""
        chunk = latents.shape[2] if whole else 1
        return torch.cat(list(self.decode_chunks(latents, chunk)), 2)

    def decode_tiled(self, latents: Tensor, tile: tuple[int, int] = (32, 32), overlap: int = 8) -> Tensor:
        """Decode tile by tile, blended over `overlap` (all in latent pixels): close to `decode`, not equal.

        One tile is decoded at a time, one latent frame at a time, so activations and state are those of a single
        tile and four frames, whatever the size and length of the video; beside them is only the video itself.
        """
        grid = tiling.Grid(latents.shape[-2:], tile, overlap)
        return grid.blend(self.decode(latents[grid.where(i)]) for i in range(len(grid)))

    def decode_tiled_chunks(
        self, latents: Tensor, tile: tuple[int, int] = (32, 32), overlap: int = 8
    ) -> Iterator[Tensor]:
        """`decode_tiled`, yielding frames as they are finished; holds the streaming state of all tiles at once."""
        grid = tiling.Grid(latents.shape[-2:], tile, overlap)
        streams = [self.decode_chunks(latents[grid.where(i)]) for i in range(len(grid))]
        for _ in range(latents.shape[2]):
            yield grid.blend(next(stream) for stream in streams)
