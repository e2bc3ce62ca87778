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
    "3.2": Entry("a gridworld: values of the random policy", BOOK, None, _late("chapter_3:random_policy")),
    "3.5": Entry("the same: best values and all best actions", BOOK, None, _late("chapter_3:best_policy")),
    "4.1": Entry("iterative evaluation of the random policy", BOOK, None, _late("chapter_4:iterative_evaluation")),
    "4.2": Entry("Jack's car rental: the policies of policy iteration", BOOK, None, _late("chapter_4:rental")),
    "4.3": Entry("the gambler: values and all best stakes", BOOK, None, _late("chapter_4:gamblers_problem")),
    "6.4": Entry("the cliff: Sarsa and Q-learning, return while learning", BOOK, 200, _late("chapter_6:cliff")),
    "8.2": Entry("the maze of Dyna: steps an episode by planning", BOOK, 60, _late("chapter_8:dyna_maze")),
    "8.3": Entry("the same: what is known in the second episode", BOOK, 10, _late("chapter_8:halfway")),
    "8.4": Entry("Dyna-Q+ where the way is blocked", BOOK, 50, _late("chapter_8:blocking_maze")),
    "8.5": Entry("Dyna-Q+ where a shortcut opens", BOOK, 50, _late("chapter_8:shortcut_maze")),
}
"""In the order of the book; the student's come first."""
