"""The shell around the commands: help without torch, both spellings of a flag, one line and an exit code for every mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.core import TyperGroup

from mgcli import mg, wan22_app
from mgcli.app.command_line import command
from mgcli.app.errors import run


def python(code: str, *args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    root = str(Path(mg.__file__).parent.parent)
    env = {**os.environ, "PYTHONPATH": root, "NO_COLOR": "1"}
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, env=env, cwd=cwd)


@pytest.mark.parametrize("module", ["mg", "wan22_app"])
def test_ctrl_c_in_the_first_moments_is_one_line(module: str, tmp_path: Path):
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")  # as if it came while this is imported
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from mgcli.{module} import main; main()"
    done = python(code, "--help")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


@pytest.mark.parametrize("module", ["mg", "wan22_app"])
def test_help_loads_no_torch_and_is_fast(module: str):
    code = f"""
import atexit, sys
atexit.register(lambda: print("torch loaded:", "torch" in sys.modules))
from mgcli.{module} import main
main()
"""
    before = os.times().children_user
    done = python(code, "--help")
    seconds = os.times().children_user - before  # its own, however busy the machine is
    assert done.returncode == 0, done.stderr
    assert "torch loaded: False" in done.stdout
    assert seconds < 2.0  # about 0.15 s alone; cores that are shared count for less


@pytest.mark.parametrize("app", [mg.app, wan22_app.app], ids=lambda a: a.name)
def test_every_command_has_a_file_and_help(app: TyperGroup, capsys: pytest.CaptureFixture[str]):
    for name in app.commands:
        assert run(app, [name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "--json" in shown and "--no-" not in shown


def shell(function) -> TyperGroup:
    return TyperGroup(name="mg", commands={"try": command("try", function)}, context_settings=mg.app.context_settings)


@pytest.mark.parametrize("flag", ["--frame_num", "--frame-num"])
@pytest.mark.parametrize("joined", [True, False])
def test_both_spellings(flag: str, joined: bool):
    seen = []

    def try_(frame_num: int = 1, half_frames: bool = False, prompt: str = "") -> None:
        seen.append((frame_num, half_frames, prompt))

    given = [f"{flag}=49"] if joined else [flag, "49"]
    assert run(shell(try_), ["try", *given, flag[:2] + "half" + flag[7] + "frames", "--prompt", "a--b-c"]) == 0
    assert seen == [(49, True, "a--b-c")]


def test_help_shows_underscores_also_for_the_negative(capsys: pytest.CaptureFixture[str]):
    def try_(half_frames: bool = False, name: Annotated[str, typer.Option("--with-dash", "-w")] = "") -> None:
        """Try."""

    assert run(shell(try_), ["try", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--half_frames" in shown and "--no_half_frames" in shown and "--with_dash" in shown and "-w" in shown


ERRORS = [
    (ValueError("frame_num is 0;\n  use 49"), 2, "frame_num is 0; use 49"),
    (FileNotFoundError(2, "No such file or directory", "cat.png"), 2, "no such file or folder: cat.png"),
    (PermissionError(13, "Permission denied", "/out.mp4"), 2, "not permitted: /out.mp4"),
    (OSError(28, "No space left on device"), 2, "disk full: free some space"),
    (OSError(5, "Input/output error", "x"), 2, "x: Input/output error"),
    (ConnectionError("cannot reach the hub"), 2, "cannot reach the hub"),
    (KeyError("surprise"), 1, "MG_TRACEBACK=1"),
    (RuntimeError("line one\nline two"), 1, "RuntimeError: line one line two"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (EOFError(), 1, "the input ended"),
]


@pytest.mark.parametrize("error, code, line", ERRORS, ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("as_json", [False, True], ids=["human", "json"])
def test_one_line_and_an_exit_code(
    error: BaseException, code: int, line: str, as_json: bool, capsys: pytest.CaptureFixture[str]
):
    def try_() -> None:
        raise error

    assert run(shell(try_), ["try", "--json"] if as_json else ["try"]) == code
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert len([x for x in lines if x]) == 1 and lines[-1].startswith("error: ") and line in lines[-1]
    assert (line in json.loads(out)["error"]) if as_json else out == ""


def test_usage_errors_name_the_nearest(capsys: pytest.CaptureFixture[str]):
    for arguments, hint in [
        (["docter"], "Did you mean 'doctor'"),
        (["download", "universal", "--dryrun"], "--dry_run"),
        (["download", "univeral"], "did you mean universal"),
        (["download"], "Missing argument 'model'"),
    ]:
        assert run(mg.app, arguments) == 2
        err = capsys.readouterr().err
        assert hint in err and err.count("\n") == 1


def test_traceback_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def try_() -> None:
        raise RuntimeError("boom")

    for arguments, env in [(["try", "--traceback"], "0"), (["try"], "1")]:
        monkeypatch.setenv("MG_TRACEBACK", env)
        assert run(shell(try_), arguments) == 1
        assert "Traceback" in capsys.readouterr().err
    monkeypatch.delenv("MG_TRACEBACK")
    run(shell(try_), ["try"])
    assert "Traceback" not in capsys.readouterr().err


def test_a_closed_pipe_is_no_error():
    code = "from mgcli.app.console import console\nfrom mgcli.app.errors import run\nfrom tests.mgcli.app.test_command_line import shell\n"
    code += (
        "import sys\ndef f():\n  for _ in range(20000): console.result({}, 'x' * 80)\nsys.exit(run(shell(f), ['try']))"
    )
    root = Path(mg.__file__).parent.parent
    piped = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" | head -n 1', sys.executable, code], capture_output=True, text=True, cwd=root
    )
    assert piped.stdout == "x" * 80 + "\n" and piped.stderr == ""
