"""Running mean and variance, merged exactly from batches."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float


class Moments(NamedTuple):
    """Count, mean and variance of all rows seen so far."""

    count: Float[Array, ""]
    mean: Float[Array, " D"]
    variance: Float[Array, " D"]

    def update(self, rows: Float[Array, "N D"], mask: Bool[Array, " N"]) -> Moments:
        """Merge the rows where `mask` is true.  Chan, Golub & LeVeque 1979, eq. 2.1."""
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

    def standardise(self, x: Float[Array, " D"], clip: float = 10.0) -> Float[Array, " D"]:
        """(x − mean) / standard deviation, held within ±clip."""
        return jnp.clip((x - self.mean) / jnp.sqrt(self.variance + 1e-8), -clip, clip)

    def scale(self, x: Float[Array, " D"], clip: float = 10.0) -> Float[Array, " D"]:
        """X / standard deviation, held within ±clip: what is done to rewards, whose sign matters."""
        return jnp.clip(x / jnp.sqrt(self.variance + 1e-8), -clip, clip)


def initial_moments(width: int) -> Moments:
    """Mean 0 and variance 1, held as lightly as one ten-thousandth of a row."""
    return Moments(jnp.float32(1e-4), jnp.zeros(width), jnp.ones(width))
