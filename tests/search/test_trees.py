"""Tree searches with a network: they find what is exact, in games and where chance has a say, and one is as many."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import mctx
import numpy as np
import pytest
from jax import Array

from retorno.bellman import minimax, solve
from retorno.core.mdp import ModelError, mdp
from retorno.core.runtime import IN_HASTE
from retorno.core.spaces import SpaceError
from retorno.environments.games.hex import Hex
from retorno.environments.games.tic_tac_toe_for_two import TicTacToe
from retorno.environments.positions import positions
from retorno.environments.sampled_world import sampled
from retorno.environments.wrappers import TimeLimit
from retorno.models.tabular import WorldModel
from retorno.search import PUCT, Gumbel
from retorno.search.trees import Found, noise_over
from retorno.search.uct import UCB, rollouts

WORLD = TicTacToe()
MODEL = WorldModel(WORLD)
KEY = jax.random.key(0)


def knows_nothing(obs: Any) -> tuple[Array, Array]:
    return jnp.zeros(9), jnp.float32(0)


@pytest.fixture(scope="module")
def late() -> tuple[Any, Any, np.ndarray]:
    """Boards with four free cells, exact action values, and which are legal."""
    found = positions(WORLD)
    model, exact = found.model, minimax(found.model)
    q = np.full((model.num_states, 9), np.nan)
    q[model.pair_state, model.action] = exact.q
    chosen = np.flatnonzero((~np.isnan(q)).sum(1) == 4)
    chosen = chosen[np.nanmax(q[chosen], 1) > np.nanmin(q[chosen], 1)][:32]
    return jnp.asarray(found.obs[chosen]), q[chosen], exact.value[chosen]


def test_a_search_that_knows_nothing_finds_perfect_moves(late: Any) -> None:
    (boards, q, value), config = late, PUCT(simulations=200)
    entered = lambda board: WORLD.enter(board)[1]  # noqa: E731

    def one(board: Array) -> Found:
        return config.search(MODEL, knows_nothing, entered(board), KEY)

    many = jax.jit(jax.vmap(one))(boards)
    chosen = q[np.arange(len(q)), np.asarray(many.action)]
    np.testing.assert_allclose(chosen, np.nanmax(q, 1))
    assert (np.asarray(many.policy)[np.isnan(q)] == 0).all(), "what is not legal is never recommended"
    assert many.visits.sum(1).tolist() == [200] * len(q)
    assert np.abs(many.value - value).mean() < 0.2


def mctx_chooses(search: PUCT | Gumbel, row: Any, key: Any, logits: Array, value: Array) -> Any:
    """The same search by mctx, for one row."""
    one = lambda tree: jax.tree.map(lambda x: x[None], tree)  # noqa: E731

    def recurrent(_: Any, key: Any, action: Array, node: Any) -> tuple[Any, Any]:
        (state, over), action = jax.tree.map(lambda x: x[0], (node, action))
        state, after = WORLD.step(state, action, key)
        logits, value = thinks(after.obs)
        ends = over | (after.discount == 0)
        output = mctx.RecurrentFnOutput(
            reward=jnp.where(over, 0.0, after.reward),
            discount=jnp.where(ends, 0.0, 0.9 * after.discount),
            prior_logits=jnp.where(after.legal, logits, jnp.finfo(jnp.float32).min),
            value=jnp.where(ends, 0.0, value),
        )
        return one(output), one((state, ends))

    root = mctx.RootFnOutput(
        prior_logits=jnp.where(row.legal, logits, -1e9)[None],
        value=value[None],
        embedding=one((WORLD.enter(row.obs)[0], jnp.bool_(False))),
    )
    given = ((), key, root, recurrent, search.simulations, ~row.legal[None])
    if isinstance(search, Gumbel):
        return mctx.gumbel_muzero_policy(*given, max_num_considered_actions=6, gumbel_scale=1.0)
    noise = {"dirichlet_fraction": 0.25, "dirichlet_alpha": 10 / 9}
    stretched = {"qtransform": of_the_whole_tree} if search.whole_tree else {}
    return mctx.muzero_policy(*given, pb_c_init=1.25, temperature=0.0, **noise, **stretched)


def of_the_whole_tree(tree: Any, node: Array) -> Array:
    """Schrittwieser et al. 2020, eq. 5, for mctx: values between the least and the largest of all that was seen."""
    q = tree.children_rewards + tree.children_discounts * tree.children_values
    seen = jnp.where(tree.children_visits > 0, q, tree.node_values[0])
    return jnp.where(tree.children_visits > 0, q - seen.min(), 0.0)[node] / jnp.maximum(seen.max() - seen.min(), 1e-8)


def test_lots_are_drawn_among_what_was_visited_as_often() -> None:
    """Twice each cell of an empty board, of which nothing is known."""
    row, keys = WORLD.reset(KEY)[1], jax.random.split(KEY, 16)
    search = lambda key: PUCT(simulations=18).search(MODEL, knows_nothing, row, key)  # noqa: E731
    found = jax.jit(jax.vmap(search), compiler_options=IN_HASTE)(keys)
    assert (found.visits == 2).all() and len(set(found.action.tolist())) > 4


def thinks(obs: Array) -> tuple[Array, Array]:
    """Something of each board that no other has."""
    number = (obs.reshape(-1) * 3.0 ** jnp.arange(9)).sum()
    return 2 * jnp.sin(number * jnp.arange(1, 10)), jnp.cos(number)


@pytest.mark.parametrize(
    "search",
    [PUCT(simulations=40), PUCT(simulations=40, whole_tree=True), Gumbel(simulations=40, considered=6)],
    ids=["puct", "whole_tree", "gumbel"],
)
def test_the_tree_grows_as_mctx_grows_it(late: Any, search: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Action by action, visit by visit, and weight by weight, with the same noise at the root."""
    keys = jax.random.split(KEY, len(late[0]))

    def both(board: Array, key: Any) -> tuple[Found, Any]:
        row = WORLD.enter(board)[1]
        # Theirs is over all actions.
        monkeypatch.setattr(jax.random, "dirichlet", lambda key, alpha, shape: noise_over(row.legal, key, 10)[None])
        theirs = mctx_chooses(search, row, key, *thinks(board))
        return search.search(MODEL, thinks, row, key, 0.9, exploring=True), theirs

    ours, theirs = jax.jit(jax.vmap(both), compiler_options=IN_HASTE)(late[0], keys)
    tree = theirs.search_tree
    np.testing.assert_array_equal(ours.visits, tree.children_visits[:, 0, 0])
    np.testing.assert_allclose(ours.policy, theirs.action_weights[:, 0], atol=1e-6)
    q = tree.children_rewards[:, 0, 0] + tree.children_discounts[:, 0, 0] * tree.children_values[:, 0, 0]
    np.testing.assert_allclose(ours.q, q, atol=1e-5)
    # Where visits are tied mctx draws lots anew, and so do we.
    visits = np.asarray(ours.visits)
    tied = (visits == visits.max(1, keepdims=True)).sum(1) > 1
    same = np.asarray(ours.action) == np.asarray(theirs.action[:, 0])
    assert same.all() if isinstance(search, Gumbel) else same[~tied].all() and (~tied).sum() > 8


