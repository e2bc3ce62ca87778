"""A model as a world: its rows, its frequencies, and returns that agree with the exact value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno import bellman
from retorno.core.environment import advance, begin
from retorno.core.mdp import mdp
from retorno.environments.grids import lakes
from retorno.environments.sampled_world import sampled
from retorno.environments.textbook.garnet import garnet
from retorno.environments.textbook.lecture import random_walk, student
from retorno.environments.textbook.toy_text import toy_text


def live(world, policy, steps, envs, seed=0):
    """Rows [T+1, B] and actions [T, B] under a table of probabilities [S, A]."""
    logits = jnp.log(jnp.asarray(policy))

    def one(env):
        episodes, row = begin(world, jnp.int32(seed), env)

        def step(now, key):
            episodes, row = now
            action = jax.random.categorical(key, logits[row.obs])
            return advance(world, episodes, row, action, jnp.int32(seed), env), (row, action)

        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), env), steps)
        (_, end), (rows, actions) = jax.lax.scan(step, (episodes, row), keys)
        return jax.tree.map(lambda many, last: jnp.concatenate([many, last[None]]), rows, end), actions

    rows, actions = jax.jit(jax.vmap(one, out_axes=1))(jnp.arange(envs))
    return jax.tree.map(np.asarray, rows), np.asarray(actions)


def table(model, policy):
    """Probabilities of pairs [P] as [S, A]; terminal states, where the action is ignored, take action 0."""
    full = np.zeros((model.num_states, model.num_actions))
    full[model.pair_state, model.action] = policy
    full[model.terminal, 0] = 1
    return full


@pytest.mark.parametrize("make", [student, lakes.frozen_lake, lambda: garnet(12, 3, 7, seed=3, termination=0.3)])
def test_frequencies_are_the_models_probabilities(make):
    model = make()
    world, draws = sampled(model), 4000
    step = jax.jit(jax.vmap(jax.vmap(world.step, (None, None, 0)), (0, 0, None)))
    _, rows = step(jnp.asarray(model.pair_state), jnp.asarray(model.action), jax.random.split(jax.random.key(0), draws))
    for pair in range(model.num_pairs):
        expected = {}
        for t in range(*model.row_ptr[pair : pair + 2]):
            key = (int(model.next_state[t]), np.float32(model.reward[t]), np.float32(model.discount[t]))
            expected[key] = expected.get(key, 0.0) + model.probability[t]
        seen = list(zip(*(np.asarray(x[pair]) for x in (rows.obs, rows.reward, rows.discount)), strict=True))
        assert set(seen) <= set(expected), "an outcome that the model does not have"
        for key, p in expected.items():
            error = np.sqrt(p * (1 - p) / draws)
            assert sum(s == key for s in seen) / draws == pytest.approx(p, abs=4 * error + 1e-12)
    assert (np.asarray(rows.last) == (np.asarray(rows.discount) == 0)).all()
    assert not np.asarray(rows.first).any()


@pytest.mark.parametrize("u", [0.0, 1 / 3, 1 - 2**-24])
@pytest.mark.parametrize("chances", [[0.1] * 10, [0.0, 1 / 3, 0.0, 2 / 3, 0.0], [1e-9, 1 - 1e-9], [1.0]])
def test_rounding_reaches_no_impossible_outcome(monkeypatch, chances, u):
    """Ten float32 tenths do not sum to one; an outcome of probability 0 at either end or between is never drawn."""
    names = [f"n{i}" for i in range(len(chances))]
    model = mdp({"a": {"go": [(p, n, 0.0) for p, n in zip(chances, names, strict=True)]}}, initial="a")
    monkeypatch.setattr(jax.random, "uniform", lambda key: jnp.float32(u))
    state, _ = sampled(model).step(jnp.int32(0), jnp.int32(0), jax.random.key(0))
    name = model.state_names[int(state)]
    assert chances[names.index(name)] > 0
    below = sum(chances[: names.index(name)])
    assert below - 1e-6 <= u <= below + chances[names.index(name)] + 1e-6


def test_rows_of_episodes():
    model = lakes.frozen_lake()
    rows, actions = live(sampled(model), np.full((16, 4), 0.25), steps=300, envs=8)
    assert rows.first[0].all() and (rows.first[1:] == rows.last[:-1]).all()
    assert (rows.last == model.terminal[rows.obs]).all() and rows.last.any()
    assert (rows.discount == np.where(rows.last, 0, 1)).all()
    assert (rows.obs[rows.first] == 0).all() and (rows.reward[rows.first] == 0).all()
    assert rows.legal is None and rows.reward.max() == 1
    possible = {
        (int(model.pair_state[p]), int(model.action[p]), int(n))
        for p, n in zip(model.transition_pair, model.next_state, strict=True)
    }
    lived = ~rows.last[:-1]
    steps = zip(rows.obs[:-1][lived], actions[lived], rows.obs[1:][lived], strict=True)
    assert {(int(s), int(a), int(n)) for s, a, n in steps} <= possible
    goal = model.state("3,3")
    assert ((rows.reward == 1) == (rows.obs == goal)).all()


def test_a_discount_between_zero_and_one_is_no_end():
    model = mdp({"a": {"go": [(1.0, "a", 1.0)]}})
    model.discount[:] = 0.5
    _, row = sampled(model).step(jnp.int32(0), jnp.int32(0), jax.random.key(0))
    assert row.discount == 0.5 and not row.last


def test_the_first_state_has_its_distribution():
    model = mdp({s: {"go": [(1.0, "end", 0.0)]} for s in "abc"}, initial={"a": 0.2, "c": 0.8})
    world = sampled(model)
    states = np.asarray(jax.vmap(lambda key: world.reset(key)[0])(jax.random.split(jax.random.key(1), 4000)))
    assert set(states) == {0, 2}
    assert (states == 2).mean() == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / 4000))
    taxi = toy_text("Taxi-v4")
    world = sampled(taxi)
    starts = np.asarray(jax.vmap(lambda key: world.reset(key)[0])(jax.random.split(jax.random.key(0), 6000)))
    assert set(starts) == set(np.flatnonzero(taxi.initial))


def test_legal_actions():
    world = sampled(student())
    names = student().action_names
    _, row = world.reset(jax.random.key(0))
    assert [n for n, legal in zip(names, row.legal, strict=True) if legal] == ["facebook", "study"]
    state, row = world.step(jnp.int32(2), jnp.int32(names.index("sleep")), jax.random.key(0))
    assert row.last and row.legal.all(), "where no action is taken none is forbidden"
    state, row = world.step(jnp.int32(2), jnp.int32(names.index("pub")), jax.random.key(0))
    assert state == 2 and jnp.isnan(row.reward) and not row.last, "an illegal action must be noticed"
    assert sampled(random_walk(5)).reset(jax.random.key(0))[1].legal is None


def test_spaces():
    world = sampled(student())
    assert world.observation_space.n == 5 and world.action_space.n == 5
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(world))
    assert world.observation_space.contains(int(world.reset(jax.random.key(0))[0]))


@pytest.mark.parametrize(
    ("make", "discount"), [(student, 1.0), (student, 0.9), (lambda: garnet(8, 2, 3, seed=5, termination=0.2), 0.95)]
)
def test_mean_returns_are_the_exact_value(make, discount):
    """First episodes of 2,000 environments under the uniform policy, against bellman, within 4 standard errors."""
    model = make()
    exact = bellman.evaluate(model, bellman.uniform, discount)
    rows, _ = live(sampled(model), table(model, exact.policy), steps=200, envs=2000, seed=11)
    alive = np.cumprod(~np.concatenate([np.zeros((1, 2000), bool), rows.last[:-1]]), axis=0)
    returns = (rows.reward * alive * discount ** (np.arange(201)[:, None] - 1)).sum(axis=0)
    assert alive[-1].mean() < 0.001, "200 steps must be enough for nearly all episodes"
    error = returns.std() / np.sqrt(len(returns))
    assert returns.mean() == pytest.approx(exact.start_value, abs=4 * error)
