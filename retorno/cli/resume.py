"""`retorno resume RUN`: to the run's own budget, as if it had never stopped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import tyro

from retorno.cli import study
from retorno.cli.options import Flag, Run, UsageError, keep_of, parse
from retorno.cli.runs import finish, next_steps
from retorno.cli.terminal import note
from retorno.cli.train import with_settings
from retorno.run.folder import QUESTION
from retorno.run.study import question_in


@dataclass(frozen=True)
class Resume:
    """Go on with a run to its own budget, to the bit as if it had never stopped; where it is reached, do nothing."""

    run: Run
    """The run's folder, one with a run for each seed, or a study's."""
    steps: int | None = None
    """Another budget than the run's own, in environment steps: a finished run can be lengthened."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME=VALUE")] = ()
    """Another setting of the algorithm from here on, as in learning_rate=1e-4; the record says so. Once for each."""
    keep: str | None = None
    """Other checkpoints than until now: how many of the newest stay, or best, or all."""
    to_budget: Flag = False
    """Go on to the budget, whatever was to end the run before it."""
    inexact: Flag = False
    """Begin fresh episodes where the world does not return to the ones that were left; the record says so."""
    episodes: int = 100
    """Episodes of the evaluation at the end; 0 for none."""


def run(arguments: list[str]) -> int:
    given = parse(Resume, arguments, "retorno resume")
    if (given.run / QUESTION).exists():
        if given.steps is not None or given.set or given.inexact or given.keep or given.to_budget:
            raise UsageError(f"{given.run} holds a study, which goes on as it is: ask for another by a new line")
        return study.finish(given.run, question_in(given.run), None, None)
    changed = partial(with_settings, changes=given.set) if given.set else None
    keep = None if given.keep is None else keep_of(given.keep)
    if finish(given.run, given.episodes, given.steps, given.inexact, changed, keep, given.to_budget):
        note(next_steps(given.run))
    return 0