def test_noise_is_over_what_may_be_chosen() -> None:
    """A quarter of the root's prior stays a quarter, and its spread is that of a Dirichlet distribution of three."""
    legal = jnp.zeros(40, bool).at[jnp.array([3, 17, 30])].set(True)
    drawn = jax.jit(jax.vmap(lambda key: noise_over(legal, key, 10.0)))(jax.random.split(KEY, 4_000))
    np.testing.assert_allclose(drawn.sum(1), 1, rtol=1e-5)
    assert not drawn[:, ~legal].any()
    # Variance of Dirichlet(10/3, 10/3, 10/3): (1/3)(2/3) / 11.
    np.testing.assert_allclose(drawn[:, legal].var(0), 2 / 9 / 11, rtol=0.1)


def test_what_differs_by_little_beside_the_rest_of_the_tree_counts_little() -> None:
    """Two arms apart by a model's error of .001: of a place alone that is much, of a tree that goes on to 0 little."""
    paid = {"one": 0.5, "other": 0.501, "bad": -0.5}
    world = sampled(mdp({"here": {name: [(1.0, "end", x, True)] for name, x in paid.items()}}))
    thinks = lambda obs: (jnp.log(jnp.array([0.7, 0.2, 0.1])), jnp.float32(0.5))  # noqa: E731
    row = world.reset(KEY)[1]
    visits = lambda whole: (  # noqa: E731
        PUCT(simulations=64, whole_tree=whole).search(WorldModel(world), thinks, row, KEY).visits
    )
    one, other, _ = visits(False)
    assert other > 2 * one
    one, other, _ = visits(True)
    assert one > 2 * other


