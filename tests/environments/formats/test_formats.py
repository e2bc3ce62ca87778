"""Models from anywhere and back: by hand, against a dictionary twin, to the bit, and on bad days."""

import io
import json
import os
import struct
import tracemalloc
import zipfile
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy import sparse

from retorno import bellman
from retorno.core import memory
from retorno.core.mdp import MDP, MapKey, ModelError, Numbered, mdp
from retorno.environments import formats, registry, student, toy_text
from retorno.environments.formats import (
    ModelWarning,
    absorbing,
    ensure_fits,
    explicit,
    from_gymnasium,
    from_matrices,
    from_mdpsolver,
    from_quantecon,
    from_rows,
    load,
    read,
    save,
    to_gymnasium,
    to_matrices,
    to_mdpsolver,
    to_quantecon,
)
from retorno.environments.formats.files import write_whole
from retorno.environments.formats.numbers import number

pytestmark = pytest.mark.filterwarnings("ignore:.*no reward was found")
ARRAYS = ("state_ptr", "action", "row_ptr", "next_state", "probability", "reward", "discount", "initial")
SUFFIXES = (".json", ".yaml", ".npz", ".tra")


def same(a, b):
    """Equal to the bit, names and places included."""
    for name in ARRAYS:
        x, y = (np.asarray(getattr(m, name)) for m in (a, b))
        if x.dtype.kind == "f":
            x, y = x.view(np.int64) if x.strides != (0,) else x, y.view(np.int64) if x.strides != (0,) else y
        assert np.array_equal(x, y), name
    assert list(a.state_names) == list(b.state_names) and list(a.action_names) == list(b.action_names)
    assert (a.grid or ()) == (b.grid or ()) and a.map_key == b.map_key
    return True


def table(model):
    """{(state, action): {(next state, reward, discount): probability}} by number."""
    made = {}
    for t, p in enumerate(model.transition_pair):
        row = made.setdefault((int(model.pair_state[p]), int(model.action[p])), {})
        key = (int(model.next_state[t]), float(model.reward[t]), float(model.discount[t]))
        row[key] = row.get(key, 0.0) + float(model.probability[t])
    return {pair: {k: pytest.approx(v) for k, v in row.items() if v} for pair, row in made.items()}


def values(model, discount=0.9, sweeps=220):
    """The best values by plain sweeps."""
    v = np.zeros(model.num_states)
    for _ in range(sweeps):
        gains = model.probability * (model.reward + discount * model.discount * v[model.next_state])
        q = np.bincount(model.transition_pair, gains, minlength=model.num_pairs)
        v = np.full(model.num_states, -np.inf)
        np.maximum.at(v, model.pair_state, q)
        v[model.terminal] = 0
    return v


NAMES = st.text(st.characters(), max_size=6)
REWARDS = st.floats(-1e12, 1e12) | st.sampled_from([0.0, 1.0, -1.0])


@st.composite
def models(draw, discounts=(0.0, 1.0, 1.0, 0.25)):
    """Small models with strange names, several outcomes to the same state, terminal states and maps."""
    n, a = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    acts = [i == 0 or draw(st.booleans()) for i in range(n)]
    state_ptr, action, row_ptr, rows = [0], [], [0], []
    for s in range(n):
        for b in draw(st.sets(st.integers(0, a - 1), min_size=1)) if acts[s] else ():
            action.append(b)
            to = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=4))
            weight = np.array([draw(st.integers(1, 1000)) for _ in to], float)
            for t, p in zip(to, weight / weight.sum(), strict=True):
                d = draw(st.sampled_from(discounts)) if acts[t] else 0.0
                rows.append((t, p, draw(REWARDS), d))
            row_ptr.append(len(rows))
        state_ptr.append(len(action))
    first = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(any))
    numbered = draw(st.booleans())
    place = st.none() | st.tuples(st.integers(-3, 3), st.integers(-3, 3))
    to, p, r, d = zip(*rows, strict=True)
    return MDP(
        state_ptr=np.array(state_ptr),
        action=np.array(action),
        row_ptr=np.array(row_ptr),
        next_state=np.array(to, draw(st.sampled_from([np.int32, np.int64]))),
        probability=np.array(p),
        reward=np.array(r),
        discount=np.array(d),
        initial=np.array(first) / sum(first),
        state_names=Numbered(n) if numbered else tuple(draw(st.lists(NAMES, min_size=n, max_size=n, unique=True))),
        action_names=Numbered(a) if numbered else tuple(draw(st.lists(NAMES, min_size=a, max_size=a, unique=True))),
        grid=draw(st.none() | st.tuples(*[place] * n)),
    )


QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# Our own rows

ROWS = {
    "state_ptr": [0, 2, 3, 3],
    "row_ptr": [0, 2, 3, 4],
    "next_state": [0, 1, 2, 2],
    "probability": [0.25, 0.75, 1, 1],
}
TWIN = {
    0: {0: [(0.25, 0, 5.0), (0.75, 1, 5.0)], 1: [(1, 2, 5.0)]},
    1: {0: [(1, 2, 7.0)]},
    2: {},
}


def test_rows_by_hand():
    made = from_rows(**ROWS, state_reward=[5, 7, 0])
    assert table(made) == table(mdp(TWIN)) and made.initial.tolist() == [0.5, 0.5, 0]
    assert list(made.state_names) == ["0", "1", "2"] and list(made.action_names) == ["0", "1"]
    by_pair = from_rows(**ROWS, pair_reward=[1, 2, 3])
    assert by_pair.reward.tolist() == [1, 1, 2, 3]
    assert from_rows(**ROWS, transition_reward=[1, 2, 3, 4]).reward.tolist() == [1, 2, 3, 4]


def test_rows_are_not_copied():
    arrays = {k: np.array(v, np.float64 if k == "probability" else np.int64) for k, v in ROWS.items()}
    reward = np.arange(4.0)
    made = from_rows(**arrays, transition_reward=reward, action=np.array([0, 1, 0]), discount=np.array([1.0, 1, 0, 0]))
    assert all(getattr(made, name) is array for name, array in arrays.items()) and made.reward is reward
    loop = from_rows([0, 1], [0, 1], [0], [1.0], state_reward=[1])
    assert loop.discount.strides == (0,) and loop.discount.tolist() == [1.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "exactly one of state_reward, pair_reward, transition_reward: got none"),
        ({"state_reward": [1, 2, 0], "pair_reward": [1, 2, 3]}, "got state_reward and pair_reward"),
        ({"pair_reward": [1, 2]}, r"pair_reward has the shape \[2\], expected \[3\]"),
        ({"state_reward": [1, 2, 3]}, "state_reward: state '2' is terminal, so its reward 3 would never be earned"),
        ({"state_reward": [1, 2, 0], "probability": [0.25, 0.7, 1, 1]}, "state '0', action '0': probabilities sum"),
        ({"state_reward": [1, 2, 0], "probability": [0.25, 0.75, 1, np.nan]}, "state '1', action '0': probability nan"),
        ({"state_reward": [1, 2, 0], "next_state": [0, 1, 2, 3]}, "next_state must lie in"),
        ({"state_reward": [1, 2, 0], "next_state": [0, 1, 2, 0.5]}, "not an array of whole numbers"),
        ({"state_reward": [1, 2, 3], "row_ptr": [0, 2, 1, 4]}, "row_ptr must rise"),
        ({"state_reward": [1, 2, 3], "state_ptr": [0, 2, 3, 4]}, "state_ptr ends at 4"),
        ({"state_reward": [1, 2, 3], "state_ptr": []}, "state_ptr must rise from 0, got nothing"),
    ],
)
def test_bad_rows(change, message):
    with pytest.raises(ModelError, match=message):
        from_rows(**(ROWS | change))


# A matrix for each action

P = np.array([[[0.5, 0.5], [0, 1]], [[1, 0], [0.25, 0.75]]])
TRANSITION_REWARD = np.array([[[1.0, 2], [3, 4]], [[5, 6], [7, 8]]])


def matrix_twin(reward):
    """The same model as a dictionary, with reward(s, a, s′)."""
    return mdp({s: {a: [(P[a, s, t], t, reward(s, a, t)) for t in (0, 1)] for a in (0, 1)} for s in (0, 1)})


