"""The convolution against XLA's, with its gradients, and what a residual network sees of a board."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.core.spaces import Record, SpaceError
from retorno.networks import CategoricalHead, Residual, ValueHead
from retorno.networks.convolution import strided
from retorno.networks.residual import planes

KEY = jax.random.key(0)


def some(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize(
    ("image", "kernel", "stride", "pad"),
    [
        ((5, 6, 3), (3, 3), 1, True),
        ((4, 5, 2), (2, 3), 1, False),
        ((1, 1, 4), (3, 3), 1, True),
        ((9, 8, 2), (4, 4), 2, False),
        ((11, 10, 1), (3, 3), 2, False),
        ((12, 13, 1), (8, 8), 4, False),
    ],
)
def test_it_is_xlas_convolution_and_so_are_its_gradients(image: Any, kernel: Any, stride: int, pad: bool) -> None:
    """Of a batch with one kernel, as networks are learnt; of a batch with a kernel for each, as seeds are."""
    x, weights = some(2, *image), some(2, *kernel, image[-1], 3, seed=1)
    around = [(k // 2 * pad, (k - 1) // 2 * pad) for k in kernel]

    def plain(x: jax.Array, weights: jax.Array) -> jax.Array:
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x[None], weights, (stride, stride), around, dimension_numbers=numbers)[0]

    def ours(x: jax.Array, weights: jax.Array) -> jax.Array:
        return strided(x, weights, stride, pad)

    def everything(f: Any) -> Any:
        shape = jax.eval_shape(f, x[0], weights[0]).shape
        target = some(*shape, seed=2)

        def loss(x: jax.Array, weights: jax.Array, axes: Any) -> jax.Array:
            return ((jax.vmap(f, axes)(x, weights) - target) ** 2).mean()

        shared = jax.value_and_grad(loss, (0, 1))(x, weights[0], (0, None))
        alone = f(x[0], weights[0]), jax.jvp(f, (x[0], weights[0]), (x[1], weights[1]))
        return shared, jax.grad(loss, (0, 1))(x, weights, (0, 0)), alone

    expected, found = (jax.jit(lambda f=f: everything(f))() for f in (plain, ours))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), expected, found)


def test_what_is_seen_of_a_board() -> None:
    space = spaces.Dict(
        board=spaces.MultiDiscrete(np.full((2, 3), 3), dtype=np.int8),
        picture=spaces.Box(0, 255, (2, 3, 2), np.uint8),
        held=spaces.Discrete(2),
        seen=Record(0, 9, (4,), np.int32),
    )
    obs = {
        "board": jnp.array([[0, 1, 2], [2, 1, 0]], jnp.int8),
        "picture": jnp.full((2, 3, 2), 51, jnp.uint8),
        "held": jnp.int32(1),
        "seen": jnp.arange(4),
    }
    found = planes(space, obs)
    assert found.shape == (2, 3, 3 + 2 + 2)
    np.testing.assert_array_equal(found[..., :3].argmax(-1), obs["board"])
    np.testing.assert_allclose(found[0, 0], [1, 0, 0, 0.2, 0.2, 0, 1])
    network = Residual(4, blocks=1).build(KEY, space, {"policy": CategoricalHead(5), "value": ValueHead()})
    heads, _ = network.step(obs, jnp.array(False), ())
    assert heads["policy"].logits.shape == (5,) and network.context == 0


def test_a_block_starts_as_nothing_and_a_graph_is_refused() -> None:
    space = spaces.MultiDiscrete(np.full((6, 7), 3), dtype=np.int8)
    network = Residual(4, blocks=2).build(KEY, space, {"value": ValueHead()})
    tower = network.trunks["shared"]
    assert all(not other.kernel.any() for _, other in tower.blocks)
    with pytest.raises(SpaceError, match="cannot be read"):
        Residual().build(KEY, spaces.Graph(spaces.Discrete(2), None), {"value": ValueHead()})
