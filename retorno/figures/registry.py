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
    "5.1": Entry("blackjack, sticking on 20 and 21", BOOK, 4, _late("chapter_5:blackjack")),
    "5.3": Entry("ordinary and weighted importance sampling", BOOK, 100, _late("chapter_5:weighing")),
    "5.4": Entry("importance sampling of infinite variance", BOOK, 10, _late("chapter_5:infinite_variance")),
    "example_6.2": Entry("TD(0) and Monte Carlo on a random walk", BOOK, 100, _late("random_walks:example")),
    "6.2": Entry("batch TD and batch Monte Carlo", BOOK, 100, _late("random_walks:batch")),
    "6.4": Entry("the cliff: Sarsa and Q-learning, return while learning", BOOK, 200, _late("chapter_6:cliff")),
    "7.2": Entry("n-step TD on nineteen states", BOOK, 100, _late("random_walks:n_step")),
    "11.2": Entry("Baird's counterexample: off-policy TD diverges", BOOK, 100, _late("chapter_11:baird")),
    "11.5": Entry("TD with gradient correction on it", BOOK, 100, _late("chapter_11:corrected")),
    "11.6": Entry("emphatic TD on it", BOOK, None, _late("chapter_11:emphatic")),
    "12.3": Entry("the off-line λ-return algorithm", BOOK, 40, _late("random_walks:offline_lambda_return")),
    "12.6": Entry("TD(λ) on nineteen states", BOOK, 100, _late("random_walks:td_lambda")),
    "12.8": Entry("true online TD(λ)", BOOK, 100, _late("random_walks:true_online")),
}
"""In the order of the book; the student's come first."""