@pytest.mark.parametrize(
    "kind",
    [np.asarray, list, lambda p: [sparse.csr_matrix(m) for m in p], lambda p: [sparse.coo_array(m) for m in p]],
)
def test_matrices_with_each_reward_where_all_shapes_agree(kind):
    reward = np.array([[1.0, 2], [3, 4]])  # [2, 2] is [S, A] and [A, S]: only the name tells.
    cases = {
        "state_reward": (np.array([10.0, 20]), lambda s, a, t: [10, 20][s]),
        "action_reward": (reward, lambda s, a, t: reward[s, a]),
        "reward_by_action": (reward, lambda s, a, t: reward[a, s]),
        "transition_reward": (TRANSITION_REWARD, lambda s, a, t: TRANSITION_REWARD[a, s, t]),
    }
    for name, (array, told) in cases.items():
        assert table(from_matrices(kind(P), **{name: array})) == table(matrix_twin(told)), name
    looked_up = from_matrices(kind(P), transition_reward=[sparse.csr_array(r) for r in TRANSITION_REWARD])
    assert table(looked_up) == table(matrix_twin(cases["transition_reward"][1]))


def test_one_sparse_action_is_not_copied():
    chain = sparse.csr_array(P[0])
    made = from_matrices([chain], state_reward=[1, 2])
    assert made.probability.base is chain.data or made.probability is chain.data
    assert np.shares_memory(made.next_state, chain.indices) and np.shares_memory(made.row_ptr, chain.indptr)


def test_matrices_with_illegal_actions_and_ends():
    broken = P.copy()
    broken[1, 0] = np.nan  # of an illegal action: not looked at
    made = from_matrices(broken, action_reward=[[1, np.nan], [2, 3]], legal=[[1, 0], [1, 1]])
    assert table(made).keys() == {(0, 0), (1, 0), (1, 1)}
    ended = from_matrices(P, state_reward=[1, 0], terminal=[1], action_names=["stay", "go"])
    assert table(ended) == table(mdp({0: {0: [(0.5, 0, 1), (0.5, 1, 1)], 1: [(1, 0, 1)]}, 1: {}}))


def test_what_a_terminal_state_pays_is_used_or_refused():
    """The step from 0 ends in 1, which is worth 100: on entering it, or (Russell & Norvig) in it."""
    step, reward = [[[0, 1], [0, 1]]], [-1, 100]
    for name, array in {
        "state_reward": reward,
        "action_reward": [[-1], [100]],
        "reward_by_action": [reward],
        "transition_reward": [[[0, -1], [0, 100]]],
    }.items():
        with pytest.raises(ModelError, match=f"{name}: state '1' is terminal, so its reward 100 would never be earned"):
            from_matrices(step, terminal=[1], **{name: array})
    entered = from_matrices(step, next_state_reward=reward, terminal=[1])
    assert values(entered, 0.5).tolist() == [100, 0]
    left = from_matrices(step, state_reward=reward, terminal=[1], exits=True, initial=[1, 0], state_names=["s", "goal"])
    assert values(left, 0.5).tolist() == [-1 + 0.5 * 100, 100, 0] and left.state_names == ["s", "goal", "end"]
    assert left.initial.tolist() == [1, 0, 0] and left.action_names == ["0", "exit"]
    with pytest.raises(ModelError, match="exits=True pays the state_reward of terminal states"):
        from_matrices(step, next_state_reward=reward, terminal=[1], exits=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"transition": P}, "exactly one of"),
        ({"transition": P[0], "state_reward": [1, 2]}, "action 0 has a matrix of the shape"),
        ({"transition": P[:, :1], "state_reward": [1]}, r"expected a square one, \[S, S\]"),
        ({"transition": [P[0], np.eye(3)], "state_reward": [1, 2]}, r"action 1 has the shape \[3, 3\]"),
        ({"transition": P * 0.5, "state_reward": [1, 2]}, "state '0', action '0': probabilities sum to 0.5"),
        ({"transition": P * [[[1], [0]]], "state_reward": [1, 2]}, "state '1', action '0': no outcomes"),
        ({"transition": P, "action_reward": [1, 2]}, r"action_reward has the shape \[2\], expected \[2, 2\]"),
        ({"transition": P, "transition_reward": P[:1]}, "transition_reward has 1 matrices, expected 2"),
        ({"transition": P, "state_reward": [1, 2], "legal": [1, 1]}, "legal has the shape"),
        ({"transition": P, "state_reward": [1, 2], "terminal": [2]}, "terminal states must lie"),
        ({"transition": sparse.eye_array(2), "state_reward": [1, 2]}, "one sparse matrix"),
        ({"transition": "ab", "state_reward": [1, 2]}, "not a sequence of matrices"),
        ({"transition": [], "state_reward": []}, "0 matrices"),
    ],
)
def test_bad_matrices(arguments, message):
    with pytest.raises(ModelError, match=message):
        from_matrices(**arguments)


# Other libraries


@pytest.mark.parametrize("kind", [list, lambda rows: np.array(rows, object), lambda rows: np.array(rows, np.float64)])
def test_fractions_in_arrays_stay_what_they_are(kind):
    third, pay, sure = Fraction(1, 3), Fraction(1, 7), Decimal("0.1")
    matrix, stay = [[third, 1 - third], [0, 1]], kind([pay, sure])
    paid = kind([[pay], [sure]])
    made = [
        from_rows([0, 1, 2], [0, 2, 3], [0, 1, 1], kind([third, 1 - third, 1]), state_reward=stay),
        from_rows([0, 1, 2], [0, 2, 3], [0, 1, 1], kind([third, 1 - third, 1]), pair_reward=stay),
        from_matrices([kind(matrix)], state_reward=stay),
        from_matrices(kind([matrix]), action_reward=paid),
        from_matrices(kind([matrix]), reward_by_action=kind([[pay, sure]])),
        from_matrices([kind(matrix)], transition_reward=[kind([[pay, pay], [sure, sure]])]),
        from_quantecon(paid, kind([[row] for row in matrix])),
        from_quantecon(stay, kind(matrix), [0, 1], [0, 0]),
        from_mdpsolver(rewards=paid, tranMatWithZeros=kind([[row] for row in matrix])),
        from_mdpsolver(
            rewardsElementwise=kind([[0, 0, pay], [1, 0, sure]]),
            tranMatElementwise=kind([[0, 0, 0, third], [0, 0, 1, 1 - third], [1, 0, 1, 1]]),
        ),
    ]
    if kind is list:
        table = {0: {0: [(third, 0, pay, False), (1 - third, 1, pay, False)]}, 1: {0: [(1, 1, sure, False)]}}
        made.append(from_gymnasium(table))
    wide = from_matrices([kind(matrix)], state_reward=stay, terminal=[1], exits=True)
    exact = made[0].reward.dtype == np.float64 and kind([third])[0] == third
    for model in [*made, wide]:
        assert (third in model.exactly(model.probability)) == exact and (pay in model.exactly(model.reward)) == exact
        assert Fraction(1, 10) in model.exactly(model.reward)


def test_absorbing_keeps_the_values():
    @QUICK
    @given(models())
    def check(model):
        closed = absorbing(model)
        assert ((closed.discount == 1) | closed.terminal[closed.next_state]).all()
        scale = 1 + np.abs(model.reward).max() * 10
        assert values(closed)[: model.num_states] / scale == pytest.approx(values(model) / scale, abs=1e-9)

    check()


def test_what_is_written_for_peers_has_the_same_values():
    @QUICK
    @given(models())
    def check(model):
        scale, expected = 1 + np.abs(model.reward).max() * 10, values(model)
        lists = to_mdpsolver(model)
        for made in (from_quantecon(*to_quantecon(model)), from_mdpsolver(**lists)):
            assert values(made)[: model.num_states] / scale == pytest.approx(expected / scale, abs=1e-9)
        try:
            transition, reward = to_matrices(model)
        except ModelError as error:
            assert "needs every action in every state" in str(error) and model.num_actions > 1
        else:
            made = from_matrices(transition, action_reward=reward)
            assert values(made)[: model.num_states] / scale == pytest.approx(expected / scale, abs=1e-9)

    check()


def test_quantecon_by_hand():
    """Puterman 1994, section 3.1, as QuantEcon's manual writes it: v(0) = −8.57…, v(1) = −20 at γ = .95."""
    product = from_quantecon([[5, 10], [-1, -np.inf]], [[(0.5, 0.5), (0, 1)], [(0, 1), (0.5, 0.5)]])
    pairs = ([5, 10, -1], [(0.5, 0.5), (0, 1), (0, 1)], [0, 0, 1], [0, 1, 0])
    shuffled = [np.array(x)[[2, 1, 0]] for x in pairs]
    shuffled[1] = sparse.csr_matrix(shuffled[1])
    for made in (product, from_quantecon(*pairs), from_quantecon(*shuffled)):
        assert table(made) == table(product)
        assert values(made, 0.95, 2000) == pytest.approx([-8.57142857, -20])


