"""A wanderer whose walks are the training data: it strolls, turns, looks about, stands still, and mostly minds the walls.

Its moods last a few frames to three blocks, as a player's do. One time in seven it does run into a wall, because
sliding along one has to be learned too. A walk is a pure function of the map and the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wanmini.draws import uniform
from wanmini.world.maze import Maze
from wanmini.world.walk import State, is_free, open_start, step

# odds, W, S, A, D, turning (0, 1), looking up or down (0, 1)
MOODS = (
    (0.24, 1, 0, 0, 0, 0, 0),
    (0.19, 1, 0, 0, 0, 1, 0),
    (0.17, 0, 0, 0, 0, 1, 0),
    (0.07, 0, 0, 1, 0, 0, 0),
    (0.07, 0, 0, 0, 1, 0, 0),
    (0.07, 0, 1, 0, 0, 0, 0),
    (0.03, 1, 0, 1, 0, 0, 0),
    (0.03, 1, 0, 0, 1, 0, 0),
    (0.02, 0, 0, 0, 0, 0, 1),
    (0.02, 1, 0, 0, 0, 0, 1),
    (0.09, 0, 0, 0, 0, 0, 0),
)
TURNING_MOOD = 2
CAMERA = 0.1  # mouse units a frame while a camera key is held


@dataclass(frozen=True)
class Walk:
    """Actions (n, t, 4) and (n, t, 2) and the poses (n, t) they lead through."""

    keyboard: Tensor
    mouse: Tensor
    states: State


def wander(maze: Maze, seeds: Tensor, frames: int) -> Walk:
    """A walk of `frames` frames in each map, from an open place."""
    moods = torch.tensor(MOODS, device=seeds.device)
    odds = moods[:, 0].cumsum(0)
    chance = uniform(seeds, 40, frames, 6)  # (n, t, which)
    state = open_start(maze, seeds)
    left = torch.zeros(len(seeds), device=seeds.device)  # frames until the mood changes
    mood = torch.zeros(len(seeds), dtype=torch.long, device=seeds.device)
    speed = torch.zeros(len(seeds), 2, device=seeds.device)  # of the camera, while it moves
    states, keyboards, mice = [], [], []
    for i in range(frames):
        u = chance[:, i]
        fresh = left <= 0
        drawn = torch.searchsorted(odds, u[:, 0].contiguous()).clamp(max=len(MOODS) - 1)
        mood = torch.where(fresh, drawn, mood)
        speed = torch.where(fresh[:, None], _camera_speed(u, state), speed)
        left = torch.where(fresh, 5 + (u[:, 1] * 32).floor(), left) - 1
        blocked = _facing_wall(maze, state, moods[mood, 1:5]) & (u[:, 2] < 0.14)
        mood = torch.where(blocked, TURNING_MOOD, mood)
        left = torch.where(blocked, 8 + (u[:, 1] * 16).floor(), left)
        speed = torch.where(blocked[:, None], _escape(maze, state, speed), speed)
        keyboard, mouse = moods[mood, 1:5], moods[mood][:, [6, 5]] * speed
        states.append(state)
        keyboards.append(keyboard)
        mice.append(mouse)
        state = step(state, keyboard, mouse, maze)
    return Walk(torch.stack(keyboards, 1), torch.stack(mice, 1), State.stack(states, 1))


def _camera_speed(u: Tensor, state: State) -> Tensor:
    """(pitch, yaw) units a frame: three times in four the value of a held key; a tilted head goes back level."""
    size = torch.where(u[:, 3] < 0.75, CAMERA, 0.02 + 0.12 * u[:, 4])
    aside = torch.where(u[:, 5] < 0.5, -1.0, 1.0)
    upright = torch.where(state.pitch.abs() > 0.12, -state.pitch.sign(), aside)
    return torch.stack((size * upright, size * aside), -1)


def _heading(state: State, angle: float | Tensor = 0.0) -> Tensor:
    return torch.stack(((state.yaw + angle).cos(), (state.yaw + angle).sin()), -1)


def _facing_wall(maze: Maze, state: State, keyboard: Tensor) -> Tensor:
    """Whether the way it is going is blocked within two thirds of a cell."""
    ahead, right = keyboard[:, 0] - keyboard[:, 1], keyboard[:, 3] - keyboard[:, 2]
    way = _heading(state) * ahead[:, None] + _heading(state, torch.pi / 2) * right[:, None]
    return ~is_free(maze, (state.pos + 0.65 * way)[:, None])[:, 0] & (way.abs().sum(-1) > 0)


def _escape(maze: Maze, state: State, speed: Tensor) -> Tensor:
    """Turn to the side with more room; either side when both are alike."""
    left, right = (_room(maze, state, angle) for angle in (-1.1, 1.1))
    more = (right - left).sign()
    yaw = torch.where(more == 0, speed[:, 1].sign(), more) * CAMERA
    return torch.stack((speed[:, 0], yaw), -1)


def _room(maze: Maze, state: State, angle: float) -> Tensor:
    """How many of three points in that direction are free."""
    points = [state.pos + far * _heading(state, angle) for far in (0.6, 1.2, 1.8)]
    return is_free(maze, torch.stack(points, 1)).float().sum(1)
