"""The oracle law for the average reward: the gain is exact."""

from __future__ import annotations

import numpy as np
import pytest

from retorno.algorithms import DifferentialSARSA, RLearning
from retorno.bellman.average import average_reward, evaluate_average
from retorno.core.mdp import mdp
from retorno.environments.sampled_world import sampled
from retorno.policies import Epsilon
from retorno.run.train import train

EPSILON = 0.3
LOOPS = mdp(
    {
        "home": {"short": [(1.0, "home", 1.0)], "long": [(0.5, "away", 0.0), (0.5, "home", 0.0)]},
        "away": {"back": [(1.0, "home", 6.0)], "wait": [(1.0, "away", 0.0)]},
    },
    initial="home",
)
"""Going away pays 6 every third step, which is 2 a step; staying pays 1."""


def soft(best: np.ndarray) -> np.ndarray:
    return EPSILON / 2 + (1 - EPSILON) * best


@pytest.mark.slow
@pytest.mark.parametrize("kind", [DifferentialSARSA, RLearning])
def test_the_gain_is_the_exact_one(kind: type) -> None:
    settings = {"step_size": 0.2, "step_size_end": 0.0, "average_step_size": 0.02, "average_step_size_end": 0.0}
    training = train(kind(exploration=Epsilon(EPSILON), **settings), sampled(LOOPS), 60_000, seed=range(20))
    training.run_to_end()
    best = average_reward(LOOPS)
    assert best.start_gain == pytest.approx(2, abs=1e-6)
    done = evaluate_average(LOOPS, soft(best.policy)).start_gain
    exact = best.start_gain if kind is RLearning else done
    found = np.asarray(training.run.learner.average)
    assert abs(found.mean() - exact) < 4 * found.std(ddof=1) / np.sqrt(len(found)) + 0.01 * exact
    q = np.asarray(training.run.learner.network.tables["q"])
    choice = q.argmax(2)
    assert all(evaluate_average(LOOPS, one).start_gain == pytest.approx(2, abs=1e-6) for one in choice)
