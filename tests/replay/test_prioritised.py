"""Prioritised replay: the sum tree against sums, draws against their law, and who may be drawn at all."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_ring import EXAMPLE, trajectory

from retorno.replay import Prioritised, Proportional, Ranked, ring
from retorno.replay.sum_tree import SumTree

CONFIGS = [Proportional(alpha=1.0, beta=0.5), Ranked(alpha=1.0, beta=0.5)]
EXTRAS = {"carry": (jnp.float32(0),), "seen": jnp.int32(0)}
add = jax.jit(Prioritised.add)
sample = jax.jit(Prioritised.sample, static_argnums=2)
update = jax.jit(Prioritised.update)
put = jax.jit(SumTree.put)


@functools.cache
def lived(config, num_envs=2, capacity=10, rollout=3, rounds=9, length=1, context=0) -> Prioritised:
    sizes = {"num_envs": num_envs, "capacity": capacity, "rollout": rollout, "length": length, "context": context}
    replay = jax.jit(lambda: config.over(ring(EXAMPLE, jnp.int32(0), extras=EXTRAS, **sizes)))()
    for i in range(rounds):
        replay = add(replay, trajectory(i * rollout, rollout, num_envs))
    return replay


def same(tree: SumTree, other: SumTree) -> None:
    jax.tree.map(np.testing.assert_array_equal, tree, other)


@pytest.mark.parametrize("count", [1, 5, 8, 9, 100, 600])
def test_the_tree_holds_sums_however_it_is_changed(count):
    rng = np.random.default_rng(count)
    mass = rng.random(count).astype(np.float32)
    tree = SumTree.grow(jnp.asarray(mass))
    for _ in range(5):
        index = rng.integers(0, count + 3, 7)  # also out of range, also twice
        new = np.where(index % 3 == 0, 0, index).astype(np.float32)
        tree = put(tree, jnp.asarray(np.where(index < count, index, 10**6), jnp.int32), jnp.asarray(new))
        mass[index[index < count]] = new[index < count]
        same(tree, SumTree.grow(jnp.asarray(mass)))
    np.testing.assert_allclose(tree.total, mass.sum(), rtol=1e-6)


def test_a_leaf_is_found_where_the_sums_reach_it():
    mass = np.array([0.0, 2.0, 0.0, 1.0, 3.0, 0.0], np.float32)
    target = np.linspace(0, 6, 600, endpoint=False, dtype=np.float32)
    tree = SumTree.grow(jnp.asarray(mass))
    found, there = tree.find(jnp.asarray(target))
    np.testing.assert_array_equal(found, np.searchsorted(np.cumsum(mass), target, side="right"))
    np.testing.assert_array_equal(there, mass[np.asarray(found)])
    assert int(tree.find(jnp.array([6.0]))[0][0]) == 4  # never one without mass


def test_a_leaf_is_found_on_every_level():
    """Whole numbers are summed exactly, so that each target has one answer."""
    mass = np.random.default_rng(0).integers(0, 4, 700).astype(np.float32)
    target = np.arange(mass.sum(), dtype=np.float32)
    found, _ = SumTree.grow(jnp.asarray(mass)).find(jnp.asarray(target))
    np.testing.assert_array_equal(found, np.searchsorted(np.cumsum(mass), target, side="right"))


def test_a_place_without_mass_is_never_found():
    """Of many roundings none leads astray."""
    rng = np.random.default_rng(1)
    mass = np.where(rng.random(5000) < 0.9, 0, rng.random(5000) ** 8).astype(np.float32)
    tree = SumTree.grow(jnp.asarray(mass))
    target = np.concatenate([rng.random(5000), 1 - rng.random(5000) * 1e-6]).astype(np.float32)
    assert (tree.find(tree.total * jnp.asarray(target))[1] > 0).all()


CASES = [(1, 1, 1, 4, 1, 0), (1, 8, 4, 1, 1, 0), (2, 10, 3, 9, 1, 0), (2, 10, 3, 9, 3, 2), (1, 8, 8, 5, 5, 4)]
CASES += [(1, 3, 3, 2, 2, 1), (3, 10, 2, 3, 4, 0), (1, 2, 2, 7, 3, 3)]


@pytest.mark.parametrize(
    ("config", "case"), [*((CONFIGS[0], case) for case in CASES), *((CONFIGS[1], CASES[i]) for i in (1, 3, 4))]
)
def test_new_windows_are_drawn_alike_and_no_others(config, case):
    """While nothing was learnt they are all as important, so each comes as often as the others.

    Every fifth row ends an episode: a window of nothing but that one is not among them.
    """
    num_envs, capacity, rollout, rounds, length, _ = case
    replay = lived(config, *case)
    total = rollout * rounds
    starts = range(max(total - length + 1 - -(-capacity // num_envs), 0), total - length + 1)
    expected = {(t, e) for t in starts if length > 1 or t % 5 != 4 for e in range(num_envs)}
    size = 64 * len(expected)
    window = sample(replay, jax.random.key(0), size)
    start = np.asarray(window.trajectory.steps.obs[0])
    if isinstance(config, Proportional):
        counts = np.unique(start, return_counts=True)[1]
        assert counts.min() >= 63 and counts.max() <= 65  # strata: no rarer, no more often
        np.testing.assert_array_equal(window.weight, 1)
    assert set(zip((start % 1000).tolist(), (start // 1000).tolist(), strict=True)) == expected
    assert int((replay.priority > 0).sum()) == len(expected)


def shares(replay: Prioritised, size: int = 40_000) -> dict[int, float]:
    """How often each window is drawn, by its index."""
    index, counts = np.unique(sample(replay, jax.random.key(3), size).index, return_counts=True)
    return dict(zip(index.tolist(), (counts / size).tolist(), strict=True))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_drawn_in_proportion_to_the_priority(alpha):
    replay = lived(Proportional(alpha=alpha, beta=0.5), 1, 8, 8, 2)
    index = jnp.arange(9)[np.asarray(replay.priority) > 0]
    replay = update(replay, index, jnp.arange(1.0, 7.0))
    expected = np.arange(1.0, 7) ** alpha / (np.arange(1.0, 7) ** alpha).sum()
    np.testing.assert_allclose([shares(replay)[int(i)] for i in index], expected, atol=0.001)
    # (N · P)^−β over the largest: Schaul et al. 2016, section 3.4; β grows to 1.
    for progress, beta in ((0.0, 0.5), (0.5, 0.75), (1.0, 1.0)):
        window = sample(replay, jax.random.key(0), 2000, jnp.float32(progress))
        wanted = (6 * expected) ** -beta
        place = np.searchsorted(np.asarray(index), np.asarray(window.index))
        np.testing.assert_allclose(window.weight, wanted[place] / wanted[place].max(), rtol=1e-4)


def test_drawn_in_proportion_to_one_over_the_rank():
    replay = lived(Ranked(alpha=1.0, beta=0.5), 1, 8, 8, 2)
    index = jnp.arange(9)[np.asarray(replay.priority) > 0]
    replay = update(replay, index, jnp.array([3.0, 1000.0, 0.0, 7.0, 5.0, 6.0]))
    replay = jax.jit(lambda r: r.scale._sorted(0, r))(replay)
    rank = np.array([5, 1, 6, 2, 4, 3])
    expected = (1 / rank) / (1 / rank).sum()
    np.testing.assert_allclose([shares(replay)[int(i)] for i in index], expected, atol=0.001)
    # A change between two sorts takes the rank that it would have had in the last one.
    replay = update(replay, index[2:3], jnp.array([6.5]))
    np.testing.assert_allclose(replay.tree.levels[0][index[2]], 1 / 3, rtol=1e-6)


def test_what_holds_nothing_to_learn_from_never_comes():
    """Its weight would be some 10⁴ times that of the others, which then count for nothing in its batch."""

    def stored(length, learnt):
        sizes = {"num_envs": 2, "capacity": 20, "rollout": 10, "length": length, "learnt": learnt}
        empty = Proportional().over(ring(EXAMPLE, jnp.int32(0), extras=EXTRAS, **sizes))
        # Rows 4 and 9 end episodes; what begins on the newest row leads nowhere yet.
        return add(empty, trajectory(0, 10, 2))

    for length, learnt, never in ((1, range(1), {4, 9}), (3, range(1), {4}), (3, range(2, 3), {2, 7}), (2, None, ())):
        replay = stored(length, learnt)
        wanted = {1000 * env + t for t in set(range(11 - length)) - set(never) for env in (0, 1)}
        for _ in range(2):  # New, and once all of them were found to be of no use.
            window = sample(replay, jax.random.key(0), 400)
            assert set(np.asarray(window.trajectory.steps.obs[0]).tolist()) == wanted
            np.testing.assert_allclose(window.weight, 1, rtol=1e-5)
            replay = update(replay, jnp.arange(len(replay.priority)), jnp.zeros(len(replay.priority)))


def test_ranks_are_renewed_on_the_way():
    replay = lived(Ranked(alpha=1.0), 1, 8, 8, 2)
    assert float(replay.priority.max()) == 1
    replay = update(replay, replay.ring.newest_window[None], jnp.array([50.0]))
    replay = add(replay, trajectory(16, 8, 1))
    assert float(replay.largest) == pytest.approx(50) and float(replay.scale.ordered[-1]) == pytest.approx(50)


def test_of_those_with_the_same_mean_importance_weights_take_the_bias_out():
    """At β = 1 the weighted mean over draws is the plain mean over what is stored."""
    replay = lived(Proportional(alpha=1.0, beta=1.0), 1, 16, 8, 4)
    index = jnp.arange(17)[np.asarray(replay.priority) > 0]
    replay = update(replay, index, 0.1 + jnp.arange(len(index), dtype=float) ** 2)
    window = sample(replay, jax.random.key(0), 100_000)
    value = np.asarray(window.trajectory.steps.obs[0], float)
    stored = np.asarray(replay.ring.windows(index).trajectory.steps.obs[0], float)
    weighted = (window.weight * value).sum() / window.weight.sum()
    assert abs(weighted - stored.mean()) < 0.05 and abs(value.mean() - stored.mean()) > 1


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: type(c).__name__)
def test_before_anything_is_stored_a_draw_is_harmless(config):
    window = sample(lived(config, 1, 8, 2, 1, length=3), jax.random.key(0), 4)
    assert np.isfinite(window.weight).all()
    assert np.asarray(window.trajectory.transitions).sum() == 4 * 2


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="beta must be in"):
        dataclasses.replace(CONFIGS[0], beta=1.5)
