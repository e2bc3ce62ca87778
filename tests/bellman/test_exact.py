"""Bounds, ties and optima against exact rational arithmetic on every deterministic policy of tiny random models."""

from fractions import Fraction
from itertools import product

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings

from retorno import bellman
from retorno.bellman.backup import backup_of
from retorno.bellman.proper_policies import earns_nothing
from retorno.bellman.zero_cycles import pays_nothing
from retorno.core.mdp import MDP, ModelError, mdp
from retorno.core.numerals import as_fraction
from retorno.environments import garnet

# Quarters are exact in binary, so that sums of probabilities are exactly 1 in both arithmetics.
SPLITS = [(1.0,), (0.5, 0.5), (0.25, 0.75), (0.25, 0.25, 0.5)]


OVER = {n: [split for split in SPLITS if len(split) == n] for n in (1, 2, 3)}
FEW = st.integers(-3, 3).map(float)


@st.composite
def models(draw, most_states=3, rewards=FEW) -> MDP:
    """Tiny models with ties, loops, terminal states, terminated transitions and fractional discounts."""
    states = draw(st.integers(1, most_states))
    names = [f"s{i}" for i in range(states)]
    transitions = {}
    for name in names:
        transitions[name] = {}
        for action in range(draw(st.integers(1, 3))):
            split = draw(st.sampled_from(SPLITS))
            transitions[name][f"a{action}"] = [
                (p, draw(st.sampled_from([*names, "end"])), draw(rewards), draw(st.integers(0, 5)) == 0) for p in split
            ]
    model = mdp(transitions, initial="s0")
    if draw(st.booleans()):
        model.discount[:] *= draw(st.sampled_from([0.5, 0.75]))
    return model


class Endless(Exception):
    """A policy that does not end from every state."""


def exact_value(model: MDP, policy, discount) -> list[Fraction]:
    """The value v = (I − γP)⁻¹ r by Gauss–Jordan elimination in rational numbers. `policy` [P]: probabilities."""
    n = model.num_states
    rows = [[Fraction(int(i == j)) for j in range(n)] + [Fraction(0)] for i in range(n)]
    for t in range(model.num_transitions):
        pair = int(model.transition_pair[t])
        s = int(model.pair_state[pair])
        weight = Fraction(float(policy[pair])) * Fraction(float(model.probability[t]))
        rows[s][int(model.next_state[t])] -= weight * as_fraction(float(discount)) * Fraction(float(model.discount[t]))
        rows[s][n] += weight * Fraction(float(model.reward[t]))
    if not ends(rows, n):
        raise Endless
    return eliminate(rows, n)


def ends(rows, n) -> bool:
    """Whether every state leads to one whose row leaks (I − M with a positive row sum)."""
    good = {i for i in range(n) if sum(rows[i][:n]) > 0}
    while True:
        more = {i for i in range(n) if i not in good and any(rows[i][j] < 0 for j in good)}
        if not more:
            return len(good) == n
        good |= more


