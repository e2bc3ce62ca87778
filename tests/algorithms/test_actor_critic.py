"""Policy gradients in tables: one step by hand, REINFORCE as a twin, and the exact gradient of the model."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.algorithms import A2C, PPO, REINFORCE, ActorCritic, NaturalActorCritic
from retorno.bellman import policy_gradient
from retorno.core.policy import unroll_batch, world_reward
from retorno.core.spaces import Spec
from retorno.core.time_step import TimeStep, Trajectory, blank
from retorno.environments.bandits.testbed import ContinuousBandit
from retorno.environments.control.classic import CartPole
from retorno.environments.registry import make, model
from retorno.environments.sampled_world import sampled
from retorno.figures.chapter_13 import Begin
from retorno.networks import GRU, MLP, Stack, Table
from retorno.ops.optimisers import SGD
from retorno.run.collect import collect, opening
from retorno.run.probe import probe

WORLD = sampled(model("student"))
STATES, ACTIONS = model("student").num_states, model("student").num_actions


def begun(algorithm):
    row = blank(jax.eval_shape(WORLD.reset, jax.random.key(0))[1])
    return algorithm.init(jax.random.key(0), Spec(WORLD.observation_space, WORLD.action_space, 1, 1000, row))


def episode(reward, terminated=True, turns=1.0):
    """An episode over states 0, 1, 2, …, always action 0; `turns` is −1 into rows on which an opponent moves."""
    steps = len(reward)
    column = lambda x, dtype: jnp.asarray(x, dtype)[:, None]  # noqa: E731
    ends = np.arange(steps + 1) == steps
    rows = TimeStep(
        obs=column(np.arange(steps + 1), jnp.int32),
        reward=column([0.0, *reward], jnp.float32),
        discount=column((1.0 - (ends & terminated)) * turns, jnp.float32),
        first=column(np.arange(steps + 1) == 0, bool),
        last=column(ends, bool),
        legal=jnp.ones((steps + 1, 1, ACTIONS), bool),
    )
    return Trajectory(rows, jnp.zeros((steps, 1), jnp.int32), (), ())


def learnt(algorithm, trajectory):
    return algorithm.update(begun(algorithm), trajectory, world_reward, jax.random.key(0))[0].network.tables


def score(state):
    """∇ln π(0|state) of the uniform policy."""
    table = np.zeros((STATES, ACTIONS))
    table[state] = -1 / ACTIONS
    table[state, 0] += 1
    return table


def test_two_steps_by_hand():
    """Rewards 1 and 2, γ = ½, no values yet: δ = 1, then 2; with λ the second error also moves the first state."""
    settings = {"step_size": 0.1, "critic_step_size": 0.4, "discount": 0.5, "critic_lambda": 0.5, "actor_lambda": 0.8}
    found = learnt(ActorCritic(**settings), episode([1.0, 2.0]))
    expected = np.zeros((STATES, 1))
    expected[:2, 0] = [0.4 * (1 + 0.25 * 2), 0.4 * 2]
    np.testing.assert_allclose(found["value"], expected, rtol=1e-6)
    # The second step weighs γ; the first score's trace has fallen by γλ.
    actor = 0.1 * (score(0) * 1 + 2 * (0.4 * score(0) + 0.5 * score(1)))
    np.testing.assert_allclose(found["policy"], actor, atol=1e-6)


def test_how_far_a_policy_has_moved_is_told_where_what_was_done_has_no_probability_left():
    method = PPO(network=Table(), num_envs=1, rollout=2, epochs=1, minibatches=1)
    lived = episode([1.0, 2.0])._replace(extras={"log_prob": jnp.full((2, 1), 200.0)})
    told = method.update(begun(method), lived, world_reward, jax.random.key(0))[1]
    assert float(told["kl"]) == pytest.approx(200 + math.log(ACTIONS) - 1)


@pytest.mark.parametrize("discount_gradient", [True, False])
def test_at_the_end_with_full_traces_it_is_reinforce(discount_gradient):
    """Both from the same preferences and values: Gₜ − v(Sₜ) is the sum of the errors to come."""
    begin = Begin(tuple(map(tuple, np.random.default_rng(0).normal(size=(STATES, ACTIONS)).tolist())), (0.5,) * STATES)
    trajectory = episode([1.0, -2.0, 3.0], turns=np.array([1.0, -1.0, 1.0, 1.0]))
    ours = ActorCritic(
        network=begin,
        step_size=0.1,
        critic_step_size=0.2,
        discount=0.8,
        actor_lambda=1.0,
        critic_lambda=1.0,
        at_the_end=True,
        discount_gradient=discount_gradient,
    )
    theirs = REINFORCE(
        network=begin,
        num_envs=1,
        longest_episode=8,
        optimiser=SGD(0.1),
        discount=0.8,
        baseline_coefficient=1.0,
        sum_over_episode=True,
        discount_gradient=discount_gradient,
    )
    # The gradient of a square is twice the error, so a coefficient of 1 makes .2 of .1.
    recorded = trajectory._replace(extras={"log_prob": jnp.zeros(trajectory.transitions.shape)})
    one, other = learnt(ours, trajectory), learnt(theirs, recorded)
    np.testing.assert_allclose(one["policy"], other["policy"], atol=1e-5)
    np.testing.assert_allclose(one["value"], other["value"], atol=1e-5)


def test_what_one_gains_the_other_lost():
    """The first test's rewards where an opponent takes the second: traces change their sign, weights do not."""
    settings = {"step_size": 0.1, "critic_step_size": 0.4, "discount": 0.5, "critic_lambda": 0.5, "actor_lambda": 0.8}
    found = learnt(ActorCritic(**settings), episode([1.0, 2.0], turns=-1.0))
    expected = np.zeros((STATES, 1))
    expected[:2, 0] = [0.4 * (1 - 0.25 * 2), 0.4 * 2]
    np.testing.assert_allclose(found["value"], expected, rtol=1e-6)
    actor = 0.1 * (score(0) * 1 + 2 * (-0.4 * score(0) + 0.5 * score(1)))
    np.testing.assert_allclose(found["policy"], actor, atol=1e-6)


