"""The layers of the Wan 2.1 VAE: causal convolutions in time, everything else frame by frame.

Layers that look back in time are `Causal` and are called with the clip's `StreamState`; the rest are plain modules.
The first frame of a clip is special: it is neither halved nor doubled in time, which makes n latent frames 1 + 4(n-1)
video frames. Activations are (B, C, T, H, W). Parameter names and shapes are those of the released checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wan.modules.streaming import Causal, Remembering, StreamState, run


def per_frame(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a layer for images to every frame of a clip."""
    frames = layer(x.transpose(1, 2).flatten(0, 1))
    return frames.unflatten(0, (x.shape[0], -1)).transpose(1, 2)


class CausalConv3d(Remembering, nn.Conv3d):
    """A 3D convolution that never sees the future: what it needs of the past comes from the state."""

    def __init__(self, in_dim: int, out_dim: int, kernel: tuple[int, int, int], stride: int = 1):
        super().__init__(in_dim, out_dim, kernel, (stride, 1, 1), (0, kernel[1] // 2, kernel[2] // 2))
        self.past = kernel[0] - stride

    def forward(self, x: Tensor, state: StreamState) -> Tensor:  # type: ignore[override]
        x = state.extend(self.name, x, self.past)
        return self._over_taps(x) if x.is_cpu else super().forward(x)

    def _over_taps(self, x: Tensor) -> Tensor:
        """The same sum as a 2D convolution over the frames under the kernel, side by side as channels.

        On CPUs torch has only a plain loop for small 3D convolutions: streaming and training are 2 to 5 times faster
        this way.
        """
        taps = x.unfold(2, self.kernel_size[0], self.stride[0])  # (B, C, T, H, W, taps)
        frames = taps.permute(0, 2, 1, 5, 3, 4).flatten(2, 3).flatten(0, 1)  # (B*T, C*taps, H, W)
        out = F.conv2d(frames, self.weight.flatten(1, 2), self.bias, padding=self.padding[1:])
        return out.unflatten(0, (x.shape[0], -1)).transpose(1, 2)


class RMSNorm(nn.Module):
    """Unit root mean square over channels, in float32: in fp16 the sum of squares overflows above about 3000."""

    def __init__(self, dim: int, time: bool = True):
        super().__init__()
        self.scale = dim**0.5
        self.gamma = nn.Parameter(torch.ones(dim, 1, 1, 1) if time else torch.ones(dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (F.normalize(x.float(), dim=1) * self.scale * self.gamma).to(x.dtype)


class ResidualBlock(Causal, nn.Module):
    def __init__(self, in_dim: int, out_dim: int, dropout: float):
        super().__init__()
        # the checkpoint counts the parameterless layers too: residual.0, 2, 3 and 6 have weights
        self.residual = nn.Sequential(
            RMSNorm(in_dim),
            nn.SiLU(),
            CausalConv3d(in_dim, out_dim, (3, 3, 3)),
            RMSNorm(out_dim),
            nn.SiLU(),
            nn.Dropout(dropout),
            CausalConv3d(out_dim, out_dim, (3, 3, 3)),
        )
        self.shortcut = nn.Conv3d(in_dim, out_dim, 1) if in_dim != out_dim else nn.Identity()

    def forward(self, x: Tensor, state: StreamState) -> Tensor:
        return self.shortcut(x) + run(self.residual, x, state)


class AttentionBlock(nn.Module):
    """Single-head self-attention over the pixels of each frame on its own."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = RMSNorm(dim, time=False)
        self.to_qkv = nn.Conv2d(dim, dim * 3, 1)
        self.proj = nn.Conv2d(dim, dim, 1)
        nn.init.zeros_(self.proj.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + per_frame(self._attend, x)

    def _attend(self, x: Tensor) -> Tensor:
        qkv = self.to_qkv(self.norm(x)).flatten(2).transpose(1, 2).unsqueeze(1)  # (N, 1, H*W, 3C)
        out = F.scaled_dot_product_attention(*qkv.chunk(3, dim=-1))
        return self.proj(out.squeeze(1).transpose(1, 2).unflatten(2, x.shape[2:]))


def first_frame_apart(
    x: Tensor, state: StreamState, name: str, past: Callable[[Tensor], Tensor], rest: Callable[[Tensor], Tensor]
) -> Tensor:
    """The first frame of a clip passes as it is, the others through `rest`, which sees `past(first)` behind it."""
    if name in state.tails:
        return rest(x)
    first, others = x[:, :, :1], x[:, :, 1:]
    state.tails[name] = past(first)
    return torch.cat([first, rest(others)], 2) if others.shape[2] else first


class Downsample(Causal, nn.Module):
    """Halves height and width, and time if `temporal`: every pair of frames with the frame before it."""

    def __init__(self, dim: int, temporal: bool):
        super().__init__()
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(dim, dim, 3, stride=2))
        self.time_conv = CausalConv3d(dim, dim, (3, 1, 1), stride=2) if temporal else None

    def forward(self, x: Tensor, state: StreamState) -> Tensor:
        x = per_frame(self.resample, x)
        if self.time_conv is None:
            return x
        conv = self.time_conv
        return first_frame_apart(x, state, conv.name, past=torch.clone, rest=lambda x: conv(x, state))


class Upsample(Causal, nn.Module):
    """Doubles height and width and halves the channels; doubles time if `temporal`.

    To the frames after the first one the clip begins with themselves: their past is zeros, not the first frame.
    """

    def __init__(self, dim: int, temporal: bool):
        super().__init__()
        self.resample = nn.Sequential(
            nn.Upsample(scale_factor=2.0, mode="nearest-exact"), nn.Conv2d(dim, dim // 2, 3, padding=1)
        )
        self.time_conv = CausalConv3d(dim, dim * 2, (3, 1, 1)) if temporal else None

    def forward(self, x: Tensor, state: StreamState) -> Tensor:
        if self.time_conv is not None:
            x = self._double(x, state, self.time_conv)
        return per_frame(self.resample, x)

    def _double(self, x: Tensor, state: StreamState, conv: CausalConv3d) -> Tensor:
        def pairs(x: Tensor) -> Tensor:
            both = conv(x, state).unflatten(1, (2, -1))  # (B, 2, C, T, H, W)
            return both.permute(0, 2, 3, 1, 4, 5).flatten(2, 3)  # (B, C, 2T, H, W)

        def nothing(first: Tensor) -> Tensor:
            return torch.zeros_like(first).repeat_interleave(conv.past, 2)

        return first_frame_apart(x, state, conv.name, past=nothing, rest=pairs)
