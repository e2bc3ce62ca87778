"""Models from functions: against the same models written down, and where exploring must stop."""

import numpy as np
import pytest

from retorno.core.mdp import ModelError
from retorno.environments import enumerated, frozen_lake, student
from retorno.environments.grids.lakes import LAKES


def outcomes(model):
    """{(state, action): {(next state, reward, discount): probability}} by names."""
    table = {}
    for t, p in enumerate(model.transition_pair):
        state, action = model.state_names[model.pair_state[p]], model.action_names[model.action[p]]
        key = (model.state_names[model.next_state[t]], float(model.reward[t]), float(model.discount[t]))
        row = table.setdefault((state, action), {})
        row[key] = row.get(key, 0.0) + float(model.probability[t])
    return {pair: {k: pytest.approx(v) for k, v in row.items()} for pair, row in table.items()}


def renamed(table, states, actions=None):
    """The same outcomes with other names."""
    return {
        (states[s], a if actions is None else actions[a]): {(states[to], r, d): p for (to, r, d), p in row.items()}
        for (s, a), row in table.items()
    }


def walk(left, right):
    """A walk on the whole numbers between two ends."""
    return (
        lambda s, a: [(0.5, s - 1, 0), (0.5, s + 1, s + 1 == right)],
        lambda s: ["go"] if left < s < right else [],
    )


def test_a_walk_is_found_breadth_first():
    made = enumerated(*walk(0, 6), 3)
    assert made.state_names == ("3", "2", "4", "1", "5", "0", "6") and made.initial.tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert outcomes(made)["5", "go"] == {("4", 0.0, 1.0): 0.5, ("6", 1.0, 0.0): 0.5}
    assert made.terminal.tolist() == [False] * 5 + [True] * 2


def test_the_gamblers_problem_is_solved_as_the_book_says():
    """Sutton & Barto 2018, example 4.3: with p < ½ bold play is best, and from 50 the chance is p."""

    def step(money, stake):
        return [(0.4, money + stake, money + stake == 100), (0.6, money - stake, 0.0)]

    made = enumerated(step, lambda money: range(1, min(money, 100 - money) + 1), 50)
    assert made.num_states == 101 and made.num_pairs == 2500
    v = np.zeros(101)
    for _ in range(200):
        q = made.probability * (made.reward + made.discount * v[made.next_state])
        q = np.bincount(made.transition_pair, q)
        v = np.where(made.terminal, 0, -np.inf)
        np.maximum.at(v, made.pair_state, q)
    by_money = {int(name): x for name, x in zip(made.state_names, v, strict=True)}
    assert (
        by_money[50] == pytest.approx(0.4)
        and by_money[25] == pytest.approx(0.16)
        and by_money[75] == pytest.approx(0.64)
    )


def test_a_lake_is_the_lake():
    drawn = LAKES["4x4"]
    steps = {"left": (0, -1), "down": (1, 0), "right": (0, 1), "up": (-1, 0)}
    turn = list(steps)

    def step(state, action):
        made = []
        for i in (-1, 0, 1):
            down, right = steps[turn[(turn.index(action) + i) % 4]]
            to = (min(max(state[0] + down, 0), 3), min(max(state[1] + right, 0), 3))
            cell = drawn[to[0]][to[1]]
            made.append((1 / 3, to, float(cell == "G"), cell in "GH"))
        return made

    ours = frozen_lake("4x4")
    made = enumerated(step, lambda s: [] if drawn[s[0]][s[1]] in "GH" else turn, (0, 0), place=lambda s: s)
    assert set(made.grid) == set(ours.grid) and made.num_pairs == ours.num_pairs
    by_place = {name: str(place) for name, place in zip(ours.state_names, ours.grid, strict=True)}
    expected = {
        (by_place[s], a): {(by_place[to], r, d): p for (to, r, d), p in row.items()}
        for (s, a), row in outcomes(ours).items()
    }
    assert outcomes(made) == expected


def test_a_model_explores_itself():
    model = student()
    table = {}
    for t, p in enumerate(model.transition_pair):
        row = table.setdefault(int(model.pair_state[p]), {}).setdefault(int(model.action[p]), [])
        row.append((model.probability[t], int(model.next_state[t]), model.reward[t], model.discount[t] == 0))
    made = enumerated(lambda s, a: table[s][a], lambda s: table.get(s, {}), int(np.argmax(model.initial)))
    names = {str(i): name for i, name in enumerate(model.state_names)}
    actions = {str(i): name for i, name in enumerate(model.action_names)}
    assert renamed(outcomes(made), names, actions) == outcomes(model)


def test_what_is_impossible_or_ends_is_not_explored():
    def step(state, action):
        assert state == "a"
        return [(0.0, "never", 0), (1.0, "b", 1, True)]

    made = enumerated(step, lambda s: ["go"], {"a": 1.0})
    assert made.state_names == ("a", "b") and made.discount.tolist() == [0.0]


def test_the_limit_says_how_many_were_found():
    endless = (lambda s, a: [(1.0, s + 1, 0)], lambda s: ["on"])
    with pytest.raises(ModelError, match=r"more than 1,000 states: 1,000 found, 1,000 of them explored.*'on'"):
        enumerated(*endless, 0, limit=1000)
    assert enumerated(*walk(0, 6), 3, limit=7).num_states == 7
    with pytest.raises(ModelError, match="more than 5 states: 5 found, 4 of them explored"):
        enumerated(*walk(0, 6), 3, limit=5)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda s, a: [(0.5, s, 0)], r"state 'x', action 'go': probabilities sum to 0\.5"),
        (lambda s, a: [], "state 'x', action 'go': no outcomes"),
        (
            lambda s, a: [("half", s, 0)],
            r"expected outcomes \(probability, next state, reward\[, terminated\]\), got \('half'",
        ),
        (lambda s, a: [(1.0, s)], "state 'x', action 'go': expected outcomes"),
        (lambda s, a: [1.0], "expected outcomes"),
        (lambda s, a: [(1.0, [s], 0)], r"state 'x', action 'go': the state \['x'\] cannot be hashed"),
        (lambda s, a: [(1.0, [s], 0, True)], "the state .* cannot be hashed"),
        (lambda s, a: [(1.0, s, float("nan"))], "state 'x', action 'go': reward nan"),
    ],
)
def test_bad_functions_are_named(step, message):
    with pytest.raises(ModelError, match=message):
        enumerated(step, lambda s: ["go"], "x")


def test_bad_beginnings():
    with pytest.raises(ModelError, match=r"the beginning: the state \[1\] cannot be hashed"):
        enumerated(lambda s, a: [], lambda s: [], [1])
    with pytest.raises(ModelError, match="listed twice"):
        enumerated(lambda s, a: [(1.0, s, 0)], lambda s: ["go", "go"], "x")
    with pytest.raises(ModelError, match=r"initial distribution sums to 0\.5"):
        enumerated(lambda s, a: [(1.0, s, 0)], lambda s: ["go"], {"x": 0.5})
