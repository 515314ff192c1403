"""The three ways to play Matrix-Game 2.0: which keys there are and what each one tells the model.

A mode is a table. A key either lights a column of the keyboard one-hot or turns the camera, by (pitch, yaw) per video
frame: positive pitch looks up, positive yaw looks right. The models were trained on turns of 0.1 and on none at all;
what angle 0.1 is was never published, values between 0 and 0.1 turn more slowly, and beyond 0.1 is unknown territory.
`walk` is what the official random walks choose from, each entry as often as it stands there. No torch in this file.
"""

from __future__ import annotations

from dataclasses import dataclass

CAM_VALUE = 0.1  # the turn per video frame of the official tools


@dataclass(frozen=True)
class Key:
    letter: str
    does: str
    column: int | None = None  # of the keyboard one-hot
    turn: tuple[float, float] | None = None  # (pitch, yaw) per video frame


@dataclass(frozen=True)
class Mode:
    name: str
    keys: tuple[Key, ...]
    keyboard_dim: int
    has_mouse: bool
    rests: dict[str, str]  # letters that say "nothing": what they leave alone
    opposed: tuple[str, ...]  # letters of which at most one is held
    walk: tuple[str, ...]
    idle_column: int | None = None  # lit when no key is held

    def key(self, letter: str) -> Key | None:
        return next((k for k in self.keys if k.letter == letter), None)

    @property
    def letters(self) -> str:
        return "".join(k.letter for k in self.keys)

    @property
    def move_letters(self) -> str:
        return "".join(k.letter for k in self.keys if k.column is not None)


_UP, _DOWN, _LEFT, _RIGHT = (CAM_VALUE, 0.0), (-CAM_VALUE, 0.0), (0.0, -CAM_VALUE), (0.0, CAM_VALUE)

UNIVERSAL = Mode(
    name="universal",
    keys=(
        Key("W", "forward", column=0),
        Key("S", "back", column=1),
        Key("A", "left", column=2),
        Key("D", "right", column=3),
        Key("I", "look up", turn=_UP),
        Key("K", "look down", turn=_DOWN),
        Key("J", "turn left", turn=_LEFT),
        Key("L", "turn right", turn=_RIGHT),
    ),
    keyboard_dim=4,
    has_mouse=True,
    rests={"Q": "no move", "U": "no turn"},
    opposed=("WSQ", "ADQ", "IKU", "JLU"),
    walk=("WA", "WD") * 5 + ("J", "L") * 5 + ("W", "A", "D") * 5
    + tuple(move + turn for move in ("W", "A", "D", "WA", "WD") for turn in "JL"),
)  # fmt: skip

GTA_DRIVE = Mode(
    name="gta_drive",
    keys=(
        Key("W", "accelerate", column=0),
        Key("S", "brake", column=1),
        Key("A", "steer left", turn=_LEFT),
        Key("D", "steer right", turn=_RIGHT),
    ),
    keyboard_dim=2,
    has_mouse=True,
    rests={"Q": "coast"},
    opposed=("WSQ", "ADQ"),
    walk=("A", "D") * 2 + ("W", "S") * 2 + ("WA", "WD", "SA", "SD"),
)

TEMPLERUN = Mode(
    name="templerun",
    keys=(
        Key("W", "jump", column=1),
        Key("S", "slide", column=2),
        Key("Z", "turn left", column=3),
        Key("C", "turn right", column=4),
        Key("A", "step left", column=5),
        Key("D", "step right", column=6),
    ),
    keyboard_dim=7,
    has_mouse=False,
    rests={"Q": "run on"},
    opposed=("WSZCADQ",),  # one action at a time
    walk=("W", "S", "A", "D", "Z", "C", "Q"),
    idle_column=0,
)

MODES = {mode.name: mode for mode in (UNIVERSAL, GTA_DRIVE, TEMPLERUN)}
