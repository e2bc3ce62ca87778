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
from jax import Array
from jaxtyping import Float

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
    """Z ← γλ z + ∇q.  Sutton & Barto 2018, eq. 12.5."""
    return jax.tree.map(lambda z, g: z + g, faded, gradient)


def replacing(faded: Weights, gradient: Weights) -> Weights:
    """Z ← ∇q where that is not 0, else γλ z.  Singh & Sutton 1996; Sutton & Barto 2018, eq. 12.12."""
    return jax.tree.map(lambda z, g: jnp.where(g != 0, g, z), faded, gradient)


def clearing(faded: Weights, gradient: Weights, others: Weights) -> Weights:
    """Replacing, and what the state's other actions left is forgotten.  Singh & Sutton 1996, section 3.4.

    Args:
        faded: γλ z
        gradient: ∇q(s, a)
        others: ∇ Σₐ q(s, a), over all actions of the state.
    """
    return jax.tree.map(lambda z, g, o: jnp.where(o != 0, g, z), faded, gradient, others)


def dutch(faded: Weights, gradient: Weights, step_size: Float[Array, ""] | float) -> Weights:
    """Z ← γλ z + (1 − α γλ zᵀ∇q) ∇q.  van Seijen et al. 2016; Sutton & Barto 2018, eq. 12.11."""
    overlap = sum(
        (jnp.vdot(z, g) for z, g in zip(jax.tree.leaves(faded), jax.tree.leaves(gradient), strict=True)),
        jnp.float32(0),
    )
    return jax.tree.map(lambda z, g: z + (1 - step_size * overlap) * g, faded, gradient)
