"""The server of pages is killed again and again while somebody ranks: no label that it called saved may be missing.

    python benchmarks/pages_killed.py [KILLS]     # 20 where it is not said; needs the extra `web`, Playwright, Chromium

Each time a server is started on the same port, a real browser ranks by keys as fast as it can, and the server gets a
SIGKILL at a moment drawn between .05 and 2 s after the first key, often in the middle of saving. What the page called
saved is then looked for in the database: once, and as it was ranked. What it did not call saved may be there or not,
but never halved or doubled.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, sync_playwright

from retorno.labels import Labels

ANSWERS = ["a bird", "a fish", "a tree", "a stone"]
STARTS, KILLED_WITHIN = 120, (0.05, 2.0)
"""Seconds in which a server has to stand, and after which it is killed."""
SAVED = ".status.good"


class Server:
    """`retorno rank` over a file of questions, as a user starts it."""

    def __init__(self, file: Path, port: int) -> None:
        command = [sys.executable, "-m", "retorno", "rank", str(file), "--port", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise SystemExit(f"the server did not start: {' '.join(command)}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def ranked(page: Any, rng: random.Random, promised: dict[str, list[str]]) -> None:
    """Rank one question after another until the server is gone; what was called saved is noted."""
    while True:
        question = page.locator(".prompt").first.inner_text().strip()
        cards = page.locator(".rest .card .words").all_inner_texts()
        order = rng.sample(range(len(cards)), len(cards))
        for key in order:
            page.keyboard.press(str(key + 1))
        page.wait_for_function("count => document.querySelectorAll('.ranked .card').length == count", arg=len(cards))
        page.keyboard.press("Enter")
        page.locator(SAVED).wait_for()
        promised[question] = [cards[key].strip() for key in order]
        page.wait_for_function("before => !document.querySelector('.prompt').innerText.includes(before)", arg=question)


def main() -> None:
    kills, rng = int(sys.argv[1]) if sys.argv[1:] else 20, random.Random(0)
    folder = Path(tempfile.mkdtemp())
    file = folder / "answers.jsonl"
    lines = ({"prompt": f"what is thing {i}?", "answers": ANSWERS} for i in range(50 * kills))
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    promised: dict[str, list[str]] = {}
    began, port = time.monotonic(), random.randint(20_000, 60_000)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context(locale="en")
        for number in range(kills):
            server = Server(file, port)
            page = context.new_page()
            page.set_default_timeout(1000 * STARTS)
            page.goto(f"{server.address}&name=Ana")
            page.wait_for_function("window.did_handshake")
            page.locator(".rest .card").first.wait_for()
            page.set_default_timeout(4000)
            timer = threading.Timer(rng.uniform(*KILLED_WITHIN), server.kill)
            timer.start()
            before = len(promised)
            try:
                ranked(page, rng, promised)
            except Error:  # The page waits for what will not come.
                pass
            timer.join()
            page.close()
            check(folder, promised)
            print(f"kill {number + 1}: {len(promised) - before} rankings were called saved, all are there", flush=True)
        browser.close()
    there = check(folder, promised)
    print(
        f"{kills} SIGKILLs in {time.monotonic() - began:.0f} s: {len(promised)} rankings were called saved, {there} "
        "are in the database, each once and as it was ranked"
    )
    shutil.rmtree(folder)


def check(folder: Path, promised: dict[str, list[str]]) -> int:
    """How many labels there are; each one promised is among them."""
    found: dict[str, list[str]] = {}
    for labelled in Labels.open(next(folder.glob("*.db"))).labelled():
        question, ranks = labelled.query.content["prompt"], labelled.label.content["ranks"]
        assert question not in found, f"{question} is labelled twice"
        assert sorted(ranks) == list(range(len(ANSWERS))), f"{question} has half a label: {ranks}"
        found[question] = [ANSWERS[i] for i in sorted(range(len(ranks)), key=ranks.__getitem__)]
    for question, order in promised.items():
        assert found.get(question) == order, f"{question} was called saved as {order}, and is {found.get(question)}"
    return len(found)


if __name__ == "__main__":
    main()
