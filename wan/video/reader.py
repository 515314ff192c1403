"""Frames out of a video file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np


def read_frames(path: str | Path) -> Iterator[np.ndarray]:
    """The frames of a video one by one, uint8 (H, W, 3)."""
    frames = imageio_ffmpeg.read_frames(str(path), pix_fmt="rgb24")
    width, height = next(frames)["size"]
    for frame in frames:
        yield np.frombuffer(frame, np.uint8).reshape(height, width, 3)


def count_frames(path: str | Path) -> int:
    return sum(1 for _ in read_frames(path))
