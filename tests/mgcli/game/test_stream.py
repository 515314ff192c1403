"""`mg stream` on the embedded mini world: dialogue, live keys, scripts; sessions that replay, worlds that go on."""

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from mgcli.app.errors import run
from mgcli.app.posix import split_keys
from mgcli.game import session
from mgcli.game.keys import HeldKeys, Keyboard
from mgcli.game.live import picture
from mgcli.game.players import RandomPlayer
from mgcli.mg import app
from tests.mgcli.game.test_generate import ROOT, latents, only_line
from wan.game.actions import action
from wan.game.modes import GTA_DRIVE, TEMPLERUN, UNIVERSAL
from wan.video.reader import count_frames

SMALL = ["--height", "32", "--width", "48", "--save_latents"]


def stream(*flags) -> int:
    return run(app, ["stream", *SMALL, *map(str, flags)])


@pytest.fixture
def typed(monkeypatch):
    """What comes through the pipe."""

    def give(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    return give


def actions_of(path: Path) -> str:
    return json.loads(path.read_text())["actions"]


# --- the dialogue -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines, played",
    [
        (["", "u", "w", "", "l", "w", "", "u", "q", "n"], "W*9 WL*12 Q*12"),  # camera first, Enter to go on
        (["", "W", "L", "", "W", "I", "n"], "WL*9 WI*12"),  # movement first
        (["u", "w", "l", "wa", "n"], "W*9 WAL*12"),  # no image, no Enter in between
        (["", "u", "x", "ws", "w", "n"], "W*9"),  # two answers that are none
        (["", "u", "w"], "W*9"),  # the input ends
        (["", "u", "w", "", "j", "n"], "W*9"),  # n in the middle of an action
    ],
)
def test_a_dialogue(tmp_path, typed, lines, played):
    typed("\n".join(lines) + "\n")
    assert stream("--output", tmp_path / "a.mp4") == 0
    assert actions_of(tmp_path / "a.json") == played


@pytest.mark.parametrize(
    "mode, lines, played",
    [
        ("gta_drive", ["", "W A", "", "s", "n"], "WA*9 S*12"),
        ("templerun", ["", "w", "", "z", "", "q", "n"], "W*9 Z*12 Q*12"),
    ],
)
def test_a_dialogue_in_other_modes(tmp_path, typed, mode, lines, played):
    typed("\n".join(lines) + "\n")
    assert stream("--output", tmp_path / "a.mp4", "--mode", mode) == 0
    assert actions_of(tmp_path / "a.json") == played


def test_the_dialogue_says_what_it_asks(tmp_path, typed, capsys):
    typed("\nu\nw\nn\n")
    assert stream("--output", tmp_path / "a.mp4") == 0
    said = capsys.readouterr().err
    for words in (
        "start image",
        "camera (I: look up",
        "movement (W: forward",
        "video frames 0 to 8",
        "continue? (Enter, or n to end)",
    ):
        assert words in said


def test_ending_at_once_leaves_nothing(tmp_path, typed, capsys):
    typed("\nn\n")
    assert stream("--output", tmp_path / "a.mp4", "--json") == 0
    assert json.loads(capsys.readouterr().out)["takes"] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["", "n\n", "\n", "\nn\n"])
@pytest.mark.parametrize("json_flag", [[], ["--json"]])
def test_nobody_wants_to_play(tmp_path, typed, capsys, given, json_flag):
    typed(given)
    assert stream("--output", tmp_path / "a.mp4", *json_flag) == 0
    said = capsys.readouterr()
    if json_flag:
        assert json.loads(said.out) == {"takes": [], "mode": "universal", "frames": 0, "frames_per_second": 0.0}
    else:
        assert said.out == "nothing was asked for, so nothing was generated\n"
    assert "error" not in said.err and list(tmp_path.iterdir()) == []


# --- scripts, sessions, files -----------------------------------------------------------------------------------------


def test_the_current_video_plays_everything_so_far(tmp_path, monkeypatch):
    counts, shown = [], session.BlockReport

    def looking(span, recording, frames):
        counts.append(
            (span.frames.stop, count_frames(tmp_path / "a_current.mp4"), count_frames(tmp_path / "a_icon.mp4"))
        )
        return shown(span, recording, frames)

    monkeypatch.setattr(session, "BlockReport", looking)
    assert stream("--output", tmp_path / "a.mp4", "--script", "W*33") == 0
    assert counts == [(9, 9, 9), (21, 21, 21), (33, 33, 33)]
    assert [count_frames(tmp_path / name) for name in ("a.mp4", "a_icon.mp4", "a_current.mp4")] == [33] * 3


