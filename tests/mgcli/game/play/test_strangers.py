"""Connections that come without a token, or go without a word: nobody else notices, and the log stays empty."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from mgcli.game.play import connections
from tests.mgcli.game.play.conftest import Running, tiny_request
from wan.game.models import GameModels

MANY = 100
UNFINISHED = b"GET / HTTP/1.1\r\nHost: 127.0"
REFUSED = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture(scope="module")
def server(models: GameModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tiny_request(tmp_path_factory.mktemp("play")), models)
    yield running
    running.stop()


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What is logged would be lines at the terminal."""
    with caplog.at_level(logging.WARNING):
        yield
    loud = [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.WARNING]
    assert not loud


def connect(server: Running, said: bytes = b"") -> socket.socket:
    connection = socket.create_connection(urlsplit(server.links[-1]).netloc.split(":"), timeout=20)
    connection.sendall(said)
    return connection


@pytest.mark.parametrize("said", [b"", UNFINISHED, REFUSED], ids=["nothing", "half a request", "a refused request"])
def test_many_that_wait_keep_nobody_out(server: Running, said: bytes, quiet: None):
    with ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(connect(server, said))
        with server.visitor.page() as page:
            page.until(leads=True, phase="playing")


@pytest.mark.parametrize("first", [b"", REFUSED], ids=["at first", "after an answer"])
def test_who_dribbles_is_closed(server: Running, first: bytes, monkeypatch: pytest.MonkeyPatch, quiet: None):
    monkeypatch.setattr(connections, "SECONDS_TO_ASK", 0.5)
    began = time.monotonic()
    with connect(server, first) as connection, pytest.raises(OSError):
        while time.monotonic() - began < 10:
            connection.sendall(b"G")
            time.sleep(0.05)
    assert time.monotonic() - began < 5


def test_a_socket_may_be_silent(server: Running, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "SECONDS_TO_ASK", 0.2)
    with server.visitor.page() as page:
        page.until(phase="playing")
        time.sleep(0.6)
        assert next(page.frames())


def test_who_leaves_while_uploading_leaves_nothing_behind(server: Running, quiet: None):
    visitor = server.visitor
    with visitor.page() as page:
        page.until(leads=True, phase="playing")
        head = f"POST /image?tab={page.tab} HTTP/1.1\r\nHost: {visitor.host}\r\nOrigin: http://{visitor.host}\r\n"
        connect(server, f"{head}Cookie: {visitor.cookie}\r\nContent-Length: 99999\r\n\r\nabc".encode()).close()
        deadline = time.monotonic() + 10
        while visitor.post(f"/image?tab={page.tab}", b"no image").status == 429:  # it is still waited for
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert next(page.frames())


def test_noise_is_answered_and_forgotten(server: Running, quiet: None):
    upgrade = b"GET /socket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: upgrade\r\nUpgrade: "
    for noise in (
        b"\x16\x03\x01\x02\x00\x01",
        b"x" * 200_000,
        upgrade + b"websocket\r\n\r\n",
        upgrade + b"h2c\r\n\r\n",
    ):
        with connect(server) as connection:
            try:
                connection.sendall(noise + b"\r\n\r\n")
                assert b"HTTP/1.1 4" in connection.recv(1000)
            except OSError:  # it had heard enough
                pass
