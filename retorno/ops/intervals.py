"""Intervals for means of independent samples."""

from __future__ import annotations

import numpy as np


def interval95(samples: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean of independent samples [N], by Student's t; NaN for fewer than two."""
    if len(samples) < 2:
        return (float("nan"), float("nan"))
    mean, reach = samples.mean(), reach95(samples)
    return (float(mean - reach), float(mean + reach))


def reach95(samples: np.ndarray) -> np.ndarray:
    """Half the width of `interval95` for each column [K] of at least two samples [N, K]."""
    from scipy.special import stdtrit

    return stdtrit(len(samples) - 1, 0.975) * samples.std(0, ddof=1) / np.sqrt(len(samples))