def test_the_step_of_a_gaussian_policy_is_a_share_of_its_deviation():
    """σ = .01: the score is z/σ, and the step α δ σ z. Twice the deviation above the mean, paid 3: 2 · .1 · 3 · .01."""
    world = ContinuousBandit()
    row = blank(jax.eval_shape(world.reset, jax.random.key(0))[1])
    spec = Spec(world.observation_space, world.action_space, 1, 1000, row)
    steps = jax.tree.map(lambda x: x[:, :1], episode([3.0]).steps)._replace(legal=None)
    lived = Trajectory(steps._replace(obs=jnp.zeros_like(steps.obs)), jnp.array([[[0.02]]]), (), ())

    def narrow(algorithm):
        learner = algorithm.init(jax.random.key(0), spec)
        return learner._replace(network=jax.tree.map(lambda w: w + np.log(0.01) * (w.ndim == 1), learner.network))

    def after(algorithm):
        return algorithm.update(narrow(algorithm), lived, world_reward, jax.random.key(0))[0].network

    mean = lambda network: float(network.step(jnp.int32(0), jnp.array(True), ())[0]["policy"].mean[0])  # noqa: E731
    before = narrow(ActorCritic()).network
    assert before.step(jnp.int32(0), jnp.array(True), ())[0]["policy"].log_std == np.float32(np.log(0.01))
    moved = mean(after(ActorCritic(step_size=0.1))) - mean(before)
    np.testing.assert_allclose(moved, 2 * 0.1 * 3 * 0.01, rtol=1e-3)
    # The natural direction fits δ exactly where a full step would pass it: ψᵀu = 3 with ψ = (200, 3).
    natural = NaturalActorCritic(step_size=0.5, critic_step_size=0.1)
    np.testing.assert_allclose(mean(after(natural)) - mean(before), 0.5 * 3 * 200 / (200**2 + 3**2), rtol=1e-3)


