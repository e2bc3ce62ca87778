"""From acting to a trajectory: one contract, three bodies.

Where the world is JAX-native the whole rollout is one `lax.scan` inside a compiled program: `collect`. Where
it is hosted a Python loop calls one compiled `choose` for each step: `retorno.run.hosted.Rollout`. Both choose with
the same keys and live the same episodes, so they live the same trajectory. Where everything was lived before
(`Recorded`) nobody acts: whole episodes are drawn, with the actions that were taken then.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key, PyTree, UInt32

from retorno.core.environment import Environment, Episodes, advance, begin
from retorno.core.policy import Algorithm, Carry, Learner
from retorno.core.spaces import SpaceError, Units, action_units
from retorno.core.time_step import Only, TimeStep, Trajectory, one_after_another
from retorno.environments.recordings import Reading, Recorded


class CollectState(NamedTuple):
    """Where B environments and the policy's memory of them stand."""

    episodes: Episodes | Reading | None
    """[B]; of recordings how far one has read; None where the environments are hosted and keep their own state."""
    row: TimeStep
    """[B]"""
    carry: Carry
    """[B]; None where each rollout is of whole episodes whose prompts are read: nothing is remembered between two."""


def initial_carries(algorithm: Algorithm, learner: Learner, num_envs: int) -> Carry:
    """Empty memories [B]."""
    carry = algorithm.initial_carry(learner)
    return jax.tree.map(lambda x: jnp.repeat(jnp.asarray(x)[None], num_envs, 0), carry)


def opening(
    algorithm: Algorithm, learner: Learner, world: Environment, seed: UInt32[Array, ""], num_envs: int
) -> CollectState:
    """B native environments at the first rows of their first episodes.

    Args:
        algorithm: its hyperparameters.
        learner: what it has learnt, for the memory's shape.
        world: a native world.
        seed: of the run. Shape [].
        num_envs: B.
    """
    episodes, row = jax.vmap(lambda env: begin(world, seed, env))(_numbers(algorithm, num_envs))
    if isinstance(world, Recorded):
        episodes = world.opening(num_envs)
    carry = None if reads(algorithm, world) else initial_carries(algorithm, learner, num_envs)
    return CollectState(episodes, row, carry)


def group_of(algorithm: Algorithm) -> int:
    """How many neighbouring environments begin their episodes alike."""
    return getattr(algorithm, "group", 1)


def _numbers(algorithm: Algorithm, num_envs: int) -> UInt32[Array, " B"]:
    """Under which number each environment is seeded: those of a group have the same one."""
    return jnp.arange(num_envs, dtype=jnp.uint32) // group_of(algorithm)


class Choice(NamedTuple):
    """What was chosen on B rows."""

    action: Any
    """[B]"""
    given: Any
    """[B], the action as the world takes it: in its units."""
    extras: PyTree[Any]
    """[B]"""
    carry: Carry
    """[B]"""


def choose(
    algorithm: Algorithm,
    learner: Learner,
    units: Units,
    row: TimeStep,
    carry: Carry,
    key: Key[Array, ""],
    t: Int[Array, ""],
) -> Choice:
    """Act on B rows. Each of a rollout's choices has its own key.

    Args:
        algorithm: its hyperparameters.
        learner: what it has learnt.
        units: how its actions become the world's.
        row: the rows acted on. Shapes [B].
        carry: the policy's memories. Shapes [B].
        key: of the rollout.
        t: which step of it this is. Shape [].

    Returns:
        Actions, as policies and as the world take them, extras and memories [B].
    """
    num_envs = row.last.shape[0]
    keys = jax.vmap(partial(jax.random.fold_in, key))(t * num_envs + jnp.arange(num_envs))
    action, extras, carry = jax.vmap(partial(algorithm.act, learner))(row, carry, keys)
    return Choice(action, units.to_world(action), extras, carry)


