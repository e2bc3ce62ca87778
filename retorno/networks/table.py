"""The table: one row of numbers for each observation of a finite space. Sutton & Barto 2018, part I."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree

from retorno.core.hyperparameters import hyperparameters
from retorno.core.policy import Carry, Heads, Policy, WithoutMemory
from retorno.core.scalar import Scalar
from retorno.core.spaces import HashableSpace, SpaceError, cardinality, index
from retorno.networks.heads import Head, Readout, require_no_layers
from retorno.networks.linear import LinearNetwork

MOST_ENTRIES = 2_000_000_000

AnyPolicy = TypeVar("AnyPolicy", bound=Policy)


class TableNetwork(WithoutMemory):
    """A table for each head. A step reads one row of each."""

    tables: dict[str, Float[Array, "S outputs"]]
    readouts: dict[str, Readout]
    observed: HashableSpace = eqx.field(static=True)

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        row = index(self.observed.space, obs)
        return {name: readout(self.tables[name][row]) for name, readout in self.readouts.items()}, ()

    def add(self, head: str, obs: PyTree[Any], change: Float[Array, " outputs"]) -> TableNetwork:
        """The table with one row changed."""
        table = self.tables[head].at[index(self.observed.space, obs)].add(change)
        return replace(self, tables={**self.tables, head: table})


@hyperparameters
class Table:
    """A table over a finite observation space."""

    seeds_batch: ClassVar[bool] = True
    """Many small tables are one large one: many seeds are learnt from side by side."""

    initial: float = 0.0
    """Every entry before learning. Above the true values it makes a greedy learner explore."""

    def build(
        self, key: Key[Array, ""], observation_space: gymnasium.Space[Any], heads: dict[str, Head]
    ) -> TableNetwork:
        """A new table; `key` is not used.

        Raises:
            SpaceError: when the space is not finite, or the table would have more than two thousand million entries.
            ValueError: when a head brings layers of its own.
        """
        require_no_layers(heads, "a table")
        rows = cardinality(observation_space)
        entries = rows * sum(head.outputs for head in heads.values())
        if entries > MOST_ENTRIES:
            raise SpaceError(
                f"{entries:,} entries ({entries * 4 / 2**30:,.0f} GiB) for a table over {rows:,} observations, at most "
                f"{MOST_ENTRIES:,} can be held: observe less, or give the algorithm a network, as network=MLP()"
            )
        return TableNetwork(
            tables={name: jnp.full((rows, head.outputs), self.initial, jnp.float32) for name, head in heads.items()},
            readouts={name: Readout(head.parameters(), head) for name, head in heads.items()},
            observed=HashableSpace(observation_space),
        )


def semi_gradient_step(
    network: AnyPolicy,
    head: str,
    obs: PyTree[Any],
    action: Int[Array, ""] | None,
    change: Scalar,
) -> AnyPolicy:
    """Move q(obs, action) by the semi-gradient: w ← w + change · ∇q(s, a, w). Sutton & Barto 2018, eq. 10.1.

    Of a table that adds `change` to one entry, of tiles to a few, in place inside compiled code. `change` is the step
    size times the error. An `action` of None moves a value head (eq. 9.7).

    Raises:
        ValueError: when the network has a memory: its gradient needs the whole sequence.
    """
    # A choice between the product of step size and error and the sum: they would be one operation, rounded once, where
    # the compiler sees both at a time, and what it sees differs between one seed and a batch of them.
    change = jnp.where(change == 0, 0.0, change)
    if isinstance(network, TableNetwork):
        row = index(network.observed.space, obs)
        table = network.tables[head].at[row, 0 if action is None else action].add(change)
        return replace(network, tables={**network.tables, head: table})
    if isinstance(network, LinearNetwork):
        moved = network.moved(head, obs, 0 if action is None else action, change)
        return replace(network, weights={**network.weights, head: moved})
    if network.context != 0:
        raise ValueError(
            f"{type(network).__name__} has a memory and cannot be moved on one row: "
            "use network=Table() or MLP(), or an algorithm that learns from sequences, for instance PPO"
        )

    def estimate(weights: AnyPolicy) -> Float[Array, ""]:
        answer = weights.step(obs, jnp.array(False), ())[0][head]
        return answer if action is None else answer[action]

    return jax.tree.map(lambda w, g: w + change * g, network, jax.grad(estimate)(network))


def require_linear(network: Policy, algorithm: str) -> Policy:
    """The network itself, where its values are linear in its weights.

    Raises:
        ValueError: when they are not, which an algorithm for linear values cannot use.
    """
    if not isinstance(network, TableNetwork | LinearNetwork):
        raise ValueError(
            f"{algorithm} is for values that are linear in the weights, got a {type(network).__name__}: choose "
            "network=Table(), TileCoding(), Fourier(), Polynomial(), Aggregation() or Features(), or use TD"
        )
    return network
