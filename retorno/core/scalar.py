"""One number, whoever holds it."""

from __future__ import annotations

from jax import Array
from jaxtyping import Float

Scalar = float | Float[Array, ""]
"""A number as its user writes it, or as a compiled program holds it (see `hyperparameters.as_arrays`)."""
