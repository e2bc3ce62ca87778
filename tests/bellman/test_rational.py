"""Rational answers: worked by hand, against every deterministic policy, and against the equations they solve."""

from fractions import Fraction
from itertools import product
from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from models import discounts, models, random_model

from retorno import bellman
from retorno.bellman.evaluation import uniform
from retorno.bellman.rational import evaluate_exactly, solve_exactly
from retorno.bellman.rational_average import average_exactly, evaluate_average_exactly
from retorno.core.mdp import MDP, mdp
from retorno.core.numerals import as_fraction
from retorno.environments import student


def policies(model: MDP):
    """Every deterministic policy, as probabilities [P]."""
    acting = np.flatnonzero(~model.terminal)
    for pairs in product(*(range(model.state_ptr[s], model.state_ptr[s + 1]) for s in acting)):
        chosen = np.zeros(model.num_pairs)
        chosen[list(pairs)] = 1
        yield chosen


def sure_to_end(model: MDP, policy) -> np.ndarray:
    """The states from which a policy [P] ends with probability one, at discount 1."""
    step = np.zeros((model.num_states, model.num_states), bool)
    ends = model.terminal.copy()
    earning = np.zeros(model.num_states, bool)
    everywhere = step.copy()
    for t in range(model.num_transitions):
        pair = model.transition_pair[t]
        s, n, d = model.pair_state[pair], model.next_state[t], model.discount[t]
        if model.probability[t] == 0:
            continue
        everywhere[s, n] |= d > 0
        earning[s] |= d < 1
        if policy[pair]:
            step[s, n] |= d > 0
            ends[s] |= d < 1
    for pair, s in enumerate(model.pair_state):
        outcomes = range(model.row_ptr[pair], model.row_ptr[pair + 1])
        mean = sum(Fraction(float(model.probability[t])) * Fraction(float(model.reward[t])) for t in outcomes)
        earning[s] |= mean != 0
    for _ in range(model.num_states):
        earning = earning | (everywhere @ earning)
        step = step | (step @ step)
    ends = ends | ~earning
    can = ends | (step @ ends)
    return can & ~(step @ ~can)


def test_the_student_of_the_lecture_in_fractions() -> None:
    by_name = dict(zip(student().state_names, solve_exactly(student(), 1).value, strict=True))
    assert sorted(by_name.values()) == [0, 6, 6, 8, 10]
    at_random = evaluate_exactly(student(), uniform, 1).value
    assert sorted(at_random) == [Fraction(-30, 13), Fraction(-17, 13), 0, Fraction(35, 13), Fraction(96, 13)]


def test_the_gambler_and_all_his_ties() -> None:
    """Sutton & Barto 2018, example 4.3, with heads at .4: 99 states."""
    stakes = {s: range(1, min(s, 100 - s) + 1) for s in range(1, 100)}
    model = mdp(
        {s: {b: [(0.4, s + b, float(s + b == 100)), (0.6, s - b, 0.0)] for b in own} for s, own in stakes.items()}
    )
    answer = solve_exactly(model, 1)
    expected = {1: 0.00206562, 25: 0.16, 50: 0.4, 51: 0.403098, 75: 0.64, 99: 0.964333}
    for capital, value in expected.items():
        assert float(answer.value[model.state(str(capital))]) == pytest.approx(value, abs=1e-6)
    at_51 = range(*model.state_ptr[model.state("51") :][:2])
    assert [model.action_names[model.action[p]] for p in at_51 if answer.optimal[p]] == ["1", "49"]


def test_numbers_stand_for_what_was_written() -> None:
    """A gamble of seven tenths for ten ties with a sure seven, and a third is a third."""
    tenths = Fraction(7, 10), Fraction(3, 10)
    ways = {
        "gamble": [(tenths[0], "end", 10), (tenths[1], "end", 0)],
        "sure": [(1, "end", 7)],
        "float": [(0.7, "end", 10), (0.3, "end", 0)],
    }
    answer = solve_exactly(mdp({"s": {**ways, "third": [(1, "end", Fraction(1, 3))]}}), 1)
    assert (
        answer.value[0] == 7 and answer.optimal.tolist() == [True, True, True, False] and answer.q[3] == Fraction(1, 3)
    )
    chances = {"s": {"third": Fraction(1, 3), "sure": Fraction(2, 3)}}
    assert evaluate_exactly(answer.model, chances, 1).start_value == Fraction(43, 9)
    assert solve_exactly(mdp({"s": {"go": [(1, "end", 2**60 + 1)]}}), 1).value[0] == 2**60 + 1