def test_uct_finds_perfect_moves_by_playing_at_random(late: Any) -> None:
    (boards, q, _), config = late, UCB(simulations=200)
    judge = rollouts(MODEL, 9)
    search = lambda board: config.search(MODEL, judge, WORLD.enter(board)[1], KEY)  # noqa: E731
    found = jax.jit(jax.vmap(search), compiler_options=IN_HASTE)(boards)
    np.testing.assert_allclose(q[np.arange(len(q)), np.asarray(found.action)], np.nanmax(q, 1))
    assert np.nanmax(np.where(found.visits > 20, np.abs(found.q - q), 0), 1).mean() < 0.2


def test_a_game_that_is_over_is_not_played_on_for_ever() -> None:
    """A full board of Hex, on which nobody can move: what is thought of it is dropped, and it costs nothing."""
    world = Hex(size=3)
    assert rollouts(WorldModel(world), 9)(jnp.array([[1, 2, 1], [2, 1, 2], [1, 2, 2]], jnp.int8))[1] == 0


def test_gumbels_policy_is_its_closed_form_on_one_step() -> None:
    """Danihelka et al. 2022, eq. 11: logits plus the values, each of which was looked at."""
    paid = np.array([0.1, 0.7, 0.4])
    model = mdp({"here": {str(i): [(1.0, "end", float(x), True)] for i, x in enumerate(paid)}})
    world, logits = sampled(model), jnp.array([0.3, -0.2, 0.0])
    search = Gumbel(simulations=6)
    found = jax.jit(
        lambda: search.search(WorldModel(world), lambda obs: (logits, jnp.float32(0)), world.reset(KEY)[1], KEY)
    )()
    assert found.visits.sum() == 6 and (found.visits > 0).all()
    scaled = (paid - paid.min()) / (paid.max() - paid.min())
    expected = jax.nn.softmax(logits + (50 + found.visits.max()) * 0.1 * scaled)
    np.testing.assert_allclose(found.policy, expected, rtol=1e-5)


def risky() -> Any:
    """A sure .6, or a coin for 1, which looks better to whoever takes what fell once for what always falls."""
    return mdp(
        {"here": {"sure": [(1.0, "end", 0.6, True)], "coin": [(0.5, "end", 1.0, True), (0.5, "end", 0.0, True)]}}
    )


def test_chance_is_weighed() -> None:
    world, exact = TimeLimit(sampled(risky()), 5), solve(risky(), 1.0)
    search = PUCT(simulations=64)
    evaluator = lambda obs: (jnp.zeros(2), jnp.float32(0))  # noqa: E731
    row = world.reset(KEY)[1]
    found = jax.jit(jax.vmap(lambda key: search.search(WorldModel(world), evaluator, row, key)))(
        jax.random.split(KEY, 16)
    )
    np.testing.assert_array_equal(found.action, 0)
    # Each outcome is visited as often as it is likely, up to half a visit.
    assert (np.abs(found.q - exact.q) <= 0.5 / found.visits + 1e-6).all()
    judge = rollouts(WorldModel(world), 2)
    assert jax.jit(lambda: UCB(simulations=64).search(WorldModel(world), judge, row, KEY).action)() == 0
    assert (found.lines == -1).all()
    with pytest.raises(SpaceError, match="PUCT"):
        Gumbel().search(WorldModel(world), evaluator, row, KEY)


def test_more_than_memory_holds_is_refused_before_it_is_looked_for() -> None:
    with pytest.raises(ModelError, match=r"100,000,000,000 simulations would take .* make it smaller"):
        Gumbel(simulations=10**11).search(MODEL, knows_nothing, WORLD.reset(KEY)[1], KEY)


def test_a_row_that_ends_all_is_no_trouble() -> None:
    """A full board: nothing is legal there, and the row says that all is."""
    state, row = WORLD.enter(jnp.array([[1, 2, 1], [1, 2, 2], [2, 1, 0]], jnp.int8))
    _, row = WORLD.step(state, jnp.int32(8), KEY)
    assert row.last
    found = jax.jit(lambda: PUCT(simulations=8).search(MODEL, knows_nothing, row, KEY))()
    assert np.isfinite(jax.tree.leaves(found)[1]).all() and found.value == 0
