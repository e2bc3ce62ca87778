"""Evolution strategies: pairs and what they weigh by hand, and a pole that is balanced."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.algorithms import ARS, CMAES, ES
from retorno.algorithms.evolution.evolution_strategies import CentredRanks, TopDirections
from retorno.core.policy import world_reward
from retorno.core.spaces import Spec
from retorno.core.time_step import TimeStep, Trajectory, blank, restart
from retorno.environments.registry import make, model
from retorno.environments.sampled_world import sampled
from retorno.networks import MLP, Table
from retorno.ops.adaptation import Search, adapted, search_from
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


@pytest.mark.parametrize("turned", [False, True])
def test_directions_are_learnt(turned: bool) -> None:
    """A valley a million times as steep one way as another, of 8, along the axes or across them, in 5,040 draws.

    Three seeds needed 3,852 to 4,056. Without M it is not left behind.
    """
    scale = 10.0 ** (3 * np.arange(8) / 7)
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0] if turned else np.eye(8)
    worth = lambda x: -jnp.square(scale * (basis @ x)).sum()  # noqa: E731

    def best(learns: bool) -> float:
        def generation(search: Search, key: jax.Array) -> tuple[Search, None]:
            z = jax.random.normal(key, (12, 8))
            after = adapted(search, z, jax.vmap(lambda z: worth(search.at(z)))(z))
            return after if learns else after._replace(matrix=jnp.eye(8)), None

        begun = search_from(jnp.asarray(basis.T @ np.ones(8), jnp.float32), 0.5)
        end, _ = jax.jit(lambda keys: jax.lax.scan(generation, begun, keys))(jax.random.split(jax.random.key(0), 420))
        return float(-worth(end.mean))

    assert best(learns=True) < 1e-8
    assert best(learns=False) > 1e-3


def test_a_generation_ends_when_each_of_its_draws_has_earned_a_return() -> None:
    """One is ready twice, with 3 and 5, before another is once; an episode that began too early does not count."""
    world = sampled(model("student"))
    row = blank(jax.eval_shape(world.reset, jax.random.key(0))[1])
    method = CMAES(network=Table(), num_envs=4, discount=0.5)
    learner = method.init(jax.random.key(0), Spec(world.observation_space, world.action_space, 4, 100, row))
    last = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 1], [0, 0, 0, 0], [1, 0, 1, 1]], bool)
    rows = TimeStep(
        obs=jnp.zeros((5, 4), jnp.int32),
        reward=jnp.array([[0.0] * 4, [0.0] * 4, [3.0, 1.0, 9.0, 1.0], [0.0] * 4, [5.0, 4.0, 7.0, 1.0]]),
        discount=jnp.ones((5, 4)),
        first=jnp.asarray(np.roll(last, 1, axis=0)),
        last=jnp.asarray(last),
        legal=jnp.ones((5, 4, model("student").num_actions), bool),
    )
    generation = jnp.array([[1, 1, 0, 1]] * 2 + [[1, 1, 1, 1]] * 2, jnp.uint32)
    extras = {"generation": generation, "seed": jnp.array([[7, 8, 9, 10]] * 4, jnp.uint32)}
    lived = Trajectory(rows, jnp.zeros((4, 4), jnp.int32), extras, ())
    waits, _ = method.update(learner, lived, world_reward, jax.random.key(1))
    assert waits.generation == 1 and waits.judged.earned.tolist() == [8, 0, 7, 2]
    assert waits.judged.episodes.tolist() == [2, 0, 1, 2]
    # 1 at once and 4 two steps later; what was lived on the way to a reset is no step.
    assert waits.judged.open[1] == 2.0 and waits.judged.weight[1] == 0.125
    ends = rows._replace(last=jnp.zeros((5, 4), bool).at[1, 1].set(True))
    after, _ = method.update(waits, lived._replace(steps=ends), world_reward, jax.random.key(1))
    z = jax.vmap(lambda seed: jax.random.normal(jax.random.key(seed), learner.search.mean.shape))(extras["seed"][0])
    expected = adapted(learner.search, z, jnp.array([4.0, 2.0, 7.0, 1.0]))
    np.testing.assert_allclose(after.search.mean, expected.mean, rtol=1e-5)
    assert after.generation == 2 and not after.judged.episodes.any()


def test_who_holds_too_much_or_compares_too_few_says_so() -> None:
    with pytest.raises(ValueError, match=r"this MLP has 17,410: choose a network of at most 5,000"):
        train(CMAES(network=MLP((128, 128))), "CartPole-v1", 100)
    with pytest.raises(ValueError, match="choose num_envs=4 or more"):
        train(CMAES(num_envs=2), "CartPole-v1", 100)


@pytest.mark.slow
@pytest.mark.parametrize("method", [ES(factored=True), ARS(), CMAES()], ids=["es", "ars", "cma_es"])
def test_a_pole_is_balanced(method: Any) -> None:
    """Two seeds of ES and ARS and three of CMA-ES got 500."""
    training = train(method, "CartPole-v1", 200_000 if isinstance(method, CMAES) else 400_000)
    training.run_to_end()
    assert evaluate(training.policy, make("CartPole-v1"), 50).mean >= 475


def begun(method: ES, space: Any) -> Any:
    """A learner before its first step, of two actions."""
    obs = jnp.asarray(space.sample())
    return method.init(jax.random.key(0), Spec(space, spaces.Discrete(2), 1, 100, restart(obs)))


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (3,)), spaces.Discrete(3)], ids=["box", "discrete"])
@pytest.mark.parametrize("factored", [True, False])
def test_what_acts_with_noise_is_what_is_moved_along(factored: bool, space: Any) -> None:
    """The network with σε gives what the network gives to which σ times the direction of ε was added."""
    method = ES(factored=factored, network=MLP((5, 4)), table=64)
    learner, place, scale = begun(method, space), jnp.int32(7), jnp.float32(-0.3)
    moved = jax.tree.map(lambda w, e: w + scale * e, learner.network, method._noise(learner, place))
    obs = jnp.asarray(space.sample())
    acting, expected, without = (
        policy.step(obs, jnp.array(True), ())[0]["policy"].logits
        for policy in (method._with_noise(learner, place, scale), moved, learner.network)
    )
    np.testing.assert_allclose(acting, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(acting - without).max() > 1e-3


def test_factored_noise_has_the_mean_and_covariance_of_the_other() -> None:
    """Of a layer of 2 × 2 over 20,000 draws: 0, and the identity, each within four standard errors."""
    method = ES(factored=True, network=MLP((2,)), table=400_000)
    learner = begun(method, spaces.Box(-1, 1, (2,)))
    drawn = jax.jit(jax.vmap(lambda place: method._noise(learner, place)))(jnp.arange(20_000) * 20)
    layer = next(x for x in jax.tree.leaves(drawn) if x.shape == (20_000, 2, 2)).reshape(20_000, 4)
    # Products of two normal numbers have variance 1, their squares variance 8.
    np.testing.assert_allclose(layer.mean(0), 0, atol=4 / np.sqrt(20_000))
    np.testing.assert_allclose(np.cov(layer.T), np.eye(4), atol=4 * np.sqrt(8 / 20_000))
