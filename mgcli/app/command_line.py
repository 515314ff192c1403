"""A command line made of files: `mgcli/commands/<name>.py` holds a function of that name, its interface.

A file is imported when its command is called (all of them for --help), so adding a command is adding its name to a
list, and starting one does not pay for the others. A name that two programs have gets two files: `wan22_bench` is the
`bench` of wan22. What every command shares is added here once: both spellings of
every flag (`--frame_num`, `--frame-num`; help shows the first) and the output options --json, --quiet, --traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.main import get_command

from mgcli.app.help import Command, Examples, Program
from mgcli.app.options import Json, Quiet, Traceback
from mgcli.app.version import show_version

Version = Annotated[
    bool, typer.Option("--version", help="Say which version this is.", is_eager=True, callback=show_version)
]


def command_line(name: str, help: str, commands: tuple[str, ...], examples: Examples = ()) -> Program:
    # "-" and "_" are one letter to the parser
    settings = {"token_normalize_func": lambda token: token.replace("-", "_"), "help_option_names": ["--help", "-h"]}
    files: Any = CommandFiles(name, commands)
    program = Program(name=name, help=help, commands=files, params=_hidden(_program_options), context_settings=settings)
    program.examples = examples
    return program


class CommandFiles(Mapping[str, Any]):
    """The commands by name, each imported when it is looked up."""

    def __init__(self, program: str, files: tuple[str, ...]) -> None:
        self._program = program
        self._files = {file.removeprefix(f"{program}_"): file for file in files}

    def __getitem__(self, name: str) -> Any:
        file = self._files[name]
        module = import_module(f"mgcli.commands.{file}")
        examples = [(line.replace("PROGRAM", self._program), what) for line, what in getattr(module, "EXAMPLES", ())]
        return command(name, getattr(module, file), examples)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def command(name: str, function: Callable[..., Any], examples: Examples = ()) -> Any:
    made = _parse(function)
    made.name, made.examples = name, examples
    made.params += _hidden(_output_options)
    for param in made.params:
        param.opts = [_underscored(o) for o in param.opts]
        param.secondary_opts = [_underscored(o) for o in param.secondary_opts]
    return made


def _parse(function: Callable[..., Any]) -> Any:
    app = typer.Typer(add_completion=False)
    app.command(cls=Command)(function)
    return get_command(app)


def _output_options(json: Json = False, quiet: Quiet = False, traceback: Traceback = False) -> None:
    """Read by the error boundary before parsing (a mistyped flag is reported as JSON too); no command takes them."""


def _program_options(
    version: Version = False, json: Json = False, quiet: Quiet = False, traceback: Traceback = False
) -> None:
    """Those before a command's name; the output options may stand on either side of it."""


def _hidden(function: Callable[..., Any]) -> list[Any]:
    """The options of a function that is never called."""
    params = _parse(function).params
    for param in params:
        param.expose_value = False
    return list(params)


def _underscored(option: str) -> str:
    return "--" + option[2:].replace("-", "_") if option.startswith("--") else option
