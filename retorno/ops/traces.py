"""Eligibility traces: what was done lately, and by how much it is still to be credited.

A trace z has the shape of the parameters, a pytree, so that a table and a linear network share the
equations; it comes in already faded, γλ z, and `gradient` is ∇q(s, a). Over features that are 0 or 1
(a table is the simplest case) all four are the textbooks' own.
"""

from __future__ import annotations

import enum
from typing import TypeVar

import jax
import jax.numpy as jnp

from retorno.core.scalar import Scalar

Weights = TypeVar("Weights")


class Trace(enum.Enum):
    """How a trace grows where it is visited."""

    accumulating = "accumulating"
    """By the gradient, on top of what is left."""
    replacing = "replacing"
    """To the gradient, whatever is left."""
    clearing = "clearing"
    """To the gradient, and to nothing for the state's other actions."""
    dutch = "dutch"
    """Between the two, as the step size says: the true online method."""


def accumulating(faded: Weights, gradient: Weights) -> Weights:
    r"""A trace that grows by the gradient, on top of what is left (Sutton & Barto 2018, eq. 12.5).

    .. math:: z_t = \gamma_t \lambda\, z_{t-1} + \nabla q(s_t, a_t)

    Args:
        faded: γλ z, shaped like the parameters; in a game of two γ is negative where the opponent moved.
        gradient: ∇q of row t, shaped like the parameters.

    Returns:
        z, shaped like the parameters.

    >>> accumulating(jnp.array([0.5, 0.25]), jnp.array([1.0, 0.0]))
    Array([1.5 , 0.25], dtype=float32)
    """
    return jax.tree.map(lambda z, g: z + g, faded, gradient)


def replacing(faded: Weights, gradient: Weights) -> Weights:
    r"""A trace that becomes the gradient where that is not 0 (Singh & Sutton 1996; Sutton & Barto 2018, eq. 12.12).

    .. math:: z_{t,i} = \nabla_i q(s_t, a_t) \text{ where that is not } 0, \text{ else } \gamma_t \lambda\, z_{t-1,i}

    Args:
        faded: γλ z, shaped like the parameters.
        gradient: ∇q of row t, shaped like the parameters.

    Returns:
        z, shaped like the parameters.

    >>> replacing(jnp.array([0.5, 0.25]), jnp.array([1.0, 0.0]))
    Array([1.  , 0.25], dtype=float32)
    """
    return jax.tree.map(lambda z, g: jnp.where(g != 0, g, z), faded, gradient)


def clearing(faded: Weights, gradient: Weights, others: Weights) -> Weights:
    r"""Replacing, and what the state's other actions left is forgotten (Singh & Sutton 1996, section 3.4).

    .. math:: z_{t,i} = \nabla_i q(s_t, a_t) \text{ where } \nabla_i \textstyle\sum_a q(s_t, a) \ne 0,
              \text{ else } \gamma_t \lambda\, z_{t-1,i}

    Args:
        faded: γλ z, shaped like the parameters.
        gradient: ∇q of row t, shaped like the parameters.
        others: ∇ Σₐ q of row t, over all actions of the state, shaped like the parameters.

    Returns:
        z, shaped like the parameters.

    >>> clearing(jnp.array([0.5, 0.25]), jnp.array([1.0, 0.0]), jnp.array([1.0, 1.0]))
    Array([1., 0.], dtype=float32)
    """
    return jax.tree.map(lambda z, g, o: jnp.where(o != 0, g, z), faded, gradient, others)


def dutch(faded: Weights, gradient: Weights, step_size: Scalar) -> Weights:
    r"""A trace between the two: the true online one (van Seijen et al. 2016; Sutton & Barto 2018, eq. 12.11).

    .. math:: z_t = \gamma_t \lambda\, z_{t-1}
              + \left( 1 - \alpha \gamma_t \lambda\, z_{t-1}^\top \nabla q \right) \nabla q

    Args:
        faded: γλ z, shaped like the parameters.
        gradient: ∇q of row t, shaped like the parameters.
        step_size: α. Shape [].

    Returns:
        z, shaped like the parameters.

    >>> dutch(jnp.array([0.5, 0.25]), jnp.array([1.0, 0.0]), 0.5)
    Array([1.25, 0.25], dtype=float32)
    """
    overlap = sum(
        (jnp.vdot(z, g) for z, g in zip(jax.tree.leaves(faded), jax.tree.leaves(gradient), strict=True)),
        jnp.float32(0),
    )
    return jax.tree.map(lambda z, g: z + (1 - step_size * overlap) * g, faded, gradient)
