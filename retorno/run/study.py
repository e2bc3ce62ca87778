"""Many short runs side by side, looked at after every update: what learning curves of the textbooks are made of.

`train` is for runs that matter one by one: they report, are saved and resume. A study asks how a method
behaves on average over hundreds of seeds, step by step, so everything is lived in one compiled program and
only what a probe picks out is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Bool, Float, PyTree, Shaped, UInt32

from retorno.core.environment import Environment
from retorno.core.policy import Algorithm, Relabel
from retorno.core.time_step import Trajectory
from retorno.run.loop import Run, begin_native, begin_run, iterate

Probe = Callable[[Run, Trajectory], PyTree[Array]]
"""What to keep of one seed after an update: of its run as it now is, and of the trajectory just learnt from."""


def lived(run: Run, trajectory: Trajectory) -> dict[str, Array]:
    """What is mostly looked at: each interaction's reward [T, B], whether it ended an episode and was a step."""
    steps = trajectory.steps
    return {"reward": steps.reward[1:], "last": steps.last[1:], "counts": trajectory.transitions}


def study(
    algorithm: Algorithm,
    world: Environment,
    updates: int,
    probe: Probe,
    *,
    seeds: Sequence[int],
    every: int = 1,
    relabel: Relabel | None = None,
    steps: int | None = None,
) -> PyTree[Shaped[np.ndarray, "S K ..."]]:
    """What `probe` says of every seed after every `every` updates.

    Args:
        algorithm: a frozen dataclass of hyperparameters.
        world: a native world.
        updates: K · every, how many iterations each seed lives: `rollout` · `num_envs` interactions each.
        probe: a function, looked at as (run, trajectory); one object for all calls, so that it is compiled once.
        seeds: the S seeds, spread over as many devices as divide their number.
        every: look only after so many updates.
        relabel: rewrites trajectories between collect and update.
        steps: the budget that schedules run over; all interactions by default.

    Raises:
        ValueError: when `updates` is not a positive multiple of `every`, or there are no seeds.
    """
    _checked(lambda _: algorithm, (0,), updates, every, seeds)
    budget = updates * algorithm.rollout * algorithm.num_envs if steps is None else steps
    numbers = jnp.asarray(np.asarray(seeds), jnp.uint32)
    mesh = _shares(len(seeds))
    found = _study(algorithm, world, relabel, numbers, jnp.int32(budget), probe, updates // every, every, mesh)
    return jax.device_get(found)


def sweep(
    make: Callable[[Any], Algorithm],
    values: Sequence[float] | np.ndarray,
    world: Environment,
    updates: int,
    probe: Probe,
    *,
    seeds: Sequence[int],
    every: int = 1,
) -> PyTree[Shaped[np.ndarray, "V S K ..."]]:
    """A study of one method with many values of a setting, in one compiled program: every value with every seed.

    ```python
    sweep(lambda alpha: SARSA(step_size=alpha), [0.1, 0.5, 0.9], world, 10_000, lived, seeds=range(100))
    ```

    Args:
        make: value → algorithm. Only what the value changes by arithmetic can be swept: step sizes, λ, σ, γ.
        values: the V values.
        world: a native world.
        updates: as in `study`, as are all others.
        probe: a function, looked at as (run, trajectory).
        seeds: the S seeds.
        every: look only after so many updates.

    Raises:
        ValueError: as `study`, and when there are no values.
    """
    example = _checked(make, values, updates, every, seeds)
    pairs = np.array([(v, s) for v in range(len(values)) for s in seeds])
    swept, numbers = jnp.asarray(np.asarray(values, np.float32)[pairs[:, 0]]), jnp.asarray(pairs[:, 1], jnp.uint32)
    budget = jnp.int32(updates * example.rollout * example.num_envs)
    mesh = _shares(len(pairs))
    found = _sweep(make, world, swept, numbers, budget, probe, updates // every, every, example.num_envs, mesh)
    return jax.tree.map(lambda x: x.reshape(len(values), len(seeds), *x.shape[1:]), jax.device_get(found))


def _checked(
    make: Callable[[Any], Algorithm],
    values: Sequence[float] | np.ndarray,
    updates: int,
    every: int,
    seeds: Sequence[int],
) -> Algorithm:
    """The first of the algorithms; each is made once, so that its own settings are looked at."""
    if updates < 1 or every < 1 or updates % every:
        raise ValueError(f"updates must be a positive multiple of every, got {updates} and {every}")
    if not len(seeds):
        raise ValueError("a study needs seeds: pass for instance seeds=range(100)")
    if not len(values):
        raise ValueError("a sweep needs values: pass for instance values=[0.1, 0.5]")
    made = [make(value) for value in values]
    return made[0]


def _shares(runs: int) -> jax.sharding.Mesh:
    """As many devices as divide a number of runs."""
    devices = next(n for n in range(jax.local_device_count(), 0, -1) if runs % n == 0)
    return jax.make_mesh((devices,), ("shares",), axis_types=(AxisType.Auto,))


def _looked_at(
    algorithm: Algorithm, world: Environment, run: Run, probe: Probe, points: int, every: int
) -> PyTree[Array]:
    """One run, lived to its end."""

    def point(run: Run, nothing: None) -> tuple[Run, PyTree[Array]]:
        # The earlier iterations of a point are not looked at.
        run = jax.lax.fori_loop(0, every - 1, lambda _, r: iterate(algorithm, world, r)[0], run)
        run, _, trajectory = iterate(algorithm, world, run)
        return run, probe(run, trajectory)

    return jax.lax.scan(point, run, None, length=points)[1]


@partial(jax.jit, static_argnames=("algorithm", "probe", "points", "every", "mesh"))
def _study(
    algorithm: Algorithm,
    world: Environment,
    relabel: Relabel | None,
    seeds: UInt32[Array, " S"],
    steps: Array,
    probe: Probe,
    points: int,
    every: int,
    mesh: jax.sharding.Mesh,
) -> PyTree[Array]:
    def several(seeds: Array, world: Environment, relabel: Relabel | None, steps: Array) -> PyTree[Array]:
        runs = begin_native(algorithm, world, relabel, seeds, steps, algorithm.num_envs)
        return jax.vmap(lambda run: _looked_at(algorithm, world, run, probe, points, every))(runs)

    split, same = PartitionSpec("shares"), PartitionSpec()
    return jax.shard_map(several, mesh=mesh, in_specs=(split, same, same, same), out_specs=split, check_vma=False)(
        seeds, world, relabel, steps
    )


@partial(jax.jit, static_argnames=("make", "probe", "points", "every", "num_envs", "mesh"))
def _sweep(
    make: Callable[[Any], Algorithm],
    world: Environment,
    values: Float[Array, " VS"],
    seeds: UInt32[Array, " VS"],
    steps: Array,
    probe: Probe,
    points: int,
    every: int,
    num_envs: int,
    mesh: jax.sharding.Mesh,
) -> PyTree[Array]:
    def several(values: Array, seeds: Array, world: Environment, steps: Array) -> PyTree[Array]:
        runs = jax.lax.map(lambda x: begin_run(make(x[0]), world, None, steps, num_envs, x[1]), (values, seeds))
        return jax.vmap(lambda value, run: _looked_at(make(value), world, run, probe, points, every))(values, runs)

    split, same = PartitionSpec("shares"), PartitionSpec()
    return jax.shard_map(several, mesh=mesh, in_specs=(split, split, same, same), out_specs=split, check_vma=False)(
        values, seeds, world, steps
    )


def by_episode(
    values: Float[np.ndarray, "S K"], last: Bool[np.ndarray, "S K"], episodes: int
) -> Float[np.ndarray, "S E"]:
    """Sums over each of the first `episodes` episodes of every seed: of rewards their return, of ones their length.

    Args:
        values: of every interaction, in the order lived.
        last: whether it ended an episode.
        episodes: E.

    Raises:
        ValueError: when a seed lived fewer episodes: give the study more updates.
    """
    fewest = int(last.sum(1).min())
    if fewest < episodes:
        raise ValueError(f"a seed lived only {fewest} of {episodes} episodes: give the study more updates")
    sums = np.zeros((len(values), episodes))
    episode = np.cumsum(last, 1) - last
    inside = episode < episodes
    rows = np.broadcast_to(np.arange(len(values))[:, None], values.shape)
    np.add.at(sums, (rows[inside], episode[inside]), values[inside])
    return sums
