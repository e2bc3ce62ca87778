"""A study: algorithms with many settings and many seeds in one world, and how each learns, beside the exact optimum.

Settings that differ in numbers alone are lanes of one compiled program (`retorno.run.probe`), which is lived a stretch
at a time: between two stretches what was lived is added up by points, told, and saved, so that a study that was killed
goes on where it stood and finds the same numbers.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from retorno import bellman
from retorno.algorithms import ALGORITHMS
from retorno.core import constants
from retorno.core.counter import Counter
from retorno.core.environment import Environment, HostedWorld, World
from retorno.core.errors import RetornoError, WorldError
from retorno.core.hyperparameters import as_arrays
from retorno.core.mdp import MDP
from retorno.core.names import did_you_mean, named, says_what_is_meant
from retorno.core.notebook import as_table
from retorno.core.policy import Algorithm
from retorno.core.registry import REGISTERED
from retorno.core.runtime import IN_HASTE, prepare
from retorno.core.time_step import Trajectory
from retorno.environments.registry import WorldName, as_model, as_world
from retorno.ops.intervals import interval95
from retorno.run import checkpoint
from retorno.run.config import from_json, to_json
from retorno.run.data import require_lived
from retorno.run.folder import CONFIG, QUESTION, FolderError, locked, read_question, write_atomic
from retorno.run.grid import Setting, grid, settled, shown
from retorno.run.hosted_lives import live
from retorno.run.known import known
from retorno.run.loop import Run, all_finite, begin_native, begun_shapes, seeds_batch
from retorno.run.oracle import observes_states
from retorno.run.prediction import Prediction, prediction, predicts
from retorno.run.probe import Lives
from retorno.run.progress import Progress, telling
from retorno.run.stopping import Interrupted, StopSignals
from retorno.run.tally import Points, Tally
from retorno.run.train import USUAL_STEPS, meant_algorithm, positive, require_step_size
from retorno.run.training import Training

MEASURES = {
    "return": "sum of rewards in an episode",
    "regret": "what that lacks of the exact optimum",
    "length": "steps of an episode",
    "reward": "reward of a step",
    "rms": "error of the learnt values: root of the mean square over states",
}
"""What can be asked of each point."""
POINTS = 100
LONG_EPISODE = 1000
"""Steps that a seed may live for each episode asked for, where no budget is given."""
MOST_BYTES = 2**30
"""Of what is lived side by side."""
FEWEST_SEEN, MOST_SEEN = 2**19, 2**22
"""Interactions that come out of one stretch."""
SAVE_SECONDS = 10.0
RESULTS, TABLE = "results.safetensors", "results.csv"


class StudyError(RetornoError):
    """A study that cannot be begun, or gone on with."""


@dataclass(frozen=True, eq=False, repr=False)
class Study:
    """What was found: M settings with S seeds each, at P points."""

    world: str
    measure: str
    axis: str
    """What the points count: "episode" or "step"."""
    x: Int[np.ndarray, " P"]
    """The last episode, or step, of each."""
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]
    values: Float[np.ndarray, "M S P"]
    """The mean over each point; NaN where no episode ended in it, and from where a seed diverged."""
    diverged: Int[np.ndarray, "M S"]
    """The step up to which a seed was seen to be finite; −1 where it stayed so."""
    optimum: float | None
    """The exact optimum of what is measured, where the world is solvable."""

    @property
    def swept(self) -> tuple[str, ...]:
        """The hyperparameters that were swept."""
        return tuple(dict.fromkeys(name for setting in self.settings for name in setting.values))

    def seed_means(self, share: float = 1.0) -> Float[np.ndarray, "M S"]:
        """Each seed's mean over the last `share` of its points; NaN for one that diverged, or has none."""
        kept = self.values[:, :, -max(1, round(share * len(self.x))) :]
        there = np.isfinite(kept)
        with np.errstate(invalid="ignore"):
            means = np.where(there, kept, 0).sum(2) / there.sum(2)
        return np.where(self.diverged < 0, means, np.nan)

    def rows(self) -> Iterator[dict[str, Any]]:
        """One for each setting, seed and point: algorithm, swept hyperparameters, seed, episode or step, measure."""
        for m, setting in enumerate(self.settings):
            swept = {name: setting.values.get(name) for name in self.swept}
            for (s, seed), (p, x) in itertools.product(enumerate(self.seeds), enumerate(self.x.tolist())):
                value = float(self.values[m, s, p])
                told = None if math.isnan(value) else value
                yield {"algorithm": setting.name, **swept, "seed": seed, self.axis: x, self.measure: told}

    def save(self, path: str | Path) -> Path:
        """Write `rows` as CSV; what was not found is an empty cell.

        Raises:
            StudyError: when the name does not end in .csv.
            FolderError: when the disk refuses.
        """
        path = Path(path)
        if path.suffix.lower() != ".csv":
            raise StudyError(f"a study is written as .csv, got {path.name!r}; retorno.plots.study(…) draws it")
        written = io.StringIO()
        writer = csv.writer(written, lineterminator="\n")
        writer.writerow(["algorithm", *self.swept, "seed", self.axis, self.measure])
        for row in self.rows():
            cells = (f"{x:.9g}" if isinstance(x, float) else "" if x is None else x for x in row.values())
            writer.writerow(cells)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, written.getvalue())
        return path

    def summary(self) -> tuple[list[str], list[list[str]]]:
        """A head and a line for each setting: means over seeds, of the whole and of the last tenth, with intervals."""
        head = ["algorithm", *self.swept, "mean", "95% interval", "last tenth", "95% interval", ""]
        lines = []
        for m, setting in enumerate(self.settings):
            cells = [setting.name, *(shown(setting.values.get(name, "")) for name in self.swept)]
            for share in (1.0, 0.1):
                known = self.seed_means(share)[m]
                known = known[np.isfinite(known)]
                low, high = interval95(known)
                cells += [f"{known.mean():.6g}" if len(known) else "–"]
                cells += [f"{low:.6g} to {high:.6g}" if len(known) > 1 else ""]
            lines.append([*cells, "; ".join(self._warnings(m))])
        return head, lines

    def as_row(self) -> dict[str, Any]:
        """What `--json` holds: of each setting the mean of the whole and of the last tenth, with intervals."""
        told = []
        for m, setting in enumerate(self.settings):
            values = {k: x if isinstance(x, bool | int | float) else shown(x) for k, x in setting.values.items()}
            line: dict[str, Any] = {"algorithm": setting.name, "values": values}
            for name, share in (("", 1.0), ("last_", 0.1)):
                known = self.seed_means(share)[m]
                known = known[np.isfinite(known)]
                mean = float(known.mean()) if len(known) else None
                line |= {f"{name}mean": mean, f"{name}ci95": list(interval95(known))}
            told.append({**line, "diverged": int((self.diverged[m] >= 0).sum())})
        return {
            "world": self.world,
            "measure": self.measure,
            "axis": self.axis,
            "total": int(self.x[-1]),
            "seeds": len(self.seeds),
            "optimum": self.optimum,
            "settings": told,
        }

    def _warnings(self, m: int) -> Iterator[str]:
        if lost := int((self.diverged[m] >= 0).sum()):
            yield f"diverged in {lost} of {len(self.seeds)} seeds"
        short = int((np.isnan(self.values[m, :, -1]) & (self.diverged[m] < 0)).sum())
        if short and self.axis == "episode":
            yield f"{short} of {len(self.seeds)} seeds lived fewer episodes"

    def _title(self) -> str:
        best = "" if self.optimum is None else f"; the exact optimum is {self.optimum:.6g}"
        seeds = f"{len(self.seeds)} seed{'s' * (len(self.seeds) != 1)}"
        what = f"{self.measure} ({MEASURES[self.measure]}) on {self.world}"
        return f"{what}: {self.x[-1]:,} {self.axis}s, {seeds} each{best}"

    def __repr__(self) -> str:
        return f"<study of {len(self.settings)} settings: {self._title()}>"

    def __str__(self) -> str:
        head, lines = self.summary()
        table = [head, *lines]
        numbers = range(1 + len(self.swept), len(head) - 1)
        wide = [max(len(line[i]) for line in table) for i in range(len(head))]
        told = [
            "  ".join(
                f"{x:>{w}}" if i in numbers else f"{x:<{w}}" for i, (x, w) in enumerate(zip(line, wide, strict=True))
            )
            for line in table
        ]
        return "\n".join([self._title(), *(line.rstrip() for line in told)])

    def _repr_html_(self) -> str:
        head, lines = self.summary()
        return as_table(head, lines, self._title())


