"""What networks promise beside law 4: how they start, what they share, what they refuse, and that all of it learns."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.algorithms.actor_critic.sac import SAC
from retorno.core.counter import Counter
from retorno.core.spaces import HashableSpace, SpaceError, Spec, encode, index
from retorno.core.time_step import restart
from retorno.networks import (
    CNN,
    GRU,
    LSTM,
    MLP,
    NETWORKS,
    ActionValueHead,
    BernoulliHead,
    BoxPolicy,
    CategoricalHead,
    GaussianHead,
    JointHead,
    MultiCategoricalHead,
    Residual,
    SquashedGaussianHead,
    Stack,
    StateDependentHead,
    Table,
    Transformer,
    ValueHead,
    policy_head,
    semi_gradient_step,
    with_spread,
)
from retorno.networks.initialisation import Draws
from retorno.networks.layers import Feedforward, Input, Precision, linear, standardised
from retorno.networks.recurrent import GRUCell, LSTMCell
from retorno.networks.rotary import ByWavelength, Interpolated, Rotary, YaRN
from retorno.networks.transformer import attend, held

KEY = jax.random.key(0)
BOX = spaces.Box(-1, 1, (3,))
BOTH = {"policy": CategoricalHead(2), "value": ValueHead()}
SMALL = [MLP((8,)), GRU(8, (4,)), LSTM(8, (4,)), Transformer(8, layers=1, num_heads=2, window=4)]


def filled(config: Any, space: Any, heads: Any) -> Any:
    """A network of a configuration's shape with parameters drawn by NumPy, which compiles nothing."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: config.build(KEY, space, heads))
    return jax.tree.map(lambda w: jnp.asarray(rng.normal(size=w.shape) / np.sqrt(w.shape[0]), jnp.float32), shapes)


# How they start


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (4, 1), (1, 1), (260, 257), (257, 260)])
def test_orthogonal(shape: tuple[int, int]) -> None:
    q = np.asarray(Draws(KEY).orthogonal(*shape))
    gram = q.T @ q if shape[0] >= shape[1] else q @ q.T
    np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-6)


def test_orthogonal_is_uniform() -> None:
    # A column is uniform on the sphere in three dimensions: E x = 0, E x² = 1/3, E x⁴ = 1/5; columns are uncorrelated.
    draws = Draws(KEY)
    q = np.stack([draws.orthogonal(3, 2) for _ in range(5_000)])
    for moment, expected in [(q, 0), (q**2, 1 / 3), (q**4, 1 / 5), (q[..., 0] * q[..., 1], 0)]:
        stderr = moment.std(axis=0) / np.sqrt(len(q))
        assert (np.abs(moment.mean(axis=0) - expected) < 4.5 * stderr).all()


@pytest.mark.parametrize("config", [*SMALL, GRU(8, reader=MLP((4,)))])
def test_a_key_gives_the_same_weights_inside_of_compiled_programs_and_outside(config: Any) -> None:
    keys = jax.random.split(KEY, 3)
    build = lambda key: config.build(key, BOX, BOTH)  # noqa: E731
    outside = jax.tree.map(lambda *x: np.stack(x), *map(build, keys))
    for inside in (jax.jit(lambda keys: jax.lax.map(build, keys))(keys), jax.vmap(build)(keys)):
        jax.tree.map(np.testing.assert_array_equal, inside, outside)
    first, second = (build(key).last["value"].weight for key in keys[:2])
    assert not np.array_equal(first, second)


def test_gains_and_biases_are_those_of_the_paper() -> None:
    network = MLP((8, 4)).build(KEY, BOX, BOTH)
    for layer, gain in [
        (network.trunks["policy"].input.linear, np.sqrt(2)),
        (network.trunks["value"].hidden[0], np.sqrt(2)),
        (network.last["policy"], 0.01),
        (network.last["value"], 1.0),
    ]:
        np.testing.assert_allclose(np.linalg.svd(layer.weight, compute_uv=False), gain, rtol=1e-5)
        assert not layer.bias.any()


def test_the_other_start_is_uniform_in_one_over_root_inputs() -> None:
    layer = linear(Draws(KEY), 16, 500, gain=None)
    for drawn in (layer.weight, layer.bias):
        assert 0.24 < np.abs(drawn).max() <= 0.25
        assert np.var(drawn) == pytest.approx(0.25**2 / 3, rel=0.2)