def test_a_recorded_session_replays_to_the_same_latents(tmp_path, typed):
    typed("\nl\nw\n\nj\ns\n\nu\na\nn\n")
    assert stream("--output", tmp_path / "a.mp4", "--seed", 11) == 0
    recorded, want = tmp_path / "a.json", latents(tmp_path / "a_latents.safetensors")
    # of itself the record knows seed, image and size
    assert run(app, ["stream", "--script", str(recorded), "--output", str(tmp_path / "b.mp4"), "--save_latents"]) == 0
    assert torch.equal(latents(tmp_path / "b_latents.safetensors"), want)
    again = ["generate", *SMALL, "--actions", str(recorded), "--seed", "11", "--output", str(tmp_path / "c.mp4")]
    assert run(app, again) == 0
    assert torch.equal(latents(tmp_path / "c_latents.safetensors"), want)


def test_a_session_that_is_replayed_is_never_what_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert stream("--script", "W*9 L*12") == 0
    recorded = Path("outputs/stream.json").read_bytes()
    assert stream("--script", "outputs/stream.json") == 0
    assert "outputs/stream-2.mp4 (with keys" in capsys.readouterr().out
    assert stream("--script", "outputs/stream.json", "--overwrite") == 2
    assert "--script and the record of --output are both outputs/stream.json" in only_line(capsys)
    assert Path("outputs/stream.json").read_bytes() == recorded
    assert actions_of(Path("outputs/stream-2.json")) == "W*9 L*12"


def test_two_flags_with_one_file_are_refused(tmp_path, capsys):
    where = ["--output", tmp_path / "a.mp4", "--script", "W*9"]
    assert stream(*where, "--save_state", tmp_path / "a.json") == 2
    assert "the record of --output and --save_state are both" in only_line(capsys)
    assert stream(*where, "--save_state", tmp_path / "world.st") == 0
    assert stream(*where, "--overwrite", "--load_state", tmp_path / "world.st", "--save_state", tmp_path / "world.st") == 2  # fmt: skip
    assert "--load_state and --save_state are both" in only_line(capsys)


def test_a_script_with_a_request_in_it_plays_its_own_actions(tmp_path):
    (tmp_path / "mine.json").write_text('{"request": {"actions": ["W*12"]}, "actions": ["S*9"]}')
    assert stream("--output", tmp_path / "a.mp4", "--script", tmp_path / "mine.json") == 0
    assert actions_of(tmp_path / "a.json") == "S*9"


def test_a_random_session_is_the_random_batch(tmp_path):
    assert (
        stream("--output", tmp_path / "a.mp4", "--script", "random", "--action_seed", 3, "--max_num_output_frames", 9)
        == 0
    )
    again = ["generate", *SMALL, "--actions", "random", "--action_seed", "3", "--num_output_frames", "9", "--output"]
    assert run(app, [*again, str(tmp_path / "b.mp4")]) == 0
    assert torch.equal(latents(tmp_path / "a_latents.safetensors"), latents(tmp_path / "b_latents.safetensors"))


def test_a_random_walk_goes_on_where_a_saved_world_is():
    whole, late = RandomPlayer(UNIVERSAL, 5), RandomPlayer(UNIVERSAL, 5)
    actions = [a for frames in (range(9), range(9, 21), range(21, 33)) for a in whole.actions(frames)[0]]
    assert late.actions(range(21, 33))[0] == actions[21:]


def test_a_saved_world_goes_on_exactly(tmp_path):
    script = ["--script", "W*21 L*24 A*12"]
    state = tmp_path / "world.safetensors"
    assert stream("--output", tmp_path / "whole.mp4", *script) == 0
    assert stream("--output", tmp_path / "a.mp4", *script, "--max_num_output_frames", 6, "--save_state", state) == 0
    assert stream("--output", tmp_path / "b.mp4", *script, "--load_state", state) == 0
    parts = [latents(tmp_path / f"{name}_latents.safetensors") for name in "ab"]
    assert torch.equal(torch.cat(parts, dim=2), latents(tmp_path / "whole_latents.safetensors"))
    assert count_frames(tmp_path / "b.mp4") == 57 - 21
    assert stream("--output", tmp_path / "again.mp4", "--script", tmp_path / "b.json", "--save_latents") == 0
    assert torch.equal(latents(tmp_path / "again_latents.safetensors"), parts[1])  # its actions are those from there on