def read(
    algorithm: Any, learner: Learner, rows: TimeStep, carry: Carry
) -> tuple[Int[Array, "P B"], PyTree[Any], Carry]:
    """A stretch of rows [P, B] on which there is nothing to choose: the actions that are left, extras, the carry."""
    extras, carry = jax.vmap(partial(algorithm.read, learner), in_axes=(1, 0), out_axes=(1, 0))(rows, carry)
    return what_is_left(rows), extras, carry


def what_is_left(row: TimeStep) -> Any:
    """The only action of a row, or of many; −1 where all are free."""
    assert isinstance(row.legal, Only), "on rows of a prompt one action alone is legal: legal=Only(action)"
    return row.legal.action


def reads(algorithm: Algorithm, world: Environment) -> bool:
    """Whether prompts are read at once: the environments keep together, and each rollout is of whole episodes."""
    together = world.lockstep
    return bool(together and together.prompt and algorithm.rollout % together.rows == 0 and hasattr(algorithm, "read"))


def collect(
    algorithm: Algorithm,
    learner: Learner,
    world: Environment,
    stage: CollectState,
    seed: UInt32[Array, ""],
    key: Key[Array, ""],
) -> tuple[CollectState, Trajectory]:
    """T interactions with B native environments, to be called inside a compiled program.

    A prompt that all of them begin together is read at once; see `reads`.

    Args:
        algorithm: its hyperparameters; T is its `rollout`.
        learner: what it has learnt.
        world: a native world.
        stage: where B environments stand.
        seed: of the run: all that happens in the world follows from it. Shape [].
        key: of the rollout: all choices follow from it.

    Returns:
        Where they stand after it, and what was lived [T+1, B].
    """
    if isinstance(world, Recorded):
        return draw(algorithm, learner, world, stage, seed)
    numbers = _numbers(algorithm, stage.row.last.shape[0])
    units = action_units(world.action_space)

    step = jax.vmap(lambda number, episodes, row, given: advance(world, episodes, row, given, seed, number))

    def interact(stage: CollectState, t: Int[Array, ""]) -> tuple[CollectState, tuple[TimeStep, Any, PyTree[Any]]]:
        choice = choose(algorithm, learner, units, stage.row, stage.carry, key, t)
        episodes, row = step(numbers, stage.episodes, stage.row, choice.given)
        return CollectState(episodes, row, choice.carry), (stage.row, choice.action, choice.extras)

    def follow(stage: CollectState, _: None) -> tuple[CollectState, TimeStep]:
        episodes, row = step(numbers, stage.episodes, stage.row, units.to_world(what_is_left(stage.row)))
        return CollectState(episodes, row, stage.carry), stage.row

    def read_and_answer(stage: CollectState, times: Int[Array, " answer"]) -> tuple[CollectState, Any]:
        stage, rows = jax.lax.scan(follow, stage, None, length=together.prompt)  # pyright: ignore[reportOptionalMemberAccess]
        action, extras, carry = read(algorithm, learner, rows, None)
        after, answer = jax.lax.scan(interact, stage._replace(carry=carry), times)
        return after._replace(carry=None), jax.tree.map(lambda *x: jnp.concatenate(x), (rows, action, extras), answer)

    together, times = world.lockstep, jnp.arange(algorithm.rollout)
    if together is not None and reads(algorithm, world):
        answers = times.reshape(-1, together.rows)[:, together.prompt :]
        after, texts = jax.lax.scan(read_and_answer, stage, answers)
        rows, action, extras = one_after_another(texts)
    else:
        after, (rows, action, extras) = jax.lax.scan(interact, stage, times)
    steps = jax.tree.map(lambda many, one: jnp.concatenate([many, one[None]]), rows, after.row)
    return after, Trajectory(steps, action, extras, stage.carry)