def by_ppo(**settings):
    """What PPO makes of rewards 1 and 2 with γ = ½: returns of 2 and 2, each with λ = 1 an advantage of 2 as well."""
    own = {"network": Table(), "num_envs": 1, "rollout": 2, "discount": 0.5, "optimiser": SGD(0.1)}
    trajectory = episode([1.0, 2.0])
    chances = {"log_prob": jnp.full(trajectory.transitions.shape, -math.log(ACTIONS))}
    return learnt(A2C(**own | settings), trajectory._replace(extras=chances))


def test_a2c_is_one_step_up_the_plain_gradient():
    found = by_ppo()
    np.testing.assert_allclose(found["policy"], 0.1 * (2 * score(0) + 2 * score(1)) / 2, atol=1e-6)
    np.testing.assert_allclose(found["value"][:2, 0], 0.1 * 0.5 * 2 * np.array([2.0, 2.0]) / 2, atol=1e-6)


def test_ppo_stops_where_it_has_moved_far_enough():
    """The first step's KL is 0, so it is taken; a second one is too much."""
    once, often = by_ppo(), by_ppo(epochs=5, target_kl=1e-9)
    np.testing.assert_array_equal(often["policy"], once["policy"])
    assert np.any(by_ppo(epochs=5, target_kl=9.0)["policy"] != once["policy"])


def summed(run, trajectory):
    return run.learner.traces.actor_sum.tables["policy"][0], trajectory.steps.last[1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("discount_gradient", [True, False])
def test_its_steps_are_the_models_gradient_on_average(discount_gradient):
    """A policy held still: the mean of an episode's step is the exact gradient, within four standard errors."""
    exact = model("student")
    theta = np.random.default_rng(1).normal(size=(STATES, ACTIONS)) / 2
    begin = Begin(tuple(map(tuple, theta.tolist())), (0.0,) * STATES)
    still = ActorCritic(
        network=begin,
        step_size=0.0,
        critic_step_size=0.0,
        discount=0.9,
        actor_lambda=1.0,
        at_the_end=True,
        discount_gradient=discount_gradient,
    )
    sums, last = probe(still, WORLD, 1000, summed, seeds=range(100))
    found = sums[last]
    truth = policy_gradient(exact, theta, 0.9, discount_gradient=discount_gradient).gradient
    error = found.std(0, ddof=1) / math.sqrt(len(found))
    np.testing.assert_array_less(np.abs(found.mean(0) - truth), 4 * error + 1e-4)


@pytest.mark.slow
def test_the_natural_direction_is_the_advantage():
    """A policy held still: the regression's weights, centred, are the exact natural gradient."""
    exact = model("student")
    theta = np.zeros((STATES, ACTIONS))
    still = NaturalActorCritic(step_size=0.0, critic_step_size=0.1, critic_step_size_end=0.0, discount=0.9)

    def direction(run, trajectory):
        return run.learner.direction.tables["policy"]

    found = probe(still, WORLD, 20_000, direction, seeds=range(20), every=20_000)[:, 0]
    truth = policy_gradient(exact, theta, 0.9)
    chance = np.zeros((STATES, ACTIONS))
    chance[exact.pair_state, exact.action] = truth.policy
    centred = (found - (found * chance).sum(-1, keepdims=True))[:, chance > 0]
    noise = centred.std(0, ddof=1)
    np.testing.assert_array_less(np.abs(centred.mean(0) - truth.natural[chance > 0]), 4 * noise / math.sqrt(20) + noise)
    assert noise.max() < 0.5


@pytest.mark.slow
def test_a_gaussian_policy_finds_the_best_number():
    def lost(run, trajectory):
        return run.stage.episodes.state.regret[0]

    algorithm = ActorCritic(discount=0.0, step_size=0.01, critic_step_size=0.1, discount_gradient=False)
    found = probe(algorithm, ContinuousBandit(), 5000, lost, seeds=range(20))
    # It begins with a standard deviation of 1 and a mean of 0: 1 + E[a*²] = 2.33 is lost at first.
    assert found[:, :50].mean() > 1.0
    assert found[:, -500:].mean() < 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ActorCritic(actor_lambda=1.5), "actor_lambda must be in"),
        (lambda: ActorCritic(critic_step_size=-1.0), "critic_step_size must be"),
        (lambda: NaturalActorCritic(step_size=-1.0), "step_size must be"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_critic_with_a_memory_rests_while_acting_and_has_it_at_the_update() -> None:
    world = CartPole()
    algorithm = PPO(network=GRU(8, (4,)), num_envs=2, rollout=15, minibatches=1, epochs=2)
    row = blank(jax.eval_shape(world.reset, jax.random.key(0))[1])
    spec = Spec(world.observation_space, world.action_space, 2, 1000, row)
    learner = algorithm.init(jax.random.key(0), spec)
    stage = opening(algorithm, learner, world, jnp.uint32(0), 2)
    assert set(stage.carry) == {"policy"}

    @jax.jit
    def iterate(learner, stage, key):
        stage, trajectory = collect(algorithm, learner, world, stage, jnp.uint32(0), key)
        return algorithm.update(learner, trajectory, world_reward, key)[0], stage, trajectory.steps

    remember = jax.jit(lambda network, obs, first, carry: jax.vmap(network.step)(obs, first, carry)[1])
    whole, resets = learner.memory, 0
    for key in jax.random.split(jax.random.key(1), 4):
        before = learner.network
        learner, stage, steps = iterate(learner, stage, key)
        resets += int(steps.first[1:].sum())
        for t in range(15):
            row = jax.tree.map(lambda x, t=t: x[t], (steps.obs, steps.first))
            whole = remember(before, *row, whole)
        # The policy's share is what acting carries, and the critic's what it would have carried.
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), learner.memory, whole)
        np.testing.assert_allclose(learner.memory["policy"][0], stage.carry["policy"][0], rtol=1e-5, atol=1e-6)
    assert np.any(learner.memory["value"][0]) and resets


