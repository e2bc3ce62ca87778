"""Bandits: one state, and arms that pay at random. Sutton & Barto 2018, chapter 2.

A bandit never ends: its discounted value is that of its best arm over 1 − γ, its average reward that
of its best arm. A time limit (1,000 pulls in the testbed) makes a run of it an episode.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from retorno.core.mdp import MDP, mdp


def bandit(means: Sequence[float] | Float[np.ndarray, " k"]) -> MDP:
    """One state and k arms with these mean rewards; `noisy(bandit(means))` is the world with rewards N(mean, 1).

    Raises:
        ModelError: when there are no arms, or a mean is not finite.

    >>> bandit([0.2, 0.7]).reward
    array([0.2, 0.7])
    """
    return mdp({"bandit": {arm: [(1.0, "bandit", float(mean))] for arm, mean in enumerate(means)}})


def bernoulli_bandit(chances: Sequence[float] | Float[np.ndarray, " k"]) -> MDP:
    """One state and k arms that pay 1 with these probabilities, and else nothing.

    Raises:
        ModelError: when there are no arms, or a probability is outside [0, 1].

    >>> bernoulli_bandit([0.2, 0.7]).num_actions
    2
    """
    return mdp(
        {"bandit": {a: [(float(p), "bandit", 1.0), (1 - float(p), "bandit", 0.0)] for a, p in enumerate(chances)}}
    )


def gaussian_testbed(seed: int, arms: int = 10) -> MDP:
    """One of the testbed's bandits: its means are drawn from N(0, 1). Sutton & Barto 2018, section 2.3.

    Args:
        seed: of the means.
        arms: how many.

    >>> gaussian_testbed(0).reward[:2].round(2)
    array([ 0.13, -0.13])
    """
    return bandit(np.random.default_rng(seed).normal(size=arms))


def bernoulli_testbed(seed: int, arms: int = 10) -> MDP:
    """A bandit whose arms' probabilities are drawn uniformly.

    Args:
        seed: of the probabilities.
        arms: how many.

    >>> bernoulli_testbed(0).num_actions
    10
    """
    return bernoulli_bandit(np.random.default_rng(seed).random(arms))
