"""A preset file and flags become a request: one frozen dataclass that says everything about a run.

Precedence is default < preset < flag, where a flag of None was not given. Presets are flat YAML whose keys are the
fields of the request; an unknown key or a value of the wrong type is an error, because a misspelt setting that is
ignored costs a run.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

import yaml

from wan import schema
from wan.files.text import json_bytes, read_json, read_text

T = TypeVar("T")
MOST_BYTES, DEEPEST = 2**17, 8  # of a preset; YAML is read slowly
PACKAGE = Path(__file__).parents[1]
# a wheel carries configs/ inside the package; a checkout has it beside the package
CONFIG_ROOTS = (PACKAGE / "_configs", PACKAGE.parent / "configs")


def resolve(cls: type[T], preset: dict[str, Any] | None, flags: dict[str, Any]) -> T:
    """An instance of the dataclass `cls`; every value is checked against the type of its field."""
    return schema.read(cls, {**(preset or {}), **{k: v for k, v in flags.items() if v is not None}})


def load_preset(name: str | Path, given: bool = False) -> dict[str, Any]:
    """The keys of a YAML preset, found as `find_config` finds it; of a record (`write_request`), those of its request."""
    path = find_config(name, given)
    record = path.suffix == ".json"
    values = read_json(path) if record else read_yaml(path)
    if record and isinstance(values, dict):
        values = values.get("request", values)
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds {type(values).__name__}, a preset is `key: value` lines")
    return values


def read_yaml(path: Path) -> Any:
    text = read_text(path, MOST_BYTES)
    try:
        return yaml.load(text, Loader=PlainLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    except ValueError:  # in words of its own
        raise ValueError(f"{path} has a number of thousands of digits, or a date that is none") from None


class PlainLoader(yaml.SafeLoader):
    """Without aliases, a few lines of which can stand for gigabytes, without tags, which a preset has no use for, and flat."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        line = f"line {event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"{line} has an alias, *{event.anchor}; write it out")
        if (tag := getattr(event, "tag", None)) is not None:
            raise yaml.YAMLError(f"{line} has a tag, {tag}; leave it out")
        if self.depth > DEEPEST:
            raise yaml.YAMLError(f"{line} is nested more deeply than anything in a preset")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


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
    raise ValueError(f"no such config: {name}{schema.nearest(str(Path('configs') / inside), known)}")


def write_request(path: Path, request: Any, extra: dict[str, Any]) -> None:
    """The resolved request as JSON beside an output, with what only the run knows (versions, timings) in `extra`."""
    record = {"request": dataclasses.asdict(request), **extra}
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(json_bytes(record, indent=2) + b"\n")
    part.replace(path)
