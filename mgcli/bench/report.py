"""A benchmark on paper: the rows as data, as a table on screen, as Markdown, and as a picture of the ladder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mgcli.bench.ladder import Case, Floor, Row

COLUMNS = ("", "median", "p90", "speed-up", "floor", "fps", "GiB", "error")
GOALS_ARE_FOR = "H100"
HEADROOM = 0.5  # above the bars of a strip, in bars: where the floor is named
FLOOR = "#1b7f4b"
COLOURS = {"reference": "#8d99a6", "exact": "#2f6fb2", "lossy": "#e09f3e", "peer": "#d5d9de", "wrong": "#c0392b"}


def case_data(case: Case, floor: Floor | None, rows: Sequence[Row]) -> dict[str, Any]:
    reference = rows[0].timing.median_ms if rows[0].timing else None
    return {
        "name": case.name,
        "title": case.title,
        "floor_ms": floor and floor.ms,
        "tflop": floor and floor.tflop,
        "goal_ms": case.goal_ms,
        "rows": [row_data(row, case, floor, reference) for row in rows],
    }


def row_data(row: Row, case: Case, floor: Floor | None, reference_ms: float | None) -> dict[str, Any]:
    data = asdict(row) | {"speedup": None, "floor_share": None, "frames_per_second": None}
    del data["case"], data["timing"]
    if row.timing is None:
        return data | {"median_ms": None}
    ms = row.timing.median_ms
    data["speedup"] = reference_ms and reference_ms / ms
    # what is lossy does less than the floor counts
    data["floor_share"] = floor.ms / ms if floor and row.kind != "lossy" else None
    data["frames_per_second"] = case.frames and 1000 * case.frames / ms
    return data | asdict(row.timing)


def write(data: dict[str, Any], folder: Path, name: str) -> dict[str, str]:
    """What was measured first, and then its picture: no minutes are lost to a drawing, and without a time there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = ("md", "json", "png") if timed_cases(data) else ("md", "json")
    files = {kind: folder / f"{name}.{kind}" for kind in kinds}
    files["md"].write_text(markdown(data, files.get("png")), encoding="utf-8")
    kept = data | {"files": {kind: path.name for kind, path in files.items()}}  # beside it, wherever the folder goes
    files["json"].write_text(json.dumps(kept, indent=2, default=str) + "\n", encoding="utf-8")
    if "png" in files:
        draw(data, files["png"])
    return {kind: str(path) for kind, path in files.items()}


