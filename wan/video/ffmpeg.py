"""The ffmpeg program behind every video: which one it is, what it calls things, what it said last.

imageio-ffmpeg brings one, IMAGEIO_FFMPEG_EXE names another; any from 4.2 on will do. What has changed its name since is
looked up in the program's own help, because builds write their version as they like.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from functools import lru_cache
from typing import IO, Any

import imageio_ffmpeg

OLDEST = (4, 2)
SECONDS_TO_ANSWER = 30
# how it is started, apart from us: Ctrl-C at the terminal is for us, who still want the frames under way
APART: dict[str, Any]
if sys.platform == "win32":
    APART = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
else:
    APART = {"start_new_session": True}
MOST_LINES, MOST_LETTERS = 3, 400  # of what it said: one line of an error


def program() -> str:
    return imageio_ffmpeg.get_ffmpeg_exe()


@lru_cache
def every_frame(path: str) -> str:
    """The option that neither drops nor repeats a frame: `-fps_mode` came with 5.1, `-vsync` has gone since."""
    known = b"\n-fps_mode" in _answer(path, "-hide_banner", "-h", "long")
    return "-fps_mode passthrough" if known else "-vsync passthrough"


def version(path: str) -> str:
    """As the program says it."""
    found = re.match(r"ffmpeg version (\S+)", _answer(path, "-version").decode(errors="replace"))
    return found[1] if found else "unknown"


def is_too_old(version: str) -> bool:
    """A build that has no number of a release is taken for a new one."""
    number = re.match(r"n?(\d+)\.(\d+)", version)
    return number is not None and (int(number[1]), int(number[2])) < OLDEST


def _answer(path: str, *question: str) -> bytes:
    command = [path, *question]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS_TO_ANSWER, **APART)
    return done.stdout


def kill(process: subprocess.Popen[bytes]) -> None:
    """One that was started APART, and on POSIX what it may have started."""
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)


class LastWords:
    """What a program says on stderr, read as it comes so that it never waits for us; the end of it is kept."""

    def __init__(self, stream: IO[bytes]):
        self._lines: deque[str] = deque(maxlen=MOST_LINES)
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                if text := line.decode(errors="replace").strip():
                    self._lines.append(text)

    def join(self) -> str:
        """In one line, once the program has ended; empty if it said nothing."""
        self._reader.join(timeout=1)  # something it started may still hold the pipe
        return " ".join(self._lines)[-MOST_LETTERS:]
