"""Intervals for means of independent samples."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Real, Shaped

ENOUGH = 10
"""Outcomes from which on their range is taken for what is possible."""
RESAMPLES = 2000
"""Of a bootstrap."""


def interval95(samples: Shaped[np.ndarray, " N"]) -> tuple[float, float]:
    r"""The 95% interval of the mean of independent samples (Student 1908).

    .. math:: \bar x \pm t_{.975,\, N - 1} \frac{s}{\sqrt N}

    Args:
        samples: x. Shape [N].

    Returns:
        (lower, upper); NaN for fewer than two samples.

    >>> low, high = interval95(np.array([1.0, 2.0, 3.0]))
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    if len(samples) < 2:
        return (float("nan"), float("nan"))
    mean, reach = samples.mean(), reach95(samples)
    return (float(mean - reach), float(mean + reach))


def interval95_within(samples: Shaped[np.ndarray, " N"], seen: Shaped[np.ndarray, " *K"]) -> tuple[float, float]:
    """`interval95` of means, within what single outcomes were seen to be: what is impossible is in no interval.

    A mean lies between the least and the greatest outcome there is, and among ten outcomes that were seen one is
    below it and one above it but once in 500 times (in a symmetric law): with fewer the interval stays as it is.

    Args:
        samples: the means. Shape [N].
        seen: the outcomes that they are means of.

    Returns:
        (lower, upper); NaN for fewer than two samples.

    >>> low, high = interval95_within(np.array([400.0, 500.0, 500.0]), np.array([300.0, 500.0] * 5))
    >>> round(low), high
    (323, 500.0)
    """
    low, high = interval95(samples)
    if seen.size < ENOUGH:
        return low, high
    return (max(low, float(seen.min())), min(high, float(seen.max()))) if low == low else (low, high)


def proportion95(successes: float, trials: int) -> tuple[float, float]:
    r"""The 95% interval of a probability, from independent trials (Wilson 1927).

    .. math:: \frac{\hat p + z^2/2n \pm z \sqrt{\hat p (1 - \hat p)/n + z^2/4n^2}}{1 + z^2/n}, \qquad z = 1.96

    Args:
        successes: how many of them came out.
        trials: n, how many there were.

    Returns:
        (lower, upper), within [0, 1]; NaN without trials.

    >>> low, high = proportion95(10, 10)
    >>> round(low, 3), round(high, 3)
    (0.722, 1.0)
    """
    if not trials:
        return (float("nan"), float("nan"))
    share, widening = successes / trials, 1.959964**2 / trials
    centre = (share + widening / 2) / (1 + widening)
    reach = math.sqrt(widening * share * (1 - share) + widening**2 / 4) / (1 + widening)
    return (max(centre - reach, 0.0), min(centre + reach, 1.0))


def interquartile_mean(samples: Shaped[np.ndarray, " N"]) -> float:
    """The mean of the middle half (Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice").

    A quarter of the samples, rounded down, is left out at each side, as rliable does.

    Args:
        samples: one for each seed. Shape [N].

    >>> interquartile_mean(np.array([0.0, 8.0, 10.0, 100.0]))
    9.0
    """
    left_out = len(samples) // 4
    return float(np.sort(samples)[left_out : len(samples) - left_out].mean())


def interquartile_interval95(samples: Shaped[np.ndarray, " N"]) -> tuple[float, float]:
    """The 95% interval of the interquartile mean: the bootstrap's percentiles (Efron 1979), as rliable's.

    The samples are drawn again with replacement 2,000 times, always alike. No end lies outside of the samples.

    Args:
        samples: one for each seed. Shape [N].

    Returns:
        (lower, upper); NaN for fewer than two samples.

    >>> interquartile_interval95(np.array([5.0, 5.0, 5.0]))
    (5.0, 5.0)
    >>> interquartile_interval95(np.arange(20.0))
    (6.1, 12.9)
    """
    count = len(samples)
    if count < 2:
        return (float("nan"), float("nan"))
    drawn = np.sort(samples[np.random.default_rng(0).integers(0, count, (RESAMPLES, count))], axis=1)
    means = drawn[:, count // 4 : count - count // 4].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return (float(low), float(high))


def reach95(samples: Real[np.ndarray, " N *K"]) -> Float[np.ndarray, "*K"] | np.float64:
    """Half the width of `interval95`, of each column by itself.

    Args:
        samples: at least two of each. Shape [N, …].

    Returns:
        Half the widths. Shape […].

    >>> reach95(np.array([[1.0], [2.0], [3.0]])).round(3)
    array([2.484])
    """
    from scipy.special import stdtrit

    return stdtrit(len(samples) - 1, 0.975) * samples.std(0, ddof=1) / np.sqrt(len(samples))
