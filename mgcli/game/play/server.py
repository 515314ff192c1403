"""From a request to a running server and back: listen, load, play until Ctrl-C, finish the recording.

The session plays in a thread of its own. An error there ends the server and is raised here; a server that ends takes
the session with it, after the block in hand. Nobody is let in, or told the link, before the first world has begun.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from mgcli.game.play.connections import PromptProtocol
from mgcli.game.play.guard import Door, Guard
from mgcli.game.play.hub import Hub
from mgcli.game.play.messages import LONGEST
from mgcli.game.play.request import PlayRequest
from mgcli.game.play.routes import routes
from mgcli.game.play.session import PlaySession
from mgcli.game.worlds import explained_memory, open_models
from wan.game.models import GameModels

# small messages only; whom a request was forwarded for is nobody's business; our own log, which strangers cannot fill
LIMITS: dict[str, Any] = {
    "http": PromptProtocol,
    "ws_max_size": 4 * LONGEST,
    "ws_per_message_deflate": False,
    "limit_concurrency": 64,
    "timeout_graceful_shutdown": 3,
    "proxy_headers": False,
    "server_header": False,
    "access_log": False,
    "log_config": None,
    "log_level": "error",
}


def serve(request: PlayRequest, listener: socket.socket, announce: Callable[[str], None]) -> PlaySession:
    """Plays until Ctrl-C. `announce` is told the link once it answers, and another one each time a link has been used."""
    with explained_memory(request):
        server = PlayServer(request, open_models(request), listener, announce)
        server.run()
        return server.session


class PlayServer:
    def __init__(
        self, request: PlayRequest, models: GameModels, listener: socket.socket, announce: Callable[[str], None]
    ):
        self.session = PlaySession(request, models)
        shared = is_open_to_others(listener)
        self.hub = Hub(self.session, model_name(request), lambda: self.link if shared else None)
        self._listener, self._announce, self._announced = listener, announce, False
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._address = link_address(listener)
        self.door = Door(request.host, listener.getsockname()[1], lambda: announce(self.link))
        app = Starlette(routes=routes(), lifespan=self._playing)
        app.state.hub, app.state.upload = self.hub, asyncio.Lock()
        config = uvicorn.Config(Guard(app, self.door), callback_notify=self._tick, timeout_notify=0, **LIMITS)
        self._server = uvicorn.Server(config)

    @property
    def link(self) -> str:
        return f"{self._address}/?token={self.door.token}"

    def run(self) -> None:
        """Until Ctrl-C: before there is a link it interrupts, afterwards it is how a session ends."""
        try:
            self._server.run(sockets=[self._listener])
        except KeyboardInterrupt:
            if not self._announced:
                raise
        finally:
            self.session.end()
            if self._thread:
                self._thread.join()
        if self._error:
            raise self._error

    def stop(self) -> None:
        self._server.should_exit = True

    @asynccontextmanager
    async def _playing(self, _: Starlette) -> AsyncIterator[None]:
        self._thread = threading.Thread(target=self._play, args=(asyncio.get_running_loop(),))
        self._thread.start()
        await asyncio.to_thread(self.session.begun.wait)
        yield
        # here and not only at the end of run(), which a SIGTERM does not reach
        self.session.end()
        await asyncio.to_thread(self._thread.join)

    def _play(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self.hub.play(loop)
        except Exception as error:
            self._error = error
        finally:
            self.stop()

    async def _tick(self) -> None:
        """Called as soon as the server answers, and every second from then on."""
        if not self._announced:
            self._announced = True
            self._announce(self.link)
        self.hub.tell()


def listen(host: str, port: int) -> socket.socket:
    """Bound before anything is loaded, because that takes long."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = str(error.strerror).split(" (while")[0]
        raise ValueError(f"cannot listen on {host}, port {port} ({why}): choose another --host or --port") from None


def link_address(listener: socket.socket) -> str:
    """Where a browser finds us. "All addresses" is none that can be opened, so it becomes the one others see."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = outward_address(listener.family)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def outward_address(family: int) -> str:
    documentation = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}[socket.AddressFamily(family)]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((documentation, 9))  # chooses a route and sends nothing
        except OSError:  # no network
            return "localhost"
        return probe.getsockname()[0]


def is_open_to_others(listener: socket.socket) -> bool:
    return not ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def model_name(request: PlayRequest) -> str:
    if request.checkpoint_path:
        return Path(request.checkpoint_path).name
    return "embedded mini world" if request.mini else "random weights"
