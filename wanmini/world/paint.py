"""The colour of every pixel, from what its column hit: plain tensor arithmetic, so that torch.compile can fuse it.

Walls carry one painted motif each, all drawn by one signed distance (a rounded box, filled or a ring): a disc is a
box that is all corner, a door is one that sinks into the floor. Tensors are (frame, channel, row, column).
"""

from __future__ import annotations

import torch
from torch import Tensor

EYE, CEILING = 0.42, 0.92  # heights in cells
FOG = 9.0  # cells at which a surface has faded to a third
GLOW, DARK = 1.0, -1.0

# half width, half height, corner radius, centre height, ring width (0: filled), copies, GLOW / 0 matt / DARK niche
MOTIFS = (
    (-9.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0),  # plain
    (0.24, 0.24, 0.24, 0.52, 0.0, 1.0, 0.0),  # disc
    (0.21, 0.50, 0.21, 0.20, 0.0, 1.0, GLOW),  # door
    (0.25, 0.32, 0.25, 0.44, 0.0, 1.0, DARK),  # niche
    (0.10, 0.22, 0.10, 0.52, 0.0, 2.0, 0.6),  # windows
    (0.21, 0.21, 0.21, 0.52, 0.045, 1.0, 0.0),  # ring
    (0.31, 0.25, 0.05, 0.52, 0.0, 1.0, 0.0),  # panel
    (0.60, 0.07, 0.00, 0.66, 0.0, 1.0, 0.0),  # frieze
)
PILLAR_BAND = (9.0, 0.12, 0.0, 0.60, 0.0, 1.0, 0.0)  # what pillars wear: a painted band all around


def _cover(distance: Tensor, soft: float = 0.012) -> Tensor:
    """1 inside, 0 outside, a soft edge between."""
    return (0.5 - distance / (2 * soft)).clamp(0, 1)


def _rounded_box(along: Tensor, height: Tensor, motif: Tensor) -> Tensor:
    half_width, half_height, corner, centre, ring, copies, _ = motif.unbind(1)
    across = (along * copies[:, None]).frac() - 0.5
    x = across.abs() / copies[:, None] - (half_width - corner)[:, None]
    z = (height - centre[:, None]).abs() - (half_height - corner)[:, None]
    outside = torch.hypot(x.clamp(min=0), z.clamp(min=0))
    distance = outside + torch.maximum(x, z).clamp(max=0) - corner[:, None]
    return torch.where(ring[:, None] > 0, distance.abs() - ring[:, None], distance)


def wall(height: Tensor, along: Tensor, base: Tensor, accent: Tensor, motif: Tensor, light: Tensor) -> Tensor:
    """Heights (f, 1, h, w) on columns (f, c, 1, w) -> (f, 3, h, w)."""
    distance = _rounded_box(along, height, motif)
    kind = motif[:, 6:7]
    glow, dark = kind.clamp(min=0), (kind < 0).float()
    seam = torch.exp(-((torch.minimum(along, 1 - along) / 0.045) ** 2))
    plaster = base * (0.9 + 0.14 * (height / CEILING).clamp(0, 1)) * (1 - 0.13 * seam)
    plaster = plaster * (1 - 0.2 * _cover(height - 0.2)) * (1 - 0.2 * _cover(height - 0.05))
    plaster = plaster + 0.08 * _cover(CEILING - 0.06 - height)
    recess = base * (0.45 + 0.3 * _cover(height - 0.45, 0.4))
    core = _cover(distance + 0.08, 0.14)
    painted = accent + (1 - accent) * (0.55 * glow * core)
    painted = painted + (recess - painted) * dark
    corners = (1 - 0.28 * torch.exp(height.clamp(min=0) / -0.09)) * (1 - 0.14 * torch.exp((height - CEILING) / 0.12))
    shade = light * corners
    inside = _cover(distance)
    halo = 0.45 * glow * torch.exp(distance.clamp(min=0) / -0.08) * (1 - inside)
    lit_paint = painted * (shade + (1.05 - shade) * glow)
    return plaster * shade + (lit_paint - plaster * shade) * inside + accent * halo


def sky(slope: Tensor, ray: Tensor, sun: Tensor, zenith: Tensor, horizon: Tensor) -> Tensor:
    """A vertical gradient, a warm glow around the sun and two broad waves of cloud."""
    length = torch.sqrt((ray * ray).sum(1, keepdim=True) + slope * slope)
    up = slope / length
    towards = (ray * sun[:, :, None, None]).sum(1, keepdim=True) / length * 0.8 + up * 0.6
    reach = 1 / up.clamp(min=0.15)
    cloud = torch.sin(1.7 * ray[:, :1] / length * reach + 1) * torch.sin(1.3 * ray[:, 1:] / length * reach)
    colour = horizon + (zenith - horizon) * (up * 1.5).clamp(0, 1).sqrt()
    colour = colour + (1 - colour) * (0.22 * cloud.clamp(min=0))
    return colour + (1.0 - 0.6 * colour) * (0.55 * torch.exp(7 * (towards - 1)))


def compose(
    depth: Tensor, slope: Tensor, walls: Tensor, planes: Tensor, height: Tensor, skies: Tensor, fog: Tensor
) -> Tensor:
    """Choose wall, floor, ceiling or sky per pixel and fade surfaces into the distance."""
    is_wall = (height >= 0) & (height <= CEILING)
    surface = torch.where(is_wall, walls, planes[:, :3])
    clear = torch.exp(-((depth / FOG) ** 1.6))
    surface = fog + (surface - fog) * clear
    opening = planes[:, 3:] * (~is_wall & (slope > 0))
    colour = surface + (skies - surface) * opening
    return colour / (1 + (colour - 0.85).clamp(min=0))  # highlights bend over instead of clipping
