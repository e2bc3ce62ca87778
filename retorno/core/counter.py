"""Counts that do not end, sums that do not stall: JAX has neither 64-bit integers nor 64-bit floats by default.

So two words of 32 bits make one count, and two floats one sum: float32 alone ends at 2²⁴ ones, since one more is
rounded away.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Integer, UInt32

WORD = 2**32
SPREAD = np.uint32(0x9E3779B9)
"""The golden ratio's 32 bits (Knuth 1998, section 6.4): multiples of it lie far apart."""

Count = int | Integer[Array, "*N"] | Bool[Array, "*N"]
"""How many more; what is true counts as one."""


class Counter(NamedTuple):
    """high · 2³² + low: one count, or an array of them."""

    low: UInt32[Array, "*S"]
    high: UInt32[Array, "*S"]

    @classmethod
    def of(cls, count: int | Integer[Array, ""] | Counter) -> Counter:
        """The counter that stands at `count`, which is not negative."""
        if isinstance(count, cls):
            return count
        if isinstance(count, int | np.integer):
            high, low = divmod(int(count), WORD)
            return cls(np.uint32(low), np.uint32(high))  # type: ignore[arg-type]
        low = jnp.asarray(count).astype(jnp.uint32)
        return cls(low, jnp.zeros_like(low))

    @classmethod
    def zeros(cls, *shape: int) -> Counter:
        """Many that stand at 0."""
        return cls(jnp.zeros(shape, jnp.uint32), jnp.zeros(shape, jnp.uint32))

    def at(self, place: Any) -> Counter:
        """Those in some places."""
        return type(self)(self.low[place], self.high[place])

    def plus_at(self, place: Any, more: Count) -> Counter:
        """After `more` in some places, which may repeat: in each fewer than 2³² together."""
        before, more = self.low[place], jnp.asarray(more).astype(jnp.uint32)
        low = self.low.at[place].add(more)
        if before.size == 1:
            # What was there before is not looked at: to keep it would copy the whole array.
            return type(self)(low, self.high.at[place].add((low[place] < more).astype(jnp.uint32)))
        return type(self)(low, self.high.at[place].set(self.high[place] + (low[place] < before)))

    def plus(self, more: Count) -> Counter:
        """After `more` of them, fewer than 2³²."""
        low = self.low + jnp.asarray(more).astype(jnp.uint32)
        return type(self)(low, self.high + (low < self.low))

    def reaches(self, count: int) -> Bool[Array, ""]:
        """Whether there are at least `count`."""
        high, low = divmod(count, WORD)
        return (self.high > high) | ((self.high == high) & (self.low >= np.uint32(low)))

    @property
    def size(self) -> Float[Array, "*S"]:
        """The count, rounded."""
        return self.high.astype(jnp.float32) * float(WORD) + self.low.astype(jnp.float32)

    def mixed(self, seed: Any) -> Any:
        """A seed [] (uint32) that is another one in each 2³² counts, and the same in the first."""
        return seed ^ (jnp.asarray(self.high) * SPREAD)

    def __int__(self) -> int:
        return int(self.high) * WORD + int(self.low)


def counts(counter: Counter) -> np.ndarray | np.int64:
    """The exact counts of a counter, read to the host: int64, of any shape."""
    low, high = (np.asarray(word).astype(np.int64) for word in counter)
    return high * WORD + low


class Countdown(NamedTuple):
    """How many steps are left until the next multiple of a period: nothing has to be divided on the way."""

    left: Int[Array, ""]

    @classmethod
    def start(cls, period: int) -> Countdown:
        """Before the first step of the first period."""
        return cls(jnp.int32(period))

    def advance(self, steps: Integer[Array, ""], period: int) -> tuple[Bool[Array, ""], Countdown]:
        """After `steps` more: whether a multiple of the period was reached or passed, and what is left."""
        left = self.left - steps
        return left <= 0, type(self)(jnp.where(left <= 0, period - (-left) % period, left))


class Total(NamedTuple):
    """A sum of many numbers, or an array of them: what a float32 holds of it, and what that leaves out.

    Whole numbers are exact up to 2⁴⁸ (Knuth 1998, section 4.2.2, theorem B: what a sum was rounded by is a float).
    """

    rounded: Float[Array, "*S"]
    rest: Float[Array, "*S"]

    @classmethod
    def zeros(cls, *shape: int) -> Total:
        """Many that stand at 0."""
        return cls(jnp.zeros(shape), jnp.zeros(shape))

    @property
    def value(self) -> Float[Array, "*S"]:
        """The sum, rounded."""
        return self.rounded + self.rest

    def at(self, place: Any) -> Float[Array, "*N"]:
        """The sums in some places, rounded: without a look at the others."""
        return self.rounded[place] + self.rest[place]

    def plus_at(self, place: Any, more: Float[Array, "*N"]) -> Total:
        """After `more` in some places, which may repeat."""
        rest = self.rest.at[place].add(more)
        a, b = self.rounded[place], rest[place]
        rounded = a + b
        of_b = rounded - a
        left = (a - (rounded - of_b)) + (b - of_b)
        return type(self)(self.rounded.at[place].set(rounded), rest.at[place].set(left))


class FixedTotal(NamedTuple):
    """A sum of many numbers in [−1, 1], or an array of them: whole multiples of 2⁻²⁴ in two words, below 2³⁹.

    Adding looks only at what is there afterwards, so a large array is changed in place; a `Total` would be copied.
    """

    low: UInt32[Array, "*S"]
    high: UInt32[Array, "*S"]

    @classmethod
    def zeros(cls, *shape: int) -> FixedTotal:
        """Many that stand at 0."""
        return cls(jnp.zeros(shape, jnp.uint32), jnp.zeros(shape, jnp.uint32))

    @property
    def value(self) -> Float[Array, "*S"]:
        """The sum, rounded."""
        negative = self.high >> 31 == 1
        low = jnp.where(negative, ~self.low + 1, self.low)
        high = jnp.where(negative, ~self.high + (self.low == 0), self.high)
        size = high.astype(jnp.float32) * 2.0**8 + low.astype(jnp.float32) * 2.0**-24
        return jnp.where(negative, -size, size)

    def at(self, place: Any) -> Float[Array, "*N"]:
        """The sums in some places, rounded: without a look at the others."""
        return type(self)(self.low[place], self.high[place]).value

    def plus_at(self, place: tuple[Int[Array, " N"], ...], more: Float[Array, " N"]) -> FixedTotal:
        """After `more` in some places, which may repeat: one after another."""
        change = jnp.round(more * 2.0**24).astype(jnp.int32)

        def add(n: Int[Array, ""], total: FixedTotal) -> FixedTotal:
            where, low = tuple(each[n] for each in place), change[n].astype(jnp.uint32)
            after = total.low.at[where].add(low)
            carried = (after[where] < low).astype(jnp.uint32) - (change[n] < 0).astype(jnp.uint32)
            return FixedTotal(after, total.high.at[where].add(carried))

        return jax.lax.fori_loop(0, len(change), add, self)
