"""A task that only memory solves."""

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


class Cue(NamedTuple):
    """What was shown, and how many steps ago."""

    cue: Int[Array, ""]
    age: Int[Array, ""]


class Recall(Environment):
    """See a cue, wait, and answer with it when asked.

    The first row shows one of `cues` signs, `delay` blank rows follow, then a row that asks. The
    action on that row is the answer: reward 1 if it is the cue, and the episode terminates after
    `delay + 2` steps. Actions elsewhere do nothing. The best return is 1; the row that asks looks
    the same for every cue, so any policy without memory gets exactly 1 / cues.

    After the T-maze of Bakker 2001 ("Reinforcement learning with long short-term memory") and
    bsuite's memory length, without a corridor.

    Observes Discrete(cues + 2): the cue's number, `cues` for blank, `cues + 1` for the question.
    """

    cues: int = eqx.field(static=True, default=4)
    delay: int = eqx.field(static=True, default=8)

    def __check_init__(self) -> None:
        if self.cues < 2 or self.delay < 0:
            raise ValueError(
                f"Recall needs at least 2 cues and a delay of at least 0, got {self.cues} and {self.delay}"
            )

    @property
    def observation_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.cues + 2)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.cues)

    def reset(self, key: Key[Array, ""]) -> tuple[Cue, TimeStep]:
        cue = jnp.floor(jax.random.uniform(key) * self.cues).astype(jnp.int32)
        return Cue(cue, jnp.int32(0)), restart(cue)

    def step(self, state: Cue, action: Int[Array, ""], key: Key[Array, ""]) -> tuple[Cue, TimeStep]:
        answered = state.age == self.delay + 1
        state = Cue(state.cue, state.age + 1)
        obs = jnp.where(state.age == self.delay + 1, self.cues + 1, self.cues).astype(jnp.int32)
        return state, transition(obs, answered & (action == state.cue), terminated=answered)
