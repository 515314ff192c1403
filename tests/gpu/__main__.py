"""`python -m tests.gpu [--rehearse] [--only LEG,...] [--list]`: run the gate; exit code 1 if a leg failed."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from tests.gpu import gate, report
from tests.gpu.leg import Setting
from tests.gpu.process import FAILED, ROOT, log_of

SECONDS = 540.0  # of the whole gate; it should take under 480
GIB_A_JOB = 34  # of GPU memory; the benchmarks take more, most legs half of it
ROOM = 45 * 2**30  # that the releases and videos want


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--rehearse", action="store_true", help="toy sizes on the CPU; what needs a GPU is skipped")
    parser.add_argument("--only", default="", metavar="LEG,...", help="these, and what they need")
    parser.add_argument("--list", action="store_true", help="name the legs and what each proves")
    parser.add_argument("--jobs", type=int, help="legs at a time; default: by GPU memory and cores")
    parser.add_argument("--seconds", type=float, help=f"for all; default {SECONDS:.0f}, without end for a rehearsal")
    parser.add_argument("--folder", type=Path, help="kept afterwards; default: a temporary one, of about 30 GB")
    args = parser.parse_args()
    try:
        args.legs = gate.chosen([name.strip() for name in args.only.split(",") if name.strip()])
    except ValueError as error:
        parser.error(str(error))
    return args


def main() -> int:
    args = arguments()
    if args.list:
        print("\n".join(f"{leg.name} ({leg.seconds} s): {leg.proves}" for leg in args.legs))
        return 0
    if not args.rehearse and not torch.cuda.is_available():
        print("the gate needs a CUDA GPU; --rehearse runs it on the CPU at toy sizes")
        return 2
    limits = limits_of(args)
    folder = args.folder or Path(tempfile.mkdtemp(prefix="gate_", dir=roomy()))
    try:
        return run(args.legs, Setting(folder.absolute(), args.rehearse), limits, whole=not args.only)
    finally:
        if not args.folder:
            shutil.rmtree(folder, ignore_errors=True)


def limits_of(args: argparse.Namespace) -> gate.Limits:
    """A CPU may take its time."""
    if args.rehearse:
        return gate.Limits(args.jobs or jobs(True), args.seconds or math.inf, leg_seconds=1200)
    return gate.Limits(args.jobs or jobs(False), args.seconds or SECONDS)


def jobs(rehearse: bool) -> int:
    cores = max(1, (os.cpu_count() or 1) // (1 if rehearse else 2))
    if rehearse:
        return min(cores, 4)
    _, memory = torch.cuda.mem_get_info()
    return max(1, min(6, cores, memory // 2**30 // GIB_A_JOB))


def roomy() -> str | None:
    """Memory where there is enough, because it is faster than a disk; None is the usual place."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() and shutil.disk_usage(shared).free > ROOM else None


def run(legs: list[gate.Leg], setting: Setting, limits: gate.Limits, whole: bool) -> int:
    hardware = "CPU, rehearsal" if setting.rehearse else report.hardware()
    print(f"{len(legs)} legs, {limits.jobs} at a time, in {setting.folder}; {hardware}", flush=True)
    started, rows = time.monotonic(), {}
    for leg, outcome, log in gate.run(legs, setting, limits):
        rows[leg.name] = report.row(leg, outcome, hardware)
        print(
            f"{outcome.result:<7} {leg.name} {outcome.seconds:.0f} s  {outcome.note}",
            *filter(None, [log]),
            sep="\n",
            flush=True,
        )
        keep_logs(setting, leg.name)
    ordered = [rows[leg.name] for leg in legs]
    seconds = time.monotonic() - started
    print(f"\n{report.table(ordered)}")
    keep(report.facts(ordered, seconds), setting, whole)
    results = [row.result for row in ordered]
    print(", ".join(f"{results.count(r)} {r}" for r in dict.fromkeys(results)) + f", {seconds:.0f} s")
    return int(FAILED in results)


def keep(facts: dict[str, Any], setting: Setting, whole: bool) -> None:
    """Beside the logs, where OUT says, and in the repository: there a rehearsal is not, for it proves nothing of a GPU."""
    for folder in filter(None, (setting.folder, os.environ.get("OUT"))):
        report.write(Path(folder) / report.LAST_RUN.name, facts)
    content = facts if whole else report.merged(facts, report.read(report.LAST_RUN))
    if content and not setting.rehearse:
        report.write(report.LAST_RUN, content)
        print(f"written to {report.LAST_RUN.relative_to(ROOT)}")


def keep_logs(setting: Setting, name: str) -> None:
    """All logs in one file, where somebody wants what comes out."""
    log, out = log_of(setting, name), os.environ.get("OUT")
    if out and log.exists():
        with (Path(out) / "gate.log").open("a") as file:
            file.write(f"==== {name}\n{log.read_text(errors='replace')}\n")


if __name__ == "__main__":
    sys.exit(main())
