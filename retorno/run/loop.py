"""One iteration — collect, judge, update — and the compiled programs that repeat it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int, Key, PyTree, UInt32

from retorno.algorithms.prediction.lstd import LSTD
from retorno.core.environment import Environment, HostedEnvironments, HostedWorld
from retorno.core.policy import Algorithm, Carry, Learner, Metrics, Relabel, world_reward
from retorno.core.spaces import Bounds, Spec
from retorno.core.time_step import TimeStep, Trajectory, blank
from retorno.networks import Table
from retorno.run.collect import (
    Choice,
    CollectState,
    EpisodeStatistics,
    choose,
    collect,
    collect_hosted,
    initial_carries,
    no_episodes,
    opening,
)


class Run(NamedTuple):
    """Everything needed to go on. With several seeds every leaf has an axis [seeds] in front."""

    learner: Learner
    stage: CollectState
    relabel: Relabel | None
    scores: EpisodeStatistics
    seed: UInt32[Array, ""]
    """All randomness follows from the seed and the counters."""
    updates: Int[Array, ""]
    step: Int[Array, ""]
    """Environment steps taken."""


def learn_from(algorithm: Algorithm, run: Run, trajectory: Trajectory) -> tuple[Run, Metrics]:
    """Judge, update and count: what follows every rollout, fused and hosted alike."""
    keys, relabel, reward, told = keys_of(run.seed, run.updates), run.relabel, world_reward, {}
    if relabel is not None:
        relabel, told = relabel.learn(trajectory, keys.relabel)
        reward = relabel.reward
    learner, metrics = algorithm.update(run.learner, trajectory, reward, keys.update)
    return run._replace(
        learner=learner,
        relabel=relabel,
        scores=run.scores.update(trajectory),
        updates=run.updates + 1,
        step=run.step + trajectory.transitions.sum(dtype=jnp.int32),
    ), metrics | {f"relabel/{name}": x for name, x in told.items()}


class Keys(NamedTuple):
    """What one iteration draws from."""

    collect: Key[Array, ""]
    update: Key[Array, ""]
    relabel: Key[Array, ""]


def keys_of(seed: UInt32[Array, ""], updates: Int[Array, ""]) -> Keys:
    """The keys of a run's next iteration."""
    return Keys(*jax.random.split(jax.random.fold_in(jax.random.key(seed), updates), len(Keys._fields)))


def iterate(algorithm: Algorithm, world: Environment, run: Run) -> tuple[Run, Metrics, Trajectory]:
    """Collect and learn once; the trajectory is what was lived."""
    stage, trajectory = collect(
        algorithm, run.learner, world, run.stage, run.seed, keys_of(run.seed, run.updates).collect
    )
    return *learn_from(algorithm, run._replace(stage=stage), trajectory), trajectory


def _advance_one(
    algorithm: Algorithm, world: Environment, run: Run, until: Int[Array, ""], most: Int[Array, ""]
) -> tuple[Run, Metrics]:
    """Iterate one seed until `until` steps or `most` updates, or until a metric is not finite; metrics are summed."""
    shapes = jax.eval_shape(partial(iterate, algorithm), world, run)[1]
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), shapes)

    def going(state: tuple[Run, Metrics, Array]) -> Array:
        run, sums, count = state
        sane = jnp.isfinite(sum(sums.values(), jnp.float32(0)))
        return (run.step < until) & (count < most) & sane

    def body(state: tuple[Run, Metrics, Array]) -> tuple[Run, Metrics, Array]:
        run, sums, count = state
        run, metrics, _ = iterate(algorithm, world, run)
        return run, jax.tree.map(lambda a, b: a + b, sums, metrics), count + 1

    run, sums, _ = jax.lax.while_loop(going, body, (run, zeros, jnp.int32(0)))
    return run, sums


@partial(jax.jit, static_argnames=("algorithm",), donate_argnames=("run",))
def advance_fused(
    algorithm: Algorithm, world: Environment, run: Run, until: Int[Array, ""], most: Int[Array, ""]
) -> tuple[Run, Metrics]:
    """Collect and update, many times in one compiled program."""
    return _advance_one(algorithm, world, run, until, most)