def test_quantecon_in_order_is_not_copied():
    rewards, q = np.array([5.0, 10, -1]), sparse.csr_array([(0.5, 0.5), (0, 1), (0, 1)])
    made = from_quantecon(rewards, q, [0, 0, 1], [0, 1, 0])
    assert np.shares_memory(made.probability, q.data) and np.shares_memory(made.next_state, q.indices)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, -np.inf], [-np.inf, -np.inf]], np.full((2, 2, 2), 0.5)), "state 1 has no legal action"),
        (([1, 2], np.eye(2)), "for pairs give s_indices"),
        (([[1, 2]], [[[1.0], [0.5]]]), "state '0', action '1': probabilities sum to 0.5"),
        (([1, 2], np.eye(2), [0, 1]), "come together"),
        (([1, 2], np.eye(2), [0, 2], [0, 0]), "s_indices must lie in"),
        (([1, 2], np.eye(3), [0, 1], [0, 0]), "Q has 3 rows"),
        (([1, 2], np.eye(2), [0, 0], [1, 1]), "same action twice|no legal action"),
    ],
)
def test_bad_quantecon(arguments, message):
    with pytest.raises(ModelError, match=message):
        from_quantecon(*arguments)


def test_mdpsolver_lists_in_their_three_ways():
    rewards = [[5, -1], [1, -2]]
    dense = [[[0.9, 0.1], [0.0, 1.0]], [[0.4, 0.6], [1.0, 0.0]]]
    twin = mdp({s: {a: [(dense[s][a][t], t, rewards[s][a]) for t in (0, 1)] for a in (0, 1)} for s in (0, 1)})
    listed = [[s, a, t, dense[s][a][t]] for s in (1, 0) for a in (0, 1) for t in (1, 0)]
    probabilities = {
        "tranMatProbs": [[[0.9, 0.1], [1.0]], [[0.4, 0.6], [1.0]]],
        "tranMatColumns": [[[0, 1], [1]], [[0, 1], [0]]],
    }
    by_element = [[s, a, rewards[s][a]] for s in (0, 1) for a in (0, 1)]
    for made in (
        from_mdpsolver(rewards=rewards, tranMatWithZeros=dense),
        from_mdpsolver(rewards=rewards, tranMatElementwise=listed),
        from_mdpsolver(rewards=rewards, **probabilities),
        from_mdpsolver(rewardsElementwise=by_element, **probabilities),
    ):
        assert table(made) == table(twin)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of tranMat"),
        ({"tranMatWithZeros": [[[1.0]]]}, "exactly one of rewards"),
        ({"rewards": [[1]], "tranMatWithZeros": [[[0.5, 0.5]]]}, "state 0, action 0: .* 2 probabilities, expected 1"),
        ({"rewards": [[1, 2]], "tranMatWithZeros": [[[1.0]]]}, "state 0, action 1: has a reward and no transition"),
        ({"rewards": [[]], "tranMatWithZeros": [[[1.0]]]}, "state 0, action 0: has transitions and no reward"),
        ({"rewards": [[1]], "tranMatElementwise": [[0, 0.5, 0, 1]]}, "whole numbers"),
        ({"rewards": [[1]], "tranMatElementwise": [[0, 0, 0]]}, "shape"),
        ({"rewards": [[1]], "tranMatElementwise": [[0, 0, 0, 1], [0]]}, "not an array of numbers"),
        ({"rewards": [[1]], "tranMatProbs": [[[1.0]]]}, "come together"),
        ({"rewards": [[1]], "tranMatProbs": [[[1.0]]], "tranMatColumns": [[]]}, "not as many states and actions"),
        ({"rewards": [[1]], "tranMatProbs": [[[1.0]]], "tranMatColumns": [[[3]]]}, "next_state must lie"),
    ],
)
def test_bad_mdpsolver(arguments, message):
    with pytest.raises(ModelError, match=message):
        from_mdpsolver(**arguments)


def test_gymnasium_there_and_back():
    for name in ("FrozenLake-v1", "CliffWalking-v1"):
        model = toy_text(name)
        start = {int(s): float(model.initial[s]) for s in np.flatnonzero(model.initial)}
        back = from_gymnasium(to_gymnasium(model), start)
        assert table(back) == table(model) and (back.terminal == model.terminal).all()
    half = from_rows([0, 1], [0, 1], [0], [1.0], state_reward=[1], discount=[0.5], state_names="a", action_names="b")
    with pytest.raises(ModelError, match=r"state 'a', action 'b': Gymnasium's P has no room for the discount 0.5"):
        to_gymnasium(half)


# Files


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".npz"])
def test_files_keep_everything_to_the_bit(suffix, tmp_path):
    @QUICK
    @given(models())
    def check(model):
        path = tmp_path / f"m{suffix}"
        save(model, path)
        back = load(path)
        assert same(model, back)
        if suffix == ".npz":
            assert all(getattr(model, name).dtype == getattr(back, name).dtype for name in ARRAYS)
        assert [file.name for file in tmp_path.iterdir()] == [path.name]

    check()


def test_explicit_files_keep_the_values(tmp_path):
    @QUICK
    @given(models())
    def check(model):
        for file in tmp_path.iterdir():
            file.unlink()
        path, weights = tmp_path / "m.tra", model.initial[model.initial > 0]
        try:
            save(model, path)
        except ModelError as error:
            if "first states of different weights" in str(error):
                assert weights.min() < weights.max()
            else:
                blank = ["".join(name.split()) for name in model.action_names]
                assert "blanks alone" in str(error) and len(set(blank)) < len(blank)
            assert not list(tmp_path.iterdir())
            return
        back, scale = load(path), 1 + np.abs(model.reward).max() * 10
        assert values(back)[: model.num_states] / scale == pytest.approx(values(model) / scale, abs=1e-9)
        assert list(back.state_names)[: model.num_states] == list(model.state_names)
        assert back.initial[: model.num_states] == pytest.approx(model.initial)

    check()


def test_a_student_through_every_format(tmp_path):
    model = student()
    for suffix in SUFFIXES:
        save(model, tmp_path / f"student{suffix}")
        back = load(tmp_path / f"student{suffix}")
        assert same(model, back) or suffix == ".tra"


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".npz"])
def test_files_keep_how_a_map_is_read(suffix, tmp_path):
    key = MapKey("cars", "vans", ("1", ""), ("é: [0]",), (("one", 0, 1),), "moved", ((0, 1), (-1, 0)), "all")
    model = replace(student(), map_key=key)
    save(model, tmp_path / f"m{suffix}")
    assert same(load(tmp_path / f"m{suffix}"), model)


def test_a_tra_file_says_that_it_holds_decimals(tmp_path):
    """PRISM and Storm read no fractions: the float is kept to the bit, and what it stood for is told to be lost."""
    third = mdp({"s": {"go": [(Fraction(1, 3), "s", 1), (Fraction(2, 3), "end", 0.1)]}}, initial="s")
    with pytest.warns(ModelWarning, match=r"fractions are written as decimals \(1/3 as 0.3333333333333333\)"):
        save(third, tmp_path / "m.tra")
    assert (load(tmp_path / "m.tra").probability[:2] == third.probability).all()
    save(student(), tmp_path / "m.tra")  # Nothing is lost, nothing is told.


def test_a_map_that_cannot_be_read_is_refused(tmp_path):
    path = tmp_path / "m.yaml"
    for told, message in (
        ("[1]", "map: expected a table of rows"),
        ("{rwos: a}", "map: 'rwos' is none of rows"),
        ("{headings: [[0]]}", "map: headings is a list of int and int"),
        ("{note: [a]}", "map: note is text"),
    ):
        path.write_text(f"map: {told}\nstates: {{a: {{go: {{to: b}}}}, b: {{}}}}\n")
        with pytest.raises(ModelError, match=message):
            load(path)


HAND = """\
initial: home   # a comment
states:
  home:
    walk:
      - {to: office, probability: 2/3, reward: -1}
      - {to: home, probability: 1/3}
    no: {to: office, reward: -3e0}
  office: {}
  limbo:
    wait: {to: limbo, reward: 1, discount: 0.5}
    1: {to: home, terminated: true}
grid: {home: [0, 0], office: [0, 1]}
"""


