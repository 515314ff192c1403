"""What a page may say: short JSON objects, one table of what is in them, and nothing else gets in.

{"type": "keys", "keys": "WL", "at": 51234.5}  all letters held, in the order pressed; when, by the page's clock in ms
{"type": "look", "right": 3, "down": -1}       mouse movement since the last one, in pixels
{"type": "got", "frames": 120}                 how many frames have arrived since the page connected
{"type": "quality", "best": 2}                 the best level (encode.py) that this page wants
{"type": "lead"}                               this page plays from now on, the others watch
{"type": "pause", "on": true}                  {"type": "record", "on": true}
{"type": "restart", "seed": 7}                 null: the same seed     {"type": "image", "number": 2}  of the gallery
"""

from __future__ import annotations

import json
from typing import Any

from mgcli.game.play.encode import LEVELS

LONGEST = 512  # bytes of a message
HIGHEST_SEED = 2**53 - 1  # what JavaScript counts exactly
FAR = 100_000  # pixels that no mouse moves at once
MOST_KEYS = 16


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _number(low: float, high: float) -> Any:
    # the comparison also refuses what JSON of other people may hold: NaN, infinity, a thousand digits
    return lambda value: type(value) in (int, float) and low <= value <= high


def _whole(high: int) -> Any:
    return lambda value: type(value) is int and 0 <= value <= high


def _letters(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MOST_KEYS and all("A" <= letter <= "Z" for letter in value)


FIELDS: dict[str, dict[str, Any]] = {
    "keys": {"keys": _letters, "at": _number(0, 2.0**53)},
    "look": {"right": _number(-FAR, FAR), "down": _number(-FAR, FAR)},
    "got": {"frames": _whole(2**53)},
    "quality": {"best": _whole(len(LEVELS) - 1)},
    "lead": {},
    "pause": {"on": _flag},
    "record": {"on": _flag},
    "restart": {"seed": lambda value: value is None or _whole(HIGHEST_SEED)(value)},
    "image": {"number": _whole(10**9)},
}


def parse(text: str) -> dict[str, Any]:
    """The message, every field of it checked; ValueError for anything else."""
    if len(text) > LONGEST:
        raise ValueError("a message is short")
    try:
        message = json.loads(text)
    except RecursionError:
        raise ValueError("brackets without end") from None
    kind = message.get("type") if isinstance(message, dict) else None
    fields = FIELDS.get(kind) if isinstance(kind, str) else None
    if fields is None or message.keys() - {"type"} != fields.keys():
        raise ValueError("not a message of this page")
    for name, holds in fields.items():
        if not holds(message[name]):
            raise ValueError(f"{kind}: {name} is out of place")
    return message
