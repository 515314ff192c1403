"""The dialogue of `mg stream`: camera and movement asked for a block at a time, for pipes and for patient people.

Answers may come in either order, and a line that answers the next question instead of "continue?" is taken as that, so
lines written for the official tool and shorter ones both work. `n` or the end of the input ends the session.
"""

from __future__ import annotations

from pathlib import Path

from mgcli.app.console import console
from mgcli.game.players import UnattendedPlayer
from wan.game.actions import Action, action
from wan.game.modes import Mode


class Ended(Exception):
    """Nobody wants to go on."""


class DialoguePlayer(UnattendedPlayer):
    def __init__(self, mode: Mode):
        self.mode = mode
        self._groups = {name: letters for name, letters in groups_of(mode).items() if letters}
        self._kept: str | None = None  # a line that answers the next question
        self._started = False

    def start_image(self, default: Path) -> Path | None:
        """A start image; what is no file but an action answers the first question."""
        try:
            answer = self._ask(f"start image (Enter: {default.name})")
        except Ended:
            return None
        if answer and not Path(answer).exists() and self._keys(answer) is not None:
            self._kept, answer = answer, ""
        return Path(answer) if answer else default

    def actions(self, frames: range) -> list[list[Action]] | None:
        try:
            if self._started:
                self._ask_to_continue()
            self._started = True
            console.say(f"video frames {frames[0]} to {frames[-1]}")
            return [[self._ask_action()] * len(frames)]
        except Ended:
            return None

    def _ask_to_continue(self) -> None:
        answer = self._ask("continue? (Enter, or n to end)")
        if answer and self._keys(answer) is not None:
            self._kept = answer

    def _ask_action(self) -> Action:
        chosen: dict[str, str] = {}
        while missing := [name for name in self._groups if name not in chosen]:
            name = missing[0]
            answer = self._ask(f"{name} ({explained(self.mode, self._groups[name])})")
            try:
                keys = read_keys(self.mode, answer)
            except ValueError as error:
                console.say(str(error))
                continue
            parts = {n: "".join(k for k in keys if k in letters) for n, letters in self._groups.items()}
            chosen |= {n: part for n, part in parts.items() if part} or {name: ""}
        return action(self.mode, "".join(chosen.values()))

    def _keys(self, answer: str) -> str | None:
        try:
            return read_keys(self.mode, answer)
        except ValueError:
            return None

    def _ask(self, question: str) -> str:
        answer, self._kept = self._kept, None
        if answer is None:
            answer = console.ask(question)
        if answer is None:
            console.say("")  # the question is still waiting on its line
        if answer is None or answer.strip().lower() == "n":
            raise Ended
        return answer.strip()


def groups_of(mode: Mode) -> dict[str, str]:
    """The questions of a mode and the letters that answer them: camera apart from movement where it has keys of its own."""
    rests = "".join(mode.rests)
    if mode.name != "universal":
        return {"action": mode.letters + rests}
    return {"camera": "IKJLU", "movement": "WSADQ"}


def explained(mode: Mode, letters: str) -> str:
    does = {key.letter: key.does for key in mode.keys} | mode.rests
    return ", ".join(f"{letter}: {does[letter]}" for letter in letters)


def read_keys(mode: Mode, answer: str) -> str:
    """`W A`, `wa`: the letters, if they are an action of this mode."""
    keys = "".join(answer.split()).upper()
    action(mode, keys)
    return keys
