"""pgx's games as worlds: its Connect Four and tic-tac-toe are ours, row by row."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.core.runtime import IN_HASTE
from retorno.environments.games.game import Game
from retorno.environments.registry import UnknownNameError, make
from retorno.run.structure import space_from_json, space_to_json

pytest.importorskip("pgx", reason="no pgx: pip install pgx")
KEY = jax.random.key(0)


@pytest.mark.parametrize(("theirs", "ours"), [("connect_four", "connect_four"), ("tic_tac_toe", "tic_tac_toe_for_two")])
def test_a_game_that_both_have(theirs: str, ours: str) -> None:
    """256 random games side by side, each move made from what is observed alone: the rows are alike."""
    there, here = make(f"pgx/{theirs}"), make(ours)
    assert isinstance(there, Game) and isinstance(here, Game)
    assert there.action_space == here.action_space and there.two_players

    @partial(jax.jit, compiler_options=IN_HASTE)
    @jax.vmap
    def play(key):
        def move(stood, key):
            state, row, _, other = stood
            drawing, stepping = jax.random.split(key)
            action = jax.random.categorical(drawing, jnp.where(row.legal, 0.0, -jnp.inf))
            entered = there.enter(other.obs)[0]
            after = (*here.step(state, action, stepping), *there.step(entered, action, stepping))
            kept = jax.tree.map(partial(jnp.where, row.last), stood, after)
            return kept, (kept[1], kept[3])

        return jax.lax.scan(move, (*here.reset(key), *there.reset(key)), jax.random.split(key, 42))[1]

    mine, pgx = play(jax.random.split(KEY, 256))
    for name in ("reward", "discount", "last", "legal"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(pgx, name), name)
    assert mine.last[:, -1].all() and {-1.0, 0.0} <= set(np.unique(mine.discount))
    seen = np.asarray(pgx.obs[0][..., 0] + 2 * pgx.obs[0][..., 1])
    live = ~np.asarray(mine.last)
    np.testing.assert_array_equal(seen[live], np.asarray(mine.obs)[live])
    assert there.text(jax.tree.map(lambda x: x[0, 3], pgx.obs)).count("X") == 2


@pytest.mark.parametrize("name", ["2048", "backgammon", "go_9x9", "kuhn_poker"])
def test_what_is_observed_lies_in_its_space(name: str) -> None:
    """And where nothing is hidden a position is what its observation says."""
    world = make(f"pgx/{name}")
    assert isinstance(world, Game)
    state, row = jax.jit(world.reset)(KEY)
    told = space_from_json(space_to_json(world.observation_space))
    assert told == world.observation_space and told.contains(jax.tree.map(np.asarray, row.obs))
    if name == "kuhn_poker":
        with pytest.raises(NotImplementedError, match="does not tell its state"):
            world.enter(row.obs)
        return
    again, same = jax.jit(world.enter)(row.obs)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, again.position, state.position)))
    assert np.array_equal(same.legal, row.legal)


def test_what_pgx_does_not_have() -> None:
    with pytest.raises(UnknownNameError, match="did you mean connect_four"):
        make("pgx/conect_four")
    with pytest.raises(UnknownNameError, match="3 players"):
        make("pgx/sparrow_mahjong")
    with pytest.raises(UnknownNameError, match="without settings: got size=5"):
        make("pgx/hex", size=5)
