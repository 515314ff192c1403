"""The official Matrix-Game code as a peer: measured in a process of its own, on our inputs and with our random weights."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from wan.bench.causal import TIMESTEP, inputs_past_eviction
from wan.bench.decoding import stream_chunks
from wan.bench.ladder import Rung
from wan.bench.sizes import GameSize
from wan.bench.timing import Budget, Timing

SCRIPT = Path(__file__).with_name("official_process.py")

What = Literal["forward", "decode", "block"]


def official_rung(checkout: Path, what: What, size: GameSize, window: int, device: torch.device, budget: Budget) -> Rung:  # fmt: skip
    return Rung("official", lambda: OfficialRun(checkout, what, size, window, device, budget), kind="peer")


@dataclass(frozen=True)
class OfficialRun:
    checkout: Path
    what: What
    size: GameSize
    window: int
    device: torch.device
    budget: Budget

    def outputs(self) -> Tensor | None:
        outputs = self.result["outputs"]
        return None if outputs is None else outputs.to(self.device)

    def time(self, device: torch.device, budget: Budget) -> Timing:
        return Timing(**self.result["timing"])

    @cached_property
    def result(self) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            job, result = Path(folder, "job.pt"), Path(folder, "result.pt")
            torch.save(self.job(), job)
            command = [sys.executable, str(SCRIPT), str(job), str(result), str(self.device)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"the official code: {done.stderr.strip().splitlines()[-1]}")
            return torch.load(result)

    def job(self) -> dict[str, Any]:
        size = self.size
        causal = asdict(replace(size.causal, local_attn_size=self.window))
        return {
            "checkout": str(self.checkout),
            "what": self.what,
            "budget": asdict(self.budget),
            "causal": json.loads(json.dumps(causal)),  # the official code tells lists from tuples
            "dtype": size.dtype,
            "vae_dtype": size.vae_dtype,
            "tokens": size.tokens,
            "timestep": TIMESTEP,
            "forwards": len(size.sampling.denoising_step_list) + 1 if self.what == "block" else 1,
            "inputs": inputs_past_eviction(size, self.window, self.device, size.dtype),
            "chunks": stream_chunks(size, self.device),
        }
