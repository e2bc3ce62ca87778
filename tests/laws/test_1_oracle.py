"""Law 1: on models that can be solved exactly every algorithm finds the exact answer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Float
from small import DISCOUNTED, MODELS, PLANNING, PREDICTION, Deadly, having, horizon, model, small, table

from retorno.algorithms import BANDITS, SARSA, QLearning
from retorno.bellman import best_soft, evaluate, solve, uniform
from retorno.core.environment import Environment
from retorno.core.mdp import MDP
from retorno.core.policy import Algorithm
from retorno.environments.sampled import sampled
from retorno.environments.wrappers import TimeLimit
from retorno.networks import Epsilon, Exact, Table, Tabulated, Uniform
from retorno.run.oracle import regret
from retorno.run.train import Training, train

DISCOUNT = 0.8
EPSILON = 0.3
SEEDS = range(20)
LIMIT = 20
VISITS = 400
"""Of each pair, on average."""
MOST_PAIRS = 600
"""Larger models take too long to visit so often."""


def exploring(name: str) -> MDP:
    """A model whose episodes begin in any state, so that every pair is visited. Sutton & Barto 2018, section 5.3."""
    plain = model(name)
    return dataclasses.replace(plain, initial=~plain.terminal / (~plain.terminal).sum())


def limit(world: Environment) -> Environment:
    """Short episodes, so that many states are begun in."""
    return TimeLimit(world, LIMIT)


def deadly(world: Environment) -> Environment:
    return Deadly(TimeLimit(world, 4))


def trained(algorithm: Algorithm, world: Environment, steps: int, seeds: range = SEEDS) -> Training:
    training = train(algorithm, world, steps, seed=seeds)
    training.run_to_end()
    return training


def check_mean(learnt: Float[np.ndarray, "seeds N"], exact: Float[np.ndarray, " N"]) -> None:
    """The mean over seeds is the exact answer within four standard errors and the estimator's bias.

    A target that takes a maximum over noisy values, or follows them, is off by no more than their
    noise, whose size is the standard deviation between seeds; a thousandth of the scale is for
    what is left of the first values.
    """
    noise = learnt.std(0, ddof=1)
    bound = 4 * noise / np.sqrt(len(learnt)) + noise.max() + 1e-3 * np.abs(exact).max()
    assert noise.max() < 0.25 * np.abs(exact).max() + 1e-9, "too noisy to say anything"
    np.testing.assert_array_less(np.abs(learnt.mean(0) - exact), bound + 1e-9)


def check_q_learning(name: str, limited: Callable[[Environment], Environment] = limit) -> None:
    """Random behaviour, the best values. A model that is certain needs no small steps: α = 1 is value iteration."""
    exact = exploring(name)
    certain = (np.diff(exact.row_ptr) == 1).all()
    step_sizes = {"step_size": 1.0} if certain else {"step_size": 0.5, "step_size_end": 0.0}
    algorithm = QLearning(discount=DISCOUNT, exploration=Epsilon(1.0), **step_sizes)
    seeds, visits = (range(2), 100) if certain else (SEEDS, VISITS)
    steps = max(20_000, visits * exact.num_pairs)
    training = trained(algorithm, limited(sampled(exact)), steps, seeds)
    q = table(training.run.learner, "q")[:, exact.pair_state, exact.action]
    check_mean(q, solve(exact, DISCOUNT).q)


def check_sarsa(name: str, algorithm: Algorithm, limited: Callable[[Environment], Environment] = limit) -> None:
    exact = exploring(name)
    steps = max(10_000, VISITS * exact.num_pairs)
    training = trained(algorithm, limited(sampled(exact)), steps)
    q = table(training.run.learner, "q")[:, exact.pair_state, exact.action]
    check_mean(q, best_soft(exact, DISCOUNT, EPSILON).q)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if model(name).num_pairs <= MOST_PAIRS])
def test_q_learning_finds_the_best_values(name: str) -> None:
    check_q_learning(name)


SARSAS = [
    SARSA(discount=DISCOUNT, exploration=Epsilon(EPSILON), step_size=0.5, step_size_end=0.0, expected=expected)
    for expected in (False, True)
]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", SARSAS, ids=["sarsa", "expected"])
@pytest.mark.parametrize("name", ["student", "random_walk", "example_4_1", "garnet"])
def test_sarsa_finds_the_best_soft_policys_values(name: str, algorithm: Algorithm) -> None:
    check_sarsa(name, algorithm)


def deep(name: str) -> Algorithm:
    """Any algorithm over a table, for small models."""
    return small(
        name,
        network=Table(),
        num_envs=4,
        rollout=32,
        gradient_steps=16,
        batch_size=32,
        capacity=4096,
        target_period=64,
        minibatches=4,
        epochs=4,
        longest_episode=LIMIT,
        discount=DISCOUNT,
        lambda_=0.5,
        step_size=0.5,
        step_size_end=0.0,
        critic_step_size=0.5,
        critic_step_size_end=0.0,
        lowest=-2.0,
        highest=10.0,
        learning_rate=0.1,
        anneal_learning_rate=True,
        entropy_coefficient=0.01,
        exploration=Epsilon(0.5),
        epsilon=0.5,
        epsilon_end=0.5,
        # Huber's loss has no minimum at the mean of noisy targets, but between it and their median.
        huber=math.inf,
        model=Exact(),
        simulations=100,
        depth=40,
    )


def enough(name: str, steps: int) -> int:
    """Steps of training; what plans in the exact model learns nothing from any."""
    return 40 if name in PLANNING else steps


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in [*BANDITS, *DISCOUNTED] if name not in PREDICTION])
@pytest.mark.parametrize("world", ["student", "random_walk"])
def test_every_algorithm_finds_the_best_policy(name: str, world: str) -> None:
    """What it learnt, taken greedily and evaluated exactly, loses nothing, with any of five seeds.

    On these models one improvement of the uniform policy, which is what rollouts give, is the best policy as well.
    """
    exact = exploring(world)
    training = trained(deep(name), TimeLimit(sampled(exact), LIMIT), enough(name, 20_000), range(5))
    learner, discount = training.run.learner, horizon(name, DISCOUNT)
    best = solve(exact, discount)
    for seed in range(5):
        policy = training.algorithm.policy(jax.tree.map(lambda x, seed=seed: x[seed], learner))
        assert regret([policy], best).mean == pytest.approx(0, abs=1e-6)


def check_prediction(name: str, limited: Callable[[Environment], Environment] = limit) -> None:
    """Where there is no choice, what is learnt is the process's value."""
    exact = exploring("student_process")
    # Adam moves an entry by no more than its step size an update: enough of them for the largest value, 10.
    training = trained(deep(name), limited(sampled(exact)), enough(name, 40_000))
    policies, states = jax.vmap(training.algorithm.policy)(training.run.learner), np.flatnonzero(~exact.terminal)
    heads = jax.vmap(lambda p: jax.vmap(lambda s: p.step(s, jnp.array(False), ())[0])(states))(policies)
    value = np.asarray(heads["q"][..., 0] if "q" in heads else heads["value"])
    check_mean(value, evaluate(exact, uniform, horizon(name, DISCOUNT)).value[states])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(name for name in BANDITS if name != "exp3"), *DISCOUNTED])  # It holds no value.
