"""Explanations: the student's backups term by term, of optima and of evaluations, and policies side by side."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from models import models, random_policy

from retorno.bellman import evaluate, solve, uniform
from retorno.bellman.comparison import compare
from retorno.core.explanation import explain, shown_sweeps, sweep_rows
from retorno.core.mdp import MDP, mdp
from retorno.environments.textbook import student


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
    trace = tuple(SimpleNamespace(value=v, lower=v - 1, upper=v + 2, residual=10.0) for v in values)
    head, rows = sweep_rows(SimpleNamespace(model=student(), trace=trace))  # type: ignore[arg-type]
    assert head == ["sweep", "Facebook", "C1", "C2", "C3", "residual", "width"]
    assert rows == [[1, 0, -1, 0, 10, 10, 3], [2, -0.9, -1, 7, 10, 10, 3]]
    with pytest.raises(ValueError, match="trace=True"):
        sweep_rows(SimpleNamespace(model=student(), trace=()))  # type: ignore[arg-type]


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
        compare(student(), {"idle": [0, 0, 2, 2, 0]}, 1.0)
    with pytest.raises(ValueError, match="no policy to compare"):
        compare(student(), {}, 1.0)
