"""What a scene video shows, read from its pixels alone: shape, colour, count, motion and speed of the objects.

Objects are what has much more hue than the backdrop; everything else follows from their masks: components are
counted, the largest is compared with the six outlines, centres and areas over time give motion. It knows neither the
prompt nor the model. Thresholds lie halfway, so that the blur of a small VAE moves none of them across.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wanmini.scenes import attributes
from wanmini.scenes.attributes import BOUNCE, BOUNCES, GROW, SHRINK, STILL, TRAVEL, Scenes
from wanmini.scenes.draw import RGB, shape_distance

LOOKS = 7  # frames that are looked at for shape, colour and count; motion uses all
VISIBLE = 0.12  # hue above the backdrop's that counts as an object
CROP = 32  # pixels a side of a normalised outline
SPEED_TOLERANCE = 0.25
RESIZED = 1.35  # ratio of radii, last to first, from which on an object grew
MOVED = 0.06  # of the picture, from which on it went somewhere
HOPPED = 0.1


@dataclass(frozen=True)
class Reading:
    """Per clip, (n,): indices into the attribute tables, count 0 if nothing is there; pace as `pace_of` defines it."""

    shape: Tensor
    colour: Tensor
    count: Tensor
    motion: Tensor
    pace: Tensor


def read(video: Tensor) -> Reading:
    """Videos (n, 3, t, h, w) in [-1, 1]."""
    rgb = (video.float() / 2 + 0.5).clamp(0, 1).transpose(1, 2)  # (n, t, 3, h, w)
    mask = objects(rgb)
    looks = torch.linspace(0, video.shape[2] - 1, LOOKS).round().long()
    parts = components(mask[:, looks].flatten(0, 1))
    sizes = _sizes(parts)
    largest = (parts == sizes.argmax(-1)[:, None, None]) & (parts > 0)
    count = (sizes > 0.25 * sizes.amax(-1, keepdim=True).clamp(min=1)).sum(-1).unflatten(0, (-1, LOOKS))
    motion, pace = _motion(mask)
    return Reading(
        _shape(largest.unflatten(0, (-1, LOOKS))),
        _colour(rgb[:, looks], mask[:, looks]),
        count.median(-1).values,
        motion,
        pace,
    )


def score(reading: Reading, scenes: Scenes) -> dict[str, Tensor]:
    """Right or wrong, (n,) each; speed only where the scene has one and its motion was recognised (else NaN)."""
    moving = (scenes.motion <= BOUNCE) & (reading.motion == scenes.motion)
    ratio = reading.pace / pace_of(scenes)
    in_time = torch.where(moving, ((ratio - 1).abs() <= SPEED_TOLERANCE).float(), math.nan)
    right = {name: getattr(reading, name) == getattr(scenes, name) for name in ("shape", "colour", "count", "motion")}
    return {name: value.float() for name, value in right.items()} | {"speed": in_time}


def pace_of(scenes: Scenes) -> Tensor:
    """How far a scene's words say it goes: in pictures per clip, or in hops per clip when it bounces."""
    travel, hops = (torch.tensor(v, device=scenes.speed.device).float()[scenes.speed] for v in (TRAVEL, BOUNCES))
    return torch.where(scenes.motion == BOUNCE, hops, travel)


