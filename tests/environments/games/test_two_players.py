"""A game of two: its exact value, the world against its model, and a table that learnt by playing against itself."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from jax import Array
from jaxtyping import Key

import retorno as rt
from retorno.core.mdp import MDP, ModelError
from retorno.core.solution import Solution
from retorno.core.spaces import HashableSpace, index
from retorno.core.time_step import TimeStep
from retorno.environments.enumeration import enumerated
from retorno.environments.games.game import GIVE_UP, Game, Moved, Standing, half_turned
from retorno.environments.games.hex import Hex
from retorno.environments.games.pig import Pig
from retorno.environments.games.sgf import SGFError
from retorno.environments.games.tic_tac_toe import LINES
from retorno.environments.games.tic_tac_toe_for_two import TicTacToe
from retorno.environments.games.twenty48 import Twenty48
from retorno.environments.hosted.export import to_gymnasium
from retorno.environments.positions import Positions, _surely_more, positions
from retorno.environments.registry import model
from retorno.policies import Uniform
from retorno.policies.exploration import Epsilon
from retorno.policies.target_and_behaviour import FixedPolicy
from retorno.run.played import Played

WORLD = TicTacToe()
KEY = jax.random.key(0)


@functools.cache
def found() -> Positions:
    return positions(WORLD)


@functools.cache
def solved() -> Solution:
    return rt.bellman.solve(found().model, 1)


@functools.cache
def perfect_player() -> FixedPolicy:
    """A table of all boards, which a program reads quicker than it asks a solver."""
    table = np.full((3**9, 9), -np.inf, np.float32)
    table[names()[solved().model.pair_state], solved().model.action] = np.where(solved().optimal, 0, -np.inf)
    return FixedPolicy(jnp.asarray(table), HashableSpace(WORLD.observation_space))


def names() -> np.ndarray:
    """The number of each board, [S]."""
    return np.asarray(jax.vmap(lambda board: index(WORLD.observation_space, board))(jnp.asarray(found().obs)))


UNIFORM = Uniform().build(WORLD.observation_space, WORLD.action_space)


def test_perfect_play_is_a_draw() -> None:
    answer = solved()
    assert answer.start_value == answer.lower[0] == answer.upper[0] == 0
    assert answer.model.num_states == 5478 and answer.method == "minimax" and answer.policy_loss_bound == 0
    assert answer.sweeps <= 10, "the longest game has nine moves"
    # Any opening holds the draw; the corner can be answered by the centre alone.
    assert answer.actions(0) == tuple(WORLD.say(cell) for cell in range(9))
    corner = np.array([[2, 0, 0], [0, 0, 0], [0, 0, 0]], np.int8)
    best = np.maximum.reduceat(answer.q, answer.model.state_ptr[:-1][~answer.model.terminal])
    np.testing.assert_array_equal(best, answer.value[~answer.model.terminal])
    np.testing.assert_array_equal(answer.optimal, answer.q == answer.value[answer.model.pair_state])
    assert answer.actions(found().state(corner)) == answer.actions("O../.../...") == ("b2",)


def by_hand() -> MDP:
    """Tic-tac-toe written once more, in Python: each board as its mover sees it, as a string of nine digits."""

    def moved(board: str, cell: int) -> list[tuple[float, str, float, bool]]:
        mine = f"{board[:cell]}1{board[cell + 1 :]}"
        won = any(all(mine[place] == "1" for place in line) for line in LINES)
        return [(1.0, mine.translate(str.maketrans("12", "21")), float(won), won or "0" not in mine)]

    model = enumerated(moved, lambda board: [cell for cell in range(9) if board[cell] == "0"], "0" * 9)
    return dataclasses.replace(model, discount=np.where(model.discount == 0, 0.0, -1.0))


def test_the_positions_of_a_world_are_those_written_by_hand() -> None:
    model, other = found().model, by_hand()
    named = {name: state for state, name in enumerate(other.state_names)}
    where = np.array([named["".join(map(str, board.ravel()))] for board in found().obs])
    assert len(set(where.tolist())) == other.num_states

    def rows(model: MDP, where: np.ndarray) -> np.ndarray:
        table = (where[model.pair_state], model.action, where[model.next_state], model.reward, model.discount)
        return np.array(sorted(zip(*table, strict=True)))

    np.testing.assert_array_equal(rows(model, where), rows(other, np.arange(other.num_states)))


def test_only_minimax_solves_a_game() -> None:
    with pytest.raises(ModelError, match="minimax"):
        rt.bellman.solve(found().model, 1, method=rt.bellman.policy_iteration)
    with pytest.raises(ValueError, match="leave out minimise"):
        rt.bellman.solve(found().model, 1, minimise=True)


def test_chance_and_small_boards_are_solved() -> None:
    """Who begins wins at Hex on 3×3; in pig, which chance alone ends, the bounds close."""
    assert rt.bellman.solve(model("hex", size=3), 1).start_value == 1
    pig = rt.bellman.solve(positions(Pig(target=6)).model, 1)
    assert 0 < pig.start_value < 1 and pig.policy_loss_bound < 1e-6
    # Nobody holds with nothing: two who did would play for ever.
    assert pig.model.action[pig.model.pair_state == 0].tolist() == [0]


@pytest.mark.parametrize(
    ("world", "why"),
    [
        (Twenty48(), "draws where it begins"),
        (Pig(), "more than 500 positions"),
        (rt.make("CartPole-v1"), "draws where it begins"),
        (rt.make("student"), "draws where it begins"),
    ],
)
def test_what_has_no_such_model_is_refused(world: Any, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        positions(world, limit=500)


def test_far_too_many_positions_are_known_at_once() -> None:
    """By courses at random: none of a game is refused that has as many positions as are allowed, or far fewer."""
    assert _surely_more(Hex(size=5), 1_000_000)
    number = found().model.num_states
    assert not _surely_more(WORLD, number) and not _surely_more(WORLD, 100 * number)


def test_two_perfect_players_draw_and_a_random_one_loses() -> None:
    perfect, uniform = perfect_player(), UNIFORM
    even = rt.evaluate(policies=(perfect, perfect), world=WORLD, episodes=100, greedy=False)
    assert even.draws == 100
    odds = rt.evaluate(policies=(perfect, uniform), world=WORLD, episodes=400, greedy=False)
    assert odds.losses == 0
    low, high = odds.ci95
    assert 0.5 < low < odds.mean < high < 1
    assert odds.moving_first > odds.moving_second
    turned = rt.evaluate(policies=(uniform, perfect), world=WORLD, episodes=400, greedy=False)
    assert turned.wins == 0 and turned.mean == pytest.approx(-odds.mean, abs=0.1)


def test_players_meet_in_a_hosted_game_as_in_a_native_one() -> None:
    perfect, uniform = perfect_player(), UNIFORM
    hosted = rt.gymnasium(lambda: to_gymnasium(WORLD))
    for players in ((perfect, uniform), (uniform, perfect)):
        native, other = (rt.evaluate(policies=players, world=world, episodes=4) for world in (WORLD, hosted))
        assert native.as_row() == other.as_row()
        np.testing.assert_array_equal(native.lengths, other.lengths)
    drawn = rt.evaluate(policies=(perfect, uniform), world=hosted, episodes=20, greedy=False)
    assert drawn.losses == 0 and drawn.wins > 0 and drawn.ci95[1] <= 1


class LastOfThree(Game):
    """Three cells in a row; who takes the last one wins, and would move again."""

    @property
    def board(self) -> tuple[int, int]:
        return 1, 3

    def start(self, key: Any) -> Any:
        return jnp.zeros((1, 3), jnp.int8)

    def legal(self, position: Any) -> Any:
        return position[0] == 0

    def move(self, position: Any, action: Any, key: Any) -> Moved:
        taken = position.at[0, action].set(1)
        over = (taken != 0).all()
        return Moved(jnp.where(over, taken, jnp.array([0, 2, 1], jnp.int8)[taken]), over, over, again=over)


def test_the_last_position_is_shown_as_whoever_would_move_sees_it() -> None:
    """Who would move again, and who gives up: it is theirs, and nothing on it changes hands."""
    game = Played(LastOfThree())
    game.follow(["a1", "b1", "c1"])
    assert game.over and not game.second and game.result == 1 and "X O X" in game.text()
    state, _ = WORLD.reset(KEY)
    state, _ = WORLD.step(state, jnp.int32(4), KEY)
    given_up, _ = WORLD.step(state, jnp.int32(GIVE_UP), KEY)
    np.testing.assert_array_equal(WORLD.render(given_up), WORLD.render(state))


class Boardless(LastOfThree):
    """The same, without a board to show."""

    @property
    def board(self) -> None:  # type: ignore[override]
        return None


def test_what_is_observed_in_parts_is_told_by_their_names() -> None:
    """Of a game without a board: whoever plays cannot guess which number is which."""
    seen = {"die": np.int32(2), "mine": np.array([0, 3]), "theirs": np.array([1, 1])}
    assert Boardless().text(seen) == "die: 2\nmine: [0 3]\ntheirs: [1 1]"


def test_what_chance_did_is_in_the_file() -> None:
    game = Played(Pig(target=20), 3, 1)
    game.follow(["roll", "roll"])
    again = Played(Pig(target=20))
    again.follow_sgf(game.sgf())
    assert np.array_equal(again.row.obs, game.row.obs)
    others = [Played(Pig(target=20), 3, number) for number in range(12)]
    for other in others:
        other.play(0)
    assert len({tuple(other.row.obs.tolist()) for other in others}) > 2
    with pytest.raises(SGFError, match="does not say what chance did"):
        again.follow_sgf("(;GM[0]GN[Pig];B[roll])")


def test_symmetries_that_do_not_fit_are_refused() -> None:
    class Passing(LastOfThree):
        action_space = spaces.Discrete(4)  # type: ignore[assignment]
        cell_symmetries = half_turned(1, 3)  # type: ignore[assignment]

    with pytest.raises(ValueError, match=r"has the shape \[2, 3\], where 4 actions and 2 symmetries"):
        Passing().turned(jnp.zeros((1, 3), jnp.int8), jnp.zeros(4), jnp.int32(1))


def test_one_player_meets_nobody() -> None:
    perfect = perfect_player()
    with pytest.raises(ValueError, match="for one player"):
        rt.evaluate(policies=(perfect, perfect), world="CartPole-v1")


class Opened(TicTacToe):
    """The game from three marks on: X in two opposite corners, O, who moves, in the centre. An edge alone holds it."""

    def reset(self, key: Key[Array, ""]) -> tuple[Standing, TimeStep]:
        return self.enter(jnp.array([[2, 0, 0], [0, 1, 0], [0, 0, 2]], jnp.int8))


def test_a_table_that_played_against_itself_plays_perfectly() -> None:
    """Q-learning as it stands: the opponent's value, negated, is what the discount of −1 says.

    Nothing is left to chance in this game, so that α = 1 makes values exact where all is visited: at each depth there
    are at most 180 pairs, alike likely, and 2,500 episodes miss one of them in 180 e⁻¹³ of all runs.
    """
    world, exact, seeds = Opened(), solved(), range(3)
    learner = rt.QLearning(discount=1.0, step_size=1.0, exploration=Epsilon(1.0), num_envs=16)
    with rt.train(learner, world, steps=15_000, seed=seeds) as run:
        run.run_to_end()
    reached = reachable(exact.model, found().state(world.reset(KEY)[1].obs))
    pairs = reached[exact.model.pair_state]
    for learnt in np.asarray(run.run.learner.network.tables["q"]):
        q = learnt[names()[exact.model.pair_state], exact.model.action]
        np.testing.assert_array_equal(q[pairs], exact.q[pairs])
    for policy in run.policies:
        even = rt.evaluate(policies=(policy, perfect_player()), world=world, episodes=20, greedy=False)
        assert even.draws == even.episodes
    # Who has learnt nothing loses to perfect play in these games more often than not.
    fresh = rt.evaluate(policies=(UNIFORM, perfect_player()), world=world)
    assert fresh.wins == 0 and fresh.ci95[1] < 0


def reachable(model: MDP, start: int) -> np.ndarray:
    """The states that can follow a state, itself among them."""
    found = np.zeros(model.num_states, bool)
    found[start], before = True, 0
    while found.sum() > before:
        before = found.sum()
        on = found[model.pair_state[model.transition_pair]] & (model.discount != 0)
        found[model.next_state[on]] = True
    return found
