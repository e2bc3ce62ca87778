"""`retorno study ALGORITHM… --world WORLD`: settings and seeds side by side, and a picture of how each learns."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from retorno.algorithms import ALGORITHMS
from retorno.cli.options import Flag, UsageError, options, parse, understood
from retorno.cli.runs import use_cores
from retorno.cli.spelling import value_of, world_settings
from retorno.cli.terminal import LINE_SECONDS, note, print_json
from retorno.cli.train import free_folder, known_algorithm, of_another_kind, typed
from retorno.core.names import did_you_mean, named
from retorno.environments.registry import WorldName
from retorno.run.folder import QUESTION, asked_before
from retorno.run.grid import UnknownHyperparameter
from retorno.run.progress import looked_at, telling
from retorno.run.study import TABLE, Question, answer_in, ask

COMMAND = "retorno study"
RUNS = Path("runs")


@dataclasses.dataclass(frozen=True)
class StudyOptions:
    """Compare algorithms and their settings over many seeds, all of them at once.

    Lists of values are compared, in all combinations: --over step_size=.1,.5, or --epsilon .05,.1,.2. One value alone
    is a setting of all. An algorithm that lacks a hyperparameter goes without it. The same line goes on with a study
    that was stopped, and shows one that is done.

    retorno study q_learning sarsa expected_sarsa --world cliff --episodes 500 --epsilon .05,.1,.2 --picture cliff.pdf
    """

    algorithms: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="ALGORITHM…")] = ()
    """Which: by name, or as FILE.py:NAME."""
    world: str | None = None
    """By name, a model's or map's file, or FILE.py:NAME. In a hosted one seed after seed is lived."""
    over: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME=VALUE,…")] = ()
    """Values of a hyperparameter. Once for each; the same as --NAME VALUE,…"""
    steps: int | None = None
    """The budget of each seed in environment steps. By default the published one, else 100,000."""
    episodes: int | None = None
    """Let the points of curves count episodes, of which each seed lives so many."""
    seeds: int = 10
    """So many seeds of each setting: `seed`, `seed` + 1, …"""
    seed: int = 0
    """The first of them."""
    points: int = 100
    """How many points a curve has at most: each is a mean over its stretch."""
    measure: str | None = None
    """return, length, reward (of a step), regret (against the exact optimum), rms (error of predicted values)."""
    picture: Path | None = None
    """Draw curves, and what each value is worth, as .png, .svg or .pdf."""
    csv: Path | None = None
    """Write a line for each setting, seed and point."""
    folder: Path | None = None
    """Where the study is kept. By default the next free runs/study-WORLD-NUMBER, or where the same one is kept."""
    json: Flag = False
    """Print one JSON object and nothing else."""


def run(arguments: list[str]) -> int:
    settings, arguments = world_settings(arguments)
    asked = with_hyperparameters(arguments)
    given = parse(StudyOptions, asked, COMMAND)
    names, world = places(given)
    if given.picture is not None:
        from retorno.plots.style import require_picture  # Matplotlib takes a while to come.

        require_picture(given.picture)
    if given.csv is not None and given.csv.suffix.lower() != ".csv":
        raise UsageError(f"--csv is written as .csv, got {given.csv.name!r}: name the file so")
    if given.seeds < 1 or not 0 <= given.seed <= 2**32 - given.seeds:
        raise UsageError(f"--seeds is how many, from --seed on, below 4,294,967,296: got {given.seeds}, {given.seed}")
    use_cores(given.seeds)
    try:
        question = ask(
            names if len(names) > 1 else names[0],
            WorldName(world, settings=settings),
            dict(map(values_of, given.over)),
            range(given.seed, given.seed + given.seeds),
            given.steps,
            given.episodes,
            given.points,
            given.measure,
        )
    except UnknownHyperparameter as error:
        raise unknown(error, StudyOptions, COMMAND) from None
    folder = given.folder or asked_before(RUNS, QUESTION, question.asked) or free_folder("study", world)
    for name, told in settings_told(question).items():
        note(f"{name}: {told or 'its defaults'}")
    return finish(folder, question, given.picture, given.csv, given.json)


def finish(folder: Path, question: Question, picture: Path | None, table: Path | None, as_json: bool = False) -> int:
    """Answer a question in a folder, with everything shown, and write what was asked for."""
    lived = f"{question.total:,} {'episodes' if question.by_episode else 'steps'}"
    note(f"{len(question.settings)} settings, {len(question.seeds)} seeds each, {lived}, kept in {folder}")
    with telling(None if looked_at() else Lines()) as told:
        found = answer_in(folder, question, told)
    written = {"folder": folder}
    if table is not None:
        written["csv"] = found.save(table)
    if picture is not None:
        from retorno.plots.study import study as drawn
        from retorno.plots.style import save

        written["picture"] = save(drawn(found), picture)
    if as_json:
        print_json({**found.as_row(), **{name: str(path) for name, path in written.items()}})
    else:
        print(found)
        note(f"every point: {written.get('csv', folder / TABLE)}{f' · picture: {picture}' if picture else ''}")
    return 0


def settings_told(question: Question) -> dict[str, str]:
    """What all settings of each algorithm have beside its defaults, as options."""
    told: dict[str, str] = {}
    for setting in question.settings:
        swept = {name.strip("_").replace("_", "-") for name in setting.values}
        typed_ones = typed(setting.algorithm, ALGORITHMS[setting.name]())
        told.setdefault(setting.name, " ".join(x for x in typed_ones if x.split()[0].lstrip("-") not in swept))
    return told


class Lines:
    """Progress where no terminal is looking: a line now and then."""

    def __init__(self) -> None:
        self._told = 0.0

    def __call__(self, share: float, told: str) -> None:
        if time.monotonic() - self._told >= LINE_SECONDS or share == 1:
            self._told = time.monotonic()
            print(f"{share:.0%}  {told}", file=sys.stderr, flush=True)


def places(given: StudyOptions) -> tuple[list[str], str]:
    """The algorithms, and the world; which may be the last of what has no option's name.

    Raises:
        UsageError: when one of them is missing.
    """
    names, world = list(given.algorithms), given.world
    if world is None and len(names) > 1 and ":" not in names[-1] and named(names[-1], ALGORITHMS) not in ALGORITHMS:
        world = names.pop()
    if not names:
        raise UsageError(f"which algorithms? Name one or several, as in `{COMMAND} q_learning sarsa --world cliff`")
    if world is None:
        raise UsageError(f"which world? As in `{COMMAND} {' '.join(names)} --world cliff`")
    return [known_algorithm(name) for name in names], world


def with_hyperparameters(arguments: Sequence[str], kind: type = StudyOptions) -> list[str]:
    """Options that are not a command's own are hyperparameters: `--epsilon .1 .2` is `--over epsilon=.1,.2`.

    >>> with_hyperparameters(["sarsa", "--epsilon", ".1,.2", "--n-seeds=3", "--no-expected", "--lr", "1", "2"])
    ['sarsa', '--over', 'epsilon=.1,.2', '--seeds=3', '--over', 'expected=false', '--over', 'lr=1,2']
    """
    own = {*options(kind), "--help", "-h"}
    made: list[str] = []
    rest = list(arguments)
    while rest:
        argument = understood(rest.pop(0), kind)
        option, equals, value = argument.partition("=")
        if option == "--set":
            option, argument = "--over", argument.replace("--set", "--over", 1)
        if not option.startswith("--") or option in own:
            made.append(argument)
            continue
        values = [value] if equals else []
        while not equals and rest and (not values or _is_number(rest[0])) and not _is_option(rest[0]):
            values.append(rest.pop(0))
        name = option.removeprefix("--").replace("-", "_")
        if not values:
            name, values = (name[3:], ["false"]) if name.startswith("no_") else (name, ["true"])
        made += ["--over", f"{name}={','.join(values)}"]
    return made


def unknown(error: UnknownHyperparameter, kind: type, command: str) -> UsageError:
    """The message about an option that is neither a command's own nor a hyperparameter: whose it is, or near ones."""
    names = [*error.known, *(each.rpartition(".")[2] for each in error.known)]
    near = next(filter(None, (of_another_kind(each, error.name) for each in error.algorithms)), None)
    near = near or did_you_mean(f"--{error.name}", [*options(kind), *(f"--{each}" for each in names)])
    option = f"--{error.name.replace('_', '-')}"
    return UsageError(f"no option or hyperparameter {option}{near} (see {command} --help)")


def values_of(text: str) -> tuple[str, list[Any]]:
    """A hyperparameter and its values.

    Raises:
        UsageError: when it is not NAME=VALUE,…

    >>> values_of("exploration.epsilon=.05,.1"), values_of("network.hidden=[64, 64],[8]")
    (('exploration.epsilon', [0.05, 0.1]), ('network.hidden', [(64, 64), (8,)]))
    """
    name, equals, listed = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--over {text}: expected NAME=VALUE,VALUE,…, as in --over step_size=.1,.5")
    whole = value_of(f"[{listed}]")
    values = whole if isinstance(whole, list) else [value_of(each) for each in listed.split(",") if each.strip()]
    return name.strip(), [tuple(value) if isinstance(value, list) else value for value in values]


def _is_number(text: str) -> bool:
    return all(isinstance(value_of(each), int | float) for each in text.split(","))


def _is_option(text: str) -> bool:
    return text.startswith("-") and not _is_number(text)
