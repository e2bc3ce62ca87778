"""Models that textbooks draw: Silver's student and Sutton & Barto's random walks."""

from __future__ import annotations

from string import ascii_uppercase
from typing import Any

from retorno.core.mdp import MDP, mdp


def student() -> MDP:
    """David Silver's student, who decides: seven arrows between four states and sleep.

    Silver 2015, lecture 2 (student MDP). The first state is C1. The best value at γ = 1 is
    6, 6, 8, 10 for Facebook, C1, C2, C3.

    >>> from retorno.bellman import solve
    >>> solve(student(), 1.0).value.round(3)
    array([ 6.,  6.,  8., 10.,  0.])
    """
    return mdp(
        {
            "Facebook": {"facebook": [(1.0, "Facebook", -1.0)], "quit": [(1.0, "C1", 0.0)]},
            "C1": {"facebook": [(1.0, "Facebook", -1.0)], "study": [(1.0, "C2", -2.0)]},
            "C2": {"sleep": [(1.0, "Sleep", 0.0)], "study": [(1.0, "C3", -2.0)]},
            "C3": {
                "study": [(1.0, "Sleep", 10.0)],
                "pub": [(0.2, "C1", 1.0), (0.4, "C2", 1.0), (0.4, "C3", 1.0)],
            },
        },
        initial="C1",
    )


def student_process() -> MDP:
    """David Silver's student, who only lives: a reward process, with the one action `go` in each state.

    Silver 2015, lecture 2 (student MRP). The reward is paid on leaving a state.

    >>> from retorno.bellman import solve
    >>> solve(student_process(), 1.0).value.round(1)
    array([-12.5,   1.5,   4.3,  10. ,   0.8, -22.5,   0. ])
    """
    reward = {"C1": -2.0, "C2": -2.0, "C3": -2.0, "Pass": 10.0, "Pub": 1.0, "Facebook": -1.0}
    follows = {
        "C1": {"C2": 0.5, "Facebook": 0.5},
        "C2": {"C3": 0.8, "Sleep": 0.2},
        "C3": {"Pass": 0.6, "Pub": 0.4},
        "Pass": {"Sleep": 1.0},
        "Pub": {"C1": 0.2, "C2": 0.4, "C3": 0.4},
        "Facebook": {"Facebook": 0.9, "C1": 0.1},
    }
    return mdp(
        {s: {"go": [(p, n, reward[s]) for n, p in chances.items()]} for s, chances in follows.items()}, initial="C1"
    )


def random_walk(states: int = 5, left_reward: float | None = None) -> MDP:
    """A row of states with the actions `left` and `right`; it starts in the middle and ends beyond either end.

    The right end pays 1. Under the uniform policy this is Sutton & Barto 2018, example 6.2 (5
    states, the left end pays 0, values 1/6 … 5/6), and example 7.1 (19 states, the left end pays −1).

    Args:
        states: how many states act; odd numbers have a middle.
        left_reward: what the left end pays; None takes the book's, −1 with 19 states and else 0.

    Raises:
        ValueError: when there are no states.

    >>> from retorno.bellman import evaluate, uniform
    >>> evaluate(random_walk(5), uniform, 1.0).value[:5].round(3)
    array([0.167, 0.333, 0.5  , 0.667, 0.833])
    """
    if states < 1:
        raise ValueError(f"a random walk needs at least 1 state, got {states}")
    if left_reward is None:
        left_reward = -1.0 if states == 19 else 0.0
    names = list(ascii_uppercase[:states]) if states <= 26 else [str(i) for i in range(1, states + 1)]
    row = ["left end", *names, "right end"]
    steps: dict[Any, Any] = {
        name: {
            "left": [(1.0, row[i - 1], left_reward if i == 1 else 0.0)],
            "right": [(1.0, row[i + 1], 1.0 if i == states else 0.0)],
        }
        for i, name in enumerate(names, start=1)
    }
    return mdp(steps, initial=names[(states - 1) // 2], grid={name: (0, i) for i, name in enumerate(row)})
