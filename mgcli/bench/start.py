"""Start to first frame: what a user waits for between Enter and the first picture, in a process of its own.

`python -m mgcli.bench.start CHECKPOINT` is that process: it opens everything as `mg generate` does, and writes no video.
What is timed is the second start, when weights are in the page cache and compiled kernels on disk.
"""

from __future__ import annotations

import subprocess
import sys
import time

import torch
from torch import Tensor

from mgcli.bench.ladder import Case, Rung
from mgcli.bench.timing import Budget, Timing
from mgcli.game.request import GenerateRequest, game_request
from mgcli.game.worlds import open_models
from wan.game.actions import action
from wan.game.conditions import open_image

GOAL_MS = 15_000


def start_case(checkpoint: str) -> Case:
    return Case(
        name="start",
        title="start to the first frame on the host, weights in the page cache",
        rungs=(Rung("mg generate", lambda: SecondStart(checkpoint)),),
        dtype=torch.bfloat16,
        goal_ms=GOAL_MS,
    )


class SecondStart:
    def __init__(self, checkpoint: str):
        self.checkpoint = checkpoint

    def outputs(self) -> Tensor | None:
        return None

    def time(self, device: torch.device, budget: Budget) -> Timing:  # noqa: ARG002  as every case is timed
        self.seconds()
        milliseconds = self.seconds() * 1000
        return Timing(milliseconds, milliseconds, calls=1, peak_gib=None)

    def seconds(self) -> float:
        """Until the frames are there, not until the process has gone."""
        started = time.time()
        done = subprocess.run([sys.executable, "-m", __name__, self.checkpoint], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"mg generate: {done.stderr.strip().splitlines()[-1]}")
        return float(done.stdout.split()[-1]) - started


def first_frame(checkpoint: str) -> float:
    """When the first frame was on the host."""
    request = game_request(GenerateRequest, {"checkpoint_path": checkpoint})
    models, image = open_models(request), open_image(request.default_image)
    world = models.start([image], [request.seed], request.sampling(), request.height, request.width)
    forward = action(models.mode, "W")
    world.generate([[forward] * len(world.span.frames)]).video.cpu()
    return time.time()


if __name__ == "__main__":
    print(first_frame(sys.argv[1]))