def draw(
    algorithm: Algorithm, learner: Learner, world: Recorded, stage: CollectState, seed: UInt32[Array, ""]
) -> tuple[CollectState, Trajectory]:
    """B columns of what was recorded, instead of living anything.

    Raises:
        SpaceError: when the algorithm learns from what only it records while it acts.
    """
    lived = world.lived.extras if isinstance(world.lived.extras, dict) else {}
    acted = jax.eval_shape(
        algorithm.act, learner, *jax.tree.map(lambda x: x[0], (stage.row, stage.carry)), jax.random.key(0)
    )
    if isinstance(acted[1], dict) and (missing := set(acted[1]) - set(lived)):
        raise SpaceError(
            f"{type(algorithm).__name__} learns from what it lived itself (it records {', '.join(sorted(missing))}), "
            "and this world is recorded: learn from it by behaviour_cloning, or give another world"
        )
    reading, trajectory = world.draw(stage.episodes, seed, stage.row.last.shape[0])  # pyright: ignore[reportArgumentType]
    row = jax.tree.map(lambda x: x[-1], trajectory.steps)
    units = action_units(world.action_space)
    trajectory = trajectory._replace(action=units.to_policy(trajectory.action), carry=stage.carry)
    return CollectState(reading, row, stage.carry), trajectory


class EpisodeStatistics(NamedTuple):
    """Returns and lengths of the episodes, as they are lived: of those under way, and sums of those that ended."""

    open_return: Float[Array, " B"]
    """Of two players, the one's who moved first."""
    sign: Float[Array, " B"]
    """−1 where the other is to move; in a world without an opponent always 1."""
    open_length: UInt32[Array, " B"]
    episodes: UInt32[Array, ""]
    """It and `length_sum` begin again at 2³²: differences are exact all the same."""
    return_sum: Float[Array, ""]
    lost: Float[Array, ""]
    """What rounding has taken from `return_sum` (Kahan 1965)."""
    length_sum: UInt32[Array, ""]

    def update(self, trajectory: Trajectory) -> EpisodeStatistics:
        """Count a trajectory's rewards, undiscounted."""

        def count(scores: EpisodeStatistics, row: tuple[Array, ...]) -> tuple[EpisodeStatistics, None]:
            reward, discount, first, last = row
            returns = jnp.where(first, 0.0, scores.open_return + scores.sign * reward)
            lengths = jnp.where(first, jnp.uint32(0), scores.open_length + 1)
            more = jnp.where(last, returns, 0.0).sum() + scores.lost
            total = scores.return_sum + more
            return EpisodeStatistics(
                open_return=returns,
                sign=jnp.where(first, 1.0, jnp.where(discount < 0, -scores.sign, scores.sign)),
                open_length=lengths,
                episodes=scores.episodes + last.sum(dtype=jnp.uint32),
                return_sum=total,
                lost=more - (total - scores.return_sum),
                length_sum=scores.length_sum + jnp.where(last, lengths, 0).sum(dtype=jnp.uint32),
            ), None

        steps = trajectory.steps
        # A row that only waits is `last` as well, and no transition leads into it.
        ended = steps.last[1:] & trajectory.transitions
        told = (steps.reward[1:], steps.discount[1:], steps.first[1:], ended)
        # What was recorded begins anew in each trajectory.
        begun = steps.first[0]
        opened = self._replace(
            open_return=jnp.where(begun, 0.0, self.open_return),
            sign=jnp.where(begun, 1.0, self.sign),
            open_length=jnp.where(begun, jnp.uint32(0), self.open_length),
        )
        return jax.lax.scan(count, opened, told)[0]


def no_episodes(num_envs: int) -> EpisodeStatistics:
    """Nothing lived yet.

    Args:
        num_envs: B.

    >>> int(no_episodes(2).episodes)
    0
    """
    return EpisodeStatistics(
        open_return=jnp.zeros(num_envs),
        sign=jnp.ones(num_envs),
        open_length=jnp.zeros(num_envs, jnp.uint32),
        episodes=jnp.uint32(0),
        return_sum=jnp.float32(0),
        lost=jnp.float32(0),
        length_sum=jnp.uint32(0),
    )
