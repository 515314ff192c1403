"""A stream session: takes, one after the other, with the same models; each recorded block by block. Imports torch."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

from mgcli.app.console import console
from mgcli.app.outputs import Outputs
from mgcli.app.recording import Recording, beside, recorded
from mgcli.game.generation import on_host, write
from mgcli.game.players import BlockReport, Player, Take
from mgcli.game.request import StreamRequest
from mgcli.game.worlds import facts_of
from wan.game.actions import Action
from wan.game.conditions import open_image
from wan.game.models import GameModels
from wan.game.rollout import World, rollout
from wan.game.savepoint import load_world, save_world


class StreamSession:
    def __init__(self, request: StreamRequest, models: GameModels, player: Player, outputs: Outputs):
        self.request, self.models, self.player, self.outputs = request, models, player, outputs
        self.recordings: list[Recording] = []
        self._interrupted = self._waiting = False

    def run(self, take: Take) -> None:
        """Until the player has had enough, the frames are used up, or Ctrl-C."""
        next_take: Take | None = take
        with self._interruptible():
            while next_take and not self._interrupted:
                self._play(next_take)
                next_take = self.player.next_take(next_take)

    def _play(self, take: Take) -> None:
        request = self.request if take.number == 1 else replace(self.request, load_state=None)
        path = request.output
        if take.number > 1:
            path = self.outputs.place("--output", beside(path, f"_{take.number}"), recorded)
        origin = {"seed": take.seed, "image": str(take.image)}
        world = self._begin(request, take)
        # none is endless
        blocks = request.max_num_output_frames // world.sampling.num_frame_per_block or None
        with Recording(path, self.models.mode, request.fps, growing=True) as recording:
            self.recordings.append(recording)
            recording.tell(request, **origin, **facts_of(self.models))
            for block in rollout(world, self._actions, blocks):
                write(on_host(block, world, request.save_latents), [recording])
                self.player.shown(BlockReport(block.span, recording))
        if request.save_state:
            save_world(request.save_state, world, origin)

    def _begin(self, request: StreamRequest, take: Take) -> World:
        if request.load_state:
            world, _ = load_world(request.load_state, self.models)
            console.say(f"{request.load_state} goes on at video frame {world.span.frames.start}")
            return world
        image = open_image(take.image)
        return self.models.start([image], [take.seed], request.sampling(), request.height, request.width)

    def _actions(self, frames: range) -> list[list[Action]] | None:
        self._waiting = True
        try:
            return None if self._interrupted else self.player.actions(frames)
        except KeyboardInterrupt:
            self._interrupted = True
            return None
        finally:
            self._waiting = False
            self.recordings[-1].restart_clock()

    def facts(self) -> dict[str, Any]:
        """What there is to report: one take or several, only those that have frames."""
        made = [recording for recording in self.recordings if recording.frames]
        frames, seconds = sum(r.frames for r in made), sum(r.total_seconds for r in made)
        return {
            "takes": [r.files() | {"frames": r.frames, "seconds": r.total_seconds} for r in made],
            "mode": self.models.mode.name,
            "frames": frames,
            "frames_per_second": round(frames / seconds, 2) if seconds else 0.0,
            **({"state": str(self.request.save_state)} if self.request.save_state else {}),
        }

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl-C ends the session after the block in hand, so that its world can be saved; a second one ends it now."""

        def interrupt(_number: int, _frame: FrameType | None) -> None:
            if self._waiting or self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
