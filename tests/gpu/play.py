"""`mg play` as its page drives it, over the socket: played, restarted, recorded, ended by Ctrl-C."""

from __future__ import annotations

import importlib.util
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mgcli.commands.play import NEEDED
from tests.gpu.leg import Failed, Setting, Skipped, leg

if TYPE_CHECKING:
    from tests.mgcli.game.play.visitor import FakePage, Shown

SEED, OTHER_SEED = 3, 99
PATIENCE = 120.0  # seconds for a message; the first one waits for the models


@leg(70)
def played_in_a_browser(setting: Setting) -> str:
    """mg play, on the mini, over its socket: after every restart with the same seed an idle player sees the same frames, past
    eviction, whatever was played in between; with another seed others; Ctrl-C ends it with the recording finished."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise Skipped(f"needs {', '.join(missing)}")
    folder = setting.own("played_in_a_browser")
    with server(setting, folder) as (process, link), page_of(link) as page:
        first = Look(page, 1, 21 if setting.rehearse else 45).frames  # 2 blocks, 4
        begins_with(first[min(first)], setting)
        worlds, made_in = restarts(page, first, 8 if setting.rehearse else 30)
        recorded = record(page)
        process.send_signal(signal.SIGINT)
        if (code := process.wait(60)) != 0:
            raise Failed(f"Ctrl-C ended it with code {code}")
    if (frames := frames_in(folder / recorded)) < 12:
        raise Failed(f"{recorded} has {frames} frames")
    return f"{worlds} worlds, {made_in * 1000:.0f} ms a block"


@contextmanager
def server(setting: Setting, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    size = ["--height", "32", "--width", "48"] if setting.rehearse else []
    asked = [sys.executable, "-m", "mgcli.mg", "play", "--json", "--seed", str(SEED), "--output", "play.mp4", *size]
    process = subprocess.Popen(asked, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        line = process.stdout.readline()
        if not line.startswith("{"):
            raise Failed(f"mg play ended with code {process.wait(10)}")
        yield process, json.loads(line)["url"]
    finally:
        process.kill()
        process.wait()


@contextmanager
def page_of(link: str) -> Iterator[FakePage]:
    from tests.mgcli.game.play.visitor import Visitor

    visitor = Visitor(link)
    visitor.get("/?" + link.split("?")[1])
    with visitor.page() as page:
        yield page


class Look:
    """The first frames of a world, by their numbers; some may be left out for a page that is slow."""

    def __init__(self, page: FakePage, world: int, count: int):
        self.frames: dict[int, Shown] = {}
        last = -1
        while last < count - 1:
            shown = page.hear(PATIENCE)
            if shown and shown.world == world:
                last = shown.number
                self.frames[last] = shown
        if len(self.frames) < count / 4:
            raise Failed(f"world {world}: {len(self.frames)} of the first {count} frames arrived")


def restarts(page: FakePage, first: dict[int, Shown], seconds: float) -> tuple[int, float]:
    """World after world until the time is up; how many there were, and what a block took."""
    world, end, took = 1, time.monotonic() + seconds, []
    while time.monotonic() < end or world < 4:
        wander(page)
        world += 1
        seed = OTHER_SEED if world == 3 else SEED
        page.say("restart", seed=seed)
        seen = Look(page, world, len(first)).frames
        took += [shown.made_in for shown in seen.values()]
        if seed == SEED:
            unchanged(seen, first, world)
        elif not any(shown.jpeg != first[n].jpeg for n, shown in seen.items() if n in first):
            raise Failed(f"world {world}: seed {OTHER_SEED} is seed {SEED}")
    return world, float(np.median(took))


def wander(page: FakePage) -> None:
    """Walk and look for a moment, then let go."""
    page.say("keys", keys="WL", at=1)
    page.say("look", right=40, down=-5)
    for _ in range(12):
        page.hear(PATIENCE)
    page.say("keys", keys="", at=2)


def unchanged(seen: dict[int, Shown], first: dict[int, Shown], world: int) -> None:
    """The same bytes where the quality is the same; a page that is slow gets a worse one."""
    from tests.gpu.doors import at_least, decibels

    for number in sorted(seen.keys() & first.keys()):
        (got, quality), (want, wanted) = (opened(frames[number]) for frames in (seen, first))
        if quality != wanted:
            at_least(decibels(got, want), 30, f"world {world}, frame {number}")
        elif seen[number].jpeg != first[number].jpeg:
            raise Failed(f"world {world}, frame {number} is {decibels(got, want):.1f} dB from the first world's")


def opened(shown: Shown) -> tuple[np.ndarray, object]:
    """Pixels, and the quality they were sent in."""
    image = Image.open(io.BytesIO(shown.jpeg))
    tables = getattr(image, "quantization", None)
    return np.asarray(image.convert("RGB")), tables


def begins_with(shown: Shown, setting: Setting) -> None:
    """One of the first frames is nearly the start image: no garbage."""
    from tests.gpu.doors import at_least, decibels
    from wan.game.conditions import fit, open_image
    from wanmini.start_image import GARDEN

    pixels, _ = opened(shown)
    start = np.asarray(fit(open_image(GARDEN), *pixels.shape[:2]))
    at_least(decibels(pixels, start), 15 if setting.rehearse else 20, "the first frame against the start image")


def record(page: FakePage) -> str:
    """A recording of a few blocks, finished; its name."""
    page.say("record", on=True)
    while (page.state["recording"] or 0) < 24:
        page.hear(PATIENCE)
    page.say("record", on=False)
    while not page.state["recordings"]:
        page.hear(PATIENCE)
    return page.state["recordings"][-1]["name"]


def frames_in(path: Path) -> int:
    from wan.video.reader import count_frames

    return count_frames(path)
