"""A small world of each kind of space: an algorithm lives in those that its spaces allow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces
from jax import Array
from jaxtyping import Float
from small import busy_world, model

from retorno.core import spaces as finite
from retorno.core.environment import Environment
from retorno.core.mdp import MDP, mdp
from retorno.core.time_step import TimeStep, restart, transition
from retorno.environments.control.classic import cart_pole
from retorno.environments.pixels.breakout import Breakout
from retorno.environments.sampled_world import sampled
from retorno.environments.text.recall import Recall
from retorno.environments.wrappers import TimeLimit


class Spelt(Environment):
    """A world of numbered states and actions whose observations and actions are elements of other finite spaces."""

    world: Environment
    shown: spaces.Space[Any] | None = eqx.field(static=True, default=None)
    taken: spaces.Space[Any] | None = eqx.field(static=True, default=None)

    @property
    def observation_space(self) -> spaces.Space[Any]:
        return self.shown or self.world.observation_space

    @property
    def action_space(self) -> spaces.Space[Any]:
        return self.taken or self.world.action_space

    def _spell(self, row: TimeStep) -> TimeStep:
        return row if self.shown is None else row._replace(obs=finite.element(self.shown, row.obs))

    def reset(self, key: Any) -> tuple[Any, TimeStep]:
        state, row = self.world.reset(key)
        return state, self._spell(row)

    def step(self, state: Any, action: Any, key: Any) -> tuple[Any, TimeStep]:
        number = action if self.taken is None else finite.index(self.taken, action)
        state, row = self.world.step(state, number, key)
        return state, self._spell(row)


class Dial(Environment):
    """Turn a dial to where a light shows: the nearer, the better. Observes the light's number. Actions: Box.

    The best return of a step is 0; that of an action drawn evenly from [−1, 1] is −(1/3 + l²) for a light at l.
    """

    lights: tuple[float, ...] = eqx.field(static=True, default=(-0.5, 0.5))
    reward: Float[Array, ""] = eqx.field(converter=jnp.float32, default=1.0)
    """Of which each step pays so many times its share."""

    @property
    def observation_space(self) -> spaces.Discrete:
        return spaces.Discrete(len(self.lights))

    @property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1, 1, (1,))

    def reset(self, key: Any) -> tuple[Any, TimeStep]:
        light = jax.random.randint(key, (), 0, len(self.lights))
        return light, restart(light)

    def step(self, state: Any, action: Any, key: Any) -> tuple[Any, TimeStep]:
        light = jax.random.randint(key, (), 0, len(self.lights))
        return light, transition(light, -self.reward * jnp.square(action - jnp.array(self.lights)[state]).sum())


class Panel(Dial):
    """A dial and a lever, which belongs where the light shows. Actions: a choice and a real number in a Dict."""

    @property
    def action_space(self) -> spaces.Dict:  # pyright: ignore[reportIncompatibleMethodOverride]
        return spaces.Dict(dial=super().action_space, lever=spaces.Discrete(len(self.lights), start=1))

    def step(self, state: Any, action: Any, key: Any) -> tuple[Any, TimeStep]:
        light, row = super().step(state, action["dial"], key)
        return light, row._replace(reward=row.reward - self.reward * (action["lever"] != state + 1))


def game() -> MDP:
    """A model whose states have actions of their own, and in which two move in turn."""
    model = mdp(
        {
            "left": {"stay": [(0.5, "left", 1.0), (0.5, "right", 0.0)], "go": [(1.0, "right", 2.0)]},
            "right": {"go": [(0.7, "left", 0.0), (0.3, "end", 5.0, True)]},
        }
    )
    return dataclasses.replace(model, discount=-model.discount)


MIXED = spaces.Dict(tens=spaces.Discrete(2, start=3), digits=spaces.Tuple([spaces.MultiDiscrete([5, 2])]))

KINDS: dict[str, Callable[[], Environment]] = {
    "finite": busy_world,
    "game": lambda: TimeLimit(sampled(game()), 7),
    "parts": lambda: TimeLimit(Spelt(sampled(model("garnet")), shown=spaces.MultiDiscrete([4, 5])), 7),
    "mixed": lambda: TimeLimit(Spelt(sampled(model("garnet")), shown=MIXED), 7),
    "vector": lambda: TimeLimit(cart_pole(), 7),
    "hidden": lambda: Recall(delay=3),
    "choices": lambda: TimeLimit(Spelt(sampled(model("garnet")), taken=spaces.MultiDiscrete([2, 2])), 7),
    "pixels": lambda: TimeLimit(Breakout(), 7),
    "box": lambda: TimeLimit(Dial(), 7),
    "panel": lambda: TimeLimit(Panel(), 7),
}
"""By what is seen, what may be done, and what is hidden."""
