"""Where trials of a search are lived: here, in processes, or on Ray. A trial goes on from evaluation to evaluation.

Between two of them it may be dropped: the next call takes up the run in its folder, to the same bits.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from retorno.environments.own_code import named_files, run_file
from retorno.run.config import from_json
from retorno.run.evaluate import evaluate
from retorno.run.folder import CONFIG
from retorno.run.known import known
from retorno.run.processes import workers
from retorno.run.resume import resume
from retorno.run.train import train
from retorno.run.training import Training


@dataclass(frozen=True)
class Life:
    """A trial as it is lived: all that another process has to know of it."""

    folder: Path
    """Where its run is recorded."""
    algorithm: Any
    """Its settings as JSON."""
    world: Any
    """What `train` takes."""
    seed: int
    steps: int
    every: int
    """Steps between two evaluations."""
    episodes: int
    """Of each."""


@runtime_checkable
class Place(Protocol):
    """Where one trial after another is lived."""

    def go_on(self, life: Life) -> Future[tuple[int, float]]:
        """Live to the next evaluation: the step at which it stands, and the mean return."""
        ...

    def close(self) -> None: ...


class Here:
    """This process."""

    def __init__(self) -> None:
        self._lives = Lives()

    def go_on(self, life: Life) -> Future[tuple[int, float]]:
        told: Future[tuple[int, float]] = Future()
        try:
            told.set_result(self._lives.go_on(life))
        except Exception as error:
            told.set_exception(error)
        return told

    def close(self) -> None:
        self._lives.drop()


class InProcess:
    """A process of its own, which ends with this one."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._process = workers(1, files)

    def go_on(self, life: Life) -> Future[tuple[int, float]]:
        return self._process.submit(_go_on, life)

    def close(self) -> None:
        self._process.shutdown(wait=False, cancel_futures=True)


class OnRay:
    """An actor of Ray, on whichever machine has a core; all see the folders of the runs."""

    def __init__(self, files: Sequence[Path]) -> None:
        ray = importlib.import_module("ray")
        if not ray.is_initialized():
            ray.init(logging_level="ERROR", log_to_driver=False, include_dashboard=False)
        self._ray, self._actor = ray, ray.remote(num_cpus=1)(Lives).remote(tuple(files))

    def go_on(self, life: Life) -> Future[tuple[int, float]]:
        return self._actor.go_on.remote(life).future()

    def close(self) -> None:
        self._ray.kill(self._actor)


def places(number: int) -> list[Place]:
    """So many places: this process alone; else others."""
    return [Here()] if number == 1 else [elsewhere() for _ in range(number)]


def elsewhere() -> Place:
    """A place on Ray where that is installed, else a process."""
    kind = InProcess if find_spec("ray") is None else OnRay
    return kind(named_files())


class Lives:
    """What is under way in a process: one trial, open between two evaluations."""

    def __init__(self, files: Sequence[Path] = ()) -> None:
        """Run the files that define somebody's own worlds and algorithms."""
        for file in files:
            run_file(file)
        self._under_way: tuple[Path, Training] | None = None

    def go_on(self, life: Life) -> tuple[int, float]:
        """As of `Place`."""
        training = self._opened(life)
        mean = _judged(training, life) if training.step >= training.steps else float("nan")
        for report in training:
            if report.boundary:
                mean = _judged(training, life)
                break  # Now the checkpoint is written.
        if training.step >= training.steps:
            self.drop()
        return training.step, mean

    def drop(self) -> None:
        """Close what is open."""
        if self._under_way is not None:
            self._under_way[1].close()
        self._under_way = None

    def _opened(self, life: Life) -> Training:
        if self._under_way is not None and self._under_way[0] == life.folder:
            return self._under_way[1]
        self.drop()
        if (life.folder / CONFIG).exists():
            training = resume(life.folder, world=life.world)
        else:
            algorithm = from_json(life.algorithm, known())
            told: dict[str, Any] = {"seed": life.seed, "folder": life.folder, "every": life.every, "keep": 1}
            training = train(algorithm, life.world, life.steps, **told)
        self._under_way = life.folder, training
        return training


def _judged(training: Training, life: Life) -> float:
    """What the policy is worth as it is now, noted in its run."""
    evaluation = evaluate(training.policy, training.world, life.episodes)
    training.note(evaluation)
    return evaluation.mean


_here = Lives()
"""Of a process that is another one's place."""


def _go_on(life: Life) -> tuple[int, float]:
    return _here.go_on(life)
