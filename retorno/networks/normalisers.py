"""Running normalisation of what a learner sees: observations by their moments, rewards by their return's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import Space, spaces
from jax import Array
from jaxtyping import Bool, Float, PyTree

from retorno.core.policy import Carry, Heads, Policy
from retorno.core.scalar import Scalar
from retorno.core.spaces import is_screen, width
from retorno.core.time_step import Trajectory
from retorno.networks.stacked import Stacked
from retorno.ops.normalisation import Moments, initial_moments


class ObservationNormaliser(eqx.Module):
    """Standardises the Box parts of an observation; discrete parts pass as they are."""

    moments: tuple[Moments | None, ...]
    """One for each leaf of the observation; None for those that pass as they are."""

    @classmethod
    def start(cls, space: Space[Any], screens: bool = True) -> ObservationNormaliser:
        """Moments of nothing yet.

        Args:
            space: of the observations.
            screens: whether pictures of bytes and boards of bits are standardised as well, each pixel by itself; what
                is hardly ever seen at a place counts for much then.
        """
        standardised = lambda leaf: isinstance(leaf, spaces.Box) and (screens or not is_screen(leaf))  # noqa: E731
        return cls(tuple(initial_moments(width(leaf)) if standardised(leaf) else None for leaf in _leaves(space)))

    def __call__(self, obs: PyTree[Any]) -> PyTree[Any]:
        """One observation, standardised."""
        leaves, structure = jax.tree.flatten(obs)
        return jax.tree.unflatten(
            structure,
            [
                x if m is None else m.standardise(x.reshape(-1)).reshape(x.shape)
                for x, m in zip(leaves, self.moments, strict=True)
            ],
        )

    def update(self, obs: PyTree[Any], counted: Bool[Array, "T B"] | None = None) -> ObservationNormaliser:
        """Take in rows [T, B]: all, or those that are counted."""
        return ObservationNormaliser(
            tuple(
                None
                if m is None
                else m.update(
                    rows := x.reshape(x.shape[0] * x.shape[1], -1),
                    jnp.ones(len(rows), bool) if counted is None else counted.reshape(-1),
                )
                for x, m in zip(jax.tree.leaves(obs), self.moments, strict=True)
            )
        )


def _leaves(space: Space[Any]) -> list[Space[Any]]:
    """The spaces of an observation's leaves, in pytree order (JAX sorts a dictionary's keys)."""
    if isinstance(space, spaces.Dict):
        return [leaf for name in sorted(space.spaces) for leaf in _leaves(space.spaces[name])]
    if isinstance(space, spaces.Tuple):
        return [leaf for part in space.spaces for leaf in _leaves(part)]
    return [space]


def normalised(policy: Policy, normaliser: ObservationNormaliser | None) -> Policy:
    """A policy that sees standardised observations.

    Of stacked frames each is standardised when the stack is read: its memory holds them as they were, so that acting
    and learning see the same numbers also after the moments have moved.

    Args:
        policy: of any context.
        normaliser: None for observations as they are.
    """
    if isinstance(policy, Stacked):
        return replace(policy, normaliser=normaliser)
    return Normalised(policy, normaliser)


def shown(policy: Policy, carry: Carry, normaliser: ObservationNormaliser | None) -> Carry:
    """Memories [N] of a `normalised` policy as the policy itself holds them, which is shown standardised observations.

    Args:
        policy: of any context.
        carry: what is remembered, in stacks frames as they were.
        normaliser: how they are shown; None for as they are.
    """
    if isinstance(policy, Stacked) and normaliser is not None:
        return jax.vmap(jax.vmap(normaliser))(carry[0]), carry[1]
    return carry


class RewardNormaliser(eqx.Module):
    """Divides rewards by the running standard deviation of the discounted return.

    Engstrom et al. 2020, section 2, after OpenAI's baselines (VecNormalize).
    """

    open_return: Float[Array, " B"]
    moments: Moments

    @classmethod
    def start(cls, num_envs: int) -> RewardNormaliser:
        """No return yet."""
        return cls(jnp.zeros(num_envs), initial_moments(1))

    def __call__(
        self, trajectory: Trajectory, reward: Float[Array, "T B"], discount: Scalar
    ) -> tuple[Float[Array, "T B"], RewardNormaliser]:
        """A trajectory's rewards, scaled by all returns up to its end, and the normaliser after it."""

        def accumulate(open_return: Array, row: tuple[Array, Array, Bool[Array, " B"]]) -> tuple[Array, Array]:
            reward, onto, first = row
            # A reset's row starts from zero again; what was one's is negated where the other moves.
            open_return = jnp.where(first, 0.0, discount * onto * open_return + reward)
            return open_return, open_return

        steps = trajectory.steps
        rows = (reward, steps.discount[:-1], steps.first[1:])
        open_return, returns = jax.lax.scan(accumulate, self.open_return, rows)
        moments = self.moments.update(returns.reshape(-1, 1), trajectory.transitions.reshape(-1))
        scaled = jax.vmap(jax.vmap(lambda r: moments.scale(r[None])[0]))(reward)
        return scaled, RewardNormaliser(open_return, moments)


class Normalised(Policy):
    """A policy that sees standardised observations."""

    policy: Policy
    normaliser: ObservationNormaliser | None

    @property
    def context(self) -> int | None:
        return self.policy.context

    def initial_carry(self) -> Carry:
        return self.policy.initial_carry()

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        return self.policy.step(self._see(obs), first, carry)

    def unroll(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Heads:
        return self.policy.unroll(jax.vmap(self._see)(obs), first, carry)

    def read(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Carry:
        return self.policy.read(jax.vmap(self._see)(obs), first, carry)

    def foresee(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> PyTree[Any]:
        return self.policy.foresee(obs, first, carry) if self.normaliser is None else obs

    def select(self, *heads: str) -> Normalised:
        return Normalised(self.policy.select(*heads), self.normaliser)

    def _see(self, obs: PyTree[Any]) -> PyTree[Any]:
        return obs if self.normaliser is None else self.normaliser(obs)
