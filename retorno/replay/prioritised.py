"""Prioritised replay: windows that there was more to learn from are drawn more often. Schaul et al. 2016.

What is drawn too often counts less, by importance weights whose correction grows to the full one over
the run. What is new is drawn as if there were as much to learn from it as from anything so far, and never what holds
no transition to learn from, as an episode's final row: its weight would outweigh all others of its batch. What we do
differently: by rank, the ranks of changed priorities are those among the priorities of the last sort.
"""

from __future__ import annotations

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Key

from retorno.core.hyperparameters import NonNegative, UnitInterval, hyperparameters
from retorno.core.scalar import Scalar
from retorno.core.time_step import Trajectory
from retorno.ops.objectives import masked_mean
from retorno.replay.ring import Ring, Window
from retorno.replay.sum_tree import SumTree


class Scale(eqx.Module):
    """From priorities to how much is drawn in proportion to."""

    alpha: Float[Array, ""]
    """α: 0 draws uniformly."""

    @abc.abstractmethod
    def mass(self, priority: Float[Array, " N"]) -> Float[Array, " N"]: ...

    @abc.abstractmethod
    def renew(self, replay: Prioritised, added: int) -> Prioritised:
        """What is due after so many new rows."""


class Size(Scale):
    """p^α: "proportional prioritisation"."""

    def mass(self, priority: Float[Array, " N"]) -> Float[Array, " N"]:
        return priority**self.alpha

    def renew(self, replay: Prioritised, added: int) -> Prioritised:
        return replay