@pytest.mark.parametrize("config", [config() for config in NETWORKS.values()], ids=lambda c: type(c).__name__)
def test_every_leaf_is_a_float_and_structure_is_shared(config: Any) -> None:
    heads = {"policy": GaussianHead(2), "value": ValueHead()}
    one, other = (jax.eval_shape(lambda: config.build(KEY, spaces.Discrete(4), heads)) for _ in range(2))
    assert {leaf.dtype for leaf in jax.tree.leaves(one)} == {jnp.dtype("float32")}
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert hash(jax.tree.structure(one)) == hash(jax.tree.structure(other))
    assert hash(config) == hash(type(config)())
    assert type(config) in NETWORKS.values()


# What they compute, against independent twins


def test_a_discrete_observation_looks_up_what_its_one_hot_multiplies() -> None:
    space = spaces.Discrete(4, start=-1)
    layer = Input(linear(Draws(KEY), 4, 3, gain=None), HashableSpace(space))
    for obs in range(-1, 3):
        np.testing.assert_allclose(layer(jnp.array(obs)), layer.linear(encode(space, jnp.array(obs))), rtol=1e-6)


def test_mlp_is_its_formula() -> None:
    network = filled(MLP((4, 4)), BOX, {"value": ValueHead()})
    obs, trunk, last = np.array([0.5, -1.0, 2.0]), network.trunks["value"], network.last["value"]
    x = np.tanh(obs @ trunk.input.linear.weight + trunk.input.linear.bias)
    x = np.tanh(x @ trunk.hidden[0].weight + trunk.hidden[0].bias)
    heads, carry = network.step(jnp.asarray(obs), jnp.array(True), ())
    np.testing.assert_allclose(heads["value"], (x @ last.weight + last.bias)[0], rtol=1e-5)
    assert carry == () and network.context == 0


