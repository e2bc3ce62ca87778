"""SAC, TD3 and DDPG against exact answers: soft values, a policy's value; ensembles by hand, and what is refused."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.algorithms import DDPG, SAC, TD3, CrossQ
from retorno.bellman import maximum_entropy
from retorno.core.counter import Counter
from retorno.core.environment import Environment
from retorno.core.spaces import SpaceError
from retorno.core.time_step import TimeStep, restart, transition
from retorno.environments.registry import make, model
from retorno.environments.sampled_world import sampled
from retorno.environments.wrappers import TimeLimit
from retorno.networks import MLP, Activation, Table
from retorno.networks.ensembles import Least, LeastQuantiles, Truncated
from retorno.ops.optimisers import SGD, Adam, Schedule
from retorno.run.collect import collect
from retorno.run.loop import begin_native
from retorno.run.train import train

DISCOUNT = 0.8
LIGHTS = jnp.array([-0.5, 0.5])
SMALL = MLP((64, 64), Activation.relu, orthogonal=False)
FALLING = Adam(3e-3, Schedule.linear)


class Lights(Environment):
    """Turn a dial to where a light shows: pays −(action − light)², whatever was before. Episodes of five steps."""

    @property
    def observation_space(self) -> spaces.Discrete:
        return spaces.Discrete(2)

    @property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1, 1, (1,))

    def reset(self, key: Any) -> tuple[Any, TimeStep]:
        light = jax.random.randint(key, (), 0, 2)
        return light, restart(light)

    def step(self, state: Any, action: Any, key: Any) -> tuple[Any, TimeStep]:
        light = jax.random.randint(key, (), 0, 2)
        return light, transition(light, -jnp.square(action[0] - LIGHTS[state]))


def learnt(algorithm: Any, world: Any, steps: int, seed: int = 0) -> Any:
    training = train(algorithm, world, steps, seed=seed)
    training.run_to_end()
    return training


def test_soft_values_of_finitely_many_actions_are_the_exact_ones() -> None:
    """Where nothing is left to chance, each value nears its target by a share, as an expected backup does.

    The soft value of a policy is that of the best one up to the square of what tells them apart.
    """
    exact = model("example_3_5")
    algorithm = SAC(
        network=Table(),
        critic_network=Table(initial=40.0),  # What was never tried is tried.
        num_envs=4,
        rollout=16,
        gradient_steps=16,
        batch_size=32,
        capacity=4096,
        optimiser=Adam(0.1, Schedule.linear),
        critic_optimiser=SGD(4.0),
        target_step=0.2,
        discount=DISCOUNT,
        temperature=5.0,
        automatic=False,
    )
    learner = learnt(algorithm, TimeLimit(sampled(exact), 20), 20_000).run.learner
    answer = maximum_entropy(exact, DISCOUNT, 5.0)
    state = exact.pair_state
    for member in learner.critics.members:
        q = np.asarray(member.tables["q"])[state, exact.action]
        np.testing.assert_allclose(q, answer.q, atol=0.01 * np.abs(answer.q).max())
    policy = jax.nn.softmax(learner.actor.tables["policy"])[state, exact.action]
    np.testing.assert_allclose(policy, answer.policy, atol=0.05)


@jax.jit
def _judged(learner: Any, actions: Any) -> Any:
    memory = tuple(member.initial_carry() for member in learner.critics.members)
    of_one = lambda light, a: learner.critics(light, jnp.array(False), a[None], memory)  # noqa: E731
    return jax.vmap(lambda light: jax.vmap(lambda a: of_one(light, a))(actions))(jnp.arange(2))


def judged(learner: Any, actions: np.ndarray) -> np.ndarray:
    """What each critic says of some actions, in front of each light. Shape [K, 2, actions]."""
    return np.moveaxis(np.asarray(_judged(learner, actions)), -1, 0)


@jax.jit
def _heads(policy: Any) -> Any:
    return jax.vmap(lambda light: policy.step(light, jnp.array(False), ())[0]["policy"])(jnp.arange(2))


def heads(training: Any) -> Any:
    return _heads(training.policy)


ACTIONS = np.linspace(-0.9, 0.9, 7, dtype=np.float32)


@pytest.mark.parametrize("algorithm", [TD3(critics=2, target_noise=0.0), DDPG()], ids=["td3", "ddpg"])
def test_critics_hold_the_value_of_the_policy(algorithm: TD3) -> None:
    """Of an action what it pays, and then what the policy's own actions will: a time limit ends nothing."""
    settings = {"network": SMALL, "num_envs": 4, "rollout": 4, "gradient_steps": 4, "batch_size": 64}
    method = dataclasses.replace(
        algorithm, **settings, capacity=4096, discount=DISCOUNT, noise=0.5, target_step=0.05, optimiser=FALLING
    )
    training = learnt(method, TimeLimit(Lights(), 5), 6_000)
    taken = np.asarray(heads(training).action)[:, 0]
    np.testing.assert_allclose(taken, LIGHTS, atol=0.1)
    later = DISCOUNT / (1 - DISCOUNT) * -np.square(taken - np.asarray(LIGHTS)).mean()
    exact = -np.square(ACTIONS - np.asarray(LIGHTS)[:, None]) + later
    for q in judged(training.run.learner, jnp.asarray(ACTIONS)):
        np.testing.assert_allclose(q, exact, atol=0.1)  # a twentieth of what actions differ by


