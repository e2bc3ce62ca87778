"""An agent that learns from people and the page they judge in are killed again and again: no label is lost or doubled.

    python benchmarks/preferences_killed.py [KILLS]   # 25 where it is not said; needs `web`, Playwright, Chromium

`retorno prefer` teaches a small table by what a real browser presses in its page, by a rule: whose states have the
larger numbers. The trainer or the server of the page gets a SIGKILL within 3 s after the first clips are shown, and is
started anew by `retorno resume` or `retorno compare`, while the other goes on. Each label that the page called saved
has to be in the database, once and as it was given, and at the end the run's arrays are those of a run that nobody
disturbed. The first that is killed is `retorno prefer` itself: its page has to end with it.

Each time it is called, it begins another run, with other moments, and adds it to docs/preferences-speed.md.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import commit, here, keep
from playwright.sync_api import Error, sync_playwright
from preferences import KILLED, render

WHO, KIND = "Ana", "segments"
LABELS_A_KILL = 12
WORLD = ("q_learning", "garnet")
OPTIONS = ("--steps", "20000", "--every", "2000", "--episodes", "0", "--num-envs", "4", "--rollout", "10")
ASKED = ("--relabel.session", "4", "--relabel.segment", "5", "--relabel.recent", "1000", "--relabel.members", "1")
KILLED_WITHIN = 3.0
"""Seconds after the first clips are there."""
STARTS = 600
"""Seconds in which what was started has to stand."""


def share(content: dict[str, Any]) -> float:
    """How much of the preference goes to the first segment: all, where its states have the larger numbers."""
    first, second = (sum(segment["obs"]) for segment in content["segments"])
    return float(first > second)


def command(*arguments: str) -> None:
    """Run a command of retorno, in a process of its own that says nothing."""
    from retorno.cli.main import main

    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    sys.exit(main(list(arguments)))


def undisturbed(folder: Path, labels: int) -> None:
    """The same run, all of whose queries are answered at once."""
    from retorno.labels import Labels

    place = folder.with_suffix(".db")

    def answer() -> None:
        kept = Labels.open(place)
        while True:
            if (query := kept.lend(KIND, WHO)) is not None:
                kept.save(query.id, WHO, {"share": share(query.content)})
            else:
                time.sleep(0.02)

    threading.Thread(target=answer, daemon=True).start()
    people = ("--relabel.judge", "people", "--relabel.judge.labels", str(place))
    relabel = ("--relabel", "preferences", "--relabel.labels", str(labels), *people)
    command("train", *WORLD, *relabel, *ASKED, *OPTIONS, "--folder", str(folder))


def arrays(run: Path) -> dict[str, Any]:
    """Those of the newest checkpoint."""
    from safetensors.numpy import load_file

    from retorno.run import checkpoint

    files = checkpoint.newest(run).glob("*.safetensors")
    return {f"{file.name}: {name}": x for file in files for name, x in load_file(file).items()}


def open_port(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def until(what: Callable[[], bool], why: str) -> None:
    """Wait for something that has to come."""
    end = time.monotonic() + STARTS
    while not what():
        if time.monotonic() > end:
            raise SystemExit(f"{why}, after {STARTS} s")
        time.sleep(0.05)


def check(place: Path, promised: set[int]) -> int:
    """How many labels there are: each once, as it was given, and each that was called saved."""
    from retorno.labels import Labels

    found: set[int] = set()
    with contextlib.closing(Labels.open(place)) as labels:
        for each in labels.labelled(KIND):
            assert each.query.id not in found, f"query {each.query.id} is labelled twice"
            right = {"share": share(each.query.content)}
            assert each.label.content == right, f"query {each.query.id} is labelled {each.label.content}, not {right}"
            found.add(each.query.id)
    assert promised <= found, f"{promised - found} were called saved, and are not there"
    return len(found)


class Person:
    """A browser in which somebody compares clips until what they work with is gone."""

    def __init__(self, browser: Any, place: Path, port: int) -> None:
        """Not begun yet.

        Args:
            browser: to look at the page with.
            place: where the labels are.
            port: of the page.
        """
        self.context = browser.new_context(locale="en")
        self.place, self.port = place, port
        self.promised: set[int] = set()

    def lent(self) -> tuple[int, dict[str, Any]] | None:
        """The query that lies before them."""
        return self._asked("join loan on query_id = id where labeller = ? and id not in (select query_id from label)")

    def wanted(self) -> bool:
        """Whether anything is asked."""
        return self._asked("where ? != '' and missing > 0 and not withdrawn") is not None

    def _asked(self, which: str) -> tuple[int, dict[str, Any]] | None:
        with contextlib.closing(sqlite3.connect(self.place, timeout=30)) as there:
            row = there.execute(f"select id, content from query {which}", (WHO,)).fetchone()
        return None if row is None else (row[0], json.loads(row[1]))

    def work(self, over: Callable[[], bool], begun: Callable[[], None] = lambda: None) -> None:
        """Judge until it is over, or the page does not answer; what is called saved is noted.

        Args:
            over: whether it is.
            begun: is told when the first clips are there.
        """
        from retorno.labels import shown_order

        token, waiting = Path(f"{self.place}-token").read_text().strip(), True
        page = self.context.new_page()
        try:
            page.set_default_timeout(1000 * STARTS)
            page.goto(f"http://127.0.0.1:{self.port}/compare?token={token}&name={WHO}")
            page.wait_for_function("window.did_handshake")
            page.set_default_timeout(8000)
            while not over():
                mine = re.search(r"([\d,]+) by you", page.locator(".progress").inner_text())
                if mine is None or page.locator(".clip img").count() < 2 or (lent := self.lent()) is None:
                    page.wait_for_timeout(20)
                    continue
                if waiting:
                    begun()
                    waiting = False
                query, content = lent
                left = share(content) != shown_order(query, WHO, 2)[0]
                page.keyboard.press("ArrowLeft" if left else "ArrowRight")
                page.get_by_text(f"{int(mine[1].replace(',', '')) + 1:,} by you").wait_for()
                self.promised.add(query)
        except Error:  # The page waits for what will not come.
            pass
        page.close()


def main() -> None:
    kills, measured = int(sys.argv[1]) if sys.argv[1:] else 25, commit()
    rng = random.Random()
    # Forked before JAX has begun: a process of its own for the machine, without Python's start.
    forked, began = multiprocessing.get_context("fork"), time.monotonic()
    import retorno.cli.main
    import retorno.preferences
    import retorno.web  # noqa: F401

    top, labels = Path(tempfile.mkdtemp()), LABELS_A_KILL * kills
    run, place, port = top / "run", top / "run" / "labels.db", random.randint(20_000, 60_000)

    def started(*arguments: str) -> Any:
        process = forked.Process(target=command, args=arguments)
        process.start()
        return process

    def server() -> Any:
        process = started("compare", str(run), "--port", str(port))
        until(lambda: open_port(port), "the page did not come")
        return process

    whole = forked.Process(target=undisturbed, args=(top / "whole", labels))
    whole.start()
    human = ("--labels", str(labels), "--port", str(port), "--folder", str(run))
    training, serving = started("prefer", *WORLD, *human, *ASKED, *OPTIONS), None
    until(lambda: open_port(port) and place.exists(), "the page did not come")
    learning = lambda: training.is_alive()  # noqa: E731
    fallen = {"trainer": 0, "server": 0}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        person = Person(browser, place, port)
        while True:
            victim = "trainer" if serving is None or rng.random() < 0.5 else "server"
            process, known = training if victim == "trainer" else serving, len(person.promised)
            assert process is not None
            if sum(fallen.values()) < kills:
                until(lambda: person.wanted() or not learning(), "nothing was asked")
                timer = threading.Timer(rng.uniform(0, KILLED_WITHIN), process.kill)
                person.work(lambda process=process: not (learning() and process.is_alive()), timer.start)
                if timer.ident is not None:
                    timer.join()
                process.join(timeout=5)
            else:
                person.work(lambda: not learning())
            there = check(place, person.promised)
            if training.exitcode == 0:
                break
            assert training.exitcode in (None, -signal.SIGKILL), f"the trainer failed: exit {training.exitcode}"
            if process.is_alive():
                continue
            fallen[victim] += 1
            told = f"{len(person.promised) - known} labels were called saved, {there} are there"
            print(f"kill {sum(fallen.values())}, the {victim}: {told}", flush=True)
            if serving is None:
                until(lambda: not open_port(port), "the page of a run that was killed stayed")
            if victim == "trainer":
                training = started("resume", str(run), "--episodes", "0")
            if serving is None or victim == "server":
                serving = server()
        browser.close()
        if serving is not None:  # Forked, it holds the driver's pipes open, which would wait for it.
            serving.kill()
            serving.join()
    whole.join()
    ends = [arrays(each) for each in (run, top / "whole")]
    assert ends[0].keys() == ends[1].keys() and all((ends[0][name] == ends[1][name]).all() for name in ends[0])
    found = {**fallen, "labels": there, "saved": len(person.promised), "seconds": round(time.monotonic() - began)}
    keep("preferences-speed", render, lambda kept: kept | {KILLED: [*kept.get(KILLED, []), found | here(measured)]})
    print(f"no label lost or doubled, and the bits of a run that nobody disturbed: {json.dumps(found)}")
    shutil.rmtree(top)


if __name__ == "__main__":
    try:
        main()
    finally:
        for each in multiprocessing.active_children():
            each.kill()
