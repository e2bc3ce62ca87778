"""Native worlds of one's own that break what they promise are told so, and ours do not."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import retorno
from retorno.core.contract import breaches, require_rows
from retorno.core.environment import Environment
from retorno.core.errors import WorldError
from retorno.core.time_step import TimeStep, restart, transition
from retorno.environments.registry import WORLDS, native
from retorno.networks.mlp import MLP
from retorno.run.played import Played
from retorno.run.train import train
from retorno.run.training import TrainingError


class Sound(Environment):
    """A walk in the plane; the worlds below say one thing otherwise."""

    @property
    def observation_space(self) -> spaces.Space[Any]:
        return spaces.Box(-1, 1, (2,))

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(2)

    def reset(self, key: Any) -> Any:
        place = jax.random.uniform(key, (2,))
        return place, restart(place)._replace(legal=self.legal(True))

    def step(self, state: Any, action: Any, key: Any) -> Any:
        place = jnp.clip(state + 0.1 * (2 * action - 1), -1, 1)
        said = (self.shown(place), self.reward(place), self.discount(), jnp.bool_(False), self.last(place))
        return self.state(place), TimeStep(*said, self.legal(False))

    def state(self, place: Any) -> Any:
        return place

    def shown(self, place: Any) -> Any:
        return place

    def reward(self, place: Any) -> Any:
        return place.sum()

    def discount(self) -> Any:
        return 1.0

    def last(self, place: Any) -> Any:
        return place.sum() > 1.9

    def legal(self, first: bool) -> Any:
        return jnp.array([True, True])


def saying(**otherwise: Any) -> Environment:
    """Sound, but for what is said otherwise."""
    return type("Unsound", (Sound,), otherwise)()


def swapped(self: Any, key: Any) -> Any:
    return Sound.reset(self, key)[::-1]


SHAPES: dict[str, tuple[dict[str, Any], str]] = {
    "another space": (
        {"observation_space": property(lambda self: spaces.Box(-1, 1, (3,)))},
        r"obs by reset of Unsound has shape \[2\] where Box\(-1.0, 1.0, \(3,\), float32\) is expected",
    ),
    "a part": (
        {"observation_space": property(lambda self: spaces.Dict({"place": spaces.Box(-1, 1, (2,))}))},
        r"obs by reset of Unsound has parts that are not those of Dict\(place",
    ),
    "obs of a step": ({"shown": lambda self, place: place[:1]}, r"obs by step of Unsound has shape \[1\] where"),
    "a reward for each": ({"reward": lambda self, place: place}, r"reward .* is float32 \[2\], .* one number"),
    "no reward": ({"reward": lambda self, place: None}, r"reward by step of Unsound is None, where one number"),
    "a number for last": (
        {"last": lambda self, place: jnp.int32(0)},
        r"last .* int32 \[\], where true or false",
    ),
    "a mask too long": ({"legal": lambda self, _: jnp.ones(3, bool)}, r"bool \[3\], where bool \[2\] is expected"),
    "a mask of numbers": (
        {"legal": lambda self, _: jnp.ones(2, jnp.int8)},
        r"int8 \[2\], where bool \[2\] is",
    ),
    "a mask at times": (
        {"legal": lambda self, first: None if first else jnp.ones(2, bool)},
        r"legal after a step of Unsound is bool \[2\], not None",
    ),
    "a state that grows": (
        {"state": lambda self, place: (place, place)},
        r"its state after .* not float32 \[2\]",
    ),
    "the row first": ({"reset": swapped}, r"returns \(a TimeStep, float32 \[2\]\), where a state and its row"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_a_world_is_told_what_it_gives_and_what_is_expected(case: str) -> None:
    otherwise, told = SHAPES[case]
    with pytest.raises(WorldError, match=told):
        train(retorno.PPO(), saying(**otherwise), 100)


class Flat(retorno.environments.Game):
    """A game whose position has not the shape of its board."""

    @property
    def board(self) -> tuple[int, int]:
        return 2, 2

    def start(self, key: Any) -> Any:
        return jnp.zeros(4, jnp.int8)

    def legal(self, position: Any) -> Any:
        return position == 0

    def move(self, position: Any, action: Any, key: Any) -> Any:
        raise AssertionError("its first position is told before")


def test_a_game_is_told_before_it_is_played() -> None:
    with pytest.raises(WorldError, match=r"obs by reset of Flat has shape \[4\] where MultiDiscrete"):
        Played(Flat())


SAID: dict[str, tuple[dict[str, Any], str]] = {
    "NaN": ({"reward": lambda self, place: jnp.float32(jnp.nan)}, "pays what is no finite number"),
    "nothing is legal": ({"legal": lambda self, first: jnp.full(2, first)}, "nothing is legal"),
}


@pytest.mark.parametrize("case", SAID)
def test_what_a_world_says_is_not_blamed_on_the_learning_rate(case: str) -> None:
    otherwise, told = SAID[case]
    learns = retorno.QLearning(network=MLP(hidden=(4,)))
    with train(learns, saying(**otherwise), 40) as run, pytest.raises(TrainingError, match=f"of the world.*{told}"):
        run.run_to_end()


def test_each_breach_is_found_of_its_row_alone() -> None:
    rows = jax.vmap(lambda discount, last: transition((), 0.0)._replace(discount=discount, last=last))(
        jnp.array([1.0, 0.0, -1.0, 0.0, 2.0, jnp.nan]), jnp.array([False, True, False, False, False, True])
    )
    found = {why[:23]: np.flatnonzero(at).tolist() for why, at in breaches(rows).items() if at.any()}
    assert found == {"has a discount that is ": [4, 5], "has a discount of 0 and": [3]}


@pytest.mark.parametrize("name", ["random_walk", *(name for name, world in WORLDS.items() if world.model is None)])
def test_our_worlds_keep_what_they_promise(name: str) -> None:
    require_rows(native(name))
