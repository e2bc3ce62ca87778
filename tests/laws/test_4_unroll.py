"""Law 4: `unroll` equals repeated `step`, from a carry in mid-episode and with episodes ending in mid-sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.core.policy import Policy
from retorno.networks import (
    GRU,
    LSTM,
    MLP,
    NETWORKS,
    ActionValueHead,
    Aggregation,
    CategoricalHead,
    Features,
    Fourier,
    GaussianHead,
    MultiCategoricalHead,
    Polynomial,
    SquashedGaussianHead,
    Table,
    TileCoding,
    Transformer,
    ValueHead,
)

T = 20
WARM_UP = 7
TOLERANCE = 1e-5

FINITE = spaces.MultiDiscrete([3, 4])
TOKENS = spaces.Discrete(5, start=2)
MIXED = spaces.Dict(place=spaces.Box(-1, 1, (2, 2)), mode=spaces.Discrete(3), flags=spaces.Tuple([FINITE]))

CHOICE = {"policy": CategoricalHead(3), "value": ValueHead()}
VALUES = {"q": ActionValueHead(4)}
PARTS = {"policy": MultiCategoricalHead((2, 3)), "value": ValueHead(), "q": ActionValueHead(2)}
NORMAL = {"policy": GaussianHead(2, initial_log_std=-1.0), "value": ValueHead()}
SQUASHED = {"policy": SquashedGaussianHead((-2.0,), (1.0,))}

CASES = [
    (Table(), FINITE, CHOICE),
    (Table(initial=1.0), TOKENS, NORMAL),
    (Features(), MIXED, CHOICE),
    (Features(tuple((float(i), i % 2.0) for i in range(5))), TOKENS, VALUES),
    (Aggregation(5), FINITE, NORMAL),
    (TileCoding(4, 3), MIXED, PARTS),
    (Fourier(2), FINITE, VALUES),
    (Polynomial(3), TOKENS, SQUASHED),
    (MLP((16,)), MIXED, CHOICE),
    (MLP((16, 8), shared=True), TOKENS, NORMAL),
    (GRU(16, (8,)), MIXED, CHOICE),
    (GRU(16, (8,), shared=True), TOKENS, PARTS),
    (GRU(16, (8,), orthogonal=False), TOKENS, SQUASHED),
    (LSTM(16, (8,)), TOKENS, VALUES),
    (LSTM(16, (8, 8), shared=True), MIXED, NORMAL),
    (Transformer(16, num_heads=2, window=64), MIXED, CHOICE),
    (Transformer(16, num_heads=2, window=T, shared=True), TOKENS, PARTS),
    (Transformer(16, num_heads=2, window=WARM_UP, shared=True), TOKENS, NORMAL),
    (Transformer(16, layers=2, num_heads=4, window=3), TOKENS, VALUES),
    (Transformer(8, layers=1, num_heads=1, window=1), TOKENS, SQUASHED),
]


def filled(config: Any, space: spaces.Space[Any], heads: dict[str, Any]) -> Policy:
    """A network whose every parameter matters: drawn afresh, for a policy's own head starts close to zero."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: config.build(jax.random.key(0), space, heads))
    return jax.tree.map(lambda w: jnp.asarray(rng.normal(size=w.shape) / np.sqrt(w.shape[0]), jnp.float32), shapes)


def rows(space: spaces.Space[Any], length: int, seed: int) -> Any:
    """Observations [length] of a space."""
    space.seed(seed)
    return jax.tree.map(lambda *o: np.stack(o), *[space.sample() for _ in range(length)])


def patterns() -> jax.Array:
    """Where episodes begin [P, T]: nowhere, at either end, everywhere, and at random."""
    rng = np.random.default_rng(0)
    fixed = [np.zeros(T), np.arange(T) == 0, np.arange(T) == T - 1, np.ones(T), np.arange(T) % 9 == 4]
    random = [rng.random(T) < share for share in (0.05, 0.1, 0.1, 0.2, 0.4)]
    return jnp.asarray(np.stack([*fixed, *random]), bool)


def repeat(policy: Policy, obs: Any, first: jax.Array, carry: Any) -> tuple[Any, Any]:
    """(heads [T], carry) of T calls of `step`."""

    def step(carry: Any, row: Any) -> tuple[Any, Any]:
        heads, carry = policy.step(*row, carry)
        return carry, heads

    carry, heads = jax.lax.scan(step, carry, (obs, first))
    return heads, carry


def breach(
    config: Any,
    space: spaces.Space[Any],
    heads: dict[str, Any],
    unroll: Callable[..., Any] = lambda policy, *rows: policy.unroll(*rows),
) -> float:
    """The largest difference between `unroll` and repeated `step`, relative where numbers are above one."""
    past, obs = rows(space, WARM_UP, seed=1), rows(space, T, seed=2)

    @jax.jit
    def both(policy: Policy) -> Any:
        began = jnp.arange(WARM_UP) == 2
        _, carry = repeat(policy, past, began, policy.initial_carry())
        each = jax.vmap(lambda first: repeat(policy, obs, first, carry)[0])(patterns())
        whole = jax.vmap(lambda first: unroll(policy, obs, first, carry))(patterns())
        return each, whole

    each, whole = both(filled(config, space, heads))
    assert jax.tree.structure(each) == jax.tree.structure(whole)
    gaps = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a - b) / jnp.maximum(1, jnp.abs(a))), each, whole)
    return max(float(gap) for gap in jax.tree.leaves(gaps))


