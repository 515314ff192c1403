"""A played session: worlds one after the other, made a block at a time from what the player does. Imports torch.

It knows nothing of sockets: others tell it what they want, from any thread, and it hands out blocks as they are made,
in the thread that runs it. The rollout is that of batch and terminal; waiting for the right moment to begin a block
(the clock's, a pause, nobody watching) happens where the rollout asks for actions.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from mgcli.app.errors import describe
from mgcli.game.play.clock import Clock
from mgcli.game.play.controls import Controls
from mgcli.game.play.gallery import Gallery
from mgcli.game.play.request import PlayRequest
from mgcli.game.play.tape import Start, Tape, first_start
from wan.game.actions import Action
from wan.game.models import GameModels
from wan.game.rollout import Block, rollout
from wan.game.timeline import Span

log = logging.getLogger(__name__)

LATEST = 3  # recordings that a page is told of; the others stay on disk and under their numbers


@dataclass(frozen=True)
class PlayedBlock:
    """A block to be shown: its first frame at `due` (of the clock's `now`), each for `interval` seconds."""

    world: int
    span: Span
    video: np.ndarray  # uint8 (F, H, W, 3)
    action: Action
    mark: Any  # of the oldest key change that it answers
    made_in: float  # seconds from keys to frames
    due: float
    interval: float


class PlaySession:
    def __init__(self, request: PlayRequest, models: GameModels):
        models.check_size(request.height, request.width)
        self.request, self.models = request, models
        self.begun = threading.Event()  # the first world can be played, or nothing will be
        self.controls, self.clock = Controls(models.mode), Clock(request.fps)
        self.tape = Tape(request, models)
        self.start = first_start(request)
        self.gallery = Gallery(self.start, request.height, request.width)
        self.world = 0
        self.phase = "starting"
        self.note = ""  # what went wrong without ending the session
        self._next: Start | None = self.start
        self._history: list[Action] = []  # of this world, an action a frame
        self._paused = self._watched = self._taping = self._ended = False
        self._wake = threading.Condition()

    # What others ask for, from any thread ---------------------------------------------------------------------------

    def restart(self, seed: int | None = None) -> None:
        """Another world: with another seed, or the same once more."""
        with self._asking():
            start = self._next or self.start
            self._begin_anew(start if seed is None else replace(start, seed=seed))

    def choose_image(self, number: int) -> None:
        """A world from an image of the gallery; ValueError if that has none of this number."""
        start = self.gallery.find(number)
        if start is None:
            raise ValueError(f"there is no start image {number}")
        self._begin_from(start)

    def add_image(self, image: Image.Image) -> None:
        """A world from an image that is new."""
        self._begin_from(self.gallery.add(image))

    def _begin_from(self, start: Start) -> None:
        with self._asking():
            self._begin_anew(replace(start, seed=(self._next or self.start).seed))

    def _begin_anew(self, start: Start) -> None:
        self._next = start
        self._paused = self._taping = False
        self.controls.forget()

    def pause(self, on: bool) -> None:
        with self._asking():
            self._paused = on
            self.controls.forget()

    def record(self, on: bool) -> None:
        with self._asking():
            self._taping, self.note = on, ""

    def watch(self, on: bool) -> None:
        """A world that nobody looks at stands still."""
        with self._asking():
            self._watched = on

    def end(self) -> None:
        with self._asking():
            self._ended = True

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with self._wake:
            yield
            self._wake.notify_all()

    def describe(self) -> dict[str, Any]:
        """What a page shows of it."""
        return {
            "world": self.world,
            "phase": "paused" if self._paused and self.phase == "playing" else self.phase,
            "seed": self.start.seed,
            "image": self.start.name,
            "gallery": self.gallery.describe(self.start),
            "recording": self.tape.frames if self._taping else None,
            "recordings": [cut.describe() for cut in self.tape.finished[-LATEST:]],
            "note": self.note,
        }

    # The thread that plays ------------------------------------------------------------------------------------------

    def run(self, on_block: Callable[[PlayedBlock], None], on_change: Callable[[], None]) -> None:
        """Until `end`. Both are called here, between two blocks, and must return at once."""
        self._on_block, self._on_change = on_block, on_change
        try:
            while start := self._take_next():
                self._play(start)
        finally:
            self.begun.set()
            self._finish_tape()
            self._enter("ended")

    def _take_next(self) -> Start | None:
        with self._wake:
            start, self._next = self._next, None
            return None if self._ended else start

    def _play(self, start: Start) -> None:
        self.start, self._history = start, []
        self.world += 1
        self._enter("starting")
        request = self.request
        world = self.models.start([start.image], [start.seed], request.sampling(), request.height, request.width)
        self.begun.set()
        for block in rollout(world, self._actions):
            video = block.on_host()[0]
            self._hand_out(block, video)
            world.commit()  # now, because a GPU does the clean pass while the frames go their ways
            self._keep(block, video)
            self.clock.done()
        self._finish_tape()

    def _actions(self, frames: range) -> list[list[Action]] | None:
        if not self._wait_for_turn():
            return None
        self.tape.block_begins()
        self.clock.begin()
        self._sample = self.controls.sample(len(frames))
        return [[self._sample.action] * len(frames)]

    def _wait_for_turn(self) -> bool:
        """Until the next block should begin; False if this world ends instead."""
        while True:
            self._tend_tape()
            with self._wake:
                if self._ended or self._next:
                    return False
                seconds = self.clock.wait() if self._watched and not self._paused else None
                if seconds == 0.0:
                    return True
                if self._taping == self.tape.running:
                    self._wake.wait(seconds)

    def _hand_out(self, block: Block, video: np.ndarray) -> None:
        due, interval = self.clock.due(len(video))
        sample = self._sample
        played = PlayedBlock(self.world, block.span, video, sample.action, sample.mark, self.clock.lead, due, interval)
        self._on_block(played)
        if self.phase != "playing":
            self._enter("playing")

    def _enter(self, phase: str) -> None:
        self.phase = phase
        self._on_change()

    # Recording ------------------------------------------------------------------------------------------------------

    def _tend_tape(self) -> None:
        """Begin or finish a recording, as asked for."""
        if self._taping and not self.tape.running:
            self._guarded(lambda: self.tape.begin(self.start, self._history))
        elif self.tape.running and not self._taping:
            self._finish_tape()

    def _keep(self, block: Block, video: np.ndarray) -> None:
        self._history += block.actions[0]
        if self.tape.running:
            self._guarded(lambda: self.tape.write(block, video))

    def _finish_tape(self) -> None:
        if self.tape.running:
            self._guarded(self.tape.finish)
            self._on_change()

    def _guarded(self, work: Callable[[], None]) -> None:
        """A disk that is full, or an encoder that died, ends the recording and not the world."""
        try:
            work()
        except (OSError, RuntimeError) as error:
            why = describe(error)[0] if isinstance(error, OSError) else str(error)
            self.note = f"recording stopped: {why}{self.tape.give_up()}"
            log.warning(self.note)
            self._taping = False
            self._on_change()
