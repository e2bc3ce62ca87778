"""Episodes that go on where they are over."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from retorno.algorithms import PPO
from retorno.core.environment import Environment
from retorno.core.time_step import restart, transition
from retorno.environments.control.classic import cart_pole
from retorno.environments.registry import make
from retorno.environments.wrappers import TimeLimit, Waiting
from retorno.networks import MLP
from retorno.run.evaluate import evaluate
from retorno.run.train import train


class Count(Environment):
    """Counts its steps, pays as many, and is over at three."""

    @property
    def observation_space(self):
        return spaces.Discrete(100)

    @property
    def action_space(self):
        return spaces.Discrete(2)

    def reset(self, key):
        return jnp.int32(0), restart(jnp.int32(0))

    def step(self, state, action, key):
        return state + 1, transition(state + 1, state + 1.0, terminated=state + 1 == 3)


def test_where_it_would_end_it_waits_and_pays_no_more() -> None:
    world = TimeLimit(Waiting(Count()), 6)
    state, row = world.reset(jax.random.key(0))
    rows = [row]
    for _ in range(6):
        state, row = world.step(state, jnp.int32(0), jax.random.key(0))
        rows.append(row)
    assert [int(row.obs) for row in rows] == [0, 1, 2, 3, 3, 3, 3]
    assert [float(row.reward) for row in rows] == [0, 1, 2, 3, 0, 0, 0]
    assert [bool(row.last) for row in rows] == [False] * 6 + [True]
    assert [bool(row.first) for row in rows] == [True] + [False] * 6
    assert all(float(row.discount) == 1 for row in rows)
    state, row = world.restart(state, jax.random.key(1))
    assert int(row.obs) == 0 and bool(row.first)
    assert int(world.step(state, jnp.int32(0), jax.random.key(0))[1].obs) == 1, "and begins again"


def test_an_episode_is_worth_what_it_was_worth() -> None:
    """The same policy, from the same beginnings: only lengths differ."""
    with train(PPO(network=MLP((8,)), num_envs=2, rollout=8), cart_pole(), 32) as training:
        training.run_to_end()
        ends = evaluate(training.policy, cart_pole(), 20, seed=3)
        waits = evaluate(training.policy, make("CartPole-v1", waits=True), 20, seed=3)
    assert abs(float(ends.mean) - float(waits.mean)) < 3 * (ends.returns.std() + waits.returns.std()) / np.sqrt(20)
    assert np.all(waits.lengths == 500) and np.all(ends.lengths < 500)
