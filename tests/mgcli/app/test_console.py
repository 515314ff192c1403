"""Results on stdout, everything else on stderr, in all three manners."""

import json
import logging
from pathlib import Path

import pytest

from mgcli.app.console import Console


@pytest.fixture
def console(request: pytest.FixtureRequest) -> Console:
    made = Console()
    made.configure(json=request.param == "json", quiet=request.param == "quiet")
    return made


def speak(console: Console) -> None:
    console.say("a note")
    logging.getLogger("wan.modules.attention").info("sdpa was chosen")
    logging.getLogger("wan").warning("mind the gap")
    with console.progress("block", 3) as bar:
        for _ in range(3):
            bar.advance(status="9.1 GiB")
    console.result({"frames": 9, "path": Path("a [b].mp4")}, "wrote a [b].mp4")


@pytest.mark.parametrize("console", ["human"], indirect=True)
def test_human(console: Console, capsys: pytest.CaptureFixture[str]):
    speak(console)
    out, err = capsys.readouterr()
    assert out == "wrote a [b].mp4\n"
    assert all(
        said in err for said in ("a note", "sdpa was chosen", "warning: mind the gap", "block 3 of 3", "9.1 GiB")
    )


@pytest.mark.parametrize("console", ["json"], indirect=True)
def test_json_is_one_object(console: Console, capsys: pytest.CaptureFixture[str]):
    speak(console)
    out, err = capsys.readouterr()
    assert json.loads(out) == {"frames": 9, "path": "a [b].mp4"}
    assert "block 3 of 3" in err


@pytest.mark.parametrize("console", ["quiet"], indirect=True)
def test_quiet_keeps_the_result_and_warnings(console: Console, capsys: pytest.CaptureFixture[str]):
    speak(console)
    assert capsys.readouterr() == ("wrote a [b].mp4\n", "warning: mind the gap\n")


@pytest.mark.parametrize("console", ["human"], indirect=True)
def test_progress_without_an_end(console: Console, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mgcli.app.console.SECONDS_BETWEEN_LINES", 0.0)
    with console.progress("block") as bar:
        bar.advance()
    err = capsys.readouterr().err
    assert err.startswith("block 1, ") and "left" not in err and "of" not in err
