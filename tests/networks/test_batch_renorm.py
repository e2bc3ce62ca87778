"""Batch renormalisation and dropout by hand, and what a gradient tells of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.core.policy import ROWS
from retorno.networks import MLP, ValueHead
from retorno.networks.batch_renorm import BatchRenorm, Moments, follow, learning, still
from retorno.networks.chance import drawn
from retorno.networks.layers import Dropout

X = np.array([[0.0, 1.0], [2.0, 5.0], [4.0, 0.0]], np.float32)


def layer(batches: float = 9.0) -> BatchRenorm:
    moments = Moments(jnp.array([1.0, 2.0]), jnp.array([0.25, 100.0]), jnp.float32(batches))
    return BatchRenorm(jnp.array([1.0, 2.0]), jnp.array([0.5, 0.0]), moments, warm_up=5)


def over(layer: BatchRenorm, x: Any) -> jax.Array:
    return jax.vmap(layer, axis_name=ROWS)(x)


def test_within_the_clips_a_batch_is_seen_as_running_moments_see_it() -> None:
    """R = σ_B / σ is clipped above 3 in the first number and below 1/3 in the second; d is in neither."""
    mean, deviation = X.mean(0), np.sqrt(X.var(0) + 1e-3)
    running = np.sqrt(np.array([0.25, 100.0]) + 1e-3)
    r = np.clip(deviation / running, 1 / 3, 3)
    assert r[0] == 3 and r[1] == 1 / 3
    expected = ((X - mean) / deviation * r + (mean - [1, 2]) / running) * [1, 2] + [0.5, 0]
    np.testing.assert_allclose(over(learning(layer()), X), expected, rtol=1e-5)
    np.testing.assert_allclose(over(layer(), X), (X - [1, 2]) / running * [1, 2] + [0.5, 0], rtol=1e-5)
    np.testing.assert_allclose(
        over(learning(layer(4)), X), (X - mean) / deviation * [1, 2] + [0.5, 0], rtol=1e-5, atol=1e-6
    )


def test_a_gradient_holds_the_batchs_moments() -> None:
    loss = lambda layer, x: jnp.sum(jnp.sin(over(learning(layer), x)))  # noqa: E731
    gradient, slope = jax.grad(loss, (0, 1))(layer(), X)
    moved = follow(layer(), gradient, 0.25).moments
    np.testing.assert_allclose(moved.mean, 0.75 * np.array([1, 2]) + 0.25 * X.mean(0), rtol=1e-6)
    np.testing.assert_allclose(moved.variance, 0.75 * np.array([0.25, 100]) + 0.25 * X.var(0), rtol=1e-6)
    assert moved.batches == 10 and not np.any(still(gradient).moments.mean)
    # What it tells of x is the slope: r and d are constants, as the paper has them, the batch's moments are not.
    with jax.enable_x64():
        wide = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), layer(4))
        exact = jax.grad(loss, 1)(wide, jnp.asarray(X, jnp.float64))
        for place in np.ndindex(*X.shape):
            step = np.zeros(X.shape)
            step[place] = 1e-6
            finite = (loss(wide, jnp.asarray(X + step)) - loss(wide, jnp.asarray(X - step))) / 2e-6
            np.testing.assert_allclose(exact[place], finite, atol=1e-7)
    assert np.isfinite(slope).all()


def test_dropout_leaves_out_a_share_and_keeps_the_mean() -> None:
    """Of 20,000 numbers; rows have masks of their own, the same ones with the same key, and none without."""
    x = 1.0 + jnp.arange(200.0)[:, None] * jnp.ones(100)
    network = {"layer": Dropout(0.3), "other": Dropout(0.3)}
    noisy = drawn(network, jax.random.key(0))
    found = {name: np.asarray(jax.vmap(part)(x) / x) for name, part in noisy.items()}
    assert set(np.unique(found["layer"].round(4))) == {0.0, np.float32(1 / 0.7).round(4)}
    assert abs((found["layer"] == 0).mean() - 0.3) < 4 * np.sqrt(0.21 / 20_000)
    assert np.any(found["layer"][0] != found["layer"][1]) and np.any(found["layer"] != found["other"])
    np.testing.assert_array_equal(jax.vmap(replace(noisy["layer"], key=None))(x), x)


def test_bad_shares_are_refused() -> None:
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\)"):
        MLP(dropout=1.0).build(jax.random.key(0), spaces.Discrete(2), {"value": ValueHead()})