def test_soft_critics_hold_the_soft_value_of_the_policy() -> None:
    method = SAC(
        network=SMALL,
        num_envs=4,
        rollout=4,
        gradient_steps=4,
        batch_size=64,
        capacity=4096,
        discount=DISCOUNT,
        temperature=0.2,
        automatic=False,
        target_step=0.05,
        optimiser=FALLING,
    )
    training = learnt(method, TimeLimit(Lights(), 5), 8_000)
    policy = heads(training)
    drawn = jax.vmap(lambda p, k: jax.vmap(p.sample)(jax.random.split(k, 4096)))(
        policy, jax.random.split(jax.random.key(0))
    )
    paid = -np.square(np.asarray(drawn)[..., 0] - np.asarray(LIGHTS)[:, None]).mean(1)
    soft = paid + 0.2 * np.asarray(jax.vmap(lambda p: p.entropy())(policy))
    often = ACTIONS[1:-1]  # At the edges, four deviations off, nothing is lived any more.
    exact = -np.square(often - np.asarray(LIGHTS)[:, None]) + DISCOUNT / (1 - DISCOUNT) * soft.mean()
    for q in judged(training.run.learner, jnp.asarray(often)):
        np.testing.assert_allclose(q, exact, atol=0.05)
    # Among squashed normal policies: the best one's spread is about √(α/2) = .32.
    assert 0.2 < float(np.asarray(drawn).std(1).mean()) < 0.45


def test_what_cannot_be_acted_in_is_refused() -> None:
    class Free(Lights):
        @property
        def action_space(self) -> spaces.Box:
            return spaces.Box(-np.inf, np.inf, (1,))

    with (
        pytest.warns(UserWarning, match="no bounds"),
        pytest.raises(SpaceError, match="SAC acts between bounds, got Box"),
    ):
        train(SAC(), Free(), 10)
    with pytest.raises(SpaceError, match="TD3 acts by real numbers"):
        train(TD3(), make("CartPole-v1"), 10)
    with pytest.raises(SpaceError, match="without a target network"):
        train(CrossQ(), make("CartPole-v1"), 10)
    with pytest.raises(ValueError, match="a subset of 3 cannot be drawn from 2 critics"):
        Least(members=2, subset=3)


def test_before_learning_starts_actions_are_drawn_evenly() -> None:
    """4,096 of them: the mean's standard error is .009, that of the share below −½ .007."""
    for algorithm in (SAC(), TD3()):
        method = dataclasses.replace(
            algorithm, network=MLP((8,)), num_envs=64, rollout=64, batch_size=1, capacity=4096, learning_starts=2**20
        )
        run = begin_native(method, Lights(), None, jnp.uint32(0), Counter.of(4096), method.num_envs)
        live = jax.jit(partial(collect, method, run.learner, Lights()))
        action = np.asarray(live(run.stage, run.seed, jax.random.key(0))[1].action)
        assert action.shape == (64, 64, 1)
        assert abs(action.mean()) < 0.036 and abs((action < -0.5).mean() - 0.25) < 0.028


def test_ensembles_by_hand() -> None:
    q, key = jnp.array([[1.0, 5.0], [2.0, 9.0]]), jax.random.key(0)
    mixture = Truncated(members=2, quantiles=2, dropped=1)
    assert mixture.target(q, key).tolist() == [1.0, 2.0] and mixture.judgement(q) == 4.25
    # Shares ¼ and ¾; errors 0 and 1, −4 and −3, −1 and 0, −8 and −7, of which Huber's losses are the size less ½.
    errors = np.array([[0.25 * 0.5, 0.25 * (3.5 + 2.5)], [0.75 * 0.5, 0.25 * (7.5 + 6.5)]])
    np.testing.assert_allclose(mixture.loss(q, jnp.array([1.0, 2.0])), errors.sum() / 8, rtol=1e-6)
    least = LeastQuantiles(members=2, quantiles=2)
    assert least.target(q, key).tolist() == [1.0, 5.0] and least.judgement(q) == 3.0
    np.testing.assert_allclose(least.loss(q, jnp.array([1.0, 2.0])), errors.sum() / 4, rtol=1e-6)
    assert Least().target(q, key).tolist() == [1.0, 5.0]
    assert float(Least().loss(jnp.array([1.0, 4.0]), jnp.array([2.0]))) == 2.5
    with pytest.raises(ValueError, match="nothing is left"):
        Truncated(quantiles=2, dropped=2)
