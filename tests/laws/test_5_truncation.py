"""Law 5: a time limit changes nothing about the value learned."""

from __future__ import annotations

import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from cases import mostly
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from small import COMPARING, DISCOUNTED, EPISODIC, FAMILIES, Deadly, constant_reward, small

from retorno.algorithms import BANDITS
from retorno.core.environment import World
from retorno.core.policy import Algorithm
from retorno.environments.hosted.export import to_gymnasium
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.environments.sampled_world import sampled
from retorno.environments.wrappers import TimeLimit
from retorno.networks import Table
from retorno.ops.optimisers import Adam, Schedule
from retorno.run.train import train

DISCOUNT = 0.75
VALUE = 1 / (1 - DISCOUNT)
STEPS = 4000
# Each of at least STEPS / 16 updates moves a value by a tenth of its error or more (Adam: by .1, falling to 0),
# and a target's error is at most γ of the value's: (1 − .1 (1 − γ))²⁵⁰ = .002.
TOLERANCE = 0.01 * VALUE


def learner(name: str) -> Algorithm:
    return small(
        name,
        network=Table(),
        discount=DISCOUNT,
        step_size=0.5,
        critic_step_size=0.5,
        optimiser=Adam(0.1, Schedule.linear),
        target_period=1,
        value_coefficient=1.0,
        depth=20,  # γ²⁰ = .003 is left out.
    )


def check_truncation(algorithm: Algorithm, world: World) -> None:
    """The value of the one state, that pays 1 for ever, is 1 / (1 − γ)."""
    training = train(algorithm, world, STEPS, seed=0)
    training.run_to_end()
    training.close()
    heads = training.policy.step(jnp.int32(0), jnp.array(False), ())[0]
    value = heads["q"][0] if "q" in heads else heads["value"]
    np.testing.assert_allclose(value, VALUE, atol=TOLERANCE)


LOOKING_AHEAD = [name for name in DISCOUNTED if name not in (*BANDITS, *COMPARING)]


TURNS = [(name, (1, 3)[i % 2]) for i, name in enumerate(LOOKING_AHEAD)]


@pytest.mark.parametrize(("name", "limit"), mostly(TURNS, itertools.product(LOOKING_AHEAD, (1, 3))))
def test_a_time_limit_changes_no_value(name: str, limit: int) -> None:
    check_truncation(learner(name), TimeLimit(sampled(constant_reward()), limit))


ENDLESS = [name for name in LOOKING_AHEAD if name not in EPISODIC]


@pytest.mark.parametrize("name", mostly(FAMILIES, ENDLESS))
def test_the_value_without_a_limit(name: str) -> None:
    """Those are not asked that learn from episodes that end."""
    check_truncation(learner(name), sampled(constant_reward()))


class Own(SyncVectorEnv):
    """A vector environment of the user's own: it is driven through its own step."""


@pytest.mark.parametrize("mode", AutoresetMode)
def test_every_autoreset_mode(mode: AutoresetMode) -> None:
    def make() -> Any:
        return to_gymnasium(TimeLimit(sampled(constant_reward()), 3))

    vector = Own([make, make], autoreset_mode=mode)
    check_truncation(learner("q_learning"), gymnasium(vector))
    vector.close()


@pytest.mark.parametrize("name", mostly((*FAMILIES, "reinforce"), LOOKING_AHEAD))
def test_the_law_sees_a_time_limit_that_is_taken_as_death(name: str) -> None:
    with pytest.raises(AssertionError):
        check_truncation(learner(name), Deadly(TimeLimit(sampled(constant_reward()), 3)))
