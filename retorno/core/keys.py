"""Where randomness comes from: keys of a counter-based generator that is quick on every device.

Philox 4x32 with ten rounds (Salmon, Moraes, Dror & Shaw 2011) instead of JAX's default Threefry,
whose rounds XLA runs as a loop on CPUs: one draw inside a compiled loop takes a tenth of the time,
and drawing is most of what a tabular method does.
"""

from __future__ import annotations

import jax
from jax import Array
from jaxtyping import Int, Key

GENERATOR = "philox4x32"
"""What JAX calls it."""


def key_of(seed: Int[Array, ""] | int) -> Key[Array, ""]:
    """The key of a seed; from it all others are split or folded."""
    return jax.random.key(seed, impl=GENERATOR)