def test_mistakes_are_one_line(tmp_path, capsys, typed):
    def refused(*flags) -> str:
        assert stream("--output", tmp_path / "a.mp4", *flags) == 2
        assert not (tmp_path / "a.mp4").exists() and not (tmp_path / "a_current.mp4").exists()
        return only_line(capsys)

    assert "use 360 or 363" in refused("--max_num_output_frames", 361, "--script", "W*9")
    assert "no action file" in refused("--script", tmp_path / "missing.json")
    (tmp_path / "broken.json").write_text('{"request": ')
    assert "line 1, column 13: not JSON" in refused("--script", tmp_path / "broken.json")
    assert "no such file" in refused("--load_state", tmp_path / "missing.safetensors", "--script", "W*9")
    (tmp_path / "not.safetensors").write_text("not a world")
    assert "not a save point" in refused("--load_state", tmp_path / "not.safetensors", "--script", "W*9")
    typed("missing.png\n")
    assert "no such file or folder: missing.png" in refused()


def test_a_session_that_was_killed_replays(tmp_path):
    terminal = Terminal("--output", tmp_path / "a.mp4", "--script", "W*9 L*12 J*12 S*900", "--seed", 5)
    terminal.until("block 3:")
    terminal.process.kill()
    terminal.end()
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["actions"][:3] == ["W*9", "L*12", "J*12"] and record["frames"] >= 33
    frames = record["frames"]
    assert stream("--output", tmp_path / "b.mp4", "--script", tmp_path / "a.json") == 0
    again = json.loads((tmp_path / "b.json").read_text())
    assert (again["seed"], again["frames"]) == (5, frames) and again["actions"].startswith("W*9 L*12 J*12")


# --- live keys --------------------------------------------------------------------------------------------------------


def test_a_held_key_repeats_and_ends_with_silence():
    keys = HeldKeys(UNIVERSAL, released_after=0.7)
    keys.press("W", 0.0)
    assert keys.sample(0.5) == "W"
    for repeat in (0.6, 0.63, 0.66):
        keys.press("W", repeat)
    assert keys.sample(1.0) == "W" and keys.sample(1.5) == ""


def test_a_tap_counts_for_one_block_however_late_it_begins():
    keys = HeldKeys(UNIVERSAL, released_after=0.7)
    keys.press("L", 0.0)
    assert keys.sample(5.0) == "L" and keys.sample(6.0) == ""


def test_keys_held_together_stay_although_only_the_last_repeats():
    keys = HeldKeys(UNIVERSAL, released_after=0.7)
    keys.press("W", 0.0)
    for repeat in range(20):
        keys.press("L", 0.5 + 0.03 * repeat)
        assert keys.sample(0.5 + 0.03 * repeat) == "WL"
    assert keys.sample(3.0) == ""


@pytest.mark.parametrize(
    "mode, pressed, held",
    [(UNIVERSAL, "WS", "S"), (UNIVERSAL, "JL", "L"), (UNIVERSAL, "WLQ", "L"), (UNIVERSAL, "WLU", "W"), (GTA_DRIVE, "WAD", "WD"), (TEMPLERUN, "WZ", "Z")],
)  # fmt: skip
def test_keys_that_exclude_each_other(mode, pressed, held):
    keys = HeldKeys(mode)
    for letter in pressed:
        keys.press(letter, 0.0)
    assert keys.sample(0.1) == held


