"""What the training runs share: a clock that ends them, a journal, an optimizer, and files that the next run goes on from.

A run has minutes, not steps: GPUs are paid by the minute. It writes its averaged weights every so often, in half
precision and in the layout of a release, so that being killed costs a minute and what it left can be used at once.
Optimizer state is not kept; warming up again costs a few seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wan.fast.graphs import Captured, capture
from wanmini.muon import Muon

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

log = logging.getLogger(__name__)

WARM_UP = 100  # steps
FILE_NAME = "diffusion_pytorch_model.safetensors"


class Run:
    """The clock and the journal of one run; `out` receives everything it leaves."""

    def __init__(self, out: Path, name: str, minutes: float, save_every: float = 60.0):
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.name, self.seconds, self.save_every = out, name, 60 * minutes, save_every
        self.started = self.saved = time.monotonic()
        self.journal = out / f"{name}.jsonl"

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    @property
    def fraction(self) -> float:
        return min(1.0, self.elapsed / self.seconds)

    def steps(self, first: int, at_most: int | None = None) -> Iterator[int]:
        """Step numbers until the time is up; `first` counts the runs before."""
        step = first
        while self.elapsed < self.seconds and (at_most is None or step - first < at_most):
            yield step
            step += 1

    def time_to_save(self) -> bool:
        due = time.monotonic() - self.saved > self.save_every
        if due:
            self.saved = time.monotonic()
        return due

    def note(self, step: int, **values: float | Tensor) -> None:
        """A line of the journal; numbers are rounded to what a curve needs."""
        row = {"run": self.name, "step": step, "seconds": round(self.elapsed, 1)}
        row |= {k: float(f"{torch.as_tensor(v).item():.5g}") for k, v in values.items()}
        with self.journal.open("a") as file:
            file.write(json.dumps(row) + "\n")
        log.info("%s", "  ".join(f"{k} {v}" for k, v in row.items()))


class Learner:
    """Trains float32 copies of a model's parameters, which may themselves be bfloat16, and keeps their running average.

    Matrices of transformer layers are Muon's, everything else is AdamW's.

    The learning rate rises for WARM_UP steps and then falls along a cosine over the run's time, to `last` of itself.
    `tick` sets what changes from update to update; `step` is the rest, and may be part of a CUDA graph.
    """

    def __init__(self, model: nn.Module, run: Run, rate: float, last: float = 0.1, decay: float = 0.999):
        self.run, self.rate, self.last, self.decay = run, rate, last, decay
        self.names, self.used = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad))
        self.master = [p.detach().float().clone().requires_grad_() for p in self.used]
        self.average = [m.detach().clone() for m in self.master]
        cuda, device = self.master[0].is_cuda, self.master[0].device
        self.current_rate, self.news = torch.tensor(0.0, device=device), torch.tensor(1.0, device=device)
        turned = [m for n, m in zip(self.names, self.master, strict=True) if m.dim() == 2 and _in_a_layer(n)]
        others = [m for m in self.master if all(m is not t for t in turned)]
        self.muon = Muon(turned, self.current_rate)
        self.optimizer = torch.optim.AdamW(
            others, lr=self.current_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=cuda, capturable=cuda
        )
        self.count = 0

    def tick(self) -> None:
        """Before each update: the learning rate, and how much of the average the new weights are."""
        self.count += 1
        self.current_rate.fill_(self.rate * self._schedule())
        self.news.fill_(1 - min(self.decay, (1 + self.count) / (10 + self.count)))

    def step(self, loss: Tensor) -> Tensor:
        """One update; returns the norm of the gradient."""
        loss.backward()
        for used, master in zip(self.used, self.master, strict=True):
            master.grad = None if used.grad is None else used.grad.float()
            used.grad = None
        norm = nn.utils.clip_grad_norm_(self.master, 1.0)
        self.optimizer.step()
        self.muon.step()
        with torch.no_grad():
            torch._foreach_copy_(list(self.used), self.master)
            change = torch._foreach_sub(self.master, self.average)
            torch._foreach_mul_(change, self.news)
            torch._foreach_add_(self.average, change)
        return norm

    def _schedule(self) -> float:
        fall = self.last + (1 - self.last) * 0.5 * (1 + math.cos(math.pi * self.run.fraction))
        return fall * min(1.0, self.count / WARM_UP)

    def averaged(self, prefix: str = "") -> dict[str, Tensor]:
        """The averaged weights of the parameters whose names begin with `prefix`, without it."""
        named = zip(self.names, self.average, strict=True)
        return {name.removeprefix(prefix): value for name, value in named if name.startswith(prefix)}


def _in_a_layer(name: str) -> bool:
    return any(part in name for part in ("blocks.", "transformer.")) and "embedding" not in name


class Replayed:
    """A function of tensors as one CUDA graph, made at the first call; elsewhere, and with `graphs` off, just the function.

    The host takes three times as long to launch a small model's kernels as the GPU takes to run them. The function is
    called WARM_UP_CALLS times before it is recorded, for good: what it changes, it changes that often. Its results are
    overwritten by the next call.
    """

    WARM_UP_CALLS = 3

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], graphs: bool):
        self.function, self.graphs = function, graphs
        self.captured: Captured[tuple[Tensor, ...]] | None = None

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        if not self.graphs:
            return self.function(*values)
        if self.captured is None:
            self.values = tuple(v.clone() for v in values)
            self.captured = capture(lambda: self.function(*self.values), warmups=self.WARM_UP_CALLS)
        for mine, given in zip(self.values, values, strict=True):
            mine.copy_(given)
        self.captured.graph.replay()
        return self.captured.output


def store(folder: Path, state: dict[str, Tensor], config: DataclassInstance, notes: dict[str, str]) -> None:
    """Weights in float16, config.json beside them, provenance in the file's metadata; never half written."""
    folder.mkdir(parents=True, exist_ok=True)
    notes = {"format": "pt", "date": datetime.date.today().isoformat()} | notes
    part = folder / (FILE_NAME + ".part")
    save_file({name: value.detach().half().cpu().contiguous() for name, value in state.items()}, part, notes)
    os.replace(part, folder / FILE_NAME)
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n")


def restore(model: nn.Module, folder: Path) -> int:
    """Load what `store` wrote into `model`; returns the number of steps it was trained for."""
    path = folder / FILE_NAME
    model.load_state_dict(load_file(path))
    with safe_open(path, "pt") as file:
        return int(file.metadata()["steps"])


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Per clip, in dB, of values in [-1, 1]."""
    error = (a.float() - b.float()).pow(2).flatten(1).mean(1)
    return 10 * torch.log10(4 / error.clamp(min=1e-10))


def options(about: str) -> argparse.ArgumentParser:
    """The options that every training script has."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", type=Path, help="folder a run before left")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--steps", type=int, help="stop earlier")
    parser.add_argument("--seed", type=int, default=1, help="of the data; another one for every run")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    parser.add_argument("--graphs", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    parser.add_argument("--smoke", action="store_true", help="a few steps at a tiny size, to see that it runs")
    return parser
