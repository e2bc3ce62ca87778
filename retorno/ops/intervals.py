"""Intervals for means of independent samples."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Real, Shaped


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
