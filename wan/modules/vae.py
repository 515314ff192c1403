"""The causal video VAE of Wan 2.1: 8x smaller in space, 4x in time after the first frame.

Encoder and decoder are functions of a chunk of frames and a `StreamState`; a long clip is a loop over chunks, a short
one (training) is a single chunk, and both are the same code. This is the plain reference: eager, any dtype, and the
oracle of faster decoders, which take the same latents and give the same frames.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial, reduce

import torch
from torch import Tensor, nn

from wan.config import WAN21_VAE, VAEConfig
from wan.modules.constants import constant
from wan.modules.streaming import Remembering, StreamedDecoder, StreamState, name_layers, run
from wan.modules.strip_memory import Work, fewest, peak_bytes
from wan.modules.strips import FRAMES, Size, Strip, cut, stage, strips, through
from wan.modules.vae_layers import (
    AttentionBlock,
    CausalConv3d,
    Downsample,
    ResidualBlock,
    RMSNorm,
    Upsample,
)

Layers = list[nn.Module]
Way = Callable[..., Tensor]  # of frames and state
HEIGHT = 3  # its dimension in (B, C, T, H, W)
SETTLED = 20  # latent frames after which an image and black frames repeat themselves below the top


class Encoder(nn.Module):
    """Video frames to twice z_dim channels (mean and log variance, before the last 1x1x1 convolution)."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        dims = [config.dim * m for m in (1, *config.dim_mult)]
        self.conv1 = CausalConv3d(3, dims[0], (3, 3, 3))
        layers: Layers = []
        for i, (in_dim, out_dim) in enumerate(itertools.pairwise(dims)):
            layers += _blocks(in_dim, out_dim, config.num_res_blocks, config.dropout)
            if i < len(config.dim_mult) - 1:
                layers.append(Downsample(out_dim, config.temperal_downsample[i]))
        self.downsamples = nn.Sequential(*layers)
        self.middle = _middle(dims[-1], config)
        self.head = _head(dims[-1], 2 * config.z_dim)
        self.state_names = name_layers(self)

    def new_state(self) -> StreamState:
        return StreamState(self.state_names)

    def stages(self) -> list[Layers]:
        """What may be given a strip of the frames, cut after every change of resolution; `top` sees whole frames."""
        return _stages([self.conv1, *self.downsamples])

    def ways(self, few: bool) -> list[Way]:
        """How its stages are run, if for a strip with few frames at once where they are large."""
        first, *others = self.stages()
        return [partial(_run_few if few else run, first), *(partial(run, layers) for layers in others)]

    def top(self) -> Layers:
        return [*self.middle, *self.head]


