"""A command of a page, read by the command line that it is for: flags that exist, values that are taken, plans that hold.

Nothing is opened or made: files that a page names are its reader's.
"""

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

import typer

from mgcli import mg, wan22_app
from mgcli.game.play.request import PlayRequest
from mgcli.game.request import RANDOM, GenerateRequest, StreamRequest, game_request
from mgcli.video.request import wan22_request
from tests.docs.pages import ROOT
from wan.game.modes import MODES
from wan.game.scripts import FILES, load_script
from wan22.compare import MODES as COMPARISONS
from wan22.plan import planned

APPS = {"mg": mg.app, "wan22": wan22_app.app}
GAMES = {"generate": GenerateRequest, "stream": StreamRequest, "play": PlayRequest}
VIDEOS = {"t2v": "t2v-A14B", "i2v": "i2v-A14B", "plan": None, "compare": None}
READERS_FILES = {
    "checkpoint_path", "pretrained_model_path", "tiny_vae", "image", "load_state", "save_state", "ckpt_dir", "prompt_file",
    "output_dir", "config_path", "high_noise", "low_noise", "text_encoder", "tokenizer", "vae", "last_image", "video",
}  # fmt: skip
# what else the pages call: theirs to be right
OTHERS = {".", "cd", "git", "ln", "mkdir", "pre-commit", "printf", "ssh"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENDS = {"|", "||", "&&", ";"}


def programs(line: str) -> list[list[str]]:
    """The commands of a line, each as words."""
    words = shlex.shlex(line, posix=True, punctuation_chars="|;&")
    words.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in words:
        commands.append([]) if word in ENDS else commands[-1].append(word)
    return [list(takewhile(lambda word: word not in (">", ">>"), command)) for command in commands if command]


def check(words: list[str]) -> None:
    """Raises, or fails an assertion, where a page is wrong."""
    while re.match(r"\w+=", words[0]):
        words = words[1:]
    program, *rest = words
    checks: dict[str, Callable[[list[str]], None]] = {
        "make": check_make, "python": check_python, "pip": check_install, "pipx": check_install, "uv": check_install,
    }  # fmt: skip
    if program in APPS:
        check_ours(program, rest)
    elif program in checks:
        checks[program](rest)
    else:
        assert program in OTHERS, f"what is {program}?"


def check_ours(program: str, words: list[str]) -> None:
    app = APPS[program]
    name, *flags = words
    if name.startswith("--"):
        return
    parent = typer.Context(app, info_name=program, **app.context_settings)
    command = app.get_command(parent, name)
    assert command, f"{program} has no command {name}"
    given = command.make_context(name, flags, parent=parent).params
    known = {key: value for key, value in given.items() if value is not None and key not in READERS_FILES}
    if program == "mg" and name in GAMES:
        check_game(GAMES[name], known)
    if program == "wan22" and name in VIDEOS:
        check_video(VIDEOS[name], known)


def check_game(cls: Any, flags: dict[str, Any]) -> None:
    flags.pop("open_", None)
    script = flags.pop("script", None)
    request = game_request(cls, flags)
    for actions in (*request.actions, *([script] if script else [])):
        if actions != RANDOM and Path(actions).suffix.lower() not in FILES:
            load_script(actions, MODES[request.mode])


def check_video(task: str | None, flags: dict[str, Any]) -> None:
    assert flags.pop("comparison_mode", COMPARISONS[0]) in COMPARISONS
    planned(wan22_request(flags, task=task, only_planned=True))


def check_make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert all(word in targets for word in words if "=" not in word and word != "-B")


def check_python(words: list[str]) -> None:
    if words[0] != "-m":
        assert (ROOT / words[0]).is_file()
        return
    source = source_of(words[1])
    shared = [source_of(name) for name in re.findall(r"^from (wanmini[\w.]*) import", source, re.M)]
    assert all(f'"{word}"' in "".join([source, *shared]) for word in words if word.startswith("--"))


def source_of(module: str) -> str:
    found = importlib.util.find_spec(module)
    assert found and found.origin, f"no module {module}"
    return Path(found.origin).read_text(encoding="utf-8")


def check_install(words: list[str]) -> None:
    """Extras that exist, a wheel of the version this is."""
    [what] = [word for word in words if word.startswith((".", "mgcli"))] or ["."]
    extras = re.findall(r"[\w-]+", m[1]) if (m := re.search(r"\[(.+)\]", what)) else []
    assert set(extras) <= PROJECT["optional-dependencies"].keys()
    assert ".whl" not in what or f"mgcli-{PROJECT['version']}-py3-none-any.whl" in what
