"""Minutes of play in a browser at the size of the embedded world: memory stays flat. Prints what it measured."""

from __future__ import annotations

import json
import os
import random
import statistics
import time
from pathlib import Path

import pytest

from tests.mgcli.game.play.chromium import Page, chromium
from tests.mgcli.game.play.conftest import Running, tiny_request
from tests.mgcli.game.play.test_server import resident_mib
from wan.game.models import GameModels

pytestmark = pytest.mark.slow
SECONDS = float(os.environ.get("PLAY_SECONDS", "300"))
SETTLED = 60.0  # seconds after which memory should stay what it is


def test_minutes_of_play(models: GameModels, tmp_path: Path):
    running = Running(tiny_request(tmp_path, height=96, width=160, fps=25.0), models)
    with chromium(tmp_path) as browser:
        page = browser.open(running.links[-1])
        page.wait_for("window.mgPlay && mgPlay.screen.frames > 30 && mgPlay.state().leads", 60)
        walk(page, SETTLED)
        before = measured(page, running)
        walk(page, SECONDS - SETTLED)
        after = measured(page, running)
        figures = compared(before, after, page.evaluate("mgPlay.screen.latencies"))
        page.key("w", down=True)
        page.key("l", down=True)
        page.wait_for("document.querySelector('#pad.lit') !== null")
        page.keep_picture("play_minutes")
    running.stop()
    print(json.dumps(figures, indent=1))
    assert figures["server_mib_more"] < 30 and figures["page_heap_mib_more"] < 20
    assert figures["dropped_share"] < 0.1


def walk(page: Page, seconds: float) -> None:
    """Keys held for a moment, at moments that have nothing to do with blocks."""
    rng, end = random.Random(5), time.monotonic() + seconds
    page.evaluate("mgPlay.screen.latencies.length = 0")
    while time.monotonic() < end:
        key = rng.choice("wasdjl")
        for down in (True, False):
            page.key(key, down)
            time.sleep(rng.uniform(0.3, 1.2))


def measured(page: Page, running: Running) -> dict[str, float]:
    page.call("HeapProfiler.collectGarbage")
    (client,) = running.play.hub.clients
    return {
        "time": time.monotonic(),
        "frames": page.evaluate("mgPlay.screen.frames"),
        "lost": page.evaluate("mgPlay.screen.lost"),
        "server_dropped": client.dropped,
        "encode": client.encode_seconds,
        "server_mib": resident_mib(),
        "page_heap_mib": page.call("Runtime.getHeapUsage")["usedSize"] / 2**20,
        "cpu": sum(os.times()[:2]),
    }


def compared(before: dict[str, float], after: dict[str, float], latencies: list[float]) -> dict[str, float]:
    more = {name: after[name] - before[name] for name in before}
    seconds, seen = more["time"], more["frames"] + more["lost"]
    return {
        "seconds": round(seconds),
        "frames_per_second": round(more["frames"] / seconds, 2),
        "keys": len(latencies),
        "key_to_picture_ms_median": round(statistics.median(latencies)),
        "key_to_picture_ms_p95": round(statistics.quantiles(latencies, n=20)[-1]),
        "dropped_share": round(more["lost"] / seen, 4),
        "dropped_by_server": more["server_dropped"],
        "encode_share_of_a_core": round(more["encode"] / seconds, 4),
        "server_cores": round(more["cpu"] / seconds, 2),
        "server_mib_more": round(more["server_mib"], 1),
        "page_heap_mib_more": round(more["page_heap_mib"], 1),
    }
