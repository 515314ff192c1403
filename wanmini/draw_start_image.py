"""Draws the bundled start image: python -m wanmini.draw_start_image. A path through a valley at the end of a day.

A height field of layered noise, marched ray by ray and lit by a low sun; the air between takes on the colour of the
sky. Ours from the first pixel to the last, and made for a game: eye height, a way ahead, room to both sides.
"""

from __future__ import annotations

import argparse

import numpy as np
from PIL import Image

from wanmini.start_image import VALLEY

HEIGHT, WIDTH, FINER = 352, 640, 2
EYE = 2.3  # above the path
SUN = np.array([0.50, 0.30, 0.81]) / np.linalg.norm([0.50, 0.30, 0.81])
ZENITH, HORIZON, GLOW = np.array([0.05, 0.24, 0.66]), np.array([0.66, 0.66, 0.66]), np.array([1.0, 0.62, 0.25])
FAR = 900.0


def lattice(ix: np.ndarray, iz: np.ndarray) -> np.ndarray:
    """A number in [0, 1) for each whole point, the same every time."""
    mixed = (ix.astype(np.int64) * 374761393 + iz.astype(np.int64) * 668265263) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 1274126177) & 0xFFFFFFFF
    return (mixed ^ (mixed >> 16)) / 2**32


def noise(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    ix, iz = np.floor(x), np.floor(z)
    u, v = x - ix, z - iz
    u, v = u * u * u * (u * (u * 6 - 15) + 10), v * v * v * (v * (v * 6 - 15) + 10)
    near = lattice(ix, iz) * (1 - u) + lattice(ix + 1, iz) * u
    far = lattice(ix, iz + 1) * (1 - u) + lattice(ix + 1, iz + 1) * u
    return near * (1 - v) + far * v


def layered(x: np.ndarray, z: np.ndarray, octaves: int) -> np.ndarray:
    total = np.zeros_like(x)
    for i in range(octaves):
        total += noise(x * 2.03**i + 17.3 * i, z * 2.03**i - 9.1 * i) / 2 ** (i + 1)
    return total


def path_at(z: np.ndarray) -> np.ndarray:
    """Where the path runs: straight at our feet, then in bends."""
    return 9.0 * np.sin(z / 47.0) * np.clip(z / 60.0, 0, 1) + 3.0 * np.sin(z / 19.0) * np.clip(z / 80.0, 0, 1)


def ground(x: np.ndarray, z: np.ndarray, octaves: int = 7) -> np.ndarray:
    aside = np.abs(x - path_at(z))
    valley = np.clip((aside - 4) / 95, 0, 2.4) ** 1.5
    ridges = (1 - np.abs(2 * layered(x / 140 + 3, z / 140 + 11, octaves) - 1)) ** 2
    mountains = np.clip((z - 150) / 420, 0, 1) ** 1.3 * 190 * ridges * np.clip((aside - 30) / 190, 0, 1)
    bumps = 2.4 * (layered(x / 9, z / 9, octaves - 2) - 0.5) * np.clip((aside - 1.6) / 5, 0, 1)
    return 24 * valley * (0.35 + ridges) + mountains + bumps


def rays() -> np.ndarray:
    """Unit directions (H, W, 3), looking along z and a little down."""
    height, width = HEIGHT * FINER, WIDTH * FINER
    across = (np.arange(width) + 0.5 - width / 2) / (width / 2) * 0.86
    up = -(np.arange(height) + 0.5 - height * 0.44) / (width / 2) * 0.86
    d = np.stack(np.broadcast_arrays(across[None], up[:, None], np.ones((height, width))), -1)
    return d / np.linalg.norm(d, axis=-1, keepdims=True)


def march(d: np.ndarray) -> np.ndarray:
    """How far each ray (N, 3) goes before it meets the ground; FAR where it does not."""
    hit, near = np.full(len(d), FAR), np.zeros(len(d))
    t, alive = np.full(len(d), 0.6), np.arange(len(d))
    while len(alive):
        at = t[alive, None] * d[alive]
        above = at[:, 1] + EYE - ground(at[:, 0], at[:, 2])
        below = above < 0
        hit[alive[below]] = (t[alive] * 0.5 + near[alive] * 0.5)[below]
        near[alive] = t[alive]
        t[alive] += np.clip(0.35 * above, 0.004 * t[alive] + 0.01, 12)
        alive = alive[~below & (t[alive] < FAR) & (at[:, 1] < 190)]
    return hit


def sky(d: np.ndarray) -> np.ndarray:
    up = np.clip(d[:, 1:2], 0, 1)
    colour = HORIZON + (ZENITH - HORIZON) * up**0.38
    toward = np.clip(d @ SUN, 0, 1)[:, None]
    colour = colour + GLOW * (0.45 * toward**6 + 0.6 * toward**60) + np.array([1, 0.93, 0.8]) * 1.6 * (toward > 0.9987)
    x, z = d[:, 0] / (up[:, 0] + 0.09), d[:, 2] / (up[:, 0] + 0.09)
    cloud = np.clip((layered(x * 0.9 + 5, z * 1.5, 6) - 0.53) * 4.5, 0, 1)[:, None] * np.clip(up * 6, 0, 1)
    lit = np.array([0.86, 0.72, 0.72]) + GLOW * 0.55 * toward**3
    return colour * (1 - 0.75 * cloud) + lit * 0.75 * cloud


def surface(at: np.ndarray, distance: np.ndarray) -> np.ndarray:
    x, z = at[:, 0], at[:, 2]
    step = 0.02 + 0.0015 * distance
    slope = np.stack(
        [ground(x - step, z) - ground(x + step, z), 2 * step, ground(x, z - step) - ground(x, z + step)], -1
    )
    normal = slope / np.linalg.norm(slope, axis=-1, keepdims=True)
    colour = _material(x, z, at[:, 1] + EYE, normal[:, 1])
    shade = shadow(at + normal * (0.05 + 0.004 * distance[:, None]))
    sun = np.clip(normal @ SUN, 0, 1)[:, None] * shade[:, None] * np.array([2.6, 1.75, 1.05])
    air = (0.55 + 0.45 * normal[:, 1:2]) * np.array([0.34, 0.42, 0.60])
    return colour * (sun + air)


def _material(x: np.ndarray, z: np.ndarray, height: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Grass with flowers, rock where it is steep, snow on top, sand on the path."""
    patches = layered(x / 6, z / 6, 5)[:, None]
    blades = layered(x * 9, z * 4, 5)[:, None]
    grass = np.array([0.14, 0.26, 0.06]) + (np.array([0.36, 0.40, 0.10]) - np.array([0.14, 0.26, 0.06])) * patches
    grass = grass * (0.35 + 1.3 * blades)
    rock = np.array([0.34, 0.29, 0.27]) * (0.6 + 0.8 * layered(x / 3, z / 3 + height / 2, 5)[:, None])
    colour = _mix(grass, rock, np.clip((0.80 - flat) * 7, 0, 1))
    colour = _mix(
        colour, np.array([0.92, 0.93, 0.98]), np.clip((height - 62) / 12, 0, 1) * np.clip((flat - 0.45) * 4, 0, 1)
    )
    near_path = np.clip(1.75 - np.abs(x - path_at(z)) + 1.1 * (layered(x, z, 4) - 0.5), 0, 1)
    sand = np.array([0.58, 0.41, 0.24]) * (0.45 + 1.1 * layered(x * 4, z * 3, 6)[:, None])
    return _mix(colour, sand, near_path)


def _mix(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    return a + (b - a) * share[:, None]


def shadow(at: np.ndarray) -> np.ndarray:
    """How much of the sun each point sees."""
    seen = np.ones(len(at))
    t = 0.6
    while t < 260:
        p = at + SUN * t
        above = p[:, 1] + EYE - ground(p[:, 0], p[:, 2], 5)
        seen = np.minimum(seen, np.clip(10 * above / t + 0.5, 0, 1))
        t *= 1.22
    return seen


def draw() -> Image.Image:
    d = rays()
    shape, flat = d.shape, d.reshape(-1, 3)
    distance = march(flat)
    colour, land = sky(flat), distance < FAR
    at = flat[land] * distance[land, None]
    haze = 1 - np.exp(-((distance[land] / 430) ** 1.3))
    colour[land] = _mix(surface(at, distance[land]), sky(flat[land] * [1, 0, 1] + [0, 0.02, 0]), 0.85 * haze)
    mapped = 1 - np.exp(-1.5 * np.clip(colour, 0, None))
    pixels = (255 * np.clip(mapped, 0, 1) ** (1 / 1.45)).astype(np.uint8).reshape(shape)
    return Image.fromarray(pixels).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default=str(VALLEY))
    draw().save(parser.parse_args().output, quality=88)


if __name__ == "__main__":
    main()
