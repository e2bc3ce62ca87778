"""Hyperparameter search: which settings of an algorithm learn a world best. On Optuna (Akiba et al. 2019).

Where a search looks is declared beside each field of the hyperparameters (`Between`, `Among`). The first trial is what
one has without a search; what follows is drawn by a tree-structured Parzen estimator (Bergstra et al. 2011). A trial
is an ordinary recorded run whose greedy policy is evaluated from time to time; one that lies below the median of what
others had at the same step is given up (Golovin et al. 2017). The best are lived again with other seeds, since the
best of many trials looks better than it is.

All is kept in a database, so that a search that was killed goes on, and its trials where their runs stood.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import math
import numbers
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from inspect import isfunction
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from retorno.algorithms import ALGORITHMS
from retorno.core.counter import Counter
from retorno.core.environment import Environment
from retorno.core.errors import RetornoError
from retorno.core.hyperparameters import Among, Between, as_arrays, declared
from retorno.core.names import named, says_what_is_meant
from retorno.core.policy import Algorithm
from retorno.core.registry import REGISTERED
from retorno.core.waiting import waiting
from retorno.environments.registry import WorldName, as_world
from retorno.ops.intervals import interval95
from retorno.run import checkpoint
from retorno.run.config import to_json
from retorno.run.data import require_lived
from retorno.run.folder import FolderError, locked, read_question, write_atomic
from retorno.run.grid import GridError, UnknownHyperparameter, at, path, replaced, settled, shown
from retorno.run.loop import begun_shapes
from retorno.run.places import Life, Place, elsewhere, places
from retorno.run.stopping import Interrupted, StopSignals
from retorno.run.train import TrainingError, meant_algorithm, positive, require_step_size, train

QUESTION, DATABASE, TABLE = "search.json", "trials.db", "trials.csv"
"""What the folder of a search holds: what is asked, its database, and all trials as a table."""
TRIALS = 50
SHOWN = 3
"""Trials that are told where none are lived again."""
FIRST = 5
"""Trials before any is given up; where all of so many fail, the search does."""
LOOK_SECONDS = 0.5
"""Between two looks for a signal while other processes live trials."""


class TuneError(RetornoError):
    """A search that cannot be, or go on."""


@dataclass(frozen=True)
class Trial:
    """One of the settings that were tried."""

    number: int
    values: dict[str, Any]
    """Of the hyperparameters that are searched, by their names."""
    score: float
    """The mean return at its last evaluation; NaN where there was none."""
    step: int
    """Of that evaluation."""
    state: str
    """complete, pruned (given up), fail, or running."""
    why: str = ""
    """Why it failed."""


@dataclass(frozen=True)
class Question:
    """What is asked of a search."""

    name: str
    """Of the algorithm."""
    world: Any
    called: str
    algorithm: Algorithm
    """What is not searched is as it has it; the first trial is this one."""
    ranges: dict[str, Between | Among]
    steps: int
    seed: int
    evaluations: int
    episodes: int
    asked: dict[str, Any] = field(repr=False)
    """All of it as JSON."""

    @property
    def title(self) -> str:
        """By which databases know it: another question is another title."""
        digest = hashlib.sha256(json.dumps(self.asked, sort_keys=True).encode()).hexdigest()
        return f"{self.name} on {self.called} ({digest[:8]})"

    def algorithm_of(self, values: Mapping[str, Any]) -> Algorithm:
        """The algorithm with these values of what is searched."""
        places = {_place(self.algorithm, name): value for name, value in values.items()}
        return replaced(self.algorithm, places, tuple(REGISTERED.values()))


@dataclass(frozen=True)
class Tuned:
    """What a search found."""

    question: Question
    trials: tuple[Trial, ...]
    """In the order in which they were begun."""
    repeated: dict[int, list[float]]
    """The mean returns of the best trials' settings with other seeds; NaN of one that diverged."""
    importance: dict[str, float]
    """How much the returns of trials differ by each hyperparameter, as shares of 1; the largest first. Empty where too
    few trials are complete to say."""

    @property
    def best(self) -> Trial:
        """The trial whose settings were best with other seeds; where none were lived, the best one.

        Settings that diverged with one of the seeds come after all that never did.

        Raises:
            TuneError: when no trial is complete.
        """
        whole = [each for each in self.trials if each.state == "complete"]
        if not whole:
            raise TuneError("no trial is complete: search longer")
        tried = [each for each in whole if each.number in self.repeated]

        def worth(trial: Trial) -> tuple[int, float]:
            returns = np.array(self.repeated.get(trial.number, [trial.score]))
            diverged = np.isnan(returns)
            return -int(diverged.sum()), float(returns[~diverged].mean()) if not diverged.all() else -math.inf

        return max(tried or whole, key=worth)

    @property
    def algorithm(self) -> Algorithm:
        """With the best settings."""
        return self.question.algorithm_of(self.best.values)

    def save(self, file: str | Path) -> Path:
        """Write all trials as a table, one line each.

        Args:
            file: its path.
        """
        to = Path(file)
        with open(to, "w", newline="", encoding="utf-8") as out:
            table = csv.writer(out)
            table.writerow(["trial", "state", "step", "return", *self.question.ranges, "returns of other seeds"])
            for each in self.trials:
                seeds = " ".join(f"{x:g}" for x in self.repeated.get(each.number, []))
                values = [shown(each.values[name]) if name in each.values else "" for name in self.question.ranges]
                table.writerow([each.number, each.state, each.step, each.score, *values, seeds])
        return to

    def __str__(self) -> str:
        states = [each.state for each in self.trials]
        counts = ", ".join(f"{states.count(state)} {word}" for state, word in STATES.items() if state in states)
        lines = [f"{self.question.name} on {self.question.called}: {len(states)} trials ({counts})"]
        if self.importance:
            lines += ["", "what matters"]
            width = max(map(len, self.importance))
            lines += [f"  {name:<{width}}  {share:4.0%}" for name, share in self.importance.items()]
        lines += ["", "the best, its mean return" + (", and with other seeds" if self.repeated else "")]
        whole = [each for each in self.trials if each.state == "complete"]
        ranked = sorted(whole, key=lambda each: (each.number not in self.repeated, -each.score))
        for each in ranked[: len(self.repeated) or SHOWN]:
            score = f"{each.score:.2f}{self._told_repeated(each)}"
            lines.append(f"  trial {each.number:<3} {score}  {_told(each.values)}")
        return "\n".join(lines)

    def _told_repeated(self, trial: Trial) -> str:
        returns = self.repeated.get(trial.number)
        if not returns:
            return ""
        if diverged := int(np.isnan(returns).sum()):
            return f", {diverged} of {len(returns)} diverged"
        told = f", {np.mean(returns):.2f}"
        if len(returns) > 1:
            low, high = interval95(np.array(returns))
            told += f" [{low:.2f}, {high:.2f}]"
        return told


