"""The Triton kernels under NVIDIA's compute-sanitizer, at sizes that are no multiples of anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tests.gpu.leg import Failed, Setting, Skipped, leg
from tests.gpu.process import ROOT

SCRIPT = [sys.executable, "-m", "tests.gpu.kernels_alone"]
QUICK = 150  # seconds that a race check may take
ERRORS = 9  # the exit code that says that it found some


@leg(60)
def kernels_memcheck(setting: Setting) -> str:
    """compute-sanitizer finds no access out of bounds in any Triton kernel."""
    return checked(setting, "memcheck", 280)


@leg(90)
def kernels_racecheck(setting: Setting) -> str:
    """compute-sanitizer finds no race in shared memory in any Triton kernel."""
    return checked(setting, "racecheck", QUICK)


def checked(setting: Setting, tool: str, seconds: float) -> str:
    sanitizer = shutil.which("compute-sanitizer")
    if not sanitizer and not setting.rehearse:
        raise Skipped("compute-sanitizer is not on the PATH")
    # api errors are those that torch asks for, to learn what a GPU can do
    flags = [
        "--tool",
        tool,
        "--error-exitcode",
        str(ERRORS),
        "--target-processes",
        "application-only",
        "--report-api-errors",
        "no",
    ]
    watched = [] if setting.rehearse else [str(sanitizer), *flags]
    # every tensor an allocation of its own: what is behind it is not another one's
    environment = os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    try:
        done = subprocess.run(
            [*watched, *SCRIPT], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise Skipped(f"{tool} had not ended after {seconds:.0f} s") from None
    print(done.stdout)
    if done.returncode:
        found = [line for line in done.stdout.splitlines() if "=========" in line and line.strip("= ")]
        raise Failed(f"exit code {done.returncode}; {found[0].strip('= ') if found else 'see the log'}")
    return done.stdout.split("kernels: ")[-1].splitlines()[0]
