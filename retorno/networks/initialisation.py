"""How weights start: drawn from a key by NumPy, on the host.

Drawn inside of a compiled program, an orthogonal matrix takes XLA a third of a second to compile, for each shape and
again in each program; NumPy draws it in less than a millisecond and compiles nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jaxtyping import Float, Key
from numpy.typing import DTypeLike

LARGE = 256


class Draws:
    """Draws the arrays of a new network, one after another: what they hold follows from the key and the order alone.

    Under `jit`, `vmap` or `lax.map` the program calls back to the host. JAX does not keep such programs in its
    compilation cache, so whoever can initialises outside of them.
    """

    def __init__(self, key: Key[Array, ""], dtype: DTypeLike = jnp.float32) -> None:
        self.dtype = jnp.dtype(dtype)
        self._key = jax.random.key_data(key)
        self._drawn = 0

    def orthogonal(self, rows: int, columns: int, gain: float = 1.0) -> Float[Array, "rows columns"]:
        """`gain` times a matrix with orthonormal rows or columns (the fewer of the two), uniform over such matrices.

        Saxe et al. 2014.
        """
        long, short = max(rows, columns), min(rows, columns)

        def draw(generator: np.random.Generator) -> np.ndarray:
            matrix = gain * orthonormal_columns(generator.standard_normal((long, short)))
            return matrix if rows == long else matrix.T

        return self._draw((rows, columns), draw)

    def uniform(self, shape: tuple[int, ...], inputs: int) -> Float[Array, "*N"]:
        """Uniform in ±1/√inputs, as PyTorch starts."""
        bound = 1 / math.sqrt(max(inputs, 1))
        return self._draw(shape, lambda generator: generator.uniform(-bound, bound, shape))

    def normal(self, shape: tuple[int, ...], deviation: float) -> Float[Array, "*N"]:
        """Normal around 0."""
        return self._draw(shape, lambda generator: deviation * generator.standard_normal(shape))

    def constant(self, shape: tuple[int, ...], value: float) -> Float[Array, "*N"]:
        """The same number everywhere."""
        return jnp.array(np.full(shape, value, self.dtype))

    def key(self) -> Key[Array, ""]:
        """For a part that draws by itself."""
        number, self._drawn = self._drawn, self._drawn + 1
        return jax.random.fold_in(jax.random.wrap_key_data(self._key), number)

    def _draw(self, shape: tuple[int, ...], draw: Callable[[np.random.Generator], np.ndarray]) -> Array:
        number, self._drawn = self._drawn, self._drawn + 1

        def on_the_host(key: Array) -> np.ndarray:
            seeds = np.random.SeedSequence([*np.asarray(key).tolist(), number])
            return draw(np.random.Generator(np.random.PCG64(seeds))).astype(self.dtype)

        if isinstance(self._key, Tracer):
            like = jax.ShapeDtypeStruct(shape, self.dtype)
            return jax.pure_callback(on_the_host, like, self._key, vmap_method="sequential")
        return jnp.array(on_the_host(self._key))


def orthonormal_columns(x: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
    """From independent normal numbers a matrix with orthonormal columns, uniform over such matrices.

    A small one is a product of Householder reflections of the columns (Stewart 1980, section 3), a large one the QR
    factorisation with a positive diagonal (Mezzadri 2007, section 5): waking LAPACK's threads costs a small matrix a
    hundred times what it gives.
    """
    long, short = x.shape
    if short > LARGE:
        q, r = np.linalg.qr(x)
        return q * np.where(np.diag(r) < 0, -1, 1)
    # Column k reflects the coordinates from k on. It sends x to −sign · |x| e_k.
    sign = np.where(np.diag(x) < 0, -1.0, 1.0)
    matrix = -np.eye(long, short) * sign
    for k in reversed(range(short)):
        v = x[k:, k].copy()
        v[0] += sign[k] * np.linalg.norm(v)
        part = matrix[k:, k:]
        part -= np.multiply.outer(v * (2 / (v @ v)), v @ part)
    return matrix
