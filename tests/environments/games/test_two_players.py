"""A game of two: its exact value, the world against its model, and a table that learnt by playing against itself."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Key

import retorno as rt
from retorno.bellman import GameSolution, minimax
from retorno.core.mdp import MDP, ModelError
from retorno.core.spaces import HashableSpace, element, index
from retorno.core.time_step import TimeStep
from retorno.environments.games.tic_tac_toe_for_two import TicTacToe, tic_tac_toe_for_two
from retorno.environments.hosted.export import to_gymnasium
from retorno.policies.exploration import Epsilon
from retorno.policies.target_and_behaviour import FixedPolicy

BOARDS = 3**9
WORLD = TicTacToe()
KEY = jax.random.key(0)


@functools.cache
def solved() -> GameSolution:
    return minimax(tic_tac_toe_for_two())


def player(chances: np.ndarray) -> FixedPolicy:
    """A policy over boards from its probabilities for the model's pairs [P]."""
    model, table = solved().model, np.zeros((BOARDS, 9))
    names = np.array([int(name) for name in model.state_names])
    table[names[model.pair_state], model.action] = chances
    with np.errstate(divide="ignore"):
        return FixedPolicy(jnp.asarray(np.log(table), jnp.float32), HashableSpace(WORLD.observation_space))


def state_of(model: MDP, board: Array) -> int:
    """A board's state in the model."""
    return model.state(str(int(index(WORLD.observation_space, board))))


def test_perfect_play_is_a_draw() -> None:
    answer = solved()
    assert answer.start_value == 0
    assert answer.model.num_states == 5478
    assert answer.sweeps <= 10, "the longest game has nine moves"
    # Any opening holds the draw; the corner can be answered by the centre alone.
    assert answer.policy[:9] == pytest.approx(np.full(9, 1 / 9))
    corner = answer.model.state(
        str(int(index(WORLD.observation_space, jnp.array([[2, 0, 0], [0, 0, 0], [0, 0, 0]], jnp.int8))))
    )
    first, last = answer.model.state_ptr[corner : corner + 2]
    assert answer.model.action[first:last][answer.policy[first:last] > 0].tolist() == [4]


def test_the_certified_solver_says_who_can() -> None:
    with pytest.raises(ModelError, match="minimax"):
        rt.bellman.solve(tic_tac_toe_for_two(), 1.0)


def test_the_world_is_its_model() -> None:
    """Every pair of the model, taken in the world."""
    model = solved().model
    names = np.array([int(name) for name in model.state_names])
    boards = jax.vmap(lambda n: element(WORLD.observation_space, n))(jnp.asarray(names[model.pair_state]))
    rows = jax.vmap(lambda board, action: WORLD.step(WORLD.enter(board)[0], action, KEY)[1])(
        boards.astype(jnp.int8), jnp.asarray(model.action)
    )
    number = jax.vmap(lambda board: index(WORLD.observation_space, board))(rows.obs)
    assert (np.asarray(number) == names[model.next_state]).all()
    assert (np.asarray(rows.reward) == model.reward).all()
    assert (np.asarray(rows.discount) == model.discount).all()


def test_two_perfect_players_draw_and_a_random_one_loses() -> None:
    perfect, uniform = player(solved().policy), player(np.ones(solved().model.num_pairs))
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
    perfect, uniform = player(solved().policy), player(np.ones(solved().model.num_pairs))
    hosted = rt.gymnasium(lambda: to_gymnasium(WORLD))
    for players in ((perfect, uniform), (uniform, perfect)):
        native, other = (rt.evaluate(policies=players, world=world, episodes=4) for world in (WORLD, hosted))
        assert native.as_row() == other.as_row()
        np.testing.assert_array_equal(native.lengths, other.lengths)
    drawn = rt.evaluate(policies=(perfect, uniform), world=hosted, episodes=20, greedy=False)
    assert drawn.losses == 0 and drawn.wins > 0 and drawn.ci95[1] <= 1


def test_one_player_meets_nobody() -> None:
    perfect = player(solved().policy)
    with pytest.raises(ValueError, match="for one player"):
        rt.evaluate(policies=(perfect, perfect), world="CartPole-v1")


class Opened(TicTacToe):
    """The game from three marks on: X in two opposite corners, O, who moves, in the centre. An edge alone holds it."""

    def reset(self, key: Key[Array, ""]) -> tuple[Array, TimeStep]:
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
    names = np.array([int(name) for name in exact.model.state_names])
    reached = reachable(
        exact.model, exact.model.state(str(int(index(world.observation_space, world.reset(KEY)[1].obs))))
    )
    pairs = reached[exact.model.pair_state]
    for learnt in np.asarray(run.run.learner.network.tables["q"]):
        q = learnt[names[exact.model.pair_state], exact.model.action]
        np.testing.assert_array_equal(q[pairs], exact.q[pairs])
    for policy in run.policies:
        even = rt.evaluate(policies=(policy, player(exact.policy)), world=world, episodes=20, greedy=False)
        assert even.draws == even.episodes
    # Who has learnt nothing loses to perfect play in these games more often than not.
    fresh = rt.evaluate(policies=(player(np.ones(exact.model.num_pairs)), player(exact.policy)), world=world)
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
