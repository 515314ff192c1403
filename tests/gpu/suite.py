"""The tests of the normal suite that need a GPU."""

from __future__ import annotations

import subprocess
import sys

from tests.gpu.leg import Failed, Setting, Skipped, leg
from tests.gpu.process import ROOT


@leg(60)
def suite(setting: Setting) -> str:
    """The tests marked gpu and multi_gpu pass."""
    asked = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu or multi_gpu", "tests"]
    done = subprocess.run(asked, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    print(done.stdout)
    counted = (done.stdout.strip().splitlines() or ["nothing"])[-1].strip("= ")
    if done.returncode:
        raise Failed(counted)
    if "passed" not in counted:
        raise Skipped(counted)
    return counted