def test_yaml_by_hand(tmp_path):
    (tmp_path / "m.yaml").write_text(HAND)
    model = load(tmp_path / "m.yaml")
    assert model.state_names == ("home", "office", "limbo") and model.action_names == ("walk", "no", "wait", "1")
    assert table(model) == {
        (0, 0): {(1, -1.0, 0.0): 2 / 3, (0, 0.0, 1.0): 1 / 3},
        (0, 1): {(1, -3.0, 0.0): 1},
        (2, 2): {(2, 1.0, 0.5): 1},
        (2, 3): {(0, 0.0, 0.0): 1},
    }
    assert model.grid == ((0, 0), (0, 1), None) and model.initial.tolist() == [1, 0, 0]


def test_json_by_hand(tmp_path):
    tree = {"states": {"a": {"go": [{"to": "b", "probability": "1/2"}, {"to": "a", "probability": 0.5}]}, "b": None}}
    (tmp_path / "m.json").write_text(json.dumps(tree))
    assert table(load(tmp_path / "m.json")) == {(0, 0): {(1, 0.0, 0.0): 0.5, (0, 0.0, 1.0): 0.5}}


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "to: office, prob",
            "to: ofice, prob",
            r"state 'home', action 'walk': leads to 'ofice'.*mean office",
        ),
        ("2/3", "0.6", r"state 'home', action 'walk': probabilities sum to 0.93"),
        ("2/3", "2/0", r"state 'home', action 'walk': probability '2/0' is no finite number"),
        ("2/3", "nan", "probability 'nan' is no finite number"),
        ("2/3", "[1]", r"probability \['1'\] is no finite number"),
        ("probability: 2/3", "probabilty: 2/3", "'probabilty', which means nothing here; did you mean probability"),
        (", probability: 2/3", "", "'office' has no probability, and there are several"),
        ("reward: -1}", "reward: 1e999}", "no finite number"),
        ("  office: {}\n", "", "'office', which is not among the states"),
        ("  office: {}", "  office: [1]", "state 'office': expected a table"),
        ("no: {to: office, reward: -3e0}", "no: {reward: -3e0}", "state 'home', action 'no': `to`: expected a name"),
        ("no: {to: office, reward: -3e0}", "no: []", "state 'home', action 'no': no outcomes"),
        ("no: {to: office, reward: -3e0}", "walk: {to: home}", "line 7: 'walk' stands here twice"),
        ("terminated: true", "terminated: maybe", "terminated is true or false, got 'maybe'"),
        ("terminated: true", "terminated: true, discount: 0.5", "leave `discount` out"),
        ("discount: 0.5", "discount: 1.5", r"state 'limbo', action 'wait': discount 1.5 .*expected in \[-1, 1\]"),
        ("initial: home", "initial: hom", "initial: 'hom' is not among the states; did you mean home"),
        ("initial: home", "initial: {home: 0.5}", "initial distribution sums to 0.5"),
        ("initial: home", "actions: [walk, wait, '1']", "actions: 'no' is missing"),
        ("[0, 1]", "[0, x]", r"grid: 'office' lies at \[row, column\]"),
        ("states:", "stats:", "'stats', which means nothing here; did you mean states"),
        ("{to: limbo, reward: 1, discount: 0.5}", "{to: limbo", "line [0-9]+: "),
        ("office: {}", "office: &x {}\n  other: *x", "line 9: write it out"),
        ("office: {}", "? [a, b]\n  : {}", "expected a name before the colon"),
        ("office: {}", '"\\Uffffffff": {}', "not YAML|line"),
    ],
)
def test_bad_documents_are_named(before, after, message, tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(HAND.replace(before, after, 1))
    assert before in HAND
    with pytest.raises(ModelError, match=message) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("suffix", "text", "message"),
    [
        (
            ".json",
            '{"states": {"a": {"go": {"to": "a", "reward": NaN}}}}',
            "state .a., action .go.: reward nan is no finite number",
        ),
        (".json", '{"states": {"a": {}, "a": {}}}', "'a' stands in one table twice"),
        (".json", '{"states":\n{"a" 1}}', "line 2: Expecting ':'"),
        (".json", '{"states": {"a": {"go": {"to": "a", "reward": 1' + "0" * 5000 + "}}}}", "not JSON|no finite"),
        (".json", '{"states": {"a": {"go": {"to": "a", "reward": 1' + "0" * 400 + "}}}}", "no finite number"),
        (".json", '{"states": {"a": {"go": {"to": "a", "reward": true}}}}', "True is no finite number"),
        (".json", "[" * 100_000, "nested too deeply|Expecting"),
        (".json", "[" * 100_000 + "]" * 100_000, "nested too deeply"),
        (".json", "[]", r"the document: expected a table, got \[\]"),
        (".json", "", "line 1: "),
        (".yaml", "", "has no states"),
        (".yaml", "[" * 5000, "nested too deeply|line"),
        (".yaml", "a: " * 5000, "line 1"),
        (".yaml", "states: !!python/object/apply:os.system [ls]", "states: expected a table"),
        (".yaml", "a: &a [x]\nb: &b [*a, *a]", "line 2: write it out"),
    ],
)
def test_hostile_documents(suffix, text, message, tmp_path):
    path = tmp_path / f"m{suffix}"
    path.write_text(text)
    with pytest.raises(ModelError, match=message):
        load(path)


def test_two_states_of_one_name_are_not_written_where_they_would_be_one(tmp_path):
    twins = from_rows([0, 1, 2], [0, 1, 2], [1, 0], [1, 1], state_reward=[1, 2], state_names=["a", "a"])
    for suffix in (".json", ".yaml"):
        with pytest.raises(ModelError, match="two states are called 'a'"):
            save(twins, tmp_path / f"m{suffix}")
    assert not list(tmp_path.iterdir())


# PRISM and Storm

PRISM = {
    ".tra": "# Transitions (MDP)\n3 4 6\n0 0 1 0.5 go on\n0 0 0 1/2 go on\n0 1 2 1 quit\n"
    "1 0 0 .25 go on\n1 0 2 .75 go on\n2 0 2 1\n",
    ".lab": '# Labels\n0="init" 1="deadlock" 2="goal"\n0: 0\n1: 2\n2: 1 2\n',
    ".sta": "(x,y)\n0:(0,true)\n1:(1,true)\n2:(1,false)\n",
    ".srew": '# Reward structure: "r"\n# State rewards\n3 2\n0 -1\n1 2.5\n',
    ".trew": "# Transition rewards\n3 4 1\n0 1 2 10\n",
}
STORM = {
    ".tra": "mdp\n0 0 0 0.5\n0 0 1 0.5\n0 1 2 1\n1 0 0 0.25\n1 0 2 0.75\n1 0 1 0\n2 0 2 1\n",
    ".lab": "#DECLARATION\ninit goal deadlock\n#END\n0 init\n1 goal\n2 goal deadlock\n",
    ".state.rew": "0 -1\n1 2.5\n",
    ".trans.rew": "0 1 2 10\n",
}
EXPLICIT_TWIN = {
    (0, 0): {(1, -1.0, 1.0): 0.5, (0, -1.0, 1.0): 0.5},
    (0, 1): {(2, 9.0, 0.0): 1},
    (1, 0): {(0, 2.5, 1.0): 0.25, (2, 2.5, 0.0): 0.75},
}


def lay(folder, files):
    for suffix, text in files.items():
        (folder / f"m{suffix}").write_text(text)
    return folder / "m.tra"


def test_prism_and_storm_by_hand(tmp_path):
    prism = load(lay(tmp_path, PRISM))
    assert table(prism) == EXPLICIT_TWIN and prism.initial.tolist() == [1, 0, 0]
    assert prism.state_names == ["(0,true)", "(1,true)", "(1,false)"] and prism.action_names == ["go on", "quit"]
    with pytest.warns(ModelWarning, match=r"the states labelled 'goal'.*not earned \(2.5 in state '\(1,true\)'"):
        goal = load(tmp_path / "m.tra", terminal="goal")
    assert goal.labels["goal"].tolist() == [1, 2] and not {"init", "deadlock"} & goal.labels.keys()
    assert goal.terminal.tolist() == [False, True, True]
    assert table(goal)[0, 0] == {
        (1, -1.0, 0.0): 0.5,
        (0, -1.0, 1.0): 0.5,
    }
    (tmp_path / "storm").mkdir()
    storm = load(lay(tmp_path / "storm", STORM))
    assert table(storm) == EXPLICIT_TWIN and list(storm.action_names) == ["0", "1"]


