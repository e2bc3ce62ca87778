"""The loop as its user sees it: `train(...)` is iterated and yields reports.

A `Report` comes about twice a second and at every exact boundary (evaluation, checkpoint, end).
All budgets and frequencies count environment steps, whatever the number of environments, and
none of them changes what is learnt.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from retorno.core.environment import Environment, World
from retorno.core.errors import RetornoError
from retorno.core.policy import Algorithm, Learner, Metrics, Policy, Relabel
from retorno.core.spaces import action_bounds
from retorno.networks import Table
from retorno.run.collect import collect_hosted
from retorno.run.loop import (
    Run,
    advance_fused,
    advance_seeds,
    bad_leaf,
    begin_hosted,
    begin_native,
    keys_of,
    learn_hosted,
)

REPORT_SECONDS = 0.5
MOST_STEPS = 2**31 - 1


class TrainingError(RetornoError):
    """A run that cannot start or go on; the last good checkpoint stands."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What happened since the report before."""

    step: int
    """Environment steps taken; of several seeds, by the one that has taken fewest."""
    steps: int
    """The budget."""
    updates: int
    episodes: int
    """Episodes that ended since the report before."""
    returns: np.ndarray
    """[seeds] mean undiscounted return of those episodes; NaN where none ended."""
    lengths: np.ndarray
    """[seeds] their mean length in steps."""
    metrics: dict[str, float]
    """The algorithm's metrics, averaged over updates and seeds."""
    seconds: float
    """Since the loop began."""
    rate: float
    """Environment steps a second over all seeds, since the report before."""
    boundary: bool
    """Whether the run stands at a multiple of `every`, or at its end."""

    @property
    def mean_return(self) -> float:
        return _mean(self.returns)

    @property
    def mean_length(self) -> float:
        return _mean(self.lengths)

    @property
    def finished(self) -> bool:
        return self.step >= self.steps

    @property
    def seconds_left(self) -> float:
        return (self.steps - self.step) * len(self.returns) / self.rate if self.rate else math.inf

    def __str__(self) -> str:
        score = "no episode ended" if math.isnan(self.mean_return) else f"return {self.mean_return:9.2f}"
        return (
            f"step {self.step:>10,} of {self.steps:,}  {score}  "
            f"{self.rate:>10,.0f} steps/s  {self.seconds_left:5.0f} s left"
        )


class _Counters(NamedTuple):
    """A run's counters [seeds], read at one moment."""

    step: np.ndarray
    updates: np.ndarray
    episodes: np.ndarray
    returns: np.ndarray
    lengths: np.ndarray

    @classmethod
    def read(cls, run: Run) -> _Counters:
        scores = run.scores
        counters = (run.step, run.updates, scores.episodes, scores.return_sum, scores.length_sum)
        # Copies: the buffers are given away to the next compiled call.
        return cls(*(np.atleast_1d(np.array(x, np.float64)) for x in jax.device_get(counters)))


