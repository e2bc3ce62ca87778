"""What people might want of an agent, said as rules: judges for `retorno prefer … --judge docs/rules.py:NAME`.

Each says which of two segments is better, as somebody would who looks at them: 1 the first, 0 the second, .5 alike.
No reward function of these worlds asks for any of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def spins(first: dict[str, Any], second: dict[str, Any]) -> float:
    """A pendulum shall go round and round, always the same way, the faster the better: its speed is positive."""
    return _better(*(each["obs"][:, 2].mean() for each in (first, second)))


def kept_left(first: dict[str, Any], second: dict[str, Any]) -> float:
    """A pole shall stand, wherever that is, and its cart be near −1, well at the left of the middle."""
    return _better(*(_stands_left(each["obs"]) for each in (first, second)))


def backwards(first: dict[str, Any], second: dict[str, Any]) -> float:
    """A car between two hills shall drive backwards, as far up the hill behind it as it can."""
    return _better(*(-each["obs"][:, 0].min() for each in (first, second)))


def backflip(first: dict[str, Any], second: dict[str, Any]) -> float:
    """A hopper shall turn over backwards, and in the air: what it turns counts by how high its body is, squared."""
    return _better(*(_turned_high(each["obs"]) for each in (first, second)))


def _turned_high(obs: np.ndarray) -> float:
    height, backwards = obs[:, 0], -np.diff(obs[:, 1])
    # Of two that do not turn the one that stands is better.
    return float((backwards * np.clip(height[1:], 0, 1.5) ** 2).sum() + 0.02 * height.mean())


def _stands_left(obs: np.ndarray) -> float:
    place, angle = obs[:, 0], obs[:, 2]
    stands = (np.abs(angle) < 0.2) & (np.abs(place) < 2.4)
    return float((stands * np.exp(-np.abs(place + 1))).mean())


def _better(first: float, second: float) -> float:
    return float((np.sign(first - second) + 1) / 2)
