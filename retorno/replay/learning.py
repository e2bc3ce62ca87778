"""What learning from a replay has in common: windows cut where learning begins, and gradient steps that wait for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Key, PyTree

from retorno.core.policy import Carry, Heads, Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec
from retorno.core.time_step import TimeStep, Trajectory
from retorno.networks.critics import Critics
from retorno.networks.normalisers import ObservationNormaliser, shown
from retorno.replay.ring import Window

AnyLearner = TypeVar("AnyLearner")


def recorded(actor: Policy, spec: Spec, stored_carry: bool) -> dict[str, PyTree[Any]]:
    """What is kept beside an action, of one row: a relabel's extras, and a memory that only living could tell.

    Args:
        actor: the network that acts.
        spec: of the run, with its relabel.
        stored_carry: whether an unbounded memory is kept.
    """
    carry = {"carry": actor.initial_carry()} if actor.context is None and stored_carry else {}
    asked = () if spec.relabel is None else spec.relabel.extras
    return carry | ({"log_prob": jnp.float32(0)} if "log_prob" in asked else {})


def gradient_steps(
    step: Callable[[AnyLearner, Key[Array, ""]], tuple[AnyLearner, Metrics]],
    learner: AnyLearner,
    count: int,
    ready: Bool[Array, ""],
    key: Key[Array, ""],
) -> tuple[AnyLearner, Metrics]:
    """Take some gradient steps, or none.

    A loop of no turns rather than a branch: what a branch gives back, the replay among it, would be copied.

    Args:
        step: (learner, key) → (learner, metrics), one step.
        learner: as it is before.
        count: how many steps.
        ready: whether enough was lived to take them.
        key: what they draw follows from it.

    Returns:
        The learner after them, and the means of their metrics: 0 where there was none.
    """
    keys = jax.random.split(key, count)
    _, told = jax.eval_shape(step, learner, keys[0])
    none = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), told)

    def turn(i: Array, state: tuple[AnyLearner, Metrics]) -> tuple[AnyLearner, Metrics]:
        learner, metrics = step(state[0], keys[i])
        return learner, jax.tree.map(lambda total, x: total + x / count, state[1], metrics)

    return jax.lax.fori_loop(0, jnp.where(ready, count, 0), turn, (learner, none))


class Lesson(NamedTuple):
    """N stretches to learn from, each behind a stretch that is only read."""

    before: TimeStep
    """[R, N], the rows that are read for a memory."""
    action_before: PyTree[Any]
    """[R, N], what was done on them."""
    steps: TimeStep
    """[L + 1, N]"""
    action: PyTree[Any]
    """[L, N]"""
    transitions: Bool[Array, "L N"]
    choices: Bool[Array, "L N"]
    reward: Float[Array, "L N"]

    @property
    def padded_action(self) -> PyTree[Any]:
        """[L + 1, N]: on the newest row nothing is known to have been done."""
        return jax.tree.map(lambda x: jnp.concatenate([x, jnp.zeros_like(x[:1])]), self.action)


def lesson(trajectory: Trajectory, read: int, reward: Reward, observations: ObservationNormaliser | None) -> Lesson:
    """A window as it is learnt from, or what was recorded.

    Args:
        trajectory: R + L + 1 rows.
        read: R, how many of them are read first.
        reward: what transitions are worth.
        observations: how networks are shown them; None for as they are.
    """
    steps = trajectory.steps
    if observations is not None:
        steps = steps._replace(obs=jax.vmap(jax.vmap(observations))(steps.obs))
    early = lambda tree: jax.tree.map(lambda x: x[:read], tree)  # noqa: E731
    late = lambda tree: jax.tree.map(lambda x: x[read:], tree)  # noqa: E731
    return Lesson(
        before=early(steps),
        action_before=early(trajectory.action),
        steps=late(steps),
        action=late(trajectory.action),
        transitions=trajectory.transitions[read:],
        choices=trajectory.choices[read:],
        reward=reward(trajectory)[read:],
    )


def actor_memory(actor: Policy, window: Window, rows: Lesson, observations: ObservationNormaliser | None) -> Carry:
    """An actor's memory [N] before the first row that is learnt from: the recorded one, or none, and what it read."""
    begun = shown(actor, window.carry(actor), observations)
    return jax.vmap(actor.read, (1, 1, 0))(rows.before.obs, rows.before.first, begun)


def critics_memory(critics: Critics, rows: Lesson) -> Carry:
    """Critics' memories [N] before that row: what they read from nothing on."""
    return critics.read(rows.before.obs, rows.before.first, rows.action_before)


def next_heads(policy: Policy, steps: TimeStep, carry: Carry) -> Heads:
    """What a policy says of rows 1 … L, [L, N], in the memory of all rows before them."""
    now, after = jax.tree.map(lambda x: x[:1], steps), jax.tree.map(lambda x: x[1:], steps)
    return unroll_batch(policy, after.obs, after.first, jax.vmap(policy.read, (1, 1, 0))(now.obs, now.first, carry))
