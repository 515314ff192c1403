"""`mg play` as a user starts and ends it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from mgcli import mg
from mgcli.app.errors import run
from mgcli.game.play.server import is_open_to_others, link_address, listen
from tests.mgcli.game.play.visitor import Visitor
from wan.video.reader import count_frames

ROOT = Path(mg.__file__).parent.parent


@contextmanager
def command(*flags: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    code = "from mgcli.mg import main; main()"
    size = ("--height", "32", "--width", "48", "--device", "cpu", "--fps", "100")
    process = subprocess.Popen(
        [sys.executable, "-c", code, "play", *size, *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("ending", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_ends_it_with_the_recording_finished(ending: signal.Signals, tmp_path: Path):
    with command("--json", folder=tmp_path) as process:
        assert process.stdout
        link = json.loads(process.stdout.readline())["url"]
        visitor = Visitor(link)
        visitor.get("/?" + link.split("?")[1])
        with visitor.page() as page:
            page.until(phase="playing")
            page.say("record", on=True)
            while (page.state["recording"] or 0) < 24:
                page.hear()
        process.send_signal(ending)
        rest, said = process.communicate(timeout=30)
    assert rest == "", "one object on stdout"
    assert "for another browser: http://127.0.0.1:" in said
    video = tmp_path / "outputs" / "play_1.mp4"
    assert count_frames(video) >= 24 and b"mvex" not in video.read_bytes(), "an ordinary video, closed"
    if ending == signal.SIGINT:
        assert process.returncode == 0
        assert "outputs/play_1.mp4" in said and "mg generate --actions outputs/play_1.json" in said


STARTING = [
    "mgcli.game.play.server.open_models",
    "mgcli.game.play.server.PlayServer.run",
    "uvicorn.Server.serve",
    "uvicorn.Config.load",
    "mgcli.game.play.hub.Hub.play",
    "wan.game.models.GameModels.start",
]


@pytest.mark.parametrize("moment", STARTING)
def test_ctrl_c_while_it_starts_is_one_line(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Before the server listens for signals, while it does and is not up, in both threads."""
    interrupted = resolved(moment)

    def interrupt(*arguments: Any, **named: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return interrupted(*arguments, **named)

    monkeypatch.setattr(moment, interrupt)
    small = ["--height", "32", "--width", "48", "--device", "cpu", "--output", str(tmp_path / "p.mp4")]
    assert run(mg.app, ["play", *small, "--quiet"]) == 130
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: interrupted\n")


def resolved(name: str) -> Any:
    """What `monkeypatch.setattr` finds under it."""
    for dots in range(1, name.count(".") + 1):
        module, *attributes = name.rsplit(".", dots)
        with suppress(ImportError):
            return reduce(getattr, attributes, import_module(module))
    raise AssertionError(name)


def test_a_port_that_is_taken_is_said_before_anything_is_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run(mg.app, ["play", "--port", port, "--output", str(tmp_path / "p.mp4")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and port in error and "or --port" in error


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--port", "70000"], "port 70000 is not from 0 to 65535"),
        (["--host", ""], "say 0.0.0.0 if that is meant"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        (["--image", "a.png", "--image", "b.png"], "a world begins with one"),
        (["--image", "missing.png"], "missing.png"),
        (["--height", "33"], "multiple of 16"),
    ],
)
def test_mistakes(flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(mg.app, ["play", "--output", str(tmp_path / "p.mp4"), *flags, "--quiet"]) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and said.out == "", "no link that leads nowhere"


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(mg.app, ["play"]) == 2
    assert "pip install starlette uvicorn websockets" in capsys.readouterr().err


def test_links_can_be_opened():
    with listen("127.0.0.1", 0) as loopback:
        assert link_address(loopback) == f"http://127.0.0.1:{loopback.getsockname()[1]}"
        assert not is_open_to_others(loopback)
    with listen("0.0.0.0", 0) as everywhere:
        assert "//0.0.0.0" not in link_address(everywhere) and is_open_to_others(everywhere)
