"""How new a place is, by how far those lie where one was."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def particle_entropy(x: Float[Array, " D"], known: Float[Array, "N D"], neighbour: int) -> Float[Array, ""]:
    r"""What a place adds to the entropy of those that are visited, estimated from particles (Liu & Abbeel 2021, eq. 4).

    .. math:: \log \left( 1 + \lVert x - x^{(k)} \rVert \right)

    The one in the logarithm keeps it finite where one was already.

    Args:
        x: a place. Shape [D].
        known: places. Shape [N, D].
        neighbour: k: the distance is that to the k-th nearest of them.

    Returns:
        Shape [].

    >>> known = jnp.array([[0.0], [1.0], [3.0]])
    >>> jnp.exp(particle_entropy(jnp.array([2.0]), known, 2)), jnp.exp(particle_entropy(known[2], known, 1))
    (Array(2., dtype=float32), Array(1., dtype=float32))
    """
    square = jnp.sum(jnp.square(known - x), axis=1)
    nearest = -jax.lax.top_k(-square, neighbour)[0]
    return jnp.log1p(jnp.sqrt(nearest[-1]))
