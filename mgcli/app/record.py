"""The record beside a video: one JSON object that grows with it, at the same cost after a day as at first.

While it grows, its list of actions comes last but for a short end, and a block is added by one write of its actions and a new
end over the old one. So what is there after any block is whole JSON and a session that replays; a process killed in the very
middle of that write may leave it cut, which wan.game.scripts reads as what was there before. `close` says everything once
more, with a text of actions.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from wan.files.text import json_bytes


class Record:
    def __init__(self, path: Path, head: dict[str, Any]):
        self.path, self._head = path, head
        self._file: BinaryIO | None = None
        self._end, self._at = b"", 0  # what follows the actions, and where

    def append(self, actions: Sequence[str], facts: dict[str, Any]) -> None:
        """A block's actions, and what is to be said of all blocks. On disk when it returns."""
        lines = ",\n".join(f"    {_json(action)}" for action in actions).encode()
        end = "".join(["\n  ]", *(f",\n  {_json(name)}: {_json(value)}" for name, value in facts.items()), "\n}\n"])
        if self._file is None:
            head = json_bytes(self._head, indent=2)
            self._replace(head[:-2] + b',\n  "actions": [\n' + lines, end.encode())
        else:
            self._add(b",\n" + lines, end.encode())

    def _add(self, lines: bytes, end: bytes) -> None:
        assert self._file is not None
        data = (lines + end).ljust(len(self._end))  # blanks after the object are no harm, the rest of an old end is
        try:
            if self._write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._write(self._end)
            self._file.truncate(self._at + len(self._end))
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._at, self._end = self._at + len(lines), data[len(lines) :]

    def _write(self, data: bytes) -> int:
        assert self._file is not None
        self._file.seek(self._at)
        return self._file.write(data)

    def _replace(self, before: bytes, end: bytes) -> None:
        """The file anew, whole or not at all; not while it is open, because Windows replaces no open file."""
        part = self.path.with_name(f".{self.path.name}.part")
        try:
            part.write_bytes(before + end)
            if self._file:
                self._file.close()
            part.replace(self.path)
            self._file = self.path.open("r+b", buffering=0)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._at, self._end = len(before), end

    def close(self, actions: str, facts: dict[str, Any]) -> None:
        """`facts` may be long now."""
        if self._file is None:
            return
        whole = self._head | {"actions": actions} | facts
        self._replace(json_bytes(whole, indent=2), b"\n")
        self._file.close()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
