"""Counterexamples: where bootstrapping from linear features off-policy diverges. Sutton & Barto 2018, chapter 11."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from retorno.core.mdp import MDP, mdp

STATES = 7
"""Of Baird's star."""


def baird() -> MDP:
    """Baird's star: `dashed` leads to one of the six upper states, `solid` to the seventh; nothing ever pays.

    Sutton & Barto 2018, figure 11.1 (Baird 1995). The target policy is always `solid`; the behaviour
    takes it with probability 1/7. γ is .99. All values are 0, which `baird_features` can say exactly,
    and yet semi-gradient methods off-policy diverge.

    >>> baird().num_states
    7
    """
    upper, lower = [str(i) for i in range(1, STATES)], str(STATES)
    actions = {"dashed": [(1 / len(upper), s, 0.0) for s in upper], "solid": [(1.0, lower, 0.0)]}
    return mdp({s: actions for s in [*upper, lower]}, initial={s: 1 / STATES for s in [*upper, lower]})


def baird_features() -> Float[np.ndarray, "7 8"]:
    """x(s): 2 wᵢ + w₈ in the upper states, w₇ + 2 w₈ in the lower one.

    >>> baird_features().shape
    (7, 8)
    """
    features = np.zeros((STATES, STATES + 1))
    np.fill_diagonal(features, 2.0)
    features[:, -1] = 1.0
    features[-1, -2:] = 1.0, 2.0
    return features


def tsitsiklis_van_roy(epsilon: float = 0.1) -> MDP:
    """Two states: the first leads to the second, which stays with probability 1 − ε and else ends; nothing pays.

    Sutton & Barto 2018, example 11.1 (Tsitsiklis & Van Roy 1996). With `two_state_features`, even the
    best fit to the expected update in every step diverges where γ > 5 / (6 − 4ε): the weight is
    multiplied by γ (6 − 4ε) / 5.

    Raises:
        ValueError: when ε is outside (0, 1].

    >>> tsitsiklis_van_roy().num_states
    3
    """
    if not 0 < epsilon <= 1:
        raise ValueError(f"epsilon must lie in (0, 1], so that episodes end, got {epsilon}")
    return mdp(
        {
            "first": {"go": [(1.0, "second", 0.0)]},
            "second": {"go": [(1 - epsilon, "second", 0.0), (epsilon, "end", 0.0)]},
        },
        initial="first",
    )


def two_state_features() -> Float[np.ndarray, "3 1"]:
    """x(s) of `tsitsiklis_van_roy`: w, 2w and, at the end, 0.

    >>> two_state_features().ravel()
    array([1., 2., 0.])
    """
    return np.array([[1.0], [2.0], [0.0]])
