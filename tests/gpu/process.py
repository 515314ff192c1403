"""A leg in a process of its own: `python -m tests.gpu.process MODULE LEG FOLDER [--rehearse]`.

What it prints goes to a log; how it ended is written as JSON, and a process that ends without having done so has
failed, whatever took it down.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.gpu.leg import Failed, Leg, Setting, Skipped

ROOT = Path(__file__).parents[2]
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
LOGGED = 30  # lines of a failed leg's log that are shown


@dataclass(frozen=True)
class Outcome:
    result: str
    note: str  # of a leg that passed what it measured, of others the reason
    seconds: float = 0.0


class Running:
    """A leg under way."""

    def __init__(self, leg: Leg, setting: Setting, environment: dict[str, str]):
        self.leg, self.log = leg, log_of(setting, leg.name)
        self._said = result_of(setting, leg.name)
        self._said.unlink(missing_ok=True)
        arguments = [leg.module, leg.name, str(setting.folder)] + ["--rehearse"] * setting.rehearse
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=environment,
                start_new_session=True,
            )
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def outcome(self, limit: float) -> Outcome | None:
        """None while it runs; one that takes longer than `limit` seconds is ended."""
        code = self._process.poll()
        if code is None and self.seconds < limit:
            return None
        if code is None:
            self.end()
            return Outcome(FAILED, f"no end after {limit:.0f} s", self.seconds)
        if not self._said.exists():
            return Outcome(FAILED, f"its process ended with code {code}", self.seconds)
        return Outcome(**json.loads(self._said.read_text()) | {"seconds": self.seconds})

    def end(self) -> None:
        """The leg with all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"    {line[:300]}" for line in lines[-LOGGED:])


def log_of(setting: Setting, name: str) -> Path:
    return made(setting.folder / "logs") / f"{name}.log"


def result_of(setting: Setting, name: str) -> Path:
    return made(setting.folder / "results") / f"{name}.json"


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run(leg: Leg, setting: Setting) -> Outcome:
    """Of any failure the reason is one line; the log has the rest."""
    try:
        return Outcome(PASSED, leg.function(setting))
    except Skipped as reason:
        return Outcome(SKIPPED, str(reason))
    except BaseException as error:
        traceback.print_exc()
        said = str(error).strip().splitlines() or [""]
        return Outcome(FAILED, said[0] if isinstance(error, Failed) else f"{type(error).__name__}: {said[0]}"[:300])


def main(module: str, name: str, folder: str, *rehearse: str) -> None:
    setting = Setting(Path(folder), bool(rehearse))
    leg: Any = getattr(import_module(module), name)
    outcome = run(leg, setting)
    result_of(setting, name).write_text(json.dumps(asdict(outcome)))
    sys.stdout.flush()
    sys.exit(outcome.result == FAILED)


if __name__ == "__main__":
    main(*sys.argv[1:])
