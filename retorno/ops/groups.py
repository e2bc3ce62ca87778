"""Episodes that began alike, compared with each other: baselines that nothing has to learn.

What a transition belongs to is a whole episode; `episode_return` writes its return beside each of them, so that what
these functions say of an episode stands beside each of its transitions as well.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from retorno.core.scalar import Scalar
from retorno.ops.objectives import masked_mean, masked_standardise


def episode_return(reward: Float[Array, " T"], last: Bool[Array, " T"], discount: Scalar) -> Float[Array, " T"]:
    r"""The return of the whole episode to which each transition belongs.

    .. math:: R = \sum_k \gamma^k r_{k+1}

    Args:
        reward: r, paid on the way into rows 1 … T. Shape [T].
        last: whether rows 1 … T end an episode. Shape [T].
        discount: γ. Shape [].

    Returns:
        R, the same for all transitions of an episode; of one that began before row 0 or ends after row T, what is
        there of it. Shape [T].

    >>> episode_return(jnp.array([1.0, 4.0, 5.0]), jnp.array([False, True, True]), 0.5)
    Array([3., 3., 5.], dtype=float32)
    """

    def to_come(after: Array, transition: tuple[Array, Array]) -> tuple[Array, Array]:
        reward, last = transition
        here = reward + discount * jnp.where(last, 0.0, after)
        return here, here

    def from_the_start(whole: Array, transition: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, begins = transition
        here = jnp.where(begins, rest, whole)
        return here, here

    _, rest = jax.lax.scan(to_come, jnp.float32(0), (reward, last), reverse=True)
    begins = jnp.concatenate([jnp.ones(1, bool), last[:-1]])
    return jax.lax.scan(from_the_start, jnp.float32(0), (rest, begins))[1]


def group_relative_advantage(
    returns: Float[Array, "*N"], ends: Bool[Array, "*N"], scale: bool = True
) -> Float[Array, "*N"]:
    r"""How much better an episode was than those of its group, in their standard deviations (Shao et al. 2024, eq. 3).

    .. math:: \hat A_i = \frac{R_i - \text{mean}\, R}{\text{std}\, R}

    Without the scale, which weighs easy and hard questions more than others, it is that of Liu et al. 2025 (Dr. GRPO).

    Args:
        returns: R of the episode to which each transition belongs.
        ends: which transition is its last; each episode counts once.
        scale: whether to divide by the standard deviation.

    Returns:
        Â of every transition; 0 where all of the group are equal. The shape of `returns`.

    >>> group_relative_advantage(jnp.array([1.0, 1.0, 5.0, 5.0]), jnp.array([False, True, False, True]))
    Array([-1., -1.,  1.,  1.], dtype=float32)
    """
    if scale:
        return masked_standardise(returns, ends)
    return returns - masked_mean(returns, ends)


def leave_one_out_advantage(returns: Float[Array, "*N"], ends: Bool[Array, "*N"]) -> Float[Array, "*N"]:
    r"""How much better an episode was than the others of its group (Kool et al. 2019, eq. 8).

    .. math:: \hat A_i = R_i - \frac{1}{K - 1} \sum_{j \ne i} R_j

    The baseline does not depend on what was chosen in the episode, so that the policy's gradient has no bias.

    Args:
        returns: R of the episode to which each transition belongs.
        ends: which transition is its last; each episode counts once.

    Returns:
        Â of every transition; 0 where an episode has no other beside it. The shape of `returns`.

    >>> leave_one_out_advantage(jnp.array([1.0, 3.0, 5.0]), jnp.array([True, True, True]))
    Array([-3.,  0.,  3.], dtype=float32)
    """
    episodes = ends.sum()
    others = jnp.where(ends, returns, 0.0).sum() - returns
    return jnp.where(episodes > 1, returns - others / jnp.maximum(episodes - 1, 1), 0.0)


def best_of_group(returns: Float[Array, "*N"], ends: Bool[Array, "*N"]) -> Bool[Array, "*N"]:
    """Which transitions belong to an episode than which none of the group is better.

    Args:
        returns: R of the episode to which each transition belongs.
        ends: which transition is its last.

    Returns:
        The shape of `returns`; of equals all are the best.

    >>> best_of_group(jnp.array([1.0, 3.0, 3.0, 2.0]), jnp.array([True, False, True, True]))
    Array([False,  True,  True, False], dtype=bool)
    """
    return returns >= jnp.where(ends, returns, -jnp.inf).max()


def kl_estimate(log_ratio: Float[Array, ""]) -> Float[Array, ""]:
    r"""What KL(π‖π_ref) is the mean of, under π, never negative and of low variance ("k3", Schulman 2020).

    .. math:: \frac{\pi_\text{ref}(a)}{\pi(a)} - \log \frac{\pi_\text{ref}(a)}{\pi(a)} - 1

    Args:
        log_ratio: log π(a) − log π_ref(a). Shape [].

    Returns:
        Shape [].

    >>> kl_estimate(jnp.float32(0))
    Array(0., dtype=float32)
    """
    return jnp.expm1(-log_ratio) + log_ratio
