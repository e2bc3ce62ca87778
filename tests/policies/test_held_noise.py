"""Noise that is held: the same for a state so long, and none of the memory."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.algorithms import PPO, SAC
from retorno.core.spaces import Spec
from retorno.core.time_step import blank
from retorno.environments.registry import make
from retorno.networks import GRU, MLP, BoxPolicy
from retorno.run.train import train

METHODS = [
    PPO(network=MLP((8,)), box=BoxPolicy.state_dependent, noise_period=3),
    SAC(network=MLP((8,)), state_dependent=True, noise_period=3, capacity=64, learning_starts=0),
]


@pytest.mark.parametrize("method", METHODS, ids=["ppo", "sac"])
def test_a_state_gets_the_same_action_for_a_period_of_an_episode(method: Any) -> None:
    world = make("Pendulum-v1")
    row = blank(jax.eval_shape(world.reset, jax.random.key(0))[1])
    learner = method.init(jax.random.key(0), Spec(world.observation_space, world.action_space, 1, 100, row))
    row = row._replace(obs=jnp.array([0.5, 0.8, -1.0]))
    carry, actions = method.initial_carry(learner), []
    for t in range(8):  # The second episode begins with the sixth row.
        row = row._replace(first=jnp.array(t in (0, 5)))
        action, _, carry = method.act(learner, row, carry, jax.random.key(t))
        actions.append(float(action[0]))
    renewed = np.flatnonzero(np.diff(actions)) + 1
    assert renewed.tolist() == [3, 5]


def test_a_memory_is_that_of_the_policy_alone() -> None:
    """Else what is learnt would not be as likely as what was done: the first ratio is 1 to rounding."""
    method = PPO(
        network=GRU(8, (8,)),
        box=BoxPolicy.state_dependent,
        noise_period=4,
        num_envs=2,
        rollout=8,
        epochs=1,
        minibatches=1,
    )
    training = train(method, "Pendulum-v1", 64)
    for told in training:
        assert told.metrics["first_ratio"] == pytest.approx(1.0, abs=1e-5)
