"""All legs of the gate, and how they are run: several at a time, those that take long first, each once what it needs is there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from tests.gpu import (
    commands,
    devices,
    files,
    kernels,
    pictures,
    play,
    releases,
    strips,
    suite,
    video_ways,
    videos,
    ways,
    worlds,
)
from tests.gpu.leg import Leg, Setting, legs_of
from tests.gpu.process import FAILED, PASSED, ROOT, Outcome, Running

MODULES = (releases, worlds, ways, videos, video_ways, files, strips, pictures, play, commands, devices, kernels, suite)
LEGS: dict[str, Leg] = {leg.name: leg for leg in chain.from_iterable(map(legs_of, MODULES))}


@dataclass(frozen=True)
class Limits:
    jobs: int
    seconds: float  # of all legs together
    leg_seconds: float = 300.0  # of one: what takes longer hangs


def chosen(names: Sequence[str]) -> list[Leg]:
    """These, with what they need, or all."""
    if unknown := [name for name in names if name not in LEGS]:
        raise ValueError(f"no leg {', '.join(unknown)}; there are {', '.join(LEGS)}")
    wanted = set(names or LEGS)
    while more := {need for name in wanted for need in LEGS[name].needs} - wanted:
        wanted |= more
    return [leg for leg in LEGS.values() if leg.name in wanted]


def run(legs: Sequence[Leg], setting: Setting, limits: Limits) -> Iterator[tuple[Leg, Outcome, str]]:
    """Each leg as it ends, and if it failed the end of its log."""
    waiting, running = in_order(legs), list[Running]()
    passed, failed, started = set[str](), set[str](), time.monotonic()
    environment = environment_of(setting, limits.jobs)
    try:
        while waiting or running:
            left = limits.seconds - (time.monotonic() - started)
            for leg in [leg for leg in waiting if failed & set(leg.needs) or left <= 0]:
                waiting.remove(leg)
                failed.add(leg.name)
                missing = ", ".join(failed & set(leg.needs))
                yield leg, Outcome(FAILED, f"{missing} failed" if missing else f"{limits.seconds:.0f} s were over"), ""
            for leg in [leg for leg in waiting if passed >= set(leg.needs)][: limits.jobs - len(running)]:
                waiting.remove(leg)
                running.append(Running(leg, setting, environment))
            for one in list(running):
                if outcome := one.outcome(min(limits.leg_seconds, one.seconds + left)):
                    running.remove(one)
                    (passed if outcome.result == PASSED else failed).add(one.leg.name)
                    yield one.leg, outcome, one.last_words() if outcome.result == FAILED else ""
            time.sleep(0.05)
    finally:
        for one in running:
            one.end()


def in_order(legs: Sequence[Leg]) -> list[Leg]:
    """What others need first, then the longest."""
    needed = {need for leg in legs for need in leg.needs}
    return sorted(legs, key=lambda leg: (leg.name not in needed, -leg.seconds))


def environment_of(setting: Setting, jobs: int) -> dict[str, str]:
    """A rehearsal sees no GPU. Downloaded models would take the place of the minis. Torch would start as many threads as there
    are cores in every process."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    hidden = {"CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "1"} if setting.rehearse else {}
    own = {"PYTHONPATH": path, "OMP_NUM_THREADS": str(threads), "MG_MODELS": str(setting.folder / "no_models")}
    return {**os.environ, **own, "PYTHONUNBUFFERED": "1", **hidden}
