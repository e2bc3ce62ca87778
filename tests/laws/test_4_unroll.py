"""Law 4: `unroll` and `read` equal repeated `step`, and heads depend on no row beyond `context`.

From a carry in mid-episode, and with episodes ending in mid-sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.core.policy import Policy, carry_before
from retorno.networks import (
    CNN,
    GRU,
    LSTM,
    MLP,
    NETWORKS,
    ActionValueHead,
    Aggregation,
    BatchRenormMLP,
    CategoricalHead,
    Features,
    Fourier,
    GaussianHead,
    MultiCategoricalHead,
    Polynomial,
    Residual,
    SimBa,
    SquashedGaussianHead,
    Stack,
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
SCREEN = spaces.Box(0, 255, (6, 5, 1), np.uint8)
MIXED = spaces.Dict(place=spaces.Box(-1, 1, (2, 2)), mode=spaces.Discrete(3), flags=spaces.Tuple([FINITE]))

CHOICE = {"policy": CategoricalHead(3), "value": ValueHead()}
VALUES = {"q": ActionValueHead(4)}
PARTS = {"policy": MultiCategoricalHead((2, 3)), "value": ValueHead(), "q": ActionValueHead(2)}
NORMAL = {"policy": GaussianHead(2, initial_log_std=-1.0), "value": ValueHead()}
SQUASHED = {"policy": SquashedGaussianHead(1)}

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
    (MLP((16,), layer_norm=True, dropout=0.5), MIXED, VALUES),
    (SimBa(8), MIXED, NORMAL),
    (BatchRenormMLP((8,)), MIXED, PARTS),
    (Residual(4, blocks=1), MIXED, CHOICE),
    (CNN((4,), (3,), (2,), (8,)), SCREEN, CHOICE),
    (Stack(3, network=CNN(layer_norm=True, hidden=())), SCREEN, VALUES),
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
    (Stack(3, network=MLP((16,))), MIXED, CHOICE),
    (Stack(2, difference=10.0, network=MLP((16,))), MIXED, NORMAL),
    (Stack(4, network=GRU(8, (8,))), TOKENS, VALUES),
    (Stack(1, network=Stack(2, network=MLP((16,)))), TOKENS, VALUES),
]


def filled(config: Any, space: spaces.Space[Any], heads: dict[str, Any]) -> Policy:
    """A network whose every parameter matters: drawn afresh, for a policy's own head starts close to zero.

    Vectors are positive, as variances are.
    """
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: config.build(jax.random.key(0), space, heads))

    def draw(w: Any) -> jax.Array:
        drawn = rng.normal(size=w.shape) / np.sqrt(w.shape[0]) if w.ndim > 1 else rng.uniform(0.1, 1, w.shape)
        return jnp.asarray(drawn, jnp.float32)

    return jax.tree.map(draw, shapes)


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
        obs, first = row
        heads, carry = policy.step(obs, first, carry)
        return carry, heads

    carry, heads = jax.lax.scan(step, carry, (obs, first))
    return heads, carry


def difference(one: Any, other: Any) -> float:
    """The largest between two trees of one structure, relative where numbers are above one."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    gaps = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a - b) / jnp.maximum(1, jnp.abs(a))), one, other)
    return max(float(gap) for gap in jax.tree.leaves(gaps))


def breach(
    policy: Policy,
    space: spaces.Space[Any],
    unroll: Callable[..., Any] = lambda policy, *rows: policy.unroll(*rows),
    read: Callable[..., Any] = lambda policy, *rows: policy.read(*rows),
) -> float:
    """The largest difference between repeated `step` and `unroll`, or the heads that follow a `read`."""
    past, obs, coming = (rows(space, length, seed) for seed, length in enumerate((WARM_UP, T, 3)))
    going_on = jnp.zeros(3, bool)

    @jax.jit
    def both(policy: Policy) -> Any:
        began = jnp.arange(WARM_UP) == 2
        _, carry = repeat(policy, past, began, policy.initial_carry())

        def each(first: jax.Array) -> Any:
            heads = repeat(policy, jax.tree.map(joined, obs, coming), joined(first, going_on), carry)[0]
            return jax.tree.map(lambda x: (x[:T], x[T:]), heads)

        def whole(first: jax.Array) -> Any:
            after = unroll(policy, coming, going_on, read(policy, obs, first, carry))
            return jax.tree.map(lambda x, y: (x, y), unroll(policy, obs, first, carry), after)

        return jax.vmap(each)(patterns()), jax.vmap(whole)(patterns())

    return difference(*both(policy))


def from_nothing(policy: Policy, space: spaces.Space[Any]) -> float:
    """The same, where nothing was remembered before row 0, whether or not an episode begins with it."""
    obs, coming = rows(space, T, 1), rows(space, 3, 2)
    going_on = jnp.zeros(3, bool)

    def of(first: jax.Array, carry: Any) -> Any:
        return policy.unroll(obs, first, carry), policy.unroll(coming, going_on, policy.read(obs, first, carry))

    both = jax.jit(lambda first: (of(first, policy.initial_carry()), of(first, None)))
    return max(difference(*both(first)) for first in patterns()[jnp.array([0, 1, -1])])