def test_a_chain_with_rewards_of_either_kind(tmp_path):
    path = lay(tmp_path, {".tra": "3 3\n1 2 1\n0 1 0.4 tock\n0 0 0.6 tick\n", ".rew": "0 1 7\n"})
    assert table(load(path)) == {(0, 0): {(1, 7.0, 1.0): 0.4, (0, 0.0, 1.0): 0.6}, (1, 0): {(2, 0.0, 0.0): 1}}
    lay(tmp_path, {".rew": "0 7\n1 1\n"})
    assert table(load(path)) == {(0, 0): {(1, 7.0, 1.0): 0.4, (0, 7.0, 1.0): 0.6}, (1, 0): {(2, 1.0, 0.0): 1}}


def test_an_actions_name_may_repeat_in_prism(tmp_path):
    path = lay(tmp_path, {".tra": "1 2 2\n0 0 0 1 a\n0 1 0 1 a\n"})
    assert list(load(path).action_names) == ["a#0", "a#1"]


def test_the_file_that_is_written_is_what_prism_reads(tmp_path):
    save(student(), tmp_path / "m.tra")
    lines = (tmp_path / "m.tra").read_text().splitlines()
    assert lines[0] == "5 9 11" and "4 0 4 1" in lines and all(len(line.split()) in (4, 5) for line in lines[1:])
    assert (tmp_path / "m.lab").read_text().splitlines()[0] == '0="init" 1="deadlock"'


def test_storms_layout_is_read_back(tmp_path):
    save(student(), tmp_path / "m.tra")
    prism = load(tmp_path / "m.tra")
    explicit.write(student(), tmp_path / "m.tra", storm=True)
    assert {file.name for file in tmp_path.iterdir()} == {"m.tra", "m.lab", "m.sta", "m.trans.rew"}
    assert (tmp_path / "m.tra").read_text().splitlines()[0] == "mdp"
    storm = load(tmp_path / "m.tra")
    assert all(np.array_equal(getattr(prism, name), getattr(storm, name)) for name in ARRAYS if name != "action")


def test_an_earlier_models_rewards_do_not_stay(tmp_path):
    save(student(), tmp_path / "m.tra")
    assert (tmp_path / "m.trew").exists()
    save(from_rows([0, 1], [0, 1], [0], [1.0], state_reward=[0]), tmp_path / "m.tra")
    assert {file.name for file in tmp_path.iterdir()} == {"m.tra", "m.lab"}


@pytest.mark.parametrize(
    ("suffix", "before", "after", "message"),
    [
        (".tra", "0 0 1 0.5 go on", "0 0 1 zero go on", r"m.tra, line 3: 'zero' is no finite number"),
        (".tra", "0 0 1 0.5 go on", "0 0 1 -0.5 go on", r"line 3: state 0, choice 0: probability -0.5"),
        (".tra", "0 0 1 0.5 go on", "0 0 x 0.5 go on", r"line 3: expected a whole number from 0, got 'x'"),
        (
            ".tra",
            "0 0 1 0.5 go on",
            "0 0 1",
            r"line 3: expected 'state choice next probability \[action\]'",
        ),
        (".tra", "0 0 1 0.5 go on", "0 0 0.5:1 x:0", "line 3: state 0, choice 0: .*'x' is no finite|line 3: 'x' is no"),
        (".tra", "0 0 1 0.5 go on", "0 0 1 [0.4,0.6]", r"line 3: \[0.4,0.6\] is an interval of probabilities"),
        (".tra", "0 0 1 0.5 go on", "0 0 1 0.5 walk", "line 4: state 0, choice 0: has two actions, 'walk'"),
        (".tra", "0 0 1 0.5 go on", "0 0 1 0.4 go on", r"state '\(0,true\)', action 'go on': probabilities sum to 0.9"),
        (".tra", "0 0 1 0.5 go on", "0 0 1 0.499999 go on", "sum to 0.999999, expected 1; normalise=True"),
        (".tra", "0 0 1 0.5 go on", "0 0 3 0.5 go on", "claims 3 states, and state 3 occurs"),
        (".tra", "0 1 2 1 quit", "0 2 2 1 quit", "state 0 has a choice 2 and no choice 1"),
        (".tra", "3 4 6", "3 4 7", "claims 7 transitions, and 6 follow: truncated"),
        (".tra", "3 4 6", "3 5 6", "claims 5 choices, and 4 follow: truncated"),
        (".tra", "3 4 6", "1000000000000 4 6", r"model of 1,000,000,000,000 states would take .* TB of memory"),
        (".tra", "3 4 6", "90000 4 6", "claims 90,000 states, and has only 6 transitions"),
        (".tra", "3 4 6", "ctmc", r"line 2: ctmc: a continuous-time model, whose lines hold rates, is not read"),
        (".tra", "3 4 6", "lts", r"line 2: expected the sizes \(PRISM\) or one of dtmc and mdp"),
        (".lab", "2: 1 2", "3: 1 2", r"m.lab, line 5: state 3 is not in the model"),
        (".lab", "2: 1 2", "2: 1 5", r"m.lab, line 5: label '5' is not declared"),
        (".lab", '0="init" 1="deadlock" 2="goal"', "init", "m.lab, line 2: expected declarations"),
        (".sta", "1:(1,true)", "2:(1,true)", r"m.sta, line 3: expected '1:\(…\)'"),
        (".sta", "2:(1,false)\n", "", "m.sta: names 2 states, expected 3"),
        (".srew", "0 -1", "7 -1", r"m.srew, line 4: state 7 is not in the model"),
        (".srew", "0 -1\n", "", "m.srew: its first line claims 2 rewards, and 1 follow: truncated"),
        (".trew", "0 1 2 10", "0 1 1 10", "m.trew, line 3: no transition leads from state 0, choice 1 to state 1"),
        (".trew", "0 1 2 10", "0 1 2", "m.trew, line 3: expected 'state choice next reward'"),
        (".trew", "3 4 1", "4 4 1", "m.trew, line 2: claims 4 states, and the model has 3"),
    ],
)
def test_bad_explicit_files(suffix, before, after, message, tmp_path):
    assert before in PRISM[suffix]
    path = lay(tmp_path, PRISM | {suffix: PRISM[suffix].replace(before, after, 1)})
    with pytest.raises(ModelError, match=message):
        load(path)


def test_an_unknown_label_is_refused_with_those_that_there_are(tmp_path):
    with pytest.raises(ModelError, match=r"m.tra: no label 'gaol' in the model.*its labels are goal"):
        load(lay(tmp_path, PRISM), terminal="gaol")


def test_several_reward_structures_are_asked_for(tmp_path):
    files = {".tra": "2 2 3\n0 0 0 0.5 go\n0 0 1 0.5 go\n1 0 1 1 stay\n", "1.srew": "2 1\n0 1\n"}
    path = lay(tmp_path, files)
    assert load(path).reward.tolist() == [1, 1, 0]  # PRISM numbers even a single one, if it is told to
    lay(tmp_path, {"2.srew": '# Reward structure: "cost"\n2 1\n0 5\n', "2.trew": "2 2 1\n0 0 1 2\n"})
    lay(tmp_path, {".x.trans.rew": "0 0 0 7\n", "10.tra": "2 2\n0 1 1\n1 1 1\n", "10.srew": "2 1\n0 9\n"})
    with pytest.raises(ModelError, match=r"1 \(m1.srew\), 2 or cost \(m2.srew, m2.trew\), x \(m.x.trans.rew\)"):
        load(path)
    assert load(path, reward="2").reward.tolist() == load(path, reward="cost").reward.tolist() == [5, 7, 0]
    assert load(path, reward=("1", "x", str(tmp_path / "m10.srew"))).reward.tolist() == [17, 10, 0]
    assert registry.model(str(path), reward=2).reward.tolist() == [5, 7, 0]
    with pytest.raises(ModelError, match="no reward structure and no file 'costs'; did you mean cost"):
        load(path, reward="costs")
    with pytest.raises(ModelError, match=r"m2.srew belongs to a model: name the .tra file, m.tra with --reward"):
        load(tmp_path / "m2.srew")


def test_a_state_without_transitions_earns_nothing_and_may_not_claim_to(tmp_path):
    path = lay(tmp_path, {".tra": "2 1\n0 1 1\n", ".srew": "2 2\n0 1\n1 5\n"})
    with pytest.raises(ModelError, match=r"m.srew: state 1 has the reward 5, which is earned on leaving it"):
        load(path)


def test_lines_to_the_same_state_add_up_and_rows_may_stand_in_one_line(tmp_path):
    twice = load(lay(tmp_path, {".tra": "2 2 4\n0 0 1 0.25 a\n0 0 1 0.25 a\n0 0 0 0.5 a\n1 0 1 1\n"}))
    assert table(twice) == {(0, 0): {(0, 0, 1): 0.5, (1, 0, 1): 0.5}, (1, 1): {(1, 0, 1): 1}}
    rows = load(lay(tmp_path, {".tra": "2 2 3\n0 0 0.5:0 0.5:1 a\n1 0 1:1\n"}))
    assert same(twice, rows)
    chain = load(lay(tmp_path, {".tra": "2 3\n0 0.5:0 0.5:1 tick\n1 1 1 tock\n"}))
    assert table(chain) == {(0, 0): {(0, 0, 1): 0.5, (1, 0, 1): 0.5}, (1, 0): {(1, 0, 1): 1}}


