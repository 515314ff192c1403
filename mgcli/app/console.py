"""The one output sink. Results go to stdout, everything said on the way to stderr, so that a pipe gets results only.

Three manners: human (rich tables, a progress bar at a terminal), --json (one JSON object on stdout, nothing else
there) and --quiet (the result alone). Library logs arrive here too: warnings always, notes unless --quiet.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TextIO

import rich.console
from rich.console import RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.segment import SegmentLines
from rich.text import Text

OUR_PACKAGES = ("mgcli", "wan", "wan22", "wanmini")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
SECONDS_BETWEEN_LINES = 5.0  # of progress, where there is no terminal to redraw


class _Terminal(rich.console.Console):
    def on_broken_pipe(self) -> None:
        """Ours to decide: rich would end the program."""
        raise BrokenPipeError


class Console:
    def __init__(self) -> None:
        self.json = False
        self.quiet = False
        self._out = _Terminal(markup=False, highlight=False, soft_wrap=True)
        self._err = _Terminal(markup=False, highlight=False, soft_wrap=True, stderr=True)

    def configure(self, *, json: bool, quiet: bool) -> None:
        self.json, self.quiet = json, quiet
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # of a letter that it has not, its number
        for package in OUR_PACKAGES:
            logger = logging.getLogger(package)
            logger.handlers = [_LogToConsole(self)]
            logger.setLevel(logging.WARNING if quiet else logging.INFO)
            logger.propagate = False

    @property
    def interactive(self) -> bool:
        """Somebody watches: stderr is a terminal and not told to be quiet."""
        return self._err.is_terminal and not self.quiet

    def say(self, text: str) -> None:
        """A note on the way: what was chosen and why, what happens next."""
        if not self.quiet:
            self._note(text)

    def warn(self, text: str) -> None:
        self._note(f"warning: {text}")

    def error(self, text: str) -> None:
        self._note(f"error: {text}")
        if self.json:
            try:
                self._print_json({"error": text})
            except OSError:  # it may be what went wrong
                silence(sys.stdout)

    def _note(self, text: str, end: str = "\n") -> None:
        """What is said on the way is not worth the run: where nobody is left to hear it, it goes on without."""
        try:
            self._err.print(plain(text), end=end)
        except OSError:
            silence(sys.stderr)

    def result(self, data: dict[str, Any], human: RenderableType) -> None:
        """The outcome of a command, once, at its end: `data` for programs, `human` (text, a table) for people."""
        if self.json:
            self._print_json(data)
        else:
            self._out.print(plain(human) if isinstance(human, str) else human)

    def next(self, text: str) -> None:
        """After a result: what can be done with it, for whoever reads along."""
        if not self.quiet and not self.json:
            self._err.print(f"next: {text}", style="dim")

    def page(self, lines: Iterable[Text]) -> None:
        """Help, which is what was asked for in every manner."""
        for line in lines:
            self._out.print(line)

    @property
    def width(self) -> int:
        return self._out.width

    def ask(self, question: str) -> str | None:
        """A line from stdin; None when there are no more."""
        self._note(f"{question}: ", end="")
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None

    @property
    def room(self) -> tuple[int, int]:
        """Columns and rows of the terminal that is watched."""
        return self._err.width, self._err.height

    @property
    def colours(self) -> str | None:
        """Of that terminal, as rich names them."""
        return None if self._err.no_color else self._err.color_system

    def drawn(self, picture: RenderableType) -> SegmentLines:
        """Laid out once, to be shown often."""
        return SegmentLines(self._err.render_lines(picture, pad=False), new_lines=True)

    def live(self) -> Live:
        """A picture at the terminal that is drawn again and again."""
        return Live(console=self._err, auto_refresh=False)

    def progress(self, what: str, total: int | None = None) -> Progress:
        return Progress(self._err, self._note, what, total, quiet=self.quiet)

    def _print_json(self, data: dict[str, Any]) -> None:
        """In the letters that stdout has; JSON can say the others."""
        line = json.dumps(data, ensure_ascii=not _has_every_letter(sys.stdout), default=str)
        print(CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", line), flush=True)


class Progress:
    """n of N, rate, time left and a free text, as a bar at a terminal and as a line now and then in a log.

    `with console.progress("block", 50) as bar: for block in rollout(...): bar.advance(status="9.1 GiB")`
    """

    def __init__(
        self, terminal: rich.console.Console, say: Callable[[str], None], what: str, total: int | None, quiet: bool
    ) -> None:
        self._say, self._what, self._total, self._quiet = say, what, total, quiet
        self._done, self._start, self._last_line = 0, time.monotonic(), time.monotonic()
        self._bar = RichProgress(*_columns(total), console=terminal, disable=quiet or not terminal.is_terminal)
        self._task = self._bar.add_task(what, total=total, status="", rate="")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def advance(self, status: str = "") -> None:
        self._done += 1
        self._bar.update(self._task, advance=1, status=status, rate=f"{self._rate():.2f}/s")
        now, at_end = time.monotonic(), self._done == self._total
        if self._bar.disable and not self._quiet and (at_end or now - self._last_line >= SECONDS_BETWEEN_LINES):
            self._say(self._line(status))
            self._last_line = now

    def _rate(self) -> float:
        return self._done / max(time.monotonic() - self._start, 1e-9)

    def _line(self, status: str) -> str:
        parts = [f"{self._what} {self._done}" + (f" of {self._total}" if self._total else ""), f"{self._rate():.2f}/s"]
        if self._total and self._done < self._total:
            parts.append(f"{(self._total - self._done) / self._rate():.0f} s left")
        return ", ".join([*parts, status] if status else parts)


def _columns(total: int | None) -> list[Any]:
    counted = [BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()] if total else [TextColumn("{task.completed}")]
    return [
        TextColumn("{task.description}"),
        *counted,
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[status]}"),
    ]


class _LogToConsole(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self._console.warn(record.getMessage())
        else:
            self._console.say(record.getMessage())


def plain(text: str) -> str:
    """Without what a terminal obeys: the name of a file, or what another program says, may have any letters in it."""
    return CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _has_every_letter(stream: TextIO | None) -> bool:
    return (getattr(stream, "encoding", None) or "").lower().replace("_", "-") in ("utf-8", "utf8")


def silence(stream: TextIO | None) -> None:
    """Nobody reads it any more: what is still to be written there goes nowhere, also when Python ends."""
    if stream is None:  # closed from the start
        return
    with suppress(OSError, ValueError):  # one that is no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


console = Console()
