"""Live play at a terminal: what is held as a block begins is what is done in it, and a picture of that on screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Self

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mgcli.app.console import console
from mgcli.game.keys import HeldKeys, Keyboard, arrow_letters
from mgcli.game.players import BlockReport, Take
from mgcli.game.preview import Kind, Preview
from wan.game.actions import Action, action
from wan.game.modes import Key, Mode

COMMANDS = "arrows work too   space pause   r another seed   o another image   n or q end"
KEYS_A_ROW = 4  # fits 80 columns; in universal the camera has a row of its own
LOOK_AGAIN = 0.05  # seconds, while paused


class LivePlayer:
    def __init__(self, mode: Mode, preview: Kind = "off"):
        self.mode = mode
        self._preview = Preview(preview, self._draw_world, deep=console.colours == "truecolor")
        self._held, self._arrows = HeldKeys(mode), arrow_letters(mode)
        self._keyboard = Keyboard()
        self._screen = console.live()
        self._keys: RenderableType = ""
        self._paused = False
        self._next: Callable[[Take], Take | None] | None = None  # set: this take ends
        self._action = Action()
        self._report: BlockReport | None = None

    def __enter__(self) -> Self:
        self._keyboard.__enter__()
        self._screen.start()
        self._draw()
        self._preview.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._preview.stop()
        self._screen.stop()
        self._keyboard.__exit__()

    def actions(self, frames: range) -> list[list[Action]] | None:
        self._read_keys()
        while self._paused and not self._next:
            time.sleep(LOOK_AGAIN)
            self._read_keys()
        if self._next:
            return None
        self._action = action(self.mode, self._held.sample(time.monotonic()))
        self._draw()
        return [[self._action] * len(frames)]

    def start_image(self, default: Path) -> Path:
        return default

    def shown(self, report: BlockReport) -> None:
        self._report = report
        self._preview.show(report.frames, report.recording.block_seconds)
        self._draw()

    def next_take(self, take: Take) -> Take | None:
        chosen, self._next = self._next, None
        return chosen(take) if chosen else None

    def _read_keys(self) -> None:
        for now, key in self._keyboard.pressed():
            self._press(key, now)

    def _press(self, key: str, now: float) -> None:
        letter = self._arrows.get(key, key.upper())
        if key in ("n", "q"):
            self._next = lambda _: None
        elif key == "r":
            self._next = lambda take: replace(take, number=take.number + 1, seed=take.seed + 1)
        elif key == "o":
            self._ask_image()
        elif key in (" ", "p"):
            self._paused = not self._paused
            self._draw()
        elif self.mode.key(letter) or letter in self.mode.rests:
            self._held.press(letter, now)

    def _ask_image(self) -> None:
        from wan.game.conditions import open_image

        self._preview.stop()
        self._screen.stop()
        with self._keyboard.lent():
            answer = (console.ask("start image (Enter: go on here)") or "").strip()
            try:
                if answer:
                    open_image(Path(answer))
                    self._next = lambda take: replace(take, number=take.number + 1, image=Path(answer))
            except (ValueError, OSError) as error:
                console.say(f"{error}")
        self._screen.start()
        self._preview.start()

    def _draw(self) -> None:
        self._keys = console.drawn(picture(self.mode, self._action, self._report, self._paused))
        self._draw_world()

    def _draw_world(self) -> None:
        """The world again, many times a second; the keys as they were laid out."""
        columns, rows = console.room
        world = self._preview.rows(columns, rows - lines_of(self.mode))
        self._screen.update(Group(world, self._keys), refresh=True)


def lines_of(mode: Mode) -> int:
    """What the keys take of the screen: their rows, a state of two lines at most, the commands, and a line to spare."""
    return -(-len(mode.keys) // KEYS_A_ROW) + 4


def picture(mode: Mode, act: Action, report: BlockReport | None, paused: bool) -> Group:
    """Every key with what it does, those of the current block lit; how far we are; what else can be pressed."""
    keys = Table.grid(padding=(0, 2))
    for row in range(0, len(mode.keys), KEYS_A_ROW):
        keys.add_row(*(labelled(key, act) for key in mode.keys[row : row + KEYS_A_ROW]))
    state = Text(str(report) if report else "the first block is being made", style="cyan")
    if paused:
        state.append("  paused", style="bold magenta")
    return Group(keys, state, Text(COMMANDS, style="dim"))


def labelled(key: Key, act: Action) -> Text:
    lit = key.letter in act.keys or (key.turn is not None and any(t and t == m for t, m in zip(key.turn, act.mouse)))
    cap = Text(f" {key.letter} ", style="bold black on yellow" if lit else "reverse dim")
    return Text.assemble(cap, (f" {key.does}", "" if lit else "dim"))
