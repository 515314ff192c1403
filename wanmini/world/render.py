"""Pictures of the mini world: render(maze, state) for one moment, rollout(...) for a video under given actions.

A picture depends on the map and the pose alone. It is drawn at twice the size and averaged, which keeps edges
smooth while the camera moves. What limits speed is memory traffic, so frames are drawn a few dozen at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from wanmini.world import paint, palette
from wanmini.world.cast import Hits, cast
from wanmini.world.maze import GRID, Maze
from wanmini.world.walk import State, walk

HEIGHT, WIDTH = 96, 160
SUPERSAMPLE = 2
FIELD_OF_VIEW = math.radians(80)  # horizontal
Shader = Callable[..., Tensor]
FOCAL = 0.5 / math.tan(FIELD_OF_VIEW / 2)  # in picture widths


def render(maze: Maze, state: State, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Tensor:
    """Pictures in [0, 1], (n, 3, h, w), of map i at pose i."""
    return draw(maze, state.at(slice(None), None), size)[:, 0]


def draw(maze: Maze, states: State, size: tuple[int, int] = (HEIGHT, WIDTH), shader: Shader | None = None) -> Tensor:
    """Pictures (n, t, 3, h, w) of t poses in each of n maps; `shader` may be a compiled `shade`."""
    height, width = size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE
    n, t = states.yaw.shape
    ray = _rays(states.yaw, width)  # (n, t, w, 2)
    origin = states.pos[:, :, None].expand_as(ray)
    hits = cast(maze, origin.flatten(1, 2), ray.flatten(1, 2))
    ray, origin = (v.permute(0, 1, 3, 2).reshape(n * t, 2, 1, width) for v in (ray, origin))
    depth = hits.depth.reshape(n * t, 1, 1, width)
    slope = _slopes(states.pitch, height, width).reshape(n * t, 1, height, 1)
    columns = _columns(maze, hits, t)
    picture = (shader or shade)(origin, ray, depth, slope, columns, maze.planes, maze.palette, maze.sun)
    return picture.unflatten(0, (n, t))


def shade(
    origin: Tensor, ray: Tensor, depth: Tensor, slope: Tensor, columns: tuple[Tensor, ...],
    planes: Tensor, colours: Tensor, sun: Tensor,
) -> Tensor:  # fmt: skip
    """Everything that is done for each pixel: rays and depths of columns, slopes of rows -> pictures (n * t, 3, h, w)."""
    t = len(ray) // len(planes)
    wall_height = paint.EYE + slope * depth
    rise = torch.where(slope > 0, paint.CEILING, 0.0) - paint.EYE
    is_wall = (wall_height >= 0) & (wall_height <= paint.CEILING)
    far = torch.where(is_wall, depth, rise / torch.where(slope.abs() < 1e-4, 1e-4, slope))
    plane = _sample_planes(planes, origin + ray * far, slope > 0, t)
    colours, sun = colours.repeat_interleave(t, 0)[..., None, None], sun.repeat_interleave(t, 0)
    zenith, fog = colours[:, palette.ZENITH], colours[:, palette.HORIZON]
    skies = paint.sky(slope, ray, sun, zenith, fog)
    picture = paint.compose(far, slope, paint.wall(wall_height, *columns), plane, wall_height, skies, fog)
    return F.avg_pool2d(picture, SUPERSAMPLE).clamp(0, 1)


def film(maze: Maze, states: State, size: tuple[int, int] = (HEIGHT, WIDTH), frames_at_once: int = 8) -> Tensor:
    """The same as video (n, 3, t, h, w) in [-1, 1], a few frames at a time: on a CPU that is three times as fast."""
    each = max(1, frames_at_once // len(maze))
    frames = range(0, states.yaw.shape[1], each)
    parts = [draw(maze, states.at(slice(None), slice(i, i + each)), size) for i in frames]
    return torch.cat(parts, 1).transpose(1, 2) * 2 - 1


def rollout(maze: Maze, state: State, keyboard: Tensor, mouse: Tensor) -> Tensor:
    """Video (n, 3, t, h, w) in [-1, 1] for actions (n, t, 4) and (n, t, 2): frame 0 shows `state`, action i leads
    from frame i to frame i + 1 (see walk), so the last action is not seen."""
    return film(maze, walk(maze, state, keyboard, mouse))


def _rays(yaw: Tensor, width: int) -> Tensor:
    """Directions on the ground whose forward component is 1: depth along them is distance from the image plane."""
    across = ((torch.arange(width, device=yaw.device) + 0.5) / width - 0.5) / FOCAL
    forward = torch.stack((yaw.cos(), yaw.sin()), -1)[..., None, :]
    right = torch.stack((-yaw.sin(), yaw.cos()), -1)[..., None, :]
    return forward + across[:, None] * right


def _slopes(pitch: Tensor, height: int, width: int) -> Tensor:
    """Rise per unit of depth of every row; looking up moves the horizon down by tan(pitch)."""
    rows = (height / 2 - torch.arange(height, device=pitch.device) - 0.5) / (width * FOCAL)
    return rows + torch.tan(pitch)[..., None]


def _grid(points: Tensor) -> Tensor:
    """Cells to the coordinates of grid_sample."""
    return points / (GRID / 2) - 1


def _sample_planes(planes: Tensor, points: Tensor, upwards: Tensor, t: int) -> Tensor:
    """Floor or ceiling under points (n * t, 2, h, w); their pictures lie one above the other."""
    x, y = points.unbind(1)
    y = (y.clamp(0, GRID) + GRID * upwards[:, 0]) / 2
    grid = _grid(torch.stack((x, y), -1)).unflatten(0, (-1, t))
    picture = F.grid_sample(planes, grid.flatten(1, 2), padding_mode="border", align_corners=False)
    return picture.unflatten(2, (t, -1)).transpose(1, 2).flatten(0, 1)


def _columns(maze: Maze, hits: Hits, t: int) -> tuple[Tensor, ...]:
    """What paint.wall needs to know about each column: (n * t, channels, 1, width)."""
    maps = torch.arange(len(maze), device=hits.x.device)[:, None]
    pillar = hits.side == 4
    face = hits.side.clamp(max=3)
    motifs = torch.tensor((*paint.MOTIFS, paint.PILLAR_BAND), device=hits.x.device)
    motif = motifs[torch.where(pillar, len(paint.MOTIFS), maze.motif[maps, hits.y, hits.x, face])]
    accent = maze.accent[maps, hits.y, hits.x, torch.where(pillar, 0, face)]
    base = maze.wall[maps, hits.y, hits.x]
    base = torch.where(pillar[..., None], 0.5 * base + 0.46, base)
    columns = [hits.along[..., None], base, accent, motif, _column_light(maze, hits)]
    return tuple(c.unflatten(1, (t, -1)).permute(0, 1, 3, 2).flatten(0, 1)[:, :, None] for c in columns)


def _column_light(maze: Maze, hits: Hits) -> Tensor:
    """Light in front of the wall, times how much the surface looks towards the sun."""
    local = torch.stack((hits.x, hits.y), -1) + 0.5
    across = torch.stack((-hits.normal[..., 1], hits.normal[..., 0]), -1).abs() * (hits.along[..., None] - 0.5)
    point = local + hits.normal * 0.62 + across * (hits.side < 4)[..., None]
    light = F.grid_sample(maze.light, _grid(point)[:, None], padding_mode="border", align_corners=False)
    facing = (hits.normal * maze.sun[:, None]).sum(-1)
    return light[:, :, 0].transpose(1, 2) * (1.12 + 0.2 * facing)[..., None]


def depth_map(maze: Maze, states: State, size: tuple[int, int]) -> Tensor:
    """How far every pixel is, (n, t, h, w), along rays whose forward component is 1; the sky is as far as the ceiling."""
    ray = _rays(states.yaw, size[1])
    hits = cast(maze, states.pos[:, :, None].expand_as(ray).flatten(1, 2), ray.flatten(1, 2))
    return depth_before_walls(hits.depth.unflatten(1, (-1, size[1])), states.pitch, size)


def depth_before_walls(wall: Tensor, pitch: Tensor, size: tuple[int, int]) -> Tensor:
    """The same, given how far the wall of each column is, (n, t, w or 1): floor or ceiling may come first."""
    slope = _slopes(pitch, *size)[..., None]
    rise = torch.where(slope > 0, paint.CEILING, 0.0) - paint.EYE
    return torch.minimum(wall[:, :, None], rise / torch.where(slope.abs() < 1e-4, 1e-4, slope)).expand(
        *pitch.shape, *size
    )


def points_seen(states: State, depth: Tensor) -> Tensor:
    """Where in the world the pixels of a depth map are: (n, t, h, w, 3) of x, y and height over the eye."""
    height, width = depth.shape[-2:]
    ray = _rays(states.yaw, width)[:, :, None]  # (n, t, 1, w, 2)
    ground = states.pos[:, :, None, None] + ray * depth[..., None]
    return torch.cat((ground, (_slopes(states.pitch, height, width)[..., None] * depth)[..., None]), -1)


def project(points: Tensor, state: State, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Pixel coordinates (x, y) (..., 2) and depth (...) of world points (n, ..., 3) in the picture of a pose (n,)."""
    height, width = size
    apart = (slice(None), *(None,) * (points.dim() - 2))
    cos, sin, pitch = state.yaw.cos()[apart], state.yaw.sin()[apart], state.pitch[apart]
    x, y = (points[..., :2] - state.pos[apart]).unbind(-1)
    depth = x * cos + y * sin
    safe = depth.clamp(min=1e-3)
    column = ((y * cos - x * sin) / safe * FOCAL + 0.5) * width
    row = height / 2 - (points[..., 2] / safe - torch.tan(pitch)) * width * FOCAL
    return torch.stack((column, row), -1), depth
