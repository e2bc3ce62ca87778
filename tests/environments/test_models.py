"""The model worlds, row by row: against Gymnasium's own tables, and against what their sources say of them."""

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.toy_text.frozen_lake import MAPS

from retorno.core.mdp import ModelError
from retorno.environments import registry
from retorno.environments.grids import gridworlds as grids
from retorno.environments.grids import lakes
from retorno.environments.textbook.garnet import garnet
from retorno.environments.textbook.lecture import random_walk, student, student_process
from retorno.environments.textbook.toy_text import toy_text


def outcomes(model, state, action):
    """{(next state, reward, discount): probability} of one pair, by names."""
    s = model.state(state)
    (pair,) = (p for p in range(*model.state_ptr[s : s + 2]) if model.action_names[model.action[p]] == action)
    table = {}
    for t in range(*model.row_ptr[pair : pair + 2]):
        key = (model.state_names[model.next_state[t]], float(model.reward[t]), float(model.discount[t]))
        table[key] = table.get(key, 0.0) + float(model.probability[t])
    return table


def tables(model, by=None):
    """The outcomes of all pairs, with states called by their place on the map where there is one."""
    call = {n: n if by is None else by[i] for i, n in enumerate(model.state_names)}
    return {
        (call[model.state_names[s]], name): {
            (call[to], r, d): pytest.approx(p) for (to, r, d), p in outcomes(model, s, name).items()
        }
        for s, a in zip(model.pair_state, model.action, strict=True)
        for name in [model.action_names[a]]
    }


@pytest.mark.parametrize("slippery", [True, False])
@pytest.mark.parametrize("lake", ["4x4", "8x8"])
def test_our_lake_is_gymnasiums(lake, slippery):
    ours = lakes.frozen_lake(lake, slippery)
    theirs = toy_text("FrozenLake-v1", map_name=lake, is_slippery=slippery)
    assert list(lakes.LAKES[lake]) == MAPS[lake]
    assert tables(ours, ours.grid) == tables(theirs, theirs.grid)
    assert ours.grid[int(np.argmax(ours.initial))] == theirs.grid[int(np.argmax(theirs.initial))] == (0, 0)
    assert ours.action_names == theirs.action_names


def test_our_cliff_is_gymnasiums():
    ours, theirs = grids.cliff(), toy_text("CliffWalking-v1")
    mine, gymnasiums = tables(ours, ours.grid), tables(theirs, theirs.grid)
    assert mine == {pair: row for pair, row in gymnasiums.items() if pair in mine}
    # Besides, Gymnasium's table has the cells of the cliff, which no episode ever stands on.
    assert {cell for cell, _ in gymnasiums.keys() - mine.keys()} == {(3, c) for c in range(1, 11)}


@pytest.mark.parametrize("name", ["FrozenLake-v1", "CliffWalking-v1", "Taxi-v4"])
def test_episodes_of_gymnasium_are_possible_in_its_model(name):
    model = toy_text(name)
    with gymnasium.make(name) as env:
        env.action_space.seed(0)
        obs, _ = env.reset(seed=0)
        assert model.initial[obs] > 0
        for _ in range(500):
            action = int(env.action_space.sample())
            after, reward, terminated, truncated, _ = env.step(action)
            row = outcomes(model, int(obs), model.action_names[action])
            assert row[(str(int(after)), float(reward), 0.0 if terminated else 1.0)] > 0
            obs = env.reset()[0] if terminated or truncated else after


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("FrozenLake-v1", {}),
        ("FrozenLake-v1", {"map_name": "8x8", "success_rate": 0.8}),
        ("FrozenLake-v1", {"desc": ["SFH", "FFG"], "reward_schedule": (10, -5, -0.5)}),
        ("FrozenLake-v1", {"is_slippery": False}),
        ("FrozenLake8x8-v1", {"is_slippery": False}),
        ("CliffWalking-v1", {"is_slippery": True}),
        ("CliffWalkingSlippery-v1", {}),
        ("Taxi-v4", {}),
        ("Taxi-v4", {"is_rainy": True, "rainy_probability": 0.5}),
    ],
)
def test_whatever_a_table_of_gymnasium_is_made_with(name, settings):
    """Its model has the table's dynamics, and its world the model's."""
    theirs, ours = gymnasium.make(name, **settings).unwrapped, registry.model(name, **settings)
    for state, row in theirs.P.items():
        for action, listed in row.items():
            known = {}
            for probability, after, reward, terminated in listed:
                key = (str(after), float(reward), 0.0 if terminated else 1.0)
                known[key] = known.get(key, 0.0) + probability
            known = {key: pytest.approx(p) for key, p in known.items() if p}
            if not ours.terminal[state]:  # A goal leads to itself there.
                assert outcomes(ours, str(state), ours.action_names[action]) == known
    assert ours.initial == pytest.approx(theirs.initial_state_distrib)
    lived = registry.make(name, **settings)
    limit = gymnasium.spec(name).max_episode_steps
    assert lived.limit == (10_000 if limit is None else limit)
    inside = registry.WorldName(name, settings=settings).model()
    assert inside is not None and tables(inside) == tables(ours)


