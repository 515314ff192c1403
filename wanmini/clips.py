"""Training clips, drawn when they are needed and never twice: walks through the mini world and captioned scenes.

Seeds below HELD_OUT are for training; judges and evaluations use those from HELD_OUT on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from wanmini.scenes import Scenes, captions, draw
from wanmini.world.maze import Maze
from wanmini.world.render import Shader, shade
from wanmini.world.render import draw as draw_world
from wanmini.world.walk import State
from wanmini.world.wander import Walk, wander

HELD_OUT = 1 << 30
STROLL = 40  # frames walked before every second clip begins, so that clips begin anywhere
WALKS_AT_ONCE = 128
FRAMES_AT_ONCE = 256  # drawn together; bounds memory


@dataclass(frozen=True)
class WorldClips:
    """Walks: video (n, 3, t, h, w) in [-1, 1], keyboard (n, t, 4), mouse (n, t, 2)."""

    video: Tensor
    keyboard: Tensor
    mouse: Tensor


class WorldSource:
    """Walks in maps of their own. Poses are worked out for many walks at once: on a GPU that costs the same as for few."""

    def __init__(
        self,
        seed: int,
        device: torch.device,
        size: tuple[int, int],
        shader: Shader = shade,
        at_once: int = WALKS_AT_ONCE,
    ):
        self.next_seed, self.device, self.size, self.shader, self.at_once = seed, device, size, shader, at_once
        self.stock: tuple[Maze, Walk] | None = None
        self.used = 0

    @torch.no_grad()
    def draw(self, n: int, frames: int) -> WorldClips:
        """The next n walks."""
        if self.stock is None or self.used + n > self.at_once or self.stock[1].keyboard.shape[1] != frames + STROLL:
            self._restock(n, frames)
        assert self.stock is not None
        maze, walk = self.stock
        rows = torch.arange(self.used, self.used + n, device=self.device)
        self.used += n
        frame = (rows % 2 * STROLL)[:, None] + torch.arange(frames, device=self.device)
        video = self._pictures(maze[rows], walk.states.at(rows[:, None], frame))
        return WorldClips(video, walk.keyboard[rows[:, None], frame], walk.mouse[rows[:, None], frame])

    def _restock(self, n: int, frames: int) -> None:
        count = max(n, self.at_once)
        seeds = torch.arange(self.next_seed, self.next_seed + count, device=self.device)
        self.next_seed, self.used = self.next_seed + count, 0
        maze = Maze.from_seeds(seeds)
        self.stock = maze, wander(maze, seeds, frames + STROLL)

    def _pictures(self, maze: Maze, states: State) -> Tensor:
        n, frames = states.yaw.shape
        each = min(frames, max(1, FRAMES_AT_ONCE // n))
        video = torch.empty(n, frames, 3, *self.size, device=self.device)
        for i in range(0, frames, each):
            i = min(i, frames - each)  # the last part overlaps the one before: one shape for all, compiled once
            part = states.at(slice(None), slice(i, i + each))
            video[:, i : i + each] = draw_world(maze, part, self.size, self.shader)
        return video.transpose(1, 2) * 2 - 1


class MirroredWalks:
    """Videos of walks; every second time earlier ones again, mirrored, because drawing them takes as long as an update."""

    def __init__(self, source: WorldSource):
        self.source = source
        self.earlier: deque[Tensor] = deque(maxlen=8)

    def draw(self, step: int, n: int, frames: int) -> Tensor:
        """Video (n, 3, t, h, w) for an update."""
        if step % 2 and self.earlier:
            return self.earlier.popleft().flip(-1)
        self.earlier.append(self.source.draw(n, frames).video)
        return self.earlier[-1]


class SceneSource:
    """Scenes and what is said about them: video (n, 3, t, h, w) in [-1, 1] and n captions."""

    def __init__(self, seed: int, device: torch.device, size: tuple[int, int]):
        self.next_seed, self.device, self.size = seed, device, size

    @torch.no_grad()
    def draw(self, n: int, frames: int) -> tuple[Tensor, list[str]]:
        scenes = Scenes.sample(torch.arange(self.next_seed, self.next_seed + n))
        self.next_seed += n
        on_device = scenes.to(self.device)
        parts = [draw(on_device[i : i + 8], frames, self.size) for i in range(0, n, 8)]
        return torch.cat(parts), captions(scenes)
