"""The rules of the games, held against OpenSpiel's and against known counts; turns, symmetries, and what is told."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goldens import GAMES, draws, mixed, told

from retorno.core.spaces import encode, width
from retorno.environments.games.breakthrough import Breakthrough
from retorno.environments.games.chance import ChanceGame
from retorno.environments.games.connect_four import ConnectFour
from retorno.environments.games.game import Game
from retorno.environments.games.go import Go
from retorno.environments.games.gomoku import Gomoku
from retorno.environments.games.hex import Hex
from retorno.environments.games.othello import Othello
from retorno.environments.games.pig import Pig
from retorno.environments.games.tic_tac_toe_for_two import TicTacToe
from retorno.environments.games.twenty48 import Twenty48
from retorno.run.structure import space_from_json, space_to_json

GOLDENS = json.loads((Path(__file__).parent / "games.json").read_text())
WORLDS: dict[str, Callable[[], Game]] = {
    "TicTacToe": TicTacToe,
    "ConnectFour": ConnectFour,
    "ConnectFour 5x4, 3": lambda: ConnectFour(rows=5, columns=4, length=3),
    "Gomoku": lambda: Gomoku(9, 9),
    "Othello": Othello,
    "Hex": lambda: Hex(5),
    "Breakthrough": lambda: Breakthrough(6, 5),
    "Go": lambda: Go(5, komi=0.5),
    "Pig": lambda: Pig(20),
}
SIDE = 64
"""Games side by side."""
KEY = jax.random.key(0)


@functools.cache
def programs(name: str) -> tuple[Game, Callable[..., Any], Callable[..., Any]]:
    """A game, what may happen, and what does, [SIDE] at a time: (state, action, chance)."""
    world = WORLDS[name]()
    if isinstance(world, ChanceGame):
        return world, jax.jit(jax.vmap(world.odds)), jax.jit(jax.vmap(world.outcome))
    step = jax.jit(jax.vmap(lambda state, action, _: world.step(state, action, KEY)))
    return world, lambda *_: None, step


def played(name: str, games: int) -> list[list[float]]:
    """Random games as `goldens` plays them: length, result and digest of each."""
    return [one for start in range(0, games, SIDE) for one in side_by_side(name, range(start, start + SIDE))][:games]


def side_by_side(name: str, numbers: range) -> list[list[float]]:
    world, odds, step = programs(name)
    random = [draws(number) for number in numbers]
    digest, length, result = [0] * SIDE, [0] * SIDE, [0.0] * SIDE
    state, row = jax.tree.map(lambda x: jnp.stack([x] * SIDE), world.reset(KEY))
    over, legal, second = np.zeros(SIDE, bool), np.asarray(row.legal), np.zeros(SIDE, bool)
    while not over.all():
        action = np.zeros(SIDE, np.int32)
        for game in np.flatnonzero(~over):
            among = np.flatnonzero(legal[game]).tolist()
            action[game] = among[next(random[game]) % len(among)]
            digest[game] = mixed(digest[game], told(among), int(action[game]))
            length[game] += 1
        chance = np.zeros(SIDE, np.int32)
        if (chances := odds(state, action)) is not None:
            for game in np.flatnonzero(~over):
                among = np.flatnonzero(np.isfinite(np.asarray(chances)[game])).tolist()
                if len(among) > 1:
                    chance[game] = among[next(random[game]) % len(among)]
                    digest[game] = mixed(digest[game], int(chance[game]))
        state, row = step(state, action, chance)
        reward, discount, legal = (np.asarray(x) for x in (row.reward, row.discount, row.legal))
        for game in np.flatnonzero(~over):
            result[game] += float(-reward[game] if second[game] else reward[game])
        second = np.where(discount < 0, ~second, second)
        over = over | np.asarray(row.last)
    return [list(each) for each in zip(length, result, digest, strict=True)]


@pytest.mark.parametrize("name", GAMES)
def test_random_games_are_those_of_openspiel(name: str) -> None:
    expected = GOLDENS[name]
    assert played(name, len(expected)) == expected


def pushed(row: list[int]) -> tuple[list[int], int]:
    """2048 by hand: a row of tiles pushed to the left, and what was made."""
    tiles, after, made = [x for x in row if x], [], 0
    while tiles:
        tile = tiles.pop(0)
        if tiles and tiles[0] == tile:
            tile = tiles.pop(0) + 1
            made += 2**tile
        after.append(tile)
    return after + [0] * (len(row) - len(after)), made


def test_2048_is_its_twin() -> None:
    """Pushes, masks and rewards of random boards; where new tiles may come, and how often a 4 does."""
    world, rng = Twenty48(), np.random.default_rng(0)
    boards = np.where(rng.random((256, 4, 4)) < 0.5, rng.integers(1, 4, (256, 4, 4)), 0).astype(np.int8)

    @jax.jit
    @jax.vmap
    def all_ways(board: jax.Array) -> Any:
        each = jax.vmap(lambda way: (world._push(board, way), world.chance_logits(board, way)))
        return world.legal(board), each(jnp.arange(4))

    legal, ((after, made), odds) = jax.device_get(all_ways(boards))
    for i, board in enumerate(boards):
        for way, turns in enumerate((0, 1, 2, 3)):
            rows, won = zip(*(pushed(row) for row in np.rot90(board, turns).tolist()), strict=True)
            np.testing.assert_array_equal(after[i, way], np.rot90(np.array(rows), -turns))
            assert made[i, way] == sum(won)
            assert legal[i, way] == (after[i, way] != board).any()
            free = (after[i, way] == 0).ravel()
            chances = np.exp(odds[i, way].reshape(2, 16))
            np.testing.assert_allclose(chances, np.stack([0.9 * free, 0.1 * free]), rtol=1e-6)


PERFT = {
    "ConnectFour": [7, 49, 343, 2401],
    "Othello": [4, 12, 56, 244, 1396],
    "Hex": [25, 600, 13800],
    "Breakthrough": [13, 169, 2331],
}
"""How many games of so many moves there are: Othello's are well known, the others OpenSpiel's."""


@pytest.mark.parametrize("name", PERFT)
def test_there_are_as_many_games_as_known(name: str) -> None:
    world, _, step = programs(name)
    state, row = jax.tree.map(lambda x: np.asarray(x)[None], world.reset(KEY))
    found = []
    for _ in PERFT[name][1:]:
        found.append(int((row.legal & ~row.last[:, None]).sum()))
        parent, action = np.nonzero(row.legal & ~row.last[:, None])
        after = []
        for start in range(0, len(parent), SIDE):
            size = min(SIDE, len(parent) - start)
            place = start + np.arange(SIDE) % size
            begun = jax.tree.map(lambda x, these=parent[place]: x[these], state)
            led = step(begun, action[place].astype(np.int32), place)
            after.append(jax.tree.map(lambda x, size=size: np.asarray(x)[:size], led))
        state, row = jax.tree.map(lambda *x: np.concatenate(x), *after)
    assert [*found, int((row.legal & ~row.last[:, None]).sum())] == PERFT[name]


def some_positions(name: str) -> tuple[Game, Any, Any]:
    """Random positions [SIDE] in the middle of games, and their rows."""
    world, _, step = programs(name)
    rng = np.random.default_rng(1)
    state, row = jax.tree.map(lambda x: jnp.stack([x] * SIDE), world.reset(KEY))
    for _ in range(7):
        weights = rng.random(row.legal.shape) * np.asarray(row.legal)
        state, row = step(state, weights.argmax(1).astype(np.int32), np.zeros(SIDE, np.int32))
    return world, state, row


TURNED = ["ConnectFour", "Gomoku", "Othello", "Hex", "Breakthrough", "Go"]


@pytest.mark.parametrize("name", TURNED)
def test_a_turned_position_has_the_turned_moves(name: str) -> None:
    world, _, row = some_positions(name)
    numbers = jnp.arange(SIDE) % world.symmetries
    enter = jax.jit(jax.vmap(world.enter))
    if isinstance(world, Go):
        # Numbers that tell which positions have been are not turned with the board: here none has.
        row = enter(row.obs | {"seen": jnp.zeros_like(row.obs["seen"])})[1]._replace(last=row.last)
    obs, legal = jax.jit(jax.vmap(world.turned))(row.obs, row.legal.astype(jnp.float32), numbers)
    entered, going = enter(obs)[1], ~np.asarray(row.last)
    assert going.any() and world.symmetries > 1
    np.testing.assert_array_equal(entered.legal[going], legal[going] > 0)


def test_2048_may_be_turned() -> None:
    """A turned board, pushed the turned way, is the turned result."""
    world = Twenty48()
    board = jnp.asarray(np.random.default_rng(0).integers(0, 3, (4, 4)), jnp.int8)
    chosen = jnp.eye(4)

    @jax.jit
    @jax.vmap
    def both(number: jax.Array) -> Any:
        turned, ways = jax.vmap(lambda way: world.turned(board, way, number))(chosen)
        after = jax.vmap(lambda board, way: world._push(board, jnp.argmax(way))[0])(turned, ways)
        expected = jax.vmap(lambda way: world.turned(world._push(board, way)[0], chosen[0], number)[0])
        return after, expected(jnp.arange(4))

    np.testing.assert_array_equal(*both(jnp.arange(world.symmetries)))


def test_go_knows_ko_suicide_and_what_was_before() -> None:
    world, _, step = programs("Go")
    place = {world.say(action): action for action in range(26)}

    def after(moves: str) -> Any:
        state, row = jax.tree.map(lambda x: jnp.stack([x] * SIDE), world.reset(KEY))
        for said in moves.split():
            assert row.legal[0, place[said]], said
            state, row = step(state, np.full(SIDE, place[said], np.int32), np.zeros(SIDE, np.int32))
        return jax.tree.map(lambda x: np.asarray(x)[0], row)

    # Black takes a stone at c3; white may not take back at once, but when the board is another one.
    row = after("b3 c3 c4 d4 c2 d2 a1 e3 d3")
    assert row.obs["board"][2, 2] == 0 and not row.legal[place["c3"]]
    assert after("b3 c3 c4 d4 c2 d2 a1 e3 d3 e5 a5").legal[place["c3"]]
    # A lone cell inside the other's stones has no liberty.
    corner = after("a2 e5 b1 e4 e1")
    assert not corner.legal[place["a1"]]
    # Two passes end the game, and all of the board is the one colour's.
    over = after("c3 pass pass")
    assert over.last and over.discount == 0
    assert over.reward == 1, "black passed last, and has 25 to 0.5"


def test_what_go_remembers_is_read_by_no_network() -> None:
    space = Go(5).observation_space
    again = space_from_json(json.loads(json.dumps(space_to_json(space))))
    assert width(again) == width(space) == 3 * 25 + 2 + 2
    assert encode(again, Go(5).reset(KEY)[1].obs).shape == (79,)


@pytest.mark.parametrize("name", GAMES)
def test_what_was_said_is_understood(name: str) -> None:
    world, _, row = some_positions(name)
    legal = np.asarray(row.legal[0])
    for second in (False, True):
        for action in np.flatnonzero(legal):
            assert world.action(f" {world.say(int(action), second).upper()} ", legal, second) == action
    with pytest.raises(ValueError, match="no legal move here; legal are"):
        world.action("z99", legal)
    assert world.text(jax.tree.map(lambda x: np.asarray(x)[0], row.obs))


def test_cells_are_called_as_players_of_each_game_call_them() -> None:
    """Programs and files of others are understood by them: Othello's and Hex's rows are counted from above, Go's and
    Gomoku's from below. After z comes aa.
    """
    othello, hex, wide = Othello(), Hex(5), Gomoku(1, 32)
    first = np.flatnonzero(othello.reset(KEY)[1].legal)
    assert [othello.say(int(action)) for action in first] == ["d3", "c4", "f5", "e6"]
    # The corners in which a Hex board is sharp, and a cell has two neighbours, are a1 and e5.
    assert [hex.say(cell, second) for cell in (0, 3, 24) for second in (False, True)] == "a1 a1 d1 a4 e5 e5".split()
    assert (Gomoku(9, 9).say(0), Go(9).say(8), Breakthrough(6, 5).say(3 * 25 + 1)) == ("a9", "j9", "a1a2")
    assert [wide.say(cell) for cell in (25, 26, 31)] == ["z1", "aa1", "af1"]
    assert wide.action("AF1", np.ones(32, bool)) == 31
    last = wide.text(np.eye(1, 32, 26, np.int8)).splitlines()
    assert last[0].index("X") == last[1].index("aa")


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConnectFour(rows=32),
        lambda: Gomoku(columns=33),
        lambda: Othello(5),
        lambda: Hex(0),
        lambda: Breakthrough(3, 3),
        lambda: Go(20),
        lambda: Go(komi=float("nan")),
        lambda: Go(longest=0),
        lambda: Pig(1),
        lambda: Twenty48(1),
    ],
)
def test_a_board_that_cannot_be_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match="got"):
        make()
