"""What a browser can ask for: the page, a socket, start images in, recordings out. It moves bytes; session.py plays.

Everything a request can reach is listed before the first one comes: the page's files are in memory, recordings are asked
for by number. Sizes and rates are bounded.
"""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from mgcli.game.play.client import Client
from mgcli.game.play.hub import FULL, Hub
from mgcli.game.play.images import LARGEST_FILE, decode_image

PAGE = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
IMAGE_NUMBER = re.compile(r"[0-9]{1,9}")
TAB = re.compile(r"[a-z0-9]{8,32}")  # a page's name for itself
MESSAGES_PER_SECOND, MESSAGES_AT_ONCE = 300, 600  # a mouse at 144 Hz and a word for every frame are half of that
SECONDS_TO_UPLOAD = 60
TOO_MANY = 1008  # close code: against the rules


def routes() -> list[BaseRoute]:
    return [
        *(Route(address_of(path), partial(page_file, content=path.read_bytes(), path=path)) for path in PAGE.iterdir()),
        WebSocketRoute("/socket", socket),
        Route("/image", start_image, methods=["POST"]),
        Route("/image/{number}", thumbnail),
        Route("/recording/{number}/video", partial(recording, part="video")),
        Route("/recording/{number}/script", partial(recording, part="record")),
    ]


def address_of(path: Path) -> str:
    return "/" if path.name == "index.html" else f"/{path.name}"


async def page_file(_: Request, content: bytes, path: Path) -> Response:
    return Response(content, media_type=TYPES[path.suffix])


async def recording(request: Request, part: str) -> Response:
    hub: Hub = request.app.state.hub
    cuts = {str(cut.number): cut for cut in hub.session.tape.finished}
    cut = cuts.get(request.path_params["number"])
    if cut is None or not (path := Path(cut.files[part])).is_file():
        return PlainTextResponse("There is no such recording.\n", 404)
    return FileResponse(path, filename=path.name)


async def thumbnail(request: Request) -> Response:
    hub: Hub = request.app.state.hub
    number = request.path_params["number"]
    jpeg = hub.session.gallery.thumbnail(int(number)) if IMAGE_NUMBER.fullmatch(number) else None
    return Response(jpeg, media_type="image/jpeg") if jpeg else PlainTextResponse("There is no such image.\n", 404)


async def start_image(request: Request) -> Response:
    """The body is an image file; the world begins anew with it."""
    hub: Hub = request.app.state.hub
    if not hub.leads(request.query_params.get("tab", "")):
        return PlainTextResponse("Another page plays.\n", 409)
    if request.app.state.upload.locked():
        return PlainTextResponse("One image at a time.\n", 429)
    async with request.app.state.upload:
        try:
            async with asyncio.timeout(SECONDS_TO_UPLOAD):
                data = await body_of(request)
            world = hub.session.request
            image = await asyncio.to_thread(decode_image, data, world.height, world.width)
        except (ValueError, TimeoutError) as error:
            return PlainTextResponse(f"{error or 'the image takes too long to arrive'}\n", 422)
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody
    hub.session.add_image(image)
    hub.tell()
    return Response(status_code=204)


async def body_of(request: Request) -> bytes:
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > LARGEST_FILE:
            raise ValueError(f"the image has more than {LARGEST_FILE // 2**20} MB: save it smaller")
    return bytes(data)


# The socket ---------------------------------------------------------------------------------------------------------


async def socket(connection: WebSocket) -> None:
    hub: Hub = connection.app.state.hub
    tab = connection.query_params.get("tab", "")
    if not TAB.fullmatch(tab):
        await connection.close()
        return
    await connection.accept()

    async def send(message: str | bytes) -> None:
        await (connection.send_text(message) if isinstance(message, str) else connection.send_bytes(message))

    client = hub.join(tab, send)
    if client is None:
        await connection.close(FULL)
        return
    both = [asyncio.create_task(client.send_until_over()), asyncio.create_task(listen(connection, hub, client))]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        hub.leave(client)
        for task in both:
            task.cancel()
    await asyncio.gather(*both, return_exceptions=True)
    with suppress(RuntimeError, WebSocketDisconnect):  # it may be gone already
        await connection.close(client.over or 1000)


async def listen(connection: WebSocket, hub: Hub, client: Client) -> None:
    allowance = Allowance(time.monotonic())
    while (message := await connection.receive())["type"] == "websocket.receive":
        if not allowance.spend(time.monotonic()):
            hub.floods += 1
            client.over = TOO_MANY
            return
        hub.hear(client, message.get("text"))


class Allowance:
    """So many messages a second, more of them for a moment."""

    def __init__(self, now: float):
        self._left, self._at = float(MESSAGES_AT_ONCE), now

    def spend(self, now: float) -> bool:
        self._left = min(MESSAGES_AT_ONCE, self._left + (now - self._at) * MESSAGES_PER_SECOND)
        self._at = now
        self._left -= 1
        return self._left >= 0
