"""`retorno compare RUN`: a page in which people compare clips of an agent that learns from what they say."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from retorno.cli.options import Flag, UsageError, parse
from retorno.cli.pages import LabelsPlace, Port, last_record, opened_labels, require_web, serve_pages
from retorno.cli.runs import recorded_world, settings_of
from retorno.cli.terminal import note
from retorno.core.errors import RetornoError
from retorno.run.folder import CONFIG

if TYPE_CHECKING:
    from retorno.labels import Labels
    from retorno.preferences.clips import Clips

PATIENCE = 600.0
"""Seconds that are waited for a run that begins beside this."""


@dataclass(frozen=True)
class Compare:
    """Open a page in which people compare or rate short clips of an agent: `retorno prefer` opens it by itself.

    What they say is in a database before the page says so, and the run goes on by it, now or when it is resumed.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run that learns from what people prefer."""
    labels: LabelsPlace = None
    """Where labels are kept: a file, or postgresql://… The run's own where it is not said."""
    task: str = ""
    """What is wanted of the agent, in words: it stands above the clips."""
    port: Port = None
    """Of this machine; 8420 or one after it where it is not said."""
    terminal: Flag = False
    """Ask here, in the terminal, instead of in a page."""
    name: str | None = None
    """Who is asked in the terminal; "me" where it is not said."""


def run(arguments: list[str]) -> int:
    given = parse(Compare, arguments, "retorno compare")
    if given.terminal:
        if given.port is not None:
            raise UsageError("--port is of the page, and --terminal asks here: give one of them")
        return ask_here(given.run, given.labels, given.task, given.name or "me")
    if given.name is not None:
        raise UsageError("--name says who is asked in the terminal (--terminal); in the page people say it themselves")
    return serve(given.run, given.labels, given.task, given.port)


def ask_here(folder: Path, labels: str | None, task: str, name: str) -> int:
    """Ask one person in the terminal, until they have had enough.

    Args:
        folder: the run's.
        labels: where labels are; None for the run's own.
        task: what is wanted.
        name: who is asked.
    """
    clips, opened = clips_of(folder), labels_in(folder, labels)
    from retorno.preferences.by_hand import compare

    at_once, levels = _asked_about(folder)
    note(task or ("which does better what you want?" if at_once > 1 else "how well does it do what you want?"))
    given = compare(opened, clips, name, wait=sys.stdin.isatty(), levels=levels)
    note(f"{given:,} answered")
    return 0


def serve(folder: Path, labels: str | None, task: str, port: int | None, patient: bool = False) -> int:
    """Serve the page of a run.

    Args:
        folder: the run's.
        labels: where labels are; None for the run's own.
        task: what is wanted.
        port: of this machine; None for the usual one.
        patient: whether the run is only about to begin.
    """
    until = time.monotonic() + (PATIENCE if patient else 0)
    while not (folder / CONFIG).exists():  # What it has learnt is written only later.
        if time.monotonic() >= until:
            raise RetornoError(f"{folder} is no run: `retorno prefer ALGORITHM WORLD` begins one that asks people")
        time.sleep(0.2)
    clips, opened = clips_of(folder), labels_in(folder, labels)
    from retorno.web import Site

    if (why := clips.why_numbers) is not None and not patient:  # Who waits for a run has been told before.
        note(why)
    at_once, levels = _asked_about(folder)
    asking = {"clips": clips, "at_once": at_once, "levels": levels, "task": task}
    return serve_pages(Site(folder.name, opened, pages=("compare",), news=_news(folder), **asking), port, "compare")


def _asked_about(folder: Path) -> tuple[int, int]:
    """How many clips a run asks about at once, and from 1 to which one is rated."""
    from retorno.preferences.given import LEVELS

    relabel = settings_of(folder).get("relabel") or {}
    return relabel.get("clips", 2), relabel.get("levels", LEVELS)


def clips_of(folder: Path) -> Clips:
    """What draws the clips of a run."""
    require_web()
    from retorno.preferences.clips import Clips

    return Clips(recorded_world(folder).make(), settings_of(folder)["seeds"][0])


def labels_in(folder: Path, labels: str | None) -> Labels:
    """What people are asked of a run, and what they said.

    Raises:
        RetornoError: when it asks nobody, or the database cannot be opened.
    """
    place = labels or asked_in(folder)
    from retorno.labels import is_url

    return opened_labels(place if is_url(place) else Path(place))


def asked_in(folder: Path) -> str:
    """Where a run looks for what people say.

    Raises:
        RetornoError: when it asks nobody.

    Args:
        folder: the run's.
    """
    judge = (settings_of(folder).get("relabel") or {}).get("judge") or {}
    if not judge.get("labels"):
        raise RetornoError(f"{folder} asks nobody: `retorno prefer ALGORITHM WORLD` begins a run that does")
    from retorno.preferences.judges import labels_of

    return labels_of(folder, judge["labels"])


def _news(folder: Path) -> Callable[[], Mapping[str, float]]:
    """How training goes, and how often the learnt reward is right on labels that it did not learn from."""

    def news() -> Mapping[str, float]:
        told = last_record(folder)
        named = {"step": "step", "relabel/accuracy": "accuracy"}
        return {name: told[key] for key, name in named.items() if key in told}

    return news
