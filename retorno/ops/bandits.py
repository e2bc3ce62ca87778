"""Bandits: what one reward says of the arms. Unbatched."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from retorno.core.scalar import Scalar


def preference_gradient(
    probs: Float[Array, " A"], action: Int[Array, ""], advantage: Float[Array, ""]
) -> Float[Array, " A"]:
    r"""The gradient bandit's step (Sutton & Barto 2018, eq. 2.12).

    .. math:: g(a) = (r - \bar r) \left( \mathbb 1[a = A] - \pi(a) \right)

    Args:
        probs: π of each arm. Shape [A].
        action: A, the arm that was pulled. Shape [].
        advantage: r − r̄, how much more than usual it paid. Shape [].

    Returns:
        g, the direction of the preferences. Shape [A].

    >>> preference_gradient(jnp.array([0.25, 0.75]), jnp.int32(0), jnp.float32(2))
    Array([ 1.5, -1.5], dtype=float32)
    """
    return advantage * (jax.nn.one_hot(action, len(probs)) - probs)


def expected_preference_gradient(probs: Float[Array, " A"], means: Float[Array, " A"]) -> Float[Array, " A"]:
    r"""The gradient of the expected reward to the preferences (Sutton & Barto 2018, section 2.8).

    .. math:: \frac{\partial}{\partial H(a)} \sum_b \pi(b)\, q(b) = \pi(a) \left( q(a) - \sum_b \pi(b)\, q(b) \right)

    Args:
        probs: π of each arm. Shape [A].
        means: q of each arm. Shape [A].

    Returns:
        The gradient. Shape [A].

    >>> expected_preference_gradient(jnp.array([0.5, 0.5]), jnp.array([1.0, 3.0]))
    Array([-0.5,  0.5], dtype=float32)
    """
    return probs * (means - probs @ means)


def importance_reward(
    reward: Float[Array, ""], probability: Float[Array, ""], action: Int[Array, ""] | int, arms: int
) -> Float[Array, " A"]:
    r"""Of each arm an estimate of its reward without bias (Auer et al. 2002b, section 3).

    .. math:: \hat x(a) = \frac{x\, \mathbb 1[a = A]}{p(A)}

    Args:
        reward: x, what was paid. Shape [].
        probability: p, with which the arm was pulled. Shape [].
        action: A, the arm. Shape [].
        arms: how many there are.

    Returns:
        x̂. Shape [A].

    >>> importance_reward(jnp.float32(1), jnp.float32(0.25), jnp.int32(1), 3)
    Array([0., 4., 0.], dtype=float32)
    """
    return jax.nn.one_hot(action, arms) * reward / probability


def exponential_weights(log_weights: Float[Array, " A"], exploration: Scalar) -> Float[Array, " A"]:
    r"""The probabilities of Exp3: by exponential weights, and a share for all alike (Auer et al. 2002b, figure 1).

    .. math:: p(a) = (1 - \gamma) \frac{w(a)}{\sum_b w(b)} + \frac{\gamma}{K}

    Args:
        log_weights: log w of each arm. Shape [A].
        exploration: γ in [0, 1], the share. Shape [].

    Returns:
        p. Shape [A].

    >>> exponential_weights(jnp.log(jnp.array([1.0, 3.0])), 0.5)
    Array([0.375, 0.625], dtype=float32)
    """
    return (1 - exploration) * jax.nn.softmax(log_weights) + exploration / len(log_weights)


def upper_confidence(
    mean: Float[Array, " A"], tried: Float[Array, " A"] | Int[Array, " A"], width: Scalar
) -> Float[Array, " A"]:
    r"""How good each arm may still be (Auer et al. 2002, figure 1; Sutton & Barto 2018, eq. 2.10).

    .. math:: u(a) = \bar q(a) + c \sqrt{\frac{\ln t}{n(a)}}, \qquad t = \sum_a n(a)

    Args:
        mean: q̄ of each arm. Shape [A].
        tried: n, how often each was pulled. Shape [A].
        width: c; √2 is UCB1's, for rewards in [0, 1]. Shape [].

    Returns:
        u, infinite for what was never tried. Shape [A].

    >>> upper_confidence(jnp.array([0.5, 1.0]), jnp.array([1, 0]), 2.0)
    Array([0.5, inf], dtype=float32)
    """
    bonus = width * jnp.sqrt(jnp.log(jnp.maximum(tried.sum(), 1)) / jnp.maximum(tried, 1))
    return jnp.where(tried == 0, jnp.inf, mean + bonus)


def confidence_bound(
    x: Float[Array, " d"], mean: Float[Array, " d"], inverse: Float[Array, "d d"], width: Scalar
) -> Float[Array, ""]:
    r"""How much an arm of these features may pay (Li et al. 2010, eq. 5).

    .. math:: u = \hat\theta^\top x + \alpha \sqrt{x^\top A^{-1} x}

    Args:
        x: features. Shape [d].
        mean: θ̂. Shape [d].
        inverse: A⁻¹. Shape [d, d].
        width: α.

    Returns:
        u. Shape [].

    >>> confidence_bound(jnp.array([2.0, 0.0]), jnp.array([1.0, 5.0]), jnp.eye(2), 0.5)
    Array(3., dtype=float32)
    """
    return mean @ x + width * jnp.sqrt(jnp.maximum(x @ inverse @ x, 0.0))


def add_to_inverse(inverse: Float[Array, "d d"], x: Float[Array, " d"]) -> Float[Array, "d d"]:
    r"""The inverse after one more observation (Sherman & Morrison 1950).

    .. math:: (A + x x^\top)^{-1} = A^{-1} - \frac{A^{-1} x\, x^\top A^{-1}}{1 + x^\top A^{-1} x}

    Args:
        inverse: A⁻¹, of a symmetric A. Shape [d, d].
        x: features. Shape [d].

    Returns:
        (A + xxᵀ)⁻¹. Shape [d, d].

    >>> add_to_inverse(jnp.eye(2), jnp.array([1.0, 0.0]))
    Array([[0.5, 0. ],
           [0. , 1. ]], dtype=float32)
    """
    moved = inverse @ x
    return inverse - jnp.outer(moved, moved) / (1 + x @ moved)
