"""EXP3: exponential weights for bandits whose rewards anything may choose, an adversary too.

Auer, Cesa-Bianchi, Freund & Schapire 2002, "The nonstochastic multiarmed bandit problem", figure 1.
No reward is taken for a draw of some distribution: the regret against the best single arm is at most
2 √(e − 1) √(T K ln K) for any rewards in [0, 1], in expectation, with γ = √(K ln K/((e − 1) T)).
Each observation of a finite space is a bandit of its own.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Count, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec, num_actions
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.networks import CategoricalHead, Table, TableNetwork
from retorno.ops.bandits import exponential_weights, importance_reward
from retorno.ops.distributions import Categorical


class EXP3Learner(NamedTuple):
    """Everything that changes while EXP3 learns."""

    network: TableNetwork
    """The head "policy": the weights' logarithms."""
    clock: Clock


@hyperparameters
class EXP3:
    """EXP3 (Auer, Cesa-Bianchi, Freund & Schapire 2002). Actions: Discrete."""

    num_envs: Count = 1
    """Environments that act side by side; their rewards are learnt from one after another."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    exploration_rate: UnitInterval | None = None
    """γ, the share of random pulls; None for the one that the proof takes, from the run's length."""
    lowest: float = 0.0
    """The least reward that there can be."""
    highest: float = 1.0
    """The largest reward that there can be."""

    def __post_init__(self) -> None:
        if not (self.exploration_rate is None or 0 < self.exploration_rate <= 1):
            raise ValueError(f"EXP3's share of random pulls is in (0, 1], got {self.exploration_rate}")
        if not self.lowest < self.highest:
            raise ValueError(f"rewards lie between two numbers, got lowest={self.lowest} and highest={self.highest}")

    def init(self, key: Key[Array, ""], spec: Spec) -> EXP3Learner:
        actions = num_actions(spec.action_space, "EXP3")
        network = Table().build(key, spec.observation_space, {"policy": CategoricalHead(actions)})
        return EXP3Learner(network, Clock.start(spec.steps))

    def initial_carry(self, learner: EXP3Learner) -> Carry:
        return ()

    def _rate(self, learner: EXP3Learner) -> Float[Array, ""]:
        """γ."""
        if self.exploration_rate is not None:
            return jnp.float32(self.exploration_rate)
        arms = learner.network.tables["policy"].shape[1]
        horizon = jnp.maximum(learner.clock.budget.size, 1)
        return jnp.minimum(1.0, jnp.sqrt(arms * math.log(arms) / ((math.e - 1) * horizon)))

    def _probs(self, learner: EXP3Learner, network: TableNetwork, row: TimeStep) -> Float[Array, " A"]:
        log_weights = network.step(row.obs, row.first, ())[0]["policy"].masked(row.legal).logits
        return exponential_weights(log_weights, self._rate(learner))

    def act(
        self, learner: EXP3Learner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        probs = self._probs(learner, learner.network, row)
        choice = Categorical(jnp.log(probs)).masked(row.legal)
        action = choice.sample(key)
        return action, choice.log_prob(action), carry

    def policy(self, learner: EXP3Learner) -> Policy:
        return learner.network

    def update(
        self, learner: EXP3Learner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[EXP3Learner, Metrics]:
        arms = learner.network.tables["policy"].shape[1]
        rate = self._rate(learner)

        def learn(
            network: TableNetwork, x: tuple[tuple[TimeStep, TimeStep, Array], Array]
        ) -> tuple[TableNetwork, Float[Array, ""]]:
            (row, next_row, action), log_prob = x
            scaled = (next_row.reward - self.lowest) / (self.highest - self.lowest)
            estimate = importance_reward(scaled, jnp.exp(log_prob), action, arms)
            change = jnp.where(row.last, 0.0, rate / arms * estimate)
            return network.add("policy", row.obs, change), jnp.where(row.last, 0.0, scaled)

        x = (trajectory.rewarded(reward).in_order(), trajectory.extras.reshape(-1))
        network, rewards = jax.lax.scan(learn, learner.network, x)
        metrics = {"scaled_reward": rewards.sum() / jnp.maximum(trajectory.transitions.sum(), 1)}
        return EXP3Learner(network, learner.clock.advance(trajectory)), metrics