def eliminate(rows, n) -> list[Fraction]:
    for i in range(n):
        pivot = next(k for k in range(i, n) if rows[k][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for k in range(n):
            if k != i and rows[k][i] != 0:
                rows[k] = [a - rows[k][i] * b for a, b in zip(rows[k], rows[i], strict=True)]
    return [rows[i][n] for i in range(n)]


def deterministic(model: MDP):
    """Every deterministic policy, as probabilities [P]."""
    acting = np.flatnonzero(~model.terminal)
    for pairs in product(*(range(model.state_ptr[s], model.state_ptr[s + 1]) for s in acting)):
        policy = np.zeros(model.num_pairs)
        policy[list(pairs)] = 1
        yield policy


def best_of(model: MDP, discount):
    """(best value, all pairs that an optimal policy may use) over the policies that end, or None without any."""
    found = []
    for policy in deterministic(model):
        try:
            found.append(exact_value(model, policy, discount))
        except Endless:
            continue
    if not found:
        return None
    best = [max(v[s] for v in found) for s in range(model.num_states)]
    q = [Fraction(0)] * model.num_pairs
    for t in range(model.num_transitions):
        weight = Fraction(float(model.probability[t]))
        going = as_fraction(float(discount)) * Fraction(float(model.discount[t])) * best[int(model.next_state[t])]
        q[int(model.transition_pair[t])] += weight * (Fraction(float(model.reward[t])) + going)
    return best, q


def assert_bounds(solution, exact):
    assert (solution.lower <= solution.value).all() and (solution.value <= solution.upper).all()
    for s, v in enumerate(exact):
        assert Fraction(float(solution.lower[s])) <= v <= Fraction(float(solution.upper[s]))


DISCOUNTS = st.sampled_from([0.0, 0.3, 0.9, 0.99, 1.0])
METHODS = st.sampled_from(bellman.METHODS)


def stays_for_nothing(model) -> bool:
    """Whether some state never ends and earns nothing any more, which counts as the end."""
    backup = backup_of(model, 1.0)
    return bool(earns_nothing(backup, pays_nothing(backup)).any())


@settings(max_examples=150, deadline=None)
@given(
    models(rewards=st.floats(-10, 10, width=32)),
    st.sampled_from([0.0, 0.3, 0.98, 1.0]),
    st.sampled_from([bellman.closed_form, bellman.iterative, bellman.krylov]),
    st.data(),
)
def test_evaluation_is_bounded(model, discount, method, data):
    assume(discount < 1 or not stays_for_nothing(model))
    policy = np.concatenate([data.draw(st.sampled_from(OVER[n])) for n in np.diff(model.state_ptr) if n])
    try:
        exact = exact_value(model, policy, discount)
    except Endless:
        try:
            known = bellman.evaluate(model, policy, discount, method=method, must_end=True).value
        except ValueError as error:
            assert "never terminates under this policy" in str(error)
        else:
            assert np.isneginf(known).any()
        return
    solution = bellman.evaluate(model, policy, discount, method=method, accuracy=1e-6)
    assert_bounds(solution, exact)
    assert solution.converged
    best = best_of(model, discount)
    if best is not None and np.isfinite(solution.policy_loss_bound):
        assert max(b - v for b, v in zip(best[0], exact, strict=True)) <= solution.policy_loss_bound


def test_sweeps_bound_what_bicgstab_breaks_down_on():
    model = mdp(
        {
            "a": {"x": [(1.0, "a", 0.0, True)], "y": [(0.5, "a", 0.0), (0.5, "c", 0.0)]},
            "b": {
                "x": [(0.25, "a", 0.0, True), (0.25, "a", 0.0), (0.5, "a", 0.0, True)],
                "y": [(0.25, "a", 0.0, True), (0.75, "c", 0.0)],
            },
            "c": {"x": [(0.25, "a", 0.0), (0.75, "c", 0.0)]},
        }
    )
    solution = bellman.evaluate(model, np.array([0.5, 0.5, 0.5, 0.5, 1.0]), 1.0, method=bellman.krylov)
    assert solution.converged and (solution.lower <= 0).all() and (solution.upper >= 0).all()


@settings(max_examples=150, deadline=None)
@given(models(), DISCOUNTS, METHODS)
def test_control_finds_the_best_of_all_policies(model, discount, method):
    assume(discount < 1 or not stays_for_nothing(model))
    best = best_of(model, discount)
    try:
        solution = bellman.solve(model, discount, accuracy=1e-6, method=method, must_end=True)
        if not np.isfinite(solution.value).all():
            assert discount == 1 and (best is None or not bellman_holds(model, best))
            return
    except ValueError as error:
        # Refused only where no policy ends, or where improving on those that do closes a loop that pays.
        assert discount == 1
        if best is None:
            assert "never terminates under any policy" in str(error)
        else:
            assert "pays for ever" in str(error) and not bellman_holds(model, best)
        return
    assert best is not None and bellman_holds(model, best)
    value, q = best
    assert_bounds(solution, value)
    assert solution.converged
    own = exact_value(model, solution.policy, discount)
    assert max(b - v for b, v in zip(value, own, strict=True)) <= solution.policy_loss_bound
    owner = model.pair_state
    tied = np.zeros(model.num_pairs, bool)
    for policy in deterministic(model):
        try:
            earned = exact_value(model, policy, discount)
        except Endless:
            continue
        # What a policy does in a state is good where it gets the best from there.
        tied |= (policy > 0) & np.array([earned[s] == value[s] for s in owner])
    near = [q[p] >= value[owner[p]] - Fraction(1, 10**5) for p in range(model.num_pairs)]
    assert (~tied | solution.optimal).all(), "an optimal pair is missing"
    assert (~solution.optimal | np.array(near)).all(), "a pair that is not optimal is listed"
    equal = np.array([q[p] == value[owner[p]] for p in range(model.num_pairs)])
    assert not (solution.optimal & equal & ~tied).any(), "a tie is listed that no best policy takes"


def bellman_holds(model, best) -> bool:
    """Whether no pair improves on the best value: false where a loop pays for ever."""
    value, q = best
    return all(q[p] <= value[s] for p, s in enumerate(model.pair_state))


@settings(max_examples=60, deadline=None)
@given(models(most_states=2), st.sampled_from([0.0, 0.9, 1.0]), st.sampled_from([0.1, 0.5, 1.0]))
def test_best_soft_policy(model, discount, epsilon):
    """The twin: evaluate the ε-soft version of every deterministic policy."""
    counts = np.diff(model.state_ptr)[model.pair_state]
    found = []
    for policy in deterministic(model):
        try:
            found.append(exact_value(model, (1 - epsilon) * policy + epsilon / counts, discount))
        except Endless:
            continue
    try:
        solution = bellman.best_soft(model, discount, epsilon)
    except ValueError:
        assert discount == 1
        return
    assert solution.value == pytest.approx([max(float(v[s]) for v in found) for s in range(model.num_states)], abs=1e-6)
    assert solution.converged
    again = bellman.evaluate(model, solution.policy, discount)
    assert again.value == pytest.approx(solution.value, abs=1e-6)
    assert again.q == pytest.approx(solution.q, abs=1e-6)


def test_with_epsilon_zero_the_best_soft_policy_is_the_best():
    # Round and round gains nothing (−1 + 1): only a policy that leaves ends, and it is as good.
    loop = mdp({"a": {"round": [(1.0, "b", -1.0)], "leave": [(1.0, "end", 0.0)]}, "b": {"back": [(1.0, "a", 1.0)]}})
    best = bellman.best_soft(loop, 1.0, 0.0)
    assert best.converged and best.value == pytest.approx([0, 1, 0])
    assert best.policy == pytest.approx([0, 1, 1])


def test_a_discount_may_be_a_whole_number():
    # Ends with probability ½ a step: worth 2. (An integer γ once truncated the probabilities of ending.)
    half = mdp({"a": {"go": [(0.5, "a", 1.0), (0.5, "end", 1.0)]}})
    for gamma in (1, 1.0, np.float32(1)):
        answer = bellman.solve(half, gamma)
        assert answer.value[0] == pytest.approx(2) and type(answer.question_discount) is float
        assert bellman.evaluate(half, bellman.uniform, gamma).value[0] == pytest.approx(2)
    assert bellman.solve(half, 0).value[0] == bellman.solve(half, 0.0).value[0] == 1


def test_bounds_hold_where_numbers_underflow():
    small = mdp({"a": {"go": [(0.25, "a", 5e-324), (0.75, "a", 1e-323)]}})
    exact = bellman.solve_exactly(small, 0.99).value[0]
    for method in bellman.METHODS:
        answer = bellman.solve(small, 0.99, method=method, sweeps=2_000)
        assert Fraction(float(answer.lower[0])) <= exact <= Fraction(float(answer.upper[0])), method


def test_values_that_float64_cannot_hold_are_refused():
    large = mdp({"a": {"go": [(0.5, "a", 1e300), (0.5, "a", -1e300)]}})
    for ask in (
        lambda: bellman.solve(large, 0.9),
        lambda: bellman.evaluate(large, bellman.uniform, 0.9),
        lambda: bellman.average_reward(large),
        lambda: bellman.finite_horizon(large, 3),
    ):
        with pytest.raises(ModelError, match="more than float64 can hold: divide all rewards"):
            ask()


@pytest.mark.parametrize("accuracy", [-1.0, float("nan")])
def test_an_accuracy_is_a_width(accuracy):
    with pytest.raises(ValueError, match="accuracy is a width of bounds, 0 or more"):
        bellman.solve(mdp({"a": {"go": [(1.0, "a", 1.0)]}}), 0.9, accuracy)


def test_bounds_near_discount_1_are_as_narrow_as_values_differ():
    # Values of about 7,000 that differ by 1: rounding counts around their middle, so 1e-6 can be proved.
    model = garnet(50, 4, 5, seed=0)
    for method in (bellman.policy_iteration, bellman.modified_policy_iteration, bellman.linear_programming):
        answer = bellman.solve(model, 0.9999, method=method)
        assert answer.converged and answer.value.min() > 1000
    exact = bellman.solve_exactly(garnet(12, 3, 3, seed=1), 0.9999999).value
    answer = bellman.solve(garnet(12, 3, 3, seed=1), 0.9999999)
    assert all(
        Fraction(float(a)) <= v <= Fraction(float(b)) for a, v, b in zip(answer.lower, exact, answer.upper, strict=True)
    )


def test_a_policys_probabilities_are_divided_by_their_sum():
    model = mdp({"a": {"go": [(1.0, "a", 1.0)], "stay": [(1.0, "a", 3.0)]}})
    rough = np.array([0.25, 0.75]) * (1 + 5e-10)
    answer = bellman.evaluate(model, rough, 0.99)
    exact = bellman.evaluate_exactly(model, rough, 0.99).value[0]
    assert Fraction(float(answer.lower[0])) <= exact <= Fraction(float(answer.upper[0]))
