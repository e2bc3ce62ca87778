"""Optimisers: by hand, then as the papers' own loops, then what must not change anything."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.ops.optimisers import OPTIMISERS, SGD, Adam, AdamW, Lion, RMSprop, Schedule, descend, polyak

WEIGHTS = {"weight": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.array([4.0, -1.0])}


def gradients(steps: int) -> list[dict[str, np.ndarray]]:
    """Some gradients, of quite different sizes."""
    rng = np.random.default_rng(0)
    return [{k: rng.normal(size=w.shape).astype(np.float32) * 3.0**i for k, w in WEIGHTS.items()} for i in range(steps)]


def descended(optimiser, steps=5, progress=0.0):
    """The weights after some gradients."""
    weights, state = WEIGHTS, optimiser.build().init(WEIGHTS)
    for gradient in gradients(steps):
        weights, state = jax.jit(descend, static_argnums=0)(optimiser, weights, gradient, state, progress)
    return weights


def looped(optimiser, step, steps=5):
    """The same by a loop: `step(t, gradient, memory)` gives a direction."""
    weights, memories = {k: np.asarray(w, np.float64) for k, w in WEIGHTS.items()}, {k: {} for k in WEIGHTS}
    for t, gradient in enumerate(gradients(steps), 1):
        for name in weights:
            direction = step(t, gradient[name].astype(np.float64), memories[name])
            weights[name] = weights[name] - optimiser.learning_rate * direction
    return weights


def adam(t, g, m, beta1=0.9, beta2=0.999, eps=1e-8):
    """Kingma & Ba 2015, algorithm 1."""
    m["m"] = beta1 * m.get("m", 0) + (1 - beta1) * g
    m["v"] = beta2 * m.get("v", 0) + (1 - beta2) * g**2
    return m["m"] / (1 - beta1**t) / (np.sqrt(m["v"] / (1 - beta2**t)) + eps)


def rmsprop(t, g, m):
    """Mnih et al. 2015, as Graves 2013 has it: eqs. 38–40, without the last."""
    m["n"] = 0.95 * m.get("n", 0) + 0.05 * g**2
    m["g"] = 0.95 * m.get("g", 0) + 0.05 * g
    return g / np.sqrt(m["n"] - m["g"] ** 2 + 0.01)


def torchs_rmsprop(t, g, m):
    """torch.optim.RMSprop(alpha=0.99, eps=1e-5), which Stable-Baselines3's A2C takes."""
    m["v"] = 0.99 * m.get("v", 0) + 0.01 * g**2
    return g / (np.sqrt(m["v"]) + 1e-5)


def momentum(t, g, m):
    """Polyak 1964."""
    m["z"] = 0.9 * m.get("z", 0) + g
    return m["z"]


def lion(t, g, m):
    """Chen et al. 2023, algorithm 2."""
    step = np.sign(0.9 * m.get("m", 0) + 0.1 * g)
    m["m"] = 0.99 * m.get("m", 0) + 0.01 * g
    return step


@pytest.mark.parametrize(
    ("optimiser", "step"),
    [
        (Adam(0.1), adam),
        (Adam(0.1, eps=1e-5), lambda t, g, m: adam(t, g, m, eps=1e-5)),
        (RMSprop(0.1), rmsprop),
        (RMSprop(0.1, decay=0.99, eps=1e-5, eps_under_root=False, centred=False), torchs_rmsprop),
        (SGD(0.1), lambda t, g, m: g),
        (SGD(0.1, momentum=0.9), momentum),
        (Lion(0.1), lion),
    ],
)
def test_each_is_its_papers_loop(optimiser, step):
    ours, theirs = descended(optimiser), looped(optimiser, step)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5)


def test_gradients_are_clipped_by_the_norm_of_all_leaves():
    gradient = {"weight": jnp.array([[3.0, 0.0], [0.0, 0.0]]), "bias": jnp.array([0.0, 4.0])}
    clipping = SGD(1.0, max_gradient_norm=1.0)
    moved, _ = descend(clipping, WEIGHTS, gradient, clipping.build().init(WEIGHTS))
    np.testing.assert_allclose(moved["weight"], WEIGHTS["weight"] - gradient["weight"] / 5)
    np.testing.assert_allclose(moved["bias"], WEIGHTS["bias"] - gradient["bias"] / 5)


def test_weights_decay_by_leaf():
    """Matrices lose their share of each step, biases and scales nothing."""
    weights = {**WEIGHTS, "scale": jnp.ones((2, 3))}
    still = jax.tree.map(jnp.zeros_like, weights)
    optimiser = AdamW(0.1, weight_decay=0.5)
    moved, _ = descend(optimiser, weights, still, optimiser.build().init(weights))
    np.testing.assert_allclose(moved["weight"], 0.95 * weights["weight"], rtol=1e-6)
    np.testing.assert_array_equal(moved["bias"], weights["bias"])
    np.testing.assert_array_equal(moved["scale"], weights["scale"])


@pytest.mark.parametrize("name", OPTIMISERS)
def test_micro_batches_are_a_batch(name):
    """Three gradients accumulated move the weights as their mean does, and not before the third."""
    one = OPTIMISERS[name](max_gradient_norm=1.0)
    three = dataclasses.replace(one, accumulation=3)
    parts = gradients(3)
    mean = jax.tree.map(lambda *x: sum(x) / 3, *parts)
    whole, _ = descend(one, WEIGHTS, mean, one.build().init(WEIGHTS))
    weights, state = WEIGHTS, three.build().init(WEIGHTS)
    for gradient in parts:
        for leaf, before in zip(jax.tree.leaves(weights), jax.tree.leaves(WEIGHTS), strict=True):
            np.testing.assert_array_equal(leaf, before)
        weights, state = descend(three, weights, gradient, state)
    for leaf, other in zip(jax.tree.leaves(weights), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_one_vector_or_many_leaves(name, monkeypatch):
    optimiser = OPTIMISERS[name](max_gradient_norm=1.0, weight_decay=0.1)
    together = descended(optimiser)
    monkeypatch.setattr("retorno.ops.optimisers.FLAT", 0)
    jax.clear_caches()
    for leaf, other in zip(jax.tree.leaves(together), jax.tree.leaves(descended(optimiser)), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-5)


@pytest.mark.parametrize(
    ("optimiser", "rates"),
    [
        (Adam(2.0), [2.0, 2.0, 2.0, 2.0]),
        (Adam(2.0, Schedule.linear), [2.0, 1.5, 1.0, 0.0]),
        (Adam(2.0, Schedule.linear, learning_rate_end=1.0), [2.0, 1.75, 1.5, 1.0]),
        (Adam(2.0, Schedule.cosine), [2.0, 1 + 0.5**0.5, 1.0, 0.0]),
        (Adam(2.0, warm_up=0.5), [0.0, 1.0, 2.0, 2.0]),
        (Adam(2.0, Schedule.linear, warm_up=0.5), [0.0, 1.0, 2.0, 0.0]),
    ],
)
def test_learning_rates_over_the_run(optimiser, rates):
    found = [optimiser.rate(jnp.float32(progress)) for progress in (0.0, 0.25, 0.5, 1.0)]
    np.testing.assert_allclose(found, rates, atol=1e-6)


def test_polyak_at_its_ends():
    old, new = {"w": jnp.array([0.1, 0.7])}, {"w": jnp.array([0.3, 1e9])}
    np.testing.assert_array_equal(polyak(old, new, 1.0)["w"], new["w"])
    np.testing.assert_array_equal(polyak(old, new, 0.0)["w"], old["w"])