STATES = {"complete": "complete", "pruned": "given up", "fail": "failed", "running": "under way"}


@says_what_is_meant
def tune(
    algorithm: Any,
    world: Any,
    trials: int = TRIALS,
    *,
    over: Mapping[str, Any] | None = None,
    steps: int | None = None,
    seed: int = 0,
    seeds: int = 5,
    best: int = 3,
    evaluations: int = 10,
    episodes: int = 20,
    parallel: int = 1,
    folder: str | Path | None = None,
    storage: str | None = None,
    said: Callable[[str], Any] | None = None,
) -> Tuned:
    """Search for the settings with which an algorithm learns a world best.

    Args:
        algorithm: it, its class or its name; of a name, the published settings for the world are where it begins.
        world: as for `train`; its name, where trials are lived in other processes.
        trials: how many settings are tried; more than last time goes on.
        over: where to look instead of what the algorithm's fields declare: `Between(low, high)` or a list by the
            hyperparameter's name, in anybody's spelling; one value alone is not searched.
        steps: the budget of each trial. By default the published one, else 100,000.
        seed: of the trials, and of what is drawn.
        seeds: with so many others the best settings are lived again; 0 for none.
        best: so many settings are.
        evaluations: of each trial's greedy policy, evenly over its steps; the last one counts.
        episodes: of each evaluation.
        parallel: so many trials at a time, each in a process of its own (on Ray, where it is installed).
        folder: where runs and the database are kept: the same call goes on with what lies there. None for one that
            goes with the process.
        storage: the URL of a database in its place, as postgresql://…: searches on several machines share trials.
        said: is told of each trial that ends.

    Raises:
        TuneError, GridError, UnknownHyperparameter: for what cannot be searched.
        TrainingError, SpaceError, ValueError: where the algorithm cannot learn this world.
        Interrupted: when a signal came; the same call goes on.

    >>> found = tune("q_learning", "student", 2, over={"step_size": Between(0.1, 1.0)}, steps=500, seeds=0)
    >>> len(found.trials), list(found.best.values)
    (2, ['exploration.epsilon', 'step_size'])
    """
    question = ask(algorithm, world, over, steps, seed, evaluations, episodes)
    counts = {"trials": positive("trials", trials, "it is how many settings are tried")}
    if folder is None:
        import tempfile

        with tempfile.TemporaryDirectory(prefix="retorno-search-") as made:
            return answer_in(Path(made), question, counts["trials"], seeds, best, parallel, storage, said)
    return answer_in(Path(folder).expanduser(), question, counts["trials"], seeds, best, parallel, storage, said)


