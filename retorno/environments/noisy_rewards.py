"""Rewards with noise around the means that a model holds."""

from __future__ import annotations

import jax
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Key

from retorno.core.mdp import MDP
from retorno.core.time_step import TimeStep
from retorno.environments.sampled_world import Sampled, sampled
from retorno.environments.wrappers import Wrapper


class Noisy(Wrapper):
    """A sampled model whose rewards are normal around the model's.

    A model holds one reward for a transition. Values and best actions depend on its mean alone, so
    the exact answers of the model are those of this world; only learning sees the noise.
    """

    world: Sampled  # pyright: ignore[reportIncompatibleVariableOverride]
    deviation: Float[Array, "S A"]
    """The standard deviation of the reward of each state and action."""

    def enter(self, obs: Int[Array, ""]) -> tuple[Int[Array, ""], TimeStep]:
        return self.world.enter(obs)

    def step(
        self, state: Int[Array, ""], action: Int[Array, ""], key: Key[Array, ""]
    ) -> tuple[Int[Array, ""], TimeStep]:
        outcome, noise = jax.random.split(key)
        after, row = self.world.step(state, action, outcome)
        return after, row._replace(reward=row.reward + self.deviation[state, action] * jax.random.normal(noise))


def noisy(model: MDP, deviation: Float[np.ndarray, " P"] | float = 1.0) -> Noisy:
    """The world of a model with normal noise on its rewards.

    Args:
        model: with S states, P pairs and the mean rewards.
        deviation: the standard deviation of each pair's reward, or of all.

    Raises:
        ValueError: when there is not one number for each pair, or one is negative or not finite.

    >>> from retorno.environments.bandits.models import bandit
    >>> noisy(bandit([0.2, 0.7])).deviation
    Array([[1., 1.]], dtype=float32)
    """
    given = np.asarray(deviation, float)
    if given.shape not in ((), (model.num_pairs,)):
        raise ValueError(f"deviation is one number or one for each of {model.num_pairs} pairs, got {given.shape}")
    if not (np.isfinite(given) & (given >= 0)).all():
        raise ValueError("a standard deviation is finite and at least 0")
    table = np.zeros((model.num_states, model.num_actions))
    table[model.pair_state, model.action] = given
    return Noisy(sampled(model), jax.device_put(np.asarray(table, np.float32)))
