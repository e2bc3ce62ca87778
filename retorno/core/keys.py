"""Where randomness comes from: keys of a counter-based generator that is quick on every device.

Philox 4x32 with ten rounds (Salmon, Moraes, Dror & Shaw 2011) instead of JAX's default Threefry,
whose rounds XLA runs as a loop on CPUs: one draw inside a compiled loop takes a tenth of the time,
and drawing is most of what a tabular method does.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jax.interpreters import mlir
from jaxtyping import Int, Key

GENERATOR = "philox4x32"
"""What JAX calls it."""


def key_of(seed: Int[Array, ""] | int) -> Key[Array, ""]:
    """The key of a seed; from it all others are split or folded."""
    return jax.random.key(seed, impl=GENERATOR)


def _high_half(x: Int[Array, ...], y: Int[Array, ...]) -> Int[Array, ...]:
    """The upper half of a product of words of up to 32 bits."""
    bits = jnp.iinfo(x.dtype).bits
    wide = jnp.dtype(f"{x.dtype.kind}{2 * bits // 8}")
    with jax.enable_x64(True):
        product = jax.lax.convert_element_type(x, wide) * jax.lax.convert_element_type(y, wide)
        return jax.lax.convert_element_type(product >> wide.type(bits), x.dtype)


# Philox multiplies by `jax.lax.mulhi`, for which jaxlib 0.10 has an operation of its own that XLA cannot read
# in a program spread over several devices. Spelt out it gives the same bits, as quickly, and runs everywhere.
_mulhi = jax.make_jaxpr(jax.lax.mulhi)(jnp.uint32(0), jnp.uint32(0)).eqns[0].primitive
mlir.register_lowering(_mulhi, mlir.lower_fun(_high_half, multiple_results=False))
