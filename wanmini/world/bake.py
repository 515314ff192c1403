"""Floor, ceiling and light of a map, painted once into small pictures that rendering only samples.

Light is what gives the world depth: skylights, lamps and glowing doors are splatted on the ground plan and blurred,
corners darken because walls are blurred into them. Shadows are not traced.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wanmini.world import palette

TEXELS = 8  # per cell
LAMP = (1.0, 0.86, 0.62)


def blur(picture: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (n, c, h, w), sigma in cells."""
    radius = max(1, round(2.5 * sigma * TEXELS))
    offsets = torch.arange(-radius, radius + 1, device=picture.device) / TEXELS
    taps = torch.exp(-0.5 * (offsets / sigma) ** 2)
    taps = (taps / taps.sum()).expand(picture.shape[1], 1, -1)
    padded = F.pad(picture, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, taps[:, :, :, None], groups=picture.shape[1])
    return F.conv2d(rows, taps[:, :, None], groups=picture.shape[1])


def bake(wall: Tensor, colours: Tensor, glow: Tensor, openings: Tensor, tiles: Tensor) -> tuple[Tensor, Tensor]:
    """(planes, light) as Maze describes them, from what each cell has: a wall, the colour of luminous faces (`glow`,
    (n, y, x, side, rgb)), an open ceiling, and a number of its own (`tiles`)."""
    opening = torch.sigmoid((blur(_texels(openings), 0.17) - 0.5) * 18)
    lamps = _texels(~openings & ~wall & _lattice(wall)) * (1 - opening)
    day = (colours[:, palette.HORIZON] * 0.4 + 0.6)[:, :, None, None]
    warm = torch.tensor(LAMP, device=wall.device)[:, None, None]
    doors = blur(_door_light(glow), 0.4) * (0.9 * TEXELS**2)
    light = 0.7 - 0.34 * blur(_texels(wall), 0.26) + 0.42 * day * blur(opening, 0.45)
    light = light + 0.3 * warm * blur(lamps, 0.3) + 0.28 * doors.clamp(max=1.6)

    floor = _floor(colours, tiles) * light
    ceiling = colours[:, palette.CEILING, :, None, None] * (0.35 + 0.55 * light)
    ceiling = ceiling + 0.15 * (4 * opening * (1 - opening)).clamp(0, 1)
    ceiling = ceiling + (1.25 * warm - ceiling) * _disc(wall.shape[-1], 0.16).to(wall.device) * lamps
    planes = torch.cat((F.pad(floor, (0, 0, 0, 0, 0, 1)), torch.cat((ceiling, opening), 1)), 2)
    return planes, light


def _texels(cells: Tensor) -> Tensor:
    """(..., y, x) per cell -> (n, c, y, x) per texel."""
    fine = cells.float().repeat_interleave(TEXELS, -2).repeat_interleave(TEXELS, -1)
    return fine if fine.dim() == 4 else fine[:, None]


def _lattice(cells: Tensor) -> Tensor:
    """Every fourth cell, the crossings between the posts of the map."""
    odd = torch.arange(cells.shape[-1], device=cells.device) % 2 == 1
    return odd[:, None] & odd


def _disc(grid: int, radius: float) -> Tensor:
    """A soft disc in the middle of every cell, (texel y, texel x)."""
    centre = (torch.arange(TEXELS) + 0.5) / TEXELS - 0.5
    return torch.sigmoid((radius - torch.hypot(centre[:, None], centre)) * 24).repeat(grid, grid)


def _door_light(glow: Tensor) -> Tensor:
    """Splat each glowing face a third of a cell in front of it. (n, y, x, side, rgb) -> (n, rgb, texel y, texel x)"""
    n, grid = glow.shape[0], glow.shape[1]
    light = torch.zeros(n, 3, grid, TEXELS, grid, TEXELS, device=glow.device)
    half, reach = TEXELS // 2, TEXELS // 3
    west, east, north, south = glow.permute(3, 0, 4, 1, 2)  # each (n, rgb, y, x)
    light[:, :, :, half, :, TEXELS - reach] += west.roll(-1, 3)
    light[:, :, :, half, :, reach] += east.roll(1, 3)
    light[:, :, :, TEXELS - reach, :, half] += north.roll(-1, 2)
    light[:, :, :, reach, :, half] += south.roll(1, 2)
    return light.reshape(n, 3, grid * TEXELS, grid * TEXELS)


def _floor(colours: Tensor, tiles: Tensor) -> Tensor:
    """Large soft tiles in two close tones; one in eight carries a painted disc to walk by."""
    n, grid = tiles.shape[0], tiles.shape[-1]
    cell = torch.arange(grid, device=tiles.device)
    chequer = ((cell[:, None] + cell) % 2).expand_as(tiles)
    tone = blur(_texels(0.9 * chequer + 0.3 * tiles - 0.1), 0.06)
    first, second = (colours[:, palette.FLOOR + i, :, None, None] for i in (0, 1))
    floor = first + (second - first) * tone

    disc = _disc(grid, 0.34).to(tiles.device) * _texels(tiles < 0.12)
    which = palette.ACCENTS + (tiles * 33).long().clamp(max=3)
    paint = colours[torch.arange(n, device=tiles.device)[:, None, None], which].permute(0, 3, 1, 2)
    return floor + (_texels(paint) - floor) * (0.75 * disc)
