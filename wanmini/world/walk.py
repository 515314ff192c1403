"""Moving through the mini world: poses, actions, collisions, start places and a wanderer that makes training data.

Actions are those of the universal mode: keyboard is a multi-hot [W, S, A, D], mouse is (pitch, yaw) in its own
units, +-0.1 a frame when a camera key is held: up and right are positive. One unit is half a radian, so a held key
turns 2.9 degrees a frame, 34 degrees a block of 12 frames. One video frame passes per action frame, and action i
leads from frame i to frame i + 1: a latent frame f covers video frames 4f-3 .. 4f and its window of actions is
4f-12 .. 4f-1, exactly those that lead to it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from wanmini.draws import uniform
from wanmini.world.cast import PILLAR_RADIUS
from wanmini.world.maze import FREE, PILLAR, Maze

RADIANS_PER_UNIT = 0.5
PACE = 0.06  # cells a frame
BODY = 0.2  # radius of the walker, cells
MAX_PITCH = 0.4


@dataclass(frozen=True)
class State:
    """Poses of any batch shape: pos (..., 2) in cells, yaw and pitch (...) in radians (0 looks east, + turns right)."""

    pos: Tensor
    yaw: Tensor
    pitch: Tensor

    def at(self, *index: int | slice | Tensor | None) -> State:
        return State(self.pos[index], self.yaw[index], self.pitch[index])

    def flat(self) -> State:
        return State(self.pos.flatten(0, -2), self.yaw.flatten(), self.pitch.flatten())

    def expand(self, *shape: int) -> State:
        return State(self.pos.expand(*shape, 2), self.yaw.expand(shape), self.pitch.expand(shape))

    @staticmethod
    def stack(states: list[State], dim: int) -> State:
        return State(*(torch.stack([getattr(s, f.name) for s in states], dim) for f in fields(State)))


def step(state: State, keyboard: Tensor, mouse: Tensor, maze: Maze) -> State:
    """The pose after one frame of an action: turn, then move along the new heading, then slide out of what is hit."""
    state = stride(state, keyboard, mouse)
    return State(slide(maze, slide(maze, state.pos)), state.yaw, state.pitch)  # twice: a corner pushes from two sides


def stride(state: State, keyboard: Tensor, mouse: Tensor) -> State:
    """The same where there are no walls. Poses (n,) or (n, ...), actions (n, ..., 4) and (n, ..., 2)."""
    pitch, yaw = (RADIANS_PER_UNIT * mouse).unbind(-1)
    yaw, pitch = state.yaw + yaw, (state.pitch + pitch).clamp(-MAX_PITCH, MAX_PITCH)
    w, s, a, d = keyboard.unbind(-1)
    ahead, right = w - s, d - a
    cos, sin = yaw.cos(), yaw.sin()
    move = torch.stack((ahead * cos - right * sin, ahead * sin + right * cos), -1)
    move = move * (PACE / move.norm(dim=-1, keepdim=True).clamp(min=1))  # diagonals are not faster
    return State(state.pos + move, yaw, pitch)


def walk(maze: Maze, state: State, keyboard: Tensor, mouse: Tensor) -> State:
    """Poses (n, t) of the frames 0 .. t-1 under actions (n, t, ...); pose 0 is `state`."""
    states = [state]
    for i in range(keyboard.shape[1] - 1):
        states.append(step(states[-1], keyboard[:, i], mouse[:, i], maze))
    return State.stack(states, 1)


def slide(maze: Maze, pos: Tensor) -> Tensor:
    """Push walkers out of the wall or pillar they are deepest in. (n, 2)"""
    around = torch.tensor([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)], device=pos.device)
    cells = pos.floor().long()[:, None] + around  # (n, 9, 2)
    size = maze.kind.shape[-1]
    kind = maze.kind.flatten(1).gather(1, cells[..., 1].clamp(0, size - 1) * size + cells[..., 0].clamp(0, size - 1))
    away, distance = _nearest(pos[:, None], cells, kind == PILLAR)
    depth = torch.where(kind == FREE, 0.0, (BODY - distance).clamp(min=0))
    worst = depth.argmax(1, keepdim=True)
    push = away.gather(1, worst[..., None].expand(-1, 1, 2))[:, 0]
    return pos + push * depth.gather(1, worst)


def _nearest(pos: Tensor, cells: Tensor, pillar: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vector away from the body of each cell, and the distance to it (a wall fills its cell)."""
    from_centre = pos - cells - 0.5
    from_box = pos - torch.maximum(torch.minimum(pos, cells + 1.0), cells.float())
    offset = torch.where(pillar[..., None], from_centre, from_box)
    length = offset.norm(dim=-1).clamp(min=1e-6)
    return offset / length[..., None], length - torch.where(pillar, PILLAR_RADIUS, 0.0)


def open_start(maze: Maze, seeds: Tensor, tries: int = 12) -> State:
    """A start pose per map with room around it and a long view: the best of a few random free cells and headings."""
    size = maze.kind.shape[-1]
    cells = (uniform(seeds, 30, tries, 2) * (size - 2)).floor() + 1.5  # (n, tries, 2)
    yaw = uniform(seeds, 31, tries) * (2 * torch.pi)
    ahead = torch.stack((yaw.cos(), yaw.sin()), -1)
    free = sum(is_free(maze, cells + far * ahead).float() for far in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0))
    best = (free + 9 * is_free(maze, cells)).argmax(1, keepdim=True)
    pos = cells.gather(1, best[..., None].expand(-1, 1, 2))[:, 0]
    return State(pos, yaw.gather(1, best)[:, 0], torch.zeros_like(yaw[:, 0]))


def is_free(maze: Maze, points: Tensor) -> Tensor:
    """(n, k, 2) -> (n, k)"""
    size = maze.kind.shape[-1]
    cell = points.floor().long().clamp(0, size - 1)
    return maze.kind.flatten(1).gather(1, cell[..., 1] * size + cell[..., 0]) == FREE
