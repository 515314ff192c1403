"""A lock beside a file that is being written: it names the process that has it, and ends with that however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mgcli.app import system


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """BlockingIOError, with the number of the process that has it, if another one does. Nothing waits."""
    name = path.with_name(f".{path.name}.lock")
    file = _opened(name)
    try:
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        yield
    finally:
        system.let_go(file, name)


def _opened(name: Path) -> int:
    while True:
        try:
            file = os.open(name, os.O_RDWR | os.O_CREAT | system.NO_FOLLOW, 0o666)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(name.parent)) from error
        _lock(file)
        if name.exists() and os.path.samestat(os.fstat(file), name.stat()):
            return file
        os.close(file)  # it was let go, and unlinked, after we had opened it


def _lock(file: int) -> None:
    try:
        system.lock(file)
    except OSError as error:
        holder = os.read(file, 20).decode(errors="replace")
        os.close(file)
        raise (BlockingIOError(holder) if isinstance(error, BlockingIOError) else error) from None
