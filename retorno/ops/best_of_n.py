"""Best of n: to draw n answers and take the one with the best score. What it gives, and how far it goes, is known.

What equals the best is as likely to be taken.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from scipy.special import comb


def best_of_n_log_prob(log_prob: Float[Array, " N"], score: Float[Array, " N"], n: int) -> Float[Array, " N"]:
    r"""The law of the best of n answers that are drawn independently (Beirami et al. 2024, lemma 1).

    .. math:: \pi_n(y) = \frac{\pi(y)}{\pi(r = r_y)} \left( \pi(r \le r_y)^n - \pi(r < r_y)^n \right)

    Args:
        log_prob: log π of every answer there is. Shape [N].
        score: r of each. Shape [N].
        n: how many are drawn.

    Returns:
        log πₙ. Shape [N].

    >>> best_of_n_log_prob(jnp.log(jnp.array([0.5, 0.25, 0.25])), jnp.array([0.0, 1.0, 1.0]), 2).round(4)
    Array([-1.3863, -0.9808, -0.9808], dtype=float32)
    """
    prob = jnp.exp(log_prob)
    _, level = jnp.unique(score, return_inverse=True, size=score.shape[0])
    masses = jnp.zeros_like(prob).at[level].add(prob)
    within = jnp.cumsum(masses)
    below = within - masses
    return log_prob - jnp.log(masses[level]) + jnp.log((within**n - below**n)[level])


def best_of_n_kl(n: int) -> float:
    r"""KL(πₙ‖π) where no two answers have one score; where some do, or few have much of the probability, a bound.

    .. math:: \log n - \frac{n - 1}{n}

    Stiennon et al. 2020, appendix G.3; Beirami et al. 2024, theorem 1.

    Args:
        n: how many are drawn.

    Returns:
        In nats.

    >>> round(best_of_n_kl(4), 4)
    0.6363
    """
    return math.log(n) - (n - 1) / n


def best_of_n_weights(score: Float[np.ndarray, " N"], n: int) -> Float[np.ndarray, " N"]:
    r"""How likely each of N answers is the best of n that are drawn from them without putting back.

    With these weights a mean over N samples is an unbiased estimate for the best of n (Nakano et al. 2021, appendix I).

    .. math:: w_i = \binom{N}{n}^{-1} \binom{i - 1}{n - 1} \quad \text{for the } i\text{-th worst}

    Args:
        score: by which the best is taken. Shape [N].
        n: how many are drawn, N or fewer.

    Returns:
        w. Shape [N].

    >>> best_of_n_weights(np.array([3.0, 1.0, 2.0]), 2).round(3)
    array([0.667, 0.   , 0.333])
    """
    _, level, count = np.unique(score, return_inverse=True, return_counts=True)
    within = np.cumsum(count)
    ways = comb(within, n) - comb(within - count, n)
    return (ways / count / comb(len(score), n))[level]
