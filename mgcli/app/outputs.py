"""Where a run writes: every file worked out, compared and reserved before anything is loaded.

What is finished is not lost: a name that is taken gives way to the next one (demo-2.mp4) unless --overwrite was given. No
two files of a run are one, none is one that the run reads, and nobody else writes them meanwhile: beside each lies a lock,
which ends with its process however that ends. Two names of one file are one file. And ffmpeg can encode, which is tried.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from mgcli.app import system
from mgcli.app.locks import locked
from wan.video.encoder import require_encoder

log = logging.getLogger(__name__)
Files = Mapping[str, Path]  # what each is, such as "record"; the one that the user named is among them
LONGEST_ADDITION = len("..whole.mp4")  # to a name, while its file is made
# flags that name a file to read; a value may also be something else, such as an action script
READ = (
    "image", "actions", "script", "load_state", "prompt_file", "config_path", "last_image", "video",
    "checkpoint_path", "pretrained_model_path", "tiny_vae", "ckpt_dir",
)  # fmt: skip


def _alone(path: Path) -> Files:
    return {"": path}


class Outputs:
    """The files of one run. `with` holds them; leaving it lets others write there."""

    def __init__(self, request: Any, overwrite: bool = False):
        self._inputs, self._overwrite = list(files_read(request)), overwrite
        self._asked: list[tuple[str, Path]] = []
        self._placed: list[Path] = []
        self._locks = ExitStack()

    def __enter__(self) -> Self:
        require_encoder()
        return self

    def __exit__(self, *exception: object) -> None:
        self._locks.close()

    def place(
        self,
        flag: str,
        asked: Path,
        files: Callable[[Path], Files] = _alone,
        *,
        folder: bool = False,
        chosen: bool = True,
    ) -> Path:
        """Where `flag` writes: `asked`, or its next number if one of the `files` that go with it is there. `chosen`: by the
        user, who is told if another run writes there; a default is numbered then too."""
        if asked.is_dir() and not folder:
            raise ValueError(f"{asked} is a folder: name a file in it, such as {asked / f'demo{asked.suffix}'}")
        self._ask(labelled(flag, files(asked)))
        for path in numbered(asked, folder):
            wanted = labelled(flag, files(path))
            for label, file in wanted:
                require_writable(label, file)
            if self._reserve(wanted, refuse=chosen and path == asked):
                return self._told(path, asked)
        raise AssertionError("numbers do not end")

    def _ask(self, wanted: list[tuple[str, Path]]) -> None:
        for file in wanted:
            require_apart([file], self._asked)
            self._asked.append(file)

    def _reserve(self, wanted: list[tuple[str, Path]], refuse: bool) -> bool:
        """Locked first and looked at then: what another run finishes meanwhile is there."""
        files = [file for _, file in wanted]
        if any(same(file, other) for file in files for other in self._placed):
            return False
        with ExitStack() as locks:
            for file in files:
                try:
                    locks.enter_context(locked(file))
                except BlockingIOError as busy:
                    if refuse:
                        raise ValueError(
                            f"another run (process {busy}) is writing {file}: wait for it, or choose another name"
                        ) from None
                    return False
            if not self._overwrite and any(map(os.path.lexists, files)):
                return False
            require_apart(wanted, self._inputs)
            self._locks.enter_context(locks.pop_all())
        self._placed += files
        return True

    def _told(self, path: Path, asked: Path) -> Path:
        if path != asked:
            log.info(f"{asked}, or what goes with it, is there or being written: this run writes {path}")
        return path


def files_read(request: Any) -> Iterator[tuple[str, Path]]:
    """The files that a request names to read, by flag."""
    for name in READ:
        given = getattr(request, name, None)
        for value in given if isinstance(given, tuple) else (given,):
            if value is not None and os.path.isfile(value):
                yield f"--{name}", Path(value)


def labelled(flag: str, files: Files) -> list[tuple[str, Path]]:
    return [(flag if what in ("", "video") else f"the {what} of {flag}", file) for what, file in files.items()]


def numbered(path: Path, folder: bool = False) -> Iterator[Path]:
    """demo.mp4, demo-2.mp4, demo-3.mp4, ..."""
    stem, ending = (path.name, "") if folder else (path.stem, path.suffix)
    return itertools.chain([path], (path.with_name(f"{stem}-{number}{ending}") for number in itertools.count(2)))


def require_apart(files: list[tuple[str, Path]], others: list[tuple[str, Path]]) -> None:
    for label, file in files:
        for other_label, other in others:
            if same(file, other):
                raise ValueError(f"{other_label} and {label} are both {file}: give one of them another name")


def same(a: Path, b: Path) -> bool:
    """Whether two names are of one file, there already or not. Hard links are not: a new file takes the place of one."""
    if os.path.realpath(a) == os.path.realpath(b):
        return True
    try:  # names that differ in case only, where that is no difference
        return os.path.samefile(a, b) and os.stat(a).st_nlink == 1
    except OSError:
        return False


def require_writable(label: str, path: Path) -> None:
    """Makes the folder. That something can be written in it is shown by the lock."""
    for folder in path.parents:
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(folder))
    path.parent.mkdir(parents=True, exist_ok=True)
    longest, length = system.longest_name(path.parent) - LONGEST_ADDITION, system.name_length(path.name)
    if length > longest:
        raise ValueError(f"{label}: a name of {length} {system.NAME_UNIT} is too long: at most {longest}")
    if path.exists() and not path.is_file():
        raise ValueError(f"{label}: {path} is {'a folder' if path.is_dir() else 'no file'}: choose another name")
