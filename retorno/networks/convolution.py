"""The convolution that every network here uses: XLA's forwards, and a gradient that is fast on a CPU.

XLA's own gradient of a convolution runs, within a compiled loop on a CPU, through loops that take ten times as long as
the same sums written otherwise: the weights' as one matrix product of all patches with dy, the input's as one more
convolution, of dy with the kernel turned round. Both are said here as the rule of a tangent, which is linear, so that
JAX transposes it whatever is vmapped; a batch stays one product. The patches, which the weights' gradient needs, then
give the outcome as well. Without a gradient it is XLA's convolution, but for kernels of few places or few channels,
which are products. A stride is taken out of the convolution first (space to depth), so that this holds with one as
well; its kernel has few places.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Shaped, UInt8

FEW = 4
"""Of kernels with so many places or fewer the patches are little, and one product with them is quicker than XLA's
convolution: three layers that read screens take 66 ms instead of 112 for 256 of them, 5.5 instead of 6.1 for 32."""
SHALLOW = 128
"""Of kernels that see so many numbers or fewer as well: XLA's convolution does not fill its products with them. The
layer that reads MinAtar's Breakout takes 41 µs instead of 222 for 32 screens, one of ten planes 82 instead of 218."""


@jax.custom_jvp
def convolve(x: Float[Array, "H W C"], kernel: Float[Array, "K L C D"]) -> Float[Array, "R S D"]:
    """The kernel's products at every place where it lies on the image: no padding, a stride of one.

    >>> convolve(jnp.arange(6.0).reshape(2, 3, 1), jnp.ones((2, 2, 1, 1)))[..., 0]
    Array([[ 8., 12.]], dtype=float32)
    """
    rows, columns, channels, outputs = kernel.shape
    if rows * columns <= FEW:
        # What is moved about is the smaller of the two: what goes in, or what comes out.
        return _by_sums(x, kernel) if outputs < channels else _by_patches(x, kernel)[0]
    return _by_patches(x, kernel)[0] if rows * columns * channels <= SHALLOW else _by_xla(x, kernel)


@convolve.defjvp
def _tangent(
    primals: tuple[Float[Array, "H W C"], Float[Array, "K L C D"]],
    tangents: tuple[Float[Array, "H W C"], Float[Array, "K L C D"]],
) -> tuple[Float[Array, "R S D"], Float[Array, "R S D"]]:
    (x, kernel), (dx, dkernel) = primals, tangents
    y, patches = _by_patches(x, kernel)
    (by_input,) = jax.linear_transpose(lambda dy: _back(dy, kernel), y)(dx)
    # Turned round behind a barrier, which the gradient passes too: then XLA copies dy to its side and not the patches,
    # of which there is eight times as much.
    turned = jax.lax.optimization_barrier(dkernel.reshape(-1, kernel.shape[-1]).T)
    return y, by_input + patches @ turned.T


def _back(dy: Float[Array, "R S D"], kernel: Float[Array, "K L C D"]) -> Float[Array, "H W C"]:
    """The gradient to the input: dy around which are zeros, and the kernel turned round."""
    rows, columns = kernel.shape[0] - 1, kernel.shape[1] - 1
    padded = jnp.pad(dy, ((rows, rows), (columns, columns), (0, 0)))
    return _by_xla(padded, kernel[::-1, ::-1].transpose(0, 1, 3, 2))


def _patches(x: Float[Array, "H W C"], shape: tuple[int, ...]) -> Float[Array, "R S KLC"]:
    """What lies under a kernel of this shape, at each of its places."""
    rows, columns = shape[:2]
    height, width = x.shape[0] - rows + 1, x.shape[1] - columns + 1
    return jnp.concatenate([x[i : i + height, j : j + width] for i in range(rows) for j in range(columns)], -1)


