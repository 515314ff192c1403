"""Help pages at 80 columns, names and defaults and examples; versions; completion as the shells ask for it."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperOption

from mgcli import mg, wan22_app
from mgcli.app.command_line import command_line
from mgcli.app.errors import run
from mgcli.app.help import default_of, names_of
from mgcli.game.play.request import PlayRequest
from mgcli.game.request import GenerateRequest, StreamRequest
from wan22.config import Request, Task

ROOT = Path(mg.__file__).parent.parent
APPS = {app.name: app for app in (mg.app, wan22_app.app)}
COMMANDS = [(app, name) for app in APPS.values() for name in app.commands]
each_command = pytest.mark.parametrize("app, name", COMMANDS, ids=lambda v: getattr(v, "name", v))


def page(capsys, app, *names: str) -> str:
    assert run(app, [*names, "--help"]) == 0
    return capsys.readouterr().out


@pytest.fixture(params=[60, 80])
def columns(request, monkeypatch) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


@each_command
def test_every_name_is_on_the_page_whole(app, name: str, columns: int, capsys):
    shown = page(capsys, app, name)
    words = set(shown.replace(",", " ").split())
    for param in app.commands[name].params:
        for spelling in [*param.opts, *param.secondary_opts]:
            assert spelling in words
    if columns == 80:
        assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown


@pytest.mark.parametrize("app", APPS.values(), ids=APPS)
def test_the_page_of_a_program(app, columns: int, capsys):
    shown = page(capsys, app)
    assert all(f"\n  {name} " in shown for name in app.commands) and "--version" in shown
    assert max(map(len, shown.splitlines())) <= max(columns, 80)


@each_command
def test_every_value_has_a_default_that_is_said_once(app, name: str, capsys):
    shown = " ".join(page(capsys, app, name).split())
    for param in app.commands[name].params:
        if not getattr(param, "is_flag", False):
            assert default_of(param), param.name
            assert default_of(param).split("\n")[0] in shown
        assert "default" not in (param.help or "").lower(), f"{param.name}: a default has a place of its own"


@pytest.mark.parametrize(
    "app, name, defaults",
    [
        (mg.app, "generate", GenerateRequest("universal")),
        (mg.app, "stream", StreamRequest("universal")),
        (mg.app, "play", PlayRequest("universal")),
        (wan22_app.app, "t2v", Request()),
        (wan22_app.app, "t2v", Task("t2v-A14B", None, 0.875, 12.0, (3.0, 4.0))),
    ],
)
def test_defaults_are_those_of_the_request(app, name: str, defaults):
    """What is said in words begins with the number that holds."""
    params = {param.name: default_of(param) for param in app.commands[name].params}
    told = ("base_seed", "task", "mode", "port")  # otherwise: they depend on the model, on chance or on the machine
    for key, value in vars(defaults).items():
        # a size, a length and a seed that depend on the model or on chance are told otherwise
        if key in params and type(value) in (int, float, str, Path) and value != "" and key not in told:
            assert params[key].startswith(f"Default: {value:g}" if type(value) is float else f"Default: {value}"), key


@each_command
def test_examples_parse(app, name: str, capsys):
    examples = app.commands[name].examples
    assert examples
    shown = page(capsys, app, name)
    for line, purpose in [*examples, *app.examples]:
        assert line in shown or (line, purpose) in app.examples
        parse(line)


def parse(line: str) -> None:
    program, *arguments = shlex.split(line.partition(" >")[0])
    app = APPS[program]
    context = app.make_context(program, arguments)
    name, command, rest = app.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, rest, parent=context)


def test_a_program_has_examples(capsys):
    for app in APPS.values():
        assert app.examples and all(line in page(capsys, app) for line, _ in app.examples)


def test_groups_and_short_names(capsys):
    shown = page(capsys, mg.app, "generate")
    assert [line for line in shown.splitlines() if line and line[0] != " "][2:] != []
    assert all(f"\n{title}\n" in shown for title in ("World", "Files", "Model", "Machine", "Every command", "Examples"))
    params = {param.name: names_of(param, None) for param in mg.app.commands["generate"].params if param.metavar}
    assert params["output"] == "-o, --output FILE" and params["seed"] == "-s, --seed N"
    shown = page(capsys, wan22_app.app, "t2v")
    for names in (
        "-o, --save_file, --output FILE",
        "-p, --prompt",
        "-s, --base_seed, --seed N",
        "--sample_steps, --steps",
    ):
        assert names in shown


@pytest.mark.parametrize("app", APPS.values(), ids=APPS)
def test_version(app, capsys):
    assert run(app, ["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"{app.name} ")
    for arguments in (["--version", "--json"], ["--json", "--version"]):
        assert run(app, arguments) == 0
        assert json.loads(capsys.readouterr().out).keys() == {"mgcli", "torch", "python"}


def test_version_loads_no_torch():
    code = "import sys; from mgcli.app.errors import run; from mgcli.mg import app; run(app, ['--version']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[1:] == ["False"], done.stderr


# --- completion -------------------------------------------------------------------------------------------------------


@pytest.fixture
def shell_path(tmp_path) -> dict[str, str]:
    """An environment in which `mg` and `wan22` are this checkout's."""
    for program, module in (("mg", "mg"), ("wan22", "wan22_app")):
        script = tmp_path / program
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mgcli.{module} "$@"\n')
        script.chmod(0o755)
    return os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def bash_completes(environment: dict[str, str], *words: str) -> list[str]:
    program = words[0]
    asked = f"""
source <({program} completion bash 2>/dev/null)
COMP_WORDS=({shlex.join(words)}) COMP_CWORD={len(words) - 1}
_{program}_completion {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "--norc", "-c", asked], capture_output=True, text=True, env=environment)
    return done.stdout.split()


@pytest.mark.parametrize(
    "words, completed",
    [
        (["mg", "str"], ["stream"]),
        (["mg", "generate", "--mode", "t"], ["templerun"]),
        (["wan22", "download", "i2"], ["i2v-A14B", "i2v-A14B-fp8", "i2v-A14B-Q4_K_M"]),
        (["wan22", "t2v", "--half_frame_n"], ["--half_frame_noise"]),
    ],
)
def test_bash_completes(words, completed, shell_path):
    assert bash_completes(shell_path, *words) == completed


@pytest.mark.parametrize("shell, variables", [
    ("zsh", {"_TYPER_COMPLETE_ARGS": "mg generate --"}),
    ("fish", {"_TYPER_COMPLETE_ARGS": "mg generate --", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
])  # fmt: skip
def test_what_zsh_and_fish_ask(shell, variables, shell_path):
    done = subprocess.run(
        ["mg"], capture_output=True, text=True, env=shell_path | variables | {"_MG_COMPLETE": f"complete_{shell}"}
    )
    assert "--num_output_frames" in done.stdout and done.returncode == 0 and done.stderr == ""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_script_is_one_of_that_shell(shell, shell_path):
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    script = subprocess.run(["mg", "completion", shell], capture_output=True, text=True, env=shell_path).stdout
    assert subprocess.run([shell, "-n"], input=script, text=True).returncode == 0


def test_completion_of_an_unknown_shell(capsys):
    assert run(mg.app, ["completion", "csh"]) == 2
    assert capsys.readouterr().err == "error: no completion for 'csh'; there is one for bash, zsh, fish\n"


@pytest.mark.parametrize("app", APPS.values(), ids=APPS)
def test_completion_says_how_it_is_installed(app, capsys):
    assert run(app, ["completion", "bash"]) == 0
    out, err = capsys.readouterr()
    assert f"_{app.name}_completion" in out and err == f"next: to install it: {app.name} completion bash >> ~/.bashrc\n"


# --- spellings --------------------------------------------------------------------------------------------------------


def given(app, *arguments: str) -> dict:
    """What a command is called with."""
    context = app.make_context(app.name, [*arguments])
    name, command, rest = app.resolve_command(context, [*context._protected_args, *context.args])
    return {
        k: v for k, v in command.make_context(name, rest, parent=context).params.items() if v not in (None, False, [])
    }


@pytest.mark.parametrize("app, long, other", [
    (mg.app, "generate --output a.mp4 --seed 3 --image b.png", "generate -o a.mp4 -s 3 --img_path b.png"),
    (mg.app, "stream --output a.mp4 --seed 3 --prompt", "stream -o a.mp4 -s 3 -p"),
    (mg.app, "play --output a.mp4 --seed 3 --mode gta_drive", "play -o a.mp4 -s 3 --mode gta-drive"),
    (mg.app, "bench --output_dir a", "bench -o a"),
    (wan22_app.app, "t2v --save_file a.mp4 --base_seed 3 --sample_steps 4 --prompt x", "t2v -o a.mp4 -s 3 --steps 4 -p x"),
    (wan22_app.app, "t2v --save_file a.mp4 --base_seed 3", "t2v --output a.mp4 --seed 3"),
    (wan22_app.app, "t2v --task t2v-A14B --offload_model True", "t2v --task t2v_a14b --offload-model true"),
    (wan22_app.app, "compare --comparison_mode half_vs_baseline", "compare --comparison-mode half-vs-baseline"),
])  # fmt: skip
def test_other_spellings(app, long: str, other: str):
    assert given(app, *long.split()) == given(app, *other.split()) != {}


@each_command
def test_dashes_and_underscores(app, name: str):
    """Every flag, and none is in the way of another."""
    seen: dict[str, str] = {}
    for param in app.commands[name].params:
        for spelling in param.opts if isinstance(param, TyperOption) else []:
            assert seen.setdefault(spelling.replace("-", "_"), param.name) == param.name
            flag = spelling[:2] + spelling[2:].replace("_", "-")
            values = [] if param.is_flag else ["1"]
            context = app.commands[name].make_context(
                name, [flag, *values], parent=app.make_context(app.name, [name]), resilient_parsing=True
            )
            if param.expose_value and param.metavar != "SHELL":
                assert context.params[param.name] not in (None, False)


def test_a_folder_as_the_official_scripts_name_it(tmp_path, capsys):
    flags = [
        "generate",
        "--actions",
        "W*9",
        "--height",
        "32",
        "--width",
        "48",
        "--output_folder",
        str(tmp_path / "out"),
    ]
    assert run(mg.app, flags) == 0
    assert (tmp_path / "out/demo.mp4").is_file() and (tmp_path / "out/demo_icon.mp4").is_file()
    assert run(mg.app, [*flags, "-o", "a.mp4"]) == 2
    assert "--output and --output_folder were both given" in capsys.readouterr().err


def test_a_new_command_needs_no_more_than_a_file():
    assert [*command_line("mg", "", ("frames",)).commands] == ["frames"]
