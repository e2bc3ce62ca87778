"""Every figure by its name. A chapter is imported only when one of its figures is made."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retorno.figures.exhibit import Exhibit

BOOK = "Sutton & Barto 2018"
SILVER = "Silver 2015, lecture 2"


@dataclass(frozen=True)
class Entry:
    """A figure that can be repeated."""

    about: str
    source: str
    seeds: int | None
    """Independent runs by default; None where the answer is exact."""
    make: Callable[[int], Exhibit]
    """Repeats it with so many seeds."""


def _late(path: str) -> Callable[[int], Exhibit]:
    """A call of "module:name", imported only then."""
    module, name = path.split(":")
    return lambda seeds: getattr(importlib.import_module(f"retorno.figures.{module}"), name)(seeds)


FIGURES: dict[str, Entry] = {
    "student": Entry("the student's tables, and learners", SILVER, 40, _late("student:tables_and_learners")),
    "5.2": Entry("blackjack by Monte Carlo with exploring starts", BOOK, 10, _late("blackjack:exploring_starts")),
    "6.3": Entry(
        "the cliff: what a step size is worth, at first and in the long run",
        BOOK,
        100,
        _late("chapter_6_control:interim_and_asymptotic"),
    ),
    "6.4": Entry("the cliff: Sarsa and Q-learning, return while learning", BOOK, 200, _late("chapter_6:cliff")),
    "6.5": Entry(
        "example 6.7, maximisation bias: Q-learning and double Q-learning",
        BOOK,
        5_000,
        _late("chapter_6_control:maximisation_bias"),
    ),
    "10.1": Entry("mountain car: the cost to go", BOOK, 10, _late("chapter_10:mountain_car_values")),
    "10.2": Entry("mountain car: steps an episode", BOOK, 100, _late("chapter_10:mountain_car_learning")),
    "10.3": Entry("mountain car: one step and eight", BOOK, 100, _late("chapter_10:mountain_car_n_steps")),
    "10.4": Entry("mountain car: n and the step size", BOOK, 30, _late("chapter_10:mountain_car_sweep")),
    "10.5": Entry("access control by differential Sarsa", BOOK, 8, _late("chapter_10:access")),
    "example-6.5": Entry("Sarsa in the windy gridworld", BOOK, 200, _late("chapter_6_control:windy")),
}
"""In the order of the book; the student's come first."""
