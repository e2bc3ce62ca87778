"""What an algorithm can do, as the behaviour suite scores it (Osband et al. 2020).

Each experiment asks one question (does it explore? does it remember? does noise disturb it?) in some twenty settings.
An agent lives each setting in one environment from its first episode to as many as the experiment says, and what it was
paid while it learnt is scored by the package's own functions: 0 for what chance gets, 1 for the best that can be.
"""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from retorno.core.errors import RetornoError, WorldError
from retorno.core.policy import Algorithm
from retorno.environments.hosted.bsuite import Experiment, experiments, package, settings_of
from retorno.environments.own_code import named_files
from retorno.run.config import from_json, to_json
from retorno.run.folder import read_question, write_atomic
from retorno.run.known import known
from retorno.run.processes import workers
from retorno.run.train import train

QUESTION = "suite.json"
"""What the folder of a suite holds beside what was lived in each setting."""
LONGEST = {"cartpole": 1_000, "mountain_car": 1_000}
"""Steps of an episode, where they depend on what is done: the budget over which schedules run is made of these."""


class SuiteError(RetornoError):
    """A suite that cannot be, or go on."""


@dataclass(frozen=True)
class Scored:
    """An experiment's score."""

    experiment: str
    score: float
    """0 for what chance gets, 1 for the best that can be. NaN where nothing was lived."""
    tags: tuple[str, ...]
    """What it asks for."""
    lived: int
    settings: int
    """Of which so many were lived."""
    why: str = ""
    """Why none was."""


@dataclass(frozen=True)
class Suite:
    """What a suite found."""

    algorithm: str
    scores: tuple[Scored, ...]

    @property
    def by_tag(self) -> dict[str, float]:
        """The mean score of the experiments that ask for each thing."""
        known = [each for each in self.scores if not math.isnan(each.score)]
        tags = sorted({tag for each in known for tag in each.tags})
        return {tag: float(np.mean([each.score for each in known if tag in each.tags])) for tag in tags}

    def __str__(self) -> str:
        lines = [f"{'experiment':<22}{'score':>6}   settings   asks for"]
        for each in self.scores:
            score = (each.why and "–") or f"{each.score:.2f}"
            told = each.why or ", ".join(tag.replace("_", " ") for tag in each.tags)
            lines.append(f"{each.experiment:<22}{score:>6}   {f'{each.lived} of {each.settings}':<8}   {told}")
        lines += ["", f"{self.algorithm}, by what is asked for"]
        lines += [f"  {tag.replace('_', ' '):<20}{score:>6.2f}" for tag, score in self.by_tag.items()]
        return "\n".join(lines)


def suite(
    name: str,
    algorithm: Algorithm,
    folder: str | Path,
    chosen: Sequence[str] = (),
    settings: int | None = None,
    seed: int = 0,
    said: Callable[[str], Any] = lambda line: None,
    parallel: int = 1,
) -> Suite:
    """Live the settings that were not lived before, and score them.

    What a setting was paid is kept when it is over, so that a suite that was killed goes on with the settings that were
    under way; several processes may share a folder, each with experiments of its own.

    Args:
        name: of the algorithm.
        algorithm: it acts in one environment, whatever its `num_envs`.
        folder: where what was lived is kept.
        chosen: the experiments; all of them where none is named.
        settings: of each experiment the first so many, spread evenly; None for all.
        seed: of all runs.
        said: is told, one line each, what was lived.
        parallel: so many settings at a time, each in a process of its own; 1 for this process.

    Raises:
        UnknownNameError: for an experiment that there is not.
        SuiteError: when the folder holds another suite.
        WorldError: when the package is not installed.
    """
    algorithm = dataclasses.replace(algorithm, num_envs=1) if hasattr(algorithm, "num_envs") else algorithm  # pyright: ignore[reportArgumentType, reportCallIssue]
    folder, asked = Path(folder).expanduser(), {"name": name, "algorithm": to_json(algorithm), "seed": seed}
    lived = {each: _spread(settings_of(each), settings) for each in chosen or experiments()}
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / QUESTION).exists():
        write_atomic(folder / QUESTION, json.dumps(asked, indent=1))
    elif read_question(folder / QUESTION, "suite") != json.loads(json.dumps(asked)):
        raise SuiteError(f"{folder} holds the suite of another algorithm, seed or settings: choose another folder")
    why: dict[str, str] = {}
    left = [(experiment, each) for experiment, ids in lived.items() for each in ids if not _file(folder, each).exists()]

    def keep(experiment: str, setting: str, life: Callable[[], list[dict[str, float]]]) -> None:
        try:
            rows = life()
        except WorldError as error:
            why[experiment] = str(error)
        else:
            write_atomic(_file(folder, setting), json.dumps(rows))
            last = rows[-1]
            said(f"{setting}: {last['episode']:,.0f} episodes, their returns add up to {last['total_return']:,.4g}")

    if parallel == 1:
        for experiment, setting in left:
            if experiment not in why:
                keep(experiment, setting, partial(live, algorithm, setting, seed))
    else:
        pool = workers(parallel, named_files())
        try:
            under_way = {pool.submit(_live, asked["algorithm"], each[1], seed): each for each in left}
            for over in as_completed(under_way):
                keep(*under_way[over], over.result)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return Suite(name, tuple(_scored(folder, experiment, why.get(experiment, "")) for experiment in lived))