@partial(jax.jit, static_argnames=("algorithm", "vectorised", "mesh"), donate_argnames=("runs",))
def advance_seeds(
    algorithm: Algorithm,
    world: Environment,
    runs: Run,
    until: Int[Array, ""],
    most: Int[Array, ""],
    vectorised: bool,
    mesh: jax.sharding.Mesh,
) -> tuple[Run, Metrics]:
    """`advance_fused` for many seeds [S]: tables side by side, networks one after another, sharded over devices."""

    def several(runs: Run, world: Environment, until: Array, most: Array) -> tuple[Run, Metrics]:
        one = lambda run: _advance_one(algorithm, world, run, until, most)  # noqa: E731
        return jax.vmap(one)(runs) if vectorised else jax.lax.map(one, runs)

    seeds, same = jax.sharding.PartitionSpec("shares"), jax.sharding.PartitionSpec()
    sharded = jax.shard_map(
        several, mesh=mesh, in_specs=(seeds, same, same, same), out_specs=(seeds, seeds), check_vma=False
    )
    return sharded(runs, world, until, most)


@lru_cache
def _hosted_programs(algorithm: Algorithm, structure: Any) -> tuple[Callable[..., Choice], Callable[..., Any]]:
    """Acting, and learning with the next iteration's first act after it, on the leaves of a run without its stage.

    Plain lists of arrays go in and out: to flatten modules at every call costs more than to act.
    """

    def choose_as(run: Run, bounds: Bounds, row: TimeStep, carry: Carry, t: Any) -> Choice:
        return choose(algorithm, run.learner, bounds, row, carry, keys_of(run.seed, run.updates).collect, t)

    @jax.jit
    def act(leaves: list[Array], bounds: Bounds, row: TimeStep, carry: Carry, t: Any) -> Choice:
        return choose_as(jax.tree.unflatten(structure, leaves), bounds, row, carry, t)

    @partial(jax.jit, donate_argnums=0)
    def learn(
        leaves: list[Array], bounds: Bounds, carry: Carry, trajectory: Trajectory
    ) -> tuple[list[Array], Metrics, Choice]:
        run, metrics = learn_from(algorithm, jax.tree.unflatten(structure, leaves), trajectory)
        row = jax.tree.map(lambda x: x[-1], trajectory.steps)
        return jax.tree.leaves(run), metrics, choose_as(run, bounds, row, carry, 0)

    return act, learn


def advance_hosted(
    algorithm: Algorithm, environments: HostedEnvironments, bounds: Bounds, run: Run, until: int, most: int
) -> tuple[Run, Metrics]:
    """`advance_fused` over hosted environments: as many compiled calls as interactions, and no more."""
    stage, step, told = run.stage, int(run.step), []
    leaves, structure = jax.tree.flatten(run._replace(stage=None))
    act, learn = _hosted_programs(algorithm, structure)
    act_now = lambda row, carry, t: act(leaves, bounds, row, carry, t)  # noqa: E731
    choice = act_now(stage.row, stage.carry, np.int32(0))
    while step < until and len(told) < most:
        stage, trajectory = collect_hosted(act_now, algorithm.rollout, environments, stage, choice)
        leaves, metrics, choice = learn(leaves, bounds, stage.carry, trajectory)
        step += int(trajectory.transitions.sum())
        told.append(metrics)
    sums = jax.tree.map(lambda *x: np.sum(x, axis=0), *jax.device_get(told))
    return jax.tree.unflatten(structure, leaves)._replace(stage=stage), sums


def _fresh(
    algorithm: Algorithm,
    spec: Spec,
    relabel: Relabel | None,
    seed: UInt32[Array, ""],
    stage: Callable[[Learner], CollectState],
) -> Run:
    """A run before its first step; `stage(learner)` sets it."""
    # The learner's own key: no iteration's, whose numbers are below 2³¹.
    learner = algorithm.init(jax.random.fold_in(jax.random.key(seed), 2**32 - 1), spec)
    return Run(learner, stage(learner), relabel, no_episodes(spec.num_envs), seed, jnp.int32(0), jnp.int32(0))


