"""Values from outside, held to what a dataclass declares: presets, recordings, scripts, save points, a config.json.

A dataclass is the schema of what may be said, its annotations are the types. A key that it has not is an error that names the
nearest; a value of another type is one too, and what loses nothing is converted (list to tuple, int to float, str to Path, an
object to the dataclass that belongs there). How large a number may be is its owner's business: `within` says so in one way.
No torch in this file.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")
LONGEST_SHOWN = 60  # letters of a value in a message
LARGEST_SHOWN = 10**18  # Python refuses to write numbers of thousands of digits


def read(cls: type[T], values: Mapping[Any, Any]) -> T:
    """An instance of the dataclass; what is left out has its default."""
    given = typed(cls, values)
    if missing := [field.name for field in dataclasses.fields(_dataclass(cls)) if _needed(field, given)]:
        raise ValueError(f"{missing[0]} is not there")
    return cls(**given)


def typed(cls: type, values: Mapping[Any, Any], source: str = "") -> dict[str, Any]:
    """The same values, each of the type of its field; `source` is where they are from."""
    expected, at = _annotations(cls), f"{source}: " if source else ""
    for key in values:
        if key not in expected:
            word = key[:LONGEST_SHOWN] if isinstance(key, str) else shown(key)
            raise ValueError(f"{at}unknown key {shown(key)}{nearest(word, expected)}")
    return {key: checked(f"{at}{key}", value, expected[key]) for key, value in values.items()}


def known(cls: type, values: Mapping[Any, Any], source: str = "") -> dict[str, Any]:
    """`typed`, of what the dataclass knows: other keys are the business of others."""
    return typed(cls, {key: value for key, value in values.items() if key in _annotations(cls)}, source)


def checked(name: str, value: Any, expected: Any) -> Any:
    """`value` as an `expected`."""
    origin, args = typing.get_origin(expected), typing.get_args(expected)
    if origin in (Union, types.UnionType):
        return _one_of(name, value, args)
    if origin is Literal and any(type(value) is type(choice) and value == choice for choice in args):
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return _tuple(name, tuple(value), args)
    if dataclasses.is_dataclass(expected) and isinstance(value, Mapping):
        return read(typing.cast(type, expected), value)
    if expected is float and type(value) in (int, float):
        return _float(value)
    if expected is Path and isinstance(value, str | Path):
        return Path(value)
    if expected is Any or (isinstance(expected, type) and type(value) is expected):
        return value
    raise ValueError(f"{name}: expected {_type_name(expected)}, got {shown(value)}")


def within(name: str, value: Any, least: float, most: float, usual: Any) -> None:
    """Each of its numbers; one that is no number is near the usual one."""
    for given, own in zip(value, usual) if isinstance(value, tuple) else [(value, usual)]:
        if not least <= given <= most:
            near = own if given != given else min(max(given, least), most)
            raise ValueError(f"{name} {shown(given)} must be from {least} to {most}; nearest is {near}")


def shown(value: Any) -> str:
    """As Python writes it, if that is short."""
    if isinstance(value, int) and not -LARGEST_SHOWN < value < LARGEST_SHOWN:
        return f"{'-' if value < 0 else ''}2**{abs(value).bit_length() - 1} or more"
    try:
        written = repr(value)
    except (ValueError, RecursionError):  # such a number inside, or a thing inside itself
        written = f"a {type(value).__name__}"
    return written if len(written) <= LONGEST_SHOWN else f"{written[:LONGEST_SHOWN]}..."


def nearest(word: str, names: typing.Iterable[str]) -> str:
    """The end of a sentence that says what there is instead."""
    names = sorted(names)
    near = get_close_matches(word, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"


def _one_of(name: str, value: Any, alternatives: tuple[Any, ...]) -> Any:
    if value is None and type(None) in alternatives:
        return None
    # exact types first, so that 3 stays an int where int and float are both allowed
    for alternative in sorted(alternatives, key=lambda a: a is not type(value)):
        try:
            return checked(name, value, alternative)
        except ValueError:
            continue
    raise ValueError(f"{name}: expected {' or '.join(map(_type_name, alternatives))}, got {shown(value)}")


def _tuple(name: str, value: tuple[Any, ...], args: tuple[Any, ...]) -> tuple[Any, ...]:
    item_types = args[:1] * len(value) if args[1:] == (...,) else args
    if len(item_types) != len(value):
        raise ValueError(f"{name}: expected {len(item_types)} values, got {len(value)}: {shown(value)}")
    return tuple(checked(f"{name}[{i}]", v, t) for i, (v, t) in enumerate(zip(value, item_types, strict=True)))


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf  # which is what a larger text of a number is, too


@lru_cache
def _annotations(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(_dataclass(cls)) if field.init}


def _dataclass(cls: type) -> Any:
    assert dataclasses.is_dataclass(cls)
    return cls


def _needed(field: dataclasses.Field, given: dict[str, Any]) -> bool:
    no_default = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    return field.init and no_default and field.name not in given


def _type_name(expected: Any) -> str:
    if expected is type(None):
        return "nothing"
    if typing.get_origin(expected) is Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(expected)))
    if args := typing.get_args(expected):
        return f"[{', '.join('...' if arg is ... else _type_name(arg) for arg in args)}]"
    return expected.__name__ if isinstance(expected, type) else str(expected)
