"""Distributions of the return against the exact one; duelling streams, noise, presets, and what is refused."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.algorithms import C51, DQN, IQN, QRDQN, R2D2, Rainbow
from retorno.bellman import return_distribution, uniform
from retorno.core.mdp import mdp
from retorno.environments.registry import make
from retorno.environments.sampled_world import sampled
from retorno.networks import GRU, MLP, Activation, Stack, Table
from retorno.networks.chance import drawn
from retorno.networks.layers import Linear
from retorno.networks.returns import (
    Categorical,
    Duelling,
    ImplicitQuantiles,
    Mean,
    Noisy,
    QuantileRegression,
    Streams,
    with_noise,
)
from retorno.ops.estimates import estimate
from retorno.ops.optimisers import Adam, Schedule
from retorno.run.train import train

TOSS = [(0.5, 0.0), (0.5, 1.0)]
COINS = mdp(
    {
        **{f"{left} left": {"toss": [(p, f"{left - 1} left", r) for p, r in TOSS]} for left in (3, 2)},
        "1 left": {"toss": [(p, "end", r) for p, r in TOSS]},
        "end": {},
    },
    initial="3 left",
)
"""Three coins are tossed, and heads pay 1: the return is binomial."""
TREE = MLP((32,), Activation.relu, orthogonal=False)
LIVED = {
    "num_envs": 16,
    "rollout": 8,
    "gradient_steps": 8,
    "batch_size": 64,
    "capacity": 4096,
    "learning_starts": 256,
    "target_period": 512,
    "discount": 1.0,
    "epsilon": 1.0,
    "epsilon_end": 1.0,
}


def said(algorithm: DQN, steps: int) -> Any:
    """What is said of the return of the first toss."""
    training = train(algorithm, sampled(COINS), steps, seed=0)
    training.run_to_end()
    network = training.run.learner.network
    told = network.step(jnp.int32(0), jnp.array(True), network.initial_carry())[0]["q"]
    return told


EXACT = return_distribution(COINS, uniform, 1.0)


def test_chances_are_those_of_the_exact_return() -> None:
    returns = Categorical(atoms=7, support=(-1.0, 5.0))
    told = said(C51(network=Table(), returns=returns, optimiser=Adam(0.05, Schedule.linear), **LIVED), 24_000)
    exact = np.zeros(7)
    exact[np.rint(EXACT.atom).astype(int) + 1] = EXACT.probability
    np.testing.assert_allclose(told.mass[0], exact, atol=0.03)
    assert float(told.mean[0]) == pytest.approx(EXACT.mean, abs=0.05)


def test_quantiles_are_those_of_the_exact_return() -> None:
    returns = QuantileRegression(8)
    method = QRDQN(network=Table(), returns=returns, optimiser=Adam(0.05, Schedule.linear), huber=0.05, **LIVED)
    told = said(method, 24_000)
    exact = [EXACT.quantile(share) for share in told.shares.tolist()]
    np.testing.assert_allclose(np.sort(told.places[0]), exact, atol=0.1)
    assert float(told.mean[0]) == pytest.approx(EXACT.mean, abs=0.05)


def test_the_quantile_function_is_that_of_the_exact_return() -> None:
    """Within a tenth of where it jumps it is somewhere between."""
    returns = ImplicitQuantiles(samples=16, judged=64)
    method = IQN(network=TREE, returns=returns, optimiser=Adam(3e-3, Schedule.linear), huber=0.05, **LIVED)
    told = said(method, 24_000)
    jumps = np.cumsum(EXACT.probability)[:-1]
    clear = np.abs(told.shares[:, None] - jumps).min(1) > 0.1
    exact = np.array([EXACT.quantile(share) for share in told.shares.tolist()])
    assert clear.sum() > 10
    np.testing.assert_allclose(told.places[0][clear], exact[clear], atol=0.2)
    assert float(told.mean[0]) == pytest.approx(EXACT.mean, abs=0.1)


def test_streams_by_hand() -> None:
    """Of two numbers for each of three actions what is added is in the mean 0."""
    line = lambda *x: Linear(jnp.asarray(x, jnp.float32))  # noqa: E731
    streams = Streams(
        (line([1.0, 0.0], [0.0, 1.0]), line([1.0, 2.0], [0.0, 1.0])),
        (line([1.0, 0.0], [0.0, 1.0]), line([3.0, 0.0, 0.0, 0.0, 0.0, 6.0], [0.0] * 6)),
        actions=3,
    )
    # v = (1, 2 + 5); a = ((3, 0), (0, 0), (0, 6)), whose mean is (1, 2).
    np.testing.assert_allclose(streams(jnp.array([1.0, 5.0])), [3, 5, 0, 5, 0, 11], rtol=1e-6)


def test_noise_has_the_law_of_the_paper() -> None:
    """f(ε) has mean 0 and variance E|ε| = √(2/π); a weight's noise is the product of two, a bias has one."""
    rng, x = np.random.default_rng(0), jnp.array([0.5, -2.0, 1.0])
    mean, scale = (Linear(*(jnp.asarray(rng.normal(size=size), jnp.float32) for size in ((3, 2), 2))) for _ in range(2))
    layer = Noisy(mean, scale)
    np.testing.assert_allclose(layer(x), mean(x))
    y = np.asarray(jax.vmap(lambda key: drawn(layer, key)(x))(jax.random.split(jax.random.key(0), 40_000)))
    np.testing.assert_allclose(y.mean(0), mean(x), atol=0.06)
    size = np.sqrt(2 / np.pi)
    weight, bias = np.asarray(scale.weight), np.asarray(scale.bias)
    np.testing.assert_allclose(y.var(0), size**2 * (x**2 @ weight**2) + size * bias**2, rtol=0.05)


