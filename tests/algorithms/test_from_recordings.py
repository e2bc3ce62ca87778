"""What learns without living: exact values of who recorded, and better actions than theirs."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.algorithms import CQL, IQL, TD3BC
from retorno.core.spaces import SpaceError
from retorno.environments import episode, recorded_episodes
from retorno.networks import MLP, Activation, Table
from retorno.ops.objectives import expectile_loss
from retorno.ops.optimisers import SGD, Adam, Schedule
from retorno.run.train import train

DISCOUNT = 0.5
LIGHTS = np.array([-0.5, 0.5])
SETTINGS = {"network": MLP((32, 32), Activation.relu, orthogonal=False), "num_envs": 16, "discount": DISCOUNT}


def recordings() -> Any:
    """Somebody turned a dial evenly, two lights were shown at random: −(action − light)² was paid. Nothing ends."""
    rng = np.random.default_rng(0)

    def one() -> Any:
        light, action = rng.integers(0, 2, 11), rng.uniform(-1, 1, (10, 1)).astype(np.float32)
        paid = -np.square(action[:, 0] - LIGHTS[light[:-1]])
        return episode(light.astype(np.int32), action, paid, terminated=False)

    return recorded_episodes([one() for _ in range(200)], spaces.Discrete(2), spaces.Box(-1, 1, (1,)))


def learnt(algorithm: Any, steps: int = 60_000) -> Any:
    training = train(algorithm, recordings(), steps)
    training.run_to_end()
    return training


def chosen(training: Any) -> np.ndarray:
    seen = lambda light: training.policy.step(light, jnp.array(False), ())[0]["policy"].mode()[0]  # noqa: E731
    return np.asarray(jax.vmap(seen)(jnp.arange(2)))


def test_half_an_expectile_is_the_value_of_who_recorded() -> None:
    """E[−(a − l)²] = −(1/3 + 1/4) a step, and all of that again with γ = ½; the policy of β = 0 is theirs, too."""
    method = IQL(**SETTINGS, expectile=0.5, inverse_temperature=0.0, target_step=0.05, optimiser=FALLING)
    training = learnt(method, 150_000)
    networks = training.run.learner
    value = jax.vmap(lambda light: networks.value.step(light, jnp.array(False), ())[0]["value"])(jnp.arange(2))
    np.testing.assert_allclose(value, -(1 / 3 + 1 / 4) / (1 - DISCOUNT), atol=0.06)
    policy = jax.vmap(lambda light: training.policy.step(light, jnp.array(False), ())[0]["policy"])(jnp.arange(2))
    np.testing.assert_allclose(policy.mean, 0, atol=0.08)
    np.testing.assert_allclose(np.exp(policy.log_std), 1 / np.sqrt(3), atol=0.05)  # It was 1.


FALLING = Adam(3e-3, Schedule.linear)


@pytest.mark.parametrize(
    "algorithm",
    [
        IQL(expectile=0.8, inverse_temperature=20.0),
        TD3BC(climb=20.0),
        CQL(conservatism=0.1, temperature=0.01, draws=3, critic_optimiser=FALLING),
    ],
    ids=["iql", "td3_bc", "cql"],
)
def test_what_is_learnt_is_better_than_what_was_recorded(algorithm: Any) -> None:
    method = dataclasses.replace(algorithm, **SETTINGS, target_step=0.05, optimiser=FALLING)
    np.testing.assert_allclose(chosen(learnt(method)), LIGHTS, atol=0.12)


def test_without_climbing_it_clones() -> None:
    np.testing.assert_allclose(chosen(learnt(TD3BC(**SETTINGS, climb=0.0, optimiser=FALLING))), 0, atol=0.08)


def test_an_expectile_of_a_coin() -> None:
    """Of 0 and 1 alike τ itself: where τ (1 − v) = (1 − τ) v."""
    for expectile in (0.5, 0.9):
        slope = jax.grad(lambda v, e=expectile: expectile_loss(jnp.array([0.0, 1.0]) - v, e).sum())(expectile)
        assert abs(slope) < 1e-6


def test_whole_numbers_are_refused_where_real_ones_are_climbed() -> None:
    world = recorded_episodes([episode(np.arange(3), np.zeros(2, int))], spaces.Discrete(3), spaces.Discrete(2))
    with pytest.raises(SpaceError, match="TD3BC acts by real numbers"):
        train(TD3BC(num_envs=1), world, 10)


def test_conservative_values_are_where_their_gradient_vanishes() -> None:
    """Of a bandit whose arms were pulled 6, 3 and 1 times of 10: c (softmax Q − β) + β (Q − r) = 0 for each of them."""
    behaviour, paid = np.array([0.6, 0.3, 0.1]), np.array([1.0, 0.0, 2.0])
    arms = np.repeat(np.arange(3), [6, 3, 1])
    world = recorded_episodes(
        [episode(np.zeros(2, np.int32), np.array([arm]), paid[arm]) for arm in arms],
        spaces.Discrete(1),
        spaces.Discrete(3),
        packed=False,
    )
    method = CQL(network=Table(), num_envs=10, conservatism=0.5, critic_optimiser=SGD(0.3), temperature=0.1)
    training = train(method, world, 10_000)
    training.run_to_end()
    for member in training.run.learner.critics.members:
        q = np.asarray(member.tables["q"])[0]
        softmax = np.exp(q) / np.exp(q).sum()
        np.testing.assert_allclose(0.5 * (softmax - behaviour) + behaviour * (q - paid), 0, atol=1e-4)
    assert q[2] < 1.5  # Worth 2, but seldom seen.