def test_exact_answers_take_numbers_as_they_were_written(tmp_path):
    """From 0 it goes on to the end with 1/3 + 1/3, for .1 a step and .2 on the way: .1 · 3/2 + .2."""
    lay(tmp_path, {".tra": "2 3\n0 0 1/3\n0 1 1/3\n0 1 1/3\n", ".srew": "2 1\n0 0.1\n", ".trew": "2 1\n0 1 .2\n"})
    (tmp_path / "m.drn").write_text(
        "@type: MDP\n@reward_models\nr\n@model\nstate 0 [0.1]\naction a [0.2]\n0 : 1/3\n1 : 2/3\nstate 1 [0]\n"
    )
    (tmp_path / "m.POMDP").write_text(
        "states: 3 actions: 1 observations: 3 start: 0 T: 0 : 0 uniform T: 0 : 1 0 1 0 T: 0 : 2 0 0 1 O: * uniform "
        "R: 0 : 0 : 0 : * 0.1 R: 0 : 0 : 1 : 0 0.3 R: 0 : 0 : 1 : 1 0.3 R: 0 : 0 : 1 : 2 0.3 R: 0 : 0 : 2 : * 0.3"
    )
    for suffix in (".tra", ".drn", ".POMDP"):
        model = read(tmp_path / f"m{suffix}").model
        expected = Fraction(7, 20) if suffix != ".drn" else Fraction(9, 20)
        assert bellman.solve_exactly(model, 1).value[0] == expected, suffix


def test_six_digits_are_normalised_if_asked(tmp_path):
    path = lay(tmp_path, {".tra": "2 4\n0 0 .333333\n0 1 .666666\n1 0 .5\n1 1 .5\n"})
    with pytest.raises(ModelError, match=r"sum to 0.999999, expected 1; normalise=True \(--normalise\) divides"):
        load(path)
    with pytest.warns(ModelWarning, match="m.tra: one pair's probabilities did not sum to 1, by up to 1e-06"):
        made = load(path, normalise=True)
    assert made.probability == pytest.approx([1 / 3, 2 / 3, 0.5, 0.5], abs=1e-6)
    assert np.add.reduceat(made.probability, made.row_ptr[:-1]) == pytest.approx([1, 1], abs=1e-15)
    lay(tmp_path, {".tra": "2 4\n0 0 .33\n0 1 .66\n1 0 .5\n1 1 .5\n"})
    with pytest.raises(ModelError, match=r"probabilities sum to 0.99, expected 1"):
        load(path, normalise=True)
    (tmp_path / "m.json").write_text(
        '{"states": {"a": {"go": [{"to": "a", "probability": 0.9999995}, {"to": "b", "probability": 0}]}, "b": {}}}'
    )
    with pytest.warns(ModelWarning, match="by up to 5e-07: normalised"):
        assert load(tmp_path / "m.json", normalise=True).probability.tolist() == [1, 0]


def test_a_model_without_a_reward_says_so_and_so_do_observations(tmp_path):
    path = lay(tmp_path, {".tra": "2 2\n0 1 1\n1 1 1\n", ".obs": "1 1\n"})
    with pytest.warns(ModelWarning, match="no reward was found, in it or beside it: every value is 0"):
        with pytest.warns(ModelWarning, match="what is observed is left out"):
            load(path)


def test_rates_are_no_probabilities(tmp_path):
    with pytest.raises(ModelError, match=r"sum to 3.5, expected 1; a continuous-time model.*if these are rates"):
        load(lay(tmp_path, {".tra": "2 2\n0 1 3.5\n1 0 2\n"}))


def test_labels_are_kept_by_every_format(tmp_path):
    model = replace(student(), labels={"work": np.array([1, 2, 3]), "no one's": np.array([], np.int64)})
    for suffix in SUFFIXES:
        save(model, tmp_path / f"m{suffix}")
        back = load(tmp_path / f"m{suffix}")
        assert {name: own.tolist() for name, own in back.labels.items()} == {"work": [1, 2, 3], "no one's": []}, suffix
        assert back.labelled("work").tolist() == [False, True, True, True, False]
        assert back.labelled("C3").tolist() == [False, False, False, True, False]
    with pytest.raises(ModelError, match="the states labelled 'far' must lie in"):
        replace(student(), labels={"far": np.array([7])})


DRN = """// Exported by storm
@type: MDP
@parameters

@reward_models
time energy
@nr_states
3
@nr_choices
4
@model
state 0 [1, 0] init
	action go [0, 2]
		0 : 1/2
		1 : 0.5
	action __NOLABEL__ [0, 0]
		2 : 1
state 1 [1, 0] half way
	action 0
		2 : 1
state 2 goal deadlock
	action 0 [0, 0]
		2 : 1
"""


def test_storms_own_format(tmp_path):
    path = tmp_path / "m.drn"
    path.write_text(DRN)
    both = load(path, reward=("time", "energy"))
    assert table(both) == {
        (0, 0): {(0, 3, 1): 0.5, (1, 3, 1): 0.5},
        (0, 1): {(2, 1, 0): 1},
        (1, 2): {(2, 1, 0): 1},
    }
    assert list(both.action_names) == ["go", "1", "0"] and both.initial.tolist() == [1, 0, 0]
    assert {name: own.tolist() for name, own in both.labels.items()} == {"half": [1], "way": [1], "goal": [2]}
    assert load(path, reward="energy").reward.tolist() == [2, 2, 0, 0]
    path.write_text(DRN.replace("MDP", "POMDP").replace("init", "{0} init"))
    with pytest.warns(ModelWarning, match="what is observed is left out"):
        assert same(load(path, reward=("time", "energy")), both)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("", "", "m.drn: has several reward structures: time, energy"),
        ("MDP", "CTMC", "line 2: @type CTMC: a continuous-time model, whose lines hold rates"),
        ("MDP", "SMG", "line 2: @type SMG: a game of several players"),
        ("MDP", "MMDP", "line 2: @type is one of dtmc, mdp, pomdp, got 'MMDP'"),
        ("@parameters\n", "@parameters\np q", r"line 4: a model with parameters \(p q\) is not read"),
        ("@type: MDP", "@value_type: parametric", "line 2: @value_type parametric: expected double or rational"),
        ("@type: MDP\n", "", "line 10: expected @type before @model"),
        ("@model", "@modle", "the file ends|expected a section"),
        ("state 1", "state 7", "line 18: expected state 1, got 'state 7"),
        ("[0, 2]", "[0]", r"line 13: expected 2 rewards, one of each structure, got \[0\]"),
        ("0 : 1/2", "0 : p", "line 14: 'p' is no finite number"),
        ("0 : 1/2", "0 : [0.4, 0.6]", r"line 14: '\[0.4, 0.6\]' is no finite number"),
        ("0 : 1/2", "0 - 1/2", "line 14: expected 'state …', 'action …' or 'next : probability'"),
        ("2 : 1\n", "5 : 1\n", "leads to state 5, and the last state is 2"),
        ("state 1 [1, 0]", "state 1 !3 [1, 0]", r"line 18: state 1 has an exit rate \(!3\): a continuous-time model"),
        ("@nr_choices\n4", "@nr_choices\n5", "@nr_choices claims 5, and 4 follow: truncated"),
    ],
)
def test_bad_drn_files(before, after, message, tmp_path):
    assert before in DRN
    (tmp_path / "m.drn").write_text(DRN.replace(before, after, 1))
    with pytest.raises(ModelError, match=message) as caught:
        load(tmp_path / "m.drn", **({} if not before else {"reward": "time"}))
    assert str(caught.value).startswith(str(tmp_path / "m.drn"))


# Cassandra

TIGER = """# The tiger, Kaelbling et al. 1998
discount: 0.95
values: reward
states: tiger-left tiger-right
actions: listen open-left open-right
observations: hear-left hear-right

start: uniform

T:listen
identity
T:open-left
uniform
T:open-right : * reset

O:listen
0.85 0.15
0.15 0.85
O:open-left
uniform
O:open-right
uniform

R:listen : * : * : * -1
R:open-left : tiger-left : * : * -100
R:open-left : tiger-right : * : * 10
R:open-right : tiger-left : * : * 10
R:open-right : 1 : * : * -100
"""


