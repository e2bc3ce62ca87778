"""`retorno bsuite ALGORITHM`: what an algorithm can do, as the behaviour suite scores it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from retorno.algorithms import ALGORITHMS
from retorno.cli.options import Flag, UsageError, parse
from retorno.cli.study import unknown, values_of, with_hyperparameters
from retorno.cli.terminal import note, print_json
from retorno.cli.train import known_algorithm
from retorno.core.registry import REGISTERED
from retorno.run.bsuite import Suite, suite
from retorno.run.grid import UnknownHyperparameter, settled

COMMAND = "retorno bsuite"
RUNS = Path("runs")


@dataclasses.dataclass(frozen=True)
class SuiteOptions:
    """What an algorithm can do, as the behaviour suite scores it: explore, remember, bear noise, assign credit.

    An agent lives each setting of each experiment for as many episodes as that says; scores are the package's own, of
    what was paid while learning: 0 for chance, 1 for the best that can be. The same line goes on with a suite that was
    stopped or killed. Several lines with the same --folder and other --experiments may run at once.

    retorno bsuite dqn --settings 2 --parallel 2 --picture dqn.png

    retorno bsuite ppo --network gru --experiments memory_len memory_size
    """

    algorithm: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="ALGORITHM")] = None
    """By name, or as FILE.py:NAME. Options that are not this command's are its hyperparameters."""
    experiments: tuple[str, ...] = ()
    """Which; all 23 where none is named."""
    settings: int | None = None
    """So many settings of each, evenly from easy to hard. By default all: 468, of which many take minutes."""
    over: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME=VALUE")] = ()
    """A hyperparameter, as --NAME VALUE. Once for each."""
    seed: int = 0
    """Of all runs."""
    parallel: int = 1
    """So many settings at a time, each in a process of its own."""
    picture: Path | None = None
    """Draw the scores as .png, .svg or .pdf."""
    folder: Path | None = None
    """Where what was lived is kept. By default runs/bsuite-ALGORITHM."""
    json: Flag = False
    """Print one JSON object and nothing else."""


def run(arguments: list[str]) -> int:
    given = parse(SuiteOptions, with_hyperparameters(arguments, SuiteOptions), COMMAND)
    if given.algorithm is None:
        raise UsageError(f"the algorithm comes first, as in `{COMMAND} dqn`")
    if given.settings is not None and given.settings < 1:
        raise UsageError(f"--settings is at least 1, got {given.settings}")
    if given.parallel < 1:
        raise UsageError(f"--parallel is at least 1, got {given.parallel}")
    if given.picture is not None:
        from retorno.plots.style import require_picture  # Matplotlib takes a while to come.

        require_picture(given.picture)
    name = known_algorithm(given.algorithm)
    values = {}
    for key, several in map(values_of, given.over):
        if len(several) != 1:
            raise UsageError(f"--{key.replace('_', '-')} takes one value here, got {', '.join(map(str, several))}")
        values[key] = several[0]
    try:
        algorithm = settled({name: ALGORITHMS[name]()}, values, REGISTERED.values())[name]
    except UnknownHyperparameter as error:
        raise unknown(error, SuiteOptions, COMMAND) from None
    folder = given.folder or RUNS / f"bsuite-{name}"
    found = suite(name, algorithm, folder, given.experiments, given.settings, given.seed, note, given.parallel)
    if given.picture is not None:
        from retorno.plots.bsuite import radar
        from retorno.plots.style import save

        save(radar([found]), given.picture)
    if given.json:
        print_json({**_as_json(found), "folder": str(folder)})
    else:
        print(found)
        note(f"kept in {folder}{f' · picture: {given.picture}' if given.picture else ''}")
    return 0


def _as_json(found: Suite) -> dict[str, object]:
    told = [dataclasses.asdict(each) for each in found.scores]
    for each in told:
        each["score"] = None if each["score"] != each["score"] else each["score"]
    return {"algorithm": found.algorithm, "scores": told, "by_tag": found.by_tag}
