"""What a scene can be, and a batch of scenes as plain integers.

A scene is a pure function of its seed and split. One combination in eight of shape, colour and motion is held out:
training never shows it, held-out scenes show nothing else, so a judge asks for what was understood, not remembered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from wanmini import sizes
from wanmini.draws import integers, uniform

SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
BACKGROUNDS = ("white", "grey", "dark", "sand", "sky", "dusk")
SIZES = ("small", "medium", "large")
SPEEDS = ("slow", "medium", "fast")
DIRECTIONS = ("right", "left", "down", "up", "down right", "down left", "up right", "up left")
MOTIONS = (*DIRECTIONS, "bounce", "grow", "shrink", "still")
BOUNCE, GROW, SHRINK, STILL = range(8, 12)

FRAMES, HEIGHT, WIDTH = sizes.SCENE_FRAMES, sizes.HEIGHT, sizes.WIDTH
WAYS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))  # x, y per direction; y points down
TRAVEL = (0.17, 0.3, 0.52)  # of the picture's width (height) over the whole clip, per speed
DIAGONAL = 0.8  # of that in both x and y
BOUNCES = (1, 2, 3)  # per speed
BOUNCE_HEIGHT = 40.0  # pixels
RADII = (8.5, 12.0, 16.0)  # pixels, of a circle of that size
CROWD = (1.0, 0.88, 0.68)  # several objects are drawn smaller, to stay apart
SPACING = (0.0, 42.0, 31.0)  # pixels between their centres
GROWTH = (0.6, 1.5)  # of the radius, first to last frame of "grow"
REACH = 1.45  # of the radius: how far the widest shape extends
TRIES = 256


@dataclass(frozen=True)
class Scenes:
    """A batch; every field is (n,). `place_x`, `place_y` in [0, 1) put the scene where its whole path stays in view."""

    shape: Tensor
    colour: Tensor
    background: Tensor
    size: Tensor
    speed: Tensor
    count: Tensor  # 1 to 3
    motion: Tensor
    place_x: Tensor
    place_y: Tensor
    phrasing: Tensor  # seed of the caption

    @staticmethod
    def sample(seeds: Tensor, held_out: bool = False) -> Scenes:
        """The first of a few candidates that is possible and belongs to the split."""
        drawn = {
            "shape": integers(seeds, 1, len(SHAPES), TRIES),
            "colour": integers(seeds, 2, len(COLOURS), TRIES),
            "background": integers(seeds, 3, len(BACKGROUNDS), TRIES),
            "size": integers(seeds, 4, len(SIZES), TRIES),
            "speed": integers(seeds, 5, len(SPEEDS), TRIES),
            "count": 1 + (integers(seeds, 6, 10, TRIES) // 2 - 2).clamp(min=0),  # 6 : 2 : 2
            "motion": integers(seeds, 7, len(MOTIONS), TRIES),
            "place_x": uniform(seeds, 8, TRIES),
            "place_y": uniform(seeds, 9, TRIES),
            "phrasing": integers(seeds, 10, 2**24, TRIES),
        }
        good = _possible(**drawn) & (is_held_out(**drawn) == held_out)
        assert good.any(-1).all(), f"no scene among {TRIES} candidates"
        first = good.int().argmax(-1, keepdim=True)
        return Scenes(**{name: values.gather(-1, first)[..., 0] for name, values in drawn.items()})

    def __len__(self) -> int:
        return len(self.shape)

    def __getitem__(self, index: Tensor | slice) -> Scenes:
        return Scenes(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: torch.device | str) -> Scenes:
        return Scenes(*(getattr(self, f.name).to(device) for f in fields(self)))


def is_held_out(shape: Tensor, colour: Tensor, motion: Tensor, **_: Tensor) -> Tensor:
    """A Latin-square pattern: each single shape, colour and motion, and each pair of them, is seen in training."""
    return (shape + 3 * colour + 5 * motion) % 8 == 0


def _possible(size: Tensor, count: Tensor, motion: Tensor, speed: Tensor, **_: Tensor) -> Tensor:
    """Only what has a name and room: three large objects do not fit, growing has no speed, diagonals need width."""
    diagonal = (motion >= 4) & (motion < 8)
    timeless = motion >= GROW
    resizing = (motion == GROW) | (motion == SHRINK)
    too_many = (diagonal & (count > 2)) | (resizing & (count > 1)) | ((count == 3) & (size == 2))
    too_wide = diagonal & (count == 2) & (size == 2)
    return ~too_many & ~too_wide & ~(timeless & (speed != 1))


def radius(scenes: Scenes) -> Tensor:
    """Pixels, before growing or shrinking."""
    radii, crowd = (torch.tensor(v, device=scenes.size.device) for v in (RADII, CROWD))
    return radii[scenes.size] * crowd[scenes.count - 1]


def travel(scenes: Scenes) -> Tensor:
    """(x, y) pixels over the whole clip, (n, 2); zero for what does not go anywhere."""
    device = scenes.motion.device
    ways = torch.tensor((*WAYS, (0, 0), (0, 0), (0, 0), (0, 0)), dtype=torch.float32, device=device)[scenes.motion]
    size = torch.tensor((WIDTH, HEIGHT), dtype=torch.float32, device=device)
    diagonal = torch.where(ways.abs().sum(-1) > 1, DIAGONAL, 1.0)
    return ways * size * (torch.tensor(TRAVEL, device=device)[scenes.speed] * diagonal)[:, None]


def paths(scenes: Scenes, frames: int = FRAMES) -> tuple[Tensor, Tensor]:
    """Centres (n, frames, 3, 2) of up to three objects and radii (n, frames); absent objects are far outside."""
    device = scenes.motion.device
    time = torch.linspace(0, 1, frames, device=device)
    lift = BOUNCE_HEIGHT * (scenes.motion == BOUNCE)[:, None]
    hops = torch.tensor(BOUNCES, device=device)[scenes.speed][:, None] * time
    height = lift * ((math.pi * hops).sin().abs() - 0.5)
    path = travel(scenes)[:, None] * (time[:, None] - 0.5)
    path = path - torch.stack((torch.zeros_like(height), height), -1)
    centres = _middle(scenes, path)[:, None, None] + path[:, :, None] + _formation(scenes)[:, None]
    absent = torch.arange(3, device=device) >= scenes.count[:, None]
    centres = torch.where(absent[:, None, :, None], -1e3, centres)
    return centres, radius(scenes)[:, None] * _growth(scenes, time)


def _middle(scenes: Scenes, path: Tensor) -> Tensor:
    """Where the middle of the path goes, (n, 2): anywhere that keeps all of it in view."""
    largest = radius(scenes) * REACH * torch.where(_resizing(scenes), GROWTH[1], 1.0)
    extent = largest[:, None] + _formation(scenes).abs().amax(1) + path.abs().amax(1)
    size = torch.tensor((WIDTH, HEIGHT), dtype=torch.float32, device=extent.device)
    slack = (size - 2 * extent).clamp(min=0)
    return size / 2 + slack * (torch.stack((scenes.place_x, scenes.place_y), -1) - 0.5)


def _resizing(scenes: Scenes) -> Tensor:
    return (scenes.motion == GROW) | (scenes.motion == SHRINK)


def _growth(scenes: Scenes, time: Tensor) -> Tensor:
    low, high = GROWTH
    grow = low + (high - low) * time
    shrink = grow.flip(0)
    kind = scenes.motion[:, None]
    return torch.where(kind == GROW, grow, torch.where(kind == SHRINK, shrink, torch.ones_like(grow)))


def _formation(scenes: Scenes) -> Tensor:
    """Where objects stand around their middle, (n, 3, 2): one above the other if they go sideways, else side by side."""
    device = scenes.count.device
    number = torch.arange(3, device=device) - (scenes.count[:, None] - 1) / 2
    away = number * torch.tensor(SPACING, device=device)[scenes.count - 1][:, None]
    away = torch.where(torch.arange(3, device=device) < scenes.count[:, None], away, 0.0)
    sideways = (scenes.motion < 2)[:, None]
    zero = torch.zeros_like(away)
    return torch.stack((torch.where(sideways, zero, away), torch.where(sideways, away, zero)), -1)
