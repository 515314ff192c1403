"""LoRA files as a request names them: a file, how strongly it is added, and to which expert. What is in them, wan.files.lora."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wan.schema import shown, within
from wan22.plan import Expert

STRENGTH = (-100.0, 100.0, 1.0)  # least, most, usual


@dataclass(frozen=True)
class NamedLora:
    path: Path
    strength: float
    expert: Expert | None  # none: the one that the file says, or both


def named_lora(setting: str, text: str, expert: Expert | None) -> NamedLora:
    """FILE or FILE:STRENGTH; a colon before anything but a number belongs to the file."""
    file, colon, number = text.rpartition(":")
    try:
        file, strength = (file, float(number)) if colon else (text, STRENGTH[2])
    except ValueError:
        file, strength = text, STRENGTH[2]
    if not file.strip() or "\0" in file:
        raise ValueError(f"{setting} {shown(text)} names no file; write FILE or FILE:STRENGTH")
    within(f"the strength of {setting} {shown(file)}", strength, *STRENGTH)
    return NamedLora(Path(file), strength, expert)
