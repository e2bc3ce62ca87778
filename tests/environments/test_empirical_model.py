"""Estimated models: counted by hand, against a dictionary twin, and as sure as they claim to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from retorno.core.mdp import ModelError
from retorno.core.time_step import TimeStep, Trajectory
from retorno.environments import empirical_model, garnet, recorded
from retorno.environments.empirical_models import l1_radius
from retorno.environments.sampled_world import sampled
from retorno.environments.wrappers import TimeLimit

RECORD = ([0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [1.0, 3.0, 5.0, 7.0, 9.0], [1, 1, 0, 2, 0], [0, 0, 0, 1, 0])


def rows(estimate):
    """{(state, action): {(next state, discount): (probability, reward, count)}}."""
    model, table = estimate.model, {}
    for t, p in enumerate(model.transition_pair):
        row = table.setdefault((int(model.pair_state[p]), int(model.action[p])), {})
        key = (int(model.next_state[t]), float(model.discount[t]))
        assert key not in row
        row[key] = (pytest.approx(model.probability[t]), pytest.approx(model.reward[t]), int(estimate.counts[t]))
    return table


def test_by_hand():
    made = empirical_model(*RECORD)
    assert rows(made) == {
        (0, 0): {(0, 1.0): (1 / 3, 5.0, 1), (1, 1.0): (2 / 3, 2.0, 2)},
        (0, 1): {(2, 0.0): (1.0, 7.0, 1)},
        (1, 0): {(0, 1.0): (1.0, 9.0, 1)},
    }
    assert made.visits.tolist() == [3, 1, 1] and made.model.terminal.tolist() == [False, False, True]
    assert made.reward_error.tolist() == [pytest.approx(2 / np.sqrt(3)), np.inf, np.inf]
    assert made.model.initial.tolist() == [0.5, 0.5, 0]


def test_a_state_can_be_left_and_ended_in():
    made = empirical_model([0, 0], [0, 0], [1, 2], [0, 0], [False, True])
    assert rows(made) == {(0, 0): {(0, 1.0): (0.5, 1.0, 1), (0, 0.0): (0.5, 2.0, 1)}}


def test_never_tried_pairs_are_left_out_or_stay_and_pay():
    assert empirical_model(*RECORD).model.num_pairs == 3
    made = empirical_model(*RECORD, unseen=100.0, num_actions=3)
    unknown = {pair: row for pair, row in rows(made).items() if pair not in rows(empirical_model(*RECORD))}
    assert unknown == {(s, a): {(s, 1.0): (1.0, 100.0, 0)} for s, a in [(0, 2), (1, 1), (1, 2)]}
    assert made.visits.tolist() == [3, 1, 0, 1, 0, 0]
    assert made.l1_radius[2] == 2 and made.reward_error[2] == np.inf and (made.lower[3], made.upper[3]) == (0, 1)
    assert made.model.num_states == 3 and made.model.terminal.tolist() == [False, False, True]


def test_where_nothing_was_ever_tried():
    record = ([0], [0], [1.0], [1], [False])
    with pytest.raises(ModelError, match="state '1': episodes went on from it, and nothing was ever tried"):
        empirical_model(*record)
    with pytest.raises(ModelError, match="state 'b': episodes went on"):
        empirical_model(*record, state_names=["a", "b"])
    assert rows(empirical_model(*record, unseen=-5))[1, 0] == {(1, 1.0): (1.0, -5.0, 0)}


def test_a_prior_by_hand():
    """(n + α) / (N + S α), over all next states; never seen ones pay the pair's mean; the third is terminal."""
    made = empirical_model(*RECORD, prior=0.5)
    assert rows(made)[0, 0] == {
        (0, 1.0): (1.5 / 4.5, 5.0, 1),
        (1, 1.0): (2.5 / 4.5, 2.0, 2),
        (2, 0.0): (0.5 / 4.5, 3.0, 0),
    }
    both = empirical_model([0, 0, 0], [0, 0, 0], [1, 2, 3], [0, 0, 1], [0, 1, 1], prior=1.0)
    assert rows(both)[0, 0] == {(0, 1.0): (1.5 / 5, 1.0, 1), (0, 0.0): (1.5 / 5, 2.0, 1), (1, 0.0): (2 / 5, 3.0, 1)}
    unknown = empirical_model(*RECORD, prior=1.0, unseen=0.0)
    assert rows(unknown)[1, 1] == {(1, 1.0): (1.0, 0.0, 0)}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(-9, 9), st.integers(0, 3)), min_size=1))
def test_a_dictionary_counts_the_same(transitions):
    """State 3 always ends the episode."""
    transitions = [(s % 3, a, float(r), to) for s, a, r, to in transitions]
    made = empirical_model(*map(list, zip(*((*t, t[3] == 3) for t in transitions), strict=True)), unseen=0.5)
    found = rows(made)
    for pair in {t[:2] for t in transitions}:
        mine = [t for t in transitions if t[:2] == pair]
        twin = {}
        for to in {t[3] for t in mine}:
            paid = [t[2] for t in mine if t[3] == to]
            twin[to, 0.0 if to == 3 else 1.0] = (len(paid) / len(mine), np.mean(paid), len(paid))
        assert found[pair] == {key: (pytest.approx(p), pytest.approx(r), n) for key, (p, r, n) in twin.items()}
    assert (made.lower <= made.model.probability + 1e-12).all() and (made.model.probability <= made.upper + 1e-12).all()