SPACE = make("CartPole-v1").observation_space


def kind(made: Any) -> str:
    return type(made).__name__


@pytest.mark.parametrize("network", [MLP((8, 8)), GRU(8, (8,)), Stack(2, network=MLP((8, 8)))], ids=kind)
@pytest.mark.parametrize("returns", [Mean(), Categorical(), QuantileRegression(4), ImplicitQuantiles()], ids=kind)
def test_all_stand_together(network: Any, returns: Any) -> None:
    """Duelling and noisy, whatever is learnt of the return and whatever is remembered: another key, other values."""
    policy = with_noise(network.build(jax.random.key(0), SPACE, {"q": Duelling(returns.head(2), 2, 8)}))

    def q(policy: Any) -> Any:
        return estimate(policy.step(jnp.ones(4), jnp.array(True), policy.initial_carry())[0]["q"]).mean

    plain, noisy, same = q(policy), q(drawn(policy, jax.random.key(1))), q(drawn(policy, jax.random.key(1)))
    assert plain.shape == (2,) and not np.allclose(plain, noisy)
    np.testing.assert_array_equal(noisy, same)


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (lambda: IQN(network=Table()), "ImplicitHead brings layers of its own, and a table has no features"),
        (lambda: DQN(network=Table(), duelling=8), "Duelling brings layers of its own, and a table"),
        (lambda: DQN(network=Table(), noisy=True), "TableNetwork has none: choose network=MLP"),
        (lambda: DQN(returns=Categorical(atoms=1)), "two atoms or more"),
        (lambda: DQN(returns=Categorical(support=(1.0, 1.0))), "from a lower to a higher one"),
    ],
)
def test_what_cannot_be_learnt_is_refused(method: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        train(method(), make("cliff"), 100)


def test_presets_are_settings() -> None:
    rainbow = Rainbow(n=5)
    assert isinstance(rainbow, DQN) and rainbow.noisy and rainbow.double and rainbow.duelling and rainbow.n == 5
    assert isinstance(R2D2(network=MLP()).network, MLP) and R2D2().squash and R2D2().stored_carry
