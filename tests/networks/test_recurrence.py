"""Large cells learn as small ones do."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.networks import GRU, LSTM, ValueHead, recurrence


@pytest.mark.parametrize("config", [GRU(5, (4,)), LSTM(5, (4,))])
def test_a_large_cell_has_the_same_gradient(config: GRU | LSTM, monkeypatch: pytest.MonkeyPatch) -> None:
    network = config.build(jax.random.key(0), spaces.Box(-1, 1, (3,)), {"value": ValueHead()})
    draw = lambda *shape: jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)  # noqa: E731
    network = jax.tree.map(lambda x: x + 0.1 * draw(*x.shape), network)
    obs, first = draw(6, 2, 3), jnp.arange(12).reshape(6, 2) == 5
    carry = jax.tree.map(lambda x: draw(2, *x.shape), network.initial_carry())

    def loss(given: tuple[Any, Any, Any]) -> Any:
        network, obs, carry = given
        value = jax.vmap(network.unroll, (1, 1, 0), 1)(obs, first, carry)["value"]
        after = jax.vmap(network.read, (1, 1, 0))(obs, first, carry)
        return (draw(6, 2) * value).sum() + sum(jnp.sin(x).sum() for x in jax.tree.leaves(after))

    slopes = lambda: jax.jit(jax.value_and_grad(lambda given: loss(given)))((network, obs, carry))  # noqa: E731
    small = slopes()
    monkeypatch.setattr(recurrence, "LARGE", 0)
    large = slopes()
    for one, other in zip(jax.tree.leaves(small), jax.tree.leaves(large), strict=True):
        assert np.any(one)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
