"""Rotary positions on a (frame, row, column) grid, from explicit frame positions.

A causal offset, a strided half-frame run and one rank's shard are the same call with other numbers. Angles are computed
in float64 (there is no table that could end) and applied in float32. Pairs are neighbours: (x0, x1), (x2, x3), ...
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Rope = tuple[Tensor, Tensor]  # cos and sin, (L, D/2) float32


def axis_dims(head_dim: int) -> tuple[int, int, int]:
    """How Wan divides a head among frame, row and column: a sixth (in pairs) each to row and column, the rest to time."""
    spatial = 2 * (head_dim // 6)
    return head_dim - 2 * spatial, spatial, spatial


def _angles(positions: Tensor, dim: int, theta: float) -> Tensor:
    frequencies = theta ** (-torch.arange(0, dim, 2, dtype=torch.float64, device=positions.device) / dim)
    return positions.to(torch.float64)[:, None] * frequencies  # (P, dim/2)


def rope_table(
    frames: Sequence[float] | Tensor,
    height: int,
    width: int,
    dims: Sequence[int],
    theta: float = 10000.0,
    device: torch.device | str = "cpu",
) -> Rope:
    """cos and sin for tokens in (frame, row, column) order; float64 is used where it exists, which MPS is not.

    A range of frames is counted off on the device: nothing is copied from the host, and nothing waits.
    """
    where = torch.device("cpu") if torch.device(device).type == "mps" else torch.device(device)
    if isinstance(frames, range):
        positions = torch.arange(frames.start, frames.stop, frames.step, device=where)
    else:
        positions = torch.as_tensor(frames, dtype=torch.float64, device=where)
    t = _angles(positions, dims[0], theta)
    h = _angles(torch.arange(height, device=where), dims[1], theta)
    w = _angles(torch.arange(width, device=where), dims[2], theta)
    grid = (len(t), height, width)
    angles = torch.cat(
        [
            t[:, None, None].expand(*grid, -1),
            h[None, :, None].expand(*grid, -1),
            w[None, None, :].expand(*grid, -1),
        ],
        dim=-1,
    ).flatten(0, 2)  # (F*h*w, D/2)
    return angles.cos().float().to(device), angles.sin().float().to(device)


def apply_rope(x: Tensor, rope: Rope) -> Tensor:
    """Rotate (B, L, H, D) by (L, D/2); float32 inside, the input's dtype outside."""
    cos, sin = rope[0][None, :, None], rope[1][None, :, None]
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2).to(x.dtype)