def test_a_discount_is_the_number_that_was_written() -> None:
    loop = mdp({"a": {"stay": [(1.0, "a", 1.0)]}})
    assert solve_exactly(loop, "0.9").value == [10]
    assert solve_exactly(loop, Fraction(9, 10)).value == [10]
    assert solve_exactly(loop, 0.9).value == solve_exactly(loop, np.float64(0.9)).value == [10]
    with pytest.raises(ValueError, match=r"\[0, 1\], got 1.5"):
        solve_exactly(loop, 1.5)


def test_every_question_takes_a_fraction_and_a_float_for_its_decimal() -> None:
    near = 1 - 1e-7
    loop = mdp({"a": {"stay": [(1.0, "a", 1.0)]}})
    for answer in (bellman.solve(loop, near), bellman.evaluate(loop, uniform, near)):
        assert answer.lower[0] <= 10**7 <= answer.upper[0] and answer.upper[0] - answer.lower[0] < 1e-6
    ring = mdp({"a": {"on": [(1, "b", 0.1)], "wait": [(1, "a", 0)]}, "b": {"on": [(1, "a", 3)]}}, initial="a")
    apart = solve_exactly(ring, near).value
    found = bellman.solve(ring, near)
    assert all(low <= v <= high for low, v, high in zip(found.lower, apart, found.upper, strict=True))
    third, rounded, questions = Fraction(1, 3), 1 / 3, bellman
    asked = {
        "solve": lambda g: questions.solve(ring, g).start_value,
        "evaluate": lambda g: questions.evaluate(ring, uniform, g).start_value,
        "best_soft": lambda g: questions.best_soft(ring, g, 0.5).start_value,
        "finite_horizon": lambda g: questions.finite_horizon(ring, 2, g).start_value,
        "evaluate_horizon": lambda g: questions.evaluate_horizon(ring, uniform, 2, g).start_value,
        "compare": lambda g: questions.compare(ring, {"uniform": uniform}, g).most_lost("uniform"),
        "occupancy": lambda g: questions.occupancy(ring, uniform, g).total,
        "occupancy_program": lambda g: questions.occupancy_program(ring, g)[1],
        "return_variance": lambda g: questions.return_variance(ring, uniform, g).start_variance,
        "return_distribution": lambda g: questions.return_distribution(ring, uniform, g).atom[-1],
        "policy_gradient": lambda g: questions.policy_gradient(ring, np.zeros((2, 2)), g).gradient[0, 0],
        "minimax": lambda g: questions.minimax(mdp({"s": {"go": [(1, "end", 2)]}}), g).start_value,
        "discounted_by_time": lambda g: questions.discounted_by_time(ring, g, [1.0, 2.0, 1.0]).discount[1],
    }
    for name, ask in asked.items():
        assert ask(third) == pytest.approx(ask(rounded), rel=1e-12), name


def test_a_policy_of_fractions_in_an_array() -> None:
    walk = mdp({"s": {"gamble": [(1, "end", 1)], "stop": [(1, "end", 0)]}})
    shares = np.array([Fraction(1, 3), Fraction(2, 3)], object)
    assert evaluate_exactly(walk, shares, 1).start_value == Fraction(1, 3)
    assert bellman.evaluate(walk, shares, 1).start_value == pytest.approx(1 / 3)


def test_rows_are_normalised_exactly() -> None:
    thirds = mdp({"a": {"x": [(1 / 3, "b", 1.0), (1 / 3, "c", 2.0), (1 / 3, "d", 6.0)]}})
    assert solve_exactly(thirds, 1).value[0] == 3
    tenth, rest = 0.1 + 1e-10, 0.9  # They sum to 1 up to the tolerance, and to no number that float64 has.
    rounded = mdp({"a": {"x": [(tenth, "b", 1), (rest, "c", 0)]}})
    assert solve_exactly(rounded, 1).value[0] == as_fraction(tenth) / (as_fraction(tenth) + as_fraction(rest))


