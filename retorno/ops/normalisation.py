"""Running mean and variance, merged exactly from batches."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Real

from retorno.core.scalar import Scalar


class Moments(NamedTuple):
    """Count, mean and variance of all rows seen so far."""

    count: Float[Array, ""]
    mean: Float[Array, " D"]
    variance: Float[Array, " D"]

    def update(self, rows: Real[Array, "N D"], mask: Bool[Array, " N"]) -> Moments:
        """Merge the rows where `mask` is true (Chan, Golub & LeVeque 1979, eq. 2.1).

        Args:
            rows: what was seen. Shape [N, D].
            mask: which of them count. Shape [N].

        Returns:
            The moments of all rows, those before and these.

        >>> seen = initial_moments(1).update(jnp.array([[1.0], [3.0], [99.0]]), jnp.array([True, True, False]))
        >>> seen.mean.round(2), seen.variance.round(2)
        (Array([2.], dtype=float32), Array([1.], dtype=float32))
        """
        n = mask.sum().astype(jnp.float32)
        weight = (mask / jnp.maximum(n, 1))[:, None]
        mean = jnp.sum(rows * weight, 0)
        variance = jnp.sum((rows - mean) ** 2 * weight, 0)
        total = self.count + n
        share = n / total
        shift = mean - self.mean
        return Moments(
            count=total,
            mean=self.mean + shift * share,
            variance=self.variance * (1 - share) + variance * share + shift**2 * share * (1 - share),
        )

    def standardise(self, x: Real[Array, " D"], clip: Scalar = 10.0) -> Float[Array, " D"]:
        r"""A row in standard deviations from the mean.

        .. math:: \text{clip}\left( \frac{x - \mu}{\sqrt{\sigma^2 + 10^{-8}}}, -c, c \right)

        Args:
            x: a row. Shape [D].
            clip: c.

        Returns:
            Shape [D].

        >>> Moments(jnp.float32(1), jnp.array([2.0]), jnp.array([4.0])).standardise(jnp.array([6.0]))
        Array([2.], dtype=float32)
        """
        return jnp.clip((x - self.mean) / jnp.sqrt(self.variance + 1e-8), -clip, clip)

    def scale(self, x: Real[Array, " D"], clip: Scalar = 10.0) -> Float[Array, " D"]:
        r"""A row in standard deviations, its mean left in it: what is done to rewards, whose sign matters.

        .. math:: \text{clip}\left( \frac{x}{\sqrt{\sigma^2 + 10^{-8}}}, -c, c \right)

        Args:
            x: a row. Shape [D].
            clip: c.

        Returns:
            Shape [D].

        >>> Moments(jnp.float32(1), jnp.array([2.0]), jnp.array([4.0])).scale(jnp.array([6.0]))
        Array([3.], dtype=float32)
        """
        return jnp.clip(x / jnp.sqrt(self.variance + 1e-8), -clip, clip)


def initial_moments(width: int) -> Moments:
    """Mean 0 and variance 1, held as lightly as one ten-thousandth of a row.

    Args:
        width: D, how many numbers a row has.

    >>> initial_moments(2).mean
    Array([0., 0.], dtype=float32)
    """
    return Moments(jnp.float32(1e-4), jnp.zeros(width), jnp.ones(width))
