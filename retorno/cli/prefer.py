"""`retorno prefer ALGORITHM WORLD`: training by what is preferred, instead of a reward. Christiano et al. 2017."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from retorno.algorithms import ALGORITHMS
from retorno.cli import train
from retorno.cli.compare import serve
from retorno.cli.options import UsageError, parse
from retorno.cli.pages import LABELS, LabelsPlace, Port, require_web
from retorno.cli.terminal import note
from retorno.core.errors import RetornoError
from retorno.core.hyperparameters import Count
from retorno.core.names import as_typed
from retorno.environments.own_code import located, named_files, run_file
from retorno.run.processes import end_with_parent

OWN = ("judge", "task", "port", "labels-in", "labels", "help")
HUMAN, REWARD = "human", "reward"


@dataclass(frozen=True)
class Prefer:
    """Train an agent by which of two short clips of its behaviour is preferred (Christiano et al. 2017).

    All options of `retorno train ALGORITHM WORLD` are taken as well; those of the learnt reward begin with --relabel.
    An algorithm that replays is paid for what is new before it asks, where nothing else is said: with sac this is
    PEBBLE (Lee et al. 2021).
    """

    labels: Count = 700
    """How many pairs of clips are judged in all; with --relabel.clips 1 how many clips are rated, with 4 how often four
    are put in order."""
    judge: Annotated[str, tyro.conf.arg(metavar="human|reward|FILE.py:NAME")] = HUMAN
    """Who judges them: people, in a page whose address is printed; the world's own reward, for experiments; or a
    function of two segments."""
    task: str = ""
    """What is wanted of the agent, in words, for people."""
    labels_in: LabelsPlace = None
    """Where people's labels are kept: a file, or postgresql://…; the run's folder where it is not said."""
    port: Port = None
    """Of the page; 8420 or one after it where it is not said."""


def run(arguments: list[str]) -> int:
    own, rest = _parted(arguments)
    given = parse(Prefer, own, "retorno prefer")
    names = [each for each in rest[:2] if not each.startswith("-")]
    if len(names) < 2:
        raise UsageError("algorithm and world come first, as in `retorno prefer ppo Pendulum-v1 --labels 200`")
    name, world = train.known_algorithm(names[0]), names[1]
    options = ["--relabel", "preferences", "--relabel.labels", str(given.labels), *_pebble(name, rest)]
    if given.judge == REWARD:
        return train.run([name, world, *options, *rest[2:]])
    if given.judge != HUMAN:
        if ":" not in given.judge:
            raise UsageError(f"--judge is human, reward, or FILE.py:NAME, got {given.judge!r}")
        judge = ["--relabel.judge", "function_judge", "--relabel.judge.function", given.judge]
        return train.run([name, world, *options, *judge, *rest[2:]])
    require_web()
    said = train.asked("folder", rest)
    folder = Path(said) if said else train.free_folder(name, world)
    place = given.labels_in or str((folder / LABELS).resolve())
    judge = ["--relabel.judge", "people", "--relabel.judge.labels", place]
    where = [] if said else ["--folder", str(folder)]
    own_world = located(world)[0] if ":" in world else None
    files = [*named_files(), *([] if own_world is None else [own_world])]
    page = multiprocessing.get_context("spawn").Process(
        target=beside_a_run, args=(folder, place, given.task, given.port, files), daemon=True
    )
    page.start()
    try:
        return train.run([name, world, *options, *judge, *where, *rest[2:]])
    finally:
        page.terminate()
        page.join(timeout=5)


def _pebble(algorithm: str, arguments: list[str]) -> list[str]:
    """What is usual for an algorithm that replays: first what is new is paid, for longer than others wait (PEBBLE)."""
    if "replay" not in train.parts_of(ALGORITHMS[algorithm]()):
        return []
    usual = {"relabel.pretraining": "state_entropy", "relabel.waiting": "0.05"}
    return [each for name, value in usual.items() if not train.asked(name, arguments) for each in (f"--{name}", value)]


def beside_a_run(folder: Path, labels: str, task: str, port: int | None, files: Sequence[Path] = ()) -> None:
    """Serve the page in a process of its own, until the run's is over; without it labels are given elsewhere.

    Args:
        folder: of the run, which is only about to begin.
        labels: where they are kept.
        task: what is wanted.
        port: of the page.
        files: with code of one's own, which were named where the run is.
    """
    end_with_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        for file in files:
            run_file(file)
        serve(folder, labels, task, port, patient=True)
    except (RetornoError, OSError) as error:
        note(f"the page is not there: {error}; `retorno compare {as_typed(folder)}` opens it while the run waits")


def _parted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The options of this command, and all else."""
    own, rest = [], []
    places = iter(arguments)
    for argument in places:
        name, equals, _ = argument.lstrip("-").partition("=")
        if not argument.startswith("--") or name.replace("_", "-") not in OWN:
            rest.append(argument)
            continue
        own.append(argument)
        if not equals and name != "help" and (value := next(places, None)) is not None:
            own.append(value)
    return own, rest
