"""OptimizedVAEDecoder: the decoder of a WanVAE, the same frames with less work around the convolutions.

What differs, and why it is equal up to rounding: activations are (B, T, H, W, C), which tensor cores read fastest;
residual, bias, norm, SiLU and the past of a convolution are one pass (wan.fast.kernels.vae); a 3x3x3 convolution is a 2D one
over three frames side by side; doubling a frame and convolving it is four 2x2 convolutions of the small frame, one a
sub-pixel. The state is that of the reference, replaced in place: its addresses are constant, so a chunk can be captured
(wan.fast.decoder_graphs). Weights are laid out anew at construction; nothing is shared with the reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wan.fast.kernels.vae import TAPS, Sum, add, lay_frames, rms_norm
from wan.modules import vae_layers
from wan.modules.streaming import StreamedDecoder, StreamState
from wan.modules.strip_memory import Work
from wan.modules.strips import FRAMES, Strip, through
from wan.modules.vae import WanVAE


def frozen(weight: Tensor | None) -> nn.Parameter:
    assert weight is not None
    return nn.Parameter(weight.detach().clone(), requires_grad=False)


def tail_of(state: StreamState, name: str, like: Tensor) -> Tensor:
    """The past of a layer, (B, 2, H, W, C), replaced in place from now on; zeros before a clip.

    The state itself keeps it as the reference does, (B, C, 2, H, W), so that either decoder goes on from the other's.
    """
    if name not in state.tails:
        shape = (like.shape[0], TAPS - 1, *like.shape[2:])
        state.tails[name] = like.new_zeros(shape).permute(0, 4, 1, 2, 3)
    tail = state.tails[name].permute(0, 2, 3, 4, 1)
    if not tail.is_contiguous():  # from the reference
        tail = tail.contiguous()
        state.tails[name] = tail.permute(0, 4, 1, 2, 3)
    return tail


class NormConv(nn.Module):
    """RMS norm, SiLU and a causal 3x3x3 convolution; without a norm only the convolution. Leaves its bias to add."""

    def __init__(self, conv: Any, norm: Any = None):
        super().__init__()
        self.name = conv.name
        weight, self.bias = conv.weight.detach(), frozen(conv.bias)
        weight = weight.transpose(1, 2).flatten(1, 2)  # (O, 3I, 3, 3): frames side by side, as `lay_frames` lays them
        self.weight = frozen(weight.contiguous(memory_format=torch.channels_last))
        self.gamma = None if norm is None else frozen(norm.gamma.flatten())

    def forward(self, terms: Sum, state: StreamState, keep: bool = False) -> tuple[Tensor, Tensor]:
        """The sum (if kept) and the convolution of its norm."""
        total, frames = lay_frames(terms, self.gamma, tail_of(state, self.name, terms.x), keep)
        return total, images(self.weight, frames, padding=1)


def images(weight: Tensor, x: Tensor, padding: int) -> Tensor:
    """A 2D convolution of every frame, (B, T, H, W, C)."""
    out = F.conv2d(x.flatten(0, 1).permute(0, 3, 1, 2), weight, padding=padding)
    return out.permute(0, 2, 3, 1).contiguous().unflatten(0, x.shape[:2])


class ResidualBlock(nn.Module):
    def __init__(self, block: vae_layers.ResidualBlock):
        super().__init__()
        norm1, _, conv1, norm2, _, _, conv2 = block.residual
        self.first, self.second = NormConv(conv1, norm1), NormConv(conv2, norm2)
        self.shortcut = pointwise(block.shortcut) if isinstance(block.shortcut, nn.Conv3d) else nn.Identity()

    def forward(self, terms: Sum, state: StreamState) -> Sum:
        x, y = self.first(terms, state, keep=True)
        _, y = self.second(Sum(y, bias=self.first.bias), state)
        return Sum(self.shortcut(x), y, self.second.bias)


def pointwise(conv: nn.Conv3d | nn.Conv2d) -> nn.Linear:
    """A 1x1 convolution is a matrix product where channels are last."""
    linear = nn.Linear(conv.in_channels, conv.out_channels, device="meta")
    linear.weight, linear.bias = frozen(conv.weight.flatten(1)), frozen(conv.bias)
    return linear


class AttentionBlock(nn.Module):
    def __init__(self, block: vae_layers.AttentionBlock):
        super().__init__()
        self.gamma = frozen(block.norm.gamma.flatten())
        self.to_qkv, self.proj = pointwise(block.to_qkv), pointwise(block.proj)

    def forward(self, terms: Sum, _state: StreamState) -> Sum:
        x = add(terms)
        qkv = self.to_qkv(rms_norm(x, self.gamma)).flatten(2, 3).flatten(0, 1).unsqueeze(1)  # (B*T, 1, H*W, 3C)
        out = F.scaled_dot_product_attention(*qkv.chunk(3, dim=-1))
        return Sum(x, self.proj(out).reshape(x.shape))


class Upsample(nn.Module):
    """Doubles time (if temporal), height and width."""

    def __init__(self, block: vae_layers.Upsample):
        super().__init__()
        conv: Any = block.resample[1]
        self.weight, self.bias = frozen(sub_pixel_weight(conv.weight)), frozen(conv.bias)
        self.time = None if block.time_conv is None else TimeDoubling(block.time_conv)

    def forward(self, terms: Sum, state: StreamState) -> Sum:
        x = add(terms) if self.time is None else self.time(terms, state)
        batch, frames, height, width, _ = x.shape
        parts = images(self.weight, x, padding=1).unflatten(-1, (2, 2, -1))  # (B, T, H+1, W+1, 2, 2, C)
        out = x.new_empty(batch, frames, height, 2, width, 2, parts.shape[-1])
        for i in (0, 1):
            for j in (0, 1):
                part = parts[:, :, i : i + height, j : j + width, i, j]
                torch.add(part, self.bias, out=out[:, :, :, i, :, j])
        return Sum(out.flatten(4, 5).flatten(2, 3))


def sub_pixel_weight(weight: Tensor) -> Tensor:
    """(O, I, 3, 3) for the doubled frame -> (4 O, I, 2, 2) for the small one, a 2x2 kernel for each sub-pixel.

    Of three rows in the doubled frame two are the same row of the small one: their weights add up.
    """
    rows = weight.new_tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], dtype=torch.float32)  # [2, 2, 3]
    parts = torch.einsum("iak,jbl,ockl->ijocab", rows, rows, weight.detach().float())
    return parts.flatten(0, 2).to(weight.dtype).contiguous(memory_format=torch.channels_last)


class TimeDoubling(nn.Module):
    """Two frames for every frame but the first of a clip; to the others the clip begins with themselves."""

    def __init__(self, conv: vae_layers.CausalConv3d):
        super().__init__()
        self.name = conv.name
        self.weight = frozen(conv.weight[..., 0, 0].transpose(1, 2).flatten(1))  # (2C, 3C)
        self.bias = frozen(conv.bias)

    def forward(self, terms: Sum, state: StreamState) -> Tensor:
        if self.name in state.tails:
            return self._pairs(terms, state)
        x = add(terms)
        tail_of(state, self.name, x)
        first, others = x[:, :1], x[:, 1:].contiguous()
        return torch.cat([first, self._pairs(Sum(others), state)], 1) if others.shape[1] else first

    def _pairs(self, terms: Sum, state: StreamState) -> Tensor:
        _, frames = lay_frames(terms, None, tail_of(state, self.name, terms.x))
        both = F.linear(frames, self.weight, self.bias).unflatten(-1, (2, -1))  # (B, T, H, W, 2, C)
        return both.permute(0, 1, 4, 2, 3, 5).flatten(1, 2)


FAST = {
    vae_layers.ResidualBlock: ResidualBlock,
    vae_layers.AttentionBlock: AttentionBlock,
    vae_layers.Upsample: Upsample,
}


class OptimizedVAEDecoder(StreamedDecoder):
    """Decodes as `vae` does, with its weights as they are now; `chunk` latent frames at a time in `decode`.

    Build it when the VAE is on its device: what is fastest is decided there.
    """

    mean: Tensor
    std: Tensor
    height = 2  # in (B, T, H, W, C)

    def __init__(self, vae: WanVAE, chunk: int = 1):
        super().__init__()
        self.chunk = chunk
        decoder = vae.decoder
        self.state_names = decoder.state_names
        weight = vae.conv2.weight
        self.register_buffer("mean", weight.new_tensor(vae.config.mean, dtype=torch.float32))
        self.register_buffer("std", weight.new_tensor(vae.config.std, dtype=torch.float32))
        self.conv2 = pointwise(vae.conv2)
        self.conv1 = NormConv(decoder.conv1)
        self.middle = nn.ModuleList(_fast(decoder.middle))
        *upsamples, (*blocks, norm, _, conv) = decoder.stages()
        self.upsamples = nn.ModuleList(nn.ModuleList(_fast(layers)) for layers in upsamples)
        self.blocks, self.head = nn.ModuleList(_fast(blocks)), NormConv(conv, norm)
        self.stages, self.features = vae.stages, vae.features

    @property
    def work(self) -> Work:
        # a block's two terms, their sum, three frames side by side and what both convolutions make; plain twins round in steps
        return Work(self.conv2.weight.element_size(), 9 if self.conv2.weight.is_cuda else 15, frames=1)

    def new_state(self) -> StreamState:
        return StreamState(self.state_names)

    def stem(self, latents: Tensor, state: StreamState) -> Tensor:
        x = latents.permute(0, 2, 3, 4, 1).float() * self.std + self.mean
        x = self.conv2(x.to(self.conv2.weight.dtype))
        return add(_run(self.middle, Sum(self.conv1(Sum(x), state)[1], bias=self.conv1.bias), state))

    def decode_strip(self, features: Tensor, state: StreamState, strip: Strip | None = None) -> Tensor:
        def doubled(layers: Any, x: Tensor) -> Tensor:
            return _run(layers, Sum(x), state).x

        def finished(x: Tensor) -> Tensor:
            parts = x.split(FRAMES, 1) if strip else [x]
            made = [self.head(_run(self.blocks, Sum(part.contiguous()), state), state)[1] for part in parts]
            return torch.cat(made, 1) + self.head.bias

        stages = [partial(doubled, layers) for layers in self.upsamples]
        return through(strip, features, [*stages, finished], self.height).permute(0, 4, 1, 2, 3)


def _run(layers: Iterable[nn.Module], terms: Sum, state: StreamState) -> Sum:
    for layer in layers:
        terms = layer(terms, state)
    return terms


def _fast(layers: Iterable[nn.Module]) -> list[nn.Module]:
    return [FAST[type(layer)](layer) for layer in layers]
