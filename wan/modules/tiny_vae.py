"""A tiny VAE for Wan 2.1's latents (taew2_1): a preview decoder of 2D convolutions, many times cheaper.

Used in place of `WanVAE`: the same normalised latents in, the same number of frames out, the same streaming calls.
It looks back by one frame only, in its memory blocks. Parameter names are those of the released taew2_1.pth, whose
own images are in [0, 1]; its picture is close to the real VAE's, not equal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from wan.modules.streaming import Remembering, StreamedDecoder, StreamState, name_layers
from wan.modules.strip_memory import Work
from wan.modules.strips import Stage, Strip, stage, through

LATENT_CHANNELS = 16
WIDTHS = (256, 128, 64, 64)  # decoder channels, from latents to frames
ENCODER_WIDTH = 64
TIME_FACTOR = 4


def conv(in_dim: int, out_dim: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(in_dim, out_dim, 3, stride, padding=1, bias=bias)


class SoftClamp(nn.Module):
    """Bends outlying latents into (-3, 3)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class MemoryBlock(Remembering, nn.Module):
    """A residual block over each frame and the one before it; (B, T, C, H, W)."""

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim
        self.conv = nn.Sequential(conv(2 * dim, dim), nn.ReLU(), conv(dim, dim), nn.ReLU(), conv(dim, dim))

    def forward(self, x: Tensor, state: StreamState) -> Tensor:
        before = state.extend(self.name, x, 1, dim=1)[:, :-1]
        change = self.conv(torch.cat([x, before], 2).flatten(0, 1))
        return torch.relu(x + change.unflatten(0, x.shape[:2]))


class TimePool(nn.Module):
    """`stride` frames into one; (B*T, C, H, W)."""

    def __init__(self, dim: int, stride: int):
        super().__init__()
        self.conv = nn.Conv2d(dim * stride, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.reshape(-1, self.conv.in_channels, *x.shape[2:]))


class TimeGrow(nn.Module):
    """One frame into `stride`; (B*T, C, H, W)."""

    def __init__(self, dim: int, stride: int):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim * stride, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).reshape(-1, *x.shape[1:])


def _memory(dim: int) -> list[nn.Module]:
    return [MemoryBlock(dim) for _ in range(3)]


def _down(time_stride: int) -> list[nn.Module]:
    dim = ENCODER_WIDTH
    return [TimePool(dim, time_stride), conv(dim, dim, stride=2, bias=False), *_memory(dim)]


def _up(in_dim: int, out_dim: int, time_stride: int) -> list[nn.Module]:
    grow = [nn.Upsample(scale_factor=2.0), TimeGrow(in_dim, time_stride)]
    return [*_memory(in_dim), *grow, conv(in_dim, out_dim, bias=False)]


def _stage(layers: list[nn.Module]) -> Stage:
    kept = sum(layer.dim for layer in layers if isinstance(layer, MemoryBlock))
    grown = [layer.conv for layer in layers if isinstance(layer, TimeGrow)]
    frames = math.prod(conv.out_channels // conv.in_channels for conv in grown)
    return replace(stage(layers), kept=kept, frames=frames)


def _run(layers: Iterable[nn.Module], x: Tensor, state: StreamState) -> Tensor:
    """Layers over (B, T, C, H, W); those without memory see every frame as an image of its own."""
    batch = x.shape[0]
    for layer in layers:
        x = layer(x, state) if isinstance(layer, MemoryBlock) else layer(x.flatten(0, 1)).unflatten(0, (batch, -1))
    return x


class TinyVAE(StreamedDecoder):
    """Latents (B, 16, n, h, w) to video (B, 3, 1 + 4(n-1), 8h, 8w) in [-1, 1], not clamped, and back."""

    height = 3  # in (B, T, C, H, W)
    features = LATENT_CHANNELS

    def __init__(self) -> None:
        super().__init__()
        first, second, third, last = WIDTHS
        self.encoder = nn.Sequential(
            conv(3, ENCODER_WIDTH),
            nn.ReLU(),
            *_down(2),
            *_down(2),
            *_down(1),
            conv(ENCODER_WIDTH, LATENT_CHANNELS),
        )
        stages = [
            [SoftClamp(), conv(LATENT_CHANNELS, first), nn.ReLU(), *_up(first, second, 1)],
            _up(second, third, 2),
            _up(third, last, 2),
            [nn.ReLU(), conv(last, 3)],
        ]
        self.decoder = nn.Sequential(*itertools.chain(*stages))
        self.stages = tuple(map(_stage, stages))
        self.ends = list(itertools.accumulate(map(len, stages)))
        self.encoder_names = name_layers(self.encoder)
        self.state_names = name_layers(self.decoder)

    def encode(self, video: Tensor) -> Tensor:
        """Normalised latents; the last frame is repeated up to a multiple of 4, as the published encoder does."""
        frames = (self._cast(video).transpose(1, 2) + 1) / 2
        missing = -frames.shape[1] % TIME_FACTOR
        frames = torch.cat([frames, frames[:, -1:].repeat_interleave(missing, 1)], 1)
        state = StreamState(self.encoder_names)
        return torch.cat([_run(self.encoder, x, state) for x in frames.split(TIME_FACTOR, 1)], 1).transpose(1, 2)

    @property
    def work(self) -> Work:
        return Work(next(self.parameters()).element_size(), busy=18, frames=1)

    def new_state(self) -> StreamState:
        return StreamState(self.state_names)

    def stem(self, latents: Tensor, _state: StreamState) -> Tensor:
        """Nothing sees whole frames."""
        return self._cast(latents).transpose(1, 2)

    def decode_strip(self, features: Tensor, state: StreamState, strip: Strip | None = None) -> Tensor:
        # every latent frame makes 4 frames; of the first 4 only the last exists in the video
        surplus = 0 if state.started else TIME_FACTOR - 1
        layers = list(self.decoder)
        parts = [layers[start:end] for start, end in itertools.pairwise([0, *self.ends])]
        frames = through(strip, features, [partial(_run, part, state=state) for part in parts], self.height)
        return frames[:, surplus:].transpose(1, 2) * 2 - 1

    def _cast(self, x: Tensor) -> Tensor:
        return x.to(next(self.parameters()).dtype)
