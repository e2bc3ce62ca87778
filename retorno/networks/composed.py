"""Networks made of networks: an actor and a critic, each with weights of its own; a policy at a temperature."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Any

import equinox as eqx
import gymnasium
import jax
from jax import Array
from jaxtyping import Bool, Key, PyTree

from retorno.core.hyperparameters import settings
from retorno.core.policy import Carry, Foreseen, Heads, Policy
from retorno.core.spaces import SpaceError
from retorno.networks.heads import CategoricalHead, Head
from retorno.networks.mlp import MLP
from retorno.networks.network import NetworkConfig, longest_context
from retorno.networks.pretrained import PRETRAINED

POLICY = "policy"


class Parts(Policy):
    """Policies side by side, each with heads of its own."""

    parts: tuple[Policy, ...]
    heads: tuple[tuple[str, ...], ...] = eqx.field(static=True)
    """Of each."""

    @property
    def context(self) -> int | None:
        return longest_context(*self.parts)

    def initial_carry(self) -> Carry:
        return () if self.context == 0 else tuple(part.initial_carry() for part in self.parts)

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        told, after = zip(*(part.step(obs, first, own) for part, own in self._with(carry)), strict=True)
        return _joined(told), () if self.context == 0 else after

    def unroll(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Heads:
        parts = zip(self.heads, self._with(carry), strict=True)
        return _joined(part.unroll(Foreseen.by(heads, obs), first, own) for heads, (part, own) in parts)

    def read(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Carry:
        after = tuple(part.read(obs, first, own) for part, own in self._with(carry))
        return () if self.context == 0 else after

    def foresee(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Foreseen:
        parts = zip(self.heads, self._with(carry), strict=True)
        return Foreseen({heads: part.foresee(obs, first, own) for heads, (part, own) in parts})

    def select(self, *heads: str) -> Parts:
        kept = [(part, own) for part, own in zip(self.parts, self.heads, strict=True) if set(own) & set(heads)]
        return Parts(tuple(part.select(*heads) for part, _ in kept), tuple(own for _, own in kept))

    def _with(self, carry: Carry) -> list[tuple[Policy, Carry]]:
        carries = ((),) * len(self.parts) if self.context == 0 else carry
        carries = (None,) * len(self.parts) if carries is None else carries
        return list(zip(self.parts, carries, strict=True))


def _joined(told: Any) -> Heads:
    return {name: head for heads in told for name, head in heads.items()}


@PRETRAINED.register
@settings
class Apart:
    """An actor and a critic, each with weights of its own: a critic may begin as a reward model did."""

    actor: NetworkConfig = field(default_factory=MLP)
    """The network under the policy."""
    critic: NetworkConfig = field(default_factory=MLP)
    """The network under all other heads."""

    def build(self, key: Key[Array, ""], observation_space: gymnasium.Space[Any], heads: dict[str, Head]) -> Parts:
        """A new network.

        Raises:
            SpaceError: when one of them cannot read the observation space.
        """
        split = [{POLICY: heads[POLICY]}] if POLICY in heads else []
        split += [{name: head for name, head in heads.items() if name != POLICY}]
        kept = [own for own in split if own]
        keys = jax.random.split(key, 2)
        made = tuple(
            (self.actor if POLICY in own else self.critic).build(keys[int(POLICY not in own)], observation_space, own)
            for own in kept
        )
        return Parts(made, tuple(tuple(own) for own in kept))


class AtTemperature(Policy):
    """A policy whose choices are drawn at a temperature: it is part of what is learnt, not of how it is drawn from."""

    policy: Policy
    temperature: float = eqx.field(static=True)

    @property
    def context(self) -> int | None:
        return self.policy.context

    def initial_carry(self) -> Carry:
        return self.policy.initial_carry()

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        heads, carry = self.policy.step(obs, first, carry)
        return self._at(heads), carry

    def unroll(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Heads:
        return self._at(self.policy.unroll(obs, first, carry))

    def read(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Carry:
        return self.policy.read(obs, first, carry)

    def foresee(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> PyTree[Any]:
        return self.policy.foresee(obs, first, carry)

    def select(self, *heads: str) -> AtTemperature:
        return replace(self, policy=self.policy.select(*heads))

    def _at(self, heads: Heads) -> Heads:
        return heads | {POLICY: heads[POLICY].tempered(self.temperature)} if POLICY in heads else heads


@PRETRAINED.register
@settings
class Tempered:
    """A network whose logits are divided by a temperature, wherever its policy is asked: acting and learning alike.

    A reference that it is held near is given the same one.
    """

    temperature: float = 1.0
    """Below 1 the likely becomes likelier."""
    network: NetworkConfig = field(default_factory=MLP)
    """Whose."""

    def build(
        self, key: Key[Array, ""], observation_space: gymnasium.Space[Any], heads: dict[str, Head]
    ) -> AtTemperature:
        """A new network.

        Raises:
            ValueError: when the temperature is not positive.
            SpaceError: when actions are not Discrete, so that there are no logits.
        """
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}: 1 leaves logits as they are")
        if POLICY in heads and not isinstance(heads[POLICY], CategoricalHead):
            raise SpaceError("Tempered divides the logits of finitely many actions (Discrete): leave it away here")
        return AtTemperature(self.network.build(key, observation_space, heads), self.temperature)
