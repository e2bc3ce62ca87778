"""DQN from windows: returns of several steps by hand, stacked frames, and memory from replayed sequences."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.algorithms import DQN, QLearning
from retorno.algorithms.values.dqn import DQNLearner
from retorno.core.counter import Counter
from retorno.core.policy import Relabel, world_reward
from retorno.core.spaces import SpaceError, Spec
from retorno.core.time_step import TimeStep, Trajectory, blank
from retorno.environments.registry import make
from retorno.environments.textbook.bit_flip import BitFlip
from retorno.environments.wrappers import TimeLimit
from retorno.networks import MLP, ActionValueHead, Stack, Table
from retorno.ops.optimisers import SGD
from retorno.ops.returns import n_step_returns
from retorno.replay import Hindsight, Proportional, Sparse, ring
from retorno.run.train import train


def counted_by_hand(steps: TimeStep, start: int, n: int, value: np.ndarray, discount: float) -> float:
    """Gₜ:ₜ₊ₙ of one stream of rows, one reward after another."""
    total, factor = 0.0, 1.0
    for k in range(1, n + 1):
        total += factor * float(steps.reward[start + k])
        factor *= discount * float(steps.discount[start + k])
        if k == n or steps.last[start + k]:
            return total + factor * float(value[start + k])
    raise AssertionError


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_n_step_returns_of_every_window_by_hand(n: int) -> None:
    rng, length = np.random.default_rng(n), 300
    last = rng.random(length + 1) < 0.2
    rows = TimeStep(
        obs=jnp.arange(length + 1),
        reward=jnp.asarray(rng.normal(size=length + 1), jnp.float32),
        discount=jnp.asarray(np.where(last & (rng.random(length + 1) < 0.5), 0.0, 1.0), jnp.float32),
        first=jnp.asarray(np.concatenate([[True], last[:-1]])),
        last=jnp.asarray(last),
    )
    example = blank(jax.tree.map(lambda x: x[0], rows))
    replay = ring(example, jnp.int32(0), num_envs=1, capacity=length, rollout=length, length=n)
    batched = jax.tree.map(lambda x: x[:, None], rows)
    replay = replay.add(Trajectory(batched, jnp.zeros((length, 1), jnp.int32), (), ()))
    value = jnp.asarray(rng.normal(size=length + 1), jnp.float32)
    window = replay.windows(jnp.arange(length - n + 1)).trajectory
    returns = jax.vmap(lambda *x: n_step_returns(*x, n)[0], in_axes=1)(
        world_reward(window), 0.9 * window.steps.discount[1:], value[window.steps.obs[1:]], window.steps.last[1:]
    )
    learnt = np.flatnonzero(window.transitions[0])
    assert 0.7 * length < len(learnt) < length
    lived = jax.tree.map(np.asarray, rows)
    by_hand = [counted_by_hand(lived, int(t), n, np.asarray(value), 0.9) for t in learnt]
    np.testing.assert_allclose(returns[learnt], by_hand, rtol=1e-5, atol=1e-5)


def test_in_any_units_the_same_is_learnt() -> None:
    """Observations a thousand times as large and far from 0: normalised, of raw rows, they make the same network."""
    algorithm = DQN(
        network=MLP((8,)),
        capacity=16,
        learning_starts=0,
        gradient_steps=4,
        batch_size=4,
        target_period=8,
        normalise_observations=True,
    )
    space, rng = spaces.Box(-np.inf, np.inf, (2,)), np.random.default_rng(0)
    row = TimeStep(jnp.zeros(2), jnp.float32(0), jnp.float32(1), jnp.array(False), jnp.array(False))
    spec = Spec(space, spaces.Discrete(2), num_envs=1, steps=Counter.of(64), row=row)
    update = jax.jit(lambda learner, lived, key: algorithm.update(learner, lived, world_reward, key)[0])
    seen = rng.normal(size=(7, 5, 1, 2))
    seen[1:, 0] = seen[:-1, -1]

    def learnt(scale: float, shift: float) -> DQNLearner:
        learner = algorithm.init(jax.random.key(0), spec)
        for number, obs in enumerate(seen):
            rows = jax.tree.map(lambda x: jnp.repeat(x[None, None], 5, 0), row)
            paid = jnp.asarray(obs[..., 0], jnp.float32)
            rows = rows._replace(obs=jnp.asarray(scale * obs + shift, jnp.float32), reward=paid)
            learner = update(learner, Trajectory(rows, jnp.ones((4, 1), jnp.int32), {}, ()), jax.random.key(number))
        return learner

    plain, large = learnt(1.0, 0.0), learnt(1000.0, 5000.0)
    assert float(large.replay.ring.steps.obs.max()) > 5000
    weights = lambda learner: jnp.concatenate([x.ravel() for x in jax.tree.leaves(learner.network)])  # noqa: E731
    moved = jnp.abs(weights(plain) - weights(algorithm.init(jax.random.key(0), spec)))
    np.testing.assert_allclose(weights(plain), weights(large), atol=0.05 * float(moved.max()))
    obs = jnp.asarray(seen[-1, 3, 0], jnp.float32)
    q = [
        algorithm.policy(learner).step(scale * obs + shift, jnp.array(False), ())[0]["q"]
        for learner, scale, shift in ((plain, 1.0, 0.0), (large, 1000.0, 5000.0))
    ]
    np.testing.assert_allclose(q[0], q[1], atol=0.01)


def test_goals_are_exchanged_in_what_dqn_learns_from() -> None:
    """Episodes of one flip of two bits, each with the goal that it reached: eight flips are worth 0, others unknown."""
    hindsight = Hindsight(share=1.0, reward=Sparse(terminates=True), replay=Proportional(alpha=0.0))
    algorithm = DQN(network=Table(initial=-5.0), capacity=256, learning_starts=8, replay=hindsight, optimiser=SGD(1.0))
    training = train(dataclasses.replace(algorithm, epsilon_end=1.0), TimeLimit(BitFlip(2), 1), 2000, seed=0)
    training.run_to_end()
    q = np.asarray(training.run.learner.network.tables["q"])
    achieved, desired, observed, flip = np.unravel_index(np.arange(q.size), (4, 4, 4, 2))  # in the parts' order
    learnt = (observed == achieved) & (achieved ^ desired == 2 - flip)
    assert learnt.sum() == 8
    np.testing.assert_allclose(q.reshape(-1), np.where(learnt, 0, -5), atol=1e-4)


class Surprise(Relabel):
    """Pays for actions that were unlikely."""

    @property
    def extras(self) -> tuple[str, ...]:
        return ("log_prob",)

    def reward(self, trajectory: Trajectory) -> jax.Array:
        return -trajectory.extras["log_prob"]


def test_what_a_relabel_reads_is_replayed() -> None:
    world = make("cliff")
    algorithm = DQN(network=Table(), capacity=64, learning_starts=8, discount=0.0, epsilon=1.0, epsilon_end=1.0)
    training = train(algorithm, world, 500, seed=0, relabel=Surprise())
    training.run_to_end()
    replay = training.run.learner.replay
    np.testing.assert_allclose(jnp.delete(replay.extras["log_prob"], replay.newest), np.log(1 / 4), rtol=1e-6)
    q = training.run.learner.network.tables["q"]
    assert 0 < float(q.max()) <= np.log(4) and float(q.min()) >= 0  # the world itself pays −1


def test_what_is_not_recorded_cannot_be_read() -> None:
    with pytest.raises(SpaceError, match=r"Surprise reads 'log_prob' .* QLearning records nothing by name"):
        train(QLearning(), make("cliff"), 100, relabel=Surprise())


def test_a_stack_is_a_policy_of_finite_context() -> None:
    space = make("CartPoleNoVel-v1").observation_space
    assert Stack(2).build(jax.random.key(0), space, {"q": ActionValueHead(2)}).context == 1
