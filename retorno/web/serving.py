"""The pages, served: on this machine's own address, with a token that stays the same for the same labels."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from nicegui import ui
from starlette.requests import Request
from starlette.responses import RedirectResponse

from retorno.core.errors import RetornoError
from retorno.web import chatting, comparing, playing, ranking, watching, writing
from retorno.web.guard import Guard
from retorno.web.site import Site, Visit
from retorno.web.watched import ADDRESS

PORT = 8420
TOKEN = "-token"
"""What the name of a file ends with in which a token lies."""
TRIED = 20
"""Ports after the first that are tried where it is taken."""
BUILDERS = {
    "rank": ranking.page,
    "write": writing.page,
    "chat": chatting.page,
    "compare": comparing.page,
    "play": playing.page,
    "runs": watching.page,
}


class ServingError(RetornoError):
    """Pages that cannot be served."""


class Address:
    """Where pages are: a socket that is open, and the token."""

    def __init__(self, port: int | None = None, kept: Path | None = None) -> None:
        """Take a port of this machine, and of no other.

        Raises:
            ServingError: when the port is taken.

        Args:
            port: which; 0 any, None the usual one or one of those after it.
            kept: a file beside which the token lies that an address has to hold, and while the pages are served their
                address; None for a new token and no such file.
        """
        self.kept = kept
        self.token = secrets.token_urlsafe(18) if kept is None else kept_token(kept.with_name(kept.name + TOKEN))
        for each in range(PORT, PORT + TRIED) if port is None else [port]:
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self.socket.bind(("127.0.0.1", each))
                self.socket.listen()  # From here on nobody else can have it.
                break
            except OSError as error:
                self.socket.close()
                why = error
        else:
            what = f"ports {PORT} to {PORT + TRIED - 1} are" if port is None else f"port {port} is"
            raise ServingError(f"{what} taken ({why.strerror}): give another with --port")
        self.port = self.socket.getsockname()[1]

    def url(self, page: str = "", **settings: str) -> str:
        """A page's address, token included."""
        more = "".join(f"&{name}={value}" for name, value in settings.items())
        return f"http://127.0.0.1:{self.port}/{page}?token={self.token}{more}"

    @contextlib.contextmanager
    def told(self, page: str) -> Iterator[None]:
        """Meanwhile others of this user find the page: see `watched.open_pages`."""
        if self.kept is None:
            yield
            return
        file = self.kept.with_name(self.kept.name + ADDRESS)
        _write_privately(file, self.url(page))
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                if file.read_text(encoding="ascii") == self.url(page):  # And not another's, who came later.
                    file.unlink()


def kept_token(file: Path) -> str:
    """The token that is kept in a file for its owner alone, made where there is none: pages outlive their server."""
    try:
        token = file.read_text(encoding="ascii").strip()
        if len(token) >= 16 and token.replace("-", "").replace("_", "").isalnum():
            return token
    except (OSError, UnicodeDecodeError):
        pass
    token = secrets.token_urlsafe(18)
    _write_privately(file, token)
    return token


def _write_privately(file: Path, text: str) -> None:
    """Into a new file that only its owner can read."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
        written.write(text)


class Served:
    """A server of pages; a process has one. What the pages are about may be replaced while it runs."""

    def __init__(self, site: Site, address: Address) -> None:
        """Make it; `run` runs it.

        Args:
            site: what the pages are about.
            address: where they are served.
        """
        self.address = address
        self.guard = Guard(_application(), address.token)
        self.guard.site = site
        config = uvicorn.Config(
            self.guard, log_config=None, access_log=False, timeout_graceful_shutdown=1, ws_max_size=2_000_000
        )
        self.server = uvicorn.Server(config)

    @property
    def site(self) -> Site:
        """What the pages are about."""
        return self.guard.site

    @site.setter
    def site(self, site: Site) -> None:
        self.guard.site = site

    def run(self) -> None:
        """Serve until somebody stops it."""
        self.server.run(sockets=[self.address.socket])

    def stop(self) -> None:
        """Serve no more."""
        self.server.should_exit = True


def serve(site: Site, address: Address) -> None:
    """Serve pages until Ctrl-C, and keep questions ready meanwhile."""
    # What a page's defect has to say stands in the terminal, one line each; uvicorn says nothing of its own.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    writer = None
    if site.questions is not None:
        writer = threading.Thread(target=site.questions.work, args=(site.labels,), daemon=True)
        writer.start()
    try:
        with address.told(site.pages[0]):
            Served(site, address).run()
    except KeyboardInterrupt:
        pass
    finally:
        if site.questions is not None and writer is not None:
            site.questions.asleep.set()
            writer.join(timeout=5)


def _application() -> Any:
    """The pages as one application; they find what they are about in the request."""
    for name, build in BUILDERS.items():
        ui.page(f"/{name}", dark=None)(_page(name, build))

    @ui.page("/")
    def first(request: Request) -> Any:
        return RedirectResponse(f"/{request.scope['retorno'].pages[0]}")

    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    outer.get("/file")(watching.file)
    ui.run_with(outer, title="retorno", favicon="↩", tailwind=False, show_welcome_message=False, reconnect_timeout=10)
    return outer


def _page(name: str, build: Any) -> Any:
    def page(request: Request) -> Any:
        visit = Visit.of(request)
        if name not in visit.site.pages:
            return RedirectResponse("/")
        build(visit)
        return None

    return page
