"""Action scripts as people write them: text, or a JSON or CSV file with an entry per frame or per stretch of frames.

    text   W*24 WA*12 L*12 WL*24      # keys*frames, blanks and line breaks between, `#` starts a comment
           W(0.02,-0.05)*12           # a camera turn in numbers, (pitch,yaw) per frame
    JSON   ["W", "WL*12", {"keys": "W", "mouse": [0, -0.05], "frames": 12}], or {"mode": .., "actions": list or text}
    CSV    keys,pitch,yaw,frames      # a header; all but keys may be left out

A mistake is a ValueError that names its line and column (in a CSV, the column's name). No torch in this file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wan.files.text import parse_json as plain_json
from wan.files.text import read_text
from wan.game.actions import Action, ActionScript, action
from wan.game.modes import MODES, Mode
from wan.schema import read, shown

FILES = (".txt", ".json", ".csv")
MOST_FRAMES = 10**12  # of one action: a thousand years
MOST_DIGITS = 20  # which are more than any of these numbers has
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TOKEN = re.compile(
    rf"(?P<keys>[A-Za-z]*)(?:\((?P<pitch>{_NUMBER}),(?P<yaw>{_NUMBER})\))?(?:\*(?P<frames>\d+))?(?![^\s#])"
)
_RECORDED = re.compile(r'^    ("[^"\n]*"),?$', re.MULTILINE)  # an action in the record of a recording
Segment = tuple[Action, int]


def load_script(given: str, mode: Mode) -> ActionScript:
    """What a user gave: the script itself, or the name of a file that holds one."""
    path = Path(given)
    if path.suffix.lower() not in FILES:
        return parse_text(given, mode)
    if not path.is_file():
        raise ValueError(f"no action file {path}: give a .txt, .json or .csv file, or the script itself")
    content = read_text(path)
    return {".txt": parse_text, ".json": parse_json, ".csv": parse_csv}[path.suffix.lower()](content, mode, path.name)


def parse_text(content: str, mode: Mode, source: str = "actions") -> ActionScript:
    return _script(mode, _text_segments(content, mode, source), source)


def _text_segments(content: str, mode: Mode, source: str) -> Iterator[Segment]:
    for number, line in enumerate(content.splitlines(), 1):
        for found in re.finditer(r"\S+", line.split("#")[0]):
            with _Place(source, number, found.start() + 1):
                yield _token(found.group(), mode)


def _token(token: str, mode: Mode) -> Segment:
    """`WL*24`, `W(0.02,-0.05)*12`, `W`."""
    match = _TOKEN.fullmatch(token)
    if not match or not (match["keys"] or match["pitch"]):
        raise ValueError(f"cannot read '{token}': write keys*frames, such as W*24, WL*12 or W(0.02,-0.05)*12")
    mouse = (float(match["pitch"]), float(match["yaw"])) if match["pitch"] else None
    return action(mode, match["keys"], mouse), _frames(_whole(match["frames"] or "1"))


def _frames(frames: Any) -> int:
    if not isinstance(frames, int) or not 1 <= frames <= MOST_FRAMES:
        raise ValueError(f"{shown(frames)} frames: hold an action for a whole number of frames, 1 to {MOST_FRAMES}")
    return frames


def parse_json(content: str, mode: Mode, source: str = "actions.json") -> ActionScript:
    whole, content = loads(content, source)
    if isinstance(whole, dict):
        _same_mode(whole.get("mode", mode.name), mode, source)
        whole = whole.get("actions")
    if isinstance(whole, str):
        return parse_text(whole, mode, source)
    if not isinstance(whole, list):
        raise ValueError(f'{source}: give a list of actions, or an object whose "actions" is a list or a text')
    return _script(mode, _json_segments(content, mode, source), source)


def loads(content: str, source: str) -> tuple[Any, str]:
    """What a JSON says, and the text that says it. A record whose process was killed in the middle of adding a block is read
    up to the last line of its actions."""
    try:
        return json.loads(content), content
    except json.JSONDecodeError as error:
        lines = list(_RECORDED.finditer(content)) if content.startswith('{\n  "request": {') else []
        if not lines:
            raise ValueError(f"{source}, line {error.lineno}, column {error.colno}: not JSON ({error.msg})") from None
        content = content[: lines[-1].end(1)] + "]}"
    except (ValueError, RecursionError):
        pass  # of another kind, about which it says the same once more
    return plain_json(content, source), content


def _json_segments(content: str, mode: Mode, source: str) -> Iterator[Segment]:
    line, begins = 1, 0  # of the line that we are in: number and offset
    for at, entry in _json_values(content, _json_list(content)):
        line += content.count("\n", begins, at)
        begins = content.rfind("\n", begins, at) + 1 or begins
        with _Place(source, line, at - begins + 1):
            yield _json_entry(entry, mode)


def _json_list(content: str) -> int:
    """Where the list of actions begins: the whole, or a member of it (the last of that name, as json.loads has it)."""
    begins = _skip(content, 0)
    if content[begins] == "[":
        return begins
    values = list(_json_values(content, begins))
    return {name: at for (_, name), (at, _) in zip(values[::2], values[1::2])}["actions"]


def _json_values(content: str, begins: int) -> Iterator[tuple[int, Any]]:
    """What is in the list or object that begins there, each with its offset, which json.loads does not tell; of an
    object names and values in turn. `content` is known to be JSON."""
    decoder, at = json.JSONDecoder(), begins + 1
    while content[at := _skip(content, at)] not in "]}":
        value, end = decoder.raw_decode(content, at)
        yield at, value
        at = end


def _skip(content: str, at: int) -> int:
    while content[at] in " \t\r\n,:":
        at += 1
    return at


@dataclass(frozen=True)
class ActionEntry:
    """An action of a JSON that is not written as text."""

    keys: str = ""
    mouse: tuple[float, float] | None = None
    frames: int = 1


def _json_entry(given: Any, mode: Mode) -> Segment:
    if isinstance(given, str):
        return _token(given, mode)
    if not isinstance(given, dict):
        raise ValueError(
            f'{shown(given)} is not an action: write "WL*12" or {{"keys": "W", "mouse": [0, 0.1], "frames": 12}}'
        )
    entry = read(ActionEntry, given)
    return action(mode, entry.keys, entry.mouse), _frames(entry.frames)


def parse_csv(content: str, mode: Mode, source: str = "actions.csv") -> ActionScript:
    lines = content.splitlines()
    header = [name.strip().lower() for name in lines[0].split(",")] if lines else []
    if "keys" not in header or set(header) - {"keys", "pitch", "yaw", "frames"}:
        raise ValueError(f"{source}, line 1, column 1: the header must be keys, and any of pitch, yaw, frames")
    return _script(mode, _csv_segments(lines, header, mode, source), source)


def _csv_segments(lines: list[str], header: list[str], mode: Mode, source: str) -> Iterator[Segment]:
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split(",")]
        with _Place(source, number, "keys"):
            if len(cells) != len(header):
                raise ValueError(f"{len(cells)} values where the header has {len(header)}")
        row = dict(zip(header, cells))
        number_of = {n: _cell(row[n], source, number, n) for n in ("pitch", "yaw", "frames") if row.get(n)}
        mouse = number_of.get("pitch", 0.0), number_of.get("yaw", 0.0)
        with _Place(source, number, "keys"):
            yield action(mode, row["keys"], mouse if any(mouse) else None), _frames(number_of.get("frames", 1))


def _cell(cell: str, source: str, line: int, name: str) -> float | int:
    with _Place(source, line, name):
        if not re.fullmatch(_NUMBER, cell):
            raise ValueError(f"'{cell}' is not a number")
    return _whole(cell) if cell.isdecimal() else float(cell)


def _whole(digits: str) -> int:
    """Of thousands of digits, which Python refuses to read, too."""
    return int(digits[:MOST_DIGITS])


def _script(mode: Mode, segments: Iterator[Segment], source: str) -> ActionScript:
    found = tuple(segments)
    if not found:
        raise ValueError(f"{source}: no action in it: write keys*frames, such as W*24 WL*12")
    return ActionScript(mode, found)


def _same_mode(named: Any, mode: Mode, source: str) -> None:
    if named != mode.name:
        known = f"this model plays {mode.name}" if named in list(MODES) else f"its mode is one of {', '.join(MODES)}"
        raise ValueError(f"{source} is a script for mode {named if isinstance(named, str) else shown(named)}: {known}")


class _Place:
    """Says where in the script a mistake was made."""

    def __init__(self, source: str, line: int, column: int | str):
        self.where = f"{source}, line {line}, column {column}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ValueError):
            raise ValueError(f"{self.where}: {error}") from None
