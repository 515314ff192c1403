"""What a command says to do next, and what the remedy is where a model is missing: commands that can be typed as they stand."""

import os
from pathlib import Path

import pytest

from mgcli import mg, wan22_app
from mgcli.app.errors import run
from mgcli.app.models import GAME_MODELS, MODELS, VIDEO_MODELS, own_first
from mgcli.app.next_step import program, with_any, with_model
from tests.mgcli.app.test_help import parse


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_is_there_is_used_by_a_command_that_exists(name: str, tmp_path):
    line = with_model(name, tmp_path, tmp_path)
    assert line.startswith(f"MG_MODELS={tmp_path} ") if name != "taew2_1" else str(tmp_path / "taew2_1.pth") in line
    parse(line.removeprefix(f"MG_MODELS={tmp_path} "))


def test_a_program_is_named_as_it_was_called(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", [".venv/bin/mg"])
    assert (program("mg"), program("wan22")) == (".venv/bin/mg", ".venv/bin/wan22")
    for name in ("mg", "wan22"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("sys.argv", [str(tmp_path / "mg")])  # the shell finds it
    assert (program("mg"), program("wan22")) == ("mg", "wan22")
    monkeypatch.setattr("sys.argv", ["/somewhere/mgcli/mg.py"])  # python -m mgcli.mg
    assert program("mg") == "mg"


@pytest.mark.parametrize("flags, said", [([], True), (["--quiet"], False), (["--json"], False)])
def test_nothing_is_suggested_to_a_program(flags, said, capsys):
    assert run(mg.app, ["frames", *flags]) == 0
    assert ("next: mg generate --num_output_frames 150" in capsys.readouterr().err) == said


def test_doctor_suggests_what_is_here(capsys, tmp_path):
    assert run(mg.app, ["doctor", "--dir", str(tmp_path)]) == 0
    assert "next: mg generate, which needs no model; mg download universal fetches" in capsys.readouterr().err
    assert with_any(["taew2_1", "gta_drive"]) == "mg play --checkpoint_path gta_drive"


@pytest.mark.parametrize("command", ["generate", "stream", "play"])
@pytest.mark.parametrize("name", GAME_MODELS)
def test_a_game_model_that_is_missing_names_its_remedy(command, name, capsys, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MG_MODELS", str(tmp_path))
    assert run(mg.app, [command, "--checkpoint_path", name]) == 2
    assert f"error: {name} is not in {tmp_path}: `mg download {name}` fetches it\n" == capsys.readouterr().err
    assert run(mg.app, [command, "--checkpoint_path", "univresal"]) == 2
    assert "no such file or folder: univresal; universal, gta_drive, templerun are names" in capsys.readouterr().err


def test_download_of_each_program_names_its_own_first(capsys):
    assert own_first(VIDEO_MODELS)[:2] == ["t2v-A14B", "i2v-A14B"] and set(own_first(VIDEO_MODELS)) == set(MODELS)
    for app, first in ((mg.app, "universal"), (wan22_app.app, "t2v-A14B")):
        assert run(app, ["download", "--help"]) == 0
        assert f"One of {first}" in capsys.readouterr().out
        assert run(app, ["download", "univeral"]) == 2
        assert "did you mean universal" in capsys.readouterr().err