def timed_cases(data: dict[str, Any]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The cases of which a row was timed, each with those rows."""
    rows = [(case, [row for row in case["rows"] if row["median_ms"]]) for case in data["cases"]]
    return [(case, timed) for case, timed in rows if timed]


def cells(row: dict[str, Any]) -> list[str]:
    """One for each column; what is not known is empty."""
    return [
        row["name"] + (" (lossy)" if row["kind"] == "lossy" else ""),
        milliseconds(row["median_ms"]),
        milliseconds(row["p90_ms"]),
        f"{row['speedup']:.2f}x" if row["speedup"] else "",
        f"{row['floor_share']:.0%}" if row["floor_share"] else "",
        f"{row['frames_per_second']:.1f}" if row["frames_per_second"] else "",
        f"{row['peak_gib']:.1f}" if row["peak_gib"] else "",
        error(row) + (" WRONG" if row["wrong"] else ""),
    ]


def error(row: dict[str, Any]) -> str:
    if row["error"] is None:
        return ""
    return f"{row['error']:.1e}" if row["error"] else "0"


def known_columns(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Names and cells of the rows that were timed, without the columns that say nothing here."""
    every = [cells(row) for row in rows if row["median_ms"]]
    kept = [i for i in range(len(COLUMNS)) if i < 2 or any(row[i] for row in every)]
    return [COLUMNS[i] for i in kept], [[row[i] for i in kept] for row in every]


def not_timed(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [f"{row['name']}: {row['note']}" for row in rows if not row["median_ms"]]


def milliseconds(ms: float) -> str:
    if ms >= 10_000:
        return f"{ms / 1000:.1f} s"
    return f"{ms:,.0f} ms" if ms >= 1000 else f"{ms:.1f} ms"


def heading(case: dict[str, Any], hardware: str) -> str:
    floor = f"; floor {milliseconds(case['floor_ms'])}, {case['tflop']:.3g} TFLOP" if case["floor_ms"] else ""
    return f"{case['name']}: {case['title']}{floor}{goal(case, hardware)}"


def goal(case: dict[str, Any], hardware: str) -> str:
    """Whether the best exact row is as fast as it was meant to be, where that was meant for this hardware."""
    if case["goal_ms"] is None or GOALS_ARE_FOR not in hardware:
        return ""
    exact = [r["median_ms"] for r in case["rows"] if r["kind"] == "exact" and r["median_ms"] and not r["wrong"]]
    reached = "reached" if exact and min(exact) <= case["goal_ms"] else "missed"
    return f"; goal {milliseconds(case['goal_ms'])}, {reached}"


def tables(data: dict[str, Any]) -> Iterator[RenderableType]:
    for case in data["cases"]:
        yield Text(heading(case, data["hardware"]), style="bold cyan")
        names, rows = known_columns(case["rows"])
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in names:
            table.add_column(name, no_wrap=True, justify="right" if name else "left")
        for row in rows:
            table.add_row(*row, style="red" if row[-1].endswith("WRONG") else "")
        yield table
        yield Text("\n".join([*not_timed(case["rows"]), ""]), style="dim")
    yield Text(summary(data))


def summary(data: dict[str, Any]) -> str:
    wrong = f"wrong: {'; '.join(data['wrong'])}. " if data["wrong"] else ""
    beside = " and ".join(f".{kind}" for kind in data["files"] if kind != "md")
    return f"{wrong}{data['seconds']:.0f} s in all; written to {data['files']['md']}, with {beside} beside it"


def markdown(data: dict[str, Any], picture: Path | None) -> str:
    compared = "the first row" if data["quick"] else "the reference in float32"
    lines = [
        f"# {data['command']} on {data['hardware']}, {data['date']}",
        "",
        f"{data['label']}. {software(data)}.",
        "",
        *rates(data["machine"]),
        *([f"![ladder]({picture.name})", ""] if picture else []),
    ]
    for case in data["cases"]:
        names, rows = known_columns(case["rows"])
        lines += [f"**{heading(case, data['hardware'])}**", ""]
        lines += [row_line(names), "|---" * len(names) + "|", *map(row_line, rows)] if rows else []
        lines += [*(f"\n{line}" for line in not_timed(case["rows"])), ""]
    lines.append(
        "Speed-up is over the first row. Floor: the share of the time that the case's own matrix products, attentions and"
        f" convolutions take, each run alone on this machine. fps: frames made a second. GiB: most device memory. Error is relative, against {compared};"
        " untrained, a decoder of another architecture has none to tell."
    )
    return "\n".join(lines) + "\n"


def rates(machine: dict[str, float]) -> list[str]:
    """Of the whole machine and of the largest operations of these cases."""
    if not machine:
        return []
    return ["| this machine | |", "|---|---|", *(row_line([name, f"{rate:.3g}"]) for name, rate in machine.items()), ""]


def row_line(row: Sequence[str]) -> str:
    return f"| {' | '.join(row)} |"


def software(data: dict[str, Any]) -> str:
    threads = f", {data['threads']} threads" if data["threads"] else ""
    known = ", ".join(
        f"{name} {v}"
        for name in ("torch", "triton", "cuda", "cudnn", "fa3-fwd", "flash-attn")
        if (v := data["versions"].get(name))
    )
    return f"{known}, attention {data['attention']}{threads}"


def draw(data: dict[str, Any], path: Path) -> None:
    """A strip a case, a bar a row, and the floor as a line through them."""
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    cases = timed_cases(data)
    heights = [len(rows) + HEADROOM for _, rows in cases]
    figure = Figure(figsize=(9, 0.3 * sum(heights) + 0.45 * len(cases) + 0.5))
    figure.set_layout_engine("constrained", h_pad=0.1)
    figure.suptitle(f"{data['command']}, {data['hardware']}", fontsize=11, x=0.01, ha="left")
    strips = figure.subplots(len(cases), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, (case, rows) in zip(strips, cases):
        draw_case(axes, case, rows)
    figure.savefig(path, dpi=150)


def draw_case(axes: Any, case: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    times = [row["median_ms"] for row in rows]
    axes.barh(range(len(rows)), times, color=[colour(i, row) for i, row in enumerate(rows)], height=0.7)
    if case["floor_ms"]:
        axes.axvline(case["floor_ms"], color=FLOOR, linestyle="--", linewidth=1.2)
        axes.text(case["floor_ms"], -0.5 - HEADROOM, f" floor {milliseconds(case['floor_ms'])}", color=FLOOR, fontsize=7, va="top")  # fmt: skip
    for i, row in enumerate(rows):  # over the line of the floor
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axes.text(row["median_ms"] + max(times) / 100, i, label(i, row), va="center", fontsize=8, bbox=box)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5 - HEADROOM)
    axes.set_xlim(0, max(times) * 1.25)
    axes.set_title(case["title"], fontsize=9, loc="left", fontweight="bold")
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(COLOURS["reference"])
    axes.tick_params(length=0)


def colour(i: int, row: dict[str, Any]) -> str:
    return COLOURS["wrong" if row["wrong"] else "reference" if i == 0 else row["kind"]]


def label(i: int, row: dict[str, Any]) -> str:
    gain = f"{row['speedup']:.2f}x" if i and row["speedup"] else ""
    said = {"wrong": "wrong", "lossy": "lossy"}.get("wrong" if row["wrong"] else row["kind"], "")
    return "   ".join(part for part in (milliseconds(row["median_ms"]), gain, said) if part)
