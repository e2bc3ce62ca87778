"""The one loop: collect, judge, update, observe, again. It knows no algorithm by name.

`iterate` is one round; `repeat` goes round. Fused over a native world, for one seed or for many, it is one compiled
program; over hosted environments the same two steps are driven from Python (`retorno.run.hosted`). Whoever wants to
see what is lived, to watch a table or to study a method, gives an `Observer`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree, UInt32

from retorno.core import constants
from retorno.core.contract import breaches, require_contract
from retorno.core.counter import Counter
from retorno.core.environment import Environment
from retorno.core.policy import Algorithm, Learner, Metrics, Relabel, RelabelConfig, world_reward
from retorno.core.runtime import IN_HASTE, SIDE_BY_SIDE
from retorno.core.spaces import SpaceError, Spec, policy_space
from retorno.core.time_step import AnyTree, Trajectory, blank
from retorno.ops.optimisers import FLAT
from retorno.run.collect import CollectState, EpisodeStatistics, collect, no_episodes, opening


class Run(NamedTuple):
    """Everything needed to go on. With several seeds every leaf has an axis [seeds] in front."""

    learner: Learner
    stage: CollectState
    relabel: Relabel | None
    scores: EpisodeStatistics
    seed: UInt32[Array, ""]
    """All randomness follows from the seed and the counters."""
    updates: Counter
    step: Counter
    """Environment steps taken."""


class Iteration(NamedTuple):
    """What was lived and learnt in one round."""

    before: Run
    trajectory: Trajectory
    metrics: Metrics
    after: Run


class Observer(eqx.Module):
    """Sees every iteration, inside of the compiled program, and changes nothing. Its arrays are what it has seen."""

    def see(self, lived: Iteration) -> Observer:
        """What it knows after one more iteration."""
        raise NotImplementedError


class Keys(NamedTuple):
    """What one iteration draws from."""

    collect: Key[Array, ""]
    update: Key[Array, ""]
    relabel: Key[Array, ""]


def keys_of(run: Run) -> Keys:
    """The keys of a run's next iteration.

    Args:
        run: whose seed and number of updates they follow from.

    >>> from retorno.core.counter import Counter
    >>> run = Run(None, None, None, None, jnp.uint32(0), Counter.of(jnp.uint32(3)), Counter.of(jnp.uint32(9)))
    >>> len({tuple(jax.random.key_data(key).tolist()) for key in keys_of(run)})
    3
    """
    own = jax.random.fold_in(jax.random.key(run.updates.mixed(run.seed)), run.updates.low)
    # One by one: a key that nobody draws from is not computed.
    return Keys(*(jax.random.fold_in(own, child) for child in range(len(Keys._fields))))


def iterate(algorithm: Algorithm, world: Environment, run: Run) -> Iteration:
    """Collect and learn once over a native world.

    Args:
        algorithm: its hyperparameters.
        world: a native world.
        run: where it stands.

    Returns:
        What was lived, [T+1, B], and learnt.
    """
    stage, trajectory = collect(algorithm, run.learner, world, run.stage, run.seed, keys_of(run).collect)
    after, metrics = learn(algorithm, run._replace(stage=stage), trajectory)
    return Iteration(run, trajectory, metrics, after)


def learn(algorithm: Algorithm, run: Run, trajectory: Trajectory) -> tuple[Run, Metrics]:
    """Judge, update and count: what follows every rollout, fused and hosted alike.

    Args:
        algorithm: its hyperparameters.
        run: where it stands, but for its learner, relabel and counters.
        trajectory: what was lived since. Shapes [T+1, B].

    Returns:
        The run after it, and scalar metrics; those of a relabel are called "relabel/…".
    """
    keys, relabel, reward, told = keys_of(run), run.relabel, world_reward, {}
    if relabel is not None:
        relabel, told = relabel.learn(trajectory, keys.relabel)
        objective = relabel.objective(told, None)
        told = told if objective is None else told | {"objective": objective}
        reward = relabel.reward
    learner, metrics = algorithm.update(run.learner, trajectory, reward, keys.update)
    return run._replace(
        learner=learner,
        relabel=relabel,
        scores=run.scores.update(trajectory),
        updates=run.updates.plus(1),
        step=run.step.plus(trajectory.transitions.sum(dtype=jnp.uint32)),
    ), metrics | {f"relabel/{name}": x for name, x in told.items()}


Observe = Callable[[Any, Iteration], Any]


def repeat(
    iterate: Callable[[Run], Iteration],
    observe: Observe,
    run: Run,
    seen: Any,
    going: Callable[[Run, Any], Bool[Array, ""]],
) -> tuple[Run, Any]:
    """Go round while `going(run, seen)`; `observe(seen, iteration)` is what has been seen after one more.

    Args:
        iterate: one round.
        observe: what is done with each, inside of the compiled program.
        run: where it stands.
        seen: what was seen before.
        going: whether there is a further round.

    Returns:
        The run and what was seen at the end.
    """

    def once(state: tuple[Run, Any]) -> tuple[Run, Any]:
        run, seen = state
        lived = iterate(run)
        return lived.after, observe(seen, lived)

    return jax.lax.while_loop(lambda state: going(*state), once, (run, seen))


class Seen(NamedTuple):
    """What a report is made of: what was seen since the one before."""

    sums: Metrics
    """Of each metric, over updates."""
    updates: Int[Array, ""]
    rewards: Float[Array, ""]
    """The sum of all that the world paid."""
    observer: Observer | None

    def see(self, lived: Iteration) -> Seen:
        """After one more iteration."""
        paid = jnp.where(lived.trajectory.transitions, lived.trajectory.steps.reward[1:], 0.0)
        return Seen(
            jax.tree.map(lambda total, x: total + x, self.sums, lived.metrics),
            self.updates + 1,
            self.rewards + paid.sum(),
            None if self.observer is None else self.observer.see(lived),
        )

    @property
    def finite(self) -> Bool[Array, ""]:
        """Whether no metric was NaN or infinite."""
        return jnp.isfinite(sum(self.sums.values(), jnp.float32(0)))


def nothing_seen(metrics: PyTree[Any], observer: Observer | None) -> Seen:
    """Before the first iteration, given the metrics' shapes."""
    return Seen(
        jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), metrics), jnp.int32(0), jnp.float32(0), observer
    )