def test_infinite_values_at_discount_1() -> None:
    model = mdp(
        {
            "rich": {"collect": [(1.0, "rich", 1.0)], "stop": [(1.0, "end", 0.0)]},
            "before": {"go": [(0.5, "rich", -9.0), (0.5, "end", 0.0)], "stop": [(1.0, "end", 5.0)]},
            "poor": {"stay": [(1.0, "poor", -1.0)]},
            "endless": {"stay": [(1.0, "endless", 1.0)]},
            "goal": {"stay": [(1.0, "goal", 0.0)]},
            "torn": {"risk": [(0.5, "poor", 9.0), (0.5, "rich", 0.0)], "stop": [(1.0, "end", -2.0)]},
        },
        initial="rich",
    )

    def values(answer):
        return dict(zip(model.state_names, answer.value, strict=True))

    ending, half = values(solve_exactly(model, 1, must_end=True)), Fraction(-9, 2)
    assert ending == {"rich": inf, "before": inf, "poor": -inf, "endless": -inf, "torn": -2, "goal": 0, "end": 0}
    assert values(solve_exactly(model, 1)) == ending | {"endless": inf}
    costs = values(solve_exactly(model, 1, minimise=True, must_end=True))
    assert costs == {"rich": 0, "before": half, "poor": inf, "endless": inf, "torn": -2, "goal": 0, "end": 0}
    assert values(solve_exactly(model, 1, minimise=True)) == costs | {"poor": -inf, "torn": -inf}
    known = values(evaluate_exactly(model, uniform, 1))
    assert {name: v for name, v in known.items() if isinstance(v, float)} == {
        "poor": -inf,
        "endless": inf,
        "torn": -inf,
    }
    assert values(evaluate_exactly(model, uniform, 1, must_end=True)) == known | {"endless": -inf}


def test_what_goes_up_and_down_for_ever_has_no_total() -> None:
    on = [(1, "b", 1)]
    swing = mdp({"a": {"on": on}, "b": {"on": [(1, "a", -1)]}, "c": {"go": on, "end": [(1, "end", -5)]}})
    for answer in (solve_exactly(swing, 1), bellman.solve(swing, 1), bellman.solve(swing, 1, minimise=True)):
        assert [isnan(v) for v in answer.value] == [True, True, False, False] and answer.value[2] == pytest.approx(-5)
        assert answer.told("c") == "end"
    with pytest.raises(ValueError, match="what is earned has no limit: ask for the average reward"):
        evaluate_exactly(swing, uniform, 1)
    known = {"a": "on", "b": "on", "c": "end"}
    for answer in (evaluate_exactly(swing, known, 1), bellman.evaluate(swing, known, 1)):
        assert [isnan(v) for v in answer.value] == [True, True, False, False]


def worth(model: MDP, discount, policy=None, minimise=False, must_end=True) -> list:
    """The exact value, of the best policy or of one; where none is finite there is an error, and the value here."""
    try:
        if policy is not None:
            return evaluate_exactly(model, policy, discount, must_end=must_end).value
        return solve_exactly(model, discount, minimise=minimise, must_end=must_end).value
    except ValueError:
        # One more state that ends: the error becomes a value.
        more = mdp({"end": {"stop": [(1, "over", 0)]}})
        joined = beside(model, more)
        if policy is not None:
            answer = evaluate_exactly(joined, np.append(policy, 1.0), discount, must_end=must_end)
        else:
            answer = solve_exactly(joined, discount, minimise=minimise, must_end=must_end)
        return answer.value[: model.num_states]


def beside(one: MDP, other: MDP) -> MDP:
    """Two models in one, neither of which leads to the other."""
    states, pairs, transitions = one.num_states, one.num_pairs, one.num_transitions
    return MDP(
        state_ptr=np.append(one.state_ptr, pairs + other.state_ptr[1:]),
        action=np.append(one.action, other.action),
        row_ptr=np.append(one.row_ptr, transitions + other.row_ptr[1:]),
        next_state=np.append(one.next_state, states + other.next_state),
        probability=np.append(one.probability, other.probability),
        reward=np.append(one.reward, other.reward),
        discount=np.append(one.discount, other.discount),
        initial=np.append(one.initial, 0 * other.initial),
        state_names=(*one.state_names, *other.state_names),
        action_names=one.action_names,
    )


@settings(max_examples=200, deadline=None)
@given(models(most_states=3, chances="quarters"), discounts())
def test_best_of_all_deterministic_policies(model, discount) -> None:
    best, least, values = worth(model, discount), worth(model, discount, minimise=True), []
    for policy in policies(model):
        proper = sure_to_end(model, policy) | (discount < 1)
        value = worth(model, discount, policy)
        assert all((v != -inf) == ends for v, ends in zip(value, proper, strict=True))
        values.append([v if ends else None for v, ends in zip(value, proper, strict=True)])
    for s in range(model.num_states):
        found = [v[s] for v in values if v[s] is not None]
        assert best[s] == inf or best[s] == max(found, default=-inf)
        assert least[s] == -inf or least[s] == min(found, default=inf)