def test_what_is_not_in_a_table_has_no_model():
    with pytest.raises(ValueError, match="fickle passenger changes their mind"):
        toy_text("Taxi-v4", fickle_passenger=True)
    with pytest.raises(ValueError, match="takes no 'fickle_passenger'; it takes is_rainy, rainy_probability"):
        registry.model("Taxi-v4", fickle_passenger=True)
    taxi = registry.WorldName("Taxi-v4", settings={"fickle_passenger": True})
    assert taxi.model() is None and taxi.make().name == "Taxi-v4"  # Gymnasium's own.


def test_toy_text_keeps_what_episodes_need():
    lake = toy_text("FrozenLake-v1")
    assert {int(s) for s in np.flatnonzero(lake.terminal)} == {5, 7, 11, 12, 15}
    assert lake.grid[6] == (1, 2)
    taxi = toy_text("Taxi-v4")
    assert (taxi.initial > 0).sum() == 300 and taxi.grid is None
    assert (taxi.num_states, taxi.num_actions) == (500, 6)
    # The goals' states lead on in P, and only the flag says that the episode is over.
    assert {row[2] for row in outcomes(taxi, 479, "drop off")} <= {0.0, 1.0}
    assert (taxi.discount == 0).sum() == 4


def test_toy_text_takes_an_open_environment():
    env = gymnasium.make("FrozenLake-v1", desc=["SG"], is_slippery=False)
    assert outcomes(toy_text(env), "0", "right") == {("1", 1.0, 0.0): 1.0}


@pytest.mark.parametrize(("name", "message"), [("Blackjack-v1", "no model P"), ("Nothing-v7", "does not know")])
def test_toy_text_refuses(name, message):
    with pytest.raises(ValueError, match=message):
        toy_text(name)


def test_student():
    model = student()
    assert model.state_names == ("Facebook", "C1", "C2", "C3", "Sleep")
    assert outcomes(model, "C3", "pub") == {("C1", 1, 1): 0.2, ("C2", 1, 1): 0.4, ("C3", 1, 1): 0.4}
    assert outcomes(model, "C2", "sleep") == {("Sleep", 0, 0): 1.0}
    assert outcomes(student_process(), "Facebook", "go") == {("Facebook", -1, 1): 0.9, ("C1", -1, 1): 0.1}
    assert outcomes(student_process(), "C3", "go") == {("Pass", -2, 1): 0.6, ("Pub", -2, 1): 0.4}


def test_random_walk():
    five, nineteen = random_walk(5), random_walk(19)
    assert outcomes(five, "A", "left") == {("left end", 0, 0): 1.0}
    assert outcomes(five, "E", "right") == {("right end", 1, 0): 1.0}
    assert outcomes(nineteen, "A", "left") == {("left end", -1, 0): 1.0}
    assert outcomes(random_walk(3, left_reward=-2), "A", "left") == {("left end", -2, 0): 1.0}
    assert five.initial[five.state("C")] == 1 and nineteen.initial[9] == 1
    assert five.grid[five.state("left end")] == (0, 0) and five.grid[five.state("E")] == (0, 5)
    assert random_walk(30).num_states == 32
    with pytest.raises(ValueError, match="at least 1 state"):
        random_walk(0)


def test_a_grid_from_a_map():
    model = grids.grid("S#G ..X", slip=0.5, step_reward=-1)
    assert outcomes(model, "0,0", "right") == {("0,0", -1, 1): 0.75, ("1,0", -1, 1): 0.25}
    assert outcomes(model, "1,1", "right") == {("1,2", -2, 0): 0.5, ("1,1", -1, 1): 0.5}
    assert model.initial[model.state("0,0")] == 1
    assert (grids.grid(".. .G").initial[:3] == pytest.approx(1 / 3)) and model.grid[model.state("1,2")] == (1, 2)


@pytest.mark.parametrize(
    ("text", "message"), [("... ..", "one length"), ("..Q", "got Q"), ("G#", "no free cell"), ("", "no free cell")]
)
def test_a_bad_map_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        grids.grid(text)
    with pytest.raises(ValueError, match="no lake '5x5'; there are 4x4, 8x8"):
        lakes.frozen_lake("5x5")


def test_a_slip_above_one_is_refused():
    with pytest.raises(ModelError, match="probability"):
        grids.grid("S.G", slip=1.5)


def test_garnet():
    model = garnet(40, 3, 6, seed=1, termination=0.2)
    assert (model.num_states, model.num_pairs, model.num_transitions) == (40, 120, 720)
    targets = np.sort(model.next_state.reshape(120, 6), axis=1)
    assert (np.diff(targets, axis=1) > 0).all(), "next states of a pair must differ"
    assert np.bincount(model.next_state, minlength=40) == pytest.approx(18, abs=4 * np.sqrt(18))
    assert (model.discount == 0).mean() == pytest.approx(0.2 + 0.8 * 40 / 720, abs=4 * 0.015)
    again, other = garnet(40, 3, 6, seed=1, termination=0.2), garnet(40, 3, 6, seed=2, termination=0.2)
    assert (model.probability == again.probability).all() and (model.next_state == again.next_state).all()
    assert (model.next_state != other.next_state).any()
    assert (garnet(4, 2, 4, seed=0).discount == 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((3, 1, 4, 0), r"branching must lie in \[1, 3\]"), ((3, 1, 2, 0, 1.5), r"termination must lie in \[0, 1\]")],
)
def test_garnet_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        garnet(*arguments)
