"""How to choose while learning: exploration as a choice of its own, over any action values.

Settings `start` an explorer, a module whose counts are part of the learner. Two more ways to explore
need nothing here: an optimistic start is `Table(initial=…)`, and a bonus for what is new is the
relabelling `CountBonus`.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key, PyTree

from retorno.core.policy import Policy
from retorno.core.spaces import Spec
from retorno.core.time_step import TimeStep, Trajectory
from retorno.ops.bandits import upper_confidence
from retorno.ops.distributions import Categorical, EpsilonGreedy
from retorno.policies.schedules import Decay, Falling, Visits, falling, visits


class Explorer(eqx.Module):
    """Turns action values into a distribution to draw from, and may remember what was done."""

    @abc.abstractmethod
    def choice(self, q: Float[Array, " A"], obs: PyTree[Any], progress: Float[Array, ""]) -> Any:
        """A distribution over the actions on one observation, `progress` ∈ [0, 1] through the run."""

    def update(self, trajectory: Trajectory) -> Explorer:
        """The explorer after a trajectory [T+1, B]."""
        return self


def explore(
    network: Policy, explorer: Explorer, row: TimeStep, progress: Float[Array, ""], key: Key[Array, ""]
) -> Int[Array, ""]:
    """An action on one row, by the "q" head of a network without memory."""
    q = network.step(row.obs, row.first, ())[0]["q"]
    return explorer.choice(q, row.obs, progress).masked(row.legal).sample(key)


@runtime_checkable
@runtime_checkable
class Exploration(Protocol):
    """The settings of an explorer: a frozen dataclass."""

    def start(self, spec: Spec, actions: int) -> Explorer:
        """A new explorer.

        Raises:
            SpaceError: when it counts visits and the observation space is not finite.
            ValueError: when the settings do not fit together.
        """
        ...


class EpsilonGreedyExplorer(Explorer):
    """A best action, and with probability ε any."""

    epsilon: Falling

    def choice(self, q: Float[Array, " A"], obs: PyTree[Any], progress: Float[Array, ""]) -> EpsilonGreedy:
        return EpsilonGreedy(q, self.epsilon.at(obs, progress))

    def update(self, trajectory: Trajectory) -> Explorer:
        return EpsilonGreedyExplorer(self.epsilon.update(trajectory))


@dataclass(frozen=True)
class Epsilon:
    """ε-greedy: a best action, and with probability ε any. Sutton & Barto 2018, section 2.2."""

    epsilon: float = 0.1
    """The probability of a random action, at first."""
    end: float | None = None
    """The probability that it falls to; None to keep it, or to let it fall to 0 where it falls with what was lived."""
    decay: Decay = Decay.linear
    """How it falls."""

    def __post_init__(self) -> None:
        if not (0 <= self.epsilon <= 1 and 0 <= (self.end or 0) <= 1):
            raise ValueError(f"ε is a probability, in [0, 1], got {self.epsilon} falling to {self.end}")

    def start(self, spec: Spec, actions: int) -> Explorer:
        return EpsilonGreedyExplorer(falling(self.epsilon, self.end, self.decay, spec, actions))


class SoftmaxExplorer(Explorer):
    """The better an action, the more probable it is."""

    temperature: Falling

    def choice(self, q: Float[Array, " A"], obs: PyTree[Any], progress: Float[Array, ""]) -> Categorical:
        return Categorical(q / jnp.maximum(self.temperature.at(obs, progress), 1e-8))

    def update(self, trajectory: Trajectory) -> Explorer:
        return SoftmaxExplorer(self.temperature.update(trajectory))


@dataclass(frozen=True)
class Softmax:
    """Softmax (Boltzmann): π(a) ∝ exp(q(a)/τ). Sutton & Barto 1998, eq. 2.9."""

    temperature: float = 1.0
    """τ at first: the higher, the more alike are all actions."""
    end: float | None = None
    """The temperature that it falls to; None to keep it."""
    decay: Decay = Decay.linear
    """How it falls."""

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and (self.end or 0) >= 0):
            raise ValueError(f"a temperature is positive, got {self.temperature} falling to {self.end}")

    def start(self, spec: Spec, actions: int) -> Explorer:
        return SoftmaxExplorer(falling(self.temperature, self.end, self.decay, spec, actions))


class UCBExplorer(Explorer):
    """The action with the highest upper confidence bound."""

    visited: Visits
    confidence: float = eqx.field(static=True)

    def choice(self, q: Float[Array, " A"], obs: PyTree[Any], progress: Float[Array, ""]) -> EpsilonGreedy:
        return EpsilonGreedy(upper_confidence(q, self.visited.at(obs), self.confidence), jnp.float32(0))

    def update(self, trajectory: Trajectory) -> Explorer:
        return UCBExplorer(self.visited.update(trajectory), self.confidence)


@dataclass(frozen=True)
class UCB:
    """UCB1: argmax q(a) + c √(ln t / n(a)) on counts of the observation. Auer et al. 2002; Sutton & Barto, eq. 2.10."""

    confidence: float = 2.0
    """c: how much is made of what is not known. Actions that were never taken come first."""

    def __post_init__(self) -> None:
        if self.confidence < 0:
            raise ValueError(f"the confidence c is at least 0, got {self.confidence}")

    def start(self, spec: Spec, actions: int) -> Explorer:
        return UCBExplorer(visits(spec, actions), self.confidence)


EXPLORATIONS: dict[str, type[Exploration]] = {"epsilon": Epsilon, "softmax": Softmax, "ucb": UCB}
"""Every way to explore by the name that the command line gives it."""