class Rank(Scale):
    """1 / rank^α, the largest priority's rank being 1: "rank-based prioritisation", not moved by outliers."""

    ordered: Float[Array, " P"]
    """The priorities when they were last sorted, rising."""
    due: Int[Array, ""]
    """Rows until they are sorted again."""

    def mass(self, priority: Float[Array, " N"]) -> Float[Array, " N"]:
        return (1.0 + len(self.ordered) - jnp.searchsorted(self.ordered, priority, side="right")) ** -self.alpha

    def renew(self, replay: Prioritised, added: int) -> Prioritised:
        due = self.due - added
        # A loop of one turn or none, since what a branch gives back would be copied.
        replay = jax.lax.fori_loop(0, (due <= 0).astype(jnp.int32), lambda turn, old: self._sorted(turn, old), replay)
        due = jnp.where(due <= 0, 1 + replay.ring.slots // 100, due)
        return eqx.tree_at(lambda r: r.scale.due, replay, due)

    def _sorted(self, turn: Int[Array, ""] | int, replay: Prioritised) -> Prioritised:
        # Bound to the loop's turn: what does not depend on it, XLA does before the loop, whether it has a turn or none.
        priority, _ = jax.lax.optimization_barrier((replay.priority, turn))
        scale = Rank(self.alpha, jnp.sort(priority), self.due)
        mass = jnp.where(priority > 0, scale.mass(priority), 0.0)
        return eqx.tree_at(lambda r: (r.tree, r.scale), replay, (SumTree.grow(mass), scale))


class Prioritised(eqx.Module):
    """A ring whose windows are drawn in proportion to what there was to learn from them: a `Replay`."""

    ring: Ring
    priority: Float[Array, " P"]
    """Of the windows by their index; 0 where none is stored whole, or nothing is to be learnt from it."""
    tree: SumTree
    """What they are drawn in proportion to."""
    largest: Float[Array, ""]
    """The largest priority so far."""
    beta: Float[Array, ""]
    """β at the start of the run, 1 at its end: the share of the correction that is made."""
    scale: Scale

    def add(self, trajectory: Trajectory) -> Prioritised:
        """Store a trajectory [T+1, B] that begins with the newest row."""
        ring, added = self.ring.add(trajectory), trajectory.transitions.shape[0]
        back, envs = jnp.arange(added)[:, None], jnp.arange(ring.num_envs)

        def places(start: Int[Array, "T 1"], there: Bool[Array, "T 1"]) -> Int[Array, " N"]:
            index = (start % ring.slots) * ring.num_envs + envs
            return jnp.where(there, index, jnp.iinfo(index.dtype).max).reshape(-1)

        newest_start = ring.newest - ring.length
        entering = places(newest_start - back, back < ring.starts)
        # Those behind the oldest window that is still whole; what an entering one has taken over is not among them.
        held = ring.slots - ring.length - ring.context
        leaving = places(newest_start - held - back, back < ring.slots - held)
        rows = newest_start - back + jnp.array(ring.learnt)
        learnable = ~ring.steps.last[rows % ring.slots].all(1).reshape(-1)
        new, none = jnp.where(learnable, self.largest, 0.0), jnp.zeros(len(leaving))
        replay = eqx.tree_at(lambda r: r.ring, self, ring)
        replay = replay._put(
            jnp.concatenate([entering, leaving]),
            jnp.concatenate([new, none]),
            jnp.concatenate([jnp.where(learnable, self.scale.mass(new), 0.0), none]),
        )
        return self.scale.renew(replay, added)

    def sample(self, key: Key[Array, ""], size: int, progress: Scalar = 0.0) -> Window:
        """Draw windows by priority, with their importance weights (N · P(i))^−β over the largest of them."""
        index, mass = self.tree.draw(key, size)
        # N · P(i) up to a factor, which the largest weight takes out again; none is stored whole where all mass is 0.
        weight = jnp.maximum(mass, 1e-30) ** -(self.beta + (1 - self.beta) * progress)
        return self.ring.windows(jnp.where(mass > 0, index, self.ring.newest_window))._replace(
            weight=weight / weight.max()
        )

    def update(self, index: Int[Array, " N"], priority: Float[Array, " N"]) -> Prioritised:
        """Say how much there was to learn from these windows; a little is added, so that none is lost for ever.

        What was drawn while there was nothing to learn from stays out.
        """
        there = self.priority[index] > 0
        priority = jnp.where(there, priority + 1e-6, 0.0)
        replay = self._put(index, priority, jnp.where(there, self.scale.mass(priority), 0.0))
        return eqx.tree_at(lambda r: r.largest, replay, jnp.maximum(self.largest, priority.max()))

    def _put(self, index: Int[Array, " N"], priority: Float[Array, " N"], mass: Float[Array, " N"]) -> Prioritised:
        return eqx.tree_at(
            lambda r: (r.priority, r.tree),
            self,
            (self.priority.at[index].set(priority, mode="drop"), self.tree.put(index, mass)),
        )


@hyperparameters
class Proportional:
    """Drawn in proportion to the TD error's size to the power α."""

    alpha: NonNegative = 0.6
    """α: how much the size matters; 0 draws uniformly."""
    beta: UnitInterval = 0.4
    """β at the start, 1 at the end of the run: the share of the importance weights' correction."""

    def over(self, ring: Ring) -> Prioritised:
        """A prioritised replay over an empty ring."""
        return _start(ring, self.beta, Size(jnp.asarray(self.alpha, jnp.float32)))


@hyperparameters
class Ranked:
    """Drawn in proportion to one over the rank of the TD error's size, to the power α."""

    alpha: NonNegative = 0.7
    """α: how much the rank matters; 0 draws uniformly."""
    beta: UnitInterval = 0.5
    """β at the start, 1 at the end of the run: the share of the importance weights' correction."""

    def over(self, ring: Ring) -> Prioritised:
        """A prioritised replay over an empty ring."""
        places = ring.slots * ring.num_envs
        return _start(ring, self.beta, Rank(jnp.asarray(self.alpha, jnp.float32), jnp.zeros(places), jnp.int32(0)))


def _start(ring: Ring, beta: Scalar, scale: Scale) -> Prioritised:
    none = jnp.zeros(ring.slots * ring.num_envs)
    return Prioritised(ring, none, SumTree.grow(none), jnp.float32(1), jnp.asarray(beta, jnp.float32), scale)


def sequence_priority(error: Float[Array, " T"], valid: Bool[Array, " T"], share: float = 0.9) -> Float[Array, ""]:
    r"""How much there was to learn from a sequence (Kapturowski et al. 2019, section 2.3).

    .. math:: p = \eta \max_t |\delta_t| + (1 - \eta) \, \overline{|\delta|}

    Args:
        error: δ of each transition. Shape [T].
        valid: which are transitions; the others are resets. Shape [T].
        share: η, how much the largest error counts against their mean.

    Returns:
        The priority, at least 0; of one transition its error's size.

    >>> sequence_priority(jnp.array([-1.0, 3.0]), jnp.array([True, True]), share=0.5)
    Array(2.5, dtype=float32)
    """
    size = jnp.where(valid, jnp.abs(error), 0.0)
    return share * size.max() + (1 - share) * masked_mean(size, valid)
