"""Scenes as video: signed-distance shapes with a soft light on them, a soft shadow below, a calm backdrop behind.

Backdrops hardly have a hue and objects have a strong one: pretty, easy for a small VAE, and a judge can tell them
apart by colour alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wanmini.scenes.attributes import FRAMES, HEIGHT, SHAPES, WIDTH, Scenes, paths

CIRCLE, SQUARE, TRIANGLE, STAR, RING, CROSS = range(len(SHAPES))
RGB = ((0.86, 0.16, 0.16), (0.96, 0.53, 0.10), (0.97, 0.85, 0.16), (0.20, 0.66, 0.27),
       (0.12, 0.78, 0.80), (0.16, 0.36, 0.88), (0.52, 0.24, 0.78), (0.97, 0.42, 0.68))  # fmt: skip
BACKDROPS = (((0.97, 0.97, 0.97), (0.86, 0.87, 0.89)), ((0.66, 0.67, 0.69), (0.47, 0.48, 0.51)),
             ((0.10, 0.11, 0.15), (0.20, 0.21, 0.27)), ((0.93, 0.90, 0.83), (0.82, 0.77, 0.68)),
             ((0.80, 0.86, 0.93), (0.91, 0.93, 0.95)), ((0.44, 0.41, 0.50), (0.66, 0.58, 0.62)))  # top, bottom  # fmt: skip

# Shapes with an outline of points: how many, the radius of the inner corners, and the turn that stands them upright
POINTS = (4.0, 4.0, 3.0, 5.0, 4.0, 4.0)
INNER = (0.707, 0.707, 0.5, 0.5, 0.707, 0.707)  # cos(pi / points) is a regular polygon
OUTER = (1.0, 1.22, 1.4, 1.45, 1.15, 1.15)  # circumradius of each shape, so that areas look alike
BAR = 0.36  # half width of a cross's bars, of its radius
BAND = 0.27  # half width of a ring's band

SOFT_SHADOW = 5.0  # pixels


def draw(scenes: Scenes, frames: int = FRAMES, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Tensor:
    """Videos (n, 3, frames, height, width) in [-1, 1]; the scene keeps its proportions at other sizes."""
    scale = HEIGHT / size[0]
    y, x = ((torch.arange(length, device=scenes.shape.device) + 0.5) * scale for length in size)
    centres, radii = paths(scenes, frames)
    picture = _backdrop(scenes, y, x).repeat(1, frames, 1, 1, 1)  # (n, frames, 3, h, w)
    for i in range(int(scenes.count.max())):
        has = scenes.count > i
        dx, dy = x - centres[has, :, i, :1, None], y[:, None] - centres[has, :, i, 1:, None]
        picture[has] = _place(scenes[has], picture[has], dx, dy, radii[has][..., None, None], scale)
    return picture.transpose(1, 2) * 2 - 1


def _place(scenes: Scenes, picture: Tensor, dx: Tensor, dy: Tensor, radius: Tensor, scale: float) -> Tensor:
    """One object of every scene and its shadow, painted over the picture; dx and dy are (n, frames, h, w)."""
    # a round shadow for every shape: at this softness nobody can tell
    shadow = torch.hypot(dx - 0.25 * radius, dy - 0.35 * radius) - radius
    shade = torch.sigmoid(-shadow / SOFT_SHADOW) * 0.45
    distance = shape_distance(scenes.shape[:, None, None, None], dx, dy, radius)
    cover = (0.5 - distance / scale).clamp(0, 1)
    paint = torch.tensor(RGB, device=dx.device)[scenes.colour][:, None, :, None, None]
    picture = picture * (1 - shade[:, :, None])
    return picture + (_lit(paint, distance, dx, dy, radius) - picture) * cover[:, :, None]


def _backdrop(scenes: Scenes, y: Tensor, x: Tensor) -> Tensor:
    """Top to bottom, with a soft pool of light in the middle: (n, 1, 3, h, w)."""
    top, bottom = torch.tensor(BACKDROPS, device=y.device)[scenes.background].unbind(1)
    down = (y / HEIGHT)[:, None]
    across = (x / HEIGHT - 0.5 * WIDTH / HEIGHT) ** 2
    pool = 0.05 * torch.exp(-1.5 * (across + (down - 0.4) ** 2))
    colour = top[:, :, None, None] + (bottom - top)[:, :, None, None] * down + pool
    return colour.clamp(max=1)[:, None]


def _lit(paint: Tensor, distance: Tensor, dx: Tensor, dy: Tensor, radius: Tensor) -> Tensor:
    """Light from the upper left: brighter there, darker towards the lower right and along the rim."""
    side = ((dx + 1.4 * dy) / (2.4 * radius)).clamp(-1, 1)
    rim = torch.exp(distance.clamp(max=0) / 1.5)
    tone = (1 - 0.13 * side - 0.12 * rim)[:, :, None]
    gleam = 0.16 * torch.exp(-((dx + 0.35 * radius) ** 2 + (dy + 0.4 * radius) ** 2) / (0.2 * radius**2))
    return (paint * tone + (1 - paint) * gleam[:, :, None]).clamp(0, 1)


def shape_distance(shape: Tensor, x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    """Signed distance to the outline, negative inside; y points down, `shape` and `radius` broadcast against x and y."""
    points, inner, outer = (torch.tensor(v, device=x.device)[shape] for v in (POINTS, INNER, OUTER))
    r = radius * outer
    length = torch.hypot(x, y)
    turn = torch.where(shape == SQUARE, math.pi / 4, 0.0)
    distance = _star(torch.atan2(x, -y) + turn, length, r, points, inner)
    distance = torch.where(shape == CROSS, torch.minimum(_box(x, y, r, BAR * r), _box(x, y, BAR * r, r)), distance)
    distance = torch.where(shape == RING, (length - (1 - BAND) * r).abs() - BAND * r, distance)
    return torch.where(shape == CIRCLE, length - r, distance)


def _star(angle: Tensor, length: Tensor, r: Tensor, points: Tensor, inner: Tensor) -> Tensor:
    """Fold the plane into half a point and measure to its one edge, from the tip at (r, 0) to the inner corner."""
    half = math.pi / points
    folded = torch.remainder(angle + half, 2 * half) - half
    x, y = length * folded.cos() - r, length * folded.sin().abs()
    edge_x, edge_y = r * (inner * half.cos() - 1), r * inner * half.sin()
    along = ((x * edge_x + y * edge_y) / (edge_x**2 + edge_y**2)).clamp(0, 1)
    inside = edge_x * y - edge_y * x > 0
    return torch.hypot(x - along * edge_x, y - along * edge_y) * torch.where(inside, -1.0, 1.0)


def _box(x: Tensor, y: Tensor, half_width: Tensor, half_height: Tensor) -> Tensor:
    dx, dy = x.abs() - half_width, y.abs() - half_height
    return torch.hypot(dx.clamp(min=0), dy.clamp(min=0)) + torch.maximum(dx, dy).clamp(max=0)