@settings(max_examples=200, deadline=None)
@given(models(most_states=3, chances="quarters"))
def test_the_best_total_reward_of_all_deterministic_policies(model) -> None:
    best, least = (worth(model, 1, minimise=minimise, must_end=False) for minimise in (False, True))
    values = [worth(model, 1, policy, must_end=False) for policy in policies(model)]
    for s in range(model.num_states):
        found = [v[s] for v in values if v[s] == v[s]]
        for answer, reached in ((best[s], max(found, default=nan)), (least[s], min(found, default=nan))):
            assert answer == reached or isnan(answer) or not found or answer in (inf, -inf) == (reached in (inf, -inf))


@settings(max_examples=200, deadline=None)
@given(models(), discounts())
def test_the_value_solves_the_optimality_equation(model, discount) -> None:
    if not all(isinstance(v, Fraction) for v in worth(model, discount, must_end=False)):
        return
    answer = solve_exactly(model, discount)
    for s, pairs in enumerate(zip(model.state_ptr[:-1], model.state_ptr[1:], strict=True)):
        q = []
        for p in range(*pairs):
            outcomes = range(model.row_ptr[p], model.row_ptr[p + 1])
            p, r, d = (model.exactly(x[outcomes]) for x in (model.probability, model.reward, model.discount))
            onwards = [answer.value[n] for n in model.next_state[outcomes]]
            terms = [
                a / sum(p) * (b + as_fraction(discount) * c * v) for a, b, c, v in zip(p, r, d, onwards, strict=True)
            ]
            q.append(sum(terms))
        if q:
            assert answer.value[s] == max(q)
            ties, taken = answer.optimal[slice(*pairs)], answer.policy[slice(*pairs)]
            assert all(x == max(q) for x, tied in zip(q, ties, strict=True) if tied)
            assert discount == 1 or ties.tolist() == [x == max(q) for x in q]
            assert taken.sum() == 1 and ties[np.argmax(taken)]


@settings(max_examples=200, deadline=None)
@given(models(most_states=3))
def test_best_average_of_all_deterministic_policies(model) -> None:
    duration = 0.5 + np.random.default_rng(model.num_transitions).random(model.num_transitions)
    for time in (None, duration):
        gains = [evaluate_average_exactly(model, policy, duration=time).gain for policy in policies(model)]
        assert average_exactly(model, duration=time).gain == [max(g) for g in zip(*gains, strict=True)]
        assert average_exactly(model, duration=time, minimise=True).gain == [min(g) for g in zip(*gains, strict=True)]


@settings(max_examples=100, deadline=None)
@given(models())
def test_collecting_without_limit_is_a_positive_average(model) -> None:
    value = worth(model, 1)
    if -inf not in value:
        assert [v == inf for v in value] == [g > 0 for g in average_exactly(model).gain]


def test_the_average_is_the_limit_of_small_discounting() -> None:
    """(1 − γ) v → g as γ → 1 (Puterman 1994, corollary 8.2.5), for each of many models."""
    generator = np.random.default_rng(0)
    for _ in range(200):
        model = random_model(generator)
        near = 1 - Fraction(1, 10**40)
        scale = max(1, np.abs(model.reward).max(initial=0))
        for v, g in zip(solve_exactly(model, near).value, average_exactly(model).gain, strict=True):
            assert abs((1 - near) * v - g) < scale * Fraction(1, 10**15)


def test_average_worked_by_hand() -> None:
    """Two loops of period two; the poorer one can be left, and either can end."""
    model = mdp(
        {
            "a": {"on": [(1.0, "b", 1.0)], "leave": [(0.5, "c", 0.0), (0.5, "end", 0.0)]},
            "b": {"on": [(1.0, "a", 0.0)]},
            "c": {"on": [(1.0, "d", 4.0)]},
            "d": {"on": [(1.0, "c", 0.0)]},
        }
    )
    assert average_exactly(model).gain == [1, 1, 2, 2, 0]
    assert average_exactly(model, minimise=True).gain == [Fraction(1, 2), Fraction(1, 2), 2, 2, 0]
    # By time: "on" from a takes three units, so that going round earns 1 in 4.
    slow = np.array([3.0, 1.0, 1.0, 1.0, 1.0])
    assert average_exactly(model, duration=slow).gain == [1, 1, 2, 2, 0]
    kept = evaluate_average_exactly(model, np.array([1.0, 0.0, 1.0, 1.0, 1.0]), duration=slow)
    assert kept.gain == [Fraction(1, 4), Fraction(1, 4), 2, 2, 0]
    assert kept.bias == [0, Fraction(-1, 4), 0, -2, 0]
    with pytest.raises(ValueError, match="positive and finite"):
        average_exactly(model, duration=np.zeros(5))
    with pytest.raises(ValueError, match=r"per pair \[5\]"):
        average_exactly(model, duration=np.ones(4))
