"""H.264 from an ffmpeg process that answers each frame at once. Encoding is lossy, slightly (CRF 17).

It writes to us and never to a file, and what it says goes into the error if it fails, not to the terminal.
"""

from __future__ import annotations

import queue
import subprocess
import threading
from contextlib import closing, suppress
from fractions import Fraction
from functools import lru_cache

import numpy as np

from wan.video import ffmpeg
from wan.video.fragments import Sample

QUALITY = "17"  # x264's constant rate factor: hard to tell from the source
SECONDS_TO_ENCODE = 120  # one write; far more than any takes
TRIAL = (64, 64)


def require_encoder() -> None:
    """Before anything that takes long: a program that is broken, or is no ffmpeg, is a mistake that can be mended."""
    try:
        _try(ffmpeg.program())
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error).splitlines()[0]
        raise ValueError(
            f"no video can be written ({reason}): IMAGEIO_FFMPEG_EXE names the program, else it is imageio-ffmpeg's own; "
            "mg doctor says which it is"
        ) from error


@lru_cache  # what works is not tried again
def _try(program: str) -> None:
    with closing(Encoder(*TRIAL, Fraction(25), program)) as encoder:
        encoder.encode(np.zeros((1, *TRIAL, 3), np.uint8))


class Encoder:
    """ffmpeg as a function from frames to H.264 samples. It speaks FLV to us: each tag of that is one sample."""

    def __init__(self, height: int, width: int, fps: Fraction, program: str | None = None):
        if height % 2 or width % 2:
            raise ValueError(f"frames of {height}x{width} cannot be H.264 with 4:2:0 colour: both sides must be even")
        self.config = b""  # the decoder's, there with the first sample
        self._size = (height, width, 3)
        self._samples: queue.Queue[Sample | None] = queue.Queue()
        self._program, pipe = program or ffmpeg.program(), subprocess.PIPE
        self._process = subprocess.Popen(
            _encode_command(self._program, height, width, fps),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            **ffmpeg.APART,
        )
        assert self._process.stderr is not None
        self._said = ffmpeg.LastWords(self._process.stderr)
        threading.Thread(target=self._collect, daemon=True).start()

    def encode(self, frames: np.ndarray) -> list[Sample]:
        assert frames.dtype == np.uint8 and frames.shape[1:] == self._size, f"{frames.dtype} {frames.shape}"
        assert self._process.stdin is not None
        try:
            for frame in frames:
                self._process.stdin.write(np.ascontiguousarray(frame).data)
            self._process.stdin.flush()
        except OSError:  # EPIPE, on Windows EINVAL
            pass  # it died; there is no sample to come, which says so below
        return [self._next() for _ in frames]

    def _next(self) -> Sample:
        try:
            sample = self._samples.get(timeout=SECONDS_TO_ENCODE)
        except queue.Empty:
            ffmpeg.kill(self._process)
            raise self._failed(f"took frames and gave nothing for {SECONDS_TO_ENCODE} s") from None
        if sample is None:
            raise self._failed(f"ended early with code {self._process.wait()}")
        return sample

    def _failed(self, what: str) -> RuntimeError:
        words = self._said.join()
        return RuntimeError(f"ffmpeg {what}{f' ({words})' if words else ''}: {self._program}")

    def _collect(self) -> None:
        """A 13-byte head, then tags of [type, 3 bytes of size, 7 more | body | size again]; type 9 is video."""
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            stream.read(13)
            while len(head := stream.read(11)) == 11:
                body = stream.read(int.from_bytes(head[1:4], "big"))
                stream.read(4)
                if head[0] == 9 and len(body) > 5:
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
        with suppress(OSError):  # it died, and encode() has said so
            self._process.stdin.close()
        self._process.wait()


def _encode_command(program: str, height: int, width: int, fps: Fraction) -> list[str]:
    given = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -framerate {fps} -probesize 32 -i -"
    # rgb is full-range BT.709; players assume BT.601 for small videos unless told
    colour = "-vf scale=out_color_matrix=bt709:out_range=tv -colorspace bt709 -color_primaries bt709 -color_trc bt709"
    codec = f"-c:v libx264 -preset veryfast -tune zerolatency -crf {QUALITY} -pix_fmt yuv420p -g {round(2 * fps)}"
    out = f"{ffmpeg.every_frame(program)} -flush_packets 1 -f flv -flvflags no_duration_filesize -"
    return [program, *f"-loglevel error {given} -an {colour} {codec} {out}".split()]
