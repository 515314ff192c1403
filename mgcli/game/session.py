"""A stream session: takes, one after the other, with the same models; each recorded block by block. Imports torch."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from types import FrameType
from typing import Any

from mgcli.app import system
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

ENDING = (signal.SIGINT, signal.SIGTERM, system.HUNG_UP)  # Ctrl-C, a polite kill, a terminal that is closed


class StreamSession:
    def __init__(self, request: StreamRequest, models: GameModels, player: Player, outputs: Outputs):
        self.request, self.models, self.player, self.outputs = request, models, player, outputs
        self.recordings: list[Recording] = []
        self._interrupted = self._waiting = False

    def run(self, take: Take) -> None:
        """Until the player has had enough, the frames are used up, or a signal says so."""
        next_take: Take | None = take
        with self._interruptible(), self._at_terminal():
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
                made = on_host(block, world, request.save_latents)
                write(made, [recording])
                self._show(BlockReport(block.span, recording, made.video[0]))
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
        try:
            self._waiting = True
            chosen = None if self._interrupted else self.player.actions(frames)
            self._waiting = False
            return chosen
        except (KeyboardInterrupt, OSError):  # whoever played has left, or their terminal has
            self._interrupted = True
            return None
        finally:
            self.recordings[-1].restart_clock()

    def _show(self, report: BlockReport) -> None:
        try:
            self.player.shown(report)
        except OSError:  # a terminal that has gone; the signal that says so may come later
            self._interrupted = True

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
        """A signal ends the session after the block in hand, so that its world can be saved; a second Ctrl-C ends it now."""

        def interrupt(number: int, _frame: FrameType | None) -> None:
            now = self._waiting or (self._interrupted and number == signal.SIGINT)
            self._interrupted, self._waiting = True, False
            if now:
                raise KeyboardInterrupt

        # one that is to outlive its terminal (nohup) goes on
        heard = [n for n in ENDING if n != system.HUNG_UP or signal.getsignal(n) != signal.SIG_IGN]
        before = {number: signal.signal(number, interrupt) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)

    @contextmanager
    def _at_terminal(self) -> Iterator[None]:
        """The player at work, and the terminal as it was in the end, whatever ends it."""
        with system.terminal_kept(), ExitStack() as stack:
            self.player.__enter__()
            stack.push(self._leave)
            yield

    def _leave(self, *exception: object) -> None:
        with suppress(OSError):  # a terminal that has gone needs nothing
            self.player.__exit__(*exception)
