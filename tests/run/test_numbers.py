"""What is told of numbers: intervals within what is possible, cut episodes, times."""

import math

import numpy as np
import pytest

import retorno as rt
from retorno.core.numerals import plain
from retorno.ops.intervals import interval95, proportion95
from retorno.run.oracle import Regret
from retorno.run.report import Report, clock


def cart_poles(low=218.0):
    """Ten seeds of 100 episodes, nine of which balance to the end: as dqn on CartPole."""
    returns = np.full((10, 100), 500.0)
    returns[0] = low
    return rt.Evaluation(returns, returns.astype(int), returns == 500)


def test_an_interval_is_within_what_was_seen_and_says_over_what():
    found = cart_poles()
    assert interval95(found.returns.mean(1))[1] > 500 and found.ci95[1] == 500 and found.interquartile_mean == 500
    assert "interquartile mean 500.00, bootstrap 453.00 to 500.00 (over 10 seeds × 100 episodes" in str(found)
    assert found.as_row()["interquartile_ci95"] == list(found.interquartile_ci95)
    assert "; 900 cut by the time limit at 500 steps" in str(found) and found.as_row()["cut"] == 900
    lake = rt.Evaluation(np.array([[0.0, 1.0, 1.0]]), np.full((1, 3), 9))
    assert lake.ci95 == interval95(lake.returns[0]) and "over 3 episodes of one seed" in str(lake)  # Too few to tell.
    wide = rt.Evaluation(np.array([[0.0] + [1.0] * 10]), np.full((1, 11), 9))
    assert wide.ci95[1] == 1 < interval95(wide.returns[0])[1]


def test_successes_have_a_rate_and_an_interval():
    returns, unknown = np.zeros((1, 4)), np.array([[1.0, 0.0, np.nan, 1.0]])
    found = rt.Evaluation(returns, returns.astype(int), success=unknown)
    assert found.success_rate == pytest.approx(2 / 3) and found.success_ci95 == proportion95(2, 3)
    assert str(found).endswith("; success 66.7%, 95% interval 20.8% to 93.9% of the 3 episodes that say so")
    assert found.as_row()["successes"] == [pytest.approx(2 / 3)]
    seeds = rt.Evaluation(np.zeros((3, 2)), np.zeros((3, 2), int), success=np.array([[1, 1], [1, 0], [1, 1.0]]))
    assert seeds.success_rate == pytest.approx(5 / 6) and seeds.success_ci95[1] == 1
    assert seeds.success_ci95[0] == pytest.approx(interval95(np.array([1, 0.5, 1]))[0])
    none = rt.Evaluation(returns, returns.astype(int), success=np.full((1, 4), np.nan))
    assert none.success_rate is None and "success" not in str(none) and "success_rate" not in none.as_row()


def test_what_is_always_the_same_has_no_interval():
    same = rt.Evaluation(np.full((2, 3), -0.0), np.full((2, 3), 13), np.full((2, 3), False))
    assert str(same) == "return 0.00 in each of 2 seeds × 3 episodes (mean length 13.0)"


def test_one_episode_has_no_interval():
    one = rt.Evaluation(np.array([[-10_000.0]]), np.array([[10_000]]), np.array([[True]]))
    assert str(one) == "return -10000.00 (one episode of 10,000 steps; cut by the time limit at 10,000 steps)"
    assert "nan" not in str(one) and math.isnan(one.ci95[0])


def test_a_policy_that_stands_still_is_cut():
    """A fresh table on the cliff goes in a circle: it never ends by itself, and that is said."""
    with rt.train("q_learning", "cliff", 10) as run:
        told = str(rt.evaluate(run.policy, rt.make("cliff", max_episode_steps=50), episodes=3))
    assert told.startswith("return -50.00") and "all cut by the time limit at 50 steps" in told


def test_an_exact_regret_is_never_negative():
    found = Regret(0.9, 1.0, (1.0 + 1e-12, 1.0, 0.7))
    assert found.regrets.min() == 0 and found.ci95[0] == 0 and "−0" not in str(found) and "-0" not in str(found)
    assert Regret(0.9, 1.0, (1.5, 1.0)).regrets[0] == -0.5  # What no rounding makes is told.
    assert Regret(1.0, 1.0, (1.5, 1.2), exact=False).mean == pytest.approx(-0.35)


@pytest.mark.parametrize(
    ("seconds", "told"), [(-0.2, "0:00"), (59.6, "1:00"), (185_358, "51:29:18"), (math.inf, "?"), (math.nan, "?")]
)
def test_times(seconds, told):
    assert clock(seconds) == told


def test_no_time_is_left_of_a_run_that_is_over():
    nothing = np.array([np.nan])
    report = Report(
        step=2_100, steps=2_000, updates=3, ended=np.array([0]), returns=nothing, lengths=nothing,
        rewards=nothing, metrics={}, seconds=2.0, rate=1000.0, boundary=True,
    )  # fmt: skip
    assert report.seconds_left == 0 and "-" not in str(report) and str(report).endswith("0:00 left")
    assert plain(0.9) == "0.9"