def all_finite(tree: PyTree[Any]) -> Bool[Array, ""]:
    """Whether no array holds NaN or infinity.

    Args:
        tree: arrays of any shapes; whole numbers are always finite.

    Returns:
        Shape [].

    >>> all_finite({"w": jnp.array([1.0, jnp.nan])})
    Array(False, dtype=bool)
    """
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    # Small ones are looked at as one vector: to compile each took a tenth of a start.
    small = [x.reshape(-1) for x in floats if x.size <= FLAT]
    parts = [x for x in floats if x.size > FLAT] + ([jnp.concatenate(small)] if small else [])
    # 0 · x is NaN where x is not finite.
    return jnp.isfinite(sum(((0 * x).sum() for x in parts), jnp.float32(0)))


def strongly_typed(tree: AnyTree) -> AnyTree:
    """The same arrays, none of a weak type, which a Python number has that a world or a learner holds.

    A program gives back what it was given with types that are strong: of weak ones there would be another program.

    >>> jnp.asarray(0.5).weak_type, strongly_typed(jnp.asarray(0.5)).weak_type
    (True, False)
    """
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), tree)


class Advanced(NamedTuple):
    """Where a run stands after many iterations."""

    run: Run
    seen: Seen
    finite: Bool[Array, ""]
    """Whether no metric, nothing in the learner and no reward is NaN or infinite, and the world's rows are lawful."""


def _advance(
    algorithm: Algorithm,
    world: Environment,
    run: Run,
    observer: Observer | None,
    steps: UInt32[Array, ""],
    most: Int[Array, ""],
) -> Advanced:
    """Iterate one seed for `steps` steps or `most` updates, or until a metric is not finite."""
    # Traced once, for its metrics' names and for the loop.
    one = jax.jit(partial(iterate, algorithm, world))
    seen = nothing_seen(jax.eval_shape(one, run).metrics, observer)
    begun = run.step.low

    def going(run: Run, seen: Seen) -> Bool[Array, ""]:
        return (run.step.low - begun < steps) & (seen.updates < most) & seen.finite

    run, seen = repeat(one, Seen.see, run, seen, going)
    broken = jnp.stack([found.any() for found in breaches(run.stage.row).values()]).any()
    return Advanced(strongly_typed(run), seen, seen.finite & all_finite((run.learner, seen.rewards)) & ~broken)


@partial(constants.jit, donate_argnames=("run",))
def advance(
    algorithm: Algorithm,
    world: Environment,
    run: Run,
    observer: Observer | None,
    steps: UInt32[Array, ""],
    most: Int[Array, ""],
) -> Advanced:
    """Collect and learn, many times in one compiled program.

    Args:
        algorithm: its hyperparameters.
        world: a native world.
        run: where it stands; its buffers are given away.
        observer: sees every iteration; None for nobody.
        steps: how many environment steps to live at least. Shape [].
        most: how many updates to make at most. Shape [].

    Returns:
        Where the run stands, the sums of its metrics, and whether all of it is finite.
    """
    return _advance(algorithm, world, run, observer, steps, most)


