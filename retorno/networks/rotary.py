"""Rotary positions (Su et al. 2021), and how they are stretched over texts longer than those learnt from.

Pair i of a head's D numbers turns by ω_i = base^(−2i/D) a position. A model that was trained on short texts meets
angles on long ones that it never saw; so pairs are turned more slowly, by `factor`, all of them or only those that
turn too slowly to have come round while it was trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int


class Turn(NamedTuple):
    """How far each pair is turned: cos and sin of its angle, [*T, D/2]."""

    cos: Float[Array, "*T pairs"]
    sin: Float[Array, "*T pairs"]

    def __call__(self, x: Float[Array, "N *T D"]) -> Float[Array, "N *T D"]:
        """Turn the pairs (x_i, x_{i + D/2}). Su et al. 2021, eq. 34."""
        a, b = jnp.split(x, 2, axis=-1)
        cos, sin = self.cos.astype(x.dtype), self.sin.astype(x.dtype)
        return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


@runtime_checkable
class Stretch(Protocol):
    """How positions are stretched: a frozen dataclass."""

    @property
    def factor(self) -> float:
        """How much more slowly what is stretched turns."""
        ...

    @property
    def gain(self) -> float:
        """What queries and keys are multiplied with."""
        ...

    def kept(self, frequencies: Float[np.ndarray, " pairs"], base: float) -> Float[np.ndarray, " pairs"]:
        """How much of each pair's frequency stays as it is: 1 all, 0 nothing."""
        ...


@dataclass(frozen=True)
class Interpolated:
    """All pairs alike: position interpolation. Chen et al. 2023, eq. 4."""

    factor: float
    gain: float = 1.0

    def kept(self, frequencies: Float[np.ndarray, " pairs"], base: float) -> Float[np.ndarray, " pairs"]:
        return np.zeros_like(frequencies)


@dataclass(frozen=True)
class ByWavelength:
    """Pairs that came round often while the model was trained stay: Llama 3.1's (Grattafiori et al. 2024)."""

    factor: float
    trained: int
    """Positions of the texts that it was trained on first."""
    slow: float = 1.0
    """Rounds up to which a pair is stretched."""
    fast: float = 4.0
    """Rounds from which on it stays."""
    gain: float = 1.0

    def kept(self, frequencies: Float[np.ndarray, " pairs"], base: float) -> Float[np.ndarray, " pairs"]:
        rounds = self.trained * frequencies / (2 * math.pi)
        return np.clip((rounds - self.slow) / (self.fast - self.slow), 0, 1)


@dataclass(frozen=True)
class YaRN:
    """The same on a ramp over the pairs' numbers, with sharper attention. Peng et al. 2023, sections 3.2 and 3.4."""

    factor: float
    trained: int
    """Positions of the texts that it was trained on first."""
    slow: float = 1.0
    fast: float = 32.0
    sharpness: float | None = None
    """What queries and keys are multiplied with; None for 0.1 ln(factor) + 1."""

    @property
    def gain(self) -> float:
        return 0.1 * math.log(self.factor) + 1 if self.sharpness is None else self.sharpness

    def kept(self, frequencies: Float[np.ndarray, " pairs"], base: float) -> Float[np.ndarray, " pairs"]:
        pairs = len(frequencies)
        pair_of = lambda rounds: pairs * math.log(self.trained / (rounds * 2 * math.pi)) / math.log(base)  # noqa: E731
        first = max(math.floor(pair_of(self.fast)), 0)
        last = min(math.ceil(pair_of(self.slow)), 2 * pairs - 1)
        return 1 - np.clip((np.arange(pairs) - first) / max(last - first, 1e-3), 0, 1)


@dataclass(frozen=True)
class Rotary:
    """Positions as angles."""

    base: float = 10_000.0
    stretch: Stretch | None = None

    def frequencies(self, pairs: int) -> Float[np.ndarray, " pairs"]:
        """ω: the angle of each pair at position 1."""
        frequencies = self.base ** (-np.arange(pairs) / pairs)
        if self.stretch is None:
            return frequencies
        kept = self.stretch.kept(frequencies, self.base)
        return frequencies * (kept + (1 - kept) / self.stretch.factor)

    def turn(self, position: Int[Array, "*T"], width: int) -> Turn:
        """How far the pairs of a head of `width` numbers are turned at each position."""
        angle = position[..., None] * jnp.asarray(self.frequencies(width // 2), jnp.float32)
        gain = 1.0 if self.stretch is None else self.stretch.gain
        return Turn(gain * jnp.cos(angle), gain * jnp.sin(angle))