def ask(
    algorithm: Any,
    world: Any,
    over: Mapping[str, Any] | None = None,
    steps: int | None = None,
    seed: int = 0,
    evaluations: int = 10,
    episodes: int = 20,
) -> Question:
    """Look at all that is asked, and refuse what cannot be; nothing is lived. Arguments as of `tune`.

    Raises:
        TuneError, GridError, UnknownHyperparameter, TrainingError, ValueError: as `tune`.
    """
    known = WorldName.of(world)
    made, usual = meant_algorithm(algorithm, known.name if known else world)
    require_lived(made, world, "a search")
    name = named(algorithm, ALGORITHMS) if isinstance(algorithm, str) else type(made).__name__
    base, ranges = _where_to_look(name, made, over or {})
    if not ranges:
        raise TuneError(
            f"{name} declares no ranges, and none are given: say where to look, as in over={{'step_size': "
            "Between(0.01, 1)}, or --over step_size=.01..1"
        )
    budget = positive("steps", usual if steps is None else steps, "it is a number of environment steps")
    evaluations = min(positive("evaluations", evaluations, "it is how many there are of each trial"), budget)
    episodes = positive("episodes", episodes, "it is how many each evaluation lives")
    opened = as_world(world)
    if isinstance(opened, Environment):  # What cannot learn here is refused now.
        begun_shapes(as_arrays(base), opened, None, jnp.uint32(seed), Counter.of(budget), base.num_envs)
    else:
        train(base, opened, budget, seed=seed).close()
    called = known.name if known else str(getattr(opened, "name", None) or type(opened).__name__)
    asked = {
        "algorithm": to_json(base),
        "world": known.as_json() if known else {"name": None, "description": repr(opened)},
        "ranges": {key: _as_json(each) for key, each in ranges.items()},
        "steps": budget,
        "seed": seed,
        "evaluations": evaluations,
        "episodes": episodes,
    }
    return Question(name, known or world, called, base, ranges, budget, seed, evaluations, episodes, asked)


def _where_to_look(name: str, made: Any, over: Mapping[str, Any]) -> tuple[Any, dict[str, Between | Among]]:
    """The settings to begin with, and the ranges by hyperparameters' names: these settings always lie in them."""
    several, fixed = {}, {}
    for key, told in over.items():
        match told:
            case Between() | Among():
                several[key] = told
            case list() | tuple() | range() | np.ndarray() if len(told) > 1:
                several[key] = Among(tuple(_plain(x) for x in told))
            case list() | np.ndarray() if len(told) == 0:
                raise GridError(f"{key}: nothing to choose from; give some, as in {key}=[0.1, 0.2]")
            case _:
                fixed[key] = _plain(told[0] if isinstance(told, list | np.ndarray) else told)
    made = settled({name: made}, fixed, REGISTERED.values())[name]
    places = declared(made)
    if isfunction(maker := ALGORITHMS.get(name)):  # A preset stays what it is.
        plain: Any = type(made)()
        kept = {place for place in places if len(place) == 1 and at(maker(), place) != at(plain, place)}
        kept |= {(name,) for name in getattr(made, "without_effect", ())}
        places = {place: told for place, told in places.items() if place not in kept}
    for key in fixed:
        places.pop(_place(made, key), None)
    for key, told in several.items():
        if (place := path(made, key)) is None:
            raise UnknownHyperparameter({name: made}, key)
        places.pop(place, None)
        places[place] = told
    checked = {".".join(place).strip("_"): _checked(made, place, told) for place, told in places.items()}
    return made, checked