@says_what_is_meant
def study(
    algorithms: Any,
    world: Any,
    *,
    over: Mapping[str, Any] | None = None,
    seeds: int | Sequence[int] = 10,
    steps: float | None = None,
    episodes: float | None = None,
    points: int = POINTS,
    measure: str | None = None,
    folder: str | Path | None = None,
    progress: Progress | bool | None = None,
) -> Study:
    """Live algorithms with many settings and seeds, and say how each learns: all of it at once.

    Args:
        algorithms: one or several: an algorithm, its class or its name, or a dictionary of them by names of your own.
            Of one alone by its name the published settings for the world are the defaults; of several each has its
            own class's defaults, so that what is compared differs in what is said.
        world: as for `train`. In a native one all of a setting's seeds are lived side by side, in a hosted one seed
            after seed.
        over: values to compare, by the hyperparameter: `{"exploration.epsilon": [0.05, 0.1]}`; several make a grid. An
            algorithm that lacks one goes without it. One value alone is a setting for all.
        seeds: how many, from 0 on, or which.
        steps: the budget of a seed in environment steps; schedules run over it. By default the published one, else
            100,000.
        episodes: have points count episodes, of which each seed lives so many, in `steps` at most (1,000 an episode).
        points: how many points a curve has at most; each is a mean over its stretch of episodes or steps.
        measure: "return", "length" and "reward" (of a step); "regret", the optimum less the return, where the world is
            solvable; "rms", the error of learnt values, where a policy is predicted. By default the return; of
            prediction the error.
        folder: where the study is kept while it is under way, and after it: the same call goes on with it.
        progress: is told the share of the whole that is lived, and of what, after each stretch. By default one line is
            shown where somebody looks, in a terminal or a notebook; False shows nothing.

    Raises:
        StudyError, GridError, ValueError: for what cannot be studied: an unknown algorithm, hyperparameter, value or
            measure, or recordings, in which nothing is lived; before anything is.
        SpaceError: when an algorithm cannot take the world's spaces.
        FolderError: when the folder holds another study, or cannot be used.
        Interrupted: when a signal came; with a folder everything is saved.

    Returns:
        What was found. `print` shows means and intervals, `save("out.csv")` writes it, `retorno.plots.study` draws it.

    >>> found = study(["q_learning", "sarsa"], "student", over={"step_size": [0.1, 0.5]}, seeds=2, episodes=4)
    >>> found.values.shape, found.optimum
    ((4, 2, 4), 6.0)
    """
    question = ask(algorithms, world, over, seeds, steps, episodes, points, measure)
    with telling(progress) as told:
        return question.answer(progress=told) if folder is None else answer_in(Path(folder), question, told)


