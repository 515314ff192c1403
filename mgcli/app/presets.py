"""A preset file and flags become a request: one frozen dataclass that says everything about a run.

Precedence is default < preset < flag, where a flag of None was not given. Presets are flat YAML whose keys are the
fields of the request; an unknown key or a value of the wrong type is an error, because a misspelt setting that is
ignored costs a run.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

T = TypeVar("T")
PACKAGE = Path(__file__).parents[1]
# a wheel carries configs/ inside the package; a checkout has it beside the package
CONFIG_ROOTS = (PACKAGE / "_configs", PACKAGE.parent / "configs")


def resolve(cls: type[T], preset: dict[str, Any] | None, flags: dict[str, Any]) -> T:
    """An instance of the dataclass `cls`; every value is checked against the type of its field."""
    expected = typing.get_type_hints(cls)
    given = {**(preset or {}), **{k: v for k, v in flags.items() if v is not None}}
    for key in given:
        if key not in expected:
            raise ValueError(f"unknown key {key!r}{_nearest(str(key), expected)}")
    return cls(**{key: _checked(key, value, expected[key]) for key, value in given.items()})


def load_preset(name: str | Path, given: bool = False) -> dict[str, Any]:
    """The keys of a YAML preset, found as `find_config` finds it; of a record (`write_request`), those of its request."""
    path = find_config(name, given)
    record, text = path.suffix == ".json", read_text(path)
    try:
        values = json.loads(text) if record else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is not valid {'JSON' if record else 'YAML'}: {error}") from error
    if record and isinstance(values, dict):
        values = values.get("request", values)
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds {type(values).__name__}, a preset is `key: value` lines")
    return values


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 (byte {error.start} is none of it); save it as such") from None


def find_config(name: str | Path, given: bool = False) -> Path:
    """A file or folder under configs/ of this installation, with or without that prefix. What a user has `given` in a flag may
    be anywhere and comes first; our own names never mean what happens to lie in the working directory."""
    if given and Path(name).exists():
        return Path(name).absolute()
    parts = Path(name).parts
    inside = Path(*parts[1:]) if parts[:1] == ("configs",) else Path(name)
    for root in CONFIG_ROOTS:
        if (root / inside).exists():
            return root / inside
    known = [str(Path("configs") / p.relative_to(r)) for r in CONFIG_ROOTS for p in r.rglob("*.*")]
    raise ValueError(f"no such config: {name}{_nearest(str(Path('configs') / inside), known)}")


def write_request(path: Path, request: Any, extra: dict[str, Any]) -> None:
    """The resolved request as JSON beside an output, with what only the run knows (versions, timings) in `extra`."""
    record = {"request": dataclasses.asdict(request), **extra}
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(record, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    part.replace(path)


def _checked(key: str, value: Any, expected: Any) -> Any:
    """`value` as an `expected`; only what loses nothing is converted (list to tuple, int to float, str to Path)."""
    origin, args = typing.get_origin(expected), typing.get_args(expected)
    if origin in (Union, types.UnionType):
        return _checked_union(key, value, args)
    if origin is Literal and value in args:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return _checked_tuple(key, tuple(value), args)
    if expected is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if expected is Path and isinstance(value, str | Path):
        return Path(value)
    if (isinstance(expected, type) and type(value) is expected) or expected is Any:
        return value
    raise ValueError(f"{key}: expected {_type_name(expected)}, got {value!r}")


def _checked_union(key: str, value: Any, alternatives: tuple[Any, ...]) -> Any:
    if value is None and type(None) in alternatives:
        return None
    # exact types first, so that 3 stays an int where int and float are both allowed
    for alternative in sorted(alternatives, key=lambda a: a is not type(value)):
        try:
            return _checked(key, value, alternative)
        except ValueError:
            continue
    raise ValueError(f"{key}: expected {' or '.join(_type_name(a) for a in alternatives)}, got {value!r}")


def _checked_tuple(key: str, value: tuple[Any, ...], args: tuple[Any, ...]) -> tuple[Any, ...]:
    item_types = args[:1] * len(value) if args[1:] == (...,) else args
    if len(item_types) != len(value):
        raise ValueError(f"{key}: expected {len(item_types)} values, got {len(value)}: {value!r}")
    return tuple(_checked(f"{key}[{i}]", v, t) for i, (v, t) in enumerate(zip(value, item_types, strict=True)))


def _type_name(expected: Any) -> str:
    if expected is type(None):
        return "nothing"
    if typing.get_origin(expected) is Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(expected)))
    return expected.__name__ if isinstance(expected, type) and not typing.get_args(expected) else str(expected)


def _nearest(word: str, known: typing.Iterable[str]) -> str:
    known = sorted(known)
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
