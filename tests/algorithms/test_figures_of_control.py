"""The textbooks' values, by the figures themselves: every number within four standard errors, with fewer seeds.

Figures 6.4, 6.5 and 8.2 are in the docs' pages, whose numbers are held by a test; 7.2 is in `test_random_walks.py`.
"""

from __future__ import annotations

import pytest

from retorno.figures import FIGURES

WALKS = [("example_6.2", 40), ("12.3", 16), ("12.6", 20), ("12.8", 20)]
"""Errors of prediction methods on five and nineteen states."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seeds"), [("example_6.5", 40), *WALKS])
def test_the_figure_agrees_with_the_book(name: str, seeds: int) -> None:
    differing = [check for check in FIGURES[name].make(seeds).checks if not check.agrees]
    assert not differing