class Training:
    """A run under way: iterate it for reports; its `run` and `policy` may be used between two of them."""

    def __init__(
        self,
        algorithm: Algorithm,
        world: World,
        steps: int,
        seeds: tuple[int, ...],
        every: int | None,
        relabel: Relabel | None,
        devices: int,
    ) -> None:
        self.algorithm = algorithm
        self.world = world
        self.steps = steps
        self.seeds = seeds
        self.every = every
        self.environments = None
        if isinstance(world, Environment):
            runs = begin_native(
                algorithm, world, relabel, jnp.asarray(seeds, jnp.uint32), jnp.int32(steps), algorithm.num_envs
            )
            # Copied once: leaves made from one constant share a buffer, which cannot be donated twice.
            run = jax.tree.map(jnp.copy, runs if len(seeds) > 1 else jax.tree.map(lambda x: x[0], runs))
            self._mesh, self.run = _spread(run, len(seeds), devices)
        else:
            self.environments = world.open(world.num_envs or algorithm.num_envs, seeds[0])
            row = self.environments.reset()
            self.run = begin_hosted(algorithm, world, relabel, jnp.uint32(seeds[0]), jnp.int32(steps), row)
            self._bounds = action_bounds(world.action_space)

    @property
    def step(self) -> int:
        """Environment steps taken; of several seeds, by the one that has taken fewest."""
        return int(np.min(np.asarray(self.run.step)))

    @property
    def learners(self) -> list[Learner]:
        """The learner of each seed."""
        if len(self.seeds) == 1:
            return [self.run.learner]
        return [jax.tree.map(lambda x, i=i: x[i], self.run.learner) for i in range(len(self.seeds))]

    @property
    def policies(self) -> list[Policy]:
        """The learnt policy of each seed."""
        return [self.algorithm.policy(learner) for learner in self.learners]

    @property
    def policy(self) -> Policy:
        """The learnt policy of the only seed.

        Raises:
            ValueError: when there are several seeds.
        """
        if len(self.seeds) != 1:
            raise ValueError(f"this run has {len(self.seeds)} seeds: use `policies`, one for each seed")
        return self.policies[0]

    def close(self) -> None:
        """Close hosted environments."""
        if self.environments is not None:
            self.environments.close()

    def __iter__(self) -> Iterator[Report]:
        began, most = time.perf_counter(), 1
        while self.step < self.steps:
            boundary = self.steps if self.every is None else (self.step // self.every + 1) * self.every
            until = min(boundary, self.steps)
            start, before = time.perf_counter(), _Counters.read(self.run)
            sums = jax.device_get(self._advance(until, most))
            after, seconds = _Counters.read(self.run), time.perf_counter() - start
            most = _next_pace(most, seconds)
            self._stop_if_not_finite(sums)
            yield self._report(before, after, sums, time.perf_counter() - began, seconds, self.step >= until)

    def _advance(self, until: int, most: int) -> Metrics:
        """Go on to `until` steps or for `most` updates, whichever comes first; metrics are summed."""
        if self.environments is not None:
            return self._advance_hosted(until, most)
        if len(self.seeds) == 1:
            self.run, sums = advance_fused(self.algorithm, self.world, self.run, until, most)  # type: ignore[arg-type]
        else:
            # Many small tables are one large array; many networks gain nothing from being batched on a CPU.
            tables = isinstance(getattr(self.algorithm, "network", None), Table)
            self.run, sums = advance_seeds(self.algorithm, self.world, self.run, until, most, tables, self._mesh)
        return sums

    def _advance_hosted(self, until: int, most: int) -> Metrics:
        assert self.environments is not None
        sums: Metrics = {}
        for _ in range(most):
            key = keys_of(self.run).collect
            stage, trajectory = collect_hosted(
                self.algorithm, self.run.learner, self.environments, self._bounds, self.run.stage, key
            )
            run, metrics = learn_hosted(self.algorithm, self.run._replace(stage=None), None, trajectory)  # type: ignore[arg-type]
            self.run = run._replace(stage=stage)
            sums = {name: sums.get(name, 0.0) + x for name, x in metrics.items()}
            if self.step >= until:
                break
        return sums

    def _report(
        self, before: _Counters, after: _Counters, sums: Metrics, total: float, seconds: float, boundary: bool
    ) -> Report:
        spent = _Counters(*(a - b for a, b in zip(after, before, strict=True)))
        with np.errstate(invalid="ignore"):
            returns, lengths = spent.returns / spent.episodes, spent.lengths / spent.episodes
        return Report(
            step=int(after.step.min()),
            steps=self.steps,
            updates=int(after.updates.min()),
            episodes=int(spent.episodes.sum()),
            returns=returns,
            lengths=lengths,
            metrics={name: float(np.sum(x) / max(spent.updates.sum(), 1)) for name, x in sums.items()},
            seconds=total,
            rate=float(spent.step.sum() / seconds),
            boundary=boundary,
        )

    def _stop_if_not_finite(self, sums: Metrics) -> None:
        bad = next((f"metric {name!r}" for name, x in sums.items() if not np.isfinite(x).all()), None)
        leaf = bad_leaf(self.run.learner)
        if bad is None and leaf is None:
            return
        where = " and ".join(x for x in (bad, leaf and f"tensor {leaf!r}") if x)
        raise TrainingError(
            f"NaN or infinity in {where} at step {self.step:,}: training stopped and nothing was saved from it; "
            "the last good checkpoint stands. A smaller learning rate or clipped rewards often mend this"
        )


def _spread(run: Run, seeds: int, devices: int) -> tuple[Mesh, Run]:
    """Lay a run over devices: several seeds side by side, else the environments of the only one."""
    shares = math.gcd(seeds, jax.local_device_count()) if seeds > 1 else devices
    mesh = jax.make_mesh((shares,), ("shares",), axis_types=(AxisType.Auto,))
    split, whole = NamedSharding(mesh, PartitionSpec("shares")), NamedSharding(mesh, PartitionSpec())
    if seeds > 1:
        return mesh, jax.device_put(run, split)
    scores = run.scores._replace(
        open_return=jax.device_put(run.scores.open_return, split),
        open_length=jax.device_put(run.scores.open_length, split),
    )
    placed = jax.device_put(run, whole)
    return mesh, placed._replace(stage=jax.device_put(run.stage, split), scores=scores) if shares > 1 else run


def _next_pace(most: int, seconds: float) -> int:
    """Updates for the next report, so that it comes after about `REPORT_SECONDS`."""
    if seconds < REPORT_SECONDS / 2:
        return min(4 * most, 2**30)
    return max(most // 2, 1) if seconds > 2 * REPORT_SECONDS else most


def _mean(x: np.ndarray) -> float:
    known = x[~np.isnan(x)]
    return float(known.mean()) if len(known) else math.nan


def train(
    algorithm: Algorithm,
    world: World,
    steps: int,
    *,
    seed: int | Sequence[int] = 0,
    every: int | None = None,
    relabel: Relabel | None = None,
    devices: int = 1,
) -> Training:
    """Prepare a run; iterate what comes back to train.

    Args:
        algorithm: a frozen dataclass of hyperparameters.
        world: a native `Environment`, or the description of hosted ones.
        steps: the budget in environment steps, over all environments of one seed.
        seed: one seed, or several, which are trained in one call over a native world.
        every: report exactly at each multiple of so many steps as well (`Report.boundary`).
        relabel: rewrites trajectories between collect and update.
        devices: over how many devices the environments of one seed are spread. Several seeds are spread
            over as many as divide their number.

    Raises:
        ValueError: for a budget or frequency that is not positive, or a seed out of range.
        SpaceError: when the algorithm cannot take the world's spaces.
        TrainingError: for several seeds over a hosted world.
    """
    if not 0 < steps <= MOST_STEPS:
        raise ValueError(f"steps must lie in 1 … {MOST_STEPS:,}, got {steps}: pass for instance steps=100_000")
    if every is not None and every <= 0:
        raise ValueError(f"every must be positive, got {every}: it is a number of environment steps")
    seeds = (seed,) if isinstance(seed, int | np.integer) else tuple(seed)
    if not seeds or any(not 0 <= s < 2**32 for s in seeds) or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be different integers in [0, 2³²), got {seeds}")
    if len(seeds) > 1 and not isinstance(world, Environment):
        raise TrainingError("a hosted world is trained one seed at a time: start a run for each seed")
    return Training(algorithm, world, int(steps), tuple(map(int, seeds)), every, relabel, devices)
