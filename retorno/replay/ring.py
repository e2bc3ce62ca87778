"""A ring of rows to learn from again, sampled as windows that are trajectories. Lin 1992; Mnih et al. 2015.

Each row is stored once, as it was lived: a transition is a window of two rows, an n-step return or a
replayed sequence a longer one, and stacked frames are the rows before it. Nothing is cut where an
episode ends: `first`, `last` and `Trajectory.transitions` say so. The newest row waits for its
action: it is stored, but no transition leads out of it yet.
"""

from __future__ import annotations

import abc
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key, PyTree, Shaped, UInt32

from retorno.core.policy import Carry, Policy
from retorno.core.scalar import Scalar
from retorno.core.time_step import TimeStep, Trajectory


class Window(NamedTuple):
    """N stretches of what was lived, to be learnt from like a fresh trajectory."""

    trajectory: Trajectory
    """Rows [length + 1, N] with their actions and extras; it has no carry: see `carry`."""
    before: TimeStep
    """[context, N], the rows before those, which are read for the policy's memory and not learnt from."""
    recorded: Carry
    """[N], the memory before all of these rows as `act` recorded it, `extras["carry"]`; () where it did not."""
    index: Int[Array, " N"]
    """Which stretches these are, for `Replay.update`."""
    weight: Float[Array, " N"]
    """How much each counts, where some are drawn more often than others; 1 at most."""

    def carry(self, policy: Policy) -> Carry:
        """The policy's memory [N] before the trajectory's first row: the recorded or an empty one, and what it reads.

        Rows of an episode that is over may be among them: a policy forgets them by itself at `first`.
        """
        empty = jax.tree.map(lambda x: jnp.broadcast_to(x, (*self.index.shape, *jnp.shape(x))), policy.initial_carry())
        carry = empty if self.recorded == () else self.recorded
        if not self.before.first.shape[0]:
            return carry
        return jax.vmap(policy.read, in_axes=(1, 1, 0))(self.before.obs, self.before.first, carry)


@runtime_checkable
class Replay(Protocol):
    """What was lived, to be learnt from again. A pytree of arrays, part of the learner."""

    @property
    def ring(self) -> Ring:
        """Where the rows are."""
        ...

    def add(self, trajectory: Trajectory) -> Replay:
        """Store a trajectory [T+1, B] that begins with the newest row."""
        ...

    def sample(self, key: Key[Array, ""], size: int, progress: Scalar = 0.0) -> Window:
        """Draw `size` windows.

        Args:
            key: what is drawn follows from it.
            size: N, how many.
            progress: the share of the run that is over, for what changes on the way.
        """
        ...

    def update(self, index: Int[Array, " N"], priority: Float[Array, " N"]) -> Replay:
        """Say how much there was to learn from these windows, where that decides what is drawn next.

        Args:
            index: `Window.index`.
            priority: at least 0, for instance the TD error's size.
        """
        ...


class Doubting(Protocol):
    """A replay that can see in what was lived that it was set wrongly."""

    def doubt(self, several: bool = False) -> str | None:
        """What speaks against how it is set, and what to do; None where nothing does.

        Args:
            several: whether its arrays have an axis [seeds], of which the first is looked at.
        """
        ...


def doubt(learner: PyTree[Any], several: bool = False) -> str | None:
    """The first doubt of any replay that a learner has; None where none has one.

    Args:
        learner: any.
        several: whether its arrays have an axis [seeds], of which the first is looked at.
    """
    # Asked at each report: of SAC it takes .3 ms, and 6 where each part is asked whether it has the protocol.
    doubting = lambda node: hasattr(type(node), "doubt")  # noqa: E731
    parts = filter(doubting, jax.tree.leaves(learner, is_leaf=doubting))
    told = (part.doubt(several) for part in parts)
    return next((why for why in told if why is not None), None)


@runtime_checkable
class ReplayConfig(Protocol):
    """How windows are drawn: a frozen dataclass of settings."""

    def over(self, ring: Ring) -> Replay:
        """A replay that keeps what was lived in an empty ring."""
        ...


class Rows(eqx.Module):
    """What a ring asks of an array [C, B, …] that is not in memory."""

    @abc.abstractmethod
    def put(self, slots: Int[Array, " T"], rows: Shaped[Array, "T B ..."]) -> Rows:
        """The same with other rows in some slots."""

    @abc.abstractmethod
    def __getitem__(self, place: tuple[Int[Array, "*N"], Int[Array, " N"]]) -> Shaped[Array, "*rest"]:
        """What lies in these slots, of these environments."""


