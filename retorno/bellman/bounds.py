"""Two-sided bounds on exact values. Rounding is counted in: they hold for the numbers that are returned."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from retorno.bellman.backup import Backup


def extrapolate(
    backup: Backup, value: Float[np.ndarray, " n"], gain: Float[np.ndarray, " n"], noise: float
) -> tuple[float, float]:
    """How far the fixed point lies from v + gain = T(v): at least and at most, for every state.

    min b · α/(1 − α) ≤ v − Tv₀ ≤ max b · α/(1 − α) with b = Tv₀ − v₀, where α is the largest
    discounted probability of going on where the side moves outwards, the smallest where it moves
    inwards. MacQueen 1966; Porteus 1975 for discounts that differ. T may be a policy's backup or
    the optimal one; the lower bound is then also one for the policy that is greedy at `value`.
    """
    below, above = tails(backup.least_leak, backup.most_leak, float(gain.min()), float(gain.max()), noise)
    return below - rounding_of(value), above + rounding_of(value)


def rounding_of(value: Float[np.ndarray, " n"]) -> float:
    """More than is lost where a few numbers of the size of `value` are added up."""
    return 8 * 2.0**-53 * float(max(value.max(), -value.min()))


def best_above(backup: Backup, value: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Upper bounds of the best value where the backup contracts, from any value."""
    gain, noise = backup.change(value)
    best = backup.best(gain)
    return value + best + extrapolate(backup, value, best, noise)[1]


def tails(least_leak: float, most_leak: float, low: float, high: float, noise: float) -> tuple[float, float]:
    """The same from the least and the largest change of one backup and its rounding.

    A leak is 1 − α, what the discounted probabilities of going on lack to one.
    """

    def tail(b: float, outwards: bool | np.bool) -> float:
        leak = least_leak if outwards else most_leak
        return float(b * (1 - leak) / leak)

    low, high = low - noise, high + noise
    return tail(low, low < 0) - noise, tail(high, high > 0) + noise


def weighted(
    backup: Backup, value: Float[np.ndarray, " n"], time: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Bounds on a policy's value (`backup` has one pair a state) from an expected time to the end.

    Where w − Mw ≥ κ > 0, the error of v is at most w · max|r + Mv − v| / κ: the maximum norm
    weighted by w, in which M contracts even at γ = 1. Bertsekas & Tsitsiklis 1996, section 2.2.
    `time` need not be exact; a w too rough to prove anything gives infinite bounds.
    """
    residual, noise = backup.change(value)
    kappa = float((time - backup.matrix @ time).min()) - 2 * backup.rounding * float(time.max())
    if kappa <= 0 or time.min() < 0:
        return np.full_like(value, -np.inf), np.full_like(value, np.inf)
    below = (min(float(residual.min()), 0.0) - noise) / kappa
    above = (max(float(residual.max()), 0.0) + noise) / kappa
    slack = rounding_of(value)
    return value + below * time - slack, value + above * time + slack
