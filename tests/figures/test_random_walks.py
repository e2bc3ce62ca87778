"""n-step TD's errors on the walk of nineteen states, beside a twin that follows the book's pseudocode."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from retorno.algorithms import TD
from retorno.figures.random_walks import estimates, n_step
from retorno.networks import Table


@njit
def twin(n: int, step_size: float, runs: int) -> np.ndarray:
    """The error over states and the first ten episodes, of each run. Sutton & Barto 2018, section 7.1."""
    np.random.seed(0)
    truth, found = np.arange(-9, 10) / 10, np.zeros(runs)
    states, rewards = np.zeros(20_000, np.int64), np.zeros(20_000)
    for run in range(runs):
        value = np.zeros(21)
        for _ in range(10):
            t, end, states[0] = 0, 1_000_000, 10
            while True:
                if t < end:
                    to = states[t] + (1 if np.random.random() < 0.5 else -1)
                    states[t + 1], rewards[t + 1] = to, (to == 20) - (to == 0)
                    if to in (0, 20):
                        end = t + 1
                learnt = t - n + 1
                if learnt >= 0:
                    total = rewards[learnt + 1 : min(learnt + n, end) + 1].sum()
                    if learnt + n < end:
                        total += value[states[learnt + n]]
                    value[states[learnt]] += step_size * (total - value[states[learnt]])
                if learnt == end - 1:
                    break
                t += 1
            found[run] += np.sqrt(np.mean((value[1:20] - truth) ** 2)) / 10
    return found


@pytest.mark.slow
def test_n_steps_are_the_books() -> None:
    """The lowest errors of figure 7.2's lines: at most four standard errors from its numbers, and the twin's."""
    seeds, looked_at = 40, {1: 0.8, 4: 0.4, 16: 0.15}
    exhibit = n_step(seeds, tuple(looked_at))
    assert len(exhibit.checks) == 3 and all(check.agrees for check in exhibit.checks), exhibit.told()
    shown = {(name, alpha): (mean, reach) for name, alpha, mean, reach in exhibit.rows}
    for n, step_size in looked_at.items():
        (mean, reach), book = shown[f"n = {n}", step_size], twin(n, step_size, 2000)
        # The rows' reach is Student's t with 39 degrees of freedom.
        spread = np.hypot(float(reach) / 2.0227, book.std(ddof=1) / np.sqrt(2000))
        assert abs(float(mean) - book.mean()) < 4 * spread


def test_estimates_begin_where_the_table_does_and_move_where_the_first_episode_ended() -> None:
    """The first episode moves an end's neighbour alone, by a tenth of the way to 0 or 1."""
    shown = estimates(TD(network=Table(0.5), discount=1.0, step_size=0.1), "random_walk", (0, 1))
    np.testing.assert_array_equal(shown[0], [0.5] * 5)
    moved = shown[1] - shown[0]
    assert sorted(abs(moved)) == pytest.approx([0, 0, 0, 0, 0.05])
    assert moved[0] == pytest.approx(-0.05) or moved[4] == pytest.approx(0.05)
