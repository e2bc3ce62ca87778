"""Law 2: DQN over a table with plain gradient steps and nothing to remember equals Q-learning, to the bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from small import busy_world, model, rewritten, table

from retorno.algorithms import DQN, QLearning
from retorno.core.environment import Environment
from retorno.environments.stacked import of_one_shape
from retorno.environments.wrappers import TimeLimit
from retorno.networks import Table
from retorno.ops.optimisers import SGD
from retorno.policies import Epsilon
from retorno.run.report import Report
from retorno.run.train import train
from retorno.run.training import Training

# Powers of two: a product with one is exact, so it is the same whether or not it is fused with a sum.
STEP_SIZE, DISCOUNT, EPSILON = 0.25, 0.5, 0.25

Q_LEARNING = QLearning(step_size=STEP_SIZE, discount=DISCOUNT, exploration=Epsilon(EPSILON))
PLAIN = DQN(
    network=Table(),
    num_envs=1,
    rollout=1,
    gradient_steps=1,
    batch_size=1,
    capacity=1,
    learning_starts=0,
    target_period=1,
    optimiser=SGD(STEP_SIZE),
    discount=DISCOUNT,
    epsilon=EPSILON,
    epsilon_end=EPSILON,
    double=False,
    huber=float("inf"),
)


def check_table(dqn: DQN, world: Environment, steps: int = 3000) -> None:
    """The same action values after every 500 steps."""
    deep, textbook = (train(algorithm, world, steps, seed=5, every=500) for algorithm in (dqn, Q_LEARNING))
    for _ in zip(reports(deep), reports(textbook), strict=True):
        learnt = table(textbook.run.learner, "q")
        np.testing.assert_array_equal(table(deep.run.learner, "q"), learnt)
    assert np.unique(learnt).size > 4


def reports(training: Training) -> Iterator[Report]:
    """Those at boundaries: the others come with the clock."""
    return (told for told in training if told.boundary)


MODELS = ("student", "cliff", "garnet", "FrozenLake-v1")


@pytest.fixture(scope="module")
def worlds() -> dict[str, Environment]:
    """In one shape: each method is one program for all."""
    return dict(zip(MODELS, of_one_shape([model(name) for name in MODELS]), strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_dqn_over_a_table_is_q_learning(worlds: dict[str, Environment], name: str) -> None:
    check_table(PLAIN, TimeLimit(worlds[name], 30))


MISTAKES = {
    "a time limit as death": rewritten(
        DQN,
        lambda x: x._replace(steps=x.steps._replace(discount=x.steps.discount * ~x.steps.last)),
    )(**{f.name: getattr(PLAIN, f.name) for f in dataclasses.fields(PLAIN)}),
    "a stale target": dataclasses.replace(PLAIN, target_period=2),
    "a replayed past": dataclasses.replace(PLAIN, capacity=2),
    "half the error": dataclasses.replace(PLAIN, optimiser=SGD(STEP_SIZE / 2)),
    "the step's own row twice": dataclasses.replace(PLAIN, gradient_steps=2),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_law_sees(mistake: str) -> None:
    with pytest.raises(AssertionError):
        check_table(MISTAKES[mistake], busy_world(), steps=300)
