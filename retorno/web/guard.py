"""What stands before every page: this machine's addresses, the token, no request from another site, none too large."""

from __future__ import annotations

import hmac
import urllib.parse
from collections.abc import Callable
from typing import Any

from starlette.requests import cookie_parser

from retorno.labels.database import LONGEST_NAME
from retorno.web.words import LANGUAGES, language_of, say

LARGEST = 2_000_000
"""Bytes of a request."""
YEAR = 365 * 24 * 3600
HOSTS = ("127.0.0.1", "localhost", "[::1]")
SETTINGS = ("language", "dark", "name")
"""What a visitor chooses, each in a cookie: `retorno_language`, …"""


class Guard:
    """An ASGI application that lets through to another what has the token, and remembers a visitor's settings."""

    def __init__(self, app: Callable[..., Any], token: str) -> None:
        """Stand before an application.

        Args:
            app: what is guarded.
            token: what an address holds.
        """
        self.app, self.token = app, token
        self.site: Any = None
        """What the pages are about: they find it in the request's scope."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = dict(urllib.parse.parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        host = headers.get("host", "")
        if host.rpartition(":")[0] not in HOSTS and host not in HOSTS:
            return await _refuse(scope, send, 400, "this host is not served")
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return await _refuse(scope, send, 403, "requests of other sites are not answered")
        # A port's number stands in the name: cookies do not tell ports apart.
        mine = f"retorno_token_{host.rpartition(':')[2]}"
        kept = _cookies(headers.get("cookie", ""))
        given = query.pop("token", None)
        if given is None and not _same(kept.get(mine), self.token):
            return await _refuse(scope, send, 403, say(language_of(headers.get("accept-language", "")), "denied"))
        if given is not None and not _same(given, self.token):
            return await _refuse(scope, send, 403, say(language_of(headers.get("accept-language", "")), "denied"))
        size = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not size.isdigit() or int(size) > LARGEST:
            return await _refuse(scope, send, 413, f"a request has {LARGEST:,} bytes or fewer, and says how many")
        # Whoever was sent the address as of a certain person is that person.
        chosen = {name: query.pop(name) for name in SETTINGS if name in query}
        if scope["type"] == "http" and scope["method"] == "GET" and (given is not None or chosen):
            cookies = [
                f"retorno_{name}={urllib.parse.quote(value)}" for name, value in chosen.items() if _ok(name, value)
            ]
            where = scope["path"] + (f"?{urllib.parse.urlencode(query)}" if query else "")
            if given is not None:
                cookies.append(f"{mine}={self.token}; HttpOnly")
            # One slash in front: `//x` would be another host.
            return await _redirect(send, "/" + where.lstrip("/"), cookies)
        scope["retorno"] = self.site
        scope["retorno_visit"] = kept
        await self.app(scope, receive, send)


def _ok(name: str, value: str) -> bool:
    match name:
        case "language":
            return value in LANGUAGES
        case "dark":
            return value in ("0", "1")
    return bool(value.strip()) and len(value) <= LONGEST_NAME and value.isprintable()


def _same(given: str | None, token: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode(), token.encode())


def _cookies(header: str) -> dict[str, str]:
    """As browsers send them: what another program of this machine wrote badly does not hide ours."""
    return {name: urllib.parse.unquote(value) for name, value in cookie_parser(header).items()}


async def _redirect(send: Any, where: str, cookies: list[str]) -> None:
    kept = [(b"set-cookie", f"{each}; Path=/; SameSite=Lax; Max-Age={YEAR}".encode("latin-1")) for each in cookies]
    headers = [(b"location", where.encode("latin-1", "ignore")), (b"cache-control", b"no-store"), *kept]
    await send({"type": "http.response.start", "status": 303, "headers": [*headers, (b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(scope: dict[str, Any], send: Any, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        return await send({"type": "websocket.close", "code": 1008, "reason": why[:100]})
    body = f"retorno: {why}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
