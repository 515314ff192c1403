"""`wan22 bench`: how fast an A14B expert and the decoder are on this machine, technique by technique."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mgcli.app.flag import flag
from mgcli.bench import options as opt
from mgcli.bench.options import BenchRequest

Full = Annotated[
    bool,
    flag(
        "Also whole videos of 49 frames in 20 steps, exact and accelerated: minutes, and 57 GB of GPU memory.",
        "--full",
        panel=opt.MEASURED,
    ),
]
Official = Annotated[
    Path | None,
    flag(
        "A checkout of the official Wan2.2: its code is measured beside ours.",
        default="none",
        panel=opt.MEASURED,
        metavar="FOLDER",
    ),
]
Peers = Annotated[
    bool,
    flag("Also diffusers' transformer, eager and compiled, if it is installed.", "--peers", panel=opt.MEASURED),
]
EXAMPLES = (
    ("wan22 bench", "forwards and decoding; on a GPU, wan22 plan knows it afterwards"),
    ("wan22 bench --full --only video", "whole videos, where there is room for both experts"),
    ("wan22 bench --json > mine.json", "for a program"),
)


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
    """Measure how fast an A14B expert and the decoder are on this machine.

    The first row is the plain model, each next one has one technique more; beside them, the time that the arithmetic alone
    would take here. On a GPU A14B's size is measured, on a CPU the mini's; weights are random, which takes the same time.
    Every row's result is compared with the plain model's: one that is wrong is marked, and the exit code is 1.
    """
    request = BenchRequest("wan22 bench", tuple(only or ()), quick, list_cases, compiled, attention, device, output_dir)
    from mgcli.bench.run import expert_benchmark

    return expert_benchmark(request, official, peers, full)
