"""How to choose while learning: exploration as a choice of its own, over any action values.

Settings `start` what they remember, which is part of the learner. Two more ways to explore
need nothing here: an optimistic start is `Table(initial=…)`, and a bonus for what is new is the
relabelling `CountBonus`.
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key, PyTree

from retorno.core.hyperparameters import Between, NonNegative, Positive, UnitInterval, hyperparameters
from retorno.core.policy import Policy
from retorno.core.registry import Registry
from retorno.core.spaces import Spec
from retorno.core.time_step import TimeStep
from retorno.ops.bandits import upper_confidence
from retorno.ops.distributions import Categorical, EpsilonGreedy
from retorno.policies.schedules import Decay, Lived, fallen, lived, require_fall

Explorer = Lived
"""What an exploration remembers of what was lived, as part of the learner."""


@runtime_checkable
class Exploration(Protocol):
    """How to choose: hyperparameters, which are asked beside what they remember."""

    def start(self, spec: Spec, actions: int) -> Explorer:
        """Nothing lived yet.

        Raises:
            SpaceError: when visits are counted and the observation space is not finite.
        """
        ...

    def choice(self, explorer: Explorer, q: Float[Array, " A"], obs: PyTree[Any], progress: Float[Array, ""]) -> Any:
        """A distribution over the actions on one observation, `progress` ∈ [0, 1] through the run."""
        ...


def explore(
    network: Policy,
    exploration: Exploration,
    explorer: Explorer,
    row: TimeStep,
    progress: Float[Array, ""],
    key: Key[Array, ""],
) -> Int[Array, ""]:
    """An action on one row, by the "q" head of a network without memory."""
    q = network.step(row.obs, row.first, ())[0]["q"]
    return exploration.choice(explorer, q, row.obs, progress).masked(row.legal).sample(key)


@hyperparameters
class Epsilon:
    """ε-greedy: a best action, and with probability ε any. Sutton & Barto 2018, section 2.2."""

    epsilon: Annotated[UnitInterval, Between(0.01, 0.5)] = 0.1
    """The probability of a random action, at first."""
    end: UnitInterval | None = None
    """The probability that it falls to; None to keep it, or to let it fall to 0 where it falls with what was lived."""
    decay: Decay = Decay.linear
    """How it falls."""

    def __post_init__(self) -> None:
        require_fall(self.epsilon, self.end, self.decay)

    def start(self, spec: Spec, actions: int) -> Explorer:
        return lived(self.decay, spec, actions)

    def choice(
        self, explorer: Explorer, q: Float[Array, " A"], obs: PyTree[Any], progress: Float[Array, ""]
    ) -> EpsilonGreedy:
        return EpsilonGreedy(q, fallen(self.epsilon, self.end, self.decay, explorer, obs, progress))


@hyperparameters
class Softmax:
    """Softmax (Boltzmann): π(a) ∝ exp(q(a)/τ). Sutton & Barto 1998, eq. 2.9."""

    temperature: Positive = 1.0
    """τ at first: the higher, the more alike are all actions."""
    end: NonNegative | None = None
    """The temperature that it falls to; None to keep it."""
    decay: Decay = Decay.linear
    """How it falls."""

    def __post_init__(self) -> None:
        require_fall(self.temperature, self.end, self.decay)

    def start(self, spec: Spec, actions: int) -> Explorer:
        return lived(self.decay, spec, actions)

    def choice(
        self, explorer: Explorer, q: Float[Array, " A"], obs: PyTree[Any], progress: Float[Array, ""]
    ) -> Categorical:
        temperature = fallen(self.temperature, self.end, self.decay, explorer, obs, progress)
        return Categorical(q / jnp.maximum(temperature, 1e-8))


@hyperparameters
class UCB:
    """UCB1: argmax q(a) + c √(ln t / n(a)) on counts of the observation. Auer et al. 2002; Sutton & Barto, eq. 2.10."""

    confidence: NonNegative = 2.0
    """c: how much is made of what is not known. Actions that were never taken come first."""

    def start(self, spec: Spec, actions: int) -> Explorer:
        return lived(Decay.visits, spec, actions)

    def choice(
        self, explorer: Explorer, q: Float[Array, " A"], obs: PyTree[Any], progress: Float[Array, ""]
    ) -> EpsilonGreedy:
        assert explorer.visited is not None
        return EpsilonGreedy(upper_confidence(q, explorer.visited.at(obs), self.confidence), jnp.float32(0))


EXPLORATIONS = Registry((Epsilon, Softmax, UCB), of=Exploration)
"""Every way to explore by the name that the command line gives it."""
