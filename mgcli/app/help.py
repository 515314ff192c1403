"""Help pages: flags in groups, every name whole however narrow the terminal is, what happens without a flag, examples.

Typer's own page is a table whose columns share the width, so that long names end in dots; here a name that is too long
for its column has a line to itself.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.text import Text
from typer.core import TyperCommand, TyperGroup, TyperOption

from mgcli.app.console import console

WIDEST = 100  # longer lines are hard to read
NAMES = 26  # columns for the names, with two in front and two behind
TITLE, NAME, QUIET = "bold cyan", "bold", "dim"
ARGUMENTS, OPTIONS = "Arguments", "Options"
FOOTNOTE = "A flag without a value is off unless it is given. In names, - and _ are the same."
Examples = Sequence[tuple[str, str]]  # a command line, and what it is for


class Command(TyperCommand):
    examples: Examples = ()

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  as typer calls it
        console.page(command_page(self, ctx, page_width()))


class Program(TyperGroup):
    examples: Examples = ()

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  as typer calls it
        console.page(program_page(self, ctx, page_width()))


def page_width() -> int:
    return min(console.width, WIDEST)


def command_page(command: Command, ctx: Any, width: int) -> Iterator[Text]:
    yield from introduction(command, ctx, width)
    for title, params in grouped(command.get_params(ctx)).items():
        yield Text(f"\n{title}", style=TITLE)
        for param in params:
            yield from row(names_of(param, ctx), explained(param), width)
    yield from examples(command.examples)
    yield Text("")
    yield from paragraph(FOOTNOTE, width, style=QUIET)


def program_page(program: Program, ctx: Any, width: int) -> Iterator[Text]:
    yield from introduction(program, ctx, width)
    yield Text("\nCommands", style=TITLE)
    for name, command in program.commands.items():
        yield from row(name, first_paragraph(command.help or ""), width, column=12)
    yield Text(f"\n{OPTIONS}", style=TITLE)
    for param in program.get_params(ctx):
        yield from row(names_of(param, ctx), explained(param), width, column=12)
    yield from examples(program.examples)
    yield Text(f"\n{program.name} COMMAND --help says all about one.", style=QUIET)


def introduction(command: TyperCommand | TyperGroup, ctx: Any, width: int) -> Iterator[Text]:
    yield Text.assemble(("Usage: ", TITLE), " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)]))
    for part in inspect.cleandoc(command.help or "").split("\n\n"):
        yield Text("")
        yield from paragraph(part, width)


def grouped(params: Iterable[Any]) -> dict[str, list[Any]]:
    """By the title that a parameter names, in the order of the first of each; --help joins the last."""
    groups: dict[str, list[Any]] = {}
    for param in params:
        is_option = isinstance(param, TyperOption)
        title = param.rich_help_panel or (OPTIONS if is_option else ARGUMENTS)
        if param.name == "help":
            title = list(groups)[-1]
        groups.setdefault(title, []).append(param)
    return groups


def names_of(param: Any, ctx: Any) -> str:
    """`-o, --output, --save_file FILE`."""
    if not isinstance(param, TyperOption):
        return str(param.display_name_raw)
    spellings = sorted([*param.opts, *param.secondary_opts], key=lambda name: name.startswith("--"))
    return " ".join([", ".join(spellings), *([] if param.is_flag else [value_of(param, ctx)])])


def value_of(param: Any, ctx: Any) -> str:
    """What stands for the value: its choices, or its kind."""
    if param.metavar:
        return str(param.metavar)
    kinds = {"int": "N", "float": "N", "str": "TEXT", "list[str]": "TEXT", "path": "PATH"}
    kind = param.display_type(ctx).strip("<>")
    return kinds.get(kind, "N" if "range" in kind else kind.upper())


def explained(param: Any) -> str:
    return " ".join(part for part in (param.help or "", default_of(param)) if part)


def default_of(param: Any) -> str:
    """What happens where it is not given; a switch that is off says nothing, the page does once."""
    if param.required:
        return "Required."
    said = param.show_default if isinstance(param.show_default, str) else param.default
    return "" if said in (None, False) else f"Default: {said}."


def row(names: str, text: str, width: int, column: int = NAMES) -> Iterator[Text]:
    """Names at the left, what they are for beside them, or below where they are too long."""
    lines = wrapped(text, width - column - 2)
    if len(names) > column - 2:
        yield Text(f"  {names}", style=NAME)
    else:
        first, *lines = lines or [""]
        yield Text.assemble((f"  {names:<{column}}", NAME), first)
    for line in lines:
        yield Text(" " * (column + 2) + line)


def examples(given: Examples) -> Iterator[Text]:
    if given:
        yield Text("\nExamples", style=TITLE)
    for line, purpose in given:
        yield Text(f"  # {purpose}", style=QUIET)
        yield Text(f"  {line}")


def paragraph(text: str, width: int, style: str = "") -> Iterator[Text]:
    """A paragraph; lines that are indented stay as they are."""
    for line in text.splitlines() if "\n  " in text or text.startswith("  ") else wrapped(text, width):
        yield Text(line, style=style)


def first_paragraph(help: str) -> str:
    return inspect.cleandoc(help).partition("\n\n")[0]


def wrapped(text: str, width: int) -> list[str]:
    """Words are never cut: one that is longer than a line has it to itself."""
    return textwrap.wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)
