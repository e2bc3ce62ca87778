"""A sum tree: masses are drawn from in proportion, and changed, in log₂ P steps. Schaul et al. 2016, appendix B.2.1.

One array of 2P numbers, P a power of two: the root is number 1, node i has the children 2i and 2i + 1, and the
masses are the leaves from P on. A node is always the sum of its two children as they are now, so rounding errors
do not pile up however often masses change.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int


def grow(mass: Float[Array, " n"]) -> Float[Array, " 2P"]:
    """The tree of these masses.

    >>> grow(jnp.array([1.0, 2.0, 4.0]))
    Array([0., 7., 3., 4., 1., 2., 4., 0.], dtype=float32)
    """
    levels = [jnp.pad(mass, (0, (1 << (len(mass) - 1).bit_length()) - len(mass)))]
    while len(levels[-1]) > 1:
        levels.append(levels[-1][0::2] + levels[-1][1::2])
    return jnp.concatenate([jnp.zeros_like(levels[-1]), *reversed(levels)])


def put(tree: Float[Array, " 2P"], index: Int[Array, " N"], mass: Float[Array, " N"]) -> Float[Array, " 2P"]:
    """The tree with other masses in some places; a place out of range is left out.

    >>> put(grow(jnp.array([1.0, 2.0, 4.0])), jnp.array([1]), jnp.array([0.0]))
    Array([0., 5., 1., 4., 1., 0., 4., 0.], dtype=float32)
    """
    leaves = len(tree) // 2
    node, beyond = index + leaves, index >= leaves
    tree = tree.at[node].set(mass, mode="drop")
    for _ in range(leaves.bit_length() - 1):
        node = jnp.where(beyond, len(tree), node // 2)
        tree = tree.at[node].set(tree[2 * node] + tree[2 * node + 1], mode="drop")
    return tree


def find(tree: Float[Array, " 2P"], target: Float[Array, " N"]) -> Int[Array, " N"]:
    """The leaf below which the masses sum to more than `target` for the first time; never one without mass.

    >>> find(grow(jnp.array([1.0, 2.0, 4.0])), jnp.array([0.5, 1.0, 6.9]))
    Array([0, 1, 2], dtype=int32)
    """
    leaves = len(tree) // 2
    node = jnp.ones(target.shape, jnp.int32)
    for _ in range(leaves.bit_length() - 1):
        left = tree[2 * node]
        # Rounding may leave a target at the very end of a sum: on the right there must be something.
        right = (target >= left) & (tree[2 * node + 1] > 0)
        target = jnp.where(right, target - left, target)
        node = 2 * node + right
    return node - leaves


def draw(key: Array, tree: Float[Array, " 2P"], size: int) -> Int[Array, " N"]:
    """`size` leaves in proportion to their mass, one from each of as many equal shares of the whole.

    So each is as likely as it should be, and they are spread more evenly than independent ones.
    """
    share = (jnp.arange(size) + jax.random.uniform(key, (size,))) / size
    return find(tree, share * tree[1])
