"""The official code as a peer: measured in a process of its own, on our inputs and with our random weights."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mgcli.bench.causal import TIMESTEP, inputs_past_eviction
from mgcli.bench.decoding import stream_chunks
from mgcli.bench.ladder import Case, Rung
from mgcli.bench.sizes import GameSize
from mgcli.bench.timing import Budget, Timing

PROCESS = "mgcli.bench.official_process"

Job = dict[str, Any]  # `what` is to be done, with what; see the process


@dataclass(frozen=True)
class OfficialRun:
    checkout: Path
    device: torch.device
    budget: Budget
    make_job: Callable[[], Job]

    def outputs(self) -> Tensor | None:
        return self.result["outputs"]

    def time(self, *_: object) -> Timing:
        return Timing(**self.result["timing"])

    @cached_property
    def result(self) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            job, result = Path(folder, "job.pt"), Path(folder, "result.pt")
            torch.save(self.make_job() | {"checkout": str(self.checkout), "budget": asdict(self.budget)}, job)
            command = [sys.executable, "-m", PROCESS, str(job), str(result), str(self.device)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"the official code: {done.stderr.strip().splitlines()[-1]}")
            return torch.load(result)


def beside(case: Case, checkout: Path, device: torch.device, budget: Budget, make_job: Callable[[], Job]) -> Case:
    """The case with the official code as its last row."""
    run = partial(OfficialRun, checkout, device, case.budget or budget, make_job)
    return replace(case, rungs=(*case.rungs, Rung("official", run, kind="peer")))


def with_official(cases: list[Case], checkout: Path, size: GameSize, device: torch.device, budget: Budget) -> list[Case]:  # fmt: skip
    """Wherever the official Matrix-Game code does the same work in one piece."""
    jobs = {f"forward-{window}": ("forward", window) for window in size.windows}
    jobs |= {"decode": ("decode", size.windows[0]), "block": ("block", size.windows[0])}
    return [
        beside(case, checkout, device, budget, partial(game_job, *jobs[case.name], size, device))
        if case.name in jobs
        else case
        for case in cases
    ]


def game_job(what: str, window: int, size: GameSize, device: torch.device) -> Job:
    causal = asdict(replace(size.causal, local_attn_size=window))
    return {
        "what": what,
        "causal": json.loads(json.dumps(causal)),  # the official code tells lists from tuples
        "dtype": size.dtype,
        "vae_dtype": size.vae_dtype,
        "tokens": size.tokens,
        "timestep": TIMESTEP,
        "forwards": len(size.sampling.denoising_step_list) + 1,
        "inputs": inputs_past_eviction(size, window, device, size.dtype),
        "chunks": stream_chunks(size, device),
    }