def objects(rgb: Tensor) -> Tensor:
    """(n, t, 3, h, w) -> mask (n, t, h, w): more than halfway from the backdrop's hue to the objects'."""
    hue = rgb.amax(2) - rgb.amin(2)
    flat = hue.flatten(2)
    backdrop = flat.median(-1).values.median(-1).values[:, None, None, None]
    top = flat.topk(max(1, flat.shape[-1] // 330), dim=-1).values.mean(-1)
    level = top.median(-1).values[:, None, None, None]
    return (hue > (backdrop + level) / 2) & (level - backdrop > VISIBLE)


def components(mask: Tensor) -> Tensor:
    """(k, h, w) -> a label per connected region, 0 outside; labels flow to their neighbours until none changes."""
    k, h, w = mask.shape
    label = torch.arange(1, h * w + 1, device=mask.device, dtype=torch.float32).reshape(1, h, w) * mask
    while True:
        spread = F.max_pool2d(label[:, None], 3, 1, 1)[:, 0] * mask
        if torch.equal(spread, label):
            return label.long()
        label = spread


def _sizes(parts: Tensor) -> Tensor:
    """(k, h, w) labels -> pixels of every label, (k, labels); label 0 counts as none."""
    flat = parts.flatten(1)
    sizes = torch.zeros(len(flat), flat.shape[1] + 1, device=flat.device)
    sizes.scatter_add_(1, flat, torch.ones_like(flat, dtype=torch.float32))
    sizes[:, 0] = 0
    return sizes


def _outline(mask: Tensor) -> Tensor:
    """(k, h, w) -> (k, CROP, CROP): moved to the centre and scaled to equal area."""
    k, h, w = mask.shape
    weight = mask.float()
    area = weight.sum((1, 2)).clamp(min=1)
    y, x = torch.arange(h, device=mask.device) + 0.5, torch.arange(w, device=mask.device) + 0.5
    middle_x, middle_y = (weight.sum(1) @ x) / area, (weight.sum(2) @ y) / area
    reach = 1.9 * (area / math.pi).sqrt()
    step = torch.linspace(-1, 1, CROP, device=mask.device)
    grid_x = (middle_x[:, None, None] + reach[:, None, None] * step) / w * 2 - 1
    grid_y = (middle_y[:, None, None] + reach[:, None, None] * step[:, None]) / h * 2 - 1
    grid = torch.stack((grid_x.expand(-1, CROP, -1), grid_y.expand(-1, -1, CROP)), -1)
    return F.grid_sample(weight[:, None], grid, align_corners=False)[:, 0]


def _templates(device: torch.device) -> Tensor:
    """The outline of every shape, (shape, CROP, CROP)."""
    y, x = (torch.arange(n, device=device) - n / 2 + 0.5 for n in (120, 120))
    shapes = torch.arange(len(attributes.SHAPES), device=device)[:, None, None]
    return _outline(shape_distance(shapes, x, y[:, None], torch.tensor(30.0, device=device)) < 0)


def _shape(largest: Tensor) -> Tensor:
    """(n, looks, h, w) -> (n,); outlines are averaged over the looks before they are compared."""
    outline = _outline(largest.flatten(0, 1)).unflatten(0, largest.shape[:2]).mean(1)
    return ((outline[:, None] - _templates(largest.device)) ** 2).mean((2, 3)).argmin(-1)


def _colour(rgb: Tensor, mask: Tensor) -> Tensor:
    """Nearest hue to the mean colour of the inside; (n, looks, 3, h, w) and (n, looks, h, w) -> (n,)"""
    eroded = 1 - F.max_pool2d(1 - mask.float(), 3, 1, 1)
    weight = (eroded + 1e-3 * mask.float())[:, :, None]  # thin shapes may have no inside
    mean = (rgb * weight).sum((1, 3, 4)) / weight.sum((1, 3, 4)).clamp(min=1e-6)
    table = torch.tensor(RGB, device=rgb.device)
    hue, hues = (F.normalize(c - c.mean(-1, keepdim=True), dim=-1) for c in (mean, table))
    return (hue @ hues.T).argmax(-1)


def _motion(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Motion and pace, (n,) each, from centres (in pictures) and areas over time."""
    weight = mask.float()
    area = weight.sum((2, 3))
    h, w = mask.shape[2:]
    x = (weight.sum(2) @ ((torch.arange(w, device=mask.device) + 0.5) / w)) / area.clamp(min=1)
    y = (weight.sum(3) @ ((torch.arange(h, device=mask.device) + 0.5) / h)) / area.clamp(min=1)
    seen = (area > 0).float()
    going_x, _ = _line(x, seen)
    going_y, hop = _line(y, seen)
    edge = max(1, mask.shape[1] // 10)
    growth = (area[:, -edge:].mean(1).clamp(min=1) / area[:, :edge].mean(1).clamp(min=1)).sqrt()
    going = torch.stack((going_x, going_y), -1)

    ways = F.normalize(torch.tensor(attributes.WAYS, device=mask.device).float(), dim=-1)
    motion = (going @ ways.T).argmax(-1)
    diagonal = motion >= 4
    pace = going.norm(dim=-1) / torch.where(diagonal, attributes.DIAGONAL * math.sqrt(2), 1.0)
    motion = torch.where(going.norm(dim=-1) < MOVED, STILL, motion)
    motion = torch.where(growth > RESIZED, GROW, torch.where(growth < 1 / RESIZED, SHRINK, motion))
    hops = hop.amax(1) - hop.amin(1) > HOPPED
    return torch.where(hops, BOUNCE, motion), torch.where(hops, _hops(-y), pace)


def _line(value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares over the frames that show something: change over the clip (n,), and what is left (n, t)."""
    time = torch.linspace(-0.5, 0.5, value.shape[1], device=value.device)
    total = seen.sum(1, keepdim=True).clamp(min=1)
    t = time - (seen * time).sum(1, keepdim=True) / total
    v = value - (seen * value).sum(1, keepdim=True) / total
    slope = (seen * t * v).sum(1) / (seen * t * t).sum(1).clamp(min=1e-6)
    return slope, (v - slope[:, None] * t) * seen


def _hops(height: Tensor) -> Tensor:
    """Which |sin| over the clip fits best, in hops; a hop either way of the fastest and in tenths. (n, t) -> (n,)"""
    candidates = torch.arange(5, 41, device=height.device) / 10
    time = torch.linspace(0, 1, height.shape[1], device=height.device)
    waves = (math.pi * candidates[:, None] * time).sin().abs()
    waves, height = (F.normalize(v - v.mean(-1, keepdim=True), dim=-1) for v in (waves, height))
    return candidates[(height @ waves.T).argmax(-1)]
