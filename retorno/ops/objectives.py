"""What is minimised: losses of one row each. Callers `vmap` and take (masked) means."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from retorno.core.scalar import Scalar


def huber(error: Float[Array, "*N"], delta: Scalar = 1.0) -> Float[Array, "*N"]:
    r"""Half the square of a small error, and linear beyond (Huber 1964).

    .. math:: L(e) = \tfrac12 e^2 \text{ where } |e| \le \delta,
              \text{ else } \delta \left( |e| - \tfrac12 \delta \right)

    Args:
        error: e, of any shape.
        delta: δ, positive; infinite for half the square.

    Returns:
        L. Of the same shape.

    >>> huber(jnp.float32(0.5)), huber(jnp.float32(-3))
    (Array(0.125, dtype=float32), Array(2.5, dtype=float32))
    """
    size = jnp.minimum(jnp.abs(error), delta)
    return size * (jnp.abs(error) - 0.5 * size)


def expectile_loss(error: Float[Array, "*N"], expectile: Scalar) -> Float[Array, "*N"]:
    r"""A square that weighs errors of either sign otherwise: its minimum is an expectile (Newey & Powell 1987).

    .. math:: L(u) = |\tau - 1\{u < 0\}|\, u^2

    Args:
        error: u, of any shape.
        expectile: τ in [0, 1]; ½ for half the square, whose minimum is the mean.

    Returns:
        L, of the same shape.

    >>> expectile_loss(jnp.array([2.0, -2.0]), 0.75)
    Array([3., 1.], dtype=float32)
    """
    return jnp.abs(expectile - (error < 0)) * jnp.square(error)


def policy_gradient(log_prob: Float[Array, ""], advantage: Float[Array, ""]) -> Float[Array, ""]:
    r"""What has the policy gradient for its gradient (Sutton & Barto 2018, eq. 13.11).

    .. math:: L = -\hat A \log \pi(a \mid s)

    Args:
        log_prob: log π of the action. Shape [].
        advantage: Â, how much better it was than usual. Shape [].

    Returns:
        L, to be minimised. Shape [].

    >>> policy_gradient(jnp.float32(-1), jnp.float32(3))
    Array(3., dtype=float32)
    """
    return -advantage * log_prob


def clipped_policy_gradient(ratio: Scalar, advantage: Scalar, clip: Scalar) -> Float[Array, ""]:
    r"""PPO's objective (Schulman et al. 2017, eq. 7).

    .. math:: L = -\min \left( \rho \hat A,\ \text{clip}(\rho, 1 - \epsilon, 1 + \epsilon)\, \hat A \right)

    Args:
        ratio: ρ, π over the policy that acted. Shape [].
        advantage: Â, how much better the action was than usual. Shape [].
        clip: ε: beyond it nothing more is gained. Shape [].

    Returns:
        L, to be minimised. Shape [].

    >>> clipped_policy_gradient(jnp.float32(2), jnp.float32(1), 0.25)
    Array(-1.25, dtype=float32)
    """
    return -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)


def dual_clipped_policy_gradient(ratio: Scalar, advantage: Scalar, clip: Scalar, most: Scalar) -> Float[Array, ""]:
    r"""PPO's objective, whose loss of a bad action that became much likelier has a bound (Ye et al. 2020, eq. 5).

    .. math:: L = \min(L^{\text{clip}},\ -c \hat A) \text{ where } \hat A < 0,\ \text{else } L^{\text{clip}}

    Args:
        ratio: ρ, π over the policy that acted. Shape [].
        advantage: Â, how much better the action was than usual. Shape [].
        clip: ε: beyond it nothing more is gained. Shape [].
        most: c > 1, how much more than usual a bad action may weigh. Shape [].

    Returns:
        L, to be minimised. Shape [].

    >>> dual_clipped_policy_gradient(jnp.float32(9), jnp.float32(-1), 0.25, 3.0)
    Array(3., dtype=float32)
    """
    loss = clipped_policy_gradient(ratio, advantage, clip)
    return jnp.where(advantage < 0, jnp.minimum(loss, -most * advantage), loss)


def clipped_value_error(value: Scalar, old_value: Scalar, target: Scalar, clip: Scalar) -> Float[Array, ""]:
    r"""The square of a value's error, which does not fall for steps beyond the clip (Engstrom et al. 2020, section 3).

    .. math:: L = \max \left( (v - y)^2,\ (v_0 + \text{clip}(v - v_0, -\epsilon, \epsilon) - y)^2 \right)

    From OpenAI's baselines.

    Args:
        value: v. Shape [].
        old_value: v₀, as it was when the rows were lived. Shape [].
        target: y. Shape [].
        clip: ε; infinite for the square alone. Shape [].

    Returns:
        L, to be minimised. Shape [].

    >>> clipped_value_error(jnp.float32(3), jnp.float32(1), jnp.float32(3), 0.5)
    Array(2.25, dtype=float32)
    """
    near = old_value + jnp.clip(value - old_value, -clip, clip)
    return jnp.maximum((value - target) ** 2, (near - target) ** 2)


def least(judged: Float[Array, "K ..."]) -> Float[Array, "*A"]:
    """The least of K judgements, with the gradient of that one.

    `jnp.min` asks for its gradient which of them *equals* the least. Where XLA computes them twice and rounds
    otherwise, none does, and zero is divided by zero.

    Args:
        judged: what each says. Shape [K, …].

    Returns:
        The least of them; of several alike the first. Shape […].

    >>> least(jnp.array([[1.0, 5.0], [2.0, 4.0]]))
    Array([1., 4.], dtype=float32)
    """
    chosen = jnp.argmin(judged, 0) == jnp.arange(len(judged)).reshape(-1, *[1] * (judged.ndim - 1))
    return jnp.where(chosen, judged, 0.0).sum(0)


def masked_mean(
    x: Float[Array, "*N"], mask: Bool[Array, "*N"], whole: Bool[Array, "*M"] | None = None
) -> Float[Array, ""]:
    r"""The mean of the entries where `mask` is true.

    .. math:: \bar x = \frac{\sum_i m_i x_i}{\max(\sum_i m_i, 1)}

    Args:
        x: of any shape.
        mask: m, of the same shape.
        whole: the mask of all, where these are a part: then it is their share, and the mean what all parts add up to.

    Returns:
        x̄, 0 where no entry counts. Shape [].

    >>> masked_mean(jnp.array([1.0, 3.0, 99.0]), jnp.array([True, True, False]))
    Array(2., dtype=float32)
    """
    return jnp.sum(jnp.where(mask, x, 0.0)) / jnp.maximum((mask if whole is None else whole).sum(), 1)


def masked_variance(x: Float[Array, "*N"], mask: Bool[Array, "*N"]) -> Float[Array, ""]:
    r"""The variance of the entries where `mask` is true.

    .. math:: \frac{\sum_i m_i (x_i - \bar x)^2}{\max(\sum_i m_i, 1)}

    Args:
        x: of any shape.
        mask: m, of the same shape.

    Returns:
        The variance, 0 where no entry counts. Shape [].

    >>> masked_variance(jnp.array([1.0, 3.0, 99.0]), jnp.array([True, True, False]))
    Array(1., dtype=float32)
    """
    return masked_mean((x - masked_mean(x, mask)) ** 2, mask)


def masked_standardise(
    x: Float[Array, "*N"],
    mask: Bool[Array, "*N"],
    whole: tuple[Float[Array, "*M"], Bool[Array, "*M"]] | None = None,
) -> Float[Array, "*N"]:
    r"""All entries, moved and scaled so that those where `mask` is true have mean 0 and standard deviation 1.

    .. math:: \frac{x - \bar x}{\sqrt{\text{Var}\, x} + 10^{-8}}

    Args:
        x: of any shape.
        mask: of the same shape.
        whole: all entries and their mask, where these are a part: they are moved and scaled as all are.

    Returns:
        Of the same shape.

    >>> masked_standardise(jnp.array([1.0, 3.0]), jnp.array([True, True]))
    Array([-1.,  1.], dtype=float32)
    """
    every, counted = (x, mask) if whole is None else whole
    return (x - masked_mean(every, counted)) / (jnp.sqrt(masked_variance(every, counted)) + 1e-8)


def linear(start: Scalar, end: Scalar | None, progress: Float[Array, ""]) -> Float[Array, ""]:
    r"""A number that goes in a straight line over a run.

    .. math:: x(p) = x_0 + (x_1 - x_0)\, p

    Args:
        start: x₀. Shape [].
        end: x₁; None to stay at x₀. Shape [].
        progress: p in [0, 1], the share of the run that is over. Shape [].

    Returns:
        x. Shape [].

    >>> linear(1.0, 0.0, jnp.float32(0.25)), linear(1.0, None, jnp.float32(0.25))
    (Array(0.75, dtype=float32), Array(1., dtype=float32))
    """
    return jnp.asarray(start, jnp.float32) if end is None else start + (end - start) * progress
