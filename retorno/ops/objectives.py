"""What is minimised: losses of one row each. Callers `vmap` and take (masked) means."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float


def huber(error: Float[Array, ""], delta: float = 1.0) -> Float[Array, ""]:
    """½ e² where |e| ≤ δ, else δ(|e| − ½ δ).  Huber 1964; δ = ∞ is half the square."""
    size = jnp.minimum(jnp.abs(error), delta)
    return size * (jnp.abs(error) - 0.5 * size)


def policy_gradient(log_prob: Float[Array, ""], advantage: Float[Array, ""]) -> Float[Array, ""]:
    """−A log π(a|s), whose gradient is the policy gradient's.  Sutton & Barto 2018, eq. 13.11."""
    return -advantage * log_prob


def clipped_policy_gradient(
    ratio: Float[Array, ""], advantage: Float[Array, ""], clip: Float[Array, ""] | float
) -> Float[Array, ""]:
    """−min(ρA, clip(ρ, 1 − ε, 1 + ε)A): PPO's objective.  Schulman et al. 2017, eq. 7."""
    return -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)


def clipped_value_error(
    value: Float[Array, ""], old_value: Float[Array, ""], target: Float[Array, ""], clip: Float[Array, ""] | float
) -> Float[Array, ""]:
    """max((v − y)², (v_clipped − y)²).  Engstrom et al. 2020, section 3, from OpenAI's baselines."""
    near = old_value + jnp.clip(value - old_value, -clip, clip)
    return jnp.maximum((value - target) ** 2, (near - target) ** 2)


def masked_mean(x: Float[Array, ...], mask: Bool[Array, ...]) -> Float[Array, ""]:
    """The mean of the entries where `mask` is true; 0 where none is."""
    return jnp.sum(jnp.where(mask, x, 0.0)) / jnp.maximum(mask.sum(), 1)


def masked_variance(x: Float[Array, ...], mask: Bool[Array, ...]) -> Float[Array, ""]:
    """The variance of the entries where `mask` is true."""
    return masked_mean((x - masked_mean(x, mask)) ** 2, mask)


def masked_standardise(x: Float[Array, ...], mask: Bool[Array, ...]) -> Float[Array, ...]:
    """(x − mean) / standard deviation over the entries where `mask` is true."""
    return (x - masked_mean(x, mask)) / (jnp.sqrt(masked_variance(x, mask)) + 1e-8)


def linear(
    start: Float[Array, ""] | float, end: Float[Array, ""] | float | None, progress: Float[Array, ""]
) -> Float[Array, ""]:
    """From `start` at progress 0 to `end` at progress 1 in a straight line; constant where `end` is None."""
    return jnp.asarray(start, jnp.float32) if end is None else start + (end - start) * progress
