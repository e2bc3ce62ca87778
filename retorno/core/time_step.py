"""What the environment says, and what was lived: the rows that everything else reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Integer, PyTree, Shaped

from retorno.core.counter import Counter

AnyTree = TypeVar("AnyTree")


class Only(NamedTuple):
    """The one action that is left on a row: what a prompt is made of. No array as long as the actions are many."""

    action: Int[Array, ""]
    """That action, or −1 where all are free."""


Legal = Bool[Array, " A"] | tuple[Bool[Array, " A_i"], ...] | Only | None
"""What may be done on a row: anything (None), what a mask [A] shows, what one mask for each component of a
MultiDiscrete action shows (as Gymnasium's `MultiDiscrete.sample` takes them), or one action alone."""


def legal_mask(legal: Legal, actions: int) -> Bool[Array, " A"] | None:
    """Which of A discrete actions are legal; None where all are."""
    if isinstance(legal, Only):
        return (legal.action < 0) | (legal.action == jnp.arange(actions))
    assert not isinstance(legal, tuple), "a MultiDiscrete action has one mask for each component"
    return legal


def allowed(legal: Legal, x: Float[Array, " A"], otherwise: float = -jnp.inf) -> Float[Array, " A"]:
    """One number for each action, and `otherwise` for those that are not legal."""
    mask = legal_mask(legal, x.shape[-1])
    return x if mask is None else jnp.where(mask, x, otherwise)


def several(
    legal: Bool[Array, "*N A"] | tuple[Bool[Array, "*N A_i"], ...] | Only | None,
) -> Bool[Array, "*N"]:
    """Whether more than one action is legal, of one row or of many."""
    match legal:
        case None:
            return jnp.array(True)
        case Only():
            return legal.action < 0
        case tuple():
            return jnp.stack([mask.sum(-1) > 1 for mask in legal]).any(0)
    return legal.sum(-1) > 1


class TimeStep(NamedTuple):
    """One row: what the environment says at one time. Reward and discount belong to the way *into* it.

    An episode's final observation is a row like any other: it has `last`, the action chosen on it
    is ignored, and the row after it is the next episode's `first`. `discount` is 0 if and only
    if the episode terminated; a time limit sets `last` alone, so its value is bootstrapped.
    """

    obs: PyTree[Any]
    """An element of the observation space (arrays; a dict or tuple of arrays for Dict and Tuple spaces)."""
    reward: Float[Array, ""]
    discount: Float[Array, ""]
    """1 on the way, 0 where the episode terminated, −1 where the opponent moves next."""
    first: Bool[Array, ""]
    last: Bool[Array, ""]
    legal: Legal = None
    """Which discrete actions may be taken here; None where all may."""


class Trajectory(NamedTuple):
    """What was lived in T interactions with B environments: T + 1 rows, time first.

    A transition is (row t, row t + 1) where row t is not `last`; only those count as environment
    steps and enter the losses of values (see `transitions`). A policy's losses count `choices`.
    """

    steps: TimeStep
    """[T+1, B]"""
    action: PyTree[Any]
    """[T, B], chosen on rows 0 … T−1"""
    extras: PyTree[Any]
    """[T, B], what `act` recorded beside each action"""
    carry: PyTree[Any]
    """[B], the policy's memory as it was before row 0"""

    @property
    def transitions(self) -> Bool[Array, "T B"]:
        """True where row t → row t + 1 is a transition, False where it is a reset."""
        return ~self.steps.last[:-1]

    @property
    def choices(self) -> Bool[Array, "T B"]:
        """The transitions on which more than one action was legal: what can be learnt of a policy."""
        return self.transitions & several(jax.tree.map(lambda x: x[:-1], self.steps.legal))

    def rewarded(self, reward: Callable[[Trajectory], Float[Array, "T B"]]) -> Trajectory:
        """The same, with what `reward` says of it in the place of what the world paid on the way into rows 1 … T."""
        paid = jnp.concatenate([self.steps.reward[:1], reward(self)])
        return self._replace(steps=self.steps._replace(reward=paid))

    def in_order(self) -> tuple[TimeStep, TimeStep, PyTree[Any]]:
        """Rows t, rows t + 1 and actions, [T·B], to be learnt from one after another; resets are among them."""
        return one_after_another((*before_and_after(self.steps), self.action))


def before_and_after(rows: TimeStep) -> tuple[TimeStep, TimeStep]:
    """Of rows [T+1, …]: rows t and rows t + 1, [T, …]; resets are among them."""
    return jax.tree.map(lambda x: x[:-1], rows), jax.tree.map(lambda x: x[1:], rows)


def one_after_another(tree: AnyTree) -> AnyTree:
    """[T, B, …] as [T·B, …]: at each time one environment after another."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def learn_one_after_another(
    learn: Callable[[Any, Any], tuple[Any, Any]], learnt: Any, held: Any, transitions: Any, reverse: bool = False
) -> tuple[Any, Any, Any]:
    """Learn from each transition, at each time from one environment after another.

    Args:
        learn: (learnt, (held, transition)) → (learnt, (held, told)), of one environment.
        learnt: what all environments change.
        held: what each keeps for itself, for instance its traces. Shapes [B, …].
        transitions: what was lived. Shapes [T, B, …].
        reverse: from the last time to the first.

    Returns:
        What was learnt, what is held [B, …] and what was told [T, B, …].

    >>> add = lambda total, x: (total + x[1], (x[0] + 1, total))
    >>> learn_one_after_another(add, jnp.float32(0), jnp.zeros(2), jnp.array([[1.0, 2.0], [3.0, 4.0]]))[2]
    Array([[0., 1.],
           [3., 6.]], dtype=float32)
    """

    def step(state: tuple[Any, Any], transition: Any) -> tuple[tuple[Any, Any], Any]:
        learnt, (held, told) = jax.lax.scan(learn, state[0], (state[1], transition))
        return (learnt, held), told

    (learnt, held), told = jax.lax.scan(step, (learnt, held), transitions, reverse=reverse)
    return learnt, held, told


def windows(tree: AnyTree, count: int, size: int) -> AnyTree:
    """Of rows [R, B, …] the first `count` stretches of `size`, [count·B, size, …], in the same order."""
    rows = jnp.arange(count)[:, None] + jnp.arange(size)
    return one_after_another(jax.tree.map(lambda x: jnp.moveaxis(x[rows], 1, 2), tree))


def restart(obs: PyTree[Any], legal: Legal = None) -> TimeStep:
    """An episode's first row."""
    return TimeStep(obs, jnp.float32(0), jnp.float32(1), jnp.array(True), jnp.array(False), legal)


def transition(
    obs: PyTree[Any],
    reward: Shaped[Array, ""] | float,
    terminated: Bool[Array, ""] | bool = False,
    truncated: Bool[Array, ""] | bool = False,
    legal: Legal = None,
) -> TimeStep:
    """Any row but the first: `discount = 0` iff terminated, `last` iff terminated or truncated."""
    terminated, truncated = jnp.asarray(terminated), jnp.asarray(truncated)
    return TimeStep(
        obs=obs,
        reward=jnp.asarray(reward, jnp.float32),
        discount=1 - terminated.astype(jnp.float32),
        first=jnp.array(False),
        last=terminated | truncated,
        legal=legal,
    )


def blank(like: TimeStep) -> TimeStep:
    """A row of zeros, shaped like another, that is `last`: no transition leads out of it."""
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
    return zeros._replace(last=jnp.ones_like(zeros.last))


class Clock(NamedTuple):
    """How many environment steps a learner has learnt from, of how many: what schedules run on."""

    step: Counter
    budget: Counter

    @classmethod
    def start(cls, budget: int | Integer[Array, ""] | Counter) -> Clock:
        """A clock at 0."""
        return cls(Counter.of(jnp.uint32(0)), Counter(*map(jnp.asarray, Counter.of(budget))))

    @property
    def progress(self) -> Float[Array, ""]:
        """The share of the budget that is used, in [0, 1]."""
        return jnp.minimum(self.step.size / jnp.maximum(self.budget.size, 1), 1.0)

    def advance(self, trajectory: Trajectory) -> Clock:
        """Count a trajectory's transitions."""
        return self._replace(step=self.step.plus(trajectory.transitions.sum(dtype=jnp.uint32)))
