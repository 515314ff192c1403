"""What a run of the gate says: a table on the terminal, and last_run.json for those who read it later.

The file holds every leg of a whole run. A run of some legs, on a machine with two GPUs say, replaces their rows in the
file of the same commit, so each row names its own hardware.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mgcli.app.machine import devices, versions
from tests.gpu.leg import Leg
from tests.gpu.process import ROOT, Outcome

LAST_RUN = Path(__file__).parent / "last_run.json"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Row:
    name: str
    result: str
    seconds: float
    note: str
    proves: str
    hardware: str


def row(leg: Leg, outcome: Outcome, hardware: str) -> Row:
    return Row(leg.name, outcome.result, round(outcome.seconds, 1), outcome.note, leg.proves, hardware)


def hardware() -> str:
    counted = Counter(device["name"] for device in devices())
    return ", ".join(f"{count} x {name}" for name, count in counted.items()) or "no GPU"


def commit() -> str:
    """From git, else as the variable GATE_COMMIT says: a machine may have the files without their history."""
    if given := os.environ.get("GATE_COMMIT"):
        return given
    try:
        asked = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN


def facts(rows: Sequence[Row], seconds: float) -> dict[str, Any]:
    return {
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "seconds": round(seconds, 1),
        "passed": all(row.result != "failed" for row in rows),
        "legs": [asdict(row) for row in rows],
    }


def merged(made: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any] | None:
    """The rows of some legs among those of all; None where there is no whole run of this commit."""
    if not before or before["commit"] != made["commit"] or made["commit"] == UNKNOWN:
        return None
    new = {leg["name"]: leg for leg in made["legs"]}
    legs = [new.get(leg["name"], leg) for leg in before["legs"]]
    return before | {"legs": legs, "passed": all(leg["result"] != "failed" for leg in legs)}


def write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def table(rows: Sequence[Row]) -> str:
    width = max(len(row.name) for row in rows)
    return "\n".join(line(row, width) for row in rows)


def line(row: Row, width: int) -> str:
    note = f" [{row.note}]" if row.note else ""
    return f"{row.result:<7} {row.name:<{width}} {row.seconds:6.1f} s  {row.proves}{note}"
