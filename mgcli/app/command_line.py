"""A command line made of files: `mgcli/commands/<name>.py` holds a function of that name, its interface.

A file is imported when its command is called (all of them for --help), so adding a command is adding its name to a
list, and starting one does not pay for the others. A name that two programs have gets two files: `wan22_bench` is the
`bench` of wan22. What every command shares is added here once: both spellings of
every flag (`--frame_num`, `--frame-num`; help shows the first) and the output options --json, --quiet, --traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from mgcli.app.options import Json, Quiet, Traceback


def command_line(name: str, help: str, commands: tuple[str, ...]) -> TyperGroup:
    # "-" and "_" are one letter to the parser, for option names as for choices
    settings = {"token_normalize_func": lambda token: token.replace("-", "_"), "help_option_names": ["--help", "-h"]}
    return TyperGroup(name=name, help=help, commands=CommandFiles(name, commands), context_settings=settings)  # type: ignore[arg-type]


class CommandFiles(Mapping[str, Any]):
    """The commands by name, each imported when it is looked up."""

    def __init__(self, program: str, files: tuple[str, ...]) -> None:
        self._files = {file.removeprefix(f"{program}_"): file for file in files}

    def __getitem__(self, name: str) -> Any:
        file = self._files[name]
        return command(name, getattr(import_module(f"mgcli.commands.{file}"), file))

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def command(name: str, function: Callable[..., Any]) -> Any:
    made = _parse(function)
    made.name = name
    made.params += [_hidden_from_function(p) for p in _parse(_output_options).params]
    for param in made.params:
        param.opts = [_underscored(o) for o in param.opts]
        param.secondary_opts = [_underscored(o) for o in param.secondary_opts]
    return made


def _parse(function: Callable[..., Any]) -> Any:
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return get_command(app)


def _output_options(json: Json = False, quiet: Quiet = False, traceback: Traceback = False) -> None:
    """Read by the error boundary before parsing (a mistyped flag is reported as JSON too); no command takes them."""


def _hidden_from_function(param: Any) -> Any:
    param.expose_value = False
    return param


def _underscored(option: str) -> str:
    return "--" + option[2:].replace("-", "_") if option.startswith("--") else option
