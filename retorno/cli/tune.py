"""`retorno tune ALGORITHM WORLD`: search for the settings with which an algorithm learns a world best."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Any

import tyro

from retorno.algorithms import ALGORITHMS
from retorno.algorithms.published import settings as published_for
from retorno.cli.options import Flag, UsageError, parse
from retorno.cli.spelling import value_of, world_settings
from retorno.cli.study import unknown, values_of, with_hyperparameters
from retorno.cli.terminal import note, print_json
from retorno.cli.train import free_folder, known_algorithm, typed
from retorno.core.hyperparameters import Among, Between
from retorno.core.names import as_typed
from retorno.environments.own_code import named_files
from retorno.environments.registry import WorldName
from retorno.run.folder import asked_before
from retorno.run.grid import UnknownHyperparameter, shown
from retorno.run.tune import QUESTION, TABLE, TRIALS, Tuned, answer_in, ask

COMMAND = "retorno tune"
RUNS = Path("runs")


@dataclasses.dataclass(frozen=True)
class TuneOptions:
    """Search for the settings with which an algorithm learns a world best.

    Where is looked is declared by the algorithm's fields and told before anything is lived. --over NAME=LOW..HIGH looks
    elsewhere (LOW..HIGH:log by orders of magnitude), --over NAME=A,B,C among these; --NAME VALUE is not searched.
    The same line goes on with a search that was stopped or killed, with more --trials also with one that is over.

    retorno tune ppo LunarLander-v3 --trials 50 --parallel 2

    retorno tune dqn CartPole-v1 --over learning_rate=1e-4..1e-2:log --over n=1,3,5 --batch-size 64 --steps 30000
    """

    algorithm: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="ALGORITHM")] = None
    """By name, or as FILE.py:NAME. The first trial is what `retorno train` would take."""
    world: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="WORLD")] = None
    """As for `retorno train`: native, hosted, or FILE.py:NAME."""
    trials: int = TRIALS
    """How many settings are tried."""
    over: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME=RANGE")] = ()
    """Where to look for a hyperparameter instead of where its field says. Once for each."""
    steps: int | None = None
    """The budget of each trial. By default the published one, else 100,000."""
    seed: int = 0
    """Of the trials; the best settings are lived again with those after it."""
    seeds: int = 5
    """With so many others the best settings are lived again; 0 for none."""
    best: int = 3
    """So many settings are."""
    evaluations: int = 10
    """Of each trial, evenly over its steps. One below the median of others at the same step is given up."""
    episodes: int = 20
    """Of each evaluation, greedy."""
    parallel: int = 1
    """So many trials at a time, each in a process of its own; on Ray, where it is installed."""
    storage: str | None = None
    """The URL of a database to keep trials in, as postgresql://…: searches on several machines share them."""
    picture: Path | None = None
    """Draw the search as .png, .svg or .pdf."""
    folder: Path | None = None
    """Where the search is kept. By default the next free runs/tune-ALGORITHM-WORLD-NUMBER, or where the same one is."""
    json: Flag = False
    """Print one JSON object and nothing else."""


def run(arguments: list[str]) -> int:
    made_with, arguments = world_settings(arguments)
    given = parse(TuneOptions, with_hyperparameters(arguments, TuneOptions), COMMAND)
    if given.algorithm is None or given.world is None:
        raise UsageError(f"algorithm and world come first, as in `{COMMAND} ppo CartPole-v1`")
    for name, least in (("trials", 1), ("seeds", 0), ("best", 1), ("evaluations", 1), ("episodes", 1), ("parallel", 1)):
        if getattr(given, name) < least:
            raise UsageError(f"--{name} is at least {least}, got {getattr(given, name)}")
    if given.picture is not None:
        from retorno.plots.style import require_picture  # Matplotlib takes a while to come.

        require_picture(given.picture)
    name = known_algorithm(given.algorithm)
    world = WorldName(given.world, settings=made_with)
    try:
        over = dict(map(range_of, given.over))
        question = ask(name, world, over, given.steps, given.seed, given.evaluations, given.episodes)
    except UnknownHyperparameter as error:
        raise unknown(error, TuneOptions, COMMAND) from None
    folder = given.folder or asked_before(RUNS, QUESTION, question.asked) or free_folder(f"tune-{name}", given.world)
    for key, told in question.ranges.items():
        note(f"{key}: {told_range(told)}")
    note(f"{given.trials} trials of {question.steps:,} steps, kept in {folder}")
    found = answer_in(folder, question, given.trials, given.seeds, given.best, given.parallel, given.storage, said=note)
    again = command(found, name, given.world, made_with)
    if given.picture is not None:
        from retorno.plots.style import save
        from retorno.plots.tuning import tuning

        save(tuning(found), given.picture)
    if given.json:
        trials = [
            {**dataclasses.asdict(each), "score": each.score if each.score == each.score else None}
            for each in found.trials
        ]
        told = {"best": found.best.number, "command": again, "importance": found.importance, "trials": trials}
        repeated = {str(n): [x if x == x else None for x in returns] for n, returns in found.repeated.items()}
        print_json({**told, "repeated": repeated, "folder": str(folder)})
    else:
        print(found)
        print(f"\nthe best again:\n  {again}")
        note(f"every trial: {folder / TABLE}{f' · picture: {given.picture}' if given.picture else ''}")
    return 0


def command(found: Tuned, name: str, world: str, made_with: dict[str, Any]) -> str:
    """The line that trains with the best settings."""
    known = published_for(name, world)
    usual = known.algorithm if known else ALGORITHMS[name]()
    own = "".join(f"{as_typed(os.path.relpath(file))} " for file in named_files() if ":" not in f"{name}{world}")
    made = "".join(f" --world.{key} {value}" for key, value in made_with.items())
    settings = "".join(f" {each}" for each in typed(found.algorithm, usual))
    return f"retorno {own}train {name} {as_typed(world)}{made} --steps {found.question.steps}{settings} --seeds 10"


def range_of(text: str) -> tuple[str, Any]:
    """Where to look for a hyperparameter, and its name.

    Raises:
        UsageError: when it is no NAME=RANGE.

    >>> range_of("lr=1e-4..1e-2:log"), range_of("epochs=1..20"), range_of("n=1,3")
    (('lr', Between(low=0.0001, high=0.01, log=True)), ('epochs', Between(low=1, high=20, log=False)), ('n', [1, 3]))
    """
    name, _, told = text.partition("=")
    low, between, high = told.partition("..")
    if not between:
        return values_of(text)
    high, _, log = high.partition(":")
    ends = [value_of(low), value_of(high)]
    if not name.strip() or log not in ("", "log") or not all(isinstance(x, int | float) for x in ends):
        raise UsageError(
            f"--over {text}: expected NAME=LOW..HIGH or NAME=LOW..HIGH:log, as in learning_rate=1e-4..1e-2:log"
        )
    return name.strip(), Between(ends[0], ends[1], log == "log")


def told_range(told: Between | Among) -> str:
    """A range as people read it.

    >>> told_range(Between(1e-5, 0.01, log=True)), told_range(Among((1, 3)))
    ('1e-05 to 0.01, by orders of magnitude', '1, 3')
    """
    if isinstance(told, Among):
        return ", ".join(map(shown, told.values))
    return f"{told.low:g} to {told.high:g}{', by orders of magnitude' if told.log else ''}"
