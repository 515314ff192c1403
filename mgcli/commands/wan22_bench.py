"""`wan22 bench`: how fast an A14B expert and the decoder are on this machine, technique by technique."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mgcli.bench import options as opt
from mgcli.bench.options import BenchRequest

Full = Annotated[
    bool,
    typer.Option("--full", help="Also whole videos of 49 frames and 20 steps, exact and accelerated: minutes, 57 GB."),
]
Official = Annotated[
    Path | None, typer.Option(help="A checkout of the official Wan2.2: its code is measured beside ours.")
]
Peers = Annotated[bool, typer.Option("--peers", help="Also diffusers' transformer, eager and compiled, if installed.")]


def wan22_bench(
    only: opt.Only = None,
    quick: opt.Quick = False,
    list_cases: opt.ListCases = False,
    official: Official = None,
    peers: Peers = False,
    full: Full = False,
    compiled: opt.Compiled = False,
    attention: opt.Attention = "auto",
    device: opt.Device = "auto",
    output_dir: opt.OutputDir = None,
) -> int:
    """Measure an A14B expert and the VAE: reference, then one technique more a row, against the floor of this machine.

    A14B on a GPU, the embedded expert's size on a CPU; weights are random, which takes the same time. Every row is
    compared with the reference first; a wrong one is marked, and the exit code is 1.
    """
    request = BenchRequest("wan22 bench", tuple(only or ()), quick, list_cases, compiled, attention, device, output_dir)
    from mgcli.bench.run import expert_benchmark

    return expert_benchmark(request, official, peers, full)