def begin_runs(
    algorithm: Algorithm,
    world: Environment,
    relabel: Relabel | None,
    seeds: UInt32[Array, "*S"],
    steps: Int[Array, ""],
    num_envs: int,
) -> Run:
    """Fresh runs [S] over a native world, or one run of one seed []."""
    row = blank(jax.eval_shape(world.reset, jax.random.key(0))[1])
    spec = Spec(world.observation_space, world.action_space, num_envs, steps, row, world)

    def begin_one(seed: UInt32[Array, ""]) -> Run:
        return _fresh(
            algorithm, spec, relabel, seed, lambda learner: opening(algorithm, learner, world, seed, num_envs)
        )

    # One network at a time: batched LAPACK (orthogonal initialisation under vmap) deadlocks on CPUs.
    return begin_one(seeds) if seeds.ndim == 0 else jax.lax.map(begin_one, seeds)


begin_native = jax.jit(begin_runs, static_argnames=("algorithm", "num_envs"))
"""`begin_runs` as one compiled program."""


def begin_beside(
    algorithm: Algorithm,
    world: Environment,
    relabel: Relabel | None,
    seed: UInt32[Array, ""],
    steps: Int[Array, ""],
    num_envs: int,
) -> Run:
    """`begin_native` of one seed, which XLA compiles beside `advance_fused`: together they take most of a start."""
    begin = partial(begin_native, algorithm, world, relabel, seed, steps, num_envs)
    fresh = jax.eval_shape(begin)
    with ThreadPoolExecutor(1) as beside:
        run = beside.submit(begin)
        advance_fused.lower(algorithm, world, fresh, 1, 1).compile()  # pyright: ignore[reportFunctionMemberAccess]
        return run.result()


def rarely_updates(algorithm: Algorithm) -> bool:
    """Whether nothing is learnt at most updates, since episodes are far longer than rollouts.

    Seeds are then lived one after another: in a batch of them the work of an episode's end is done at every update.
    """
    return getattr(algorithm, "longest_episode", 0) > 8 * algorithm.rollout


def gains_from_a_batch(algorithm: Algorithm) -> bool:
    """Whether many seeds are learnt from as one array: many small tables are one large one.

    Networks gain nothing from it on a CPU. Nor do counted models and LSTD's matrix: their sums are wide already, and
    rounded otherwise in a batch.
    """
    table = isinstance(getattr(algorithm, "network", None), Table)
    return table and not isinstance(algorithm, LSTD) and not rarely_updates(algorithm)


def own_buffers(run: Run) -> Run:
    """The same run with no two leaves in one buffer, which could not be donated twice. Large leaves are not copied."""
    seen = set()

    def own(leaf: Array) -> Array:
        place = leaf.unsafe_buffer_pointer()
        if place in seen:
            return jnp.copy(leaf)
        seen.add(place)
        return leaf

    return jax.tree.map(own, run)


def begin_hosted(
    algorithm: Algorithm,
    world: HostedWorld,
    relabel: Relabel | None,
    seed: UInt32[Array, ""],
    steps: Int[Array, ""],
    row: TimeStep,
) -> Run:
    """A fresh run over hosted environments that stand at their first rows [B]."""
    num_envs = len(row.last)
    example = blank(jax.tree.map(lambda x: x[0], row))

    def begin(seed: UInt32[Array, ""], steps: Int[Array, ""]) -> Run:
        spec = Spec(world.observation_space, world.action_space, num_envs, steps, example)
        return _fresh(
            algorithm,
            spec,
            relabel,
            seed,
            lambda learner: CollectState(None, row, initial_carries(algorithm, learner, num_envs)),
        )

    return jax.jit(begin)(seed, steps)


def bad_leaf(tree: PyTree[Any]) -> str | None:
    """The first leaf that holds NaN or infinity, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    floats = ((path, np.asarray(x)) for path, x in leaves if jnp.issubdtype(x.dtype, jnp.inexact))
    bad = (jax.tree_util.keystr(path, simple=True, separator="/") for path, x in floats if not np.isfinite(x).all())
    return next(bad, None)
