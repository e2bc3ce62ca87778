"""The pictures of the pages, by a real browser: `python docs/pages.py` writes docs/images/page-*.png.

    python docs/pages.py demo/spins demo    # only that of clips, of what a run was asked last, and into that folder

It needs the extra `web`, Playwright and Chromium. The answers are written here; nothing is learnt.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

import retorno as rt
from retorno.cli.runs import recorded_world
from retorno.labels import Labels
from retorno.preferences.clips import Clips
from retorno.preferences.judges import QUERY
from retorno.preferences.lives import Life
from retorno.preferences.recorded import learnt_rewards, records
from retorno.web import Address, Served, Site

IMAGES = Path(__file__).parent / "images"
HEIGHTS = {"rank": 560, "write": 460, "chat": 350, "blind": 430, "compare": 640}
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
    with browsed() as visit:
        if sys.argv[1:]:
            run, out = map(Path, sys.argv[1:])
            compared(visit, recorded_world(run).make(), [*records(learnt_rewards(run), "rule")][-1], out)
        else:
            world = rt.make("Pendulum-v1")
            compared(visit, world, {"segments": [swung(world, push) for push in (-1.0, 1.0)]}, IMAGES)
            compared(visit, world, {"segments": [swung(world, 1.0)]}, IMAGES, "compare-rated")
            body = rt.make("Hopper-v5", terminate_when_unhealthy=False)
            hops = {"segments": [hopped(body, seed) for seed in (0, 4)]}
            compared(visit, body, hops, IMAGES, "compare-hopper", "A backflip, please.")
            of_texts(visit)


def swung(world: rt.Environment, push: float) -> dict[str, Any]:
    """A segment in which the pendulum is pushed one way."""
    env = rt.to_gymnasium(world)
    obs = [env.reset(seed=3)[0], *(env.step(np.array([push], np.float32))[0] for _ in range(25))]
    return {"obs": np.array(obs).tolist(), "action": [[push]] * 25}


def hopped(world: Any, seed: int) -> dict[str, Any]:
    """A segment of a body that does anything, which is lived again to be drawn."""
    actions = np.random.default_rng(seed).uniform(-1, 1, (60, 1, 3)).astype(np.float32)
    there, begins = world.open(1, 0), 35
    seen = [there.reset().obs[0], *(there.step(each).obs[0] for each in actions)]
    there.close()
    life = Life(0, 0, begins, actions[:begins, 0]).as_json()
    return {"obs": np.array(seen[begins:]).tolist(), "action": actions[begins:, 0].tolist(), "lived": life}


@contextlib.contextmanager
def browsed() -> Iterator[Callable[..., Any]]:
    """A browser that visits pages of sites."""
    served = Served(Site("", Labels.open(Path(tempfile.mkdtemp()) / "labels.db")), Address(0))
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

        yield visit
        browser.close()
    served.stop()
    thread.join()


def compared(
    visit: Callable[..., Any],
    world: Any,
    asked: Mapping[str, Any],
    out: Path,
    name: str = "compare",
    task: str = "Make it go round and round.",
) -> None:
    """The page of clips."""
    labels = Labels.open(Path(tempfile.mkdtemp()) / "labels.db")
    labels.add(QUERY, [{"segments": asked["segments"]}])
    count = len(asked["segments"])
    site = Site("runs/taught", labels, clips=Clips(world), at_once=count, task=task, pages=("compare",))
    page = visit(site, "compare")
    page.locator("input[type=range]").nth(count - 1).wait_for()
    taken(page, name, out)


def of_texts(visit: Callable[..., Any]) -> None:
    """The pages on which answers are ranked, mended and asked for."""
    labels = Labels.open(Path(tempfile.mkdtemp()) / "labels.db")
    labels.add("ranking", ASKED)
    labels.add("demonstration", [WRITTEN])
    helpful = Speaker("runs/ppo", "A heron is a bird that wades in shallow water and waits for fish.")
    evasive = Speaker("runs/sft", "That depends on whom you ask.")
    run = lambda: {"step": 48_000, "accuracy": 0.83}  # noqa: E731
    one = Site("runs/ppo", labels, [helpful], news=run)
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


def taken(page: Any, name: str, out: Path = IMAGES) -> None:
    """A picture of what the page shows, once nothing moves."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(600)
    page.set_viewport_size({"width": 1000, "height": HEIGHTS[name.partition("-")[0]]})
    page.screenshot(path=out / f"page-{name}.png")
    print(out / f"page-{name}.png")


if __name__ == "__main__":
    main()
