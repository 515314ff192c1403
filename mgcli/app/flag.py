"""One flag as its help page and a shell's completion need it: its names, what it is for, what happens without it.

Values that are one of a few words are shown and completed, and taken in any spelling: `gta-drive` and `GTA_drive` are
gta_drive. A word that is none of them is left for the request to refuse, which knows what to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import typer


def flag(
    help: str,
    *names: str,
    default: str = "",
    panel: str | None = None,
    choices: Iterable[str] = (),
    metavar: str | None = None,
    **more: Any,
) -> Any:
    """`default` is in words: what a flag comes to often depends on others. A switch has none, it is off."""
    if choices := tuple(choices):
        metavar = metavar or "|".join(choices)
        more |= {"autocompletion": completed(choices), "callback": spelled(choices)}
    shown = default if default else True
    return typer.Option(*names, help=help, show_default=shown, rich_help_panel=panel, metavar=metavar, **more)


def completed(choices: Iterable[str]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def spelled(choices: Iterable[str]) -> Callable[[Any], Any]:
    """A value as the request has it, however it was written."""
    known = {plain(choice): choice for choice in choices}

    def spell(value: Any) -> Any:
        return known.get(plain(value), value) if isinstance(value, str) else value

    return spell


def plain(word: str) -> str:
    return word.replace("-", "_").lower()
