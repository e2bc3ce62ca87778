"""Worlds on a map: grids drawn in text, the cliff, the textbooks' small grids."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from retorno.core.mdp import MDP, mdp

Cell = tuple[int, int]
"""(row, column), counted from the top left."""

MOVES = {"left": (0, -1), "down": (1, 0), "right": (0, 1), "up": (-1, 0)}
"""In Gymnasium's order for the frozen lake; the neighbours in this order are at right angles."""


def grid(
    text: str,
    *,
    slip: float = 0.0,
    step_reward: float = 0.0,
    goal_reward: float = 1.0,
    pit_reward: float = -1.0,
) -> MDP:
    """A model from a map: `#` wall, `.` free, `S` start, `G` goal and `X` pit, which both end the episode.

    Moves into a wall or off the map stay in place. Every move pays `step_reward`, and entering a
    goal or pit its reward on top.

        grid("...G .#.X S...", slip=0.2, step_reward=-0.04)

    is the world of Russell & Norvig 2020, section 17.1.

    Args:
        text: rows of equal length between blanks or line ends. Several `S` share the start equally;
            without one every free cell does.
        slip: the probability of moving at a right angle to the action, half to either side.
        step_reward: of every move.
        goal_reward: for entering `G`.
        pit_reward: for entering `X`.

    Raises:
        ValueError: when rows differ in length, hold another letter, or no cell is free.

    >>> from retorno.bellman import solve
    >>> round(solve(grid("..G .#X S.."), 0.9).start_value, 3)
    0.729
    """
    rows = text.split()
    if len({len(row) for row in rows}) > 1:
        raise ValueError(f"the rows of a map need one length, got {[len(row) for row in rows]}")
    strange = sorted(set("".join(rows)) - set("#.SGX"))
    if strange:
        raise ValueError(f"a map holds # . S G X, got {' '.join(strange)}")
    cell = {(r, c): letter for r, row in enumerate(rows) for c, letter in enumerate(row)}
    ends = {"G": goal_reward, "X": pit_reward}
    free = [at for at, letter in cell.items() if letter in ".S"]
    starts = [at for at in free if cell[at] == "S"] or free
    if not free:
        raise ValueError("the map has no free cell (. or S) to act in")

    def land(at: Cell, to: Cell) -> tuple[Cell, float]:
        to = to if cell.get(to, "#") != "#" else at
        return to, step_reward + ends.get(cell[to], 0.0)

    return _walk(free, [1 - slip, slip / 2, slip / 2], land, starts)


def cliff() -> MDP:
    """Sutton & Barto 2018, example 6.6: 13 steps along a cliff, which costs 100 and leads back to the start.

    >>> from retorno.bellman import solve
    >>> solve(cliff(), 1.0).start_value
    -13.0
    """
    start, goal = (3, 0), (3, 11)
    edge = {(3, c) for c in range(1, 11)}

    def land(at: Cell, to: Cell) -> tuple[Cell, float]:
        to = (min(max(to[0], 0), 3), min(max(to[1], 0), 11))
        return (start, -100.0) if to in edge else (to, -1.0)

    cells = [(r, c) for r in range(4) for c in range(12) if (r, c) not in edge | {goal}]
    return _walk(cells, [1.0], land, [start])


def example_3_5() -> MDP:
    """Sutton & Barto 2018, example 3.5: 5×5 without an end. A pays 10 and leads to A′, B pays 5, the edge −1.

    >>> from retorno.bellman import solve
    >>> round(float(solve(example_3_5(), 0.9).value[1]), 1)
    24.4
    """
    jumps = {(0, 1): ((4, 1), 10.0), (0, 3): ((2, 3), 5.0)}

    def land(at: Cell, to: Cell) -> tuple[Cell, float]:
        if at in jumps:
            return jumps[at]
        return (to, 0.0) if 0 <= to[0] < 5 and 0 <= to[1] < 5 else (at, -1.0)

    cells = [(r, c) for r in range(5) for c in range(5)]
    return _walk(cells, [1.0], land, cells)


def example_4_1() -> MDP:
    """Sutton & Barto 2018, example 4.1: 4×4, two corners end the episode, every step costs 1.

    >>> from retorno.bellman import evaluate, uniform
    >>> evaluate(example_4_1(), uniform, 1.0).value[:4].round()
    array([-14., -20., -22., -14.])
    """
    return grid("G... .... .... ...G", step_reward=-1.0, goal_reward=0.0)


def _walk(
    cells: Sequence[Cell],
    chances: Sequence[float],
    land: Callable[[Cell, Cell], tuple[Cell, float]],
    starts: Sequence[Cell],
) -> MDP:
    """A model of moves between cells.

    Args:
        cells: those that one can act in.
        chances: of moving as meant, and to either side (left out where it is certain).
        land: (from, to) → where the move ends, and its reward.
        starts: the first cell is one of these.
    """
    directions = list(MOVES.values())
    transitions, place = {}, {}
    for at in cells:
        transitions[_name(at)] = choices = {}
        place[_name(at)] = at
        for i, move in enumerate(MOVES):
            turned = [directions[(i + turn) % 4] for turn in (0, -1, 1)]
            outcomes = []
            for chance, (down, right) in zip(chances, turned, strict=False):
                to, reward = land(at, (at[0] + down, at[1] + right))
                place[_name(to)] = to
                outcomes.append((chance, _name(to), reward))
            choices[move] = outcomes
    return mdp(transitions, initial={_name(at): 1 / len(starts) for at in starts}, grid=place)


def _name(at: Cell) -> str:
    return f"{at[0]},{at[1]}"
