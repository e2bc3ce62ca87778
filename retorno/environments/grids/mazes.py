"""Mazes and windy grids of Sutton & Barto 2018, as maps."""

from __future__ import annotations

from collections.abc import Sequence

from retorno.core.mdp import MDP
from retorno.environments.grids.ascii_map import ascii_map

DYNA = (
    ".......#G",
    "..#....#.",
    "S.#....#.",
    "..#......",
    ".....#...",
    ".........",
)  # fmt: skip
DYNA_START_ROW = 2
WALL_ROW = 3
CHANGING = (
    "........G",
    ".........",
    ".........",
    ".........",
    ".........",
    "...S.....",
)  # fmt: skip
WINDY = """
step: -1
goal: 0
wind: 0 0 0 1 1 1 2 2 1 0
..........
..........
..........
S......G..
..........
..........
..........
"""


def dyna_maze(scale: int = 1) -> MDP:
    """The maze of Dyna: 47 cells, 14 steps to the goal, which pays 1. Sutton & Barto 2018, example 8.1.

    Args:
        scale: every cell becomes scale × scale cells, all of a goal's among them; the start is the
            upper left of its own. These are the larger mazes of example 8.4 (prioritised sweeping).

    Raises:
        ValueError: when the scale is below 1.

    >>> dyna_maze().num_states
    47
    """
    if scale < 1:
        raise ValueError(f"scale must be at least 1, got {scale}")
    rows = ["".join(letter * scale for letter in row).replace("S", ".") for row in DYNA for _ in range(scale)]
    start = DYNA_START_ROW * scale
    rows[start] = "S" + rows[start][1:]
    return ascii_map("\n".join(rows))


def blocking_maze(blocked: bool = False) -> MDP:
    """A wall open at the right; when it is `blocked` the opening is at the left: 10 steps, then 16.

    Sutton & Barto 2018, example 8.2 (figure 8.4): the maze changes after 1,000 steps.

    Args:
        blocked: whether the opening is at the left.

    >>> blocking_maze().num_states
    46
    """
    return _changing([*range(1, 9)] if blocked else [*range(8)])


def shortcut_maze(opened: bool = False) -> MDP:
    """A wall open at the left; once `opened` it is open at the right as well: 16 steps, then 10.

    Sutton & Barto 2018, example 8.3 (figure 8.5): the maze changes after 3,000 steps.

    Args:
        opened: whether the wall is open at the right as well.

    >>> shortcut_maze().num_states
    46
    """
    return _changing([*range(1, 8)] if opened else [*range(1, 9)])


def windy_gridworld(moves: int = 4, gusts: float = 0.0) -> MDP:
    """A crosswind blows upward through the middle of the grid; every step costs 1. The best way takes 15.

    Sutton & Barto 2018, example 6.5; exercise 6.9 has the king's moves (the best way takes 7), exercise
    6.10 wind that is one cell stronger or weaker a third of the time each.

    Args:
        moves: 4, the king's 8, or 9 with staying.
        gusts: the probability that a wind differs by one; 2/3 in the exercise.

    Raises:
        ModelError: for another number of moves, or gusts outside [0, 1].

    >>> from retorno.bellman import solve
    >>> solve(windy_gridworld(), 1.0).start_value
    -15.0
    """
    return ascii_map(f"moves: {moves}\ngusts: {gusts!r}\n{WINDY}")


def _changing(wall: Sequence[int]) -> MDP:
    rows = [*CHANGING]
    rows[WALL_ROW] = "".join("#" if column in wall else "." for column in range(9))
    return ascii_map("\n".join(rows))
