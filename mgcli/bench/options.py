"""What `mg bench` and `wan22 bench` are both asked with. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mgcli.app.flag import flag
from mgcli.app.options import ATTENTIONS, FILES, MACHINE

MEASURED = "What is measured"
Only = Annotated[
    list[str] | None,
    flag(
        "One case by name, such as decode; may be given several times. --list names them.",
        default="all cases",
        panel=MEASURED,
        metavar="CASE",
    ),
]
Quick = Annotated[
    bool, flag("Fewer calls, and rows are compared with the first one instead of with float32.", "--quick", panel=MEASURED)
]  # fmt: skip
ListCases = Annotated[bool, flag("Name the cases and measure nothing.", "--list", panel=MEASURED)]
Compiled = Annotated[
    bool,
    flag(
        "Also the plain model with its layers compiled by torch; takes a minute more.", "--compiled", panel=MEASURED
    ),
]  # fmt: skip
Attention = Annotated[str, flag("Which attention computes.", panel=MACHINE, choices=ATTENTIONS)]
Device = Annotated[
    str, flag("What is measured; cuda:1 is the second GPU.", panel=MACHINE, choices=("auto", "cuda", "cpu"))
]
OutputDir = Annotated[
    Path | None,
    flag(
        "The folder for the report.",
        "--output_dir",
        "--output",
        "-o",
        default="by hardware and date in tests/bench/results of a checkout, else in bench_results",
        panel=FILES,
        metavar="FOLDER",
    ),
]


@dataclass(frozen=True)
class BenchRequest:
    command: str
    only: tuple[str, ...] = ()
    quick: bool = False
    list_cases: bool = False
    compiled: bool = False
    attention: str = "auto"
    device: str = "auto"
    output_dir: Path | None = None
