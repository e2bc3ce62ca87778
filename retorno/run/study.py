"""Many short runs side by side, looked at after every update: what learning curves of the textbooks are made of.

`train` is for runs that matter one by one: they report, are saved and resume. A study asks how a method
behaves on average over hundreds of seeds, step by step, so everything is lived in one compiled program and
only what a probe picks out is kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Bool, Float, Int, PyTree, Shaped, UInt32

from retorno.core.constants import Held, arrays_of, with_constants
from retorno.core.counter import Counter
from retorno.core.environment import Environment
from retorno.core.hyperparameters import as_arrays
from retorno.core.policy import Algorithm, RelabelConfig
from retorno.core.runtime import SIDE_BY_SIDE, prepare
from retorno.core.time_step import Trajectory
from retorno.environments.registry import native
from retorno.run.loop import Iteration, Run, begin_learners, begin_runs, iterate, repeat, seeds_batch

Probe = Callable[[Run, Trajectory], PyTree[Array]]
"""What to keep of one seed after an update: of its run as it now is, and of the trajectory just learnt from."""


def lived(run: Run, trajectory: Trajectory) -> dict[str, Array]:
    """What is mostly looked at: each interaction's reward [T, B], whether it ended an episode and was a step."""
    steps = trajectory.steps
    return {"reward": steps.reward[1:], "last": steps.last[1:], "counts": trajectory.transitions}


def study(
    algorithm: Algorithm | Sequence[Algorithm],
    world: Environment | str,
    updates: int,
    probe: Probe,
    *,
    seeds: Sequence[int],
    every: int = 1,
    relabel: RelabelConfig | None = None,
    steps: int | None = None,
    over: Mapping[str, Sequence[float]] | None = None,
    side_by_side: bool = False,
) -> PyTree[Shaped[np.ndarray, "_ _ ..."]]:
    """What `probe` says of every seed after every `every` updates.

    Args:
        algorithm: its hyperparameters, or several that differ in numbers alone: they are lived in one compiled
            program, and what is found has their axis in front.
        world: a native world, or its name.
        updates: K · every, how many iterations each seed lives: `rollout` · `num_envs` interactions each.
        probe: a function, looked at as (run, trajectory); one object for all calls, so that it is compiled once.
        seeds: the S seeds, spread over as many devices as divide their number.
        every: look only after so many updates.
        relabel: where rewards come from, when not from the world alone.
        steps: the budget that schedules run over; all interactions by default.
        over: the same, by the names of the algorithm's own fields: lists of one length.
        side_by_side: `world` is several of one shape, with their axis in front (`environments.stacked`); so has
            what is found, before the settings'.

    Raises:
        ValueError: when `updates` is not a positive multiple of `every`, there are no seeds, a setting is
            refused by the algorithm, the lists have several lengths, or algorithms differ in more than numbers.

    Returns:
        What was found: [settings, S, K, …], without an axis where there is one setting.

    >>> from retorno.algorithms import QLearning
    >>> from retorno.environments.registry import native
    >>> study(QLearning(), native("random_walk"), 20, lambda run, lived: run.step.low, seeds=(0, 1), every=10).shape
    (2, 2)
    """
    if over:
        names, values = tuple(over), zip(*over.values(), strict=True)
        algorithm = [dataclasses.replace(algorithm, **dict(zip(names, x, strict=True))) for x in values]  # type: ignore[type-var]
    compared = isinstance(algorithm, Sequence)
    one = algorithm[0] if compared else algorithm
    if updates < 1 or every < 1 or updates % every:
        raise ValueError(f"updates must be a positive multiple of every, got {updates} and {every}")
    world = native(world) if isinstance(world, str) else world
    if isinstance(seeds, int):
        raise ValueError(f"seeds are a sequence of them, got {seeds}: pass seeds=range({seeds})")
    if not len(seeds):
        raise ValueError("a study needs seeds: pass for instance seeds=range(100)")
    prepare()
    budget = updates * one.rollout * one.num_envs if steps is None else steps
    devices = next(n for n in range(jax.local_device_count(), 0, -1) if len(seeds) % n == 0)
    mesh = jax.make_mesh((devices,), ("shares",), axis_types=(AxisType.Auto,))
    numbers = jnp.asarray(np.asarray(seeds), jnp.uint32)
    twin, counter = as_arrays(one), Counter.of(budget)
    place = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), world) if side_by_side else world
    seed = jax.ShapeDtypeStruct((), jnp.uint32)
    found = (_study_side_by_side if seeds_batch(one) else _study_in_turn)(
        side_by_side_settings(algorithm) if compared else twin,
        world,
        relabel,
        numbers,
        counter,
        probe,
        updates // every,
        every,
        mesh,
        side_by_side,
        compared,
        arrays_of(begin_learners.eval_shape(twin, place, relabel, seed, counter, one.num_envs)),
    )
    return jax.device_get(found)


