"""The pictures of the pages, by a real browser: `python docs/pages.py` writes docs/images/page-*.png.

It needs the extra `web`, Playwright and Chromium. The answers are written here; nothing is learnt.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from retorno.labels import Labels
from retorno.web import Address, Served, Site

IMAGES = Path(__file__).parent / "images"
HEIGHTS = {"rank": 560, "write": 460, "chat": 350, "blind": 430}
"""Of each picture, in pixels: what is below is empty."""
ASKED = [
    {
        "prompt": "what is a heron?",
        "answers": [
            "A heron is a wading bird with long legs, a long neck and a pointed bill; it lives beside shallow water.",
            "I am not sure what a heron is, and I would rather not guess.",
            "A heron is a fish of the cod family.",
            "Look it up yourself.",
        ],
        "scores": [2.1, 0.4, -0.7, -2.0],
    },
    {"prompt": "what is an oak?", "answers": ["A tree.", "A bird."], "scores": [1.0, -1.0]},
]
WRITTEN = {"prompt": "what is a sextant?", "draft": "A sextant is a instrument to measure angles, used by sailor."}


class Speaker:
    """A model that says what it was given, word by word."""

    def __init__(self, name: str, said: str) -> None:
        self.name, self.said = name, said

    def answer(self, prompt: Any, seed: int) -> Iterator[str]:
        yield from (f"{word} " for word in self.said.split())


def main() -> None:
    labels = Labels.open(Path(tempfile.mkdtemp()) / "labels.db")
    labels.add("ranking", ASKED)
    labels.add("demonstration", [WRITTEN])
    helpful = Speaker("runs/ppo", "A heron is a bird that wades in shallow water and waits for fish.")
    evasive = Speaker("runs/sft", "That depends on whom you ask.")
    run = lambda: {"step": 48_000, "accuracy": 0.83}  # noqa: E731
    one = Site("runs/ppo", labels, [helpful], news=run)
    served = Served(one, Address(0))
    thread = threading.Thread(target=served.run)
    thread.start()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])

        def visit(site: Site, path: str, **settings: Any) -> Any:
            served.site = site
            size = {"viewport": {"width": 1000, "height": 640}, "locale": "en", "color_scheme": "light"}
            page = browser.new_context(**size | settings).new_page()
            page.goto(served.address.url(path, name="Ana"))
            page.wait_for_function("window.did_handshake")
            return page

        page = visit(one, "rank")
        for answer in ("A heron is a wading", "I am not sure"):
            card = page.locator(".card", has_text=answer)
            page.keyboard.press(card.locator(".top .key").inner_text())
            page.locator(".ranked .card", has_text=answer).wait_for()
        taken(page, "rank")
        page = visit(one, "write")
        page.get_by_text("Mend this answer").wait_for()
        taken(page, "write")
        for name, models in {"chat": [helpful], "blind": [helpful, evasive]}.items():
            page = visit(Site(" · ".join(each.name for each in models), labels, models, pages=("chat",)), "chat")
            page.locator("textarea").fill("what is a heron?")
            page.locator("textarea").press("Enter")
            page.get_by_role("button", name="Good" if len(models) == 1 else "B is better").wait_for()
            taken(page, name)
        browser.close()
    served.stop()
    thread.join()


def taken(page: Any, name: str) -> None:
    """A picture of what the page shows, once nothing moves."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(600)
    page.set_viewport_size({"width": 1000, "height": HEIGHTS[name]})
    page.screenshot(path=IMAGES / f"page-{name}.png")
    print(IMAGES / f"page-{name}.png")


if __name__ == "__main__":
    main()