def _by_patches(
    x: Float[Array, "H W C"], kernel: Float[Array, "K L C D"]
) -> tuple[Float[Array, "R S D"], Float[Array, "R S KLC"]]:
    """The outcome as one product, and the patches."""
    patches = _patches(x, kernel.shape)
    return patches @ kernel.reshape(-1, kernel.shape[-1]), patches


def _by_sums(x: Float[Array, "H W C"], kernel: Float[Array, "K L C D"]) -> Float[Array, "R S D"]:
    """The outcome as one product of each place of the image with all of the kernel's, summed where they meet."""
    rows, columns, channels, _ = kernel.shape
    height, width = x.shape[0] - rows + 1, x.shape[1] - columns + 1
    products = jnp.split(x @ kernel.transpose(2, 0, 1, 3).reshape(channels, -1), rows * columns, axis=-1)
    places = np.ndindex(rows, columns)
    first, *others = (each[i : i + height, j : j + width] for each, (i, j) in zip(products, places, strict=True))
    return sum(others, first)


def _by_xla(x: Float[Array, "H W C"], kernel: Float[Array, "K L C D"]) -> Float[Array, "R S D"]:
    return jax.lax.conv_general_dilated(x[None], kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))[0]


def strided(
    x: Float[Array, "H W C"] | UInt8[Array, "H W C"],
    kernel: Float[Array, "K L C D"],
    stride: int = 1,
    pad: bool = False,
) -> Float[Array, "R S D"]:
    """A convolution with a stride, of the image itself or (`pad`) of one with zeros around it that is as large.

    With a stride s, s × s places of the image are taken as one with s² times the channels, and of the kernel alike.
    Bytes are shares of 255: they are brought into place before they become floats, which are four times as much.
    """
    rows, columns = kernel.shape[:2]
    if pad:
        x = jnp.pad(x, ((rows // 2, (rows - 1) // 2), (columns // 2, (columns - 1) // 2), (0, 0)))
    if stride == 1:
        return convolve(_as_shares(x, kernel), kernel)
    height, width = ((size - k) // stride + 1 for size, k in zip(x.shape, (rows, columns), strict=False))
    taken = tuple(-(-k // stride) for k in (rows, columns))
    filled = [(0, k * stride - size) for k, size in zip(taken, (rows, columns), strict=True)]
    kernel = _in_depth(jnp.pad(kernel, (*filled, (0, 0), (0, 0))), stride)
    needed = [(out + k - 1) * stride for out, k in zip((height, width), taken, strict=True)]
    beyond = [(0, max(0, need - size)) for need, size in zip(needed, x.shape, strict=False)]
    x = jnp.pad(x, (*beyond, (0, 0)))[: needed[0], : needed[1]]
    return convolve(_as_shares(_squares(x, stride), kernel), kernel)


def _as_shares(x: Array, kernel: Array) -> Float[Array, "H W C"]:
    return (x.astype(jnp.float32) / 255).astype(kernel.dtype) if x.dtype == jnp.uint8 else x


def _squares(x: Shaped[Array, "H W C"], stride: int) -> Shaped[Array, "R S CC"]:
    """Squares of s × s places of an image as single ones. Bytes go by fours, as one word, where channels allow it."""
    if x.dtype != jnp.uint8 or x.shape[-1] % 4:
        return _in_depth(x[..., None], stride)[..., 0]
    words = jax.lax.bitcast_convert_type(x.reshape(*x.shape[:2], -1, 4), jnp.uint32)
    placed = jax.lax.bitcast_convert_type(_in_depth(words[..., None], stride)[..., 0], jnp.uint8)
    return placed.reshape(*placed.shape[:2], -1)


def _in_depth(x: Shaped[Array, "H W C D"], stride: int) -> Shaped[Array, "R S CC D"]:
    """Squares of s × s places as single ones."""
    height, width, channels, last = x.shape
    squares = x.reshape(height // stride, stride, width // stride, stride, channels, last)
    return squares.transpose(0, 2, 1, 3, 4, 5).reshape(height // stride, width // stride, -1, last)
