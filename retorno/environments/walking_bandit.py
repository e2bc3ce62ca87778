"""A bandit that changes while it is played. Sutton & Barto 2018, exercise 2.5."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces
from jax import Array
from jaxtyping import Float, Int, Key

from retorno.core.environment import Environment
from retorno.core.time_step import TimeStep, restart, transition


class WalkingBandit(Environment):
    """A bandit whose means begin at 0 and walk: each changes by N(0, .01²) with every pull. Rewards are N(mean, 1).

    The state is the means [k]; they are not seen.
    """

    arms: int = eqx.field(static=True, default=10)
    step_deviation: float = eqx.field(static=True, default=0.01)
    deviation: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        if self.arms < 1 or self.step_deviation < 0 or self.deviation < 0:
            raise ValueError(
                "a bandit needs at least 1 arm and deviations of at least 0, got "
                f"{self.arms}, {self.step_deviation} and {self.deviation}"
            )

    @property
    def observation_space(self) -> spaces.Discrete:
        return spaces.Discrete(1)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.arms)

    def reset(self, key: Key[Array, ""]) -> tuple[Float[Array, " k"], TimeStep]:
        return jnp.zeros(self.arms), restart(jnp.int32(0))

    def step(
        self, state: Float[Array, " k"], action: Int[Array, ""], key: Key[Array, ""]
    ) -> tuple[Float[Array, " k"], TimeStep]:
        pull, walk = jax.random.split(key)
        reward = state[action] + self.deviation * jax.random.normal(pull)
        means = state + self.step_deviation * jax.random.normal(walk, (self.arms,))
        return means, transition(jnp.int32(0), reward)
