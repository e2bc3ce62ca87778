"""Noise that is held: the same for a state so long, and none of the memory."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.algorithms import PPO, SAC, TD3, TRPO
from retorno.core.spaces import Spec
from retorno.core.time_step import blank
from retorno.environments.registry import make
from retorno.networks import GRU, MLP, BoxPolicy
from retorno.run.train import train

METHODS = [
    PPO(network=MLP((8,)), box=BoxPolicy.state_dependent, noise_period=3),
    SAC(network=MLP((8,)), state_dependent=True, noise_period=3, capacity=64, learning_starts=0),
    TRPO(network=MLP((8,)), box=BoxPolicy.state_dependent, noise_period=3),
]


def chosen_by(method: Any, firsts: list[bool]) -> list[float]:
    """What it does on one row again and again, some of them the first of their episode."""
    world = make("Pendulum-v1")
    row = blank(jax.eval_shape(world.reset, jax.random.key(0))[1])
    learner = method.init(jax.random.key(0), Spec(world.observation_space, world.action_space, 1, 100, row))
    row = row._replace(obs=jnp.array([0.5, 0.8, -1.0]))

    def step(carry: Any, x: Any) -> Any:
        action, _, carry = method.act(learner, row._replace(first=x[0]), carry, x[1])
        return carry, action[0]

    rows = jnp.array(firsts), jax.random.split(jax.random.key(1), len(firsts))
    return jax.lax.scan(step, method.initial_carry(learner), rows)[1].tolist()


@pytest.mark.parametrize("method", METHODS, ids=["ppo", "sac", "trpo"])
def test_a_state_gets_the_same_action_for_a_period_of_an_episode(method: Any) -> None:
    actions = chosen_by(method, [t in (0, 5) for t in range(8)])  # The second episode begins with the sixth row.
    renewed = np.flatnonzero(np.diff(actions)) + 1
    assert renewed.tolist() == [3, 5]


def test_noise_that_is_kept_drifts_within_an_episode() -> None:
    """An Ornstein–Uhlenbeck process: of each step's noise κ stays, and an episode begins without any."""
    kept, std, episode = 0.9, 0.05, 50
    method = TD3(network=MLP((8,)), capacity=64, learning_starts=0, noise=std, noise_kept=kept)
    firsts = [t % episode == 0 for t in range(4000)]
    best = chosen_by(dataclasses.replace(method, noise=0.0), [True])[0]
    noise = np.array(chosen_by(method, firsts)).reshape(-1, episode) - best
    fresh = noise[:, 1:] - kept * noise[:, :-1]
    assert fresh.std() == pytest.approx(std, rel=0.05)  # 3,920 of them: a standard error of 1.1%
    assert abs(np.corrcoef(fresh[:, 1:].ravel(), fresh[:, :-1].ravel())[0, 1]) < 4 / np.sqrt(fresh[:, 1:].size)
    assert noise[:, 0].std() == pytest.approx(std, rel=0.35)  # 80 of them, 8%: not the .115 that it grows to


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
