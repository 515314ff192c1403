"""What stands between the convolutions of the VAE decoder: sum, RMS norm, SiLU and the frames of the past, in one pass.

Activations are (B, T, H, W, C), so a norm over channels is a row in memory, and the pass that normalises a frame also
puts it where the next convolution reads it: side by side with the two frames before it, as channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wan.fast.kernels import use_triton
from wan.fast.kernels.arguments import TAPS, Sum


def add(terms: Sum) -> Tensor:
    """The sum itself, rounded once."""
    x, y, bias = terms
    if y is None and bias is None:
        return x
    if use_triton(x):
        from wan.fast.kernels.triton_vae import lay

        return lay(terms, None, None, False)[1]
    return _added(terms)


def lay_frames(terms: Sum, gamma: Tensor | None, past: Tensor, keep: bool = False) -> tuple[Tensor, Tensor]:
    """The sum (if kept), and each of its frames with the two before it: (B, T, H, W, 3C), oldest first.

    The first ones have `past` (B, 2, H, W, C) before them, which becomes the last two frames. With `gamma` the frames
    are silu(rms_norm(sum)).
    """
    if use_triton(terms.x):
        from wan.fast.kernels.triton_vae import lay

        return lay(terms, gamma, past, keep)
    x = _added(terms)
    h = x if gamma is None else F.silu(rms_norm(x.float(), gamma)).to(x.dtype)
    frames = torch.cat([past, h], 1)
    past.copy_(frames[:, -past.shape[1] :])
    return x, frames.unfold(1, TAPS, 1).transpose(-1, -2).flatten(-2)


def rms_norm(x: Tensor, gamma: Tensor) -> Tensor:
    """Unit root mean square over the last dimension, times gamma, in float32."""
    return (F.normalize(x.float(), dim=-1) * x.shape[-1] ** 0.5 * gamma.float()).to(x.dtype)


def _added(terms: Sum) -> Tensor:
    x, y, bias = terms
    total = x.float()
    for term in (y, bias):
        total = total if term is None else total + term.float()
    return total.to(x.dtype)
