"""Explanations: the student's backups term by term, of optima and of evaluations, and policies side by side."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from models import models, random_policy

from retorno.bellman import (
    average_reward,
    evaluate,
    evaluate_average,
    evaluate_horizon,
    finite_horizon,
    solve,
    uniform,
)
from retorno.bellman.comparison import compare
from retorno.bellman.explanation import explain, shown_sweeps, sweep_rows
from retorno.core.mdp import MDP, mdp
from retorno.core.solution import Sweep
from retorno.environments.textbook.lecture import student


def test_the_pub_of_the_lecture_term_by_term() -> None:
    found = explain(solve(student(), 1.0), "C3")
    study, pub = found.choices
    assert (study.action, study.best, study.loss, study.probability) == ("study", True, 0, 1)
    assert (pub.action, pub.best, pub.probability) == ("pub", False, 0)
    # 0.2 (1 + 6) + 0.4 (1 + 8) + 0.4 (1 + 10) = 9.4; the well-known slide prints 8.4.
    assert [term.next_state for term in pub.terms] == ["C1", "C2", "C3"]
    assert [term.total for term in pub.terms] == pytest.approx([1.4, 3.6, 4.4])
    assert pub.value == pytest.approx(9.4) and pub.loss == pytest.approx(0.6)
    assert pub.lower <= 9.4 <= pub.upper and pub.upper - pub.lower < 1e-9
    assert found.best == ("study",) and found.value == pytest.approx(10)


def test_it_reads_as_a_table() -> None:
    text = str(explain(solve(student(), 1.0), "C3"))
    assert text.splitlines()[0].startswith("C3 is worth 10, within ")
    assert text.splitlines()[2:4] == ["study = 10, the best", "  1 × (10 + 0) = 10   → Sleep, ends"]
    assert text.splitlines()[5:9] == [
        "pub = 9.4, loses 0.6",
        "  0.2 × (1 +  1 × 6) = 1.4   → C1",
        "  0.4 × (1 +  1 × 8) = 3.6   → C2",
        "  0.4 × (1 + 1 × 10) = 4.4   → C3",
    ]
    assert text.splitlines()[-1] == "value = 10, that of the best action study"


def test_an_evaluation_is_the_mean_over_its_actions() -> None:
    found = explain(evaluate(student(), uniform, 1.0), "C1")
    assert [choice.probability for choice in found.choices] == [0.5, 0.5]
    assert found.value == pytest.approx(np.mean([choice.value for choice in found.choices]))
    assert "0.5 × 0.6923077 + 0.5 × (-3.307692) = -1.307692" in str(found)


def test_each_time_of_a_horizon() -> None:
    answer = finite_horizon(student(), 3)
    found = answer.explain("C3", 1)  # Two steps to go: 0.2 (1 − 1) + 0.4 (1 + 0) + 0.4 (1 + 10) = 4.8.
    study, pub = found.choices
    assert (study.action, study.value, study.probability) == ("study", 10, 1) and found.time == (1, 3)
    assert pub.value == pytest.approx(4.8) and pub.loss == pytest.approx(5.2) and pub.lower <= 4.8 <= pub.upper
    assert "at time 1 of 3" in str(found)
    with pytest.raises(IndexError, match="times 0 to 2, got 3"):
        answer.explain("C3", 3)


def test_a_policy_over_a_horizon_is_the_mean_over_its_actions() -> None:
    found = evaluate_horizon(student(), uniform, 3).explain("C1")
    assert [choice.probability for choice in found.choices] == [0.5, 0.5]
    assert found.value == pytest.approx(np.mean([choice.value for choice in found.choices]))
    costs = finite_horizon(student(), 3, minimise=True).explain("C1")
    assert costs.choices[0].value == min(choice.value for choice in costs.choices) == costs.value


def fork() -> MDP:
    """Stay for 1 a step, wait for ¾, or take 5 once and have ½ a step for ever."""
    choices = {"stay": [(1, "a", 1.0)], "go": [(1, "b", 5.0)], "wait": [(0.5, "a", 1.0), (0.5, "a", 0.5)]}
    return mdp({"a": choices, "b": {"loop": [(1, "b", 0.5)]}})


def test_a_bias_and_the_gain_that_an_action_leads_to() -> None:
    found = average_reward(fork()).explain("a")
    assert [choice.action for choice in found.choices] == ["stay", "wait", "go"]
    stay, wait, go = found.choices
    assert found.gain == pytest.approx(1) and stay.value == pytest.approx(found.value) == 0
    assert wait.loss == pytest.approx(0.25) and wait.gain == pytest.approx(1)  # ¾ − 1
    assert go.gain == pytest.approx(0.5) and go.loss == pytest.approx(0.5) and go.value == pytest.approx(4)
    assert "go = 4, leads to 0.5 a step only" in str(found) and "less the gain of its time: 5 − 1" in str(found)


def test_a_gain_is_of_the_time_that_an_action_takes() -> None:
    found = average_reward(fork(), duration=np.array([2.0, 1, 1, 1])).explain("a")
    wait, stay, _ = found.choices  # ¾ a unit of time against ½: 1 − 2 · ¾ = −½.
    assert wait.action == "wait" and stay.loss == pytest.approx(0.5) and found.gain == pytest.approx(0.75)


def test_costs_and_a_policy_under_the_average() -> None:
    found = average_reward(fork(), minimise=True).explain("a")
    assert [choice.action for choice in found.choices] == ["go", "wait", "stay"] and found.gain == pytest.approx(0.5)
    mean = evaluate_average(fork(), uniform).explain("a")
    assert mean.value == pytest.approx(sum(c.probability * c.value for c in mean.choices))


def test_a_terminal_state_and_an_unknown_one() -> None:
    answer = solve(student(), 0.9)
    assert str(explain(answer, "Sleep")).endswith("it is terminal") and explain(answer, 4).choices == ()
    with pytest.raises(KeyError, match="no state 'C9'"):
        explain(answer, "C9")


def test_the_discount_of_a_transition_counts() -> None:
    model = mdp({"a": {"go": [(0.5, "a", 1.0), (0.5, "a", 2.0, True)]}})
    (go,) = explain(solve(model, 0.9), "a").choices
    assert [term.discount for term in go.terms] == [0.9, 0.0]
    assert go.value == pytest.approx(sum(term.total for term in go.terms))
    assert go.terms[1].total == 1.0


def test_it_is_json() -> None:
    told = json.loads(json.dumps(explain(solve(student(), 1.0), "C3").as_dict()))
    assert told["state"] == "C3" and told["choices"][1]["terms"][0]["next_state"] == "C1"


def test_ties_and_many_outcomes() -> None:
    fork = mdp({"a": {"left": [(1, "end", 1.0)], "right": [(1, "end", 1.0)]}})
    assert str(explain(solve(fork, 1.0), "a")).count("tied for the best") == 2
    wide = mdp({"a": {"go": [(1 / 64, f"end {i}", float(i)) for i in range(64)]}})
    text = str(explain(solve(wide, 1.0), "a"))
    assert "… and 52 smaller terms, together 20.71875" in text  # (0 + … + 51) / 64
    assert len(text.splitlines()) < 20


@settings(max_examples=60, deadline=None)
@given(models())
def test_the_terms_add_up_to_the_solutions_action_values(model: MDP) -> None:
    policy = random_policy(np.random.default_rng(3), model)
    for answer in (solve(model, 0.9), evaluate(model, policy, 0.9)):
        scale = 1e-9 * (1 + np.abs(answer.value).max() + np.abs(model.reward).max())
        for s in range(model.num_states):
            found = explain(answer, s)
            q = {model.action_names[model.action[p]]: answer.q[p] for p in np.flatnonzero(model.pair_state == s)}
            assert {c.action: pytest.approx(c.value, abs=scale) for c in found.choices} == q
            assert all(c.lower - scale <= c.value <= c.upper + scale for c in found.choices)
            mean = sum(c.probability * c.value for c in found.choices)
            assert mean == pytest.approx(found.value, abs=scale)


# Sweeps


def test_all_sweeps_or_the_first_ones_and_ever_fewer() -> None:
    assert shown_sweeps(0) == [] and shown_sweeps(1) == [0] and shown_sweeps(24) == list(range(24))
    for count in (25, 438, 100_000):
        shown = shown_sweeps(count)
        assert shown[:3] == [0, 1, 2] and shown[-1] == count - 1 and len(shown) <= 24
        assert (np.diff(shown) > 0).all()


def test_the_table_of_sweeps() -> None:
    values = [np.array([0, -1, 0, 10, 0.0]), np.array([-0.9, -1, 7, 10, 0.0])]
    untraced = solve(student(), 0.9)
    traced = replace(untraced, trace=tuple(Sweep(v, lower=v - 1, upper=v + 2, residual=10.0) for v in values))
    head, rows = sweep_rows(traced)
    assert head == ["sweep", "Facebook", "C1", "C2", "C3", "residual", "width"]
    assert rows == [[1, 0, -1, 0, 10, 10, 3], [2, -0.9, -1, 7, 10, 10, 3]]
    with pytest.raises(ValueError, match="trace=True"):
        sweep_rows(untraced)


# Policies side by side


def test_policies_are_held_against_the_best() -> None:
    model = student()
    best = solve(model, 1.0)
    found = compare(model, {"uniform": uniform, "best": best.policy}, 1.0)
    assert found.policies["uniform"].value[:4] == pytest.approx([-30 / 13, -17 / 13, 35 / 13, 96 / 13])
    assert found.loss("uniform")[:4] == pytest.approx([6 + 30 / 13, 6 + 17 / 13, 8 - 35 / 13, 10 - 96 / 13])
    assert found.loss("best") == pytest.approx(np.zeros(5)) and found.most_lost("best") < 1e-9
    assert found.most_lost("uniform") == pytest.approx(6 + 30 / 13)
    assert found.differs.tolist() == [True] * 4 + [False]


def test_a_comparison_reads_as_a_table() -> None:
    text = str(compare(student(), {"uniform": uniform}, 1.0)).splitlines()
    assert text[0].split() == ["state", "uniform", "best", "policies"]
    assert text[2].split() == ["C1", "-1.307692", "6.000000"]
    assert text[-2].split() == ["start", "loses", "7.307692"]
    assert text[-1].split() == ["any", "loses", "at", "most", "8.307692"]


def test_a_policy_that_cannot_be_evaluated_is_named() -> None:
    with pytest.raises(ValueError, match=r"policy 'idle': state 'Facebook'.* never terminates"):
        compare(student(), {"idle": [0, 0, 2, 4, 0]}, 1.0)
    with pytest.raises(ValueError, match="no policy to compare"):
        compare(student(), {}, 1.0)