@pytest.mark.parametrize("mode", [UNIVERSAL, GTA_DRIVE, TEMPLERUN])
def test_the_legend_fits_a_terminal(mode, tmp_path):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(picture(mode, action(mode, "W"), None, paused=True))
    lines = console.export_text().splitlines()
    for key in mode.keys:
        assert any(f" {key.letter}  {key.does}" in line for line in lines), "in one piece"
    assert len(lines) == 2 + -(-len(mode.keys) // 4)


def test_what_a_terminal_sends():
    assert list(split_keys("w\x1b[A\x1b[Dq")) == ["w", "up", "left", "q"]
    assert list(split_keys("a\x1b[15~")) == ["a"]


def test_a_terminal_gives_keys_at_once_and_is_left_as_it_was():
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    with Keyboard(theirs) as keyboard:
        os.write(ours, b"wd")
        deadline, seen = time.monotonic() + 5, []
        while len(seen) < 2 and time.monotonic() < deadline:
            seen += [key for _, key in keyboard.pressed()]
            time.sleep(0.01)
    assert seen == ["w", "d"] and termios.tcgetattr(theirs) == before


class Terminal:
    """`mg stream` at a pseudo-terminal, which is watched and typed at."""

    def __init__(self, *flags):
        command = [sys.executable, "-c", "from mgcli.mg import main; main()", "stream", *SMALL, *map(str, flags)]
        self.ours, theirs = pty.openpty()
        env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", "LINES": "40"}
        # whoever runs the tests may ignore hang-ups (nohup), which a program at a terminal does not
        hears = lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)  # noqa: E731
        self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=hears)  # fmt: skip
        os.close(theirs)
        self.seen = ""

    def until(self, words: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while words not in self.seen:
            assert time.monotonic() < end, f"waited for {words!r}, saw {self.seen[-2000:]}"
            if select.select([self.ours], [], [], 0.1)[0]:
                self.seen += self._read()

    def _read(self) -> str:
        try:
            return os.read(self.ours, 65536).decode(errors="replace")
        except OSError:  # how a pseudo-terminal says that the other end is closed
            return ""

    def type(self, text: str) -> None:
        self.seen = ""
        os.write(self.ours, text.encode())

    def end(self, close: bool = True) -> int:
        until = time.monotonic() + 60
        while self.process.poll() is None:
            assert time.monotonic() < until, f"it does not end, saw {self.seen[-2000:]}"
            if select.select([self.ours], [], [], 0.1)[0]:
                self.seen += self._read()
        if close:
            os.close(self.ours)
        return self.process.returncode


def test_live_play_at_a_terminal(tmp_path):
    terminal = Terminal("--output", tmp_path / "a.mp4")
    terminal.until("block 1:")
    terminal.type("w\x1b[C")
    terminal.until("\x1b[1;30;43m L ")  # the right arrow turns, and the key lights up
    assert "\x1b[1;30;43m W " in terminal.seen
    terminal.type(" ")
    terminal.until("paused")
    terminal.type(" ")
    terminal.until("block ")
    terminal.type("r")
    terminal.until("a_2_current.mp4")
    terminal.type("q")
    assert terminal.end() == 0
    record, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("a", "a_2"))
    assert "WL*" in record["actions"] and (record["seed"], second["seed"]) == (0, 1)
    for name, made in (("a", record), ("a_2", second)):
        assert count_frames(tmp_path / f"{name}.mp4") == count_frames(tmp_path / f"{name}_icon.mp4") == made["frames"]
    again = ["stream", "--script", str(tmp_path / "a_2.json"), "--output", str(tmp_path / "b.mp4"), "--save_latents"]
    assert run(app, again) == 0
    assert torch.equal(latents(tmp_path / "b_latents.safetensors"), latents(tmp_path / "a_2_latents.safetensors"))


def ended_in_order(folder: Path) -> None:
    """Recorded to the last block, and to be gone on with."""
    record = json.loads((folder / "a.json").read_text())
    assert count_frames(folder / "a.mp4") == record["frames"] >= 21 and isinstance(record["actions"], str)
    assert stream("--output", folder / "b.mp4", "--script", "Q*99", "--load_state", folder / "world.st", "--max_num_output_frames", 3) == 0  # fmt: skip
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
EVERY_WAY = [(False, TERM), (True, INT), *(pytest.param(*way, marks=pytest.mark.slow) for way in ((False, INT), (False, HUP), (True, TERM), (True, HUP)))]  # fmt: skip


@pytest.mark.parametrize(("paused", "number"), EVERY_WAY)
def test_a_signal_ends_after_the_block_with_the_terminal_in_order(tmp_path, number, paused):
    terminal = Terminal("--output", tmp_path / "a.mp4", "--save_state", tmp_path / "world.st")
    before = termios.tcgetattr(terminal.ours)
    terminal.until("block 1:")
    assert termios.tcgetattr(terminal.ours) != before  # keys do not echo
    if paused:
        terminal.type(" ")
        terminal.until("paused")
    terminal.process.send_signal(number)
    assert terminal.end(close=False) == 0
    assert termios.tcgetattr(terminal.ours) == before
    ended_in_order(tmp_path)


def test_a_terminal_that_is_closed_ends_the_session_in_order(tmp_path):
    terminal = Terminal("--output", tmp_path / "a.mp4", "--save_state", tmp_path / "world.st")
    terminal.until("block 1:")
    os.close(terminal.ours)
    terminal.process.send_signal(signal.SIGHUP)
    terminal.process.send_signal(signal.SIGHUP)  # as a kernel and a shell do
    terminal.process.wait(timeout=60)
    ended_in_order(tmp_path)


def test_a_terminal_that_is_gone_without_a_signal_ends_the_session_too(tmp_path):
    terminal = Terminal("--output", tmp_path / "a.mp4", "--save_state", tmp_path / "world.st")
    terminal.until("block 1:")
    os.close(terminal.ours)
    terminal.process.wait(timeout=60)
    ended_in_order(tmp_path)


def test_a_session_that_is_to_outlive_its_terminal_does(tmp_path):
    command = [sys.executable, "-c", "from mgcli.mg import main; main()", "stream", *SMALL, "--script", "W*9 S*36", "--output", str(tmp_path / "a.mp4")]  # fmt: skip
    ignoring = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=ignoring)
    while "block 0:" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0 and actions_of(tmp_path / "a.json") == "W*9 S*36"