class Ring(eqx.Module):
    """The last C rows of each of B environments, drawn uniformly: a `Replay`."""

    steps: TimeStep
    """[C, B]"""
    action: PyTree[Any]
    """[C, B]"""
    extras: PyTree[Any]
    """[C, B], what `act` recorded beside each action."""
    newest: Int[Array, ""]
    """The slot of the newest row."""
    filled: Int[Array, ""]
    """How many of the rows before the newest may be learnt from: at most C − 1 − context."""
    stored: UInt32[Array, ""]
    """How many rows were stored behind the very first, modulo 2³²: which slots have changed since follows from it."""
    length: int = eqx.field(static=True)
    """Transitions of a window."""
    learnt: range = eqx.field(static=True)
    """Which of them are learnt from: those before are read for a memory, those behind say what followed."""
    context: int = eqx.field(static=True)
    """Rows before a window that are drawn with it."""

    @property
    def ring(self) -> Ring:
        """Itself."""
        return self

    @property
    def slots(self) -> int:
        """C, rows of each environment."""
        return self.steps.last.shape[0]

    @property
    def num_envs(self) -> int:
        """B."""
        return self.steps.last.shape[1]

    @property
    def starts(self) -> Int[Array, ""]:
        """How many windows of each environment are stored whole; the newest begins `length` rows before the newest row.

        A run's very first row needs no rows before it, as it is `first`: what stands there is forgotten.
        """
        return jnp.maximum(self.filled - self.length + 1, 0)

    @property
    def newest_window(self) -> Int[Array, ""]:
        """The index of the first environment's newest window."""
        return (self.newest - self.length) % self.slots * self.num_envs

    def add(self, trajectory: Trajectory) -> Ring:
        """Store a trajectory [T+1, B] that begins with the newest row."""
        length = trajectory.transitions.shape[0]
        slots = (self.newest + jnp.arange(length + 1)) % self.slots

        def store(ring: PyTree[Any], new: PyTree[Any], slots: Array) -> PyTree[Any]:
            put = lambda old, x: old.put(slots, x) if isinstance(old, Rows) else old.at[slots].set(x)  # noqa: E731
            return jax.tree.map(put, ring, new, is_leaf=lambda x: isinstance(x, Rows))

        return Ring(
            steps=store(self.steps, trajectory.steps, slots),
            action=store(self.action, trajectory.action, slots[:-1]),
            extras=store(self.extras, trajectory.extras, slots[:-1]),
            newest=slots[-1],
            filled=jnp.minimum(self.filled + length, self.slots - 1 - self.context),
            stored=self.stored + jnp.uint32(length),
            length=self.length,
            learnt=self.learnt,
            context=self.context,
        )

    def sample(self, key: Key[Array, ""], size: int, progress: Scalar = 0.0) -> Window:
        """Draw windows uniformly among all that are stored whole; the first transition of some is a reset."""
        draw = jax.random.randint(key, (size,), 0, jnp.maximum(self.starts, 1) * self.num_envs)
        start = (self.newest - self.length - draw // self.num_envs) % self.slots
        return self.windows(start * self.num_envs + draw % self.num_envs)

    def update(self, index: Int[Array, " N"], priority: Float[Array, " N"]) -> Ring:
        """Nothing: all are drawn alike."""
        return self

    def windows(self, index: Int[Array, " N"]) -> Window:
        """The windows that begin in these places, start · B + environment.

        Args:
            index: in [0, C · B). Shape [N].

        Returns:
            The windows: rows [length + 1, N], and [context, N] before them.
        """
        start, env = index // self.num_envs, index % self.num_envs
        slots = (start + jnp.arange(-self.context, self.length + 1)[:, None]) % self.slots

        def take(ring: PyTree[Any], slots: Array) -> PyTree[Any]:
            return jax.tree.map(lambda x: x[slots, env], ring, is_leaf=lambda x: isinstance(x, Rows))

        rows, learnt = take(self.steps, slots), slots[self.context : -1]
        return Window(
            trajectory=Trajectory(
                steps=jax.tree.map(lambda x: x[self.context :], rows),
                action=take(self.action, learnt),
                extras=take(self.extras, learnt),
                carry=(),
            ),
            before=jax.tree.map(lambda x: x[: self.context], rows),
            recorded=take(self.extras["carry"], slots[0]) if "carry" in self.extras else (),
            index=index,
            weight=jnp.ones(index.shape),
        )


def ring(
    row: TimeStep,
    action: PyTree[Any],
    *,
    num_envs: int,
    capacity: int,
    rollout: int,
    extras: PyTree[Any] = (),
    length: int = 1,
    learnt: range | None = None,
    context: int = 0,
) -> Ring:
    """An empty ring.

    Args:
        row: what a row looks like.
        action: what an action looks like.
        num_envs: B
        capacity: how many windows it must be able to draw from, over all environments; for that it holds
            length + context rows more of each.
        rollout: the longest trajectory that is added at once.
        extras: what `act` records beside an action looks like.
        length: transitions of a window.
        learnt: which of them are learnt from; None for all.
        context: rows before a window that are drawn with it.

    Raises:
        ValueError: when the capacity cannot hold one rollout.

    >>> from retorno.core.time_step import restart
    >>> rows = ring(restart(jnp.int32(0)), jnp.int32(0), num_envs=2, capacity=100, rollout=4, length=3)
    >>> rows.steps.obs.shape, int(rows.starts)
    ((53, 2), 0)
    """
    slots = -(-capacity // num_envs)
    if slots < rollout:
        raise ValueError(
            f"a replay of {capacity} transitions cannot hold one rollout of {rollout} × {num_envs}: "
            f"capacity must be at least {rollout * num_envs}"
        )
    shape = (slots + length + context, num_envs)
    empty = lambda x: jnp.zeros((*shape, *jnp.shape(x)), jnp.asarray(x).dtype)  # noqa: E731
    return Ring(
        # Nothing leads out of a row that was not lived.
        steps=jax.tree.map(empty, row)._replace(last=jnp.ones(shape, bool)),
        action=jax.tree.map(empty, action),
        extras=jax.tree.map(empty, extras),
        newest=jnp.int32(0),
        filled=jnp.int32(0),
        stored=jnp.uint32(0),
        length=length,
        learnt=range(length) if learnt is None else learnt,
        context=context,
    )
