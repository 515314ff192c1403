"""The study's rows as a table, a picture and JSON: `python -m wanmini.study_report OUT`."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wanmini.study import EXACT, WAYS, baseline_of

Row = dict[str, Any]
JUDGED = ("shape", "colour", "count", "motion", "speed")
HEADINGS = ("way", "clips", "forwards", "cost", *JUDGED, "pace", "MSE", "PSNR", "SSIM")


def summary(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """For each way: shares of right answers, medians of pace and speed-up, means of MSE and SSIM, PSNR of the mean MSE."""
    seconds = {(row["way"], row["prompt"]): row["seconds"] for row in rows}
    exact = mean([row for row in rows if row["way"] == EXACT], "token_forwards")
    found: dict[str, dict[str, float]] = {}
    for way in WAYS:
        mine = [row for row in rows if row["way"] == way]
        if not mine:
            continue  # a study that was stopped
        faster = [seconds[baseline_of(way), row["prompt"]] / row["seconds"] for row in mine]
        mse = mean(mine, "mse")
        found[way] = {name: mean(mine, name) for name in (*JUDGED, "forwards", "ssim")} | {
            "relative_cost": mean(mine, "token_forwards") / exact,
            "clips": len(mine),
            "speedup": float(np.median(faster)),
            "pace": float(np.median([row["pace"] for row in mine if row["pace"] is not None])),
            "mse": mse,
            "psnr": -10 * math.log10(mse) if mse else math.inf,
        }
    return found


def mean(rows: Sequence[Row], name: str) -> float:
    values = [row[name] for row in rows if row[name] is not None]
    return float(np.mean(values)) if values else math.nan


def table(found: dict[str, dict[str, float]]) -> str:
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    for way, values in found.items():
        cells = [way, *(f"{values[name]:.0f}" for name in ("clips", "forwards")), f"{values['relative_cost']:.2f}"]
        cells += [f"{100 * values[name]:.0f} %" for name in JUDGED] + [f"{values['pace']:.2f}"]
        same = not values["mse"]
        cells += ["", "", ""] if same else [f"{values['mse']:.1e}", f"{values['psnr']:.1f}", f"{values['ssim']:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(found: dict[str, dict[str, float]], path: Path) -> None:
    """What is right against what it costs, and how near the exact clip is against what it costs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    meaning, pixels = figure.subplots(1, 2)
    worth: tuple[tuple[Any, Callable[[dict[str, float]], float], str], ...] = (
        (meaning, lambda v: 100 * float(np.mean([v[name] for name in JUDGED])), "judged right, mean of five, %"),
        (pixels, lambda v: v["psnr"], "PSNR to the exact clip, dB"),
    )
    for axes, value, label in worth:
        for number, (way, values) in enumerate(found.items()):
            y = value(values)
            if math.isfinite(y):
                axes.plot(values["relative_cost"], y, marker=marker_of(way), color=f"C{number % 10}", label=way, ls="")
        axes.set(xlabel="arithmetic, share of exact", ylabel=label)
        axes.grid(alpha=0.3)
    figure.legend(*meaning.get_legend_handles_labels(), loc="outside right center", fontsize=7)
    figure.savefig(path, dpi=110)


def marker_of(way: str) -> str:
    kinds = {"half": "o", "cfg": "s", EXACT: "*"}
    return next((marker for start, marker in kinds.items() if way.startswith(start)), "x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    rows = [json.loads(line) for line in (args.out / "rows.jsonl").read_text().splitlines()]
    found = summary(rows)
    (args.out / "summary.json").write_text(json.dumps(found, indent=1) + "\n")
    (args.out / "table.md").write_text(table(found) + "\n")
    draw(found, args.out / "study.png")
    print(table(found))


if __name__ == "__main__":
    main()
