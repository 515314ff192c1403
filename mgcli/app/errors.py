"""The one error boundary: what goes wrong below becomes one line and an exit code, with --json an {"error": ...} too.

Exit 2: the user's to mend (ValueError, a file, a flag); the line says how. Exit 1: ours. Exit 130: Ctrl-C.
Commands and libraries raise and never catch to print; the traceback is one flag away.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Any

import typer

from mgcli.app.console import console, silence
from mgcli.app.interrupt import INTERRUPTED
from wan.refusal import Refusal

HINT = "set MG_TRACEBACK=1 (or --traceback) to see where"

LONGEST = 1000  # letters of a line; what was given may have any number


def run(app: Any, arguments: list[str]) -> int:
    """Run a command line and return its exit code; the output flags are read here because parsing itself may fail."""
    console.configure(json="--json" in arguments, quiet="--quiet" in arguments)
    try:
        if os.environ.get(f"_{app.name.upper()}_COMPLETE"):  # a shell asks what may stand here
            from typer.completion import completion_init

            completion_init()
        code = app.main(arguments or ["--help"], prog_name=app.name, standalone_mode=False)
        if sys.stdout:  # which may be closed
            sys.stdout.flush()
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        silence(sys.stdout)
        return 1
    except (Exception, KeyboardInterrupt) as error:
        if "--traceback" in arguments or os.environ.get("MG_TRACEBACK", "0") not in ("", "0"):
            traceback.print_exception(error)
        line, code = describe(error)
        console.error(line)
    else:
        code = code if isinstance(code, int) else 0
        if code == INTERRUPTED:  # typer turns Ctrl-C into this code without a word
            console.error("interrupted")
    return code


def describe(error: BaseException) -> tuple[str, int]:
    """The line to show and the exit code; notes that were added on the way come last."""
    line, code = _described(error)
    cause = error.__cause__
    notes = [*getattr(error, "__notes__", []), *getattr(cause, "__notes__", [])]
    return "; ".join([line, *notes]), code


def _described(error: BaseException) -> tuple[str, int]:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if isinstance(error, typer.Abort):
        return "no answer: the input ended", 1
    if isinstance(error, typer.TyperException):
        return _one_line(error.format_message()), error.exit_code
    if isinstance(error, OSError):
        return _one_line(_describe_os_error(error)), 2
    if isinstance(error, Refusal):
        return _one_line(f"{error}{_flags(error.settings)}"), 2
    if isinstance(error, ValueError):
        return _one_line(str(error)), 2
    return f"{type(error).__name__}: {_one_line(str(error))} ({HINT})", 1


def _flags(settings: tuple[str, ...]) -> str:
    """A library names settings; here they are flags."""
    return f" ({', '.join(f'--{setting}' for setting in settings)})" if settings else ""


def _describe_os_error(error: OSError) -> str:
    name = error.filename
    if error.errno is None or (name is None and error.errno != errno.ENOSPC):
        return str(error)
    sentences = {
        errno.ENOENT: f"no such file or folder: {name}",
        errno.EACCES: f"not permitted: {name} (check who owns it, or choose another place)",
        errno.EROFS: f"read-only place: {name} (choose another)",
        errno.EISDIR: f"{name} is a folder, a file is needed",
        errno.ENOTDIR: f"{name} is a file where a folder is needed",
        errno.ENOSPC: f"disk full{f' while writing {name}' if name else ''}: free some space or choose another place",
    }
    return sentences.get(error.errno, f"{name}: {error.strerror}")


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
