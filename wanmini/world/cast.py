"""Where the rays of a picture meet walls and pillars.

Pitch moves the horizon and nothing else, so all pixels of a column share one ray on the ground plan: a picture is
a few hundred rays, not tens of thousands. All rays of a batch walk their grids together (DDA), one cell a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wanmini.world.maze import PILLAR, WALL, Maze

PILLAR_RADIUS = 0.3
MAX_CELLS = 34  # a straight line crosses no more cells of the grid


@dataclass(frozen=True)
class Hits:
    """What each ray meets first; every field is (n, rays)."""

    depth: Tensor  # in units of the ray's direction vector: perpendicular distance for camera rays
    x: Tensor  # cell
    y: Tensor
    side: Tensor  # face of a wall; 4 for a pillar
    along: Tensor  # 0..1 across the face, or around the pillar
    normal: Tensor  # (n, rays, 2)


def cast(maze: Maze, origin: Tensor, direction: Tensor) -> Hits:
    """First hit of rays origin + depth * direction, both (n, rays, 2); map i serves row i."""
    safe = torch.where(direction.abs() < 1e-6, torch.full_like(direction, 1e-6), direction)
    ahead = safe > 0
    stride = torch.where(ahead, 1, -1)
    delta = 1 / safe.abs()
    cell = origin.floor().long()
    reach = torch.where(ahead, cell + 1 - origin, origin - cell) * delta  # depth of the next crossing in x, in y
    entered = torch.zeros_like(origin[..., 0])
    axis = torch.zeros_like(cell[..., 0])
    depth = torch.full_like(entered, torch.inf)
    final_cell, final_axis, pillar = cell, axis, torch.zeros_like(axis, dtype=torch.bool)

    for _ in range(MAX_CELLS):
        kind = _kind_at(maze, cell)
        round_depth = _circle(origin, direction, cell)
        is_round = (kind == PILLAR) & (round_depth > 0)
        hit = (is_round | (kind == WALL)) & depth.isinf()
        depth = torch.where(hit, torch.where(is_round, round_depth, entered), depth)
        final_cell = torch.where(hit[..., None], cell, final_cell)
        final_axis = torch.where(hit, axis, final_axis)
        pillar = pillar | (hit & is_round)
        go_x = reach[..., 0] < reach[..., 1]
        entered = torch.where(go_x, reach[..., 0], reach[..., 1])
        axis = torch.where(go_x, 0, 1)
        move = torch.stack((go_x, ~go_x), -1)
        cell = torch.where(move, cell + stride, cell)
        reach = torch.where(move, reach + delta, reach)
    return _describe(origin, direction, depth, final_cell, final_axis, stride, pillar)


def _kind_at(maze: Maze, cell: Tensor) -> Tensor:
    size = maze.kind.shape[-1]
    inside = cell.clamp(0, size - 1)
    return maze.kind.flatten(1).gather(1, inside[..., 1] * size + inside[..., 0])


def _circle(origin: Tensor, direction: Tensor, cell: Tensor) -> Tensor:
    """Depth at which the ray enters the pillar of a cell; negative where it misses."""
    offset = origin - (cell + 0.5)
    a = (direction * direction).sum(-1)
    b = (offset * direction).sum(-1)
    c = (offset * offset).sum(-1) - PILLAR_RADIUS**2
    discriminant = b * b - a * c
    return torch.where(discriminant > 0, (-b - discriminant.clamp(min=0).sqrt()) / a, -1.0)


def _describe(
    origin: Tensor, direction: Tensor, depth: Tensor, cell: Tensor, axis: Tensor, stride: Tensor, pillar: Tensor
) -> Hits:
    local = origin + depth[..., None] * direction - cell  # the hit inside its cell
    backwards = stride.gather(-1, axis[..., None])[..., 0] < 0
    side = torch.where(pillar, 4, axis * 2 + backwards.long())  # heading east meets a face that looks west (0)
    flat = torch.zeros_like(local).scatter(-1, axis[..., None], torch.where(backwards, 1.0, -1.0)[..., None])
    normal = torch.where(pillar[..., None], (local - 0.5) / PILLAR_RADIUS, flat)
    across = torch.where(axis == 0, local[..., 1], local[..., 0])
    around = torch.atan2(normal[..., 1], normal[..., 0]) / (2 * torch.pi) + 0.5
    return Hits(depth, cell[..., 0], cell[..., 1], side, torch.where(pillar, around, across), normal)
