"""The frames that a video is given, opened from the files that a request names."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from PIL import Image

from wan.game.conditions import open_image
from wan.video.reader import read_frames
from wan22.image import GivenFrames


def given_frames(image: Path | None, video: Path | None, overlap: int, last_image: Path | None) -> GivenFrames:
    """What it begins with is an image or the end of a video."""
    first = (open_image(image),) if image else last_frames(video, overlap) if video else ()
    return GivenFrames(first, open_image(last_image) if last_image else None)


def last_frames(video: Path, count: int) -> tuple[Image.Image, ...]:
    if not video.is_file():
        raise FileNotFoundError(2, "no such file", str(video))
    try:
        frames = deque(read_frames(video), maxlen=max(count, 1))
    except OSError:
        raise ValueError(f"{video} is not a video that can be read: give an MP4 or another that ffmpeg knows") from None
    if len(frames) < count:
        raise ValueError(
            f"{video} has {len(frames)} frames, fewer than the {count} to go on from; --overlap 1 takes the last"
        )
    return tuple(map(Image.fromarray, frames))
