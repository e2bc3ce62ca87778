"""Backups over a whole tabular model, and sweeps of them. S states, A actions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from retorno.core.scalar import Scalar


def expected_backup(
    reward: Float[Array, "*N"], onward: Float[Array, "*N S"], discount: Scalar, value: Float[Array, " S"]
) -> Float[Array, "*N"]:
    r"""What actions are worth by a model (Sutton & Barto 2018, eq. 4.10 without its maximum).

    .. math:: q(s, a) = r(s, a) + \gamma \sum_{s'} p(s' \mid s, a)\, v(s')

    A sum rather than a product of matrices: it is rounded alike for one seed and for many.

    Args:
        reward: r(s, a), the mean. Shape [...].
        onward: p without the share of what terminates, and negative where an opponent moves next. Shape [..., S].
        discount: γ in [0, 1].
        value: v of each state, for whoever moves there. Shape [S].

    Returns:
        q. Shape [...].

    >>> expected_backup(jnp.float32(1), jnp.array([0.5, 0.25]), 0.5, jnp.array([2.0, 4.0]))
    Array(2., dtype=float32)
    """
    return reward + discount * (onward * value).sum(-1)


def best_value(q: Float[Array, "*N A"], legal: Bool[Array, "*N A"] | None) -> Float[Array, "*N"]:
    r"""What states are worth to who takes the best legal action (Sutton & Barto 2018, eq. 3.18).

    .. math:: v(s) = \max_a q(s, a), \text{ or } 0 \text{ where nothing is legal}

    Args:
        q: of each action. Shape [..., A].
        legal: which may be taken; None for all. Shape [..., A].

    Returns:
        v. Shape [...].

    >>> best_value(jnp.array([[1.0, 5.0], [2.0, 3.0]]), jnp.array([[True, False], [False, False]]))
    Array([1., 0.], dtype=float32)
    """
    best = jnp.max(q, axis=-1, where=legal, initial=-jnp.inf)
    return jnp.where(jnp.isfinite(best), best, 0.0)


def value_iteration(
    q: Float[Array, "S A"],
    reward: Float[Array, "S A"],
    onward: Float[Array, "S A S"],
    known: Bool[Array, "S A"],
    legal: Bool[Array, "S A"] | None,
    discount: Scalar,
    sweeps: int,
) -> Float[Array, "S A"]:
    r"""Sweeps of value iteration over the known pairs; the others keep their values (Sutton & Barto 2018, section 4.4).

    .. math:: q(s, a) \leftarrow r(s, a) + \gamma \sum_{s'} p(s' \mid s, a) \max_{a'} q(s', a')

    Args:
        q: where the sweeps begin. Shape [S, A].
        reward: r(s, a), the mean. Shape [S, A].
        onward: p without the share of what terminates, and negative where an opponent moves next. Shape [S, A, S].
        known: which pairs are backed up. Shape [S, A].
        legal: which actions may be taken; None for all. Shape [S, A].
        discount: γ in [0, 1].
        sweeps: how many.

    Returns:
        q after them. Shape [S, A].

    >>> stay, known = jnp.ones((1, 1, 1)), jnp.ones((1, 1), bool)
    >>> value_iteration(jnp.zeros((1, 1)), jnp.ones((1, 1)), stay, known, None, 0.5, sweeps=3)
    Array([[1.75]], dtype=float32)
    """

    def sweep(_: Int[Array, ""], q: Float[Array, "S A"]) -> Float[Array, "S A"]:
        return jnp.where(known, expected_backup(reward, onward, discount, best_value(q, legal)), q)

    return jax.lax.fori_loop(0, sweeps, sweep, q)