def kind(config: Any) -> str:
    return type(config).__name__


def named(case: Any) -> str:
    config, space, heads = case
    return f"{kind(config)}-{type(space).__name__}-{'+'.join(heads)}"


@pytest.mark.parametrize("case", CASES, ids=map(named, CASES))
def test_unroll_equals_repeated_step(case: Any) -> None:
    config, space, heads = case
    assert breach(config, space, heads) < TOLERANCE


def test_every_network_is_under_the_law() -> None:
    assert {type(config) for config, _, _ in CASES} == set(NETWORKS.values())


MISTAKES = {
    "does not forget at an episode's start": lambda p, obs, first, carry: p.unroll(obs, jnp.zeros_like(first), carry),
    "forgets what came before": lambda p, obs, first, carry: p.unroll(obs, first, p.initial_carry()),
    "forgets one row late": lambda p, obs, first, carry: p.unroll(obs, jnp.roll(first, 1), carry),
    "begins an episode at its first row": lambda p, obs, first, carry: p.unroll(obs, first.at[0].set(True), carry),
}


@pytest.mark.parametrize("config", [GRU(16, (8,)), Transformer(16, layers=1, num_heads=2, window=8)], ids=kind)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_law_sees_a_carry_that_is_not_reset(config: Any, mistake: str) -> None:
    assert breach(config, TOKENS, VALUES, MISTAKES[mistake]) > 100 * TOLERANCE


@pytest.mark.parametrize("shift", [-1, 1])
def test_the_law_sees_a_position_that_is_off_by_one(shift: int) -> None:
    def off(policy: Policy, obs: Any, first: Any, carry: Any) -> Any:
        cache = carry["q"]
        return policy.unroll(obs, first, {"q": cache._replace(position=cache.position + shift)})

    assert breach(Transformer(16, layers=1, num_heads=2, window=WARM_UP + 2), TOKENS, VALUES, off) > 100 * TOLERANCE


# The law holds of two that err alike, so what is forgotten and seen is tested by itself.

MEMORIES = [GRU(16, (8,)), LSTM(16, (8,)), Transformer(16, layers=1, num_heads=2, window=6)]


@pytest.mark.parametrize("config", MEMORIES, ids=kind)
def test_an_answer_depends_on_its_episode_alone(config: Any) -> None:
    space = spaces.Box(-1, 1, (2,))
    network = filled(config, space, {"value": ValueHead()})
    obs, first = rows(space, T, 0), jnp.zeros(T, bool).at[jnp.array([3, 15])].set(True)
    _, carry = jax.jit(lambda: repeat(network, rows(space, WARM_UP, 1), first[:WARM_UP], network.initial_carry()))()

    by_obs = jax.jit(jax.jacrev(lambda o: network.unroll(o, first, carry)["value"]))(obs)
    seen = np.abs(by_obs).max(axis=-1) > 0
    episode = np.cumsum(first)
    time = np.arange(T)
    expected = (episode[:, None] == episode) & (time[:, None] >= time)
    if isinstance(config, Transformer):
        expected &= time[:, None] - time < config.window
    np.testing.assert_array_equal(seen, expected)

    real = [leaf for leaf in jax.tree.leaves(carry) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    rebuild = jax.tree.structure(carry)

    def by_carry(real: list[jax.Array]) -> jax.Array:
        queue = iter(real)
        leaves = [next(queue) if jnp.issubdtype(x.dtype, jnp.floating) else x for x in jax.tree.leaves(carry)]
        return network.unroll(obs, first, jax.tree.unflatten(rebuild, leaves))["value"]

    slopes = jax.jit(jax.jacrev(by_carry))(real)
    remembers = np.max([np.abs(slope).reshape(T, -1).max(axis=1) for slope in slopes], axis=0) > 0
    np.testing.assert_array_equal(remembers, episode == 0)


@pytest.mark.parametrize("config", MEMORIES, ids=kind)
def test_an_episode_begins_as_if_nothing_had_been(config: Any) -> None:
    network = filled(config, TOKENS, VALUES)
    obs, first = rows(TOKENS, T, 0), jnp.arange(T) == 0

    @jax.jit
    def answers() -> Any:
        _, used = repeat(network, rows(TOKENS, WARM_UP, 1), jnp.zeros(WARM_UP, bool), network.initial_carry())
        return [repeat(network, obs, first, carry)[0]["q"] for carry in (used, network.initial_carry())]

    used, fresh = answers()
    np.testing.assert_allclose(used, fresh, rtol=TOLERANCE, atol=TOLERANCE)
