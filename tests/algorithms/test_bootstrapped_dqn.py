"""Several that believe differently: they go on to where nothing was seen, and find what is ten steps away."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.algorithms import BootstrappedDQN
from retorno.core.counter import Counter
from retorno.core.mdp import mdp
from retorno.environments.sampled_world import sampled
from retorno.environments.textbook.exploration import deep_sea
from retorno.networks import Table
from retorno.ops.optimisers import SGD
from retorno.run.evaluate import evaluate
from retorno.run.loop import native_spec
from retorno.run.train import train


def test_where_nothing_was_seen_members_say_what_they_believed() -> None:
    """And where something was, all of them say the same: the arm pays 1 whatever they thought before."""
    arms = {arm: [(1.0, "over", 1.0)] for arm in ("one", "other")}
    world = sampled(mdp({"here": arms, "there": arms}, initial="here"))
    method = BootstrappedDQN(
        network=Table(), members=4, prior_scale=2.0, epsilon=0.5, batch_size=8, learning_starts=8, optimiser=SGD(0.5)
    )
    training = train(method, world, 2_000)
    training.run_to_end()
    learner = training.run.learner
    members = method._members(learner.network, learner.prior)
    seen, unseen = (members.step(jnp.int32(s), jnp.array(False), ())[0]["q"] for s in (0, 1))
    np.testing.assert_allclose(seen, 1.0, atol=1e-3)
    np.testing.assert_allclose(unseen, 2.0 * learner.prior.tables["q"][1].reshape(4, 2), rtol=1e-6)
    assert unseen.std(0).min() > 0.1


def test_priors_differ_from_place_to_place() -> None:
    """Were they alike everywhere, where one was would say all of where one was not."""
    sea = sampled(deep_sea(20))
    method = BootstrappedDQN(capacity=64)
    learner = method.init(jax.random.key(0), native_spec(sea, Counter.of(100), 1))
    places = jnp.arange(sea.observation_space.n)
    believed = jax.vmap(lambda place: learner.prior.step(place, jnp.array(False), ())[0]["q"])(places)
    assert believed.std(0).mean() > 0.5 * believed.std()


def test_what_is_too_much_to_one_and_too_little_to_another_is_still_to_be_learnt() -> None:
    method = BootstrappedDQN(network=Table(), members=2, prior_scale=0.0, capacity=8)
    learner = method.init(jax.random.key(0), native_spec(sampled(deep_sea(3)), Counter.of(100), 1))
    window = learner.replay.ring.windows(jnp.arange(2))
    rows = window.trajectory.steps._replace(last=jnp.zeros((2, 2), bool))
    learns = jnp.array([[[True, True], [True, False]]])
    window = window._replace(trajectory=window.trajectory._replace(steps=rows, extras={"learns": learns}))
    members = method._members(learner.network, learner.prior)
    _, (_, priority) = method._loss(members, window, jnp.array([[[1.0, -1.0], [1.0, -1.0]]]))
    np.testing.assert_allclose(priority, [1.0, 0.5])


@pytest.mark.slow
def test_the_treasure_of_the_deep_sea_is_found() -> None:
    """Chance finds it in one of 256 episodes; it is then worth going each of its 8 steps."""
    training = train(BootstrappedDQN(members=10), sampled(deep_sea(8)), 6_000)
    training.run_to_end()
    assert evaluate(training.policy, sampled(deep_sea(8)), 1).mean == pytest.approx(0.99)