def _advance_seeds(
    algorithm: Algorithm,
    world: Environment,
    runs: Run,
    steps: UInt32[Array, " S"],
    most: Int[Array, ""],
    mesh: jax.sharding.Mesh,
) -> Advanced:
    def several(runs: Run, steps: Array, algorithm: Algorithm, world: Environment, most: Array) -> Advanced:
        one = lambda run, steps: _advance(algorithm, world, run, None, steps, most)  # noqa: E731
        return jax.vmap(one)(runs, steps) if seeds_batch(algorithm) else jax.lax.map(lambda x: one(*x), (runs, steps))

    seeds, same = jax.sharding.PartitionSpec("shares"), jax.sharding.PartitionSpec()
    specs = (seeds, seeds, same, same, same)
    sharded = jax.shard_map(several, mesh=mesh, in_specs=specs, out_specs=seeds, check_vma=False)
    return sharded(runs, steps, algorithm, world, most)


_program_of_seeds = partial(constants.jit, _advance_seeds, static_argnames=("mesh",), donate_argnames=("runs",))
advance_in_turn = _program_of_seeds()
"""`advance` for many seeds [S], one after another on each device."""
advance_side_by_side = _program_of_seeds(compiler_options=SIDE_BY_SIDE)
"""`advance` for many seeds [S], all at once."""


def advance_seeds(algorithm: Algorithm, *rest: Any) -> Advanced:
    """`advance` for many seeds [S]: side by side or one after another, as the algorithm says, spread over devices."""
    return (advance_side_by_side if seeds_batch(algorithm) else advance_in_turn)(algorithm, *rest)


def seeds_batch(algorithm: Algorithm) -> bool:
    """Whether many seeds are learnt side by side: what the algorithm says, and else what its network says.

    Many small tables are one large one; networks gain nothing from it on a CPU. What is faster than a CPU has room for
    all of them.

    Args:
        algorithm: its hyperparameters.

    >>> from retorno.algorithms import PPO, QLearning
    >>> seeds_batch(QLearning()), seeds_batch(PPO())
    (True, False)
    """
    if jax.default_backend() != "cpu":
        return True
    network = getattr(algorithm, "network", None)
    return getattr(algorithm, "seeds_batch", getattr(network, "seeds_batch", False))


def build_relabel(relabel: RelabelConfig | None, seed: UInt32[Array, ""], spec: Spec) -> Relabel | None:
    """A seed's relabel before its first step."""
    return None if relabel is None else relabel.build(_own_key(seed, 4), spec)


def _own_key(seed: UInt32[Array, ""], child: int) -> Key[Array, ""]:
    """A seed's key for what is made once: the children 0, 1, 2 of such a key are an iteration's."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 2**32 - 1), child)


def initial_learner(
    algorithm: Algorithm, spec: Spec, relabel: RelabelConfig | None, seed: UInt32[Array, ""]
) -> tuple[Learner, Relabel | None]:
    """A run's learner and relabel before its first step."""
    built = build_relabel(relabel, seed, spec)
    learner = algorithm.init(_own_key(seed, 3), replace(spec, relabel=built))
    require_extras(algorithm, learner, spec, built)
    return learner, built


def require_extras(algorithm: Algorithm, learner: Learner, spec: Spec, relabel: Relabel | None) -> None:
    """Refuse a relabel that reads what an algorithm does not record beside its actions.

    Raises:
        SpaceError: it says what is recorded.
    """
    if relabel is None or not relabel.extras:
        return

    def recorded(learner: Learner) -> PyTree[Any]:
        return algorithm.act(learner, spec.row, algorithm.initial_carry(learner), jax.random.key(0))[1]

    found = jax.eval_shape(recorded, learner)
    names = tuple(found) if isinstance(found, dict) else ()
    for name in relabel.extras:
        if name not in names:
            raise SpaceError(
                f"{type(relabel).__name__} reads {name!r} of what is recorded beside each action, and "
                f"{type(algorithm).__name__} records {', '.join(names) or 'nothing by name'}: PPO records log_prob, "
                "and so does DQN"
            )


def fresh(
    learner: Learner, stage: CollectState, relabel: Relabel | None, seed: UInt32[Array, ""], num_envs: int
) -> Run:
    """A run before its first step."""
    zero = Counter(jnp.uint32(0), jnp.uint32(0))
    return Run(learner, stage, relabel, no_episodes(num_envs), seed, zero, zero)


