"""Bits to be flipped until they are the wanted ones: no reward on the way tells how near they are."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces
from jax import Array
from jaxtyping import Int, Key

from retorno.core.environment import Environment
from retorno.core.time_step import TimeStep, restart, transition


class Bits(NamedTuple):
    """The bits as they are and as they are wanted."""

    bits: Int[Array, " n"]
    goal: Int[Array, " n"]


class BitFlip(Environment):
    """Flip one of n bits at a time: −1 until all are as wanted, then 0, and the episode terminates.

    Andrychowicz et al. 2017, section 3.1. Bits and goal are uniform, but never equal at the start. The best return is
    minus one less than how many differ; without a goal's being reached nothing is learnt, and a random walk reaches
    one of 2ⁿ seldom.

    Observes Dict(observation, achieved_goal, desired_goal) of MultiBinary(n), as Gymnasium-Robotics' `GoalEnv`: what
    is achieved are the bits. Actions: Discrete(n), the bit to flip.
    """

    bits: int = eqx.field(static=True, default=10)
    """n"""

    def __check_init__(self) -> None:
        if self.bits < 1:
            raise ValueError(f"BitFlip needs at least one bit, got {self.bits}")

    @property
    def observation_space(self) -> spaces.Dict:
        names = ("observation", "achieved_goal", "desired_goal")
        return spaces.Dict({name: spaces.MultiBinary(self.bits) for name in names})

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.bits)

    def reset(self, key: Key[Array, ""]) -> tuple[Bits, TimeStep]:
        begins, differs, one = jax.random.split(key, 3)
        bits = jax.random.bernoulli(begins, 0.5, (self.bits,)).astype(jnp.int8)
        other = jax.random.bernoulli(differs, 0.5, (self.bits,))
        # Of the 2ⁿ goals the one that is reached already is drawn again, as a goal one flip away.
        single = jax.nn.one_hot(jax.random.randint(one, (), 0, self.bits), self.bits, dtype=bool)
        state = Bits(bits, bits ^ jnp.where(other.any(), other, single))
        return state, restart(self._observed(state))

    def step(self, state: Bits, action: Int[Array, ""], key: Key[Array, ""]) -> tuple[Bits, TimeStep]:
        state = Bits(state.bits.at[action].set(1 - state.bits[action]), state.goal)
        there = (state.bits == state.goal).all()
        return state, transition(self._observed(state), there - 1.0, terminated=there)

    def _observed(self, state: Bits) -> dict[str, Int[Array, " n"]]:
        return {"observation": state.bits, "achieved_goal": state.bits, "desired_goal": state.goal}