def _spread(ids: Sequence[str], count: int | None) -> list[str]:
    """So many of an experiment's settings, evenly over all of them: they go from easy to hard."""
    count = min(len(ids) if count is None else count, len(ids))
    return [str(ids[round(i)]) for i in np.linspace(0, len(ids) - 1, count)]


def _file(folder: Path, setting: str) -> Path:
    return folder / f"{setting.replace('/', '-')}.json"


def live(algorithm: Algorithm, setting: str, seed: int) -> list[dict[str, float]]:
    """All episodes of a setting: what its score reads.

    Args:
        algorithm: acts in one environment.
        setting: its id.
        seed: of the run.
    """
    env = Experiment(setting)
    with train(algorithm, env, env.episodes * longest(setting), seed=seed) as training:
        for _ in training:
            if env.over:
                break
    return [row for row in env.rows if row["episode"] <= env.episodes]


def _live(algorithm: Any, setting: str, seed: int) -> list[dict[str, float]]:
    """`live` in another process, which is told the algorithm's settings as JSON."""
    return live(from_json(algorithm, known()), setting, seed)


def longest(setting: str) -> int:
    """The steps of a setting's longest episode."""
    known = next((steps for name, steps in LONGEST.items() if setting.startswith(name)), None)
    if known is not None:
        return known
    env, steps, ended = Experiment(setting), 0, False
    env.reset(seed=0)
    while not ended:
        _, _, ended, _, _ = env.step(0)
        steps += 1
    return steps


FORGIVEN = 100
"""Episodes that may be lost in a deep sea beside those that dithering would need."""


def beats_dithering(rows: Any) -> float:
    """In what share of deep seas the treasure is found in fewer episodes than by dithering, which needs 2^N of them.

    It is found when less than .9 of all episodes were without it. This is the package's own rule, whose code calls what
    pandas does not have any more.

    Args:
        rows: a table with the columns bsuite_id, size, episode and total_bad_episodes.
    """
    found = []
    for _, sea in rows.groupby("bsuite_id"):
        when = sea.episode[sea.total_bad_episodes < 0.9 * sea.episode]
        found.append(bool(len(when)) and when.min() < 2.0 ** sea["size"].iloc[0] + FORGIVEN)
    return float(np.mean(found))


def _scored(folder: Path, experiment: str, why: str) -> Scored:
    summary, ids = package("bsuite.experiments.summary_analysis").BSUITE_INFO[experiment], settings_of(experiment)
    score_of = beats_dithering if experiment.startswith("deep_sea") else summary.score
    read: Mapping[str, list[dict[str, float]]] = {
        each: json.loads(file.read_text()) for each in ids if (file := _file(folder, each)).exists()
    }
    score = math.nan
    if read:
        pandas, tools = package("pandas"), package("bsuite.logging.logging_utils")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = pandas.DataFrame([{"bsuite_id": each, **row} for each, rows in read.items() for row in rows])
            score = float(score_of(tools.join_metadata(rows)))
    return Scored(experiment, score, tuple(summary.tags), len(read), len(ids), why if not read else "")
