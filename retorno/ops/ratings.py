"""How strong players are, from the games between them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

POINTS = 400 / math.log(10)
"""Rating points of one unit of the logistic scale, as chess counts them (Elo 1978)."""


class Ratings(NamedTuple):
    """Points of each player around the mean of all, and half of their 95% intervals."""

    points: Float[np.ndarray, " N"]
    reach: Float[np.ndarray, " N"]


def bradley_terry(scores: Float[np.ndarray, "N N"], prior: float = 1.0) -> Ratings:
    r"""The Bradley–Terry model's ratings (Bradley & Terry 1952; its mode by Newton's method).

    .. math:: P(i \text{ beats } j) = \frac{1}{1 + e^{\theta_j - \theta_i}}

    A draw is half a win of either. So that who always won has a rating as well, each is taken to have drawn so many
    games with an average player. Intervals come from the curvature at the mode.

    Args:
        scores: s[i, j], the points that i made in the games with j: 1 for a win, ½ for a draw. Shape [N, N].
        prior: games that each is taken to have drawn with an average player; positive.

    Returns:
        The ratings.

    >>> ratings = bradley_terry(np.array([[0.0, 15.0], [5.0, 0.0]]), prior=1e-6)
    >>> float(ratings.points[0] - ratings.points[1])  # 400 · log₁₀ 3
    190.8...
    """
    games = scores + scores.T
    theta = np.zeros(len(scores))
    curvature = np.eye(len(scores))
    for _ in range(100):
        chance = 1 / (1 + np.exp(theta[None] - theta[:, None]))
        against_average = 1 / (1 + np.exp(-theta))
        slope = (scores - games * chance).sum(1) + prior * (0.5 - against_average)
        weight = games * chance * (1 - chance)
        curvature = np.diag(weight.sum(1) + prior * against_average * (1 - against_average)) - weight
        step = np.linalg.solve(curvature, slope)
        theta = theta + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-9:
            break
    centred = np.eye(len(theta)) - 1 / len(theta)
    variance = np.diag(centred @ np.linalg.inv(curvature) @ centred.T)
    return Ratings(POINTS * (theta - theta.mean()), 1.96 * POINTS * np.sqrt(variance))
