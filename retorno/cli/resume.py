"""`retorno resume RUN`: to the run's own budget, as if it had never stopped."""

from __future__ import annotations

from dataclasses import dataclass

from retorno.cli.options import Flag, Run, parse
from retorno.cli.runs import finish, next_steps
from retorno.cli.terminal import note


@dataclass(frozen=True)
class Resume:
    """Go on with a run to its own budget, to the bit as if it had never stopped; where it is reached, do nothing."""

    run: Run
    """The run's folder, or one with a run for each seed."""
    steps: int | None = None
    """Another budget than the run's own, in environment steps: a finished run can be lengthened."""
    inexact: Flag = False
    """Begin fresh episodes where the world does not return to the ones that were left; the record says so."""
    episodes: int = 100
    """Episodes of the evaluation at the end; 0 for none."""


def run(arguments: list[str]) -> int:
    given = parse(Resume, arguments, "retorno resume")
    if finish(given.run, given.episodes, given.steps, given.inexact):
        note(next_steps(given.run))
    return 0
