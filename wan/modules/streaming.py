"""What a causal video model needs to work through a clip chunk by chunk: a state, and a decoder's loops over it.

Every causal layer looks a few frames back. `StreamState` keeps those frames under the layer's own name, so a chunk
and a state give the next frames and the next state, and one chunk with a fresh state is the whole clip. Nothing here
knows a model: the Wan VAE, the tiny VAE and any faster decoder are `StreamedDecoder`s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wan.modules.strip_memory import Work, peak_bytes
from wan.modules.strips import Size, Stage, Strip, strips


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


class Piece(NamedTuple):
    """A part of a video: of some frames a strip, and where in the video it is."""

    pixels: Tensor  # (B, 3, F, H, W), of its own size
    frames: slice
    rows: slice
    columns: slice
    last: bool  # of its frames: they are whole with it


def placed(pixels: Tensor, first: int, strip: Strip, last: bool) -> Piece:
    where = [slice(0, n) for n in pixels.shape[-2:]]
    where[strip.side] = slice(*strip.made)
    return Piece(pixels, slice(first, first + pixels.shape[2]), where[0], where[1], last)


class StreamedDecoder(ABC, nn.Module):
    """Decoding a whole clip in terms of what is done to a chunk of it.

    Latents (B, z, n, h, w) are normalised; frames (B, 3, 1 + 4(n-1), 8h, 8w) are in [-1, 1] but not clamped. A chunk passes
    the stem, which sees whole frames, and then the stages, which may be given a strip of them.
    """

    stages: tuple[Stage, ...]
    height: int  # which dimension of the stem's result it is; width is the next
    features: int  # channels of it
    chunk = 1  # latent frames at a time

    @property
    @abstractmethod
    def work(self) -> Work:
        """How much memory the stages take."""

    @abstractmethod
    def new_state(self) -> StreamState:
        """The state before the first chunk of a clip."""

    @abstractmethod
    def stem(self, latents: Tensor, state: StreamState) -> Tensor:
        """The features of the next latents, of the same size."""

    @abstractmethod
    def decode_strip(self, features: Tensor, state: StreamState, strip: Strip | None = None) -> Tensor:
        """The next frames of a strip (none: of all) from its part of the features; a strip has a state of its own."""

    def decode_chunk(self, latents: Tensor, state: StreamState) -> Tensor:
        """The frames of the next latents of a clip: 1 + 4(n-1) for its first n latents, 4n for later ones."""
        return self.decode_strip(self.stem(latents, state), state)

    def decode_chunks(self, latents: Tensor, chunk: int = 1) -> Iterator[Tensor]:
        """A clip's frames, `chunk` latent frames at a time, so that memory does not grow with its length."""
        state = self.new_state()
        for part in latents.split(chunk, dim=2):
            yield self.decode_chunk(part, state)

    def decode(self, latents: Tensor, whole: bool = False, strips: int = 1) -> Tensor:
        """A clip's frames; `whole` runs it in one pass, for training on short clips."""
        chunk = latents.shape[2] if whole else self.chunk
        if strips == 1:
            return torch.cat(list(self.decode_chunks(latents, chunk)), 2)
        return join(self.decode_strips(latents, strips, chunk))

    def strip_bytes(self, latents: tuple[int, int, int], count: int) -> int:
        """The most memory that so many strips of these latents (frames, height, width) take beside weights and video."""
        frames, height, width = latents
        features = 0 if count == 1 else self.features * frames * height * width * self.work.bytes
        return features + peak_bytes(self.stages, (height, width), count, self.work)

    def strips(self, size: Size, count: int) -> tuple[Strip, ...]:
        """`count` strips of latents of this height and width."""
        return strips(self.stages, size, count)

    def decode_strips(self, latents: Tensor, count: int, chunk: int = 1) -> Iterator[Piece]:
        """A clip's frames, one strip after the other through all of it: `decode` but for rounding, in the memory of a strip's
        activations and state. Of the whole picture only the stem's features are kept, those of all latents."""
        state = self.new_state()
        features = [self.stem(part, state) for part in latents.split(chunk, dim=2)]
        parts = self.strips(latents.shape[-2:], count)
        for strip in parts:
            state, done = self.new_state(), 0
            for part in features:
                pixels = self.decode_strip(part, state, strip)
                yield placed(pixels, done, strip, strip is parts[-1])
                done += pixels.shape[2]


def join(pieces: Iterable[Piece]) -> Tensor:
    """The video whose pieces these are."""
    pieces = list(pieces)
    end = pieces[-1]
    video = end.pixels.new_empty(*end.pixels.shape[:2], end.frames.stop, end.rows.stop, end.columns.stop)
    for piece in pieces:
        video[:, :, piece.frames, piece.rows, piece.columns] = piece.pixels
    return video
