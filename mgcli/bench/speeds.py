"""What is known of how fast A14B is on a card: the last `wan22 bench` here, and cards that it was measured on before.

`wan22 bench` leaves what it has measured in the user's cache, a file for each hardware, cases of later runs over those of
earlier ones. `wan22 plan` reads it. Only what was measured is in here; nothing is carried over from one card to another
without saying so. No torch.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RELEASED = "A14B"  # what the label of a benchmark of the released size begins with
DECODES = (
    "decode-float16",
    "decode-float32",
)  # cases, as `wan22 t2v` decodes with the fast models and with the plain ones


@dataclass(frozen=True)
class Cost:
    ms: float
    gib: float | None = None  # at most, on the device; none: it was not written down


@dataclass(frozen=True)
class Speeds:
    """Of one card. Ways are the rows of `wan22 bench`: reference, + fused kernels, + fp8."""

    hardware: str
    date: str
    forwards: Mapping[str, Mapping[int, Cost]]  # way -> tokens
    decodes: Mapping[str, Cost] = field(default_factory=dict)  # case, its fast row; 49 frames of 832x480
    file: Path | None = None  # none: of the table below


FUSED, FP8, REFERENCE = "+ fused kernels", "+ fp8", "reference"
H100 = Speeds(
    "NVIDIA H100 80GB HBM3",
    "2026-11-21",
    {
        REFERENCE: {20280: Cost(1914.4, 29.27), 10920: Cost(905.8, 28.11)},
        FUSED: {20280: Cost(1259.6, 29.71), 10920: Cost(548.9, 28.36)},
        FP8: {20280: Cost(981.4, 18.64), 10920: Cost(408.0, 17.25)},
    },
    {"decode-float16": Cost(411.6, 4.54), "decode-float32": Cost(763.7, 8.98)},
)
H200 = Speeds("NVIDIA H200", "2026-11-21", {FUSED: {20280: Cost(1374), 10920: Cost(582.6)}})  # without FlashAttention 3
KNOWN = {speeds.hardware: speeds for speeds in (H100, H200)}


def here() -> str | None:
    """The name of this machine's first GPU, as torch has it too, without asking torch."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    asked = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return next(iter(answer.stdout.splitlines()), None) if answer.returncode == 0 else None


def kept_file(hardware: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return cache / "mgcli" / "bench" / f"{re.sub(r'[^a-z0-9]+', '_', hardware.lower()).strip('_')}.json"


def keep(data: Mapping[str, Any]) -> Path | None:
    """What a benchmark of the released size has measured, for `wan22 plan`; where it is, if there is anything."""
    cases = {case["name"]: case for case in data["cases"] if any(row["median_ms"] for row in case["rows"])}
    if not cases or not data["label"].startswith(RELEASED):
        return None
    file = kept_file(data["hardware"])
    whole = {"hardware": data["hardware"], "date": data["date"], "cases": _read(file).get("cases", {}) | cases}
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    part.write_text(json.dumps(whole, indent=2, default=str) + "\n", encoding="utf-8")
    part.replace(file)
    return file


def kept(hardware: str) -> Speeds | None:
    file = kept_file(hardware)
    data = _read(file)
    forwards: dict[str, dict[int, Cost]] = {}
    decodes: dict[str, Cost] = {}
    for name, case in data.get("cases", {}).items():
        rows = {row["name"]: Cost(row["median_ms"], row["peak_gib"]) for row in case["rows"] if _right(row)}
        if tokens := re.fullmatch(r"forward-(\d+)", name):
            for way, measured in rows.items():
                forwards.setdefault(way, {})[int(tokens[1])] = measured
        elif name in DECODES and FUSED in rows:
            decodes[name] = rows[FUSED]
    return Speeds(data["hardware"], data["date"], forwards, decodes, file) if forwards else None


def _right(row: Mapping[str, Any]) -> bool:
    return bool(row["median_ms"]) and not row["wrong"]


def _read(file: Path) -> dict[str, Any]:
    """Nothing, where there is nothing or not what `keep` has written."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) and isinstance(data.get("cases"), dict) else {}
