"""What is told while something goes on: notes and progress on stderr, live in a terminal and plain lines elsewhere."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from retorno.cli import waiting

if TYPE_CHECKING:
    from retorno.run.report import Report

answers: TextIO | None = None
"""Where JSON goes while everything else that is printed goes to stderr; None for stdout."""
LINE_SECONDS = 5.0
"""Between two plain lines, where no terminal is looking."""


def stderr() -> Console:
    """Where notes go; rich honours NO_COLOR."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Tell something beside the answer, for instance a warning."""
    stderr().print(Text(text, style="dim"))


def print_json(answer: dict[str, Any]) -> None:
    """The only thing on stdout: one JSON object. What is not a finite number becomes null."""
    print(json.dumps(_finite(answer), allow_nan=False, ensure_ascii=False), file=answers)


def _finite(value: Any) -> Any:
    match value:
        case dict():
            return {key: _finite(x) for key, x in value.items()}
        case list() | tuple():
            return [_finite(x) for x in value]
        case float():
            return value if math.isfinite(value) else None
    return value


def follow(reports: Iterable[Report], begin: int, steps: int) -> None:
    """Go through a run's reports and show them as they come."""
    console = stderr()
    if console.is_terminal:
        _live(reports, begin, steps, console)
    else:
        _lines(reports)


def _live(reports: Iterable[Report], begin: int, steps: int, console: Console) -> None:
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=12),
        TextColumn("{task.completed:,.0f} / {task.total:,.0f}"),
        TextColumn("{task.fields[told]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=steps, completed=begin, told="")
        waiting.live = lambda text: progress.update(task, told=text)
        try:
            for report, told in _told(reports):
                progress.update(task, completed=report.step, told=told)
        finally:
            waiting.live = None


def _lines(reports: Iterable[Report]) -> None:
    last = -math.inf
    for report, told in _told(reports):
        if report.boundary or time.monotonic() - last >= LINE_SECONDS:
            print(f"step {report.step:,} of {report.steps:,}  {told}", file=sys.stderr, flush=True)
            last = time.monotonic()


def _told(reports: Iterable[Report]) -> Iterator[tuple[Report, str]]:
    """Each report and what to say of it: the last return that is known, the rate and the time left."""
    from retorno.run.report import (
        clock,
        told_answers,
        told_fit,
        told_success,
    )  # Not for the other notes: they come at once.

    score, success = math.nan, ""
    for number, report in enumerate(reports):
        score = score if math.isnan(report.mean_return) else report.mean_return
        success = told_success(report.metrics) or success
        nothing = f"no episode yet, reward {report.mean_reward:z.4g} a step"
        parts = [nothing if math.isnan(score) else f"return {score:.2f}{success}"]
        if report.recorded:
            parts = [told_fit(report.metrics)]
        elif (answers := told_answers(report.metrics)) is not None:
            parts = [answers]
        if number > 0:  # The rate of the first one tells of the compiler.
            parts.append(f"{report.rate:,.0f} steps/s")
        if report.finished:
            parts.append(f"took {clock(report.seconds)}")
        elif number > 0:
            parts.append(f"{clock(report.seconds_left)} left")
        yield report, " · ".join(parts)
