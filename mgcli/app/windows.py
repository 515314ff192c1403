"""Windows: its locks, console, signals, memory and names of files. Read through system.py.

A file that is open can be neither removed nor replaced there, so everything in this project closes first.
"""

from __future__ import annotations

import _thread
import ctypes
import errno
import msvcrt
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ctypes import wintypes
from pathlib import Path

assert sys.platform == "win32"

HUNG_UP = signal.SIGBREAK  # a console that is closed, which leaves five seconds; or Ctrl-Break
SPECIAL, CTRL_C = ("\x00", "\xe0"), "\x03"  # the first is said before a key that is no letter
ARROWS = {"H": "up", "P": "down", "M": "right", "K": "left"}
NAME_UNIT = "UTF-16 units"
NO_FOLLOW = 0  # only an administrator makes links
LOCKED_BYTE = 1 << 30  # far behind what is written: nobody may read what is locked
LOOK_AGAIN = 0.01  # seconds


@contextmanager
def keys(_file: int) -> Iterator[Callable[[float], list[str] | None]]:
    """Each key of the console at once: what yields waits so many seconds for one. Nothing echoes that is not asked for as a
    line, so nothing has to be put back."""
    yield _read


@contextmanager
def terminal_kept() -> Iterator[None]:
    yield


def _read(seconds: float) -> list[str] | None:
    end = time.monotonic() + seconds
    while not msvcrt.kbhit():
        if time.monotonic() >= end:
            return []
        time.sleep(LOOK_AGAIN)
    key = msvcrt.getwch()
    if key in SPECIAL and msvcrt.kbhit():  # else it is a letter: 0xe0 is that of a French keyboard
        key = ARROWS.get(msvcrt.getwch(), "")
    if key == CTRL_C:  # which the console may hand over as a key
        _thread.interrupt_main()
        return []
    return [key] if key else []


def lock(file: int) -> None:
    """For as long as the file is open; BlockingIOError if another has it. Nothing waits."""
    try:
        _at_locked_byte(file, msvcrt.LK_NBLCK)
    except OSError as error:
        if error.errno == errno.EACCES:
            raise BlockingIOError(error.errno, error.strerror) from None
        raise


def let_go(file: int, name: Path) -> None:
    with suppress(OSError):  # else it ends with the file, some time
        _at_locked_byte(file, msvcrt.LK_UNLCK)
    os.close(file)
    with suppress(PermissionError):  # another has opened it meanwhile, and will remove it
        name.unlink(missing_ok=True)


def _at_locked_byte(file: int, what: int) -> None:
    os.lseek(file, LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(file, what, 1)
    finally:
        os.lseek(file, 0, os.SEEK_SET)


def name_length(name: str) -> int:
    return len(name.encode("utf-16-le", "surrogatepass")) // 2


def longest_name(_folder: Path) -> int:
    return 255


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX"""

    _fields_ = [
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *(
            (name, ctypes.c_uint64)
            for name in ("physical", "free", "paged", "paged_free", "virtual", "virtual_free", "_")
        ),
    ]


class _ProcessMemory(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS"""

    _fields_ = [
        ("length", ctypes.c_uint32),
        ("faults", ctypes.c_uint32),
        *((name, ctypes.c_size_t) for name in ("peak", "now", *(f"pool_{i}" for i in range(4)), "paged", "most_paged")),
    ]


def host_memory() -> int:
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.physical)


def peak_memory() -> int:
    """Most bytes that this process has held."""
    kernel = ctypes.windll.kernel32
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    kernel.K32GetProcessMemoryInfo.argtypes = [wintypes.HANDLE, ctypes.c_void_p, ctypes.c_uint32]
    counted = _ProcessMemory(length=ctypes.sizeof(_ProcessMemory))
    kernel.K32GetProcessMemoryInfo(kernel.GetCurrentProcess(), ctypes.byref(counted), counted.length)
    return int(counted.peak)
