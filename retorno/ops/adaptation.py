"""How a search distribution adapts to which of its draws were best.

Hansen & Ostermeier 2001; Hansen 2016, "The CMA evolution strategy: a tutorial". In the form of Beyer & Sendhoff 2017,
"Simplify your covariance matrix adaptation evolution strategy": the square root M of the covariance is adapted itself,
so that no eigenvalues are asked for, and one path serves the step size and the covariance.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float


class Search(NamedTuple):
    """Normal draws x = m + σ M z, z ∼ N(0, I), and how they moved lately."""

    mean: Float[Array, " n"]
    """m"""
    deviation: Float[Array, ""]
    """σ"""
    matrix: Float[Array, "n n"]
    """M"""
    path: Float[Array, " n"]
    """s, an average of where the best draws lay, as z."""

    def at(self, z: Float[Array, " n"]) -> Float[Array, " n"]:
        """The draw that z makes."""
        return self.mean + self.deviation * (self.matrix @ z)


def search_from(mean: Float[Array, " n"], deviation: float | Float[Array, ""]) -> Search:
    """A search that begins at a point, alike in all directions."""
    return Search(mean, jnp.asarray(deviation, jnp.float32), jnp.eye(mean.size), jnp.zeros_like(mean))


def adapted(search: Search, z: Float[Array, "N n"], fitness: Float[Array, " N"]) -> Search:
    r"""The search after a generation of N draws. Beyer & Sendhoff 2017, figure 3; constants: Hansen 2016, table 1.

    .. math::
        d &= \textstyle\sum_i w_i z_i, \qquad m' = m + \sigma M d, \qquad
        s' = (1 - c_s) s + \sqrt{\mu_w c_s (2 - c_s)}\, d \\
        M' &= M \left( I + \tfrac{c_1}{2} (s' s'^\top - I)
            + \tfrac{c_\mu}{2} \left( \textstyle\sum_i w_i z_i z_i^\top - I \right) \right), \qquad
        \sigma' = \sigma \exp \left( \tfrac{c_s}{d_\sigma} \left( \tfrac{\|s'\|}{\chi_n} - 1 \right) \right)

    Args:
        search: which made them.
        z: what they were made of. Shape [N, n].
        fitness: of each, the larger the better. Shape [N].

    Raises:
        ValueError: when there are fewer than four draws, of which two would be the better half.
    """
    count, size = z.shape
    if count < 4:
        raise ValueError(f"a generation has at least four draws, got {count}")
    weight, mass = ranked_weights(fitness)
    path_step = (mass + 2) / (size + mass + 5)
    damping = 1 + path_step + 2 * max(0.0, np.sqrt((mass - 1) / (size + 1)) - 1)
    of_path = 2 / ((size + 1.3) ** 2 + mass)
    of_draws = min(1 - of_path, 2 * (mass - 2 + 1 / mass) / ((size + 2) ** 2 + mass))
    length = np.sqrt(size) * (1 - 1 / (4 * size) + 1 / (21 * size**2))

    moved = weight @ z
    path = (1 - path_step) * search.path + np.sqrt(mass * path_step * (2 - path_step)) * moved
    # M (I + …), by its columns: three products of n × n with vectors or with the draws, not one with a matrix.
    toward = jnp.outer(search.matrix @ path, path)
    spread = (search.matrix @ (weight[:, None] * z).T) @ z
    matrix = (1 - (of_path + of_draws) / 2) * search.matrix + of_path / 2 * toward + of_draws / 2 * spread
    grown = search.deviation * jnp.exp(path_step / damping * (jnp.linalg.norm(path) / length - 1))
    return Search(search.at(moved), grown, matrix, path)


def ranked_weights(fitness: Float[Array, " N"]) -> tuple[Float[Array, " N"], float]:
    """Weights of the better half by their ranks, which sum to 1, and μ_w, of how many the sum is as good as a mean.

    Hansen 2016, eq. 49 to 51. Of equal ones the first is taken for the better: draws are alike before they are judged,
    so who sees no difference neither grows nor shrinks.

    >>> weight, mass = ranked_weights(jnp.array([1.0, 5.0, 3.0, 1.0]))
    >>> [round(float(each), 2) for each in weight], round(mass, 2)
    ([0.0, 0.8, 0.2, 0.0], 1.46)
    """
    count = len(fitness)
    best = np.maximum(np.log(count / 2 + 0.5) - np.log(np.arange(1, count + 1)), 0)
    best /= best.sum()
    rank = jnp.argsort(jnp.argsort(-fitness))
    return jnp.asarray(best, jnp.float32)[rank], float(1 / np.square(best).sum())