@dataclass(frozen=True, eq=False)
class Question:
    """A study that can be lived: all of it has been looked at."""

    name: str
    world: World
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]
    steps: int
    by_episode: bool
    total: int
    """Episodes or steps to live."""
    width: int
    """How many make a point."""
    measure: str
    optimum: float | None
    truth: Prediction | None
    """Of which policy's values the error is asked."""
    asked: dict[str, Any]
    """All that the answer follows from, as JSON."""

    def batches(self) -> list[list[int]]:
        """Settings, by number, that a native world lives side by side: they differ in numbers alone and fit memory."""
        alike: dict[Any, list[int]] = {}
        for m, setting in enumerate(self.settings):
            alike.setdefault(jax.tree.structure(setting.algorithm), []).append(m)
        found = []
        for group in alike.values():
            size = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(self._begun(group[0])))
            most = max(1, MOST_BYTES // max(size, 1))
            # Of one size as far as that goes, for that is one program.
            most = -(-len(group) // -(-len(group) // most))
            found += [group[i : i + most] for i in range(0, len(group), most)]
        return found

    def _begun(self, m: int) -> Run:
        """The shapes of a setting's runs [S]."""
        algorithm, numbers = self.settings[m].algorithm, jnp.asarray(self.seeds, jnp.uint32)
        assert isinstance(self.world, Environment)
        return begun_shapes(as_arrays(algorithm), self.world, None, numbers, Counter.of(self.steps), algorithm.num_envs)

    def answer(self, kept: Kept | None = None, progress: Progress | None = None) -> Study:
        """Live it; what is `kept` of it already is gone on with.

        Raises:
            Interrupted: when a signal came.
        """
        points = Points(self.by_episode, self.total, self.width)
        sizes = (len(self.settings), len(self.seeds))
        found = {"values": np.full((*sizes, points.count), np.nan), "diverged": np.full(sizes, -1, np.int64)}
        if not isinstance(self.world, Environment):
            return self._answer_hosted(self.world, points, found, kept, progress)
        batches = self.batches()
        begin = 0 if kept is None else kept.batch
        done = sum(map(len, batches[:begin]))
        with StopSignals() as stop:
            for number, batch in enumerate(batches[begin:], begin):
                algorithms = [self.settings[m].algorithm for m in batch]
                lives = Lives(algorithms, self.world, seeds=self.seeds, steps=self.steps)
                tally = Tally(len(batch) * sizes[1], algorithms[0].num_envs, points)
                lost = np.full(len(batch) * sizes[1], -1, np.int64)
                held = {**found, **tally.arrays, "lost": lost}
                if kept is not None and number == begin:
                    lives.runs = lives.placed(kept.go_on(lives.runs, held))
                look = _looked_at(algorithms[0], self.world.two_players, self.truth)
                stretch = self._stretch(algorithms[0], len(batch))
                names = ", ".join(dict.fromkeys(self.settings[m].name for m in batch))
                told = f"{names}, {len(batch)} settings" if len(batch) > 1 else str(self.settings[batch[0]])
                while not self._over(tally, lost):
                    self._live(lives, tally, lost, stretch, look)
                    share = float(np.where(lost < 0, tally.progress(), 1.0).mean())
                    if progress is not None:
                        progress((done + share * len(batch)) / sizes[0], told)
                    if kept is not None:
                        kept.save(number, lives.runs, held, at_once=stop.received is not None)
                    if stop.received is not None and not self._over(tally, lost):
                        raise _stopped(stop.received, kept)
                found["values"][batch] = self._measured(tally).reshape(len(batch), sizes[1], -1)
                found["diverged"][batch] = lost.reshape(len(batch), -1)
                done += len(batch)
        return self.found(**found)

    def _answer_hosted(
        self,
        world: HostedWorld,
        points: Points,
        found: dict[str, np.ndarray],
        kept: Kept | None,
        progress: Progress | None,
    ) -> Study:
        """Seed after seed, each in environments of its own; one that was under way is lived again."""
        lanes = list(itertools.product(range(len(self.settings)), range(len(self.seeds))))
        begin = 0 if kept is None else kept.batch
        if kept is not None and begin:
            kept.go_on((), found)
        with StopSignals() as stop:
            for number, (m, s) in enumerate(lanes[begin:], begin):
                setting, lost = self.settings[m], np.full(1, -1, np.int64)
                look = _looked_at(setting.algorithm, world.two_players, self.truth)
                one = self.seeds[s : s + 1]
                lane = f"{setting}, seed {one[0]}"
                with _of(lane), Training(setting.algorithm, world, self.steps, one, None, None) as training:
                    loop = training.hosted_loop
                    tally = Tally(1, loop.environments.num_envs, points)
                    while not self._over(tally, lost):
                        before = tally.arrays["steps"].copy()
                        training.run, seen = live(loop, training.run, self._updates(loop.interactions), look)
                        lived = {name: x[None] for name, x in seen.items()}
                        finite = all_finite(training.run.learner) & np.isfinite(lived["reward"]).all()
                        lost[:] = -1 if finite else before
                        tally.add(**lived, going=lost < 0)
                        if progress is not None:
                            share = float(tally.progress()[0]) if lost[0] < 0 else 1.0
                            progress((number + share) / len(lanes), lane)
                        if stop.received is not None and not self._over(tally, lost):
                            raise _stopped(stop.received, kept, "all seeds that are over")
                found["values"][m, s], found["diverged"][m, s] = self._measured(tally)[0], lost[0]
                if kept is not None:
                    kept.save(number + 1, (), found, at_once=True)
        return self.found(**found)

    def _measured(self, tally: Tally) -> Float[np.ndarray, "L P"]:
        means = tally.means({"regret": "return"}.get(self.measure, self.measure))
        return self.optimum - means if self.measure == "regret" and self.optimum is not None else means

    def found(self, values: np.ndarray, diverged: np.ndarray) -> Study:
        """The answer, of its numbers."""
        return Study(
            world=self.name,
            measure=self.measure,
            axis="episode" if self.by_episode else "step",
            x=Points(self.by_episode, self.total, self.width).x,
            settings=self.settings,
            seeds=self.seeds,
            values=values,
            diverged=diverged,
            optimum=None if self.measure == "regret" else self.optimum,
        )

    def _stretch(self, algorithm: Algorithm, settings: int) -> int:
        """Updates between two looks from outside: a hundredth of the budget, and not more than fits memory."""
        interactions = algorithm.rollout * algorithm.num_envs
        usual = self._updates(interactions)
        alike = settings * len(self.seeds) * interactions
        # Tables are so quick that less would be over before the next look.
        least = FEWEST_SEEN // alike if seeds_batch(algorithm) else 1
        return max(1, min(max(usual, least), MOST_SEEN // alike))

    def _updates(self, interactions: int) -> int:
        """A hundredth of the budget, in updates of so many interactions."""
        return -(-(min(self.steps, 20 * self.total) if self.by_episode else self.total) // (100 * interactions))

    def _over(self, tally: Tally, lost: Int[np.ndarray, " L"]) -> bool:
        """Whether every lane has lived what is asked, or all it may, or has diverged."""
        return bool(((tally.progress() >= 1) | (tally.arrays["steps"] >= self.steps) | (lost >= 0)).all())

    def _live(self, lives: Lives, tally: Tally, lost: Int[np.ndarray, " L"], stretch: int, look: Any) -> None:
        """One stretch: what was lived is added up, and lanes that are finite no more are `lost`."""
        before = tally.arrays["steps"].copy()
        seen = lives.live(stretch, 1, look)
        lanes = {name: x.reshape(-1, *x.shape[2:]) for name, x in seen.items()}
        finite = np.asarray(_finite(lives.runs.learner)) & np.isfinite(lanes["reward"]).all((1, 2, 3))
        lost[~finite & (lost < 0)] = before[~finite & (lost < 0)]
        tally.add(**lanes, going=(lost < 0) & (before < self.steps))


@contextlib.contextmanager
def _of(lane: str) -> Iterator[None]:
    """Say of which setting and seed a world's failure is."""
    try:
        yield
    except WorldError as error:
        raise WorldError(f"{lane}: {error}") from error


def _stopped(number: int, kept: Kept | None, what: str = "everything") -> Interrupted:
    where = "" if kept is None else f", with {what} saved in {kept.folder}"
    return Interrupted(f"stopped by {signal.Signals(number).name}{where}; the same call goes on with it", number)


_finite = constants.jit(jax.vmap(all_finite), compiler_options=IN_HASTE)


def _looked_at(algorithm: Algorithm, two_players: bool, truth: Prediction | None) -> Callable[..., dict[str, Array]]:
    """What a lane tells after each update."""
    if truth is None:
        return _told_of_two if two_players else _told
    exact, asked = jnp.asarray(truth.exact), jnp.asarray(truth.asked)

    def with_error(run: Run, trajectory: Trajectory) -> dict[str, Array]:
        policy = algorithm.policy(run.learner)
        value = lambda state: policy.step(state, jnp.array(False), policy.initial_carry())[0]["value"]  # noqa: E731
        off = jnp.where(asked, jax.vmap(value)(jnp.arange(len(exact))) - exact, 0.0)
        return {**_told(run, trajectory), "error": jnp.sqrt((off**2).sum() / asked.sum())}

    return with_error


def _told(run: Run, trajectory: Trajectory) -> dict[str, Array]:
    steps = trajectory.steps
    return {"reward": steps.reward[1:], "last": steps.last[1:], "counts": trajectory.transitions}


def _told_of_two(run: Run, trajectory: Trajectory) -> dict[str, Array]:
    return {**_told(run, trajectory), "turns": trajectory.steps.discount[1:] < 0}


# The question


def ask(
    algorithms: Any,
    world: Any,
    over: Mapping[str, Any] | None = None,
    seeds: int | Sequence[int] = 10,
    steps: float | None = None,
    episodes: float | None = None,
    points: int = POINTS,
    measure: str | None = None,
) -> Question:
    """Look at all that is asked, and refuse what cannot be; nothing is lived. Arguments as of `study`.

    Raises:
        StudyError, GridError, ValueError, SpaceError: as `study`.
    """
    prepare()
    points = positive("points", points, "it is how many points a curve has")
    of_seeds = range(positive("seeds", seeds, "it is how many, or which")) if isinstance(seeds, int | float) else seeds
    numbers = tuple(map(int, of_seeds))
    if not numbers or len(set(numbers)) < len(numbers) or not all(0 <= seed < 2**32 for seed in numbers):
        raise StudyError(f"seeds must be different integers in [0, 2³²), got {seeds!r}")
    chosen, published = _algorithms(algorithms, world)
    for algorithm in chosen.values():
        require_lived(algorithm, world, "a study")
    made = as_world(world)
    called = WorldName.of(world)
    own = "a model of your own" if isinstance(world, MDP | dict) else type(made).__name__
    name = called.name if called else getattr(made, "name", None) or own
    usual_steps = published or USUAL_STEPS
    swept, fixed = {}, {}
    for key, values in (over or {}).items():
        several = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
        listed = _plain(list(values) if several else [values])
        if len(listed) == 1:
            fixed[key] = listed[0]
        else:
            swept[key] = listed
    # What has one value is a setting of all, and no column.
    settings = grid(settled(chosen, fixed, REGISTERED.values()), swept, REGISTERED.values())
    for setting in settings:
        require_step_size(setting.algorithm)
    by_episode = episodes is not None
    total = positive("episodes", episodes, "it is how many each seed lives") if by_episode else 0
    usual_steps = LONG_EPISODE * total if by_episode else usual_steps
    budget = positive("steps", usual_steps if steps is None else steps, "it is a number of environment steps")
    total = total or budget
    for algorithm in {jax.tree.structure(s.algorithm): s.algorithm for s in settings}.values():
        if isinstance(made, Environment):
            begun_shapes(as_arrays(algorithm), made, None, jnp.uint32(0), Counter.of(budget), algorithm.num_envs)
        else:
            _begun(algorithm, made, numbers[0], budget)
    width = -(-total // points)
    return _question(world, made, str(name), settings, numbers, budget, by_episode, total, width, measure)


def _question(
    world: Any,
    made: World,
    name: str,
    settings: Sequence[Setting],
    seeds: tuple[int, ...],
    steps: int,
    by_episode: bool,
    total: int,
    width: int,
    measure: str | None,
) -> Question:
    """With the exact answers that belong to it."""
    model, called = _model(world), WorldName.of(world)
    measure, truth = _measure(measure, settings, made, model, seeds[0], steps)
    optimum = _optimum(model, measure, name)
    asked = {
        "world": {"name": None, "description": repr(made)} if called is None else called.as_json(),
        "called": name,
        "settings": [[s.name, to_json(list(s.values.items())), to_json(s.algorithm)] for s in settings],
        "seeds": list(seeds),
        "steps": steps,
        "by_episode": by_episode,
        "total": total,
        "width": width,
        "measure": measure,
    }
    return Question(name, made, tuple(settings), seeds, steps, by_episode, total, width, measure, optimum, truth, asked)


def question_in(folder: Path, world: Any = None) -> Question:
    """The question that a folder holds, to be gone on with.

    Args:
        folder: of a study.
        world: where it was made in Python: the same again.

    Raises:
        FolderError: when the folder holds none, or its world has to be given.
    """
    asked = read_question(folder / QUESTION, "study")
    if world is None and not asked["world"].get("name"):
        raise FolderError(
            f"the world of {folder} was made in Python ({asked['world'].get('description')}): go on there, by the same "
            "call of retorno.study"
        )
    given = WorldName.recorded(asked["world"]) if world is None else world
    made, kinds = as_world(given), known()
    settings = [
        Setting(name, {key: value for key, value in from_json(values, kinds)}, from_json(algorithm, kinds))
        for name, values, algorithm in asked["settings"]
    ]
    told = [asked[key] for key in ("steps", "by_episode", "total", "width", "measure")]
    return _question(given, made, asked["called"], settings, tuple(asked["seeds"]), *told)


def _plain(values: Sequence[Any]) -> list[Any]:
    return [x.item() if isinstance(x, np.generic) else x for x in values]


def _algorithms(given: Any, world: Any) -> tuple[dict[str, Algorithm], int | None]:
    """The algorithms by name, and the published budget, where one alone has one."""
    if isinstance(given, Mapping):
        return {str(name): meant_algorithm(each, "")[0] for name, each in given.items()}, None
    several = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    if not several:
        raise StudyError("which algorithm? Name one or several, as in study(['q_learning', 'sarsa'], 'cliff')")
    found: dict[str, Algorithm] = {}
    budget = None
    for each in several:
        made, usual = meant_algorithm(each, getattr(world, "name", world) if len(several) == 1 else "")
        name = named(each, ALGORITHMS) if isinstance(each, str) else _name_of(made)
        if name in found:
            raise StudyError(
                f"{name} is given twice: compare its settings by over={{…}}, or name them, as in study({{'slow': "
                f"{type(made).__name__}(…), 'fast': {type(made).__name__}(…)}}, …)"
            )
        found[name] = made
        budget = usual if len(several) == 1 else None
    return found, budget


def _name_of(algorithm: Algorithm) -> str:
    """What the command line calls an algorithm; its class's name, where it is not registered."""
    names = [name for name, kind in ALGORITHMS.items() if kind is type(algorithm)]
    return names[0] if names else type(algorithm).__name__


def _model(world: Any) -> MDP | None:
    """The world's exact model, where it is known."""
    name = WorldName.of(world)
    if name is not None:
        return name.model()
    try:
        return as_model(world)
    except (ValueError, TypeError):
        return None


def _measure(
    asked: str | None,
    settings: Sequence[Setting],
    world: World,
    model: MDP | None,
    seed: int,
    budget: int,
) -> tuple[str, Prediction | None]:
    """The measure, and for the error of values what they are held against."""
    policies = {}
    for setting in settings:
        if setting.name not in policies:
            algorithm = setting.algorithm
            run = _begun(algorithm, world, seed, budget)
            policies[setting.name] = algorithm.policy(run.learner)
    predicted = predicts(list(policies.values()))
    measure = asked or ("rms" if predicted and model is not None else "return")
    if measure not in MEASURES:
        raise StudyError(f"no measure {measure!r}{did_you_mean(measure, MEASURES)}; there is {', '.join(MEASURES)}")
    if measure != "rms":
        return measure, None
    if not predicted:
        raise StudyError("rms is the error of predicted values, and not all of these algorithms predict: TD, LSTD, …")
    if model is None or not observes_states(world, model):
        raise StudyError("rms needs the exact values, and this world has no exact model whose states it shows")
    discounts = {getattr(setting.algorithm, "discount", 1.0) for setting in settings}
    targets = {repr(getattr(setting.algorithm, "target", None)) for setting in settings}
    if len(discounts) > 1 or len(targets) > 1:
        raise StudyError("rms compares with one policy's values: discount and target must be the same in all settings")
    return measure, prediction([next(iter(policies.values()))], model, float(discounts.pop()))


def _begun(algorithm: Algorithm, world: World, seed: int, steps: int) -> Run:
    """Before anything is lived."""
    if isinstance(world, Environment):
        return begin_native(as_arrays(algorithm), world, None, jnp.uint32(seed), Counter.of(steps), algorithm.num_envs)
    with Training(algorithm, world, steps, (seed,), None, None) as training:
        return training.run


def _optimum(model: MDP | None, measure: str, name: str) -> float | None:
    """The exact optimum of the undiscounted return, where there is one."""
    if measure not in ("return", "regret"):
        return None
    why = f"{name} has no exact model"
    if model is not None:
        try:
            if math.isfinite(best := bellman.solve(model, 1.0).start_value):
                return best
            why = f"the best undiscounted return is {best}"
        except ValueError as error:
            why = str(error)
    if measure == "regret":
        raise StudyError(f"regret needs the exact optimum: {why}")
    return None


# The folder


class Kept:
    """A study on the disk while it is under way: where it stands, written from time to time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        noted = checkpoint.facts(folder)
        self.batch = int(noted.get("batch", 0))
        """The batch that was under way."""
        self._stretches, self._saved = int(noted.get("stretches", 0)), time.monotonic()

    def go_on(self, runs: Any, arrays: dict[str, np.ndarray]) -> Any:
        """Put the arrays where they stood, if anything was saved at all; so come the runs."""
        if not checkpoint.steps(self.folder):
            return runs
        runs, held, _ = checkpoint.load_newest(self.folder, runs, lambda line: None)
        for name, array in arrays.items():
            array[...] = held[name]
        return runs

    def save(self, batch: int, runs: Any, arrays: dict[str, np.ndarray], at_once: bool) -> None:
        """Write where everything stands, if that was some time ago.

        Raises:
            CheckpointError: when the disk refuses; what was written before stands.
        """
        self._stretches += 1
        if at_once or time.monotonic() - self._saved > SAVE_SECONDS:
            noted = {"batch": batch, "stretches": self._stretches}
            checkpoint.save(self.folder, self._stretches, runs, arrays, noted, keep=1)
            self._saved = time.monotonic()


def answer_in(folder: Path, question: Question, progress: Progress | None = None) -> Study:
    """Answer a question in a folder: begun, gone on with, or read where it is answered already.

    Raises:
        FolderError: when the folder holds something else, or cannot be used.
        Interrupted: when a signal came; everything is saved.
    """
    text = json.dumps(question.asked, indent=2, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"{folder} cannot be made: {error.strerror}; choose another folder") from error
    if (folder / CONFIG).exists():
        raise FolderError(f"{folder} holds a run: choose another folder")
    if (folder / QUESTION).exists() and read_question(folder / QUESTION, "study") != json.loads(text):
        raise FolderError(f"{folder} holds another study: choose another folder, or ask what {QUESTION} in it says")
    with locked(folder):
        if (folder / RESULTS).exists():
            return question.found(**_read(folder / RESULTS))
        if not (folder / QUESTION).exists():
            write_atomic(folder / QUESTION, text)
        found = question.answer(Kept(folder), progress)
        beside = folder / f".{RESULTS}"
        with open(beside, "wb") as file:
            file.write(save_tensors({"values": found.values, "diverged": found.diverged}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, folder / RESULTS)
        found.save(folder / TABLE)
        shutil.rmtree(folder / checkpoint.CHECKPOINTS, ignore_errors=True)
    return found


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        return load_tensors(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise FolderError(f"{path} is damaged: {error}; remove it to have it lived again") from error
