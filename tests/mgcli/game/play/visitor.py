"""A visitor without a browser: requests with any header, and a page that can be made to behave badly."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect

from mgcli.game.play.encode import HEADER


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Shown:
    """A frame as the page gets it."""

    keys: int
    world: int
    number: int
    block: int
    turn: tuple[float, float]
    made_in: float
    due: float
    key_at: float
    jpeg: bytes
    arrived: float = field(default_factory=time.monotonic)


class Visitor:
    def __init__(self, link: str):
        self.host = urlsplit(link).netloc
        self.cookie = ""

    def get(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.host, timeout=20)
        given = {"Host": self.host, "Cookie": self.cookie} | {k.replace("_", "-"): v for k, v in headers.items()}
        connection.request(method, path, body, {name: value for name, value in given.items() if value})
        answer = connection.getresponse()
        made = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        if "set-cookie" in made.headers:
            self.cookie = made.headers["set-cookie"].split(";")[0]
        return made

    def post(self, path: str, body: bytes, **headers: str) -> Answer:
        return self.get(path, "POST", body, **({"Origin": f"http://{self.host}"} | headers))

    @contextmanager
    def page(self, tab: str = "", called: str = "", **headers: str) -> Iterator[FakePage]:
        """`called`: what the page thinks that this server is called."""
        tab, called = tab or secrets.token_hex(8), called or self.host
        given = {"Cookie": self.cookie, "Origin": f"http://{called}"} | headers
        with socket.create_connection(self.host.split(":")) as connection:
            # one that does not read cannot see that the other side closes too: it should not wait for that
            settings: dict[str, Any] = {"max_size": 2**24, "close_timeout": 0.2, "sock": connection}
            with connect(f"ws://{called}/socket?tab={tab}", additional_headers=given, **settings) as open_socket:
                yield FakePage(open_socket, tab)


class FakePage:
    """Says that frames have arrived as they do, like the real one."""

    def __init__(self, socket: ClientConnection, tab: str):
        self.socket, self.tab = socket, tab
        self.state: dict[str, Any] = {}
        self.got = 0

    def say(self, kind: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **fields}))

    def hear(self, timeout: float = 20) -> Shown | None:
        """One message; a state is kept."""
        message = self.socket.recv(timeout)
        if isinstance(message, str):
            self.state = json.loads(message)
            return None
        self.got += 1
        self.say("got", frames=self.got)
        one, keys, world, number, block, pitch, yaw, made_in, due, key_at = HEADER.unpack_from(message)
        assert one == 1
        return Shown(keys, world, number, block, (pitch, yaw), made_in, due, key_at, message[HEADER.size :])

    def frames(self, seconds: float = 20) -> Iterator[Shown]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if shown := self.hear():
                yield shown

    def until(self, **wanted: Any) -> dict[str, Any]:
        """The first state in which this holds."""
        deadline = time.monotonic() + 20
        while not (self.state and all(self.state[name] == value for name, value in wanted.items())):
            assert time.monotonic() < deadline, f"{self.state}, but never {wanted}"
            self.hear()
        return self.state
