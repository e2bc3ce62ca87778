"""Backups over a whole tabular model, and sweeps of them. S states, A actions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int


def expected_backup(
    reward: Float[Array, ...], onward: Float[Array, "... S"], discount: float, value: Float[Array, " S"]
) -> Float[Array, ...]:
    """q(s, a) = r(s, a) + γ Σ p(s′|s, a) v(s′).  Sutton & Barto 2018, eq. 4.10 without its maximum.

    `onward` is p without the share of what terminates, and negative where the opponent moves next. A sum rather than
    a product of matrices: it is rounded alike for one seed and for many.
    """
    return reward + discount * (onward * value).sum(-1)


def best_value(q: Float[Array, "... A"], legal: Bool[Array, "... A"] | None) -> Float[Array, ...]:
    """v(s) = maxₐ q(s, a) over legal actions; 0 where there is none.  Sutton & Barto 2018, eq. 3.18."""
    best = jnp.max(q, axis=-1, where=legal, initial=-jnp.inf)
    return jnp.where(jnp.isfinite(best), best, 0.0)


def value_iteration(
    q: Float[Array, "S A"],
    reward: Float[Array, "S A"],
    onward: Float[Array, "S A S"],
    known: Bool[Array, "S A"],
    legal: Bool[Array, "S A"] | None,
    discount: float,
    sweeps: int,
) -> Float[Array, "S A"]:
    """Sweeps over the known pairs; the others keep their values.  Sutton & Barto 2018, section 4.4."""

    def sweep(_: Int[Array, ""], q: Float[Array, "S A"]) -> Float[Array, "S A"]:
        return jnp.where(known, expected_backup(reward, onward, discount, best_value(q, legal)), q)

    return jax.lax.fori_loop(0, sweeps, sweep, q)
