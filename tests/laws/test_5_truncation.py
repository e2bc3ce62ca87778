"""Law 5: a time limit changes nothing about the value learned."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from cases import main, mostly
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from small import COMPARING, DISCOUNTED, EPISODIC, EVOLVING, FAMILIES, Deadly, constant_reward, model, small

from retorno.algorithms import BANDITS
from retorno.core.environment import World
from retorno.core.policy import Algorithm
from retorno.environments.hosted.export import to_gymnasium
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.environments.sampled_world import Sampled, sampled
from retorno.environments.wrappers import TimeLimit
from retorno.networks import Table
from retorno.ops.optimisers import Adam, Schedule
from retorno.policies import Epsilon
from retorno.run.train import train

DISCOUNT = 0.75
VALUE = 1 / (1 - DISCOUNT)
STEPS = 16_000
# Of STEPS / 16 updates at least one in four moves a value by a tenth of its error or more (Adam: by .1, falling to 0),
# and a target's error is at most γ of the value's: (1 − .1 (1 − γ))²⁵⁰ = .002.
TOLERANCE = 0.01 * VALUE


FEWER = {"rollout": 16, "uct": 16, "psrl": 4000}
"""Planners in the exact model learn nothing from steps; PSRL solves a model drawn anew after each episode."""


@functools.cache
def paying() -> Sampled:
    """Each action pays 1 and leads to state 0, for ever; programs of algorithms' main cases are for this world too."""
    garnet = model("garnet")
    ones = np.ones_like(garnet.reward)
    return sampled(replace(garnet, next_state=np.zeros_like(garnet.next_state), reward=ones, discount=ones))


def learner(name: str) -> Algorithm:
    """In each of DQN's batches is each action: those that Adam moves on without seeing them end beyond their value."""
    return small(
        name,
        network=Table(),
        discount=DISCOUNT,
        step_size=0.5,
        critic_step_size=0.5,
        optimiser=Adam(0.1, Schedule.linear),
        target_period=1,
        target_step=1.0,
        value_coefficient=1.0,
        depth=20,  # γ²⁰ = .003 is left out.
        # Each action is as good, and is tried as often.
        exploration=Epsilon(1.0),
        epsilon=1.0,
        epsilon_end=1.0,
        critic_network=Table(initial=2 * VALUE),
        # Entropy is worth .005 log 4 a step, which adds .02 to the value.
        automatic=False,
        temperature=0.005,
        **({"batch_size": 32} if name == "dqn" else {}),
    )


def check_truncation(algorithm: Algorithm, world: World, steps: int = STEPS) -> None:
    """The value of the state that pays 1 for ever is 1 / (1 − γ)."""
    training = train(algorithm, world, steps, seed=0)
    training.run_to_end()
    training.close()
    heads = training.policy.step(jnp.int32(0), jnp.array(False), ())[0]
    # A search says 0 of actions that it did not try, and what the row is worth beside them.
    value = heads["value"] if "value" in heads else heads["q"]
    np.testing.assert_allclose(value, VALUE, atol=TOLERANCE)


FINITE = [name for name in DISCOUNTED if main(name).world == "finite"]
"""The others act by real numbers."""
LOOKING_AHEAD = [name for name in FINITE if name not in (*BANDITS, *COMPARING, *EVOLVING)]


SHORTEST, USUAL = 1, 7
"""The cases of the other laws are cut after 7 steps."""


@pytest.mark.parametrize("name", LOOKING_AHEAD)
def test_a_time_limit_changes_no_value(name: str) -> None:
    check_truncation(learner(name), TimeLimit(paying(), USUAL), FEWER.get(name, STEPS))


@pytest.mark.parametrize("name", mostly(FAMILIES, LOOKING_AHEAD))
def test_a_limit_of_one_step_changes_no_value(name: str) -> None:
    check_truncation(learner(name), Deadly(TimeLimit(paying(), SHORTEST), mistaken=False))


ENDLESS = [name for name in LOOKING_AHEAD if name not in EPISODIC]


@pytest.mark.parametrize("name", mostly(["q_learning", "ppo"], ENDLESS))
def test_the_value_without_a_limit(name: str) -> None:
    """Those are not asked that learn from episodes that end. What a limit does to a family is seen with limits."""
    check_truncation(learner(name), paying())


class Own(SyncVectorEnv):
    """A vector environment of the user's own: it is driven through its own step."""


@pytest.mark.parametrize("mode", AutoresetMode)
def test_every_autoreset_mode(mode: AutoresetMode) -> None:
    def make() -> Any:
        return to_gymnasium(TimeLimit(sampled(constant_reward()), 3))

    vector = Own([make, make], autoreset_mode=mode)
    # 250 updates, half of which move a value by a quarter of its error or more: (1 − .25 (1 − γ))¹²⁵ = .0003.
    check_truncation(learner("q_learning"), gymnasium(vector), 2000)
    vector.close()


@pytest.mark.parametrize("name", mostly((*FAMILIES, "reinforce"), LOOKING_AHEAD))
def test_the_law_sees_a_time_limit_that_is_taken_as_death(name: str) -> None:
    """In the program of episodes of one step."""
    with pytest.raises(AssertionError):
        check_truncation(learner(name), Deadly(TimeLimit(paying(), SHORTEST)))
