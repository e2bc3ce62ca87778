"""How the next token of a text is drawn: from what distribution, cut where. Unbatched; `vmap` over rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from retorno.core.scalar import Scalar

CUT = -1e9
"""A logit of what is never drawn."""


def top_k(logits: Float[Array, " A"], k: Scalar) -> Float[Array, " A"]:
    """The logits of the k likeliest, and of all that are as likely as the last of them. Fan et al. 2018, section 5.

    Args:
        logits: of all actions.
        k: how many stay.

    >>> top_k(jnp.array([1.0, 3.0, 2.0, 2.0]), 2)
    Array([-1.e+09,  3.e+00,  2.e+00,  2.e+00], dtype=float32)
    """
    probs = jax.nn.softmax(logits)
    return jnp.where(probs >= _least(probs, jnp.ones_like(probs), k), logits, CUT)


def top_p(logits: Float[Array, " A"], p: Scalar) -> Float[Array, " A"]:
    """The logits of the nucleus: the likeliest, as few as have probability p together. Holtzman et al. 2020, eq. 2.

    All that are as likely as the last of them stay.

    Args:
        logits: of all actions.
        p: in [0, 1].

    >>> top_p(jnp.log(jnp.array([0.5, 0.25, 0.25])), 0.5)[1:]
    Array([-1.e+09, -1.e+09], dtype=float32)
    """
    probs = jax.nn.softmax(logits)
    return jnp.where(probs >= _least(probs, probs, p), logits, CUT)


def _least(probs: Float[Array, " A"], weights: Float[Array, " A"], target: Scalar) -> Float[Array, ""]:
    """The largest probability such that those at least as likely weigh `target` together; 0 where all weigh less.

    By bisection over the bits of a float32, which are ordered as the numbers are: 30 sums instead of a sort.
    """
    bits = jax.lax.bitcast_convert_type(probs, jnp.int32)

    def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) // 2
        enough = jnp.sum(jnp.where(bits >= middle, weights, 0.0)) >= target
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    # From 0 on all weigh enough, or all is what there is; above the largest nothing weighs.
    low, _ = jax.lax.fori_loop(0, 31, halve, (jnp.int32(0), bits.max() + 1))
    return jax.lax.bitcast_convert_type(low, jnp.float32)
