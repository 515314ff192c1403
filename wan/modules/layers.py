"""The parts both transformers are made of: norms, modulation, self and cross attention, time and patch embeddings.

Parameter names are the official ones. A `cache` argument is one layer's view of a cache (wan.modules.cache): it is
written to and answers with everything to attend to. Without one, attention is over the tokens given.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wan.modules.attention import Mask, attend
from wan.modules.rope import Rope, apply_rope


class LayerCache(Protocol):
    """One layer of a rolling cache: slots of the current block, the history before it, both; (keys, values) each."""

    def slots(self) -> tuple[Tensor, Tensor]: ...
    def past(self) -> tuple[Tensor, Tensor]: ...
    def seen(self) -> tuple[Tensor, Tensor]: ...
    def write(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]: ...


class RMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.weight


class LayerNorm(nn.LayerNorm):
    """Computed in float32 whatever the weights are, as upstream does."""

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = (None if p is None else p.float() for p in (self.weight, self.bias))
        return F.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps).to(x.dtype)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x (B, F*S, C) with one shift and scale (B, F, 1, C) a frame; F is 1 where all frames share a timestep."""
    return (x.unflatten(1, (shift.shape[1], -1)) * (1 + scale) + shift).flatten(1, 2)


def gated(x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
    """x + gate * y, the gate (B, F, 1, C)."""
    return x + (y.unflatten(1, (gate.shape[1], -1)) * gate).flatten(1, 2)


def feed_forward(dim: int, ffn_dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(ffn_dim, dim))


class SelfAttention(nn.Module):
    norm_q: Any  # an RMSNorm, or nothing
    norm_k: Any

    def __init__(self, dim: int, num_heads: int, eps: float, qk_norm: bool = True):
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.norm_q = RMSNorm(dim, eps) if qk_norm else nn.Identity()
        self.norm_k = RMSNorm(dim, eps) if qk_norm else nn.Identity()

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1))  # (B, L, H, D)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.q(x), self.k(x), self.v(x)

    def forward(self, x: Tensor, rope: Rope, mask: Mask | None = None, cache: LayerCache | None = None) -> Tensor:
        q, k, v = self.project(x)
        q = apply_rope(self.heads(self.norm_q(q)), rope)
        k = apply_rope(self.heads(self.norm_k(k)), rope)
        v = self.heads(v)
        if cache is not None:
            k, v = cache.write(k, v)
        return self.o(attend(q, k, v, mask).flatten(2))


class CrossAttention(SelfAttention):
    """Queries from the video, keys and values from text or image; these never change within a rollout."""

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        return self.heads(self.norm_k(self.k(context))), self.heads(self.v(context))

    def forward(self, x: Tensor, kv: tuple[Tensor, Tensor]) -> Tensor:  # type: ignore[override]
        q = self.heads(self.norm_q(self.q(x)))
        return self.o(attend(q, *kv).flatten(2))


class ImageProjection(nn.Module):
    """CLIP tokens to model width; `proj.*` is the official name."""

    def __init__(self, in_dim: int, out_dim: int):
        super().__init__()
        self.proj = nn.Sequential(
            nn.LayerNorm(in_dim),
            nn.Linear(in_dim, in_dim),
            nn.GELU(),
            nn.Linear(in_dim, out_dim),
            nn.LayerNorm(out_dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


def sinusoid(t: Tensor, dim: int) -> Tensor:
    """(..., dim) of cos then sin, in float32; frequencies fall from 1 to 1/10000."""
    # float64, on the host where the device has none: t reaches 1000 and the model reads its fractions
    where = "cpu" if t.device.type == "mps" else t.device
    frequencies = 10000.0 ** (-torch.arange(dim // 2, dtype=torch.float64, device=where) / (dim // 2))
    angles = t.to(where, torch.float64)[..., None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1).float().to(t.device)


def patchify(conv: nn.Conv3d, x: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
    """(B, C, F, H, W) -> tokens (B, F*h*w, dim) and the grid (F, h, w)."""
    rows, columns = x.shape[3] % conv.kernel_size[1], x.shape[4] % conv.kernel_size[2]
    if rows or columns:
        raise ValueError(f"latent size {x.shape[3]}x{x.shape[4]} does not fit the patch {tuple(conv.kernel_size[1:])}; video sizes are multiples of 16")  # fmt: skip
    y = conv(x.to(conv.weight.dtype))
    return y.flatten(2).transpose(1, 2), (y.shape[2], y.shape[3], y.shape[4])


def unpatchify(x: Tensor, grid: tuple[int, int, int], patch: tuple[int, int, int]) -> Tensor:
    """Tokens (B, F*h*w, prod(patch)*C) -> (B, C, F, H, W)."""
    x = x.unflatten(1, grid).unflatten(-1, (*patch, -1)).movedim(-1, 1)  # (B, C, F, h, w, p, q, r)
    for axis in (2, 3, 4):  # one after the other, what a patch has along an axis joins it
        x = x.movedim(5, axis + 1).flatten(axis, axis + 1)
    return x


class Head(nn.Module):
    """Final norm, modulation by the time embedding itself, projection to patches."""

    def __init__(self, dim: int, out_dim: int, patch: tuple[int, int, int], eps: float):
        super().__init__()
        self.norm = LayerNorm(dim, eps=eps, elementwise_affine=False)
        self.head = nn.Linear(dim, out_dim * patch[0] * patch[1] * patch[2])
        self.modulation = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        shift, scale = (self.modulation + e[:, :, None]).chunk(2, dim=2)  # e (B, F, C) -> (B, F, 1, C) each
        x = modulate(self.norm(x), shift, scale)
        return F.linear(x, self.head.weight.to(x.dtype), self.head.bias.to(x.dtype))
