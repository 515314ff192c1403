"""The command lines: in this process, where what one run leaves behind is found by the next, or in one of their own, as a user
starts them. No torch here.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mgcli import mg, wan22_app
from mgcli.app.errors import run
from tests.gpu.leg import Failed
from tests.gpu.process import ROOT

APPS = {"mg": mg.app, "wan22": wan22_app.app}
MODULES = {"mg": "mgcli.mg", "wan22": "mgcli.wan22_app"}


def command(program: str, *arguments: Any) -> dict[str, Any]:
    """What a command reports, run in this process."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = run(APPS[program], [*map(str, arguments), "--json", "--traceback"])
    return reported(code, out.getvalue(), program, *arguments)


def process(program: str, *arguments: Any, folder: Path) -> dict[str, Any]:
    """The same in a process of its own, started in `folder`."""
    asked = [sys.executable, "-m", MODULES[program], *map(str, arguments), "--json"]
    environment = os.environ | {"PYTHONPATH": os.environ.get("PYTHONPATH") or str(ROOT)}
    done = subprocess.run(asked, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    return reported(done.returncode, done.stdout, program, *arguments)


def reported(code: int, out: str, *asked: Any) -> dict[str, Any]:
    line = (out.strip().splitlines() or ["nothing"])[-1]
    if code or not line.startswith("{"):
        raise Failed(f"{' '.join(map(str, asked[:2]))}: exit code {code}, {line[:200]}")
    return json.loads(line)