def joined(one: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.concatenate([one, other])


def reach(policy: Policy, space: spaces.Space[Any]) -> float:
    """How much the heads on a last row differ when all rows before its `context` are others, and the memory too."""
    assert policy.context is not None
    kept = policy.context + 1
    same, going_on = rows(space, kept, seed=0), jnp.zeros(kept, bool)

    @jax.jit
    def last(policy: Policy, past: Any) -> Any:
        carry = repeat(policy, past, jnp.arange(T) == 0, policy.initial_carry())[1]
        return jax.tree.map(lambda x: x[-1], policy.unroll(same, going_on, carry))

    return difference(*(last(policy, rows(space, T, seed)) for seed in (1, 2)))


class Recent(Policy):
    """The sum of an observation and of the two before it in its episode: a policy of context 2."""

    claimed: int = eqx.field(static=True, default=2)

    @property
    def context(self) -> int:
        return self.claimed

    def initial_carry(self) -> Any:
        return jnp.zeros(2)

    def step(self, obs: Any, first: Any, carry: Any) -> Any:
        carry = jnp.where(first, 0.0, carry)
        return {"value": obs + carry.sum()}, jnp.array([obs, carry[0]])


def kind(config: Any) -> str:
    return type(config).__name__


def named(case: Any) -> str:
    config, space, heads = case
    return f"{kind(config)}-{type(space).__name__}-{'+'.join(heads)}"


@pytest.mark.parametrize("case", CASES, ids=map(named, CASES))
def test_unroll_and_read_equal_repeated_step(case: Any) -> None:
    config, space, heads = case
    policy = filled(config, space, heads)
    assert breach(policy, space) < TOLERANCE
    assert policy.context == 0 or from_nothing(policy, space) < TOLERANCE
    empty, nothing = policy.initial_carry(), jax.tree.map(lambda x: x[:0], rows(space, 1, 0))
    assert jax.eval_shape(policy.read, nothing, jnp.zeros(0, bool), empty) == jax.eval_shape(lambda: empty)


@pytest.mark.parametrize("case", CASES, ids=map(named, CASES))
def test_heads_depend_on_no_row_beyond_the_context(case: Any) -> None:
    config, space, heads = case
    policy = filled(config, space, heads)
    if policy.context is None:
        pytest.skip("its context is unbounded")
    assert (policy.initial_carry() == ()) == (policy.context == 0)
    assert reach(policy, space) == 0


def test_a_finite_context_is_under_the_law() -> None:
    assert breach(Recent(), TOKENS) == 0
    assert reach(Recent(), TOKENS) == 0


@pytest.mark.parametrize("claimed", [0, 1])
def test_the_law_sees_a_context_that_is_too_short(claimed: int) -> None:
    assert reach(Recent(claimed), TOKENS) > 100 * TOLERANCE


def test_the_memory_before_each_row_is_that_of_repeated_steps() -> None:
    first = patterns()[-2:].T
    obs = jnp.arange(first.size, dtype=jnp.float32).reshape(first.shape)
    start = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    before = carry_before(Recent(), obs, first, start)
    for env in range(2):
        carry = start[env]
        for t in range(T):
            np.testing.assert_array_equal(before[t, env], carry)
            _, carry = Recent().step(obs[t, env], first[t, env], carry)


def test_every_network_is_under_the_law() -> None:
    assert {type(config) for config, _, _ in CASES} == set(NETWORKS.values())


MISTAKES = {
    "does not forget at an episode's start": lambda p, obs, first, carry: p.unroll(obs, jnp.zeros_like(first), carry),
    "forgets what came before": lambda p, obs, first, carry: p.unroll(obs, first, p.initial_carry()),
    "forgets one row late": lambda p, obs, first, carry: p.unroll(obs, jnp.roll(first, 1), carry),
    "begins an episode at its first row": lambda p, obs, first, carry: p.unroll(obs, first.at[0].set(True), carry),
}


READING_MISTAKES = {
    "does not forget at an episode's start": lambda p, obs, first, carry: p.read(obs, jnp.zeros_like(first), carry),
    "forgets what came before": lambda p, obs, first, carry: p.read(obs, first, p.initial_carry()),
    "reads nothing": lambda p, obs, first, carry: carry,
    "does not read the last row": lambda p, obs, first, carry: p.read(obs[:-1], first[:-1], carry),
    "reads the last row twice": lambda p, obs, first, carry: p.step(
        obs[-1], jnp.array(False), p.read(obs, first, carry)
    )[1],
}


@pytest.mark.parametrize("config", [GRU(16, (8,)), Transformer(16, layers=1, num_heads=2, window=8)], ids=kind)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_law_sees_a_carry_that_is_not_reset(config: Any, mistake: str) -> None:
    assert breach(filled(config, TOKENS, VALUES), TOKENS, unroll=MISTAKES[mistake]) > 100 * TOLERANCE


@pytest.mark.parametrize("config", [GRU(16, (8,)), Transformer(16, layers=1, num_heads=2, window=T + 8)], ids=kind)
@pytest.mark.parametrize("mistake", READING_MISTAKES)
def test_the_law_sees_rows_that_are_not_read(config: Any, mistake: str) -> None:
    assert breach(filled(config, TOKENS, VALUES), TOKENS, read=READING_MISTAKES[mistake]) > 100 * TOLERANCE


@pytest.mark.parametrize("shift", [-1, 1])
def test_the_law_sees_a_position_that_is_off_by_one(shift: int) -> None:
    def off(policy: Policy, obs: Any, first: Any, carry: Any) -> Any:
        cache = carry["q"]
        return policy.unroll(obs, first, {"q": cache._replace(position=cache.position + shift)})

    policy = filled(Transformer(16, layers=1, num_heads=2, window=WARM_UP + 2), TOKENS, VALUES)
    assert breach(policy, TOKENS, unroll=off) > 100 * TOLERANCE


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