@pytest.mark.parametrize("shared", [True, False])
def test_values_told_while_acting_are_those_of_the_update(shared: bool) -> None:
    world = make("CartPole-v1", max_episode_steps=4)  # so that rows that only end episodes are among them
    network = Stack(frames=2, network=MLP((16,), shared=shared))
    algorithm = PPO(network=network, num_envs=2, rollout=15, minibatches=1, epochs=1, optimiser=SGD(0.1))
    row = blank(jax.eval_shape(world.reset, jax.random.key(0))[1])
    learner = algorithm.init(jax.random.key(0), Spec(world.observation_space, world.action_space, 2, 1000, row))
    stage = opening(algorithm, learner, world, jnp.uint32(0), 2)
    # The second rollout begins within episodes.
    for key in jax.random.split(jax.random.key(1), 2):
        stage, lived = jax.jit(collect, static_argnums=0)(algorithm, learner, world, stage, jnp.uint32(0), key)
    assert ("value" in lived.extras) == shared
    value = unroll_batch(learner.network, lived.steps.obs, lived.steps.first, lived.carry)["value"]
    if shared:
        np.testing.assert_allclose(lived.extras["value"], value[:-1], rtol=1e-5, atol=1e-6)
    untold = lived._replace(extras={"log_prob": lived.extras["log_prob"]})
    told, known = (
        algorithm.update(learner, trajectory, world_reward, jax.random.key(2))[0].network
        for trajectory in (lived, untold)
    )
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), told, known)


def test_nothing_is_kept_where_acting_remembers_all() -> None:
    row = blank(jax.eval_shape(WORLD.reset, jax.random.key(0))[1])
    spec = Spec(WORLD.observation_space, WORLD.action_space, 2, 1000, row)
    for network in (MLP((4,)), GRU(8, (4,), shared=True)):
        assert PPO(network=network, minibatches=1).init(jax.random.key(0), spec).memory == ()
