"""HTTP for strangers: a connection says soon what it wants, and those that do not keep nobody else out.

One that waits (for its first request, or for another) is closed after a while; of too many that wait the oldest is
closed at once. A request under way, or a socket, may take its time: it has shown its cookie by then.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS_TO_ASK = 5.0
MOST_WAITING = 24  # a browser opens 6


class PromptProtocol(H11Protocol):
    since = 0.0  # when it began to wait
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._be_patient()
        waiting = sorted(
            (other for other in self.connections if isinstance(other, PromptProtocol) and other.waits),
            key=lambda other: other.since,
        )
        for other in waiting[:-MOST_WAITING]:
            other.hang_up()

    def on_response_complete(self) -> None:
        self._be_patient()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_timer()
        super().connection_lost(exc)

    @property
    def waits(self) -> bool:
        """A socket has left the connections that are of HTTP."""
        return self in self.connections and (self.cycle is None or self.cycle.response_complete)

    def hang_up(self) -> None:
        if self.waits:
            self.transport.abort()

    def _be_patient(self) -> None:
        self.since = self.loop.time()
        self._end_timer()
        self._timer = self.loop.call_later(SECONDS_TO_ASK, self.hang_up)

    def _end_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
