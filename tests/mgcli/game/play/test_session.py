"""A played session without sockets: real (tiny) models, a thread that plays, and what it leaves behind."""

from __future__ import annotations

import json
import queue
import shlex
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from mgcli import mg
from mgcli.app.errors import run
from mgcli.game.play.request import PlayRequest
from mgcli.game.play.session import PlayedBlock, PlaySession
from mgcli.game.play.tape import Tape, first_start
from wan.game.actions import Action
from wan.game.models import GameModels
from wan.video.reader import count_frames
from wanmini.start_image import GARDEN


class Playing:
    """A session in a thread; its blocks come one by one."""

    def __init__(self, request: PlayRequest, models: GameModels):
        self.session = PlaySession(request, models)
        self.blocks: queue.Queue[PlayedBlock] = queue.Queue()
        self.phases: list[str] = []
        self._thread = threading.Thread(target=self.session.run, args=(self.blocks.put, self._changed), daemon=True)
        self._thread.start()

    def _changed(self) -> None:
        self.phases.append(self.session.describe()["phase"])

    def next(self, blocks: int = 1) -> PlayedBlock:
        return [self.blocks.get(timeout=30) for _ in range(blocks)][-1]

    def next_of(self, world: int) -> PlayedBlock:
        while (block := self.next()).world != world:
            pass
        return block

    def next_with(self, action: Action) -> PlayedBlock:
        """Within the block in hand and the one after it."""
        return next(block for block in (self.next(), self.next(), self.next()) if block.action == action)

    def is_quiet(self) -> bool:
        """No block comes, apart from the one in hand."""
        try:
            self.blocks.get(timeout=0.2)
            self.blocks.get(timeout=0.3)
        except queue.Empty:
            return True
        return False

    def end(self) -> None:
        self.session.end()
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture
def playing(request_for: Callable[..., PlayRequest], models: GameModels) -> Iterator[Callable[..., Playing]]:
    made: list[Playing] = []

    def start(**changes) -> Playing:
        made.append(Playing(request_for(**changes), models))
        made[-1].session.watch(True)
        return made[-1]

    yield start
    for one in made:
        one.end()


def test_blocks_answer_the_keys_held_as_they_begin(playing: Callable[..., Playing]):
    play = playing()
    first = play.next()
    assert (first.span.block, len(first.video), first.video.shape[1:]) == (0, 9, (32, 48, 3))
    play.session.controls.hold("WD", "pressed")
    assert play.next_with(Action("WD")).mark == "pressed"
    play.session.controls.hold("", "released")
    play.session.controls.look(0, 0)
    assert play.next_with(Action()).mark == "released"


def test_frames_are_due_in_order_and_steadily(playing: Callable[..., Playing]):
    play = playing()
    blocks = [play.next() for _ in range(6)]
    for before, after in zip(blocks, blocks[1:]):
        assert after.due >= before.due + len(before.video) * before.interval - 1e-6
        assert after.span.frames.start == before.span.frames.stop


def test_nobody_watches_or_pause_and_the_world_stands_still(playing: Callable[..., Playing]):
    play = playing()
    before = play.next()
    play.session.watch(False)
    assert play.is_quiet()
    play.session.watch(True)
    play.next()
    play.session.pause(True)
    assert play.session.describe()["phase"] == "paused"
    assert play.is_quiet()
    play.session.controls.hold("W", "long ago")
    play.session.controls.hold("", "long ago")
    play.session.pause(False)
    after = play.next()
    assert after.world == before.world and after.action == Action() and after.mark is None


def test_restart_seed_and_image(playing: Callable[..., Playing]):
    play = playing(seed=5)
    first = play.next()
    play.session.restart()
    assert np.array_equal(play.next_of(2).video, first.video), "the same again"
    play.session.restart(seed=6)
    assert not np.array_equal(play.next_of(3).video, first.video)
    play.session.restart(seed=5)
    play.session.add_image(Image.new("RGB", (64, 64), "red"))
    assert not np.array_equal(play.next_of(4).video, first.video)
    assert play.session.describe()["image"] == "your image"
    play.session.choose_image(0)
    assert np.array_equal(play.next_of(5).video, first.video)
    assert play.session.describe()["image"] == GARDEN.name
    with pytest.raises(ValueError, match="no start image 99"):
        play.session.choose_image(99)
    assert play.phases[0] == "starting" and "playing" in play.phases


@pytest.mark.parametrize("begin_anew", [PlaySession.restart, lambda session: session.choose_image(0)])
def test_what_was_tapped_before_a_world_is_not_done_in_it(
    playing: Callable[..., Playing], begin_anew: Callable[[PlaySession], None]
):
    play = playing()
    play.next()
    play.session.pause(True)
    assert play.is_quiet()
    play.session.controls.hold("W", "long ago")
    play.session.controls.hold("")
    play.session.controls.look(30, 0)
    begin_anew(play.session)
    first = play.next_of(2)
    assert first.action == Action() and first.mark is None