def native_spec(world: Environment, steps: Counter | Int[Array, ""], num_envs: int, rollout: int | None = None) -> Spec:
    """What an algorithm has to know of a native world.

    Args:
        world: a native world.
        steps: the run's budget.
        num_envs: B.
        rollout: T, where it is known.

    Raises:
        WorldError: when its rows are not what its spaces promise.

    >>> from retorno.environments.games.tic_tac_toe_for_two import TicTacToe
    >>> native_spec(TicTacToe(), Counter.of(100), 1).two_players
    True
    """
    require_contract(world)
    row = blank(jax.eval_shape(world.reset, jax.random.key(0))[1])
    return Spec(
        observation_space=world.observation_space,
        action_space=policy_space(world.action_space),
        num_envs=num_envs,
        steps=steps,
        row=row,
        world=world,
        two_players=world.two_players,
        whole=rollout is not None and world.lockstep is not None and rollout % world.lockstep.rows == 0,
    )


def _begin_learners(
    algorithm: Algorithm,
    world: Environment,
    relabel: RelabelConfig | None,
    seeds: UInt32[Array, "*S"],
    steps: Counter | Int[Array, ""],
    num_envs: int,
) -> tuple[Learner, Relabel | None]:
    """Learners and relabels [S] for a native world, or those of one seed []."""
    one = partial(initial_learner, algorithm, native_spec(world, steps, num_envs, algorithm.rollout), relabel)
    return strongly_typed(one(seeds) if seeds.ndim == 0 else jax.lax.map(one, seeds))


def _begin_stages(
    algorithm: Algorithm,
    world: Environment,
    learners: Learner,
    seeds: UInt32[Array, "*S"],
    num_envs: int,
) -> Run:
    """Runs [S] at the first rows of a native world, or one run of one learner, whose learners are still to be set."""

    def one(learner: Learner, seed: UInt32[Array, ""]) -> Run:
        return fresh(None, opening(algorithm, learner, world, seed, num_envs), None, seed, num_envs)

    runs = one(learners, seeds) if seeds.ndim == 0 else jax.lax.map(lambda each: one(*each), (learners, seeds))
    return strongly_typed(runs)


def begin_runs(
    algorithm: Algorithm,
    world: Environment,
    relabel: RelabelConfig | None,
    seeds: UInt32[Array, "*S"],
    steps: Counter | Int[Array, ""],
    num_envs: int,
    learners: Callable[..., Any] = _begin_learners,
    stages: Callable[..., Run] = _begin_stages,
) -> Run:
    """Fresh runs [S] over a native world, or one run of one seed [].

    Args:
        algorithm: its hyperparameters.
        world: a native world.
        relabel: where rewards come from, when not from the world alone.
        seeds: of the runs. Shape [S] or [].
        steps: the budget that schedules run over.
        num_envs: B.
        learners: how learners are made; compiled or not.
        stages: how environments are begun; compiled or not.
    """
    learner, built = learners(algorithm, world, relabel, seeds, steps, num_envs)
    return stages(algorithm, world, learner, seeds, num_envs)._replace(learner=learner, relabel=built)


begin_learners = jax.jit(_begin_learners, static_argnames=("relabel", "num_envs"), compiler_options=IN_HASTE)
begin_stages = constants.jit(_begin_stages, static_argnames=("num_envs",), compiler_options=IN_HASTE)

begin_native = partial(begin_runs, learners=begin_learners, stages=begin_stages)
"""`begin_runs` as two programs, which run once and so are compiled in haste.

The one that calls the host for a network's weights is small, for JAX does not keep it in its compilation cache.
"""

begun_shapes = partial(begin_runs, learners=begin_learners.eval_shape, stages=begin_stages.eval_shape)
"""The shapes of what `begin_native` gives."""


def begin_beside(
    algorithm: Algorithm,
    world: Environment,
    relabel: RelabelConfig | None,
    seed: UInt32[Array, ""],
    steps: Counter,
    num_envs: int,
) -> Run:
    """`begin_native` of one seed, which XLA compiles beside `advance`: together they take most of a start."""
    begun = (algorithm, world, relabel, seed, steps, num_envs)
    like = begun_shapes(*begun)
    with ThreadPoolExecutor(1) as beside:
        run = beside.submit(begin_native, *begun)
        advance.lower(algorithm, world, like, None, np.uint32(1), 1).compile()
        return run.result()


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


def bad_leaf(tree: PyTree[Any]) -> str | None:
    """The first leaf that holds NaN or infinity, by its path.

    Args:
        tree: arrays of any shapes.

    Returns:
        The path, or None where all is finite.

    >>> bad_leaf({"fine": jnp.ones(2), "w": [jnp.array(jnp.inf)]})
    'w/0'
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not all_finite(leaf):
            return jax.tree_util.keystr(path, simple=True, separator="/")
    return None
