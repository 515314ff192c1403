"""A writer of video files that leaves a playable one whatever happens.

The writer puts every call to `write` on disk as one closed fragment of an MP4 before it returns: kill the process at
any moment and what was written plays. H.264 comes from an ffmpeg process tuned to answer each frame at once; it writes
to us and never to the file. `close` turns the fragments into an ordinary MP4. Encoding is lossy, slightly (CRF 17).
"""

from __future__ import annotations

import logging
import queue
import subprocess
import threading
from fractions import Fraction
from pathlib import Path
from typing import IO, Self

import imageio_ffmpeg
import numpy as np

from wan.video.fragments import Sample, Track, fragment, header

log = logging.getLogger(__name__)

QUALITY = "17"  # x264's constant rate factor: hard to tell from the source
SECONDS_TO_ENCODE = 120  # one write; far more than any takes


class VideoWriter:
    """`write` frames (uint8, [F, H, W, 3]) as they come; `with` closes.

    The file gets its name when the first frames are safely in it, so a failure before that changes nothing.
    """

    def __init__(self, path: str | Path, fps: float = 25.0):
        self.path = Path(path)
        self.fps = Fraction(fps).limit_denominator(1001)
        self.frames = 0
        self._part = self.path.with_name(f".{self.path.name}.part")
        self._fragments = 0
        self._encoder: _Encoder | None = None
        self._file: IO[bytes] | None = None

    def write(self, frames: np.ndarray) -> None:
        """On disk and playable when it returns."""
        height, width = frames.shape[1:3]
        self._encoder = self._encoder or _Encoder(height, width, self.fps)
        self._file = self._file or self._part.open("wb", buffering=0)
        samples = self._encoder.encode(frames)
        track = Track(width, height, self.fps.numerator, self.fps.denominator, self._encoder.config)
        first = header(track) if not self.frames else b""
        self._append(first + fragment(track, self._fragments + 1, self.frames, samples))
        self._fragments += 1
        self.frames += len(samples)
        if self._fragments == 1:
            self._part.replace(self.path)

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


class _Encoder:
    """ffmpeg as a function from frames to H.264 samples. It speaks FLV to us: each tag of that is one sample."""

    def __init__(self, height: int, width: int, fps: Fraction):
        if height % 2 or width % 2:
            raise ValueError(f"frames of {height}x{width} cannot be H.264 with 4:2:0 colour: both sides must be even")
        self.config = b""  # the decoder's, there with the first sample
        self._size = (height, width, 3)
        self._samples: queue.Queue[Sample | None] = queue.Queue()
        # a session of its own: Ctrl-C at the terminal is for us, who still want the frames under way
        self._process = subprocess.Popen(
            _encode_command(height, width, fps), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        threading.Thread(target=self._collect, daemon=True).start()

    def encode(self, frames: np.ndarray) -> list[Sample]:
        assert frames.dtype == np.uint8 and frames.shape[1:] == self._size, f"{frames.dtype} {frames.shape}"
        assert self._process.stdin is not None
        try:
            for frame in frames:
                self._process.stdin.write(np.ascontiguousarray(frame).data)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it died; there is no sample to come, which says so below
        return [self._next() for _ in frames]

    def _next(self) -> Sample:
        program = imageio_ffmpeg.get_ffmpeg_exe()
        try:
            sample = self._samples.get(timeout=SECONDS_TO_ENCODE)
        except queue.Empty:
            self._process.kill()
            raise RuntimeError(f"ffmpeg took frames and gave nothing for {SECONDS_TO_ENCODE} s: {program}") from None
        if sample is None:
            raise RuntimeError(f"ffmpeg ended early with code {self._process.wait()}: {program}")
        return sample

    def _collect(self) -> None:
        """A 13-byte head, then tags of [type, 3 bytes of size, 7 more | body | size again]; type 9 is video."""
        assert self._process.stdout is not None
        stream = self._process.stdout
        stream.read(13)
        while len(head := stream.read(11)) == 11:
            body = stream.read(int.from_bytes(head[1:4], "big"))
            stream.read(4)
            if head[0] == 9:
                self._take(body)
        self._samples.put(None)

    def _take(self, body: bytes) -> None:
        """[frame type and codec, packet type, 3 bytes of display delay | payload]; packet type 2 ends the stream."""
        if body[1] == 0:
            self.config = body[5:]
        elif body[1] == 1:
            self._samples.put(Sample(body[5:], key=body[0] >> 4 == 1))

    def close(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:  # it died, and encode() has said so
            pass
        self._process.wait()


def _encode_command(height: int, width: int, fps: Fraction) -> list[str]:
    given = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -framerate {fps} -probesize 32 -i -"
    # rgb is full-range BT.709; players assume BT.601 for small videos unless told
    colour = "-vf scale=out_color_matrix=bt709:out_range=tv -colorspace bt709 -color_primaries bt709 -color_trc bt709"
    codec = f"-c:v libx264 -preset veryfast -tune zerolatency -crf {QUALITY} -pix_fmt yuv420p -g {round(2 * fps)}"
    out = "-fps_mode passthrough -flush_packets 1 -f flv -flvflags no_duration_filesize -"
    return [imageio_ffmpeg.get_ffmpeg_exe(), *f"-loglevel error {given} -an {colour} {codec} {out}".split()]


def _make_ordinary(path: Path) -> None:
    """The same samples in one movie with an index, which every tool can seek in and count; a failure loses nothing."""
    whole = path.with_name(f".{path.name}.whole.mp4")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), *"-loglevel error -y -i".split(), str(path)]
    done = subprocess.run(
        [*command, *"-c copy -movflags +faststart".split(), str(whole)], capture_output=True, start_new_session=True
    )
    if done.returncode == 0:
        whole.replace(path)
    else:
        whole.unlink(missing_ok=True)
        log.warning("%s stays a fragmented MP4, which plays but has no index: %s", path, done.stderr.decode().strip())
