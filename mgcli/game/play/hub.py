"""Everybody who looks on, and the one of them who plays. Lives in the server's event loop; the session calls in from its thread.

The first page plays, later ones watch until they ask to lead; the same page connecting again takes its own place. What
is not a message is counted and ignored.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from mgcli.game.play.client import Client
from mgcli.game.play.encode import Frame, key_bits
from mgcli.game.play.messages import parse
from mgcli.game.play.session import PlayedBlock, PlaySession
from wan.game.modes import Mode

MOST_CLIENTS = 8
REPLACED, FULL = 4001, 4002  # close codes, for the page to explain


class Hub:
    def __init__(self, session: PlaySession, model: str, link: Callable[[], str | None]):
        """`link`: what lets another browser in, if there is anything to be shared."""
        self.session, self.link = session, link
        self.clients: list[Client] = []
        self.player: Client | None = None
        self.malformed = self.floods = 0
        self._constant = {"type": "state", "model": model, **described(session)}

    def play(self, loop: asyncio.AbstractEventLoop) -> None:
        """Runs the session until it ends; to be called in a thread that has nothing else to do."""

        def in_loop(call: Callable[..., None]) -> Callable[..., None]:
            def later(*arguments: Any) -> None:
                loop.call_soon_threadsafe(call, *arguments)

            return later

        self.session.run(in_loop(self.publish), in_loop(self.tell))

    # Coming and going -----------------------------------------------------------------------------------------------

    def join(self, tab: str, send: Callable[[str | bytes], Awaitable[None]]) -> Client | None:
        """None: there are too many."""
        before = next((client for client in self.clients if client.tab == tab), None)
        if before:
            before.close(REPLACED)
            self.clients.remove(before)
        if len(self.clients) >= MOST_CLIENTS:
            return None
        client = Client(tab, send, 4 * self.session.request.num_frame_per_block)
        self.clients.append(client)
        if self.player in (None, before):
            self.player = client
        self.session.watch(True)
        self.tell()
        return client

    def leave(self, client: Client) -> None:
        if client in self.clients:
            self.clients.remove(client)
        if self.player is client:
            self._release()
            self.player = None
        self.session.watch(bool(self.clients))
        self.tell()

    def leads(self, tab: str) -> bool:
        return self.player is not None and self.player.tab == tab

    # To the pages ---------------------------------------------------------------------------------------------------

    def publish(self, block: PlayedBlock) -> None:
        frames = frames_of(block, self.session.models.mode)
        for client in self.clients:
            client.offer(frames)

    def tell(self) -> None:
        """Everybody how things are."""
        state = self._constant | {"watchers": len(self.clients) - 1} | self.session.describe()
        for client in self.clients:
            leading = {"leads": client is self.player, "taken": self.player is not None}
            sent = {"dropped": client.dropped, "quality": client.pace.level.quality}
            shared = {"link": self.link() if client is self.player else None}
            client.tell(json.dumps(state | leading | sent | shared))

    # From the pages -------------------------------------------------------------------------------------------------

    def hear(self, client: Client, text: str | None) -> None:
        """None: it was not even text."""
        try:
            if text is None:
                raise ValueError("bytes where a message is expected")
            self._obey(client, parse(text))
        except ValueError:
            self.malformed += 1

    def _obey(self, client: Client, message: dict[str, Any]) -> None:
        kind = message.pop("type")
        if kind == "got":
            client.arrived(**message)
        elif kind == "quality":
            client.pace.limit(**message)
        elif kind == "lead":
            self._release()
            self.player = client
            self.tell()
        elif client is self.player:  # else it was on its way when another page took over
            self._play(client, kind, message)

    def _play(self, client: Client, kind: str, fields: dict[str, Any]) -> None:
        session = self.session
        if kind == "keys":
            session.controls.hold(self._known(fields["keys"]), (client, fields["at"]))
        elif kind == "look":
            session.controls.look(**fields)
        else:
            asked: dict[str, Callable[..., None]] = {
                "pause": session.pause,
                "record": session.record,
                "restart": session.restart,
                "image": session.choose_image,
            }
            asked[kind](**fields)
            self.tell()

    def _known(self, keys: str) -> str:
        letters = self.session.models.mode.letters
        if not set(keys) <= set(letters):
            raise ValueError(f"{keys} are not all keys of this mode")
        return keys

    def _release(self) -> None:
        """Nobody's fingers are on the keys."""
        self.session.controls.hold("")


def frames_of(block: PlayedBlock, mode: Mode) -> list[Frame]:
    keys = key_bits(mode, block.action.keys)
    return [
        Frame(
            world=block.world,
            number=block.span.frames.start + i,
            block=block.span.block,
            keys=keys,
            turn=block.action.mouse,
            made_in=block.made_in,
            due=block.due + i * block.interval,
            pixels=pixels,
            mark=block.mark,
        )
        for i, pixels in enumerate(block.video)
    ]


def described(session: PlaySession) -> dict[str, Any]:
    """What never changes while a page is open."""
    mode, request = session.models.mode, session.request
    keys = [{"letter": k.letter, "does": k.does, "turn": k.turn, "moves": k.column is not None} for k in mode.keys]
    return {
        "mode": mode.name,
        "keys": keys,
        "opposed": mode.opposed,
        "mouse": mode.has_mouse,
        "width": request.width,
        "height": request.height,
        "frames_per_second": request.fps,
    }
