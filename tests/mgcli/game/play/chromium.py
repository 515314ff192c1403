"""A headless Chromium driven over its DevTools protocol: as much of it as tests of a page need."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --mute-audio --hide-scrollbars "
    "--remote-debugging-port=0"
).split()
SECONDS_TO_START = 60
OUTPUTS = Path(__file__).parents[4] / "outputs"
KEY_CODES = {" ": 32, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


def find_chromium() -> str | None:
    """CHROMIUM names one that is not on the path. Some systems have one that only says how to install it."""
    named = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    return named if named and subprocess.run([named, "--version"], capture_output=True).returncode == 0 else None


@contextmanager
def chromium(folder: Path) -> Iterator[Chromium]:
    """One that is gone afterwards; `folder` is its profile and downloads."""
    executable = find_chromium() or pytest.skip(f"none of {', '.join(NAMES)} works here")
    profile = folder / "profile"
    process = subprocess.Popen(
        [executable, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with connect(_address(profile, process), max_size=2**26) as socket:
            yield Chromium(socket, folder)
    finally:
        process.terminate()
        process.wait(20)


def _address(profile: Path, process: subprocess.Popen) -> str:
    """Chromium writes where it listens into its profile: a port, then a path."""
    written, deadline = profile / "DevToolsActivePort", time.monotonic() + SECONDS_TO_START
    while not (written.exists() and len(lines := written.read_text().splitlines()) == 2):
        assert process.poll() is None, "Chromium ended as it started"
        assert time.monotonic() < deadline, "Chromium did not start"
        time.sleep(0.05)
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"


class Chromium:
    def __init__(self, socket: ClientConnection, folder: Path):
        self.socket, self.folder = socket, folder
        self.errors: dict[str, list[str]] = {}  # of pages, by session
        self._numbers = itertools.count(1)

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        self.socket.send(json.dumps(message))
        while (answer := json.loads(self.socket.recv(60))).get("id") != number:
            self._note(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _note(self, event: dict[str, Any]) -> None:
        """Exceptions, and what the browser refused to do (a policy violation, say)."""
        entry = event["params"].get("entry", {})
        if event["method"] == "Runtime.exceptionThrown" or (
            entry.get("level") == "error" and entry["source"] != "network"
        ):
            self.errors.setdefault(event["sessionId"], []).append(str(event["params"]))

    def open(self, url: str, width: int = 1280, height: int = 800, touch: bool = False) -> Page:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, target, session)
        page.size(width, height, touch)
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.call("Page.navigate", url=url)
        return page


class Page:
    def __init__(self, browser: Chromium, target: str, session: str):
        self.browser, self.target, self.session = browser, target, session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **params)

    def size(self, width: int, height: int, touch: bool = False) -> None:
        scale = 2 if touch else 1
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=touch
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)

    def evaluate(self, expression: str) -> Any:
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, f"{expression}: {done['exceptionDetails']}"
        return done["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 20) -> Any:
        """The first true value of it."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.05)
        return value

    def key(self, key: str, down: bool) -> None:
        code = f"Key{key.upper()}" if len(key) == 1 and key.isalpha() else {" ": "Space"}.get(key, key)
        number = KEY_CODES.get(key, ord(key.upper()) if len(key) == 1 else 0)
        kind = "keyDown" if down else "keyUp"
        self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code, windowsVirtualKeyCode=number)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, selector: str) -> None:
        x, y = self.evaluate(
            f"(() => {{ const b = document.querySelector({selector!r}).getBoundingClientRect();"
            " return [b.left + b.width / 2, b.top + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        self.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y} for x, y in points])

    def keep_picture(self, name: str) -> Path:
        """A screenshot in outputs/, to be looked at."""
        OUTPUTS.mkdir(exist_ok=True)
        path = OUTPUTS / f"{name}.jpg"
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="jpeg", quality=85)["data"]))
        return path

    def close(self) -> list[str]:
        """What went wrong in the page, if anything."""
        self.browser.call("Target.closeTarget", targetId=self.target)
        return self.browser.errors.pop(self.session, [])