def test_every_algorithm_predicts_the_value(name: str) -> None:
    check_prediction(name)


TARGET = Tabulated(((0.4, 0.3, 0.2, 0.1),))
"""A policy for a model of four actions that all its states have."""


def check_evaluation(
    name: str, world: str, limited: Callable[[Environment], Environment] = limit, steps: int = 40_000, **settings: Any
) -> None:
    """The value of a policy, which is followed, or another one's, which is seen through its importance ratios."""
    exact = exploring(world)
    settings = {"target": TARGET if world == "garnet" else Uniform()} | settings
    algorithm = dataclasses.replace(evaluating(name), **settings)
    training = trained(algorithm, limited(sampled(exact)), steps)
    followed = np.resize(TARGET.probabilities[0], exact.num_pairs) if world == "garnet" else uniform
    going = ~exact.terminal
    check_mean(table(training.run.learner, "value")[:, going, 0], evaluate(exact, followed, DISCOUNT).value[going])


def evaluating(name: str) -> Algorithm:
    """A prediction method whose steps fall to nothing, or count."""
    # An emphasis may be 1 / (1 − γ) and more, by which steps have to be smaller.
    return dataclasses.replace(deep(name), **({"step_size": 0.1} if name == "emphatic_td" else {}))


@pytest.mark.slow
@pytest.mark.parametrize("world", ["student", "random_walk", "example_4_1", "garnet"])
@pytest.mark.parametrize("name", PREDICTION)
def test_every_prediction_method_finds_the_policys_value(name: str, world: str) -> None:
    check_evaluation(name, world)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in having("behaviour") if n not in ("lambda_return", "true_online_td")])
def test_off_policy_methods_are_consistent(name: str) -> None:
    """The uniform policy acts in the target's place. Whole returns have heavy tails, which only averages calm."""
    averages = {"step_size": None, "step_size_end": None} if name == "monte_carlo_prediction" else {}
    check_evaluation(name, "garnet", steps=120_000, behaviour=Uniform(), **averages)


def test_the_law_sees_a_behaviour_whose_ratios_are_left_out() -> None:
    with pytest.raises(AssertionError, match="not strictly ordered"):
        check_evaluation("td", "garnet", target=Uniform())


def test_the_law_sees_a_time_limit_that_is_taken_as_death() -> None:
    with pytest.raises(AssertionError, match="not strictly ordered"):
        check_q_learning("garnet", deadly)
    with pytest.raises(AssertionError, match="not strictly ordered"):
        check_sarsa("student", SARSAS[0], deadly)
    with pytest.raises(AssertionError, match="not strictly ordered"):
        check_evaluation("td", "example_4_1", deadly)


def test_the_law_sees_values_of_another_policy() -> None:
    with pytest.raises(AssertionError, match="not strictly ordered"):
        check_sarsa("student", dataclasses.replace(SARSAS[0], exploration=Epsilon(0.05)))
