"""A sum tree: masses are drawn from in proportion, and changed, in a few steps. Schaul et al. 2016, appendix B.2.1.

Level 0 are the masses; each number of a level above is the sum of `FAN` numbers of the level below as they are now, so
rounding errors do not pile up however often masses change. What we do differently: theirs is binary. With a larger fan
there are fewer levels, and what a compiled program pays for is the number of levels.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Key

FAN = 8


class SumTree(eqx.Module):
    """Masses and their sums."""

    levels: tuple[Float[Array, " P"], ...]
    """The masses first. Each level is filled up with zeros to a multiple of `FAN`, the last one to `FAN`."""

    @classmethod
    def grow(cls, mass: Float[Array, " n"]) -> SumTree:
        """The tree of these masses.

        >>> [level[:2].tolist() for level in SumTree.grow(jnp.ones(20)).levels]
        [[1.0, 1.0], [8.0, 8.0]]
        """
        levels = [_filled(mass)]
        while len(levels[-1]) > FAN:
            levels.append(_filled(levels[-1].reshape(-1, FAN).sum(-1)))
        return cls(tuple(levels))

    @property
    def total(self) -> Float[Array, ""]:
        """The sum of all masses."""
        return self.levels[-1].sum()

    def put(self, index: Int[Array, " N"], mass: Float[Array, " N"]) -> SumTree:
        """The tree with other masses in some places; a place out of range is left out.

        >>> SumTree.grow(jnp.array([1.0, 2.0, 4.0])).put(jnp.array([1]), jnp.array([0.0])).total
        Array(5., dtype=float32)
        """
        within = index < len(self.levels[0])
        levels = [self.levels[0].at[_only(within, index)].set(mass, mode="drop")]
        for above in self.levels[1:]:
            index = index // FAN
            sums = levels[-1].reshape(-1, FAN)[index].sum(-1)
            levels.append(above.at[_only(within, index)].set(sums, mode="drop"))
        return SumTree(tuple(levels))

    def find(self, target: Float[Array, " N"]) -> tuple[Int[Array, " N"], Float[Array, " N"]]:
        """Where the masses up to and with it sum to more than `target` for the first time, and the mass there.

        It is never a place without mass, unless there is none.

        >>> SumTree.grow(jnp.array([1.0, 2.0, 4.0])).find(jnp.array([0.5, 1.0, 6.9]))[0]
        Array([0, 1, 2], dtype=int32)
        """
        index, mass, places = jnp.zeros(target.shape, jnp.int32), target, jnp.arange(FAN)
        for level in reversed(self.levels):
            each = level.reshape(-1, FAN)[index]
            upto = jnp.dot(each, jnp.triu(jnp.ones((FAN, FAN), each.dtype)), precision="highest")
            # Minima of places, as XLA is slower at looking for the first that is true.
            child = jnp.where((each > 0) & (upto > target[:, None]), places, FAN).min(-1)
            # Rounding may leave a target at the very end of a sum: then it is the last one with mass.
            child = jnp.where(child < FAN, child, jnp.where(each > 0, places, 0).max(-1))
            index = index * FAN + child
            mass = level[index]
            target = jnp.maximum(target - jnp.where(places < child[:, None], each, 0.0).sum(-1), 0.0)
        # All is read now, before anything is changed: else XLA keeps a copy of the whole tree for it.
        return jax.lax.optimization_barrier((index, mass))

    def draw(self, key: Key[Array, ""], size: int) -> tuple[Int[Array, " N"], Float[Array, " N"]]:
        """`size` places in proportion to their mass, one from each of as many equal shares of the whole; their masses.

        So each is as likely as it should be, and they are spread more evenly than independent ones.
        """
        share = (jnp.arange(size) + jax.random.uniform(key, (size,))) / size
        return self.find(share * self.total)


def _filled(level: Float[Array, " n"]) -> Float[Array, " P"]:
    return jnp.pad(level, (0, -len(level) % FAN))


def _only(within: Bool[Array, " N"], index: Int[Array, " N"]) -> Int[Array, " N"]:
    """The index, or one that is out of range everywhere."""
    return jnp.where(within, index, jnp.iinfo(jnp.int32).max)