def test_intervals_by_hand():
    """None of three: Clopper & Pearson give [0, 1 − (δ/2)^{1/3}]. Weissman's bound at S = 2 is 2 exp(−n ε²/2)."""
    made = empirical_model([0] * 3, [0] * 3, [0] * 3, [0] * 3, [0] * 3, confidence=0.9)
    assert (made.lower[0], made.upper[0]) == (pytest.approx(0.05 ** (1 / 3)), 1.0)
    assert l1_radius(np.array([800]), 2, 0.05)[0] == pytest.approx(np.sqrt(2 * np.log(2 / 0.05) / 800))
    assert l1_radius(np.array([0, 1, 10**9]), 5000, 0.05).tolist() == [
        2,
        2,
        pytest.approx(np.sqrt(2 * (5000 * np.log(2) - np.log(0.05)) / 1e9)),
    ]
    assert l1_radius(np.array([0, 1]), 1, 0.05).tolist() == [2, 0]
    for k, n in [(0, 5), (2, 5), (5, 5)]:
        made = empirical_model([0] * n, [0] * n, [0] * n, [0] * k + [1] * (n - k), [1] * n)
        interval = stats.binomtest(k, n).proportion_ci(0.95, "exact")
        if k:
            assert (made.lower[0], made.upper[0]) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_intervals_hold_as_often_as_they_claim():
    """Coverage over 400 records of a known model: at least `confidence` up to 4 standard errors."""
    p, n, trials, confidence = np.array([0.7, 0.2, 0.1]), 40, 400, 0.8
    rng = np.random.default_rng(0)
    inside, near = 0, 0
    for _ in range(trials):
        to = rng.choice(3, n, p=p)
        made = empirical_model([0] * n, [0] * n, [0.0] * n, to, [1] * n, num_states=3, confidence=confidence)
        first = made.model.next_state.tolist().index(0)
        inside += made.lower[first] <= p[0] <= made.upper[first]
        near += np.abs(np.bincount(to, minlength=3) / n - p).sum() <= made.l1_radius[0]
    slack = 4 * np.sqrt(confidence * (1 - confidence) / trials)
    assert inside / trials >= confidence - slack and near / trials >= confidence - slack


def test_a_trajectory_gives_its_transitions_without_resets():
    """Two environments side by side, three rows each; the first is reset between rows 1 and 2."""
    steps = TimeStep(
        obs=np.array([[0, 5], [1, 6], [2, 7]]),
        reward=np.array([[0.0, 0], [10, 20], [0, 30]]),
        discount=np.array([[1.0, 1], [0, 1], [1, 1]]),
        first=np.array([[True, True], [False, False], [True, False]]),
        last=np.array([[False, False], [True, False], [False, False]]),
        legal=None,
    )
    trajectory = jax.tree.map(jnp.asarray, Trajectory(steps, np.array([[3, 4], [8, 9]]), None, None))
    made = recorded(trajectory)
    assert [x.tolist() for x in made] == [[0, 5, 6], [3, 4, 9], [10, 20, 30], [1, 6, 7], [True, False, False]]
    with pytest.raises(ModelError, match="only discrete worlds"):
        recorded(trajectory._replace(steps=trajectory.steps._replace(obs=jnp.zeros((3, 2, 4)))))


def test_what_was_lived_comes_back():
    """A random model, lived in for 40,000 steps: every probability within its interval at 1 − 10⁻⁶."""
    model = garnet(6, 2, 3, 1, termination=0.1)
    world = TimeLimit(sampled(model), 50)

    def live(carry, key):
        state, row = carry
        act, move, begin = jax.random.split(key, 3)
        action = jax.random.randint(act, (), 0, 2)
        moved = world.step(state, action, move)
        after = jax.tree.map(lambda a, b: jax.numpy.where(row.last, a, b), world.reset(begin), moved)
        return after, (row, action)

    begin = world.reset(jax.random.key(0))
    last, (lived, actions) = jax.lax.scan(live, begin, jax.random.split(jax.random.key(1), 40_000))
    lived = jax.tree.map(lambda x, y: jax.numpy.append(x, y[None])[:, None], lived, last[1])
    made = empirical_model(*recorded(Trajectory(lived, actions[:, None], None, None)), confidence=1 - 1e-6)
    truth = {}
    for t, p in enumerate(model.transition_pair):
        key = (int(p), int(model.next_state[t]), bool(model.discount[t] == 0))
        truth[key] = truth.get(key, 0) + model.probability[t]
    assert made.model.num_pairs == model.num_pairs and (made.model.action == model.action).all()
    for t, p in enumerate(made.model.transition_pair):
        key = (int(p), int(made.model.next_state[t]), bool(made.model.discount[t] == 0))
        assert made.lower[t] <= truth[key] <= made.upper[t]
        assert made.model.reward[t] == pytest.approx(model.reward[model.row_ptr[p]], rel=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action": [0]}, "action has 1 entries, expected 5"),
        ({"reward": [0]}, r"reward has the shape \[1\], expected \[5\]"),
        ({"reward": [0, 0, 0, np.nan, 0]}, r"state 0, action 1: reward nan \(entry 3\)"),
        ({"state": [0, 0, 0, 0, -1]}, r"states must lie in \[0, ∞\), got -1"),
        ({"state": [0, 0, 0, 0, 0.5]}, "state is not an array of whole numbers"),
        ({"num_states": 2}, r"states must lie in \[0, 2\), got 0 to 2"),
        ({"num_actions": 1}, r"actions must lie in \[0, 1\)"),
        ({"confidence": 1.0}, "confidence must lie in"),
        ({"prior": -1.0}, "prior be at least 0"),
        ({"next_state": [1, 1, 0, 2, 10**13]}, "states would take"),
    ],
)
def test_bad_records(change, message):
    record = dict(zip(["state", "action", "reward", "next_state", "terminated"], RECORD, strict=True))
    with pytest.raises(ModelError, match=message):
        empirical_model(**(record | change))


def test_nothing_recorded():
    with pytest.raises(ModelError, match="no transitions were recorded"):
        empirical_model([], [], [], [], [])
