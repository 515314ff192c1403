"""`mg bench`: how fast the game model is on this machine, technique by technique."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mgcli.bench import options as opt
from mgcli.bench.options import BenchRequest

Official = Annotated[
    Path | None, typer.Option(help="A checkout of the official Matrix-Game-2: its code is measured beside ours.")
]
Start = Annotated[
    str | None,
    typer.Option(help="Weights as --checkpoint_path of mg generate takes them: also measure start to first frame with them."),
]  # fmt: skip


def bench(
    only: opt.Only = None,
    quick: opt.Quick = False,
    list_cases: opt.ListCases = False,
    official: Official = None,
    start: Start = None,
    compiled: opt.Compiled = False,
    attention: opt.Attention = "auto",
    device: opt.Device = "auto",
    output_dir: opt.OutputDir = None,
) -> int:
    """Measure the game model: reference, then one technique more a row, against the floor of this machine.

    Released sizes on a GPU, the embedded models' on a CPU; weights are random, which takes the same time. Every row is
    compared with the reference first; a wrong one is marked, and the exit code is 1.
    """
    request = BenchRequest("mg bench", tuple(only or ()), quick, list_cases, compiled, attention, device, output_dir)
    from mgcli.bench.run import game_benchmark

    return game_benchmark(request, official, start)
