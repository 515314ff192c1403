"""The world in the terminal: what is drawn for a frame, how large, where, and that the terminal is as it was afterwards."""

import base64
import io
import os
import re
import time
import zlib

import numpy as np
import pytest
from rich.console import Console, Group
from rich.live import Live

from mgcli.app.errors import run
from mgcli.game.preview import WIDEST, Preview, Rows, cube, fitted, half_blocks, kitty_picture
from mgcli.game.preview_kind import preview_kind
from mgcli.mg import app
from tests.mgcli.game.test_stream import Terminal

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (128, 128, 128)
FRAME = np.array([[RED, RED], [BLUE, GREY]], dtype=np.uint8)


def test_a_cell_is_two_pixels():
    assert half_blocks(FRAME, 2, 1) == ["\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[38;2;255;0;0;48;2;128;128;128m▀\x1b[0m"]
    assert half_blocks(FRAME, 2, 1, deep=False) == ["\x1b[38;5;196;48;5;21m▀\x1b[38;5;196;48;5;102m▀\x1b[0m"]
    [averaged] = half_blocks(FRAME.repeat(8, 0).repeat(8, 1), 1, 1)
    assert averaged == "\x1b[38;2;255;0;0;48;2;64;64;192m▀\x1b[0m"


def test_every_colour_has_the_nearest_of_256():
    colours = np.random.default_rng(0).integers(0, 256, (1, 200, 3), dtype=np.uint8)
    levels = np.array([0, 95, 135, 175, 215, 255])
    numbers = cube(colours)[0, :, 0] - 16
    got = levels[np.stack([numbers // 36, numbers // 6 % 6, numbers % 6], axis=1)]
    assert (abs(got - colours[0].astype(int)) == abs(levels[:, None, None] - colours[0].astype(int)).min(axis=0)).all()


@pytest.mark.parametrize("room", [(80, 19), (200, 45), (40, 50), (10, 4)])
@pytest.mark.parametrize("height, width", [(96, 160), (352, 640), (640, 352)])
def test_a_picture_fits_and_keeps_its_shape(height, width, room):
    columns, rows = fitted(height, width, *room)
    assert 1 <= columns <= min(room[0], WIDEST) and 1 <= rows <= room[1]
    assert columns / (2 * rows) == pytest.approx(width / height, rel=0.5 if rows < 5 else 0.13)


def test_what_kitty_is_given_is_the_picture():
    frame = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)
    first, *empty = kitty_picture(frame, 60, 18)
    assert empty == [""] * 17
    chunks = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", first)
    assert all(len(data) <= 4096 for _, data in chunks) and len(chunks) > 1
    assert [head[-3:] for head, _ in chunks] == ["m=1"] * (len(chunks) - 1) + ["m=0"]
    assert "s=160,v=96,c=60,r=18" in chunks[0][0] and "q=2" in chunks[0][0], (
        "it answers nothing that we would read as keys"
    )
    data = zlib.decompress(base64.b64decode("".join(data for _, data in chunks)))
    assert data == frame.tobytes()
    assert "s=80,v=48" in kitty_picture(frame, 10, 3)[0], "no more than can be seen"


@pytest.mark.parametrize(
    "environment, colours, kind",
    [
        ({"TERM": "xterm-256color"}, "truecolor", "blocks"),
        ({"TERM": "xterm-256color"}, "256", "blocks"),
        ({"TERM": "xterm-kitty"}, "truecolor", "kitty"),
        ({"TERM": "xterm-ghostty"}, "truecolor", "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "truecolor", "kitty"),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1", "TMUX": "/tmp/x"}, "truecolor", "blocks"),
        ({"TERM": "xterm-kitty", "STY": "1.a"}, "256", "blocks"),
        ({"TERM": "linux"}, "standard", "off"),
        ({"TERM": "dumb"}, None, "off"),
    ],
)
def test_what_a_terminal_says_of_itself(environment, colours, kind):
    assert (
        preview_kind(None, colours, environment=environment)
        == preview_kind("auto", colours, False, environment)
        == kind
    )
    assert preview_kind(None, colours, json=True, environment=environment) == "off"
    assert preview_kind("blocks", colours, environment=environment) == "blocks"


def test_rows_are_redrawn_in_place():
    """rich must count them as lines and leave their colours alone, whatever their length."""
    terminal = Console(file=io.StringIO(), force_terminal=True, width=20, height=10, color_system="truecolor")
    with Live(console=terminal, auto_refresh=False) as live:
        live.update(Group(Rows(half_blocks(FRAME.repeat(20, 1), 18, 3)), "keys"), refresh=True)
        before = terminal.file.getvalue()
        live.update(Group(Rows([]), "keys"), refresh=True)
    drawn = terminal.file.getvalue()[len(before) :]
    assert before.count("▀") == 54 and drawn.count("\x1b[1A") == 3, "three lines up, to the first of four"


def test_the_newest_block_is_played_once():
    shown = []
    preview = Preview("blocks", lambda: shown.append(preview.rows(80, 20).lines[0]))
    preview.start()
    preview.show(np.stack([np.full((16, 16, 3), value, dtype=np.uint8) for value in (10, 20, 30)]), seconds=0.6)
    time.sleep(1.2)
    preview.stop()
    values = [re.search(r"38;2;(\d+);", line)[1] for line in shown]
    assert values == sorted(set(values)) and values[-1] == "30", "no frame twice, the last one stays"
    assert Preview("off", lambda: None).rows(80, 20).lines == preview.rows(80, 3).lines == []


def test_a_world_is_seen_while_it_is_played(tmp_path, monkeypatch):
    monkeypatch.setenv("COLORTERM", "truecolor")
    terminal = Terminal("--output", tmp_path / "a.mp4")
    terminal.until("block 1:")
    terminal.until("▀\x1b[0m")
    rows = [line for line in terminal.seen.split("\n") if "▀" in line]
    assert len(rows) >= 20 and rows[0].count("▀") <= WIDEST
    terminal.type("q")
    assert terminal.end(close=False) == 0
    assert terminal.seen.count("\x1b[?25h") == 1, "the cursor is back"
    assert "next: open" in terminal.seen.rpartition("▀")[2]
    os.close(terminal.ours)


def test_nothing_is_drawn_for_a_program(tmp_path, monkeypatch):
    monkeypatch.setenv("COLORTERM", "truecolor")
    terminal = Terminal("--output", tmp_path / "a.mp4", "--json")
    terminal.until("block 1:")
    terminal.type("q")
    assert terminal.end() == 0 and "▀" not in terminal.seen


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--preview", "blocks", "--script", "W*9"], "--preview blocks shows a world that is played with the keys"),
        (["--preview", "blokcs"], "preview 'blokcs' is none of auto, blocks, kitty, off"),
    ],
)
def test_a_preview_that_cannot_be(flags, said, capsys, tmp_path):
    assert run(app, ["stream", *flags, "--output", str(tmp_path / "a.mp4")]) == 2
    assert said in capsys.readouterr().err