@pytest.mark.parametrize(("config", "cell"), [(GRU(5, (4,)), GRUCell), (LSTM(5, (4,)), LSTMCell)])
def test_cells_equal_equinox(config: Any, cell: Any) -> None:
    trunk = filled(config, BOX, {"value": ValueHead()}).trunks["value"]
    assert isinstance(trunk, cell)
    twin_type = eqx.nn.GRUCell if cell is GRUCell else eqx.nn.LSTMCell
    twin = twin_type(4, 5, key=KEY)
    bias = trunk.input.bias + trunk.hidden.bias
    if cell is GRUCell:
        # Equinox keeps the bias inside the reset product apart.
        bias = bias.at[10:].set(trunk.input.bias[10:])
        twin = eqx.tree_at(lambda c: c.bias_n, twin, trunk.hidden.bias[10:])
    where = lambda c: (c.weight_ih, c.weight_hh, c.bias)  # noqa: E731
    twin = eqx.tree_at(where, twin, (trunk.input.weight.T, trunk.hidden.weight.T, bias))
    state = tuple(jax.random.normal(jax.random.key(i), (5,)) for i in range(trunk.states))
    obs = jnp.array([0.3, -0.2, 0.9])
    features, after = trunk.step(obs, jnp.array(False), state)
    expected = twin(trunk.embed(obs), state[0] if cell is GRUCell else state)
    np.testing.assert_allclose(jnp.stack(after), jnp.stack(jax.tree.leaves(expected)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(features, after[0])


def test_the_ring_holds_what_was_written() -> None:
    window, ring = 5, [-1] * 5
    for position in range(13):
        ring[position % window] = position
        slots = np.asarray(held(jnp.array(position), window))
        np.testing.assert_array_equal(np.where(slots < 0, -1, slots), ring)
    assert (held(jnp.array(-1), window) < 0).all()


@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_attention_by_loops(key_heads: int) -> None:
    rng = np.random.default_rng(0)
    query, keys, values = rng.normal(size=(4, 3, 4)), *rng.normal(size=(2, key_heads, 5, 4))
    visible = rng.random((3, 5)) < 0.5
    visible[:, 0] = True
    expected = np.zeros((4, 3, 4))
    for n in range(4):
        k = n * key_heads // 4
        for t in range(3):
            weights = {s: np.exp(query[n, t] @ keys[k, s] / 2) for s in range(5) if visible[t, s]}
            expected[n, t] = sum(w * values[k, s] for s, w in weights.items()) / sum(weights.values())
    given = tuple(jnp.asarray(x, jnp.float32) for x in (query, keys, values))
    answer = attend(*given, jnp.asarray(visible))
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-6)

    def by_jax(query: jax.Array, keys: jax.Array, values: jax.Array) -> jax.Array:
        keys, values = (jnp.repeat(x, 4 // key_heads, 0) for x in (keys, values))
        scores = jnp.where(visible, jnp.einsum("ntd,nsd->nts", query, keys) / 2, -jnp.inf)
        return jnp.einsum("nts,nsd->ntd", jax.nn.softmax(scores), values)

    pull = jnp.asarray(rng.normal(size=query.shape), jnp.float32)
    ours = jax.vjp(lambda *given: attend(*given, jnp.asarray(visible)), *given)[1](pull)
    for one, other in zip(ours, jax.vjp(by_jax, *given)[1](pull), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def rotate(x: jax.Array, position: int) -> jax.Array:
    return Rotary().turn(jnp.array(position), x.shape[-1])(x)


def test_rotation_by_hand_and_by_distance_alone() -> None:
    np.testing.assert_allclose(rotate(jnp.array([[1.0, 0.0]]), 2), [[np.cos(2), np.sin(2)]], rtol=1e-5)
    query, key = jax.random.normal(KEY, (2, 1, 8))
    product = [float(jnp.vdot(rotate(query, p), rotate(key, p - 3))) for p in (3, 10, 40)]
    np.testing.assert_allclose(product, product[0], rtol=1e-4)
    assert abs(float(jnp.vdot(rotate(query, 3), rotate(key, 1))) - product[0]) > 1e-3


def test_positions_are_stretched_where_pairs_turn_slowly() -> None:
    """Four pairs at base 10⁴: they come round 15.9, 1.59, .159 and .0159 times in 100 positions."""
    own = np.array([1, 0.1, 0.01, 0.001])
    np.testing.assert_allclose(Rotary().frequencies(4), own)
    np.testing.assert_allclose(Rotary(stretch=Interpolated(4.0)).frequencies(4), own / 4)
    share = (100 * 0.1 / (2 * np.pi) - 1) / 3
    expected = own * [1, share + (1 - share) / 4, 1 / 4, 1 / 4]
    np.testing.assert_allclose(Rotary(stretch=ByWavelength(4.0, 100)).frequencies(4), expected)
    # 32 rounds would be pair −.3 and one round pair 1.2: the ramp goes from pair 0 to pair 2.
    yarn = YaRN(4.0, 100)
    np.testing.assert_allclose(Rotary(stretch=yarn).frequencies(4), own * [1, 5 / 8, 1 / 4, 1 / 4])
    assert yarn.gain == pytest.approx(1.1386294)


# What is shared and what learns


@pytest.mark.parametrize("config", SMALL, ids=lambda c: type(c).__name__)
def test_gradients_reach_every_parameter(config: Any) -> None:
    heads = {"policy": GaussianHead(2), "q": ActionValueHead(3), "value": ValueHead()}
    network = filled(config, BOX, heads)
    obs, first = jax.random.normal(KEY, (6, 3)), jnp.arange(6) == 3

    def loss(network: Any) -> jax.Array:
        answers = network.unroll(obs, first, network.initial_carry())
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(answers))

    slopes, _ = jax.tree_util.tree_flatten_with_path(jax.jit(jax.grad(loss))(network))
    assert [jax.tree_util.keystr(path) for path, slope in slopes if not jnp.any(slope)] == []


def test_separate_trunks_are_apart_and_a_shared_one_is_not() -> None:
    for shared in (False, True):
        network = filled(MLP((8,), shared=shared), BOX, BOTH)
        slope = jax.grad(lambda n: n.step(jnp.ones(3), jnp.array(False), ())[0]["value"])(network)
        moved = {name: bool(jnp.any(trunk.input.linear.weight)) for name, trunk in slope.trunks.items()}
        assert moved == ({"shared": True} if shared else {"policy": False, "value": True})


def test_asking_for_one_head_computes_one_trunk() -> None:
    network = filled(MLP((8, 8)), BOX, BOTH)

    def products(answer: Any) -> int:
        compiled = jax.jit(jax.vmap(answer, (None, 0))).lower(network, jnp.ones((16, 3))).compile().as_text()
        return compiled.count(" dot(")

    def step(network: Any, obs: Any) -> Any:
        return network.step(obs, jnp.array(False), ())[0]

    assert 2 * products(lambda n, o: step(n, o)["value"]) == products(step) > 0


# Tables and nudges


@pytest.mark.parametrize(
    "space", [spaces.Discrete(6, start=3), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2)], ids=str
)
def test_a_table_has_a_row_for_each_observation(space: Any) -> None:
    table = Table(initial=2.0).build(KEY, space, {"q": ActionValueHead(2), "value": ValueHead()})
    obs = jnp.asarray(space.sample())
    assert (table.step(obs, jnp.array(True), ())[0]["q"] == 2).all()
    moved = semi_gradient_step(semi_gradient_step(table, "q", obs, jnp.array(1), 0.5), "value", obs, None, -1.0)
    heads, _ = moved.step(obs, jnp.array(False), ())
    np.testing.assert_array_equal(heads["q"], [2.0, 2.5])
    assert float(heads["value"]) == 1.0
    expected = np.full(table.tables["q"].shape, 2.0)
    expected[int(index(space, obs)), 1] = 2.5
    np.testing.assert_array_equal(moved.tables["q"], expected)


def test_a_nudge_of_a_network_follows_the_finite_difference() -> None:
    network = filled(MLP((4,)), BOX, {"q": ActionValueHead(3)})
    obs, action, change, h = jnp.array([0.5, -0.3, 0.8]), jnp.array(2), 0.1, 1e-2
    moved = semi_gradient_step(network, "q", obs, action, change)
    leaves, structure = jax.tree.flatten(network)

    def q(leaves: Any) -> float:
        return float(jax.tree.unflatten(structure, leaves).step(obs, jnp.array(False), ())[0]["q"][2])

    for i, (before, after) in enumerate(zip(leaves, jax.tree.leaves(moved), strict=True)):
        for entry in (0, before.size - 1):
            spot = np.unravel_index(entry, before.shape)
            up, down = ([*leaves[:i], before.at[spot].add(s * h), *leaves[i + 1 :]] for s in (1, -1))
            assert float((after - before)[spot]) == pytest.approx(change * (q(up) - q(down)) / (2 * h), abs=1e-4)


def test_the_gradient_of_a_layer_norm_is_that_of_its_formula() -> None:
    """For whole arrays of rows and row by row; and its change along a direction, which TRPO asks for."""

    def formula(x: Any, scale: Any, bias: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return scale * centred / jnp.sqrt(jnp.square(centred).mean(-1, keepdims=True) + 0.1) + bias

    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        given = tuple(jnp.asarray(rng.normal(size=size)) for size in ((2, 3, 5), 5, 5))
        weight = jnp.asarray(rng.normal(size=(2, 3, 5)))

        def answers(norm: Any) -> Any:
            loss = lambda *given: (weight * jnp.square(norm(*given))).sum()  # noqa: E731
            slope = lambda *given: jax.grad(loss, argnums=(0, 1, 2))(*given)  # noqa: E731
            return norm(*given), jax.jvp(slope, given, given)

        whole = lambda *given: standardised(*given, 0.1)  # noqa: E731
        by_row = jax.vmap(jax.vmap(whole, (0, None, None)), (0, None, None))
        expected = answers(formula)
        for found in (answers(whole), answers(by_row)):
            jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-10), found, expected)


def test_a_nudge_of_a_table_is_its_gradient_step() -> None:
    network = Table().build(KEY, spaces.Discrete(3), {"q": ActionValueHead(2)})
    by_table = semi_gradient_step(network, "q", jnp.array(1), jnp.array(0), 0.25)
    slope = jax.grad(lambda n: n.step(jnp.array(1), jnp.array(False), ())[0]["q"][0])(network)
    np.testing.assert_array_equal(by_table.tables["q"], network.tables["q"] + 0.25 * slope.tables["q"])


# What they refuse


def test_policy_head_picks_by_space() -> None:
    assert policy_head(spaces.Discrete(3)) == CategoricalHead(3)
    assert policy_head(spaces.MultiDiscrete([2, 4])) == MultiCategoricalHead((2, 4))
    assert policy_head(spaces.Box(-1, 1, (2,))) == GaussianHead(2)
    assert policy_head(spaces.Box(-1, 1, (2, 3))) == GaussianHead(6)
    assert policy_head(spaces.Box(-1, 1, ())) == GaussianHead(1)
    assert policy_head(spaces.MultiDiscrete([[2, 4], [3, 3]])) == MultiCategoricalHead((2, 4, 3, 3))
    assert policy_head(spaces.MultiBinary((2, 2))) == BernoulliHead(4)
    mixed = spaces.Tuple([spaces.Discrete(3), spaces.Box(-1, 1, (2,))])
    assert policy_head(mixed) == JointHead(MultiCategoricalHead((3,)), GaussianHead(2))
    with pytest.raises(SpaceError, match="Discrete, MultiDiscrete, MultiBinary and Box can be taken"):
        policy_head(spaces.Text(3))
    with pytest.raises(SpaceError, match="choose box=gaussian, squashed or beta"):
        policy_head(mixed, BoxPolicy.state_dependent)


@pytest.mark.parametrize("box", [BoxPolicy.gaussian, BoxPolicy.state_dependent])
def test_a_policy_begins_with_the_spread_that_is_asked_for(box: BoxPolicy) -> None:
    space = spaces.Box(-1, 1, (2,))
    network = MLP((4,)).build(jax.random.key(0), space, {"policy": policy_head(space, box), "value": ValueHead()})
    (asked, _), (twice, _) = (
        with_spread(network, log_std).step(jnp.ones(2), jnp.array(False), ()) for log_std in (-1.0, -1.0 + np.log(2))
    )
    assert twice["policy"].entropy() - asked["policy"].entropy() == pytest.approx(2 * np.log(2), rel=1e-5)
    if box is BoxPolicy.gaussian:
        np.testing.assert_allclose(asked["policy"].log_std, -1.0)


@pytest.mark.parametrize("learnt", [True, False])
def test_noise_that_depends_on_the_state_shapes_the_trunk_where_it_is_to(learnt: bool) -> None:
    head = StateDependentHead(2, learn_features=learnt)
    network = filled(MLP((4,)), BOX, {"policy": head})
    entropy = lambda network: network.step(jnp.ones(3), jnp.array(False), ())[0]["policy"].entropy()  # noqa: E731
    gradient = jax.grad(entropy)(network)
    trunk = sum(float(jnp.abs(w).sum()) for w in jax.tree.leaves(gradient.trunks))
    assert (trunk > 0) == learnt


def test_soft_actor_critics_noise_does() -> None:
    spec = Spec(BOX, spaces.Box(-1, 1, (2,)), num_envs=1, steps=Counter.of(64), row=restart(jnp.ones(3)))
    settings = SAC(network=MLP((4,)), state_dependent=True, batch_size=4, capacity=16)
    actor = settings.init(KEY, spec).actor
    policy = lambda obs: actor.step(obs, jnp.array(False), ())[0]["policy"].normal  # noqa: E731
    assert np.any(jax.grad(lambda obs: policy(obs).entropy())(jnp.ones(3)))


@pytest.mark.parametrize("box", [BoxPolicy.squashed, BoxPolicy.beta])
def test_a_spread_that_is_read_from_the_row_begins_as_it_does(box: BoxPolicy) -> None:
    space = spaces.Box(-1, 1, (2,))
    network = MLP((4,)).build(jax.random.key(0), space, {"policy": policy_head(space, box)})
    with pytest.raises(ValueError, match="choose box=gaussian or state_dependent"):
        with_spread(network, -1.0)


@pytest.mark.parametrize("config", [CNN(), Residual(channels=4, blocks=1), Stack(frames=2, network=CNN())])
def test_pictures_whose_channels_come_first_are_read_as_others(config: Any) -> None:
    """As PyTorch has them: the three channels are no rows."""
    picture = np.random.default_rng(0).integers(0, 255, (2, 6, 8, 3), np.uint8)
    told = []
    for seen in (picture, np.moveaxis(picture, -1, 1)):
        space = spaces.Box(0, 255, seen.shape[1:], np.uint8)
        network = config.build(jax.random.key(0), space, {"value": ValueHead()})
        told.append(network.unroll(jnp.asarray(seen), jnp.array([True, False]), network.initial_carry())["value"])
    np.testing.assert_allclose(*told, rtol=1e-6)


def test_squashed_head_reads_mean_and_clipped_log_std() -> None:
    answer = SquashedGaussianHead(1).read(jnp.array([0.5, 9.0]), {})
    assert (float(answer.normal.mean[0]), float(answer.normal.log_std[0])) == (0.5, 2.0)
    assert float(answer.mode()[0]) == pytest.approx(np.tanh(0.5))


@pytest.mark.parametrize(
    ("config", "space", "error", "message"),
    [
        (Table(), BOX, SpaceError, "finitely many"),
        (Table(), spaces.MultiBinary(70), SpaceError, r"^2,361,183,241,434,822,606,848 entries"),
        (MLP(), spaces.Text(3), SpaceError, "cannot be read"),
        (GRU(), spaces.Box(0, 1, (0,)), SpaceError, "hold no number"),
        (MLP(hidden=()), BOX, ValueError, r"one or more layers.*got \(\)"),
        (GRU(width=0), BOX, ValueError, "width must be positive, got 0"),
        (Transformer(width=20, num_heads=4), BOX, ValueError, "try width=24"),
        (Transformer(window=0), BOX, ValueError, "must be positive"),
        (GRU(reader=LSTM()), BOX, ValueError, "reads each observation by itself, got LSTM: try"),
        (LSTM(embed=(32,), reader=MLP()), BOX, ValueError, r"in place of embed, got embed=\(32,\)"),
        (Transformer(reader=Stack(frames=2)), BOX, ValueError, "reads each observation by itself, got Stack: try"),
    ],
)
def test_bad_settings_are_named(config: Any, space: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        config.build(KEY, space, {"q": ActionValueHead(2)})


class Given(Feedforward):
    """What is observed, as it is."""

    def __call__(self, obs: Any) -> jax.Array:
        return obs


@pytest.mark.parametrize("reader", [CNN((2,), (3,), (1,), (5,)), MLP((5,), compute=Precision.bfloat16)])
@pytest.mark.parametrize("config", [GRU(6), Transformer(8, layers=1, num_heads=2, window=4)])
def test_a_memory_stands_on_what_another_network_reads(config: Any, reader: Any) -> None:
    network = filled(replace(config, reader=reader), spaces.Box(0, 1, (4, 4, 2)), {"value": ValueHead()})
    obs = jnp.asarray(np.random.default_rng(1).uniform(size=(5, 4, 4, 2)), jnp.float32)
    first = jnp.array([True, False, False, True, False])
    below = lambda network: getattr(network.trunks["value"], "embed", None) or network.trunks["value"].input.reader  # noqa: E731
    features = below(network).unroll(obs, first, ())
    assert features.shape == (5, 5) and features.std(0).min() > 0
    expected = eqx.tree_at(below, network, Given()).unroll(features, first, None)["value"]
    np.testing.assert_allclose(network.unroll(obs, first, None)["value"], expected, rtol=1e-4)
    carry = network.initial_carry()
    for t in range(5):
        heads, carry = network.step(obs[t], first[t], carry)
        np.testing.assert_allclose(
            heads["value"], expected[t], rtol=1e-2 if reader.compute is Precision.bfloat16 else 1e-4
        )


def test_a_network_needs_a_head_and_a_nudge_no_memory() -> None:
    with pytest.raises(ValueError, match="one head or more"):
        MLP().build(KEY, BOX, {})
    with pytest.raises(ValueError, match="has a memory"):
        semi_gradient_step(filled(GRU(4, (4,)), BOX, {"value": ValueHead()}), "value", jnp.ones(3), None, 1.0)


# What acting needs, whose gradient reaches a trunk, and how exactly it is computed


@pytest.mark.parametrize("config", [GRU(8, (4,)), Transformer(8, layers=1, num_heads=2, window=4)])
def test_a_selected_head_takes_along_its_own_trunk_alone(config: Any) -> None:
    network = filled(config, BOX, BOTH)
    acting = network.select("policy")
    assert set(acting.trunks) == set(acting.readouts) == set(acting.initial_carry()) == {"policy"}
    obs = jnp.array([0.5, -1.0, 2.0])
    heads, carry = network.step(obs, jnp.array(True), network.initial_carry())
    chosen, kept = acting.step(obs, jnp.array(True), acting.initial_carry())
    jax.tree.map(np.testing.assert_array_equal, (chosen["policy"], kept["policy"]), (heads["policy"], carry["policy"]))
    shared = filled(replace(config, shared=True), BOX, BOTH)
    assert jax.tree.structure(shared.select("policy").initial_carry()) == jax.tree.structure(shared.initial_carry())


@pytest.mark.parametrize("stopped", [(), ("value",)])
def test_a_gradient_reaches_the_shared_trunk_unless_it_is_stopped(stopped: tuple[str, ...]) -> None:
    network = filled(MLP((4,), shared=True, stop_gradient=stopped), BOX, BOTH)
    value = lambda n: n.step(jnp.ones(3), jnp.array(True), ())[0]["value"]  # noqa: E731
    logits = lambda n: n.step(jnp.ones(3), jnp.array(True), ())[0]["policy"].logits[0]  # noqa: E731
    reached = [bool(jnp.any(jax.grad(f)(network).trunks["shared"].input.linear.weight)) for f in (value, logits)]
    assert reached == [not stopped, True]
    assert jnp.any(jax.grad(value)(network).last["value"].weight)


def test_a_gradient_of_no_head_cannot_be_stopped() -> None:
    with pytest.raises(ValueError, match=r"stop_gradient names \['worth'\], but the heads are policy, value"):
        MLP((4,), stop_gradient=("worth",)).build(KEY, BOX, BOTH)


@pytest.mark.parametrize("config", SMALL, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("parameters", Precision)
def test_bfloat16_computes_the_same_to_its_precision(config: Any, parameters: Precision) -> None:
    half = replace(config, parameters=parameters, compute=Precision.bfloat16)
    network, twin = half.build(KEY, BOX, BOTH), config.build(KEY, BOX, BOTH)
    held = {leaf.dtype for leaf in jax.tree.leaves((network.trunks, network.last))}
    assert held == {parameters.dtype}
    obs, first = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32), jnp.arange(6) == 3
    carry = network.initial_carry()
    assert {x.dtype for x in jax.tree.leaves(carry)} <= {jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.int32)}

    @jax.jit
    def asked(network: Any, twin: Any, carry: Any) -> Any:
        expected = twin.unroll(obs, first, twin.initial_carry())
        step, read = network.step(obs[0], jnp.array(True), carry), network.read(obs, first, carry)
        return network.unroll(obs, first, carry), expected, step, read

    heads, expected, (stepped, after), read = asked(network, twin, carry)
    assert heads["value"].dtype == jnp.float32
    np.testing.assert_allclose(heads["value"], expected["value"], atol=0.04)
    assert not np.array_equal(heads["value"], expected["value"])
    np.testing.assert_allclose(stepped["value"], heads["value"][0], atol=0.04)
    assert [x.dtype for x in jax.tree.leaves((after, read))] == [x.dtype for x in jax.tree.leaves((carry, carry))]


@pytest.mark.parametrize("config", [GRU(8, (4,)), Transformer(8, layers=2, num_heads=2, window=4)])
def test_what_is_rematerialised_has_the_same_gradient(config: Any) -> None:
    obs, first = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32), jnp.arange(6) == 3

    def loss(network: Any) -> Any:
        return network.unroll(obs, first, network.initial_carry())["value"].sum()

    plain, again = (replace(config, rematerialise=yes).build(KEY, BOX, {"value": ValueHead()}) for yes in (False, True))
    for one, other in zip(*(jax.tree.leaves(jax.jit(jax.grad(loss))(n)) for n in (plain, again)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert "remat" in str(jax.make_jaxpr(jax.grad(loss))(again)) and "remat" not in str(jax.make_jaxpr(loss)(plain))
