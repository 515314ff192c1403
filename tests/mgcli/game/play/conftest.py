"""A tiny real world, a server that plays it, and clients without a browser."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mgcli.game.play.request import PlayRequest
from mgcli.game.play.server import PlayServer, listen
from mgcli.game.request import game_request
from mgcli.game.worlds import open_models
from tests.mgcli.game.play.chromium import Chromium, Page, chromium
from tests.mgcli.game.play.visitor import Visitor
from wan.fast.engine import Engine
from wan.game.models import GameModels

FAST = 240.0  # frames/s: a block is shown for 50 ms, about what this world needs for one


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> GameModels:
    """As the command opens them."""
    return open_models(tiny_request(tmp_path_factory.mktemp("models")))


def tiny_request(folder: Path, **changes: Any) -> PlayRequest:
    flags = {"height": 32, "width": 48, "fps": FAST, "output": folder / "play.mp4", "device": "cpu"}
    return game_request(PlayRequest, flags | changes)


@pytest.fixture
def request_for(tmp_path: Path) -> Callable[..., PlayRequest]:
    return partial(tiny_request, tmp_path)


@pytest.fixture(scope="module")  # not for longer: other tests need the cores
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("browser")) as one:
        yield one


def opened(browser: Chromium, server: Running, **size: Any) -> Page:
    """A page of somebody new, with pictures in it."""
    page = browser.open(server.links[-1], **size)
    page.wait_for("window.mgPlay && mgPlay.screen.frames > 2")
    return page


def playing_page(browser: Chromium, server: Running, **size: Any) -> Page:
    """One that leads, whoever did before."""
    page = opened(browser, server, **size)
    page.evaluate("mgPlay.link.say({ type: 'lead' })")
    page.wait_for("mgPlay.state()?.leads")
    return page


class Running:
    """A server in a thread, and the links it has told."""

    def __init__(self, request: PlayRequest, models: GameModels):
        self.links: list[str] = []
        models = replace(models, engine=Engine(models.causal))  # its own: several play at once here
        listener, told = listen(request.host, request.port), threading.Event()
        self.play = PlayServer(request, models, listener, lambda link: (self.links.append(link), told.set()))
        self._thread = threading.Thread(target=self.play.run, daemon=True)
        self._thread.start()
        assert told.wait(60), "there is no link"

    @property
    def visitor(self) -> Visitor:
        """Somebody new, who has used the latest link."""
        visitor = Visitor(self.links[-1])
        assert visitor.get("/?" + self.links[-1].split("?")[1]).status == 303
        return visitor

    def cut_connections(self) -> None:
        """As a network does: without a word."""
        state = self.play._server.server_state
        for connection in list(state.connections):
            connection.loop.call_soon_threadsafe(connection.transport.abort)

    def stop(self) -> None:
        self.play.stop()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the server did not end"


@pytest.fixture
def serving(request_for: Callable[..., PlayRequest], models: GameModels) -> Iterator[Callable[..., Running]]:
    with servers(lambda **changes: Running(request_for(**changes), models)) as start:
        yield start


@contextmanager
def servers(start: Callable[..., Running]) -> Iterator[Callable[..., Running]]:
    """All that are started are stopped."""
    running: list[Running] = []

    def started(**changes: Any) -> Running:
        running.append(start(**changes))
        return running[-1]

    yield started
    for one in running:
        one.stop()
