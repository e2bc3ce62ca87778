"""The exact figures agree with the book to its last digit, and planning's with what it says."""

from __future__ import annotations

import numpy as np
import pytest

from retorno.figures import FIGURES


@pytest.mark.parametrize("name", ["3.2", "3.5", "4.1", "4.2", "4.3"])
def test_exact_figures_agree_with_the_book(name: str) -> None:
    exhibit = FIGURES[name].make(0)
    assert exhibit.checks and all(check.agrees and check.error == 0 for check in exhibit.checks), exhibit.told()
    assert len({len(row) for row in exhibit.rows}) == 1 and len(exhibit.rows[0]) == len(exhibit.columns)


def test_greedy_policies_are_best_from_the_third_sweep_on() -> None:
    """Sutton & Barto 2018, figure 4.1: after the third sweep all greedy policies are optimal."""
    assert FIGURES["4.1"].make(0).notes == ("the greedy policy takes best actions only from k = 3 on",)


@pytest.mark.slow
def test_planning_knows_more_halfway() -> None:
    """Without planning one state is known in the second episode, with 50 steps of it many."""
    exhibit = FIGURES["8.3"].make(3)
    rows = np.array(exhibit.rows)
    assert (rows[rows[:, 0] == 0][:, 2] == 1).all() and rows[rows[:, 0] == 50][:, 2].min() > 3
    assert all(check.agrees for check in exhibit.checks)


@pytest.mark.slow
def test_the_bonus_finds_the_shortcut() -> None:
    """Sutton & Barto 2018, figure 8.5: over the last 1,000 steps the new way pays up to 1,000/10 − 1,000/16 = 37 more.

    What is gained with exploration is 26 ± .3 (50 seeds); 10 is far from nothing.
    """
    exhibit = FIGURES["8.5"].make(6)
    rows, columns = np.array(exhibit.rows), exhibit.columns
    plus, plain = (rows[:, columns.index(f"{name} mean")] for name in ("Dyna-Q+", "Dyna-Q"))
    late = (plus[-1] - plus[-101]) - (plain[-1] - plain[-101])
    assert late > 10
