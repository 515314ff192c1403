"""Maps of the mini world: a square grid of free cells, walls and round pillars, with colours and painted motifs.

Walls grow from the posts of a lattice towards east or south only, so they never close a loop: every free cell can
be reached, without a search, for thousands of maps at once. Posts without a wall become pillars, blocks or nothing.
A map is a pure function of its seed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from wanmini.draws import integers, uniform
from wanmini.world import bake, palette

GRID = 17  # cells a side, border included; odd, posts sit on even coordinates
FREE, WALL, PILLAR = 0, 1, 2
WEST, EAST, NORTH, SOUTH = range(4)  # the side a face looks to; x grows east, y grows south
STEPS = torch.tensor([[-1, 0], [1, 0], [0, -1], [0, 1]])

# How often each motif of paint.MOTIFS is drawn on a face: plain, disc, door, niche, windows, ring, tall panel, frieze
MOTIF_ODDS = (0.34, 0.12, 0.13, 0.11, 0.08, 0.08, 0.07, 0.07)
DOOR = 2


@dataclass(frozen=True)
class Maze:
    """A batch of n maps. `planes` and `light` are baked pictures of floor, ceiling and light (see bake)."""

    kind: Tensor  # (n, y, x) FREE, WALL or PILLAR
    wall: Tensor  # (n, y, x, rgb) colour of the region a cell belongs to
    accent: Tensor  # (n, y, x, side, rgb) paint of a face
    motif: Tensor  # (n, y, x, side) index into paint.MOTIFS
    palette: Tensor  # (n, colour, rgb)
    sun: Tensor  # (n, 2) unit vector towards the sun, on the ground
    planes: Tensor  # (n, rgb + openness, 2 * texels, texels) floor above ceiling
    light: Tensor  # (n, rgb, texels, texels)

    @staticmethod
    def generate(seed: int, n: int, device: torch.device | str = "cpu") -> Maze:
        """Maps seed .. seed + n - 1."""
        return Maze.from_seeds(torch.arange(seed, seed + n, device=device))

    @staticmethod
    def from_seeds(seeds: Tensor) -> Maze:
        kind = _layout(seeds)
        colours = palette.table().to(seeds.device)[integers(seeds, 10, len(palette.PALETTES))]
        wall, accent, motif = _paint(seeds, colours)
        angle = uniform(seeds, 14) * 2 * torch.pi
        sun = torch.stack((angle.cos(), angle.sin()), -1)
        glow = accent * (_visible(kind) & (motif == DOOR))[..., None]
        planes, light = bake.bake(kind == WALL, colours, glow, _openings(seeds, kind), uniform(seeds, 16, GRID, GRID))
        return Maze(kind, wall, accent, motif, colours, sun, planes, light)

    def __len__(self) -> int:
        return self.kind.shape[0]

    def __getitem__(self, index: Tensor | slice) -> Maze:
        return Maze(*(getattr(self, f.name)[index] for f in fields(self)))


def _layout(seeds: Tensor) -> Tensor:
    n, posts = len(seeds), GRID // 2 - 1
    arm = uniform(seeds, 1, posts, posts) < 0.58
    east = uniform(seeds, 2, posts, posts) < 0.5
    lonely = uniform(seeds, 3, posts, posts)

    kind = torch.zeros(n, GRID, GRID, dtype=torch.long, device=seeds.device)
    kind[:, 2:-2:2, 2:-2:2] = torch.where(lonely < 0.5, PILLAR, torch.where(lonely < 0.65, WALL, FREE))
    kind[:, 2:-2:2, 2:-2:2][arm] = WALL
    kind[:, 2:-2:2, 3:-1:2][arm & east] = WALL
    kind[:, 3:-1:2, 2:-2:2][arm & ~east] = WALL
    # the post an arm reaches is part of the wall
    kind[:, 2:-2:2, 4:-2:2][(arm & east)[:, :, :-1]] = WALL
    kind[:, 4:-2:2, 2:-2:2][(arm & ~east)[:, :-1]] = WALL
    kind[:, [0, -1]] = WALL
    kind[:, :, [0, -1]] = WALL
    # walls lean east and south: mirror and transpose at random so that no direction is special
    turn = uniform(seeds, 4, 3) < 0.5
    for i, flip in enumerate((lambda k: k.flip(1), lambda k: k.flip(2), lambda k: k.transpose(1, 2))):
        kind = torch.where(turn[:, i, None, None], flip(kind), kind)
    return kind


def _paint(seeds: Tensor, colours: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Regions of about 5 x 5 cells share a wall colour; every face draws its own motif and accent."""
    maps = torch.arange(len(seeds), device=seeds.device)[:, None, None]
    region = integers(seeds, 11, 4, 5, 5).repeat_interleave(4, 1).repeat_interleave(4, 2)[:, 1 : GRID + 1, 1 : GRID + 1]
    value = 0.95 + 0.1 * uniform(seeds, 12, GRID, GRID, 1)
    wall = colours[maps, palette.WALLS + region] * value
    accent = colours[maps[..., None], palette.ACCENTS + integers(seeds, 13, 4, GRID, GRID, 4)]
    odds = torch.tensor(MOTIF_ODDS, device=seeds.device).cumsum(0)
    motif = torch.searchsorted(odds, uniform(seeds, 15, GRID, GRID, 4)).clamp(max=len(MOTIF_ODDS) - 1)
    return wall, accent, motif


def _visible(kind: Tensor) -> Tensor:
    """(n, y, x, side): the face belongs to a wall and looks into a cell one can stand in."""
    sides = [kind.roll((-int(dy), -int(dx)), (1, 2)) != WALL for dx, dy in STEPS]
    return (kind == WALL)[..., None] & torch.stack(sides, -1)


def _openings(seeds: Tensor, kind: Tensor) -> Tensor:
    """Cells without a ceiling: some single ones, more where the map is wide open."""
    inside = (kind != WALL).float()
    room = torch.nn.functional.avg_pool2d(inside[:, None], 3, 1, 1)[:, 0]
    return (kind != WALL) & (uniform(seeds, 17, GRID, GRID) < 0.12 + 0.8 * (room > 0.85))
