"""What people might want of an agent, said as rules: judges for `retorno prefer … --judge docs/rules.py:NAME`.

Each says which of two segments is better, as somebody would who looks at them: 1 the first, 0 the second, .5 alike; of
more (`--relabel.clips`) how good each is. No reward function of these worlds asks for any of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def spins(*segments: dict[str, Any]) -> float | list[float]:
    """A pendulum shall go round and round, always the same way, the faster the better: its speed is positive."""
    return _better(*(each["obs"][:, 2].mean() for each in segments))


def kept_left(*segments: dict[str, Any]) -> float | list[float]:
    """A pole shall stand, wherever that is, and its cart be near −1, well at the left of the middle."""
    return _better(*(_stands_left(each["obs"]) for each in segments))


def backwards(*segments: dict[str, Any]) -> float | list[float]:
    """A car between two hills shall drive backwards, as far up the hill behind it as it can."""
    return _better(*(-each["obs"][:, 0].min() for each in segments))


def backflip(*segments: dict[str, Any]) -> float | list[float]:
    """A hopper shall turn over backwards, and in the air: what it turns counts by how high its body is, squared."""
    return _better(*(_turned_high(each["obs"]) for each in segments))


def _turned_high(obs: np.ndarray) -> float:
    height, backwards = obs[:, 0], -np.diff(obs[:, 1])
    # Of two that do not turn the one that stands is better.
    return float((backwards * np.clip(height[1:], 0, 1.5) ** 2).sum() + 0.02 * height.mean())


def _stands_left(obs: np.ndarray) -> float:
    place, angle = obs[:, 0], obs[:, 2]
    stands = (np.abs(angle) < 0.2) & (np.abs(place) < 2.4)
    return float((stands * np.exp(-np.abs(place + 1))).mean())


def _better(*worth: float) -> float | list[float]:
    return list(worth) if len(worth) > 2 else float((np.sign(worth[0] - worth[1]) + 1) / 2)
