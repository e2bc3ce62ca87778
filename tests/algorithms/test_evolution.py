"""Evolution strategies: pairs and what they weigh by hand, and a pole that is balanced."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.algorithms import ARS, ES
from retorno.algorithms.evolution.evolution_strategies import CentredRanks, TopDirections
from retorno.core.policy import world_reward
from retorno.core.spaces import Spec
from retorno.core.time_step import TimeStep, Trajectory, blank
from retorno.environments.registry import make, model
from retorno.environments.sampled_world import sampled
from retorno.networks import Table
from retorno.ops.optimisers import SGD
from retorno.run.evaluate import evaluate
from retorno.run.train import train

PLUS, MINUS = jnp.array([3.0, 9.0, 1.0, 1.0]), jnp.array([1.0, 7.0, 1.0, 6.0])
COMPLETE = jnp.array([True, False, True, True])


def test_ranks_by_hand() -> None:
    """Of 3, 1, 1 and 1, 1, 6: the four ones share rank 1.5 of 5, 3 has 4 and 6 has 5."""
    expected = np.array([(4 - 1.5) / 5, 0, 0, (1.5 - 5) / 5]) / 6
    np.testing.assert_allclose(CentredRanks().weights(PLUS, MINUS, COMPLETE), expected, rtol=1e-6)


def test_top_directions_by_hand() -> None:
    """Two of the three pairs: those whose better returns are 6 and 3."""
    spread = np.std([3.0, 1.0, 1.0, 6.0])
    expected = np.array([2, 0, 0, -5]) / (2 * spread)
    np.testing.assert_allclose(TopDirections(0.6).weights(PLUS, MINUS, COMPLETE), expected, rtol=1e-5)


def test_a_pair_is_an_episode_with_the_noise_and_one_against_it() -> None:
    """Rewards 1 and 2, then 4, with γ = ½: a pair earned 2 and 4. What begins then is half of the next one."""
    world = sampled(model("student"))
    row = blank(jax.eval_shape(world.reset, jax.random.key(0))[1])
    method = ES(network=Table(), utility=TopDirections(), optimiser=SGD(1.0), discount=0.5, num_envs=1, table=64)
    learner = method.init(jax.random.key(0), Spec(world.observation_space, world.action_space, 1, 100, row))
    last = np.array([0, 0, 1, 0, 1, 0, 1])  # Three episodes, of two steps and of one and of one.
    column = lambda x, dtype: jnp.asarray(x, dtype)[:, None]  # noqa: E731
    rows = TimeStep(
        obs=column(np.zeros(7), jnp.int32),
        reward=column([0, 1, 2, 0, 4, 0, 8], jnp.float32),
        discount=column(np.ones(7), jnp.float32),
        first=column(np.roll(last, 1), bool),
        last=column(last, bool),
        legal=jnp.ones((7, 1, model("student").num_actions), bool),
    )
    extras = {"place": column([5, 5, 5, 5, 5, 7], jnp.int32), "sign": column([1, 1, 1, -1, -1, 1], jnp.float32)}
    lived = Trajectory(rows, column(np.zeros(6), jnp.int32), extras, ())
    after, told = method.update(learner, lived, world_reward, jax.random.key(1))
    assert told["pairs"] == 1 and told["fitness"] == 3.0
    moved = after.network.tables["policy"] - learner.network.tables["policy"]
    # (2 − 4) over their standard deviation, 1, along the noise.
    np.testing.assert_allclose(np.ravel(moved), -2 * learner.noise[5 : 5 + moved.size], rtol=1e-4)
    assert after.held.plus[0] == 8.0 and after.held.open[0] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("method", [ES(), ARS()], ids=["es", "ars"])
def test_a_pole_is_balanced(method: ES) -> None:
    """Two seeds of each got 500."""
    training = train(method, "CartPole-v1", 400_000)
    training.run_to_end()
    assert evaluate(training.policy, make("CartPole-v1"), 50).mean >= 475