def test_the_tiger_seen(tmp_path):
    path = tmp_path / "tiger.POMDP"
    path.write_text(TIGER)
    tiger = read(path)
    assert tiger.discount == 0.95 and "no policy that only observes can do better" in tiger.notes[0]
    assert values(tiger.model, 0.95, 600) == pytest.approx(
        [200, 200]
    )  # who sees the tiger opens the other door each time
    assert tiger.model.state_names == ["tiger-left", "tiger-right"] and tiger.model.initial.tolist() == [0.5, 0.5]
    assert tiger.model.next_state.tolist() == [0, 0, 1, 0, 1, 1, 0, 1, 0, 1]
    path.write_text(TIGER.replace("values: reward", "values: cost"))
    costs = read(path)
    assert (costs.model.reward == -tiger.model.reward).all() and "rewards below 0" in costs.notes[1]


def test_rewards_of_what_is_observed_and_every_form_of_an_entry(tmp_path):
    path = tmp_path / "m.pomdp"
    path.write_text(
        "values: reward states: 2 actions: a b observations: 2 start: 1\n"
        "T: a : 0 : 1 1 T: a : 1 0.25 .75 T: b identity\n"
        "O: * : 0 : 0 1 O: * : 1 0.5 0.5\n"
        "R: a : 0 : * : * 1 R: a : 0 : 1 4 8 R: a : 1 0 1 2 3 R: b : * : * : 1 7\n"
    )
    model = read(path).model
    assert table(model) == {
        (0, 0): {(1, 6, 1): 1},  # 4 or 8 by what is observed in state 1
        (0, 1): {(0, 0, 1): 1},  # in state 0 always 0 is observed
        (1, 0): {(0, 0, 1): 0.25, (1, 2.5, 1): 0.75},
        (1, 1): {(1, 3.5, 1): 1},
    }
    assert model.initial.tolist() == [0, 1]
    path.write_text("states: 2\nactions: 1\nstart exclude: 0\nT: 0 : 0 0 1\nT: 0 : 1 reset\nR: 0 : 0 5 6\n")
    plain = read(path)  # without observations: an MDP
    assert plain.notes == () and plain.model.initial.tolist() == [0, 1]
    assert table(plain.model) == {(0, 0): {(1, 6, 1): 1}, (1, 0): {(1, 0, 1): 1}}


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "discount: 0.95",
            "discount: 2",
            r"line 3: expected a discount in \[0, 1\], got 2|line 2: expected a discount",
        ),
        ("values: reward", "values: points", "values are reward or cost, got 'points'"),
        ("states: tiger-left tiger-right\n", "", "line 7: expected `states:` before this"),
        (
            "R:open-left : tiger-left",
            "R:open-left : tiger-lift",
            "line 25: 'tiger-lift' is not among the states",
        ),
        ("0.85 0.15\n", "0.85\n", "line 19: 'O' is no finite number"),
        ("T:open-left\nuniform\n", "", "state 'tiger-left', action 'open-left': no transitions"),
        ("T:listen\nidentity", "T:listen\n1 0 0.5 0.4", "action 'listen': probabilities sum to 0.9"),
        ("start: uniform", "begin: uniform", "line 8: expected one of discount:"),
    ],
)
def test_bad_cassandra_files(before, after, message, tmp_path):
    assert before in TIGER
    (tmp_path / "tiger.POMDP").write_text(TIGER.replace(before, after, 1))
    with pytest.raises(ModelError, match=message) as caught:
        load(tmp_path / "tiger.POMDP")
    assert str(caught.value).startswith(str(tmp_path / "tiger.POMDP"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("robot.prism", "a model in PRISM's language: export its states"),
        ("m.jani", "storm --jani MODEL --exportbuild OUT.drn"),
        ("m.pkl", "a pickle, which can run any code and is never opened"),
        ("m.lab", "belongs to a model: name the .tra file, m.tra"),
        ("log.parquet", "save it as .csv"),
    ],
)
def test_what_other_tools_write_gets_the_way_from_it(name, message):
    assert formats.is_model_file(name)
    with pytest.raises(ModelError, match=message):
        load(name)


def test_what_a_kind_of_file_has_no_answer_to_is_refused(tmp_path):
    save(student(), tmp_path / "m.json")
    with pytest.raises(ModelError, match=r"m.json: reward \(--reward\) is not for .json files"):
        load(tmp_path / "m.json", reward="time")
    with pytest.raises(ModelError, match=r"columns \(--columns\) is not for .json files"):
        load(tmp_path / "m.json", columns="s,a,r,sp")


# Bad days


def written(folder, suffix):
    path = folder / f"m{suffix}"
    if suffix == ".tra":
        return lay(folder, PRISM)
    save(student(), path)
    return path


def accepts_or_says_so(path):
    """A model or one ModelError that names the file; nothing else."""
    try:
        return load(path)
    except ModelError as error:
        assert str(error).startswith(str(path.with_suffix(""))), error
        assert "\n" not in str(error)
        return None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_anywhere(suffix, tmp_path):
    path = written(tmp_path, suffix)
    whole = path.read_bytes()
    accepted = 0
    for size in range(0, len(whole), 1 + len(whole) // 700):
        path.write_bytes(whole[:size])
        accepted += accepts_or_says_so(path) is not None
    if suffix == ".npz":
        assert accepted == 0
    if suffix == ".json":
        assert accepted <= 1  # without the last line's end
    if suffix == ".tra":
        path.write_bytes(whole)
        for beside in (".lab", ".sta", ".srew", ".trew"):
            for size in range(len(PRISM[beside])):
                path.with_suffix(beside).write_text(PRISM[beside][:size])
                accepts_or_says_so(path)
            path.with_suffix(beside).write_text(PRISM[beside])


TOKENS = b"0 1 -1 1e309 nan \0 \xff [ { } : - & * !! # \" ' | > % --- ? \\U \xef\xbb\xbf \xe2\x80\xa8 , / null".split(
    b" "
)
HAND_FILES = [
    ({".yaml": HAND}, ".yaml"),
    (PRISM, ".tra"),
    (STORM, ".tra"),
    ({".drn": DRN.replace(" energy", "").replace(", 0]", "]").replace(", 2]", "]")}, ".drn"),
    ({".pomdp": TIGER.split("observations")[0] + TIGER[TIGER.index("start") : TIGER.index("O:listen")]}, ".pomdp"),
]
DAMAGED = [(files, whole, part) for files, whole in HAND_FILES for part in files]


def damages(whole):
    """A few places of a file, how much goes there, and what comes."""
    what = st.binary(max_size=3) | st.sampled_from([*TOKENS, b"\n", b" ", b"\t"])
    return st.lists(st.tuples(st.integers(0, len(whole)), st.integers(0, 3), what), min_size=1, max_size=4)


def damage(whole, cuts):
    for place, gone, new in cuts:
        whole = whole[:place] + new + whole[place + gone :]
    return whole


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".npz"])
def test_written_files_damaged_at_random(suffix, tmp_path):
    path = written(tmp_path, suffix)
    whole = path.read_bytes()

    @QUICK
    @given(damages(whole))
    def check(cuts):
        path.write_bytes(damage(whole, cuts))
        accepts_or_says_so(path)

    check()


@pytest.mark.parametrize(("files", "suffix", "part"), DAMAGED)
def test_hand_written_files_damaged_at_random(files, suffix, part, tmp_path):
    path = lay(tmp_path, files).with_suffix(suffix)

    @QUICK
    @given(damages(files[part].encode()))
    @example([(len(files[part]), 0, b"\n:")])
    def check(cuts):
        (tmp_path / f"m{part}").write_bytes(damage(files[part].encode(), cuts))
        accepts_or_says_so(path)

    check()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_anything_at_all(suffix, tmp_path):
    path = tmp_path / f"m{suffix}"

    @QUICK
    @given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
    def check(data):
        path.write_bytes(data)
        accepts_or_says_so(path)

    check()


def npy(array, shape=None, dtype=None):
    """A .npy member, with a header that may lie."""
    header = f"{{'descr': '{dtype or array.dtype.str}', 'fortran_order': False, 'shape': {shape or array.shape}, }}"
    header = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + array.tobytes()


