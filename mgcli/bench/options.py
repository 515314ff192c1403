"""What `mg bench` and `wan22 bench` are both asked with. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

Only = Annotated[
    list[str] | None, typer.Option(help="A case by name, such as decode; may be given several times. See --list.")
]
Quick = Annotated[
    bool,
    typer.Option("--quick", help="Fewer calls, and rows are compared with the first one instead of with float32."),
]
ListCases = Annotated[bool, typer.Option("--list", help="Say which cases there are, and measure nothing.")]
Compiled = Annotated[
    bool, typer.Option("--compiled", help="Also the reference with its layers compiled by torch; takes a minute more.")
]
Attention = Annotated[str, typer.Option(help="auto (default), cudnn, flash or sdpa.")]
Device = Annotated[str, typer.Option(help="auto (default), cuda, cuda:1 or cpu.")]
OutputDir = Annotated[
    Path | None,
    typer.Option(help="Where the report goes. Default: tests/bench/results in a checkout, else bench_results, by hardware and date."),
]  # fmt: skip


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
