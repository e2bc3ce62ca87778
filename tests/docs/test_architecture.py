"""The way of one transition, as docs/architecture.md tells it, is the one that it goes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import jax

import retorno
from retorno.algorithms import PPO
from retorno.algorithms.actor_critic.ppo import _Rows
from retorno.core.time_step import TimeStep, Trajectory
from retorno.run.loop import Iteration, Run, Seen, iterate, nothing_seen
from retorno.run.report import Counters, report
from retorno.run.train import train

HOME = Path(retorno.__file__).parent
PAGE = HOME.parent / "docs" / "architecture.md"
FIRST, LAST = ("environments/control/classic.py", "CartPole.step"), ("run/report.py", "report")
MOST_HOPS, MOST_FILES = 27, 11


def carries(value: Any, deep: int = 2) -> bool:
    """Whether a value is lived rows or what PPO keeps of them, or a tuple that holds some."""
    if isinstance(value, TimeStep | Trajectory | Iteration | _Rows):
        return True
    whole = isinstance(value, tuple) and not isinstance(value, Run)
    return deep > 0 and whole and any(carries(x, deep - 1) for x in value)


def way() -> list[tuple[str, str]]:
    """The functions that a transition of PPO on CartPole is handed to or comes from, in the order of their calls."""
    training = train(PPO(), "CartPole-v1", 10_000)
    world: Any = training.world
    passed: list[tuple[str, str]] = []

    def hop(frame: FrameType, event: str, result: Any) -> None:
        code = frame.f_code
        if (
            event not in ("call", "return")
            or not code.co_filename.startswith(f"{HOME}/")
            or "<lambda>" in code.co_qualname
        ):
            return
        place = (Path(code.co_filename).relative_to(HOME).as_posix(), code.co_qualname.replace(".<locals>", ""))
        given = [frame.f_locals.get(name) for name in code.co_varnames[: code.co_argcount]]
        shelf = place[0].startswith("ops/")  # beside the way, as the page says
        if not shelf and place not in passed and (any(map(carries, given)) if event == "call" else carries(result)):
            passed.append(place)
        # The rows end in a gradient, and all of it in a report.
        if place in (("ops/optimisers.py", "descend"), LAST) and place not in passed:
            passed.append(place)

    def once(run: Any) -> Any:
        lived = iterate(training.algorithm, world, run)
        return lived.after, nothing_seen(lived.metrics, None).see(lived)

    counters = Counters.read(training.run)
    sys.setprofile(hop)
    try:
        _, seen = jax.eval_shape(once, training.run)
        seen = Seen(dict.fromkeys(seen.sums, 0.0), seen.updates, 0.0, None)  # type: ignore[arg-type]
        report(counters, counters, seen, steps=1, seconds=1, elapsed=1, boundary=True)
    finally:
        sys.setprofile(None)
    return passed


def told() -> Iterator[tuple[str, str]]:
    """The way as the page lists it: lines of a file's name and a function's."""
    for line in PAGE.read_text().splitlines():
        if found := re.match(r"\d+\. `([\w/]+\.py)` `([\w.]+)`", line):
            yield found[1], found[2]


def test_the_way_of_one_transition_is_short_and_as_the_page_tells_it() -> None:
    hops = way()
    assert FIRST in hops and hops[-1] == LAST
    assert len(hops) <= MOST_HOPS and len({file for file, _ in hops}) <= MOST_FILES
    assert sorted(told()) == sorted(hops)
