"""Action values as a policy."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, PyTree

from retorno.core.policy import Carry, Heads, Policy
from retorno.ops.distributions import EpsilonGreedy
from retorno.ops.estimates import estimate


class EpsilonGreedyPolicy(Policy):
    """Chooses by the "q" head of a network, or the means that it tells: a best action, and with probability ε any."""

    network: Policy
    epsilon: Float[Array, ""]

    @property
    def context(self) -> int | None:
        return self.network.context

    def initial_carry(self) -> Carry:
        return self.network.initial_carry()

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        heads, carry = self.network.step(obs, first, carry)
        q = estimate(heads["q"]).mean
        return {**heads, "q": q, "policy": EpsilonGreedy(q, self.epsilon)}, carry

    def unroll(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Heads:
        heads = self.network.unroll(obs, first, carry)
        q = estimate(heads["q"]).mean
        return {**heads, "q": q, "policy": EpsilonGreedy(q, jnp.full(first.shape, self.epsilon))}

    def read(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Carry:
        return self.network.read(obs, first, carry)
