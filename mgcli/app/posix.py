"""Linux and macOS: their locks, terminals, signals, memory and names of files. Read through system.py."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

assert sys.platform != "win32"

HUNG_UP = signal.SIGHUP  # a terminal that is closed
ARROWS = {"\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left"}
NAME_UNIT = "bytes"
NO_FOLLOW = os.O_NOFOLLOW


@contextmanager
def keys(file: int) -> Iterator[Callable[[float], list[str] | None]]:
    """Each key of a terminal at once and without echo: what yields waits so many seconds for some, and gives None once the
    terminal is gone. Only OSErrors come from here."""
    before = _settings(file)
    tty.setcbreak(file)
    try:
        yield lambda seconds: _read(file, seconds)
    finally:
        _set(file, termios.TCSADRAIN, before)


@contextmanager
def terminal_kept() -> Iterator[None]:
    """The terminal as it was in the end, whatever was done to it."""
    if not sys.stdin.isatty():
        yield
        return
    file = sys.stdin.fileno()
    before = _settings(file)
    try:
        yield
    finally:
        with suppress(OSError):
            _set(file, termios.TCSANOW, before)


def _settings(file: int) -> list[object]:
    try:
        return termios.tcgetattr(file)
    except termios.error as error:  # which is no OSError, and looks like one
        raise OSError(*error.args) from None


def _set(file: int, when: int, settings: list[object]) -> None:
    try:
        termios.tcsetattr(file, when, settings)  # type: ignore[arg-type]
    except termios.error as error:
        raise OSError(*error.args) from None


def _read(file: int, seconds: float) -> list[str] | None:
    if not select.select([file], [], [], seconds)[0]:
        return []
    text = os.read(file, 1024).decode(errors="ignore")
    return list(split_keys(text)) if text else None


def split_keys(text: str) -> Iterator[str]:
    """One key at a time from what a terminal sent; arrows by name, unknown escape sequences left out."""
    while text:
        if text[:3] in ARROWS:
            yield ARROWS[text[:3]]
            text = text[3:]
        elif text[0] == "\x1b":
            return
        else:
            yield text[0]
            text = text[1:]


def lock(file: int) -> None:
    """For as long as the file is open; BlockingIOError if another has it. Nothing waits."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):  # a file system without locks
            raise


def let_go(file: int, name: Path) -> None:
    name.unlink(missing_ok=True)  # before it is let go, so that nobody locks a file about to vanish
    os.close(file)


def name_length(name: str) -> int:
    return len(os.fsencode(name))


def longest_name(folder: Path) -> int:
    return os.pathconf(folder, "PC_NAME_MAX")


def host_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_memory() -> int:
    """Most bytes that this process has held."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # kilobytes on Linux
