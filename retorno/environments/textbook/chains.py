"""Rows of states from Sutton & Barto 2018: a long walk with jumps, a corridor that looks the same, a noisy branch."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from retorno.core.mdp import MDP, mdp


def jumping_walk(states: int = 1000, jump: int = 100) -> MDP:
    """From the middle to any of the 100 states on either side, equally; −1 beyond the left end, +1 beyond the right.

    Sutton & Barto 2018, example 9.1. The one action is `go`. Where fewer than 100 states are left on
    a side, the rest of its probability ends the episode there.

    Args:
        states: how many states act, named from "1".
        jump: how far one goes at most.

    Raises:
        ValueError: when a number is below 1.

    >>> jumping_walk().num_states
    1002
    """
    if states < 1 or jump < 1:
        raise ValueError(f"a walk needs at least 1 state and jumps of at least 1, got {states} and {jump}")
    here = np.repeat(np.arange(states), 2 * jump)
    there = here + np.tile(np.append(np.arange(-jump, 0), np.arange(1, jump + 1)), states)
    # The outcomes beyond an end are one outcome: kept at the first place outside, with their number.
    left, right = np.maximum(jump - np.arange(states), 0), np.maximum(jump - np.arange(states)[::-1], 0)
    kept = (there >= -1) & (there <= states)
    here, there = here[kept], there[kept]
    weight = np.where(there == -1, left[here], np.where(there == states, right[here], 1))
    ended = (there == -1) | (there == states)
    count = np.bincount(here, minlength=states)
    initial = np.zeros(states + 2)
    initial[(states - 1) // 2] = 1
    return MDP(
        state_ptr=np.append(np.arange(states + 1), [states, states]),
        action=np.zeros(states, np.int64),
        row_ptr=np.append(0, np.cumsum(count)),
        next_state=np.where(there == -1, states, np.where(there == states, states + 1, there)),
        probability=weight / (2 * jump),
        reward=np.where(there == -1, -1.0, np.where(there == states, 1.0, 0.0)),
        discount=np.where(ended, 0.0, 1.0),
        initial=initial,
        state_names=(*(str(s) for s in range(1, states + 1)), "left end", "right end"),
        action_names=("go",),
    )


def groups(states: int = 1000, size: int = 100) -> Int[np.ndarray, " S"]:
    """The group of each state of a `jumping_walk` (state aggregation, figure 9.1); either end is one of its own.

    Args:
        states: of the walk.
        size: how many share a group.

    Returns:
        The number of each state's group, both ends included. Shape [states + 2].

    >>> groups(6, 3)
    array([0, 0, 0, 1, 1, 1, 2, 3])
    """
    walk = np.arange(states) // size
    return np.append(walk, [walk[-1] + 1, walk[-1] + 2])


def short_corridor() -> MDP:
    """Three states in a row; in the middle one, `left` and `right` are swapped. Every step costs 1 until the goal.

    Sutton & Barto 2018, example 13.1. Whoever cannot tell the states apart (`Observed` with one
    label for all) does best to go right with probability 2 − √2 = .585786, for −11.6569.

    >>> from retorno.bellman import solve
    >>> solve(short_corridor(), 1.0).value
    array([-3., -2., -1.,  0.])
    """
    row = ["first", "second", "third", "goal"]
    steps = {"first": ("first", "second"), "second": ("third", "first"), "third": ("second", "goal")}
    return mdp(
        {s: {"left": [(1.0, left, -1.0)], "right": [(1.0, right, -1.0)]} for s, (left, right) in steps.items()},
        initial="first",
        grid={name: (0, i) for i, name in enumerate(row)},
    )


def maximisation_bias(actions: int = 10, mean: float = -0.1) -> MDP:
    """From A, `right` ends with 0 and `left` leads to B, where each of many actions ends with a mean reward of −0.1.

    Sutton & Barto 2018, example 6.7. The model holds the means; the world's rewards in B are normal
    around them with variance 1: `noisy(model, branch_noise(model))`.

    Args:
        actions: in B.
        mean: of their rewards.

    Raises:
        ValueError: when there are no actions.

    >>> from retorno.bellman import solve
    >>> solve(maximisation_bias(), 1.0).start_value
    0.0
    """
    if actions < 1:
        raise ValueError(f"B needs at least 1 action, got {actions}")
    return mdp(
        {
            "A": {"left": [(1.0, "B", 0.0)], "right": [(1.0, "end", 0.0)]},
            "B": {f"b{i}": [(1.0, "end", mean)] for i in range(1, actions + 1)},
        },
        initial="A",
    )


def branch_noise(model: MDP) -> Float[np.ndarray, " P"]:
    """The standard deviation of each pair's reward in `maximisation_bias`: 1 in B.

    Args:
        model: of `maximisation_bias`.

    Returns:
        Of each pair. Shape [P].

    >>> branch_noise(maximisation_bias(actions=3))
    array([0., 0., 1., 1., 1.])
    """
    return (model.pair_state == model.state("B")).astype(float)
