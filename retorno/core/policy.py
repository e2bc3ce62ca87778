"""Policies, learners' algorithms and what may stand between collecting and learning."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Key, PyTree

from retorno.core.spaces import Spec
from retorno.core.time_step import AnyTree, TimeStep, Trajectory

Heads = dict[str, Any]
"""What a policy says of one row: by name, an array ("value" [], "q" [A]) or a distribution ("policy")."""
ROWS = "rows"
"""The axis over which a batch of rows is seen, for layers that ask what all rows are like."""
Carry = PyTree[Any]
Learner = PyTree[Any]
Metrics = dict[str, Any]
Reward = Callable[[Trajectory], Float[Array, "T B"]]
"""The rewards of a trajectory's or window's transitions, into rows 1 … T."""


class Foreseen(NamedTuple):
    """Observations as each part of a policy is to be given them, by the part's name or its heads."""

    parts: Any

    @staticmethod
    def by(part: Any, obs: PyTree[Any]) -> PyTree[Any]:
        """What one part is to be given."""
        return obs.parts[part] if isinstance(obs, Foreseen) else obs


class Policy(eqx.Module):
    """A network with a memory slot. All of it is unbatched: callers `vmap`.

    It forgets by itself: a row that is `first` starts from an empty memory, whatever `carry` holds.
    """

    @property
    @abc.abstractmethod
    def context(self) -> int | None:
        """How many earlier rows of its episode the heads on a row may depend on.

        0: none, so that rows may be seen in any order and the carry is nothing, as a table's and an MLP's.
        k: the last k, as of stacked frames. None: any number, as a GRU's and a transformer's.
        """

    @abc.abstractmethod
    def initial_carry(self) -> Carry:
        """An empty memory: `()` where `context` is 0."""

    @abc.abstractmethod
    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        """One row after another, for acting."""

    def choice(self, row: TimeStep, carry: Carry) -> tuple[Any, Carry]:
        """How likely each action is on a row, those that are not legal never, and the memory after it.

        `step` sees observations alone: who looks ahead before they choose asks here what is legal.
        """
        heads, carry = self.step(row.obs, row.first, carry)
        return heads["policy"].masked(row.legal), carry

    def unroll(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Heads:
        """T rows of one environment at once, for learning: the same heads as T calls of `step`, stacked.

        `carry` may be None: then nothing was remembered before row 0, and nothing has to be looked for.
        """
        if self.context == 0:
            nothing = self.initial_carry() if carry is None else carry
            return jax.vmap(lambda obs, first: self.step(obs, first, nothing)[0])(obs, first)
        return self._steps(obs, first, carry)[1]

    def read(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Carry:
        """The memory after T rows of one environment, as T calls of `step` leave it; no heads are computed.

        `carry` as in `unroll`.
        """
        if self.context == 0:
            return self.initial_carry()
        return self._steps(obs, first, carry)[0]

    def foresee(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> PyTree[Any]:
        """What `unroll` takes in place of these observations: they, as far as what never changes has read them.

        So what is unrolled again and again with other weights, and the same rows, reads the rest alone.
        """
        return obs

    def select(self, *heads: str) -> Policy:
        """The policy without what only its other heads need: that does not run, and is not remembered."""
        return self

    def _steps(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> tuple[Carry, Heads]:
        def step(carry: Carry, row: tuple[PyTree[Any], Bool[Array, ""]]) -> tuple[Carry, Heads]:
            heads, carry = self.step(*row, carry)
            return carry, heads

        return jax.lax.scan(step, self.initial_carry() if carry is None else carry, (obs, first))


class WithoutMemory(Policy):
    """A policy whose heads depend on the row alone: its context is 0, and it has nothing to carry."""

    @property
    def context(self) -> int:
        return 0

    def initial_carry(self) -> Carry:
        return ()


def unroll_batch(policy: Policy, obs: PyTree[Any], first: Bool[Array, "T B"], carry: Carry = None) -> Heads:
    """`policy.unroll` for B environments: rows [T, B], carry [B] or None, heads [T, B].

    A policy of context 0 sees all rows as one flat batch, whose axis is named `ROWS`.
    """
    if policy.context != 0:
        return jax.vmap(policy.unroll, in_axes=(1, 1, 0), out_axes=1)(obs, first, carry)
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (obs, first))
    of_one = lambda obs, first: policy.step(obs, first, policy.initial_carry())[0]  # noqa: E731
    heads = jax.vmap(of_one, axis_name=ROWS)(*flat)
    return jax.tree.map(lambda x: x.reshape(*first.shape, *x.shape[1:]), heads)


def unroll_in_parts(
    policy: Policy, obs: PyTree[Any], first: Bool[Array, "T B"], carry: Carry, at_once: int | None
) -> Heads:
    """`unroll_batch`, but of so many rows at once, one part after another, where their context has an end."""
    if at_once is None or policy.context is None:
        return unroll_batch(policy, obs, first, carry)
    rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (obs, first, carry_before(policy, obs, first, carry)))
    heads = jax.lax.map(lambda row: policy.step(*row)[0], rows, batch_size=at_once)
    return jax.tree.map(lambda x: x.reshape(*first.shape, *x.shape[1:]), heads)


def with_newest(
    policy: Policy, head: str, told: Array, obs: PyTree[Any], first: Bool[Array, "R B"], carry: Carry
) -> Array:
    """A head of R rows, of which all but the newest was told while acting, by the same policy.

    Args:
        policy: which acted.
        head: by its name.
        told: what it was. Shape [R − 1, B, ...].
        obs: of the rows. Shape [R, B, ...].
        first: of the rows.
        carry: the memory before the first of them, or None. Shape [B, ...].

    Returns:
        The head. Shape [R, B, ...].
    """
    earlier, newest = jax.tree.map(lambda x: x[:-1], obs), jax.tree.map(lambda x: x[-1], obs)
    memory = jax.vmap(policy.read, in_axes=(1, 1, 0))(earlier, first[:-1], carry)
    heads, _ = jax.vmap(policy.step)(newest, first[-1], memory)
    return jnp.concatenate([told, heads[head][None]])


def foresee_batch(policy: Policy, obs: PyTree[Any], first: Bool[Array, "T B"], carry: Carry = None) -> PyTree[Any]:
    """`policy.foresee` for B environments: rows [T, B], carry [B] or None."""
    if policy.context is not None:
        return obs
    return jax.vmap(policy.foresee, in_axes=(1, 1, 0), out_axes=1)(obs, first, carry)


def initial_carries(policy: Policy, num_envs: int) -> Carry:
    """Empty memories [B]."""
    return jax.tree.map(lambda x: jnp.repeat(jnp.asarray(x)[None], num_envs, 0), policy.initial_carry())


def carry_before(policy: Policy, obs: PyTree[Any], first: Bool[Array, "T B"], carry: Carry) -> Carry:
    """The memory [T, B] as it is before each of the rows [T, B], from the memory [B] before row 0, or None."""

    def advance(carry: Carry, row: tuple[PyTree[Any], Bool[Array, " B"]]) -> tuple[Carry, Carry]:
        return jax.vmap(policy.step)(*row, carry)[1], carry

    if policy.context == 0:
        return initial_carries(policy, first.shape[1])
    before = initial_carries(policy, first.shape[1]) if carry is None else carry
    return jax.lax.scan(advance, before, (obs, first))[1]


def sequences(policy: Policy, rows: AnyTree, carry: Carry) -> tuple[AnyTree, Carry]:
    """What a rollout is learnt from in any order: B sequences of length T, or T·B of length 1 where that is enough.

    Args:
        policy: with a context that is bounded, single rows with the memory before each of them will do.
        rows: a named tuple of arrays [T, B, …] with the fields `obs` and `first`.
        carry: the memory [B] before row 0, or None.

    Returns:
        Rows [1, T·B, …] and a memory [T·B] of a bounded context; else as they are.
    """
    if policy.context is None:
        return rows, carry
    before = carry_before(policy, rows.obs, rows.first, carry)  # pyright: ignore[reportAttributeAccessIssue]
    each = lambda x: x.reshape(-1, *x.shape[2:])  # noqa: E731
    return jax.tree.map(lambda x: each(x)[None], rows), jax.tree.map(each, before)


@runtime_checkable
class Algorithm(Protocol):
    """A frozen dataclass of hyperparameters with pure methods.

    Its class may say three things more: `NAME`, where the command line should call it otherwise than its class is
    called; `SMALL`, a dictionary of settings with which it is tried by the laws: small, so that it compiles fast; and
    `RECORDED`, what it learns from where that was recorded and nothing is lived: "demonstrations" or "rankings".

    Where it compares episodes it says `group`, a number that divides `num_envs`: the episodes of so many neighbouring
    environments that have the same number begin alike, with the same prompt.

    It may have one method more, `read(learner, rows, carry) -> (extras, carry)`: what `act` would record, and remember,
    of a stretch of rows [P] on which there is nothing to choose; `carry` is None where they begin their episodes. With
    it a prompt is read at once, not row by row.
    """

    @property
    def num_envs(self) -> int:
        """How many environments act side by side, where the world leaves it open."""
        ...

    @property
    def rollout(self) -> int:
        """T, how many interactions each environment has between two updates."""
        ...

    def init(self, key: Key[Array, ""], spec: Spec) -> Learner:
        """Everything that changes while learning, as one pytree of arrays.

        Raises:
            SpaceError: when the algorithm cannot take the spaces; it says which can.
        """
        ...

    def initial_carry(self, learner: Learner) -> Carry:
        """The acting policy's empty memory, for one environment."""
        ...

    def act(self, learner: Learner, row: TimeStep, carry: Carry, key: Key[Array, ""]) -> tuple[Any, PyTree[Any], Carry]:
        """Choose on one row: (action, extras recorded beside it, carry)."""
        ...

    def update(
        self, learner: Learner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[Learner, Metrics]:
        """Learn from a fresh trajectory [T+1, B]: (learner, scalar metrics).

        What a transition is worth is asked of `reward`, not read from its row: of the trajectory, or of the window
        that was joined or sampled from raw rows, so that each transition is judged as it is judged *now*.
        """
        ...

    def policy(self, learner: Learner) -> Policy:
        """The policy to use after training. Its heads hold "policy", a distribution over actions."""
        ...


class Relabel(eqx.Module):
    """Where rewards come from, when not from the world alone.

    Clipped rewards, bonuses for the new, a learned reward and the distance to a reference model are all of this
    kind, so that no algorithm knows of them. The arrays are part of the run. What an algorithm learns from again,
    fresh or replayed, it asks about again, so it gets today's reward; a model of the world that it learns keeps
    what it was told.
    """

    @property
    def context(self) -> int | None:
        """How many *earlier* rows of its episode the reward of a transition depends on; None without bound.

        Only at 0, where it depends on two rows and the action between them, may it be asked about any window.
        """
        return 0

    @property
    def extras(self) -> tuple[str, ...]:
        """What it reads of that which `act` records beside an action, by name: whoever replays rows keeps that too.

        "log_prob", for instance, how likely the action was, tells the distance from a reference policy.
        """
        return ()

    def build(self, key: Key[Array, ""], spec: Spec) -> Relabel:
        """As it is before the first step. Without arrays a relabel is its own settings; see `RelabelConfig`."""
        return self

    @abc.abstractmethod
    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        """Of the transitions into rows 1 … T, fresh, held or replayed: pure."""

    def learn(self, trajectory: Trajectory, key: Key[Array, ""]) -> tuple[Relabel, Metrics]:
        """Learn from a fresh trajectory before its rewards are asked: (the module from now on, scalar metrics)."""
        return self, {}

    def objective(self, metrics: Metrics, before: Float[Array, ""] | None) -> Float[Array, ""] | None:
        """What is to be large, by the metrics of `learn`; None where it is what the world's episodes return.

        A run reports it as "relabel/objective" and keeps its best checkpoint by it.

        Args:
            metrics: what `learn` told.
            before: the same by the relabels before this one, where several stand one after another.
        """
        return before

    def trouble(self, metric: str) -> str | None:
        """Why the run stopped, where it did because this metric was not finite, and what to do; None if unknown.

        What it cannot judge, or will not, it says by such a metric: within a compiled program nothing is raised.
        """
        return None


@runtime_checkable
class RelabelConfig(Protocol):
    """Settings that begin a relabel: a frozen dataclass, or a `Relabel` that has no arrays.

    They are what a run records, and from what it is restored; what was learnt is in its checkpoints.
    """

    def build(self, key: Key[Array, ""], spec: Spec) -> Relabel:
        """As it is before the first step.

        Raises:
            SpaceError: when it cannot judge what happens in such spaces.
        """
        ...


def world_reward(trajectory: Trajectory) -> Float[Array, "T B"]:
    """What the world paid."""
    return trajectory.steps.reward[1:]