def archive(path, change, compression=zipfile.ZIP_STORED):
    """A student's .npz with some members replaced."""
    save(student(), path)
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in (members | change).items():
            if data is not None:
                file.writestr(name, data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward.npy": npy(np.zeros(3), shape="(1000000000000,)")}, "reward claims 1,000,000,000,000 entries"),
        ({"reward.npy": npy(np.zeros(3), shape="(-3,)")}, "reward claims -3 entries"),
        ({"reward.npy": npy(np.zeros(4), shape="(2, 2)")}, "expected one axis"),
        ({"reward.npy": npy(np.zeros(10), dtype="|O")}, r"reward is \|O"),
        ({"reward.npy": npy(np.zeros(10), dtype=">f8")}, "reward is >f8"),
        ({"reward.npy": npy(np.zeros(9))}, "reward has 9 entries, expected 10"),
        ({"reward.npy": npy(np.zeros(10))[:-3]}, "reward claims 10 entries"),
        ({"reward.npy": b"\x93NUMPY\x03\x00"}, "version"),
        ({"reward.npy": None}, "has no array 'reward'"),
        ({"evil.npy": npy(np.zeros(1))}, "has the array 'evil'"),
        ({"state_ptr.npy": npy(np.zeros(0, np.int64), shape="(0,)")}, "state_ptr must rise"),
        ({"state_ptr.npy": npy(np.zeros((), np.int64), shape="()")}, "state_ptr is one number"),
        ({"row_ptr.npy": npy(np.array([0, -5, 3, 4, 5, 6, 7, 8, 10]))}, "row_ptr must rise"),
        ({"next_state.npy": npy(np.full(10, 2**62))}, "next_state must lie in"),
        ({"action.npy": npy(np.full(8, -(2**62)))}, "action must lie in"),
        ({"version.npy": npy(np.array(7), shape="()")}, "version 7"),
        ({"state_names.npy": npy(np.full(20, 255, np.uint8))}, "must rise|no UTF-8"),
        ({"state_names_end.npy": npy(np.array(10**12), shape="()")}, "claims 1,000,000,000,000 names"),
        ({"on_grid.npy": npy(np.ones(3, bool))}, "grid and on_grid"),
        ({"map_key.npy": npy(np.full(2, 65, np.uint8)), "map_key_end.npy": npy(np.array([2]))}, "map_key: "),
    ],
)
def test_forged_npz(change, message, tmp_path):
    path = tmp_path / "m.npz"
    archive(path, change)
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=message):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_zip_that_swells_is_refused_before_it_does(tmp_path, monkeypatch):
    path = tmp_path / "m.npz"
    zeros = npy(np.zeros(1_000_000))
    archive(path, {"reward.npy": zeros}, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(memory, "available", lambda: 5_000_000)
    with pytest.raises(ModelError, match=r"the model would take 16.\d MB of memory, and 5.0 MB are free"):
        load(path)
    monkeypatch.undo()
    with pytest.raises(ModelError, match="reward has 1000000 entries, expected 10"):
        load(path)


def test_compressed_npz_are_read(tmp_path):
    archive(tmp_path / "m.npz", {}, zipfile.ZIP_DEFLATED)
    assert same(load(tmp_path / "m.npz"), student())


def test_what_claims_much_allocates_little(tmp_path):
    path = lay(tmp_path, {".tra": "mdp\n0 0 99999999999 1\n"})
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match="100,000,000,000 states"):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_file_that_could_not_be_parsed_in_memory_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path, ".json")
    monkeypatch.setattr(memory, "available", lambda: 1000)
    with pytest.raises(ModelError, match=r"reading .*m.json would take .* kB of memory, and 1.0 kB are free"):
        load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failed_write_leaves_what_was_there(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"m{suffix}"
    save(student(), path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(toy_text("FrozenLake-v1"), path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_write_that_stops_between_two_files_leaves_no_mixture(tmp_path, monkeypatch):
    path = tmp_path / "m.tra"
    save(student(), path)

    def stops(self, target):
        raise OSError(5, "the machine went away")

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "replace", stops)
        with pytest.raises(OSError, match="went away"):
            write_whole({tmp_path / "m.lab": lambda f: f.write(b"x"), path: lambda f: f.write(b"y")})
    with pytest.raises(FileNotFoundError):
        load(path)


def test_names_of_files(tmp_path):
    with pytest.raises(ModelError, match=r"m.txt: the suffix of a model's file is one of .json, .yaml"):
        load(tmp_path / "m.txt")
    with pytest.raises(ModelError, match=r"name the \.tra file"):
        load(tmp_path / "m.lab")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "m.json")
    (tmp_path / "d.json").mkdir()
    with pytest.raises(IsADirectoryError):
        load(tmp_path / "d.json")
    assert formats.is_model_file("a/b.JSON") and not formats.is_model_file("FrozenLake-v1")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1/3", 1 / 3), (" -2 / 4 ", -0.5), ("1e-3", 1e-3), (".5", 0.5), ("5.", 5.0), ("+1", 1.0), (7, 7.0), (0.25, 0.25)],
)
def test_numbers(text, value):
    assert number(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1/0",
        "nan",
        "inf",
        "1e400",
        "1_0",
        "٣",
        "0x1",
        "1/2/3",
        "1/-2",
        None,
        True,
        [1],
        10**400,
        float("nan"),
        "9" * 401,
    ],
)
def test_no_numbers(text):
    with pytest.raises(ValueError, match="no finite number"):
        number(text)


def test_memory(monkeypatch):
    free = memory.available()
    assert free is None or 1_000_000 < free < 10**15
    ensure_fits(1, "nothing")
    monkeypatch.setattr(memory, "available", lambda: 3_200_000_000)
    with pytest.raises(ModelError, match=r"a model of 9 states would take 1.5 TB of memory, and 3.2 GB are free"):
        ensure_fits(1_500_000_000_000, "a model of 9 states")
    monkeypatch.setattr(memory, "available", lambda: None)
    ensure_fits(10**30, "anything")


def test_npz_is_read_by_numpy_without_pickle(tmp_path):
    save(student(), tmp_path / "m.npz")
    with np.load(io.BytesIO((tmp_path / "m.npz").read_bytes()), allow_pickle=False) as arrays:
        assert np.array_equal(arrays["probability"], student().probability)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "expected a dictionary state → action → outcomes, got list"),
        ({"a": [(1.0, "a", 0.0)]}, r"state 'a': expected a dictionary action → outcomes, got \[\(1.0"),
        ({"a": {"b": 1.0}}, "state 'a', action 'b': expected a list of outcomes, got 1.0"),
        ({"a": {"b": "none"}}, "state 'a', action 'b': expected a list of outcomes, got 'none'"),
        ({"a": {"b": [(1.0,)]}}, r"state 'a', action 'b': expected outcomes \(probability, next state, reward"),
        ({"a": {"b": [(1.0, "a", "much")]}}, "state 'a', action 'b': expected outcomes"),
        ({"a": {"b": [(1.0, ["a"], 0.0)]}}, r"state 'a', action 'b': the state \['a'\] cannot be hashed"),
    ],
)
def test_a_dictionary_that_is_no_model(table, message):
    with pytest.raises(ModelError, match=message):
        mdp(table)


@pytest.mark.parametrize(
    "text",
    [
        "mdp\n0 0 1 1/3\n0 0 0 2/3 \n0 1 1 1 go\n1 0 1 1.0 stay\n",
        "# PRISM\r\n2 3 4\r\n0 0 1 0.30000000000000004 a\r\n\n0\t0 0 0.69999999999999996 a\r\n0 1 1 1e0\r\n1 0 1 1\r\n",
        "dtmc\n1 1 1\n0 1 .1\n0 0 0.899999999999999999999999999999\n0 0 1e-30\n",
        "mdp\n0 0 1 nan\n",
        "mdp\n0 0 1 -1\n",
        "mdp\n0 0 1 0.5 a\n0 0 0 0.5 b\n",
        "2 2\n0 -1 1\n1 1 1\n",
        "2 2\n0 1 1\n1 1\n",
    ],
)
def test_reading_columns_says_what_reading_lines_says(text, tmp_path, monkeypatch):
    path = tmp_path / "m.tra"
    path.write_bytes(text.encode())
    (tmp_path / "m.trew").write_text("0 0 1 1/7\n0 0 0 2.50\n" if text[0] != "d" else "0 1 1/7\n0 0 2.50\n")

    def told():
        try:
            return load(path)
        except ModelError as error:
            return str(error)

    at_once = told()
    monkeypatch.setattr("retorno.environments.formats.lines.Words.of", lambda text: None)
    by_line = told()
    assert same(at_once, by_line) if isinstance(by_line, MDP) else at_once == by_line
    if isinstance(by_line, MDP):
        assert at_once.fractions == by_line.fractions and Fraction(1, 7) in at_once.exactly(at_once.reward)
