"""A browser and a server for the tests of pages: Playwright with Debian's Chromium, or the one that it installs."""

from __future__ import annotations

import gc
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from retorno.labels import Labels


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The pages of a site that each test replaces: a process has one server."""
    from retorno.web import Address, Served, Site

    server = Served(Site("nothing", Labels.open(tmp_path_factory.mktemp("nothing") / "labels.db")), Address(0))
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    server.stop()
    thread.join(timeout=20)
    _forget()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    there = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with playwright.sync_playwright() as driver:
        if there is None and not Path(driver.chromium.executable_path).exists():
            pytest.skip("no browser: apt-get install chromium, or playwright install chromium")
        browser = driver.chromium.launch(executable_path=there, args=["--no-sandbox"])
        yield browser
        browser.close()
    _forget()


def _forget() -> None:
    """What the browser and the server left open is closed here, and is not told to a test that comes later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    return Labels.open(tmp_path / "labels.db")


@pytest.fixture
def visit(served: Any, chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open a page of a site as somebody: nothing is asked of other hosts, and no script fails."""
    contexts, wrong = [], []
    home = f"127.0.0.1:{served.address.port}"

    def outside(request: Any) -> None:
        if not request.url.startswith((f"http://{home}", f"ws://{home}", "data:", "blob:")):
            wrong.append(request.url)

    def open_page(site: Any, path: str, name: str = "Ana", **settings: Any) -> Any:
        served.site = site
        contexts.append(chromium.new_context(**{"viewport": {"width": 1100, "height": 800}, "locale": "en"} | settings))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("request", outside)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(served.address.url(path, name=name))
        page.wait_for_function("window.did_handshake")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