def side_by_side_settings(algorithms: Sequence[Algorithm]) -> Algorithm:
    """Several settings of one algorithm as one, whose numbers have an axis in front.

    Raises:
        ValueError: when they differ in more than numbers, which would be another program.
    """
    twins = [as_arrays(algorithm) for algorithm in algorithms]
    for other, twin in zip(algorithms, twins, strict=True):
        if jax.tree.structure(twin) != jax.tree.structure(twins[0]):
            raise ValueError(f"what is compared may differ in numbers alone, unlike {algorithms[0]} and {other}")
    return jax.tree.map(lambda *numbers: jnp.stack(numbers), *twins)


def _study(
    algorithm: Algorithm,
    world: Environment,
    relabel: RelabelConfig | None,
    seeds: UInt32[Array, " S"],
    steps: Counter,
    probe: Probe,
    points: int,
    every: Int[Array, ""] | int,
    mesh: jax.sharding.Mesh,
    side_by_side: bool,
    compared: bool,
    constants: Held,
) -> PyTree[Array]:
    """What learners take from elsewhere is an argument; in the program, each begins with its own."""

    def point(method: Any, world: Environment, run: Run, nothing: None) -> tuple[Run, PyTree[Array]]:
        def see(seen: tuple[Array, Trajectory], lived: Iteration) -> tuple[Array, Trajectory]:
            return seen[0] + 1, lived.trajectory

        # Only the last iteration of a point is looked at; one loop for all is half as much to compile.
        one = jax.jit(partial(iterate, method, world))
        nothing_yet = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, run).trajectory)
        seen = (jnp.int32(0), nothing_yet)
        run, (_, trajectory) = repeat(one, see, run, seen, lambda run, seen: seen[0] < every)
        return run, probe(run, trajectory)

    def each(one: Callable[[Any], PyTree[Array]], many: Any) -> PyTree[Array]:
        return jax.vmap(one)(many) if seeds_batch(algorithm) else jax.lax.map(one, many)

    @with_constants
    def several(seeds: Array, world: Environment, steps: Counter, algorithm: Algorithm) -> PyTree[Array]:
        def with_settings(world: Environment, method: Algorithm) -> PyTree[Array]:
            runs = begin_runs(method, world, relabel, seeds, steps, method.num_envs)
            live = partial(point, method, world)
            return each(lambda run: jax.lax.scan(live, run, None, length=points)[1], runs)

        def within(world: Environment) -> PyTree[Array]:
            return each(partial(with_settings, world), algorithm) if compared else with_settings(world, algorithm)

        return jax.vmap(within)(world) if side_by_side else within(world)

    split, same = PartitionSpec("shares"), PartitionSpec()
    found = PartitionSpec(*[None] * (side_by_side + compared), "shares")
    whole = jax.shard_map(
        lambda constants, *given: several(*given, constants=constants),
        mesh=mesh,
        in_specs=(same, split, *(same,) * 3),
        out_specs=found,
        check_vma=False,
    )
    return whole(constants, seeds, world, steps, algorithm)


_program = partial(jax.jit, _study, static_argnames=("relabel", "probe", "points", "mesh", "side_by_side", "compared"))
_study_in_turn, _study_side_by_side = _program(), _program(compiler_options=SIDE_BY_SIDE)


def at_episodes(
    values: Shaped[np.ndarray, "*settings S K"], last: Bool[np.ndarray, "*settings S K"], episodes: int
) -> Shaped[np.ndarray, "*settings S E"]:
    """What stood at the ends of the first `episodes` episodes of every seed.

    Args:
        values: after every interaction, in the order lived.
        last: whether it ended an episode, or whatever else is counted.
        episodes: E.

    Raises:
        ValueError: when a seed lived fewer episodes: give the study more updates.
    """
    fewest = int(last.sum(-1).min())
    if fewest < episodes:
        raise ValueError(f"a seed lived only {fewest} of {episodes} episodes: give the study more updates")
    ends = np.argsort(~last, axis=-1, kind="stable")[..., :episodes]
    return np.take_along_axis(values, ends, -1)


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
