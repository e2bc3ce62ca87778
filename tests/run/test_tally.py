"""What lanes lived, added up by points: worked by hand, and beside the sums of `by_episode`."""

import numpy as np
import pytest

from retorno.run.probe import by_episode
from retorno.run.tally import Points, Tally


def added(points, *stretches, num_envs=1, **more):
    """A tally of one lane that was told of stretches of (reward, last, counts), each of so many rows [T, B]."""
    tally = Tally(1, num_envs, points)
    for reward, last, counts in stretches:
        shaped = (np.reshape(x, (1, -1, 1, num_envs)) for x in (reward, last, counts))
        tally.add(*(x.astype(kind) for x, kind in zip(shaped, (np.float32, bool, bool), strict=True)), **more)
    return tally


FIRST, SECOND = ([1, 2, 9, 4], [0, 1, 0, 0], [1, 1, 0, 1]), ([8, 16, 9, 5], [0, 1, 0, 1], [1, 1, 0, 1])
"""Episodes of 1 + 2, then (over both stretches) 4 + 8 + 16, then 5; resets pay 9, which is nobody's."""


def test_episodes_by_hand_one_of_them_over_two_stretches() -> None:
    tally = added(Points(True, 3, 1), FIRST, SECOND)
    np.testing.assert_array_equal(tally.means("return"), [[3, 28, 5]])
    np.testing.assert_array_equal(tally.means("length"), [[2, 3, 1]])
    np.testing.assert_array_equal(tally.means("reward"), [[1.5, 28 / 3, 5]])
    assert tally.progress() == [1.0] and tally.arrays["steps"] == [6]


def test_points_of_steps_hold_the_episodes_that_ended_in_them() -> None:
    points = Points(False, 6, 2)
    assert points.x.tolist() == [2, 4, 6]
    tally = added(points, FIRST, SECOND)
    np.testing.assert_array_equal(tally.means("return"), [[3, np.nan, 16.5]])
    np.testing.assert_array_equal(tally.means("reward"), [[1.5, 6, 10.5]])


def test_what_is_lived_beyond_the_last_point_is_not_counted() -> None:
    points = Points(True, 2, 2)
    assert (points.count, points.x.tolist()) == (1, [2])
    np.testing.assert_array_equal(added(points, FIRST, SECOND).means("return"), [[15.5]])
    np.testing.assert_array_equal(Points(True, 5, 2).x, [2, 4, 5])


def test_environments_side_by_side_end_their_episodes_in_the_order_lived() -> None:
    rows = ([[1, 10], [2, 20], [4, 40]], [[0, 1], [1, 0], [0, 1]], [[1, 1], [1, 0], [0, 1]])
    np.testing.assert_array_equal(added(Points(True, 3, 1), rows, num_envs=2).means("return"), [[10, 3, 40]])


def test_of_two_players_the_return_is_that_of_the_one_who_began() -> None:
    """The first mover is paid 1, the other 2; then the first, who is to move again, 4."""
    turns = np.array([1, 1, 1, 0], bool).reshape(1, 4, 1, 1)
    rows = ([1, 2, 4, 0], [0, 0, 1, 0], [1, 1, 1, 0])
    assert added(Points(True, 1, 1), rows, turns=turns).means("return") == [[1 - 2 + 4]]
    # The next episode begins with a first mover of its own.
    assert added(Points(True, 2, 2), rows, rows, turns=turns).means("return") == [[3]]


def test_lanes_that_are_lost_count_no_more() -> None:
    tally = added(Points(True, 3, 1), FIRST)
    lost = (np.reshape(x, (1, -1, 1, 1)).astype(kind) for x, kind in zip(SECOND, (np.float32, bool, bool), strict=True))
    tally.add(*lost, going=np.zeros(1, bool))
    np.testing.assert_array_equal(tally.means("return"), [[3, np.nan, np.nan]])
    assert tally.arrays["steps"] == [6]


def test_an_error_is_that_of_the_end_of_its_point() -> None:
    error = np.array([[0.5, 0.25, 0.1, 0.3]], np.float32)
    by_step = added(Points(False, 4, 2), FIRST, error=error)
    np.testing.assert_allclose(by_step.means("rms"), [[0.1, 0.3]])  # A reset is an update and no step.
    np.testing.assert_allclose(added(Points(True, 2, 1), FIRST, error=error).means("rms"), [[0.25, np.nan]])


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_stretches_make_no_difference_and_sums_are_those_of_by_episode(cut) -> None:
    draw = np.random.default_rng(3)
    reward, last = draw.integers(-3, 4, (4, 60)).astype(np.float32), draw.random((4, 60)) < 0.3
    tally = Tally(4, 1, Points(True, 5, 1))
    for begin in range(0, 60, cut):
        part = (x[:, begin : begin + cut, None, None] for x in (reward, last))
        tally.add(*part, counts=np.ones((4, min(cut, 60 - begin), 1, 1), bool))
    np.testing.assert_array_equal(tally.means("return"), by_episode(reward.astype(float), last, 5))
