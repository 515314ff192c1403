"""Which of several ways of moving explains a stretch of video, whatever place it shows.

Of the place only this is known: a floor and a ceiling at their heights, and upright walls between them. How far the wall
in each column of a picture is, is left open, so every way of moving takes the distances that suit it best; what it
cannot explain with any is its misfit. A generator that made up its own maze is judged like one that copied the map.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from wanmini.world.render import depth_before_walls, points_seen, project
from wanmini.world.walk import State

NEAR, FAR, DISTANCES = 0.2, 10.0, 12  # of walls, in cells
TOGETHER = 9  # neighbouring columns share a distance: one alone finds something alike in any picture
ENOUGH = 0.25  # share of a column that must have been in view before


def misfit(pictures: Tensor, ways: State) -> Tensor:
    """Of each way of moving, poses (n, ways, t), as an explanation of pictures (n, t, 3, h, w): (n, ways)."""
    pairs = itertools.pairwise(range(pictures.shape[1]))
    steps = [
        _misfit(
            pictures[:, a], pictures[:, b], ways.at(slice(None), slice(None), a), ways.at(slice(None), slice(None), b)
        )
        for a, b in pairs
    ]
    return torch.stack(steps).sum(0)


def _misfit(before: Tensor, after: Tensor, start: State, end: State) -> Tensor:
    """Mean squared difference over the columns that every way can explain; infinite if there is none. Poses (n, ways)."""
    n, ways = start.yaw.shape
    columns = _column_errors(before, after, start, end)
    error, seen = (v.unflatten(0, (n, ways)) for v in columns)  # (n, ways, distances, w)
    known = seen > ENOUGH
    best = torch.where(known, error / seen.clamp(min=ENOUGH), torch.inf).amin(2)  # (n, ways, w)
    shared = best.isfinite().all(1, keepdim=True)
    total = torch.where(shared, best, 0.0).sum(-1) / shared.sum(-1).clamp(min=1)
    return torch.where(shared.any(-1), total, torch.inf)


def _column_errors(before: Tensor, after: Tensor, start: State, end: State) -> tuple[Tensor, Tensor]:
    """For walls at each distance: the mean over a column of what `after` differs from `before` seen from the other pose,
    counting pixels that were in view, and the share of those: (n * ways, distances, w) both."""
    ways, size = start.yaw.shape[1], (after.shape[-2], after.shape[-1])
    start, end = start.flat(), end.flat()
    ends = end.at(slice(None), None).expand(-1, DISTANCES)
    nearest, farthest = torch.tensor((NEAR, FAR)).log10().tolist()
    walls = torch.logspace(nearest, farthest, DISTANCES, device=after.device)
    depth = depth_before_walls(walls.expand(len(end.yaw), -1)[..., None], ends.pitch, size)
    pixel, far = project(points_seen(ends, depth), start, size)
    corner = torch.tensor((size[1], size[0]), device=after.device)
    seen = ((far > 0.05) & (pixel >= 0).all(-1) & (pixel < corner).all(-1)).float()
    grid = (pixel / corner * 2 - 1).flatten(1, 2)  # the distances one above the other
    moved = F.grid_sample(before.repeat_interleave(ways, 0), grid, padding_mode="border", align_corners=False)
    moved = moved.unflatten(2, (DISTANCES, -1)).transpose(1, 2)  # (n * ways, distances, 3, h, w)
    error = (moved - after.repeat_interleave(ways, 0)[:, None]).pow(2).mean(2) * seen
    return _smooth(error.mean(2)), _smooth(seen.mean(2))


def _smooth(columns: Tensor) -> Tensor:
    return F.avg_pool1d(columns, TOGETHER, 1, TOGETHER // 2, count_include_pad=False)