class Decoder(nn.Module):
    """Latent channels to video frames."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        dims = [config.dim * m for m in (config.dim_mult[-1], *reversed(config.dim_mult))]
        doubles_time = config.temperal_downsample[::-1]
        last = len(config.dim_mult) - 1
        self.conv1 = CausalConv3d(config.z_dim, dims[0], (3, 3, 3))
        self.middle = _middle(dims[0], config)
        layers: Layers = []
        for i, (in_dim, out_dim) in enumerate(itertools.pairwise(dims)):
            # every upsampling has halved the channels
            in_dim = in_dim // 2 if i else in_dim
            layers += _blocks(in_dim, out_dim, config.num_res_blocks + 1, config.dropout)
            if i < last:
                layers.append(Upsample(out_dim, doubles_time[i]))
        self.upsamples = nn.Sequential(*layers)
        self.head = _head(dims[-1], 3)
        self.state_names = name_layers(self)

    def new_state(self) -> StreamState:
        return StreamState(self.state_names)

    def stem(self) -> Layers:
        """What sees whole frames."""
        return [self.conv1, *self.middle]

    def stages(self) -> list[Layers]:
        """What may be given a strip of them, cut after every change of resolution."""
        return _stages([*self.upsamples, *self.head])

    def ways(self, few: bool) -> list[Way]:
        *others, last = self.stages()
        return [*(partial(run, layers) for layers in others), partial(_run_few if few else run, last)]


def _run_few(layers: Layers, x: Tensor, state: StreamState) -> Tensor:
    return torch.cat([run(layers, part, state) for part in x.split(FRAMES, 2)], 2)


def _stages(layers: Layers) -> list[Layers]:
    stages: list[Layers] = [[]]
    for layer in layers:
        stages[-1].append(layer)
        if isinstance(layer, Downsample | Upsample):
            stages.append([])
    return stages


def _blocks(in_dim: int, out_dim: int, count: int, dropout: float) -> Layers:
    """The residual blocks of one resolution. `attn_scales` is not used: no release has attention outside the middle."""
    return [ResidualBlock(out_dim if i else in_dim, out_dim, dropout) for i in range(count)]


def _middle(dim: int, config: VAEConfig) -> nn.Sequential:
    return nn.Sequential(
        ResidualBlock(dim, dim, config.dropout), AttentionBlock(dim), ResidualBlock(dim, dim, config.dropout)
    )


def _head(in_dim: int, out_dim: int) -> nn.Sequential:
    return nn.Sequential(RMSNorm(in_dim), nn.SiLU(), CausalConv3d(in_dim, out_dim, (3, 3, 3)))


class WanVAE(StreamedDecoder):
    """Video (B, 3, 1+4k, H, W) in [-1, 1] to normalised latents (B, z, 1+k, H/8, W/8) and back.

    Inputs are cast to the dtype of the weights, outputs have it; decoded frames are not clamped.
    """

    height = HEIGHT
    memory = math.inf  # bytes that encoding may take: in strips if it must be

    def __init__(self, config: VAEConfig = WAN21_VAE):
        super().__init__()
        if not len(config.mean) == len(config.std) == config.z_dim:
            raise ValueError(f"VAE config has {len(config.mean)} means for {config.z_dim} channels: give one for each")
        self.config = config
        self.encoder = Encoder(config)
        self.conv1 = nn.Conv3d(2 * config.z_dim, 2 * config.z_dim, 1)
        self.conv2 = nn.Conv3d(config.z_dim, config.z_dim, 1)
        self.decoder = Decoder(config)
        self.stages = tuple(stage(layers) for layers in self.decoder.stages())
        self.features = config.dim * config.dim_mult[-1]
        self.encoder_stages = tuple(stage(layers) for layers in self.encoder.stages())

    @property
    def time_factor(self) -> int:
        return 2 ** sum(self.config.temperal_downsample)

    @property
    def space_factor(self) -> int:
        return 2 ** (len(self.config.dim_mult) - 1)

    def encode(self, video: Tensor, whole: bool = False, strips: int | None = None) -> Tensor:
        """Normalised latents; a few frames at a time, or in one pass (`whole`, for training on short clips)."""
        return self._normalise(self.encode_moments(video, whole, strips)[0])

    def encode_moments(self, video: Tensor, whole: bool = False, strips: int | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the latents, not normalised."""
        self._check_video(video)
        chunks = [video] if whole else list(self._chunks(video))
        parts = self._encoder_strips(video, strips)
        made = [self._encode_strip(strip, chunks, self.encoder.ways(few=len(parts) > 1)) for strip in parts]
        # of several, one after the other has its memory; one alone passes its features on
        features = zip(*(made if len(made) == 1 else map(list, made)), strict=True)
        state = self.encoder.new_state()
        joined = (torch.cat(part, HEIGHT + parts[0].side) for part in features)
        return self._moments(torch.cat([run(self.encoder.top(), x, state) for x in joined], 2))

    def _encoder_strips(self, video: Tensor, count: int | None) -> tuple[Strip, ...]:
        size = video.shape[-2:]
        most = max(size) // self.space_factor
        return strips(self.encoder_stages, size, count or fewest(partial(self.encoder_bytes, size), self.memory, most))

    def _encode_strip(self, strip: Strip, chunks: Iterable[Tensor], ways: list[Way]) -> Iterator[Tensor]:
        """Its features below the encoder's top, of each chunk."""
        state = self.encoder.new_state()
        stages = [partial(way, state=state) for way in ways]
        return (through(strip, self._cast(chunk), stages, HEIGHT) for chunk in chunks)

    def encode_image(self, image: Tensor, latent_frames: int, strips: int | None = None) -> Tensor:
        """What `encode` gives for `image` (B, 3, H, W) followed by black frames (zeros), without encoding them all.

        A stage of the encoder that meets the input and the state it met before would repeat its output, so it is not
        run again; once the last stage repeats itself, so does every later latent frame. No receptive field is
        assumed, and the values are those of the long way because they come from the same calls.
        """
        image = self._cast(image.unsqueeze(2))
        self._check_video(image)
        parts = self._encoder_strips(image, strips)
        ways = self.encoder.ways(few=len(parts) > 1)
        made = [self._encode_image_strip(strip, image, latent_frames, ways) for strip in parts]
        features = _joined(zip(*made, strict=True), HEIGHT + parts[0].side)
        top = self.encoder.top()
        out = _until_repeated(map(_Settling(top, partial(run, top), self.encoder.new_state()), features), latent_frames)
        return self._normalise(self._moments(torch.cat(out, 2))[0])

    def _encode_image_strip(self, strip: Strip, image: Tensor, latent_frames: int, ways: list[Way]) -> list[Tensor]:
        state, side = self.encoder.new_state(), HEIGHT + strip.side
        image = cut(image, side, strip.given)
        black = torch.zeros_like(image).repeat_interleave(self.time_factor, 2)
        parts = zip(self.encoder.stages(), ways, strip.cuts, strict=True)
        stages = [_Settling(layers, way, state, partial(cut, dim=side, span=right)) for layers, way, right in parts]
        given = [image, *[black] * (latent_frames - 1)]
        return _until_repeated((reduce(lambda x, stage: stage(x), stages, x) for x in given), latent_frames)

    def encoder_bytes(self, size: Size, count: int) -> int:
        """The most memory that an image and its black frames take in so many strips, beside weights and pixels."""
        height, width = (side // self.space_factor for side in size)
        features = SETTLED * self.features * height * width * self.work.bytes
        work = replace(self.work, busy=21, frames=self.time_factor, full=0)
        return features + peak_bytes(self.encoder_stages, size, count, work)

    @property
    def work(self) -> Work:
        # what a norm and a convolution with its past make of a block's input
        return Work(self.conv1.weight.element_size(), busy=12, frames=1)

    def new_state(self) -> StreamState:
        return self.decoder.new_state()

    def stem(self, latents: Tensor, state: StreamState) -> Tensor:
        return run(self.decoder.stem(), self.conv2(self._cast(self._denormalise(latents))), state)

    def decode_strip(self, features: Tensor, state: StreamState, strip: Strip | None = None) -> Tensor:
        stages = [partial(way, state=state) for way in self.decoder.ways(few=strip is not None)]
        return through(strip, features, stages, HEIGHT)

    def _check_video(self, video: Tensor) -> None:
        frames, height, width = video.shape[2:]
        if (frames - 1) % self.time_factor:
            low = frames - (frames - 1) % self.time_factor
            nearest = f"{low} or {low + self.time_factor}"
            raise ValueError(f"video has {frames} frames, not 1 + {self.time_factor}k: give {nearest}")
        if height % self.space_factor or width % self.space_factor:
            raise ValueError(f"frame is {height}x{width}, not a multiple of {self.space_factor}: crop or resize it")

    def _chunks(self, video: Tensor) -> Iterator[Tensor]:
        """The first frame alone, then as many frames as make one latent frame."""
        yield video[:, :, :1]
        if video.shape[2] > 1:
            yield from video[:, :, 1:].split(self.time_factor, 2)

    def _cast(self, x: Tensor) -> Tensor:
        return x.to(self.conv1.weight.dtype)

    def _moments(self, features: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.conv1(features).chunk(2, dim=1)
        return mu, logvar

    def _normalise(self, mu: Tensor) -> Tensor:
        mean, std = self._statistics(mu)
        return (mu - mean) / std

    def _denormalise(self, latents: Tensor) -> Tensor:
        mean, std = self._statistics(latents)
        return latents * std + mean

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = (constant(v, like).view(1, -1, 1, 1, 1) for v in (self.config.mean, self.config.std))
        return mean, std


class _Settling:
    """Runs layers until they would repeat themselves: the same input and state give the same output and state."""

    def __init__(self, layers: Layers, way: Way, state: StreamState, finish: Callable[[Tensor], Tensor] = lambda x: x):
        self.way, self.state, self.finish = way, state, finish
        self.names = [m.name for layer in layers for m in layer.modules() if isinstance(m, Remembering)]
        self.last: tuple[Tensor, list[Tensor], Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        past = [self.state.tails[name] for name in self.names if name in self.state.tails]
        if self.last is not None:
            last_x, last_past, last_out = self.last
            if x is last_x and all(torch.equal(a, b) for a, b in zip(past, last_past, strict=True)):
                return last_out
        out = self.finish(self.way(x, self.state))
        self.last = (x, past, out)
        return out


def _until_repeated(outputs: Iterable[Tensor], count: int) -> list[Tensor]:
    """`count` outputs; from the first that is the one before it they are all that one."""
    out: list[Tensor] = []
    for x in outputs:
        if out and x is out[-1]:
            break
        out.append(x)
    return out + [out[-1]] * (count - len(out))


def _joined(parts: Iterable[tuple[Tensor, ...]], dim: int) -> Iterator[Tensor]:
    """Strips side by side; the same strips are the same picture."""
    last: tuple[Tensor, ...] = ()
    joined = torch.empty(0)
    for part in parts:
        if not last or any(a is not b for a, b in zip(part, last, strict=True)):
            last, joined = part, torch.cat(part, dim)
        yield joined
