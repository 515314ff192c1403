"""The recordings of a played session: numbered videos, each with the actions that make the same world again.

A recording may begin anywhere in a world, but a world can only be made again from its start: so the script of a
recording goes back to there, and says with which frame its video begins. What a page may download is listed here by
number; no name comes from a page. An image that came from one is kept beside the first recording that needs it.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mgcli.app.recording import Recording, beside, recorded
from mgcli.game.play.request import PlayRequest
from mgcli.game.worlds import facts_of
from wan.game.actions import Action
from wan.game.conditions import open_image
from wan.game.models import GameModels
from wan.game.rollout import Block

# What the same latents depend on beside the world itself; a value that is the default is left out.
MODEL_FLAGS = (
    "checkpoint_path pretrained_model_path tiny_vae config_path local_attn_size device dtype attention".split()
)
SWITCHES = ("reference", "compile", "graphs", "fp8")


@dataclass(frozen=True)
class Start:
    """What a world begins with."""

    image: Image.Image
    path: Path | None  # none: it came from a page and is in no file
    seed: int

    @property
    def name(self) -> str:
        return self.path.name if self.path else "your image"


def first_start(request: PlayRequest) -> Start:
    path = (*request.image, request.default_image)[0]
    return Start(open_image(path), path, request.seed)


@dataclass(frozen=True)
class Cut:
    """A finished recording."""

    number: int
    files: dict[str, str]
    first_frame: int
    frames: int
    replay: str  # the command that makes it again

    def describe(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "name": Path(self.files["video"]).name,
            "frames": self.frames,
            "replay": self.replay,
            "replay_frames": self.first_frame + self.frames,  # from the start of the world
        }


class Tape:
    def __init__(self, request: PlayRequest, models: GameModels):
        self.request, self.models = request, models
        self.finished: list[Cut] = []
        self._recording: Recording | None = None

    @property
    def running(self) -> bool:
        return self._recording is not None

    @property
    def frames(self) -> int:
        return self._recording.frames if self._recording else 0

    def begin(self, start: Start, history: Sequence[Action]) -> None:
        """`history`: what was done in this world until now, an action a frame."""
        path = next(p for p in numbered(self.request.output) if not any(map(Path.exists, recorded(p).values())))
        self._image = start.path or _kept(start.image, beside(path, "_image", ".png"))
        self._seed, self._first = start.seed, len(history)
        self._recording = Recording(path, self.models.mode, self.request.fps)
        self._recording.actions += history
        facts = {"seed": self._seed, "image": str(self._image), "first_frame": self._first}
        self._recording.tell(self.request, **facts, **facts_of(self.models))

    def block_begins(self) -> None:
        """The time until now was the player's."""
        if self._recording:
            self._recording.restart_clock()

    def write(self, block: Block, video: np.ndarray) -> None:
        assert self._recording is not None
        self._recording.write(video, block.actions[0])
        if self.request.save_latents:
            self._recording.keep(block.latents)

    def finish(self) -> None:
        assert self._recording is not None
        recording = self._recording
        recording.close()
        if recording.frames:
            files, number = recording.files(), len(self.finished) + 1
            self.finished.append(Cut(number, files, self._first, recording.frames, self._replay(files["record"])))
        self._recording = None

    def give_up(self) -> str:
        """What is on disk plays and stays there, nothing is offered for download; what to say of it."""
        recording, self._recording = self._recording, None
        if recording is None:
            return ""
        with suppress(OSError):
            recording.close()
        return f"; {recording.path.name} has the {recording.frames} frames before that" if recording.frames else ""

    def _replay(self, script: str) -> str:
        request = self.request
        image = None if self._image == request.default_image else self._image
        world = {"actions": script, "seed": self._seed, "image": image}
        size = {"mode": self.models.mode.name, "height": request.height, "width": request.width}
        flags = world | size | {name: getattr(request, name) for name in MODEL_FLAGS}
        values = ([f"--{name}", str(value)] for name, value in flags.items() if value not in (None, "auto"))
        return shlex.join(["mg", "generate", *itertools.chain(*values), *switched(request)])


def switched(request: PlayRequest) -> list[str]:
    """Switches that were not left alone. Only graphs can be switched off: where they exist they are on."""
    given = {name: getattr(request, name) for name in SWITCHES}
    on = [f"--{name}" for name, value in given.items() if value]
    return [*on, "--no_graphs"] if given["graphs"] is False else on


def numbered(path: Path) -> Iterator[Path]:
    """play.mp4: play_1.mp4, play_2.mp4, ..."""
    return (beside(path, f"_{number}") for number in itertools.count(1))


def _kept(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path
