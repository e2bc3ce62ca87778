"""What a convolutional network is made of, and what it sees."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.networks import CNN, ActionValueHead

KEY = jax.random.key(0)
SCREENS = spaces.Box(0, 255, (84, 84, 4), np.uint8)


def size(space: Any, config: CNN = CNN(), actions: int = 6) -> int:  # noqa: B008
    made = jax.eval_shape(lambda: config.build(KEY, space, {"q": ActionValueHead(actions)}))
    return sum(x.size for x in jax.tree.leaves(made))


def test_screens_are_read_by_the_nature_papers_network_and_small_images_by_young_and_tians() -> None:
    assert size(SCREENS) == 1_687_206
    convolution, hidden, last = 3 * 3 * 4 * 16 + 16, 8 * 8 * 16 * 128 + 128, 128 * 6 + 6
    assert size(spaces.Box(0, 255, (10, 10, 4), np.uint8)) == convolution + hidden + last


@pytest.mark.parametrize(("channels", "stride"), [(1, 2), (8, 2), (4, 1)])
def test_bytes_are_seen_as_shares_of_their_range(channels: int, stride: int) -> None:
    """Those of four channels go into place as one word."""
    shape, config = (9, 8, channels), CNN((3,), (3,), (stride,), (5,))
    network = config.build(KEY, spaces.Box(0, 255, shape, np.uint8), {"q": ActionValueHead(2)})
    shares = config.build(KEY, spaces.Box(0, 1, shape), {"q": ActionValueHead(2)})
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    one, other = (
        net.step(jnp.asarray(seen), jnp.array(True), ())[0]["q"]
        for net, seen in ((network, image), (shares, image.astype(np.float32) / 255))
    )
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_convolutions_have_three_numbers_each() -> None:
    with pytest.raises(ValueError, match=r"channels, a size and a stride, got \(16,\), \(3, 3\) and \(1,\)"):
        CNN((16,), (3, 3), (1,))