def _checked(made: Any, place: tuple[str, ...], told: Between | Among) -> Between | Among:
    """A range that can be searched, with the present value in it.

    Raises:
        GridError: when it is empty, or its values are none for this hyperparameter.
    """
    name, now = ".".join(place).strip("_"), at(made, place)
    parts = tuple(REGISTERED.values())
    ends = told.values if isinstance(told, Among) else (told.low, told.high)
    if isinstance(told, Between):
        if not all(isinstance(x, numbers.Real) and math.isfinite(x) for x in ends) or not told.low < told.high:
            raise GridError(f"{name}: nothing lies between {told.low!r} and {told.high!r}: give the smaller one first")
        if told.log and told.low <= 0:
            raise GridError(f"{name}: orders of magnitude begin above 0, got {told.low!r}: leave out log")
        if not isinstance(now, int | float | None) or isinstance(now, bool):
            raise GridError(f"{name} is {now!r} and no number: give what to choose from, as in {name}=a,b")
    for value in ends:
        try:
            require_step_size(replaced(made, {place: value}, parts))
        except ValueError as error:
            raise GridError(f"{name}: {error}") from None
    if isinstance(told, Among):
        labels = [shown(x) for x in told.values]
        if twice := {each for each in labels if labels.count(each) > 1}:
            raise GridError(f"{name}: {', '.join(sorted(twice))} is given twice")
        present = _label(now, parts)
        return told if present is None or present in labels else Among((*told.values, now))
    whole = isinstance(now, int) or (now is None and all(isinstance(x, int) for x in ends))
    low, high = (int(told.low), int(told.high)) if whole else (float(told.low), float(told.high))
    if isinstance(now, int | float) and (now > 0 or not told.log) and math.isfinite(now):
        low, high = min(low, now), max(high, now)
    return Between(low, high, told.log)


def _label(now: Any, parts: Sequence[Mapping[str, Any]]) -> str | None:
    """What a choice is called that is there already; None for a part that is chosen by its name, or nothing."""
    if now is None or any(type(now) in kinds.values() for kinds in parts):
        return None
    return shown(getattr(now, "name", now))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return tuple(value) if isinstance(value, list) else value


def _place(made: Any, name: str) -> tuple[str, ...]:
    place = path(made, name)
    assert place is not None
    return place


def _as_json(told: Between | Among) -> Any:
    if isinstance(told, Among):
        return [to_json(x) for x in told.values]
    return {"low": told.low, "high": told.high, "log": told.log}


