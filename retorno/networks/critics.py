"""Critics: what an action is worth on a row, as several networks judge it that learn apart.

Of finitely many actions a critic reads the row and values all; of real numbers it reads the row with the action. With
a memory it remembers rows, and actions that were taken on them: another action is judged from there.

Members are a Python loop: vmapped on a CPU, whose threads do not share a batched product, two of 2 × 256 units take
three times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Float, Key, PyTree

from retorno.core.policy import Carry, Heads, Policy, carry_before, unroll_batch
from retorno.networks.ensembles import Ensemble
from retorno.networks.heads import Head
from retorno.networks.network import NetworkConfig, longest_context

Q = "q"


class Critics(eqx.Module):
    """K networks with a head "q" each; what they say is stacked in front."""

    members: tuple[Policy, ...]
    finite: bool = eqx.field(static=True)
    """Whether a member values all actions, [A], and so is not told of one."""

    @property
    def context(self) -> int | None:
        """How many earlier rows they may depend on; see `Policy.context`."""
        return longest_context(*self.members)

    def read(self, obs: PyTree[Any], first: Bool[Array, "T N"], action: PyTree[Any], carry: Carry = None) -> Carry:
        """Their memories [N] after rows [T, N] and the actions taken there; `carry` of them all as in `unroll`."""
        seen = self._seen(obs, action)
        return self._each(lambda member, carry: jax.vmap(member.read, (1, 1, 0))(seen, first, carry), carry)

    def before(self, obs: PyTree[Any], first: Bool[Array, "T N"], action: PyTree[Any], carry: Carry = None) -> Carry:
        """Their memories [T, N] as they are before each of the rows, from those [N] before row 0."""
        seen = self._seen(obs, action)
        return self._each(lambda member, carry: carry_before(member, seen, first, carry), carry)

    def taken(
        self, obs: PyTree[Any], first: Bool[Array, "T N"], action: PyTree[Any], carry: Carry = None
    ) -> Float[Array, "K T N *M"]:
        """What the actions that were taken on rows [T, N] are worth, from memories [N] before row 0."""
        seen = self._seen(obs, action)
        q = jnp.stack(self._each(lambda member, carry: unroll_batch(member, seen, first, carry)[Q], carry))
        return jnp.take_along_axis(q, action[None, ..., None], -1)[..., 0] if self.finite else q

    def __call__(self, obs: PyTree[Any], first: Bool[Array, ""], action: PyTree[Any], carry: Carry) -> Array:
        """What an action is worth on one row: [K], or of finitely many what each is worth, [K, A]."""
        seen = self._seen(obs, action)
        return jnp.stack(self._each(lambda member, carry: member.step(seen, first, carry)[0][Q], carry))

    def _seen(self, obs: PyTree[Any], action: PyTree[Any]) -> PyTree[Any]:
        return obs if self.finite else (obs, action)

    def _each(self, f: Callable[[Policy, Carry], Any], carry: Carry) -> tuple[Any, ...]:
        carries = (None,) * len(self.members) if carry is None else carry
        return tuple(f(member, own) for member, own in zip(self.members, carries, strict=True))


class Valued(Policy):
    """An actor beside what its critics say of each of finitely many actions: heads "policy" and "q"."""

    actor: Policy
    critics: Critics
    ensemble: Ensemble

    @property
    def context(self) -> int | None:
        return longest_context(self.actor, *self.critics.members)

    def initial_carry(self) -> Carry:
        if self.context == 0:
            return ()
        return self.actor.initial_carry(), tuple(member.initial_carry() for member in self.critics.members)

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        own, theirs = carry if self.context != 0 else ((), ((),) * len(self.critics.members))
        heads, own = self.actor.step(obs, first, own)
        said = [member.step(obs, first, one) for member, one in zip(self.critics.members, theirs, strict=True)]
        q = self.ensemble.judgement(jnp.stack([heads[Q] for heads, _ in said]))
        return heads | {Q: q}, () if self.context == 0 else (own, tuple(after for _, after in said))

    def select(self, *heads: str) -> Policy:
        return self if Q in heads else self.actor.select(*heads)


def critics(
    key: Key[Array, ""],
    config: NetworkConfig,
    count: int,
    head: Head,
    observation_space: gymnasium.Space[Any],
    action_space: gymnasium.Space[Any],
) -> Critics:
    """New critics, each drawn for itself.

    Args:
        key: what their weights start as follows from it.
        config: each member's network.
        count: K, how many there are.
        head: what a member says: of finitely many actions of all [A], else of the one that it reads.
        observation_space: of the rows.
        action_space: as policies act in it.

    Raises:
        SpaceError: when the network cannot read them.
    """
    finite = isinstance(action_space, spaces.Discrete)
    read = observation_space if finite else spaces.Tuple([observation_space, action_space])
    keys = jax.random.split(key, count)
    return Critics(tuple(config.build(keys[k], read, {Q: head}) for k in range(count)), finite)
