"""A writer of video files that leaves a playable one whatever happens.

The writer puts every call to `write` on disk as one closed fragment of an MP4 before it returns: kill the process at
any moment and what was written plays. `close` turns the fragments into an ordinary MP4.
"""

from __future__ import annotations

import logging
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import IO, Self

import numpy as np

from wan.video import ffmpeg
from wan.video.encoder import Encoder
from wan.video.fragments import Track, fragment, header

log = logging.getLogger(__name__)

SLOWEST, FASTEST = 1, 240  # frames a second: every fraction between is taken by every ffmpeg, and told apart in FLV


class VideoWriter:
    """`write` frames (uint8, (F, H, W, 3)) as they come; `with` closes.

    The file gets its name when the first frames are safely in it, so a failure before that changes nothing.
    """

    def __init__(self, path: str | Path, fps: float = 25.0):
        if not SLOWEST <= fps <= FASTEST:
            raise ValueError(f"{fps} frames a second: a video has from {SLOWEST} to {FASTEST}")
        self.path = Path(path)
        self.fps = Fraction(fps).limit_denominator(1001)
        self.frames = 0
        self._part = self.path.with_name(f".{self.path.name}.part")
        self._fragments = 0
        self._encoder: Encoder | None = None
        self._file: IO[bytes] | None = None

    def write(self, frames: np.ndarray) -> None:
        """On disk and playable when it returns."""
        height, width = frames.shape[1:3]
        self._encoder = self._encoder or Encoder(height, width, self.fps)
        self._file = self._file or self._part.open("wb", buffering=0)
        samples = self._encoder.encode(frames)
        track = Track(width, height, self.fps.numerator, self.fps.denominator, self._encoder.config)
        first = header(track) if not self.frames else b""
        self._append(first + fragment(track, self._fragments + 1, self.frames, samples))
        if not self._fragments:
            self._name()
        self._fragments += 1
        self.frames += len(samples)

    def _name(self) -> None:
        """Closed meanwhile: Windows renames no open file."""
        assert self._file is not None
        self._file.close()
        self._part.replace(self.path)
        self._file = self.path.open("ab", buffering=0)

    def _append(self, data: bytes) -> None:
        """All of it or nothing: a full disk must not leave half a fragment."""
        assert self._file is not None
        end, left = self._file.tell(), memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._file.truncate(end)
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def close(self) -> None:
        """Stop the encoder and make the fragments an ordinary MP4; closing twice does no harm."""
        encoder, self._encoder = self._encoder, None
        if encoder is None:
            return
        encoder.close()
        if self._file is not None:
            self._file.close()
            self._part.unlink(missing_ok=True)  # still there if the first write failed
        if self.frames:
            _make_ordinary(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _make_ordinary(path: Path) -> None:
    """The same samples in one movie with an index, which every tool can seek in and count; a failure loses nothing."""
    whole = path.with_name(f".{path.name}.whole.mp4")
    command = [ffmpeg.program(), *"-loglevel error -y -i".split(), str(path)]
    done = subprocess.run(
        [*command, *"-c copy -movflags +faststart".split(), str(whole)],
        stdin=subprocess.DEVNULL,  # at a terminal it would wait for keys
        capture_output=True,
        **ffmpeg.APART,
    )
    why_not = done.stderr.decode(errors="replace").strip()
    try:
        if done.returncode == 0:
            whole.replace(path)
            return
    except PermissionError as error:  # on Windows, while somebody watches it
        why_not = str(error)
    whole.unlink(missing_ok=True)
    log.warning("%s stays a fragmented MP4, which plays but has no index: %s", path, why_not)
