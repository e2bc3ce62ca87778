"""Bandits: what one reward says of the arms. Unbatched."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int


def preference_gradient(
    probs: Float[Array, " A"], action: Int[Array, ""], advantage: Float[Array, ""]
) -> Float[Array, " A"]:
    """(R − R̄)(1[a = A] − π(a)), the gradient bandit's step.  Sutton & Barto 2018, eq. 2.12."""
    return advantage * (jax.nn.one_hot(action, len(probs)) - probs)


def expected_preference_gradient(probs: Float[Array, " A"], means: Float[Array, " A"]) -> Float[Array, " A"]:
    """∂/∂H(a) Σ π(b) q(b) = π(a)(q(a) − Σ π(b) q(b)).  Sutton & Barto 2018, section 2.8."""
    return probs * (means - probs @ means)


def importance_reward(
    reward: Float[Array, ""], probability: Float[Array, ""], action: Int[Array, ""], arms: int
) -> Float[Array, " A"]:
    """x̂(a) = x 1[a = A]/p(A): of each arm an estimate without bias.  Auer et al. 2002b, section 3."""
    return jax.nn.one_hot(action, arms) * reward / probability


def exponential_weights(log_weights: Float[Array, " A"], exploration: Float[Array, ""] | float) -> Float[Array, " A"]:
    """p(a) = (1 − γ) w(a)/Σw + γ/K.  Auer et al. 2002b, figure 1."""
    return (1 - exploration) * jax.nn.softmax(log_weights) + exploration / len(log_weights)


def upper_confidence(
    mean: Float[Array, " A"], tried: Float[Array, " A"] | Int[Array, " A"], width: Float[Array, ""] | float
) -> Float[Array, " A"]:
    """q(a) + c √(ln t / n(a)) with t = Σ n(a), infinite for what was never tried.  Auer et al. 2002, figure 1.

    UCB1 has c = √2, for rewards in [0, 1]; Sutton & Barto 2018, eq. 2.10.
    """
    bonus = width * jnp.sqrt(jnp.log(jnp.maximum(tried.sum(), 1)) / jnp.maximum(tried, 1))
    return jnp.where(tried == 0, jnp.inf, mean + bonus)


def confidence_bound(
    x: Float[Array, " d"], mean: Float[Array, " d"], inverse: Float[Array, "d d"], width: float
) -> Float[Array, ""]:
    """θ̂·x + α √(xᵀ A⁻¹ x).  Li et al. 2010, eq. 5."""
    return mean @ x + width * jnp.sqrt(jnp.maximum(x @ inverse @ x, 0.0))


def add_to_inverse(inverse: Float[Array, "d d"], x: Float[Array, " d"]) -> Float[Array, "d d"]:
    """(A + xxᵀ)⁻¹ from A⁻¹.  Sherman & Morrison 1950."""
    moved = inverse @ x
    return inverse - jnp.outer(moved, moved) / (1 + x @ moved)
