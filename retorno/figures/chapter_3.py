"""Values of a gridworld without end. Sutton & Barto 2018, chapter 3."""

from __future__ import annotations

import numpy as np

from retorno import bellman
from retorno.core.mdp import MDP
from retorno.core.solution import Solution
from retorno.environments.grids.gridworlds import example_3_5
from retorno.figures.exhibit import Check, Exhibit, Source
from retorno.plots.maps import value_map

DISCOUNT = 0.9
RANDOM = (
    (3.3, 8.8, 4.4, 5.3, 1.5),
    (1.5, 3.0, 2.3, 1.9, 0.5),
    (0.1, 0.7, 0.7, 0.4, -0.4),
    (-1.0, -0.4, -0.4, -0.6, -1.2),
    (-1.9, -1.3, -1.2, -1.4, -2.0),
)
BEST = (
    (22.0, 24.4, 22.0, 19.4, 17.5),
    (19.8, 22.0, 19.8, 17.8, 16.0),
    (17.8, 19.8, 17.8, 16.0, 14.4),
    (16.0, 17.8, 16.0, 14.4, 13.0),
    (14.4, 16.0, 14.4, 13.0, 11.7),
)
"""As the book prints them, to one decimal."""


def random_policy(seeds: int) -> Exhibit:
    """Figure 3.2: the value of choosing at random."""
    return _exhibit(bellman.evaluate(example_3_5(), bellman.uniform, DISCOUNT), RANDOM, arrows=False)


def best_policy(seeds: int) -> Exhibit:
    """Figure 3.5: the best values, and all best actions."""
    return _exhibit(bellman.solve(example_3_5(), DISCOUNT), BEST, arrows=True)


def _exhibit(answer: Solution, printed: tuple[tuple[float, ...], ...], arrows: bool) -> Exhibit:
    model = answer.model
    found = {f"{row},{column}": float(answer.value[model.state(f"{row},{column}")]) for row, column in _cells(model)}
    return Exhibit(
        picture=value_map(answer if arrows else _Plain(answer)),
        columns=("row", "column", "value", "best actions"),
        rows=[
            (row, column, found[f"{row},{column}"], " ".join(answer.actions(f"{row},{column}")) if arrows else "")
            for row, column in _cells(model)
        ],
        checks=tuple(
            # The book rounds to a tenth.
            Check(
                f"value of cell {row + 1}, {column + 1}", value, found[f"{row},{column}"], 0.0, 0.05 + 1e-9, Source.BOOK
            )
            for row, line in enumerate(printed)
            for column, value in enumerate(line)
        ),
        notes=("γ = .9; A, in the top row, pays 10 and leads to the bottom one, B pays 5; leaving the grid costs 1",),
    )


def _cells(model: MDP) -> list[tuple[int, int]]:
    return [place for place in model.grid or () if place is not None]


class _Plain:
    """An answer without its arrows."""

    def __init__(self, answer: Solution) -> None:
        self.model, self.value = answer.model, answer.value
        self.optimal = np.zeros(len(answer.optimal), bool)
