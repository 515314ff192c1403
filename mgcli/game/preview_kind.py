"""Which way of drawing a world suits a terminal, by what its environment says. No numpy here: the help page lists the kinds.

Nothing is asked of the terminal itself: one that does not know the question types the answer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

Kind = Literal["blocks", "kitty", "off"]
KINDS = ("auto", "blocks", "kitty", "off")
OF_KITTY = ("xterm-kitty", "xterm-ghostty")  # TERM of those that know kitty's protocol for pictures
MULTIPLEXERS = ("TMUX", "STY")  # between us and the terminal; they let no pictures through


def preview_kind(
    asked: str | None, colours: str | None, json: bool = False, environment: Mapping[str, str] = os.environ
) -> Kind:
    """`colours` as rich names them: truecolor, 256, standard (16), none."""
    match asked:
        case "blocks" | "kitty" | "off":
            return asked
        case None | "auto":
            return "off" if json else automatic(colours, environment)
        case _:
            raise ValueError(f"preview {asked!r} is none of {', '.join(KINDS)}")


def automatic(colours: str | None, environment: Mapping[str, str]) -> Kind:
    if colours not in ("truecolor", "256"):
        return "off"
    direct = not any(environment.get(name) for name in MULTIPLEXERS)
    if direct and (environment.get("TERM") in OF_KITTY or environment.get("KITTY_WINDOW_ID")):
        return "kitty"
    return "blocks"
