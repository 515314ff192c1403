"""What can be done after a command, in a line: commands as they can be typed where this one was."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from mgcli.app.models import GAME_MODELS, MODELS


def program(name: str) -> str:
    """`mg` where the shell finds it, else the way in which this program was called: `.venv/bin/mg`."""
    called = Path(sys.argv[0])
    beside = called.with_name(name)
    if called.name not in ("mg", "wan22") or shutil.which(name) == os.path.abspath(beside):
        return name
    return str(beside)


def after_world(video: str) -> str:
    return f"open {video}; {program('mg')} stream plays such a world with the keys of this terminal"


def after_session(video: str) -> str:
    return f"open {video}; {program('mg')} play does the same in the browser"


def after_video(video: str, task: str) -> str:
    return f"open {video}; {program('wan22')} {task} --config_path {Path(video).with_suffix('.json')} makes it again"


def with_any(complete: list[str]) -> str:
    """A first command on a machine where these models are."""
    for name in complete:
        if name in GAME_MODELS:
            return f"{program('mg')} play --checkpoint_path {name}"
    return f"{program('mg')} generate, which needs no model; {program('mg')} download universal fetches a released one"


def with_model(model: str, folder: Path, chosen_dir: Path | None) -> str:
    """A first use of a model that is there now."""
    found = f"MG_MODELS={chosen_dir} " if chosen_dir and os.environ.get("MG_MODELS") != str(chosen_dir) else ""
    if model in GAME_MODELS:
        return f"{found}{program('mg')} play --checkpoint_path {model}"
    name = "" if model in ("t2v-A14B", "i2v-A14B") else f" --ckpt_dir {model}"
    if model.startswith("t2v-A14B"):
        return (
            f'{found}{program("wan22")} t2v{name} -p "two cats boxing on a stage" --size "832*480" --accel recommended'
        )
    if model.startswith("i2v-A14B"):
        return f'{found}{program("wan22")} i2v{name} --image FILE -p "the cat stands up" --size "832*480"'
    return f"{program('mg')} play --checkpoint_path universal --tiny_vae {folder / MODELS[model].files[0]}"