@pytest.mark.parametrize("own_image", [False, True])
def test_a_recording_replays_to_the_same_latents(playing: Callable[..., Playing], own_image: bool, tmp_path: Path):
    """Begun in the middle of a world, as a user does; the script goes back to its start."""
    play = playing(save_latents=True, seed=3)
    if own_image:
        play.session.add_image(Image.linear_gradient("L").convert("RGB"))
        play.next_of(2)
    play.next()
    for keys, mouse in [("W", 0), ("WA", 37), ("", 11), ("D", -13)]:
        play.session.controls.hold(keys)
        play.session.controls.look(mouse, mouse / 3)
        play.next()
    play.session.record(True)
    for keys in ["WD", "S", "WL"]:
        play.session.controls.hold(keys)
        play.next(2)
    play.session.record(False)
    play.next(2)

    (cut,) = play.session.tape.finished
    record = json.loads(Path(cut.files["record"]).read_text())
    assert record["first_frame"] == cut.first_frame > 0
    assert cut.frames == count_frames(cut.files["video"]) == record["frames"]

    command = shlex.split(cut.replay)
    output = tmp_path / "again.mp4"
    assert command[:2] == ["mg", "generate"]
    assert run(mg.app, [*command[1:], "--save_latents", "--output", str(output), "--quiet"]) == 0
    assert count_frames(output) == cut.describe()["replay_frames"] == cut.first_frame + cut.frames
    recorded = load_file(cut.files["latents"])["latents"]
    again = load_file(tmp_path / "again_latents.safetensors")["latents"]
    assert again[:, :, -recorded.shape[2] :].equal(recorded)


def test_the_command_that_replays_names_what_the_latents_depend_on(
    request_for: Callable[..., PlayRequest], models: GameModels
):
    request = replace(request_for(dtype="float32", local_attn_size=6), graphs=False)
    tape = Tape(request, models)
    tape.begin(first_start(request), [])
    words = shlex.split(tape._replay("play 1.json"))
    assert words[:4] == ["mg", "generate", "--actions", "play 1.json"] and words[-1] == "--no_graphs"
    for flag, value in [("--dtype", "float32"), ("--local_attn_size", "6"), ("--seed", "0"), ("--width", "48")]:
        assert words[words.index(flag) + 1] == value
    assert "--attention" not in words and "--checkpoint_path" not in words
    tape.give_up()


def test_recordings_are_numbered_and_end_with_their_world(playing: Callable[..., Playing], tmp_path: Path):
    (tmp_path / "play_1.mp4").write_bytes(b"somebody else's")
    play = playing()
    play.next()
    play.session.record(True)
    play.next(3)
    play.session.restart()
    play.next_of(2)
    assert play.session.describe()["recording"] is None
    play.session.record(True)
    play.next(3)
    play.end()
    names = [Path(cut.files["video"]).name for cut in play.session.tape.finished]
    assert names == ["play_2.mp4", "play_3.mp4"]
    assert all(count_frames(cut.files["video"]) == cut.frames for cut in play.session.tape.finished)
    assert (tmp_path / "play_1.mp4").read_bytes() == b"somebody else's"


def test_a_recording_without_frames_is_none(playing: Callable[..., Playing], tmp_path: Path):
    play = playing()
    play.session.pause(True)
    assert play.is_quiet()
    play.session.record(True)
    play.session.record(False)
    play.end()
    assert play.session.tape.finished == [] and list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_ends_the_recording_and_not_the_world(
    playing: Callable[..., Playing], monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "play_1.mp4")

    monkeypatch.setattr("mgcli.app.recording.Recording.write", full)
    play = playing()
    play.next()
    play.session.record(True)
    play.next(3)
    assert "disk full" in play.session.describe()["note"]
    assert play.session.describe()["recording"] is None
    play.next()


def test_an_encoder_that_dies_ends_the_recording_and_not_the_world(playing: Callable[..., Playing], tmp_path: Path):
    play = playing()
    play.next()
    play.session.record(True)
    play.next(3)
    recording = play.session.tape._recording
    assert recording
    recording._video._encoder._process.kill()
    play.next(3)
    described = play.session.describe()
    assert described["note"].startswith("recording stopped: ffmpeg ended early with code -9")
    assert described["note"].endswith(f"play_1.mp4 has the {recording.frames} frames before that")
    assert described["recording"] is None and described["recordings"] == []
    assert count_frames(tmp_path / "play_1.mp4") == recording.frames > 0
    play.session.record(True)
    play.next(3)
    assert play.session.describe()["note"] == "", "the next one works"
