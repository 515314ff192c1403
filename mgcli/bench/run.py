"""The work behind `mg bench` and `wan22 bench`: choose cases, climb their ladders, report. Imports torch."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from rich.console import Group
from rich.table import Table

from mgcli.app.console import console
from mgcli.app.devices import device_and_dtype
from mgcli.app.machine import versions
from mgcli.bench import default_sizes, report, sizes, speeds
from mgcli.bench import expert as expert_bench
from mgcli.bench import peers as expert_peers
from mgcli.bench.game import game_cases
from mgcli.bench.ladder import Case, Row, climb, floor_of
from mgcli.bench.machine import Machine
from mgcli.bench.official import with_official
from mgcli.bench.options import BenchRequest
from mgcli.bench.timing import CPU, FULL, QUICK, Budget
from mgcli.bench.videos import video_case
from mgcli.bench.work import largest
from wan.modules.attention import use_backend

KEPT = Path(__file__).parents[2] / "tests" / "bench" / "results"  # in a checkout


def game_benchmark(request: BenchRequest, official: Path | None = None, start: str | None = None) -> int:
    device, _ = device_and_dtype(request.device, "auto")
    size = sizes.RELEASED if device.type == "cuda" else default_sizes.GAME
    cases = game_cases(size, device, request.compiled)
    if official:
        check_checkout(official, "Matrix-Game-2", has="demo_utils/vae_block3.py")
        cases = with_official(cases, official.absolute(), size, device, budget_of(request, device))
    if start:
        from mgcli.bench.start import start_case

        cases.append(start_case(start))
    return benchmark(request, size.label, cases, device)


def expert_benchmark(
    request: BenchRequest, official: Path | None = None, peers: bool = False, full: bool = False
) -> int:
    device, _ = device_and_dtype(request.device, "auto")
    size = expert_bench.RELEASED if device.type == "cuda" else default_sizes.EXPERT
    cases = expert_bench.expert_cases(size, device, request.compiled)
    if full:
        cases.append(video_case(size, device))
    if official:
        check_checkout(official, "Wan2.2", has="wan/modules/vae2_2.py")
        cases = expert_peers.with_official(cases, official.absolute(), size, device, budget_of(request, device))
    if peers:
        cases = expert_peers.with_diffusers(cases, size, device)
    return benchmark(request, size.label, cases, device)


def benchmark(request: BenchRequest, label: str, cases: Sequence[Case], device: torch.device) -> int:
    """Measure and report; 1 if a row is wrong."""
    if request.list_cases:
        console.result({"cases": {case.name: case.title for case in cases}}, case_list(cases))
        return 0
    cases, started = chosen(cases, request.only), time.perf_counter()
    attention, machine = use_backend(request.attention, device), Machine(device)
    console.say(f"{machine.name}, attention {attention}; {label}")
    data: dict[str, Any] = {
        "command": request.command,
        "label": label,
        "hardware": machine.name,
        "date": date.today().isoformat(),
        "versions": versions(),
        "attention": attention,
        "threads": None if device.type == "cuda" else torch.get_num_threads(),
        "quick": request.quick,
        "machine": rates(machine, cases),
        "cases": [measured(case, machine, request) for case in cases],
    }
    data["seconds"] = time.perf_counter() - started
    data["wrong"] = [f"{c['name']}, {row['name']}" for c in data["cases"] for row in c["rows"] if row["wrong"]]
    data["files"] = report.write(data, folder(request, machine.name), file_name(request))
    console.result(data, Group(*report.tables(data)))
    keep_speeds(data)
    return 1 if data["wrong"] else 0


def keep_speeds(data: dict[str, Any]) -> None:
    """For `wan22 plan`, and what can be looked at now."""
    seen = next((data["files"][kind] for kind in ("png", "md") if kind in data["files"]), "")
    planning = ""
    try:
        if data["command"].startswith("wan22") and speeds.keep(data):
            planning = "; wan22 plan knows this machine now"
    except OSError as error:
        console.warn(f"not kept for wan22 plan: {error}")
    console.next(f"open {seen}{planning}")


def measured(case: Case, machine: Machine, request: BenchRequest) -> dict[str, Any]:
    """A case and its rows as data; every row is said when it is there."""
    floor, rows = floor_of(case, machine), []
    budget = budget_of(request, machine.device)
    for row in climb(case, machine.device, budget, proven=not request.quick):
        rows.append(row)
        console.say(f"{case.name}: {spoken(row)}")
    return report.case_data(case, floor, rows)


def spoken(row: Row) -> str:
    time_, error = "" if row.timing is None else f"{row.timing.median_ms:.2f} ms", ""
    if row.error is not None:
        error = f"error {row.error:.1e}"
    return ", ".join(part for part in (row.name, time_, error, row.note) if part)


def rates(machine: Machine, cases: Sequence[Case]) -> dict[str, float]:
    """The machine's headline numbers, with the largest attention and convolution of these cases."""
    works = [case.work for case in cases if case.work]
    return machine.rates(cases[0].dtype, largest(works)) if works else {}


def budget_of(request: BenchRequest, device: torch.device) -> Budget:
    if request.quick:
        return QUICK
    return FULL if device.type == "cuda" else CPU


def chosen(cases: Sequence[Case], only: tuple[str, ...]) -> list[Case]:
    known = [case.name for case in cases]
    for name in only:
        if name not in known:
            raise ValueError(f"no case {name!r}; there are {', '.join(known)}")
    return [case for case in cases if not only or case.name in only]


def check_checkout(official: Path, name: str, has: str) -> None:
    if not (official / has).exists():
        raise ValueError(f"{official} is no checkout of {name}: give the folder that has {has} in it")


def case_list(cases: Sequence[Case]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for case in cases:
        table.add_row(case.name, case.title)
    return table


def folder(request: BenchRequest, hardware: str) -> Path:
    where = KEPT if KEPT.parent.is_dir() else Path("bench_results")
    slug = re.sub(r"[^a-z0-9]+", "_", hardware.lower()).strip("_")
    return request.output_dir or where / f"{slug}_{date.today().isoformat()}"


def file_name(request: BenchRequest) -> str:
    """A part of a run does not take the place of a whole one."""
    program = request.command.split()[0]
    return "_".join([program, *request.only])
