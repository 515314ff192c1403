"""`mg bench`: how fast the game model is on this machine, technique by technique."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mgcli.app.flag import flag
from mgcli.bench import options as opt
from mgcli.bench.options import BenchRequest

Official = Annotated[
    Path | None,
    flag(
        "A checkout of the official Matrix-Game-2: its code is measured beside ours.",
        default="none",
        panel=opt.MEASURED,
        metavar="FOLDER",
    ),
]
Start = Annotated[
    str | None,
    flag(
        "Weights, as --checkpoint_path of mg generate takes them: how long a start takes with them until the first frame.",
        default="none",
        panel=opt.MEASURED,
        metavar="NAME|PATH",
    ),
]
EXAMPLES = (
    ("mg bench --quick", "a first impression, in a minute or two"),
    ("mg bench --only decode", "one case; --list names them"),
    ("mg bench --json > mine.json", "for a program"),
)


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
    """Measure how fast the game model is on this machine.

    The first row is the plain model, each next one has one technique more; beside them, the time that the arithmetic alone
    would take here. On a GPU the released sizes are measured, on a CPU the mini's; weights are random, which takes the same
    time. Every row's result is compared with the plain model's: one that is wrong is marked, and the exit code is 1.
    """
    request = BenchRequest("mg bench", tuple(only or ()), quick, list_cases, compiled, attention, device, output_dir)
    from mgcli.bench.run import game_benchmark

    return game_benchmark(request, official, start)
