"""The embedded mini in place of a released model: when it makes a video, and what it cannot be asked for.

Whoever writes "two cats boxing" wants cats, not the coloured shapes that the mini would make of it, so that is refused before
anything is loaded, with what it knows and how to get the real model. Naming it, `--ckpt_dir mini`, takes whatever comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mgcli.video.checkpoints import checkpoint_here
from wan22.config import PARTS, parse_size
from wanmini import sizes

TASK = "t2v-A14B"  # what the mini is a small one of
NAME = "mini"  # as --ckpt_dir
EXAMPLE = "Two small red stars drift slowly to the left on a dark background."
THE_REAL_ONE = f"`wan22 download {TASK}` fetches the released model"
MOST_NAMED = 4  # unknown words


def named(given: Mapping[str, Any]) -> bool:
    """By the user; a folder of that name is a folder."""
    folder = given.get("ckpt_dir")
    return folder is not None and str(folder) == NAME and not Path(folder).exists()


def makes(given: Mapping[str, Any]) -> bool:
    """Whether the mini makes the video: from text, because it was named or nothing else is here."""
    if given.get("task", TASK) != TASK:
        return False
    return named(given) or not (any(given.get(name) for name in ("ckpt_dir", *PARTS)) or checkpoint_here(TASK))


def require_size(given: Mapping[str, Any]) -> None:
    """A size of the released model is asked of the released model."""
    size = given.get("size", sizes.SIZE)
    if not given.get("any_size") and parse_size(size) != (sizes.WIDTH, sizes.HEIGHT):
        raise ValueError(
            f"size {size} is the released model's, and none is here: the mini that comes with the package makes {sizes.SIZE}. "
            f"Leave --size out (or allow it, with --any_size); {THE_REAL_ONE}, --ckpt_dir names one"
        )


def require_understood(prompts: Iterable[str]) -> None:
    from wanmini.scenes.understood import names_a_shape, unknown_words

    for prompt in prompts:
        unknown = unknown_words(prompt)
        if unknown or not names_a_shape(prompt):
            raise ValueError(f"{complaint(prompt, unknown)} {what_then(unknown)}")


def complaint(prompt: str, unknown: list[str]) -> str:
    known = "the mini that comes with the package, which runs where no released model is, knows moving shapes only"
    if not unknown:
        return f"the prompt {prompt!r} names no shape: {known}."
    words = ", ".join(f'"{word}"' for word in unknown[:MOST_NAMED])
    more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
    return f"the prompt says {words}{more}: {known}."


def what_then(unknown: list[str]) -> str:
    leave_out = "Leave such words out, or try" if unknown else "Try"
    return f'{leave_out} "{EXAMPLE}"; {THE_REAL_ONE}; --ckpt_dir {NAME} makes something of it anyway'
