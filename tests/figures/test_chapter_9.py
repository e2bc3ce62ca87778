"""What theory says of the walk of a thousand states, and that the figures' learners are where it says they are."""

from __future__ import annotations

import numpy as np
import pytest

from retorno.environments.registry import model
from retorno.figures.chapter_9 import Compared, Pull, aggregated, compared, features, looked_up, pull, visits
from retorno.figures.random_walks import exact
from retorno.networks import Aggregation, Fourier, Polynomial, TileCoding

WALK = "random_walk_1000"


def test_visits_by_simulation_of_the_definition() -> None:
    """Episodes of NumPy's own: the mean length, and the shares of the ten groups, within four standard errors."""
    rng, walkers = np.random.default_rng(0), 2000
    state, lengths, counts = np.full(walkers, 499), np.zeros(walkers), np.zeros((walkers, 10))
    while (inside := (state >= 0) & (state < 1000)).any():
        lengths += inside
        counts[inside, state[inside] // 100] += 1
        state = state + inside * rng.integers(1, 101, walkers) * rng.choice([-1, 1], walkers)
    error = np.std(counts, 0, ddof=1) / np.sqrt(len(counts))
    assert abs(np.mean(lengths) - visits().length) < 4 * np.std(lengths, ddof=1) / np.sqrt(len(lengths))
    expected = visits().length * visits().share.reshape(10, 100).sum(1)
    assert (abs(np.mean(counts, 0) - expected) < 4 * error).all()


def test_monte_carlo_settles_on_the_weighted_mean_of_each_group() -> None:
    """Sutton & Barto 2018, section 9.3: the least VE of state aggregation."""
    share, value = visits().share.reshape(10, 100), exact(WALK).reshape(10, 100)
    means = (share * value).sum(1) / share.sum(1)
    np.testing.assert_allclose(pull(Aggregation(100)).settled(), np.repeat(means, 100), atol=1e-9)


def test_one_weight_a_state_settles_on_the_values_themselves() -> None:
    np.testing.assert_allclose(pull(Aggregation(1), bootstraps=True).settled(), exact(WALK), atol=1e-6)


def test_td_settles_where_the_aggregated_process_says() -> None:
    """TD's fixed point with groups is the exact value of the process over groups that the walker seems to live in."""
    walk, share = model(WALK), visits().share
    group = np.append(np.arange(1000) // 100, [10, 10])
    source = walk.pair_state[walk.transition_pair]
    flow = share[source] * walk.probability
    chance, reward = np.zeros((10, 11)), np.zeros(10)
    np.add.at(chance, (group[source], group[walk.next_state]), flow)
    np.add.at(reward, group[source], flow * walk.reward)
    total = chance.sum(1)
    value = np.linalg.solve(np.eye(10) - chance[:, :10] / total[:, None], reward / total)
    np.testing.assert_allclose(pull(Aggregation(100), bootstraps=True).settled()[::100], value, atol=1e-9)


def test_the_mean_path_by_hand() -> None:
    """One weight, A = 2 and b = 1: 0, then .25, then .375 with α = .25, and ½ in the end."""
    one = Pull(np.ones((3, 1)), np.array([[2.0]]), np.array([1.0]))
    assert one.after(1, 0.25)[0] == 0.25 and one.after(2, 0.25)[0] == 0.375
    np.testing.assert_allclose(one.settled(), 0.5)


def test_features_of_the_bases() -> None:
    tiled = features(TileCoding(tiles=5, tilings=50, low=(0.0,), high=(1000.0,)))
    assert (tiled.sum(1) == 50).all()
    # Tiles two hundred states wide, each tiling four states off: neighbours share 50 tiles, or 49 at an edge.
    shared = (tiled[:-1] * tiled[1:]).sum(1)
    np.testing.assert_array_equal(np.flatnonzero(shared == 49) % 4, 3)
    s = np.arange(1000) / 999
    reach = {"low": (0.0,), "high": (999.0,)}
    np.testing.assert_allclose(features(Polynomial(5, **reach)), s[:, None] ** np.arange(6), atol=1e-5)
    np.testing.assert_allclose(features(Fourier(5, **reach)), np.cos(np.pi * s[:, None] * np.arange(6)), atol=1e-5)


@pytest.mark.slow
def test_learners_are_where_theory_says() -> None:
    """Long before the end: what is checked is the mean path itself, not where it leads."""
    fourier = {"Fourier": Compared(looked_up(Fourier(5, low=(0.0,), high=(999.0,))), 5e-5, "k")}
    for exhibit in (aggregated(8, 400), compared(fourier, 8, 200, "")):
        assert exhibit.checks and all(check.agrees for check in exhibit.checks), exhibit.told()
