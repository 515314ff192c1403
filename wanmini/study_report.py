"""The study's rows as a table, a picture and JSON: `python -m wanmini.study_report OUT [--timed OTHER]`.

Times are of OTHER's rows, a few prompts made alone on a quiet machine: many workers wait for each other.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wanmini.study import EXACT, WAYS

Row = dict[str, Any]
JUDGED = ("shape", "colour", "count", "motion", "speed")
HEADINGS = ("way", "clips", "forwards", "cost", "time", *JUDGED, "pace", "MSE", "PSNR", "SSIM")


def summary(rows: Sequence[Row], timed: Sequence[Row]) -> dict[str, dict[str, float]]:
    """For each way: shares of right answers, medians of pace and seconds, means of MSE and SSIM, PSNR of the mean MSE."""
    exact = mean([row for row in rows if row["way"] == EXACT], "token_forwards")
    found: dict[str, dict[str, float]] = {}
    for way in WAYS:
        mine = [row for row in rows if row["way"] == way]
        if not mine:
            continue  # a study that was stopped
        mse = mean(mine, "mse")
        found[way] = {name: mean(mine, name) for name in (*JUDGED, "forwards", "ssim")} | {
            "relative_cost": mean(mine, "token_forwards") / exact,
            "clips": len(mine),
            "seconds": float(np.median([row["seconds"] for row in timed if row["way"] == way] or [math.nan])),
            "pace": float(np.median([row["pace"] for row in mine if row["pace"] is not None])),
            "mse": mse,
            "psnr": -10 * math.log10(mse) if mse else math.inf,
        }
    return found


def read_rows(folder: Path) -> list[Row]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def mean(rows: Sequence[Row], name: str) -> float:
    values = [row[name] for row in rows if row[name] is not None]
    return float(np.mean(values)) if values else math.nan


def table(found: dict[str, dict[str, float]]) -> str:
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    for way, values in found.items():
        cells = [
            way,
            *(f"{values[name]:.0f}" for name in ("clips", "forwards")),
            f"{values['relative_cost']:.2f}",
            f"{values['seconds']:.1f} s",
        ]
        cells += [f"{100 * values[name]:.0f} %" for name in JUDGED] + [f"{values['pace']:.2f}"]
        same = not values["mse"]
        cells += ["", "", ""] if same else [f"{values['mse']:.1e}", f"{values['psnr']:.1f}", f"{values['ssim']:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(found: dict[str, dict[str, float]], path: Path) -> None:
    """A line for each way: what it costs, what is right in it, and how near the exact clip it is."""
    from matplotlib.figure import Figure

    panels: tuple[tuple[str, Callable[[dict[str, float]], float]], ...] = (
        ("arithmetic, share of exact", lambda v: v["relative_cost"]),
        ("shapes right, %", lambda v: 100 * v["shape"]),
        ("PSNR to the exact clip, dB", lambda v: v["psnr"]),
    )
    figure = Figure(figsize=(11, 0.27 * len(found) + 1), layout="constrained")
    heights = range(len(found))
    for axes, (label, value) in zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True):
        # an exact clip is infinitely near itself, and has no dot
        axes.scatter([value(v) for v in found.values()], heights, c=[colour_of(way) for way in found], s=40, zorder=2)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
        axes.set_yticks(heights, found, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    axes.invert_yaxis()
    figure.savefig(path, dpi=110)


def colour_of(way: str) -> str:
    kinds = {"half": "#2f6fb2", "cfg": "#e09f3e", EXACT: "#1b7f4b"}
    both = way.startswith("half") and "cfg" in way
    return "#a2468c" if both else next((colour for start, colour in kinds.items() if way.startswith(start)), "#8d99a6")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--timed", type=Path, metavar="OTHER")
    args = parser.parse_args()
    rows = read_rows(args.out)
    found = summary(rows, read_rows(args.timed) if args.timed else rows)
    (args.out / "summary.json").write_text(json.dumps(found, indent=1) + "\n")
    (args.out / "table.md").write_text(table(found) + "\n")
    draw(found, args.out / "study.png")
    print(table(found))


if __name__ == "__main__":
    main()
