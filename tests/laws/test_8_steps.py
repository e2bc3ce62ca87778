"""Law 8: budgets, schedules and boundaries count environment steps, whatever the number of environments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import Case, main, mostly
from small import ALGORITHMS, COMPARING, Judged, constant_reward, small

from retorno.algorithms import QLearning
from retorno.core.environment import Environment
from retorno.core.hyperparameters import hyperparameters
from retorno.core.policy import Algorithm
from retorno.environments.sampled_world import sampled
from retorno.policies import Epsilon
from retorno.run.train import train

STEPS, EVERY = 500, 96


def check_steps(algorithm: Algorithm, world: Environment) -> None:
    """Counters agree with what was lived, and boundaries come at the first iteration that reaches them."""
    training = train(algorithm, world, STEPS, relabel=Judged(), every=EVERY)
    longest = algorithm.num_envs * algorithm.rollout
    due = EVERY
    for told in training:
        run = training.run
        under_way = (run.scores.open_length * ~run.stage.row.last).sum()
        assert told.step == int(run.step) == int(run.scores.length_sum + under_way)
        if hasattr(run.learner, "clock"):  # What has no schedule needs none.
            assert int(run.learner.clock.step) == told.step
            np.testing.assert_allclose(run.learner.clock.progress, min(told.step / STEPS, 1), rtol=1e-6)
        assert told.boundary == (told.step >= due)
        assert told.step < due + longest
        if told.boundary:
            due = min((told.step // EVERY + 1) * EVERY, STEPS)
    assert told.finished and told.boundary


def test_steps_are_counted_of_several_environments(case: Case) -> None:
    check_steps(case.method(), case.place())


@pytest.mark.parametrize(
    "name", mostly(["actor_critic", "dqn", "reinforce"], [x for x in ALGORITHMS if x not in COMPARING])
)
def test_steps_are_counted_of_one_environment(name: str) -> None:
    case = main(name)
    check_steps(case.method(num_envs=1, minibatches=1), case.place())


@pytest.mark.parametrize("num_envs", [1, 4])
@pytest.mark.parametrize("rollout", [1, 8])
def test_boundaries_worked_by_hand(num_envs: int, rollout: int) -> None:
    """Where no episode ends an iteration is num_envs · rollout steps: the first multiple of it at or after each."""
    algorithm = small("q_learning", num_envs=num_envs, rollout=rollout)
    told = [r.step for r in train(algorithm, sampled(constant_reward()), STEPS, every=EVERY) if r.boundary]
    size = num_envs * rollout
    assert told == [-(-due // size) * size for due in (96, 192, 288, 384, 480, 500)]


@pytest.mark.parametrize("num_envs", [1, 4])
def test_exploration_falls_by_steps(num_envs: int) -> None:
    """ε falls from 1 to 0 over the budget: half-way the chance of a random action is a half."""
    algorithm = small("q_learning", num_envs=num_envs, rollout=1, exploration=Epsilon(1.0, 0.0))
    training = train(algorithm, sampled(constant_reward()), 400, every=200)
    next(told for told in training if told.boundary)
    assert float(training.run.learner.clock.progress) == 0.5


@hyperparameters
class CountsUpdates(QLearning):
    """The classic mistake: schedules run on updates."""

    def update(self, learner: Any, trajectory: Any, reward: Any, key: Any) -> Any:
        after, metrics = super().update(learner, trajectory, reward, key)
        return after._replace(clock=learner.clock._replace(step=learner.clock.step.plus(1))), metrics


def test_the_law_sees_updates_counted_as_steps() -> None:
    check_steps(CountsUpdates(num_envs=1, rollout=1), sampled(constant_reward()))
    with pytest.raises(AssertionError):
        check_steps(CountsUpdates(num_envs=4, rollout=1), sampled(constant_reward()))