def _told(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={shown(value)}" for name, value in values.items())


# The search


def answer_in(
    folder: Path,
    question: Question,
    trials: int,
    seeds: int = 5,
    best: int = 3,
    parallel: int = 1,
    storage: str | None = None,
    said: Callable[[str], Any] | None = None,
) -> Tuned:
    """Search in a folder: begun, gone on with, or read where it is over. Arguments as of `tune`.

    Raises:
        FolderError: when the folder holds another search, or cannot be used.
        TuneError: when the database cannot be used, or the first trials all fail.
        Interrupted: when a signal came; everything is saved.
    """
    parallel = positive("parallel", parallel, "it is how many trials are lived at a time")
    if parallel > 1 and not isinstance(question.world, WorldName):
        raise TuneError(f"{question.called} was made in Python, so its trials are lived in this process: parallel=1")
    text = json.dumps(question.asked, indent=2, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"{folder} cannot be made: {error.strerror}; choose another folder") from error
    if (folder / QUESTION).exists() and read_question(folder / QUESTION, "search") != json.loads(text):
        raise FolderError(f"{folder} holds another search: choose another folder, or ask what {QUESTION} in it says")
    with locked(folder):
        if not (folder / QUESTION).exists():
            if any(each.name != "lock" for each in folder.iterdir()):
                raise FolderError(f"{folder} holds something else: choose another folder")
            write_atomic(folder / QUESTION, text)
        search = Search(folder, question, storage, said)
        with StopSignals() as stop:
            search.live(trials, places(min(parallel, trials)), stop)
            if seeds and best:
                search.repeat(seeds, best, places(min(parallel, seeds * best)), stop)
        found = search.found()
        found.save(folder / TABLE)
        return found


class Search:
    """A search under way: its trials are in the database, their runs in its folder."""

    def __init__(
        self, folder: Path, question: Question, storage: str | None, said: Callable[[str], Any] | None = None
    ) -> None:
        self.folder, self.question, self.own = folder, question, storage is None
        self._said = said or (lambda line: None)
        with waiting("opening the database of trials"):
            self._optuna, self.study = opened(question, storage or f"sqlite:///{folder / DATABASE}")

    def live(self, trials: int, free: list[Place], stop: StopSignals) -> None:
        """Until so many trials are over.

        Raises:
            TuneError, Interrupted: as `answer_in`.
        """
        under_way = iter([each for each in self.study.get_trials(deepcopy=False) if self._is_ours(each)])

        def next_one() -> tuple[Any, Life] | None:
            left = next(under_way, None)
            if left is None and self._begun() >= trials:
                return None
            return self._begin(None if left is None else left._trial_id)

        self._share(free, next_one, self._judge, stop)

    def repeat(self, seeds: int, best: int, free: list[Place], stop: StopSignals) -> None:
        """Live the best settings with other seeds.

        Raises:
            Interrupted: as `answer_in`.
        """
        whole = [each for each in self._trials() if each.state == "complete"]
        chosen = sorted(whole, key=lambda each: -each.score)[:best]
        known = self._repeated()
        todo = iter(
            (each, other)
            for each in chosen
            for other in range(self.question.seed + 1, self.question.seed + seeds + 1)
            if other not in known.get(each.number, {})
        )

        def next_one() -> tuple[Any, Life] | None:
            found = next(todo, None)
            if found is None:
                return None
            trial, other = found
            life = self._life(f"trial-{trial.number}-seed-{other}", trial.values, other)
            return (trial.number, other), replace(life, every=self.question.steps)

        def judge(which: Any, life: Life, told: Future[tuple[int, float]]) -> bool:
            error = told.exception()
            diverged = isinstance(error, TrainingError)
            if isinstance(error, RetornoError | ValueError | BrokenProcessPool) and not diverged:
                raise TuneError(f"trial {which[0]} with seed {which[1]} failed: {error}") from error
            mean = None if diverged else told.result()[1]
            self.study.set_user_attr(f"repeated {which[0]} {which[1]}", mean)
            ended = " ".join(str(error).split()) if mean is None else f"{mean:.2f}"
            self._said(f"trial {which[0]} with seed {which[1]}: {ended}")
            _tidy(life.folder)
            return False

        self._share(free, next_one, judge, stop)

    def found(self) -> Tuned:
        """What is known by now."""
        repeated = {number: list(told.values()) for number, told in self._repeated().items()}
        return Tuned(self.question, tuple(self._trials()), repeated, self._importance())

    def _share(
        self,
        free: list[Place],
        next_one: Callable[[], tuple[Any, Life] | None],
        judge: Callable[[Any, Life, Future[tuple[int, float]]], bool],
        stop: StopSignals,
    ) -> None:
        """Let every place live one thing after another, for as long as there is one."""
        every = list(free)
        under_way: dict[Future[tuple[int, float]], tuple[Place, Any, Life]] = {}
        try:
            while True:
                while free and not stop.received and (found := next_one()) is not None:
                    place = free.pop()
                    under_way[place.go_on(found[1])] = (place, *found)
                self._look(stop, under_way)
                if not under_way:
                    return
                over, _ = wait(under_way, LOOK_SECONDS, FIRST_COMPLETED)
                for told in over:
                    place, trial, life = under_way.pop(told)
                    if isinstance(error := told.exception(), Interrupted):
                        self._interrupted(error.number)
                    if judge(trial, life, told):
                        self._look(stop, under_way)
                        under_way[place.go_on(life)] = (place, trial, life)
                    elif isinstance(error, BrokenProcessPool):
                        place.close()
                        every.remove(place)
                        fresh = elsewhere()
                        every.append(fresh)
                        free.append(fresh)
                    else:
                        free.append(place)
        finally:
            for place in every:
                place.close()

    def _look(self, stop: StopSignals, under_way: Mapping[Any, Any]) -> None:
        if stop.received:
            self._interrupted(stop.received)

    def _interrupted(self, number: int) -> None:
        raise Interrupted(
            f"stopped by {signal.Signals(number).name}, with every trial kept in {self.folder}; the same call goes on",
            number,
        )

    def _begun(self) -> int:
        """How many trials there are; one that waits to be the first is none yet."""
        waits = self._optuna.trial.TrialState.WAITING
        return sum(each.state is not waits for each in self.study.get_trials(deepcopy=False))

    def _begin(self, left: int | None) -> tuple[Any, Life]:
        """A fresh trial, or one that a process had under way that was killed."""
        # A search that goes on draws what it would have drawn: each trial's draws follow from seed and number.
        state = np.random.SeedSequence((self.question.seed, self._begun())).generate_state(1)
        self.study.sampler = self._optuna.samplers.TPESampler(seed=int(state[0]), multivariate=True)
        trial = self.study.ask() if left is None else self._optuna.trial.Trial(self.study, left)
        values = {name: self._drawn(trial, name, told) for name, told in self.question.ranges.items()}
        trial.set_user_attr("folder", str(self.folder.resolve()))
        return trial, self._life(f"trial-{trial.number}", values, self.question.seed)

    def _drawn(self, trial: Any, name: str, told: Between | Among) -> Any:
        if isinstance(told, Among):
            labels = [shown(x) for x in told.values]
            return told.values[labels.index(trial.suggest_categorical(name, labels))]
        draw = trial.suggest_int if isinstance(told.low, int) else trial.suggest_float
        return draw(name, told.low, told.high, log=told.log)

    def _life(self, name: str, values: Mapping[str, Any], seed: int) -> Life:
        asked = self.question
        every = -(-asked.steps // asked.evaluations)
        algorithm = asked.algorithm_of(values)
        return Life(self.folder / name, to_json(algorithm), asked.world, seed, asked.steps, every, asked.episodes)

    def _judge(self, trial: Any, life: Life, told: Future[tuple[int, float]]) -> bool:
        """What becomes of a trial after an evaluation: whether it goes on."""
        states, state = self._optuna.trial.TrialState, None
        mean, error = math.nan, told.exception()
        if isinstance(error, TrainingError):  # It diverged: settings to avoid.
            state = states.PRUNED
        elif isinstance(error, RetornoError | ValueError | BrokenProcessPool):
            state = states.FAIL
        elif error is not None:
            raise error
        else:
            step, mean = told.result()
            trial.report(mean, step)
            if step >= life.steps:
                state = states.COMPLETE
            elif trial.should_prune():
                state = states.PRUNED
        if state is None:
            return True
        if error is not None:
            trial.set_user_attr("why", " ".join(str(error).split()) or type(error).__name__)
        self.study.tell(trial, mean if state is states.COMPLETE else None, state)
        _tidy(life.folder)
        told_all = self._trials()
        now = next(each for each in told_all if each.number == trial.number)
        whole = [each for each in told_all if each.state == "complete"]
        ahead = max(whole, key=lambda each: each.score, default=None)
        told_best = "" if ahead is None else f"; the best is {ahead.score:.2f} of trial {ahead.number}"
        ended = now.why or f"{STATES[now.state]} at step {now.step:,}, {now.score:.2f}"
        self._said(f"trial {now.number}: {ended}{told_best}  {_told(now.values)}")
        if len(told_all) >= FIRST and all(each.state == "fail" for each in told_all):
            raise TuneError(f"all of the first {FIRST} trials failed; the last: {now.why}")
        return False

    def _is_ours(self, trial: Any) -> bool:
        """Whether a trial was under way here: nobody else lives in this folder, which is locked."""
        running = trial.state is self._optuna.trial.TrialState.RUNNING
        return running and trial.user_attrs.get("folder", self.own and str(self.folder.resolve())) == str(
            self.folder.resolve()
        )

    def _trials(self) -> list[Trial]:
        return [self._read(each) for each in self.study.get_trials(deepcopy=False)]

    def _read(self, given: Any) -> Trial:
        values = {}
        for name, told in self.question.ranges.items():
            if name in given.params:
                drawn = given.params[name]
                labels = [shown(x) for x in told.values] if isinstance(told, Among) else []
                values[name] = told.values[labels.index(drawn)] if isinstance(told, Among) else drawn
        step = given.last_step or 0
        score = given.intermediate_values.get(step, math.nan)
        why = given.user_attrs.get("why", "")
        return Trial(given.number, values, score, step, given.state.name.lower(), why)

    def _repeated(self) -> dict[int, dict[int, float]]:
        found: dict[int, dict[int, float]] = {}
        for key, mean in sorted(self.study.user_attrs.items()):
            if key.startswith("repeated "):
                number, other = map(int, key.split()[1:])
                found.setdefault(number, {})[other] = math.nan if mean is None else mean
        return found

    def _importance(self) -> dict[str, float]:
        """By PED-ANOVA (Watanabe, Bansal & Hutter 2023): what the best tenth of all trials have in common.

        Those that were given up count with what they had: of complete ones alone nobody sees what is to be avoided.
        """
        states, library = self._optuna.trial.TrialState, self._optuna
        tried = [each for each in self.study.get_trials(deepcopy=False) if each.intermediate_values]
        if len(tried) < 2 * FIRST:
            return {}
        whole = library.create_study(direction="maximize")
        for each in tried:
            value = each.intermediate_values[each.last_step]
            told = {"params": each.params, "distributions": each.distributions}
            whole.add_trial(library.create_trial(state=states.COMPLETE, value=value, **told))
        if len({each.value for each in whole.trials}) < 2:
            return {}
        judge = library.importance.PedAnovaImportanceEvaluator(evaluate_on_local=False)
        shares = library.importance.get_param_importances(whole, evaluator=judge)
        return (
            {name: float(share) for name, share in shares.items()} if all(map(math.isfinite, shares.values())) else {}
        )


def opened(question: Question, url: str) -> tuple[Any, Any]:
    """Optuna, and the study of a question in a database; begun with the settings that are there without a search.

    Raises:
        TuneError: when Optuna is missing, or the database cannot be used.
    """
    try:
        library: Any = importlib.import_module("optuna")
    except ImportError as error:
        raise TuneError(f"searching needs {error.name}: pip install 'retorno[tune]'") from error
    library.logging.set_verbosity(library.logging.ERROR)
    warnings.filterwarnings("ignore", category=library.exceptions.ExperimentalWarning)
    if url.startswith("postgresql://"):
        url = url.replace("://", "+psycopg://", 1)
    every = -(-question.steps // question.evaluations)
    pruner = library.pruners.MedianPruner(FIRST, n_warmup_steps=every)
    known: dict[str, Any] = {"direction": "maximize", "load_if_exists": True, "pruner": pruner}
    try:
        study = library.create_study(storage=url, study_name=question.title, **known)
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(dict(_present(question)), skip_if_exists=True)
    except Exception as error:  # Whatever a driver of a database raises.
        told = " ".join(str(error).split("[SQL")[0].split())[:300]
        raise TuneError(f"{url.partition('://')[0]}: the database cannot be used: {told}") from error
    return library, study


def _present(question: Question) -> Iterator[tuple[str, Any]]:
    """What is searched as it is without a search, where it has a value."""
    for name, told in question.ranges.items():
        now = at(question.algorithm, _place(question.algorithm, name))
        if isinstance(told, Among):
            label = _label(now, tuple(REGISTERED.values()))
            labels = [shown(x) for x in told.values]
            if label is None and now is not None:
                label = next((kind for kinds in REGISTERED.values() for kind in kinds if type(now) is kinds[kind]), "")
            if label in labels:
                yield name, label
        elif now is not None and told.low <= now <= told.high:
            yield name, now


def _tidy(folder: Path) -> None:
    """What is only needed to go on is removed; the policy and its metrics stay."""
    shutil.rmtree(folder / checkpoint.CHECKPOINTS, ignore_errors=True)
