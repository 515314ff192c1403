"""Who may come in. Every request and every socket passes here, before any route is looked at.

A link with a one-time token is exchanged for a cookie. A page of another site cannot use that cookie: its Origin is not
ours. Nor can a name that someone has pointed at this address (DNS rebinding): the Host must be an address, localhost or the name
that we were told to listen on, and it may have any port, because a tunnel has its own.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
SECURITY_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


class Door:
    """The secrets of one server: a token that opens once, and what it is exchanged for."""

    def __init__(self, host: str, port: int, on_open: Callable[[], None] = lambda: None):
        self.host, self._on_open = host.lower(), on_open
        self.token = secrets.token_urlsafe(24)
        self.cookie = f"mg_play_{port}"  # cookies of all ports share one jar
        self._secret = secrets.token_urlsafe(32)

    def exchange(self, token: str) -> str | None:
        """The cookie's value; the token is another one afterwards."""
        if not same(token, self.token):
            return None
        self.token = secrets.token_urlsafe(24)
        self._on_open()
        return self._secret

    def knows(self, headers: Headers) -> bool:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return found is not None and same(found.value, self._secret)

    def has_host(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in ("localhost", self.host) or bool(ipaddress.ip_address(name))
        except ValueError:  # neither a name nor an address, or another name
            return False


class Guard:
    """ASGI middleware."""

    def __init__(self, app: Any, door: Door):
        self.app, self.door = app, door

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        answer: Any = None if scope["type"] == "lifespan" else self._answer(scope)
        if scope["type"] == "http":
            send = with_headers(send)
        elif answer:
            answer = refuse
        await (answer or self.app)(scope, receive, send)

    def _answer(self, scope: Any) -> Response | None:
        """Other than what was asked for; None: come in."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self.door.has_host(host):
            return PlainTextResponse("This server is not called that.\n", 421)
        if not has_our_origin(headers, host, required=scope["type"] == "websocket" or scope["method"] == "POST"):
            return PlainTextResponse("Another site may not use this one.\n", 403)
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/":
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
            if given and (secret := self.door.exchange(given[0])):
                return self._welcome(secret)
        if not self.door.knows(headers):
            return PlainTextResponse(
                "This link has been used, or is not complete. The terminal that runs mg play shows a fresh one.\n", 403
            )
        return None

    def _welcome(self, secret: str) -> Response:
        """To the page without the token, so that it is in no history."""
        answer = RedirectResponse("/", 303)
        # not "strict": it would be left out behind a link in another page, such as a terminal in a browser
        answer.set_cookie(self.door.cookie, secret, httponly=True, samesite="lax")
        return answer


def same(given: str, wanted: str) -> bool:
    """Takes equally long whatever was guessed."""
    return hmac.compare_digest(given.encode(), wanted.encode())


def has_our_origin(headers: Headers, host: str, required: bool) -> bool:
    origin = headers.get("origin")
    if origin is None:
        return not required
    return origin in (f"http://{host}", f"https://{host}")


async def refuse(_: Any, receive: Any, send: Any) -> None:
    """A socket gets no other answer than that it is closed."""
    await receive()
    await send({"type": "websocket.close", "code": 1008})


def with_headers(send: Any) -> Any:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(SECURITY_HEADERS)
        await send(message)

    return sending
