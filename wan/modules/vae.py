"""The causal video VAE of Wan 2.1: 8x smaller in space, 4x in time after the first frame.

Encoder and decoder are functions of a chunk of frames and a `StreamState`; a long clip is a loop over chunks, a short
one (training) is a single chunk, and both are the same code. This is the plain reference: eager, any dtype, and the
oracle of faster decoders, which take the same latents and give the same frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from wan.config import WAN21_VAE, VAEConfig
from wan.modules.constants import constant
from wan.modules.streaming import Remembering, StreamedDecoder, StreamState, name_layers, run
from wan.modules.vae_layers import (
    AttentionBlock,
    CausalConv3d,
    Downsample,
    ResidualBlock,
    RMSNorm,
    Upsample,
)

Layers = list[nn.Module]


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
        """All layers in order, cut after every change of resolution."""
        stages: list[Layers] = [[self.conv1]]
        for layer in self.downsamples:
            stages[-1].append(layer)
            if isinstance(layer, Downsample):
                stages.append([])
        stages[-1] += [*self.middle, *self.head]
        return stages

    def forward(self, x: Tensor, state: StreamState) -> Tensor:
        for stage in self.stages():
            x = run(stage, x, state)
        return x


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

    def forward(self, x: Tensor, state: StreamState) -> Tensor:
        return run([self.conv1, *self.middle, *self.upsamples, *self.head], x, state)


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

    def __init__(self, config: VAEConfig = WAN21_VAE):
        super().__init__()
        if not len(config.mean) == len(config.std) == config.z_dim:
            raise ValueError(f"VAE config has {len(config.mean)} means for {config.z_dim} channels: give one for each")
        self.config = config
        self.encoder = Encoder(config)
        self.conv1 = nn.Conv3d(2 * config.z_dim, 2 * config.z_dim, 1)
        self.conv2 = nn.Conv3d(config.z_dim, config.z_dim, 1)
        self.decoder = Decoder(config)

    @property
    def time_factor(self) -> int:
        return 2 ** sum(self.config.temperal_downsample)

    @property
    def space_factor(self) -> int:
        return 2 ** (len(self.config.dim_mult) - 1)

    def encode(self, video: Tensor, whole: bool = False) -> Tensor:
        """Normalised latents; a few frames at a time, or in one pass (`whole`, for training on short clips)."""
        return self._normalise(self.encode_moments(video, whole)[0])

    def encode_moments(self, video: Tensor, whole: bool = False) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the latents, not normalised."""
        self._check_video(video)
        state = self.encoder.new_state()
        chunks = [video] if whole else self._chunks(video)
        return self._moments(torch.cat([self.encoder(self._cast(chunk), state) for chunk in chunks], 2))

    def encode_image(self, image: Tensor, latent_frames: int) -> Tensor:
        """What `encode` gives for `image` (B, 3, H, W) followed by black frames (zeros), without encoding them all.

        A stage of the encoder that meets the input and the state it met before would repeat its output, so it is not
        run again; once the last stage repeats itself, so does every later latent frame. No receptive field is
        assumed, and the values are those of the long way because they come from the same calls.
        """
        self._check_video(image.unsqueeze(2))
        image = self._cast(image).unsqueeze(2)
        black = torch.zeros_like(image).repeat_interleave(self.time_factor, 2)
        stages = [_SettlingStage(layers) for layers in self.encoder.stages()]
        state = self.encoder.new_state()
        out: list[Tensor] = []
        for n in range(latent_frames):
            x = black if n else image
            for stage in stages:
                x = stage(x, state)
            if out and x is out[-1]:
                break
            out.append(x)
        out += [out[-1]] * (latent_frames - len(out))
        return self._normalise(self._moments(torch.cat(out, 2))[0])

    def new_state(self) -> StreamState:
        return self.decoder.new_state()

    def decode_chunk(self, latents: Tensor, state: StreamState) -> Tensor:
        return self.decoder(self.conv2(self._cast(self._denormalise(latents))), state)

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


class _SettlingStage:
    """Runs layers until they would repeat themselves: the same input and state give the same output and state."""

    def __init__(self, layers: Layers):
        self.layers = layers
        self.names = [m.name for layer in layers for m in layer.modules() if isinstance(m, Remembering)]
        self.last: tuple[Tensor, list[Tensor], Tensor] | None = None

    def __call__(self, x: Tensor, state: StreamState) -> Tensor:
        past = [state.tails[name] for name in self.names if name in state.tails]
        if self.last is not None:
            last_x, last_past, last_out = self.last
            if x is last_x and all(torch.equal(a, b) for a, b in zip(past, last_past, strict=True)):
                return last_out
        out = run(self.layers, x, state)
        self.last = (x, past, out)
        return out
