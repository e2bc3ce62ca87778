"""`retorno solve` as its user meets it: every criterion, what is written where, limits, interruptions and mistakes."""

import csv
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from unittest.mock import ANY

import numpy as np
import pytest

from retorno import bellman
from retorno.cli.rendering import ALL, FIRST
from retorno.cli.solve import AVERAGES, EVALUATIONS, METHODS
from retorno.core.mdp import mdp
from retorno.environments.registry import Entry
from retorno.environments.textbook.exploration import river_swim
from retorno.environments.textbook.garnet import garnet
from retorno.environments.textbook.lecture import random_walk, student


@pytest.fixture
def solve(cli):
    """Run `retorno solve` in this process: (exit code, stdout, stderr)."""
    return functools.partial(cli, "solve")


@pytest.fixture
def named(monkeypatch):
    """Give a model a name for a test."""
    from retorno.environments.registry import WORLDS

    def name(model):
        monkeypatch.setitem(WORLDS, "here", Entry("", lambda: None, lambda: model))  # type: ignore[arg-type]
        return "here"

    return name


def test_names_that_people_type_are_understood(cli):
    assert cli("solve", "student", "--gamma", "0.9", "--json") == cli("solve", "student", "--discount", "0.9", "--json")


def test_the_table_of_the_student(solve) -> None:
    code, out, err = solve("student", "--criterion", "total")
    lines = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert lines[2] == ["C1", "6.000000", "6.000000", "6.000000", "study"]
    assert "discount 1 (total reward), policy iteration, converged" in out and "auto chose policy iteration" in out


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_the_lakes_value(solve, method: str) -> None:
    answer = json.loads(solve("FrozenLake-v1", "--method", method, "--accuracy", "1e-7", "--json")[1])
    assert answer["start_value"] == pytest.approx(0.542026, abs=1e-6)
    assert answer["converged"] and answer["width"] <= 1e-7
    assert answer["optimal"]["6"] == ["left", "right"]


def test_costs_are_minimised(solve) -> None:
    answer = json.loads(solve("student", "--discount", "0.5", "--minimise", "--json")[1])
    least = bellman.solve(student(), 0.5, minimise=True)
    assert answer["minimise"] and answer["start_value"] == pytest.approx(least.start_value)
    assert answer["policy"]["Facebook"] == "facebook" and answer["value"]["Facebook"] == pytest.approx(-2)


def test_a_finite_horizon(solve) -> None:
    # Three steps from C1: study, study, study. With one step left it is better to stay on Facebook.
    answer = json.loads(solve("student", "--horizon", "3", "--json")[1])
    assert answer["value"]["C1"] == 6 and answer["policy"]["C1"] == "study" and answer["discount"] == 1
    assert answer["times"][2]["policy"]["C1"] == "facebook" and answer["times"][2]["value"]["C1"] == -1
    code, out, _ = solve("student", "--criterion", "horizon", "--horizon", "3", "--discount", "0.9")
    assert code == 0 and "3 steps, discount 0.9" in out


def test_an_average_reward(solve, named) -> None:
    # In turn 1 and 3: two a step; staying in b pays 2.5.
    loop = mdp({"a": {"go": [(1, "b", 1.0)]}, "b": {"back": [(1, "a", 3.0)], "stay": [(1, "b", 2.5)]}})
    answer = json.loads(solve(named(loop), "--criterion", "average", "--json")[1])
    assert answer["gain"] == pytest.approx({"a": 2.5, "b": 2.5}) and answer["policy"]["b"] == "stay"
    assert answer["start_gain"] == pytest.approx(2.5) and "bias" in answer
    code, out, _ = solve("here", "--criterion", "average")
    assert code == 0 and "average reward" in out


def test_fractions(solve) -> None:
    answer = json.loads(solve("student", "--discount", "0.9", "--exact", "--json")[1])
    assert answer["exact"] == {"Facebook": "387/100", "C1": "43/10", "C2": "7", "C3": "10", "Sleep": "0"}
    assert answer["start_value"] == 4.3 and answer["policy_loss_bound"] == 0
    assert "387/100" in solve("student", "--discount", "0.9", "--exact")[1]


def test_numbers_are_exact_as_they_were_written(solve, tmp_path) -> None:
    """A gamble of seven tenths ties with what is sure; in floats it is a little worse."""
    file = tmp_path / "tie.yaml"
    file.write_text(
        "initial: {s: 1}\nstates:\n  s:\n"
        "    gamble: [{to: win, probability: 7/10, reward: 10}, {to: end, probability: 3/10}]\n"
        "    sure: [{to: end, reward: 7}]\n    third: [{to: end, reward: 1/3}]\n  win: {}\n  end: {}\n"
    )
    for name in ("tie.yaml", "tie.json", "tie.npz"):  # What was written stays, from one format to another.
        if name != file.name:
            from retorno.environments.formats import load, save

            save(load(file), tmp_path / name)
        answer = json.loads(solve(tmp_path / name, "--exact", "--json")[1])
        assert answer["exact"]["s"] == "7" and answer["optimal"]["s"] == ["gamble", "sure"]
    worst = json.loads(solve(file, "--exact", "--minimise", "--json")[1])
    assert worst["exact_start_value"] == "1/3" and worst["minimise"]
    (tmp_path / "p.json").write_text('{"s": {"gamble": "1/3", "third": "2/3"}}')
    known = json.loads(solve(file, "--exact", "--policy", tmp_path / "p.json", "--json")[1])
    assert known["exact_start_value"] == "23/9" and known["policy"]["s"] is None


def test_what_is_asked_further_stands_on_the_discount_as_given(solve, tmp_path, monkeypatch) -> None:
    """One state that goes to itself: v = 1/(1 − γ) = 10¹⁰ + 1; γ's float says 10⁴ less."""
    (tmp_path / "m.tra").write_text("1 1\n0 0 1\n")
    (tmp_path / "m.trew").write_text("1 1\n0 0 1\n")
    (tmp_path / "m.lab").write_text('0="init" 1="deadlock"\n0: 0\n')
    monkeypatch.setattr("retorno.bellman.returns.MOST_STEPS", 10)
    asked = ("--policy", "uniform", "--compare", "--visits", "--returns", "--sensitivity", "--json")
    told = json.loads(solve(tmp_path / "m.tra", "--discount", f"{10**10}/{10**10 + 1}", *asked)[1])
    value = 10**10 + 1
    assert told["start_value"] == pytest.approx(value, rel=1e-12)
    assert told["comparison"]["best"]["0"] == pytest.approx(value, rel=1e-12)
    assert told["return"]["mean"] == pytest.approx(value, rel=1e-12)
    assert abs(told["visits"]["total"] - value) < told["visits"]["error"] < 1e-3 * value
    assert abs(told["sensitivity"]["gamma"] / value / (value - 1) - 1) < 1e-3


def test_a_slow_method_is_told_of_a_quicker_one(solve) -> None:
    told = "--method policy-iteration may be quicker: at most 1,000 states"
    assert told in solve("student", "--method", "value-iteration", "--sweeps", "2")[1]
    assert "may be quicker" not in solve("student", "--method", "value-iteration")[1]


def test_a_discount_may_be_a_fraction(solve, tmp_path) -> None:
    (tmp_path / "m.tra").write_text("2 3\n0 1 1/3\n0 0 2/3\n1 1 1\n")
    (tmp_path / "m.trew").write_text("2 1\n0 1 1/7\n")
    (tmp_path / "m.lab").write_text('0="init" 1="deadlock"\n0: 0\n1: 1\n')
    answer = json.loads(solve(tmp_path / "m.tra", "--discount", "1/3", "--exact", "--json")[1])
    assert answer["exact"]["0"] == "3/49"  # v = (1/3) (1/7) + (1/3) (2/3) v
    assert json.loads(solve(tmp_path / "m.tra", "--discount", "1/3", "--json")[1])["start_value"] == pytest.approx(
        3 / 49
    )
    near = json.loads(solve(tmp_path / "m.tra", "--discount", "0.9999999", "--exact", "--json")[1])
    assert near["exact"]["0"] == str(Fraction(1, 21) / (1 - Fraction(2, 3) * (1 - Fraction(1, 10**7))))
    assert (
        "--discount: 'x' is no finite number; write it as 0.25, 1e-3 or 1/3" in solve("student", "--discount", "x")[2]
    )


def test_exact_answers_tell_their_progress_and_stop(solve, named, monkeypatch) -> None:
    monkeypatch.setattr("retorno.cli.solve.QUIET", 0.0)
    code, out, err = solve("student", "--discount", "1", "--exact", "--seconds", "1e-9")
    assert code == 2 and out == "" and "no exact answer within 0 s" in err and "sweeps" in err
    code, out, err = solve("gambler", "--discount", "1", "--exact", "--seconds", "60", "--json")
    assert code == 0 and json.loads(out)["start_value"] == pytest.approx(0.4)


def test_two_questions_at_discount_1(solve, tmp_path) -> None:
    file, wait = tmp_path / "idle.yaml", tmp_path / "wait.json"
    file.write_text("states:\n  x: {wait: {to: x}, stop: {to: end, reward: -1}}\n  end: {}\n")
    wait.write_text('{"x": "wait"}')
    for more in ((), ("--exact",)):
        for question, value, action in (("total", 0, "wait"), ("reach", -1, "stop")):
            answer = json.loads(solve(file, "--criterion", question, *more, "--json")[1])
            assert (answer["value"]["x"], answer["optimal"]["x"]) == (pytest.approx(value), [action])
            assert answer["criterion"] == question and answer["policy"]["x"] == action
        assert json.loads(solve(file, "--discount", "1", *more, "--json")[1])["criterion"] == "total"
    told = json.loads(solve(file, "--criterion", "total", "--policy", wait, "--compare", "--json")[1])["comparison"]
    assert told["loses"]["x"] == pytest.approx(0) and told["best"]["x"] == pytest.approx(0)
    code, _, err = solve(file, "--criterion", "reach", "--policy", wait, "--compare")
    assert code == 2 and "never terminates under this policy" in err and "average" in err
    assert "(reaching the end)" in solve(file, "--criterion", "reach")[1]


def test_infinite_values_are_told_in_one_form(solve, named) -> None:
    model = mdp({"poor": {"stay": [(1, "poor", -1)]}, "fine": {"stop": [(1, "end", 2)]}}, initial="fine")
    for more in ((), ("--exact",), ("--policy", "uniform"), ("--policy", "uniform", "--exact")):
        answer = json.loads(solve(named(model), "--discount", "1", *more, "--json")[1])
        assert answer["value"] == {"poor": "-inf", "fine": 2.0, "end": 0.0}
        out = solve("here", "--discount", "1", *more)[1]
        assert "-inf" in out and "infinite in 1 state, where earning never ends: --criterion average" in out
    best = json.loads(solve("here", "--discount", "1", "--json")[1])
    assert best["policy"]["poor"] is None and best["optimal"]["poor"] == []


@pytest.mark.parametrize("more", [("--discount", "0.9"), ("--horizon", "2"), ("--criterion", "average"), ("--exact",)])
def test_the_policy_that_is_printed_is_the_one_evaluated(solve, tmp_path, more) -> None:
    file = tmp_path / "bad.json"
    file.write_text('{"Facebook": "facebook", "C1": "facebook", "C2": "sleep", "C3": {"study": 0.25, "pub": 0.75}}')
    code, out, err = solve("student", "--policy", file, *more)
    assert (code, err) == (0, "") and "study 0.25, pub 0.75" in out and "sleep" in out and "quit" not in out
    assert "facebook 0.5, quit 0.5" in solve("student", "--policy", "uniform", *more)[1]
    assert "-0.000000" not in out


def test_a_map_shows_the_policy_that_was_evaluated(solve, tmp_path) -> None:
    file = tmp_path / "p.json"
    states = json.loads(solve("FrozenLake-v1", "--json")[1])["value"]
    file.write_text(json.dumps({name: "left" for name in states if name not in ("5", "7", "11", "12", "15")}))
    out = solve("FrozenLake-v1", "--policy", file)[1].split("\n\n")[0]
    assert "←" in out and not set(out) & set("↓→↑")


def test_the_discount_is_told_as_it_is(solve, named, tmp_path) -> None:
    assert "discount 0.9999999, " in solve("student", "--discount", "0.9999999")[1]
    loop = mdp({"a": {"go": [(1, "b", 1.0)]}, "b": {"back": [(1, "a", 3.0)]}})
    file = tmp_path / "times.csv"
    file.write_text("state,action,duration\na,go,2\n")
    question = (named(loop), "--discount", "0.5", "--durations", file)
    answer = json.loads(solve(*question, "--json")[1])
    assert answer["discount"] == 0.5 and answer["criterion"] == "discounted"
    assert "discount 0.5, " in solve(*question)[1]
    assert "at discount 0.5" in solve(*question, "--explain", "a")[1]


def test_a_model_is_made_with_what_is_said(solve, tmp_path) -> None:
    out = solve("FrozenLake-v1", "--world.is_slippery", "false", "--world.desc", '["SF","HG"]', "--discount", "1")[1]
    assert "start value 1.000000" in out
    assert json.loads(solve("random_walk", "--world.states", "3", "--json")[1])["value"].keys() == {
        "A",
        "B",
        "C",
        "left end",
        "right end",
    }
    (tmp_path / "own.py").write_text("def walk(pay=1):\n    return {'a': {'go': [(1.0, 'end', float(pay))]}}\n")
    assert "start value 7.0" in solve(f"{tmp_path / 'own.py'}:walk", "--world.pay", "7")[1]
    for call, told in (
        ("Taxi-v4 --world.fickle_passenger", "takes no 'fickle_passenger'; it takes is_rainy"),
        (f"{tmp_path / 'own.py'}:walk --world.pai 7", "pai"),
        (f"{tmp_path / 'm.npz'} --world.size 3", "is a file"),
    ):
        code, _, err = solve(*call.split())
        assert code == 2 and told in err


def test_another_start(solve) -> None:
    assert json.loads(solve("student", "--initial", "C3", "--json")[1])["start_value"] == pytest.approx(10)
    assert "the start is C3" in solve("student", "--initial", "C3")[1]


def test_explanations(solve) -> None:
    code, out, _ = solve("student", "--discount", "1", "--explain", "C3")
    assert code == 0 and "pub = 9.4, loses 0.6" in out and "Facebook" not in out
    told = json.loads(solve("student", "--discount", "1", "--explain", "C3", "--json")[1])
    assert told["explanation"]["choices"][1]["loss"] == pytest.approx(0.6) and told["value"]["C1"] == pytest.approx(6)


def test_explanations_of_other_criteria(solve) -> None:
    out = solve("student", "--horizon", "3", "--explain", "C3", "--time", "1")[1]
    assert out.startswith("C3 is worth 10, within") and "at time 1 of 3" in out and "pub = 4.8, loses 5.2" in out
    told = json.loads(solve("access_control", "--criterion", "average", "--explain", "1 free, pays 8", "--json")[1])
    assert told["explanation"]["gain"] == pytest.approx(told["start_gain"])
    assert told["explanation"]["choices"][0]["action"] == "accept"


def test_choosing_at_random(solve) -> None:
    answer = json.loads(solve("student", "--discount", "1", "--policy", "uniform", "--json")[1])
    assert answer["value"]["C2"] == pytest.approx(35 / 13) and answer["policy"]["C1"] is None
    assert answer["optimal"]["C1"] == ["study"]  # What an improvement would choose.


def test_a_policy_from_a_file(solve, tmp_path) -> None:
    file = tmp_path / "policy.json"
    solve("student", "--discount", "0.9", "--out", file)  # What an answer holds is one.
    answer = json.loads(solve("student", "--discount", "1", "--policy", file, "--json")[1])
    assert answer["value"]["C1"] == pytest.approx(6)
    mixed = {"Facebook": "quit", "C1": {"study": "1/2", "facebook": 0.5}, "C2": "study", "C3": "pub"}
    file.write_text(json.dumps(mixed))
    told = json.loads(solve("student", "--discount", "0.9", "--policy", file, "--compare", "--json")[1])
    own = bellman.evaluate(student(), np.array([0, 1, 0.5, 0.5, 0, 1, 0, 1.0]), 0.9)
    assert told["value"] == pytest.approx(dict(zip(student().state_names, own.value, strict=True)))
    assert told["comparison"]["differs"] == ["C1", "C3"]
    assert told["comparison"]["loses"]["C1"] == pytest.approx(4.3 - own.value[1])
    assert told["comparison"]["loses_at_most"] == pytest.approx(max(told["comparison"]["loses"].values()))
    assert "any loses at most" in solve("student", "--discount", "0.9", "--policy", file, "--compare")[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "not JSON"),
        ("[]", "expected an object of each state's action"),
        ('{"C9": "study"}', "no state 'C9'"),
        ('{"C1": "study", "C1": "facebook"}', "'C1' stands in one table twice"),
        ('{"C1": "pub"}', "state 'C1' has no action 'pub'; it has facebook, study"),
        ('{"C1": 1}', "state 'C1': expected an action or the probabilities"),
        ('{"C1": {"study": "x"}}', "state 'C1': 'x' is no finite number"),
        ('{"C1": "study"}', "state 'Facebook': no action is given"),
        ('{"Facebook": "quit", "C1": {"study": 0.7}, "C2": "study", "C3": "pub"}', "policy in state 'C1'"),
    ],
)
def test_a_file_that_is_no_policy(solve, tmp_path, text, message) -> None:
    (tmp_path / "p.json").write_text(text)
    code, out, err = solve("student", "--policy", tmp_path / "p.json")
    assert code == 2 and out == "" and message in err


def test_the_policy_of_every_criterion(solve) -> None:
    random = bellman.uniform
    assert "35/13" in solve("student", "--discount", "1", "--policy", "uniform", "--exact")[1]
    answer = json.loads(solve("student", "--horizon", "3", "--policy", "uniform", "--json")[1])
    assert answer["start_value"] == pytest.approx(bellman.evaluate_horizon(student(), random, 3).start_value)
    answer = json.loads(solve("river_swim", "--criterion", "average", "--policy", "uniform", "--json")[1])
    assert answer["start_gain"] == pytest.approx(bellman.evaluate_average(river_swim(), random).start_gain)
    for method in EVALUATIONS:
        arguments = ("--policy", "uniform", "--method", method, "--accuracy", "1e-9")
        answer = json.loads(solve("student", "--discount", "1", *arguments, "--json")[1])
        assert answer["method"] == method.replace("-", " ") and answer["start_value"] == pytest.approx(-17 / 13)
    for method in AVERAGES:
        answer = json.loads(solve("river_swim", "--criterion", "average", "--method", method, "--json")[1])
        assert answer["method"] == method.replace("-", " ") and answer["converged"]


def test_steps_that_take_time(solve, named, tmp_path) -> None:
    # Round a and b: 1 and 3 earned in 2 + 1 units of time. Staying in b pays 2.5 in 5.
    loop = mdp({"a": {"go": [(1, "b", 1.0)]}, "b": {"back": [(1, "a", 3.0)], "stay": [(1, "b", 2.5)]}})
    file = tmp_path / "times.csv"
    file.write_text("state,action,duration\na,go,2\nb,stay,5\n")
    answer = json.loads(solve(named(loop), "--criterion", "average", "--durations", file, "--json")[1])
    assert answer["start_gain"] == pytest.approx(4 / 3) and answer["policy"]["b"] == "back"
    answer = json.loads(solve("here", "--discount", "0.5", "--durations", file, "--json")[1])
    # v(a) = 1 + ¼ v(b), v(b) = 3 + ½ v(a)
    assert answer["value"] == pytest.approx({"a": 2, "b": 4})
    for text, message in (("a,go,2", "line 1"), ("state,action,duration\na,go", "line 2: expected"), ("", "line 1")):
        file.write_text(text)
        assert message in solve("here", "--criterion", "average", "--durations", file)[2]
    file.write_text("state,action,duration\na,go,2\na,go,3\n")
    assert "line 3: state 'a', action 'go' has a duration already" in solve("here", "--durations", file)[2]
    for row, message in (("a,go,x", "line 2: 'x' is no"), ("a,no,1", "line 2: state 'a' has no action 'no'")):
        file.write_text(f"state,action,duration\n{row}\n")
        assert message in solve("here", "--criterion", "average", "--durations", file)[2]
    file.write_text("state,action,duration\na,go,-1\n")
    assert "durations must be positive" in solve("here", "--criterion", "average", "--durations", file)[2]


def test_what_else_a_policy_tells(solve) -> None:
    arguments = ("student", "--discount", "1", "--policy", "uniform", "--visits", "--returns", "--sensitivity")
    answer = json.loads(solve(*arguments, "--json")[1])
    assert answer["visits"]["total"] == pytest.approx(sum(answer["visits"]["state"].values()))
    assert answer["visits"]["ending"]["Sleep"] == pytest.approx(1)
    found = answer["return"]
    assert np.dot(found["atoms"], found["probabilities"]) == pytest.approx(-17 / 13) == found["mean"]
    assert found["quantiles"]["5%"] < found["quantiles"]["95%"] and found["error"] < 1e-8
    # Each visit of C1 goes to study half of the time.
    (study,) = (t for t in answer["sensitivity"]["transitions"] if (t["state"], t["action"]) == ("C1", "study"))
    assert study["reward"] == pytest.approx(answer["visits"]["state"]["C1"] / 2)
    _, out, _ = solve(*arguments)
    assert "visits in all 6.307692" in out and "standard deviation 5.39669" in out and "∂/∂γ" in out


def test_every_sweep(solve) -> None:
    _, out, _ = solve("student", "--discount", "0.9", "--method", "value-iteration", "--trace")
    head, *rows = (line.split() for line in out.split("\n\n")[0].splitlines())
    assert head == ["sweep", "Facebook", "C1", "C2", "C3", "residual", "width"]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"] and rows[-1][1:5] == [
        "3.8700",
        "4.3000",
        "7.0000",
        "10.0000",
    ]
    arguments = ("student", "--discount", "0.9", "--method", "value-iteration", "--trace", "--json")
    trace = json.loads(solve(*arguments)[1])["trace"]
    assert len(trace) == 5 and trace[-1]["value"]["C1"] == pytest.approx(4.3)
    assert all(sweep["lower"]["C1"] <= 4.3 + 1e-9 <= sweep["upper"]["C1"] + 2e-9 for sweep in trace)


# Files


def test_what_is_written_can_be_read(solve, tmp_path) -> None:
    best = bellman.solve(student(), 0.9)
    for suffix in ("json", "csv", "npz"):
        code, out, err = solve("student", "--discount", "0.9", "--out", tmp_path / f"answer.{suffix}", "--json")
        assert code == 0 and json.loads(out) and f"answer.{suffix}" in err
    told = json.loads((tmp_path / "answer.json").read_text())
    assert told["value"] == dict(zip(student().state_names, map(float, best.value), strict=True))
    rows = list(csv.DictReader((tmp_path / "answer.csv").read_text().splitlines()))
    assert [float(row["value"]) for row in rows] == best.value.tolist()
    assert [row["policy"] for row in rows] == ["quit", "study", "study", "study", ""]
    with np.load(tmp_path / "answer.npz", allow_pickle=False) as arrays:
        assert (arrays["value"] == best.value).all() and arrays["policy"].tolist()[-1] == -1
        assert arrays["state_names"].tolist() == list(student().state_names)
        assert json.loads(str(arrays["about"]))["converged"] is True
    assert not list(tmp_path.glob(".*"))


def test_a_horizons_tables_are_written_whole(solve, tmp_path) -> None:
    solve("student", "--horizon", "3", "--out", tmp_path / "answer.npz")
    with np.load(tmp_path / "answer.npz", allow_pickle=False) as arrays:
        assert arrays["value"].shape == (4, 5) and arrays["policy"].shape == (3, 5)


def test_a_models_file_is_solved(solve, tmp_path) -> None:
    from retorno.environments.formats import save

    save(student(), tmp_path / "student.json")
    answer = json.loads(solve(tmp_path / "student.json", "--discount", "1", "--json")[1])
    assert answer["value"]["C1"] == pytest.approx(6)
    code, _, err = solve(tmp_path / "missing.json")
    assert code == 2 and "missing.json" in err


@pytest.mark.parametrize("question", ["--criterion average", "--exact", "--horizon 2", "--exact --policy uniform"])
def test_every_question_has_a_picture(solve, tmp_path, question) -> None:
    code, _, err = solve("river_swim", *question.split(), "--picture", tmp_path / "river.png", "--json")
    assert code == 0 and "drawn in" in err and (tmp_path / "river.png").stat().st_size > 5000


def test_what_a_picture_of_another_question_shows() -> None:
    from retorno.plots.answers import as_drawn

    river = river_swim()
    average = bellman.average_reward(river)
    drawn = as_drawn(average)
    assert (drawn.value == average.bias).all() and drawn.title.startswith("a step earns 668.8 for ever")
    apart = as_drawn(bellman.average_reward(mdp({"a": {"on": [(1.0, "a", 1.0)]}, "b": {"on": [(1.0, "b", 2.0)]}})))
    assert apart.value.tolist() == [1, 2] and "values are gains" in apart.title
    exact = as_drawn(bellman.solve_exactly(student(), 1, minimise=False))
    assert exact.value[1] == 6 and not exact.evaluated
    horizon = bellman.finite_horizon(student(), 2)
    assert (as_drawn(horizon).value == horizon.value[0]).all() and as_drawn(horizon).title == "with 2 steps to go"


def test_pictures(solve, tmp_path) -> None:
    swept = ("--method", "value-iteration", "--discount", "0.5", "--trace", "--json")
    code, out, _ = solve("FrozenLake-v1", *swept, "--picture", tmp_path / "lake.gif", "--bounds", tmp_path / "lake.png")
    assert code == 0 and json.loads(out)
    assert (tmp_path / "lake.gif").read_bytes()[:4] == b"GIF8" and (tmp_path / "lake.png").stat().st_size > 10_000


# Large models, long solves


def test_a_large_model_is_summarised(solve, named) -> None:
    model = garnet(400, 3, 3, seed=1)
    _, out, _ = solve(named(model), "--discount", "0.9")
    lines = out.splitlines()
    assert len(lines) < FIRST + 10 < ALL and lines[1].split()[0] == "0"
    assert f"… and {400 - FIRST} more states" in out and "400 states, 1,200 pairs" in out
    value = bellman.solve(model, 0.9).value
    assert f"smallest {value.min():.6f}, largest {value.max():.6f}" in out


def test_limits_leave_what_is_certified(solve) -> None:
    code, out, _ = solve("FrozenLake-v1", "--method", "value-iteration", "--sweeps", "20", "--json")
    answer = json.loads(out)
    assert code == 0 and not answer["converged"] and answer["sweeps"] == 20
    assert answer["lower"]["0"] <= 0.542026 <= answer["upper"]["0"] and answer["width"] > 1e-3
    assert "NOT converged" in solve("FrozenLake-v1", "--method", "value-iteration", "--sweeps", "20")[1]


def test_ctrl_c_returns_what_is_certified_and_progress_is_told(solve, named, monkeypatch) -> None:
    monkeypatch.setattr("retorno.cli.solve.QUIET", 0.2)
    name = named(garnet(3000, 4, 4, seed=1))
    solve(name, "--discount", "0.5", "--method", "value-iteration", "--json")  # Its kernels are compiled now.

    def press() -> None:
        time.sleep(2)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    hand = threading.Thread(target=press)
    hand.start()
    precise = ("--discount", "0.9999999", "--method", "value-iteration", "--relative-accuracy", "0")
    code, out, err = solve(name, *precise, "--json")
    hand.join()
    answer = json.loads(out)
    assert code == 0 and answer["converged"] is False
    assert answer["lower"]["0"] < answer["upper"]["0"] and answer["width"] > 1e-6
    assert "sweeps · bounds" in err and "stopping with what is certified so far" in err
    assert signal.getsignal(signal.SIGINT) is before


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["student", "--explain", "C9"], "no state 'C9'"),
        (["student", "--initial", "C9"], "no state 'C9'"),
        (["student", "--criterion", "horizon"], "--horizon STEPS"),
        (["student", "--criterion", "average", "--horizon", "3"], "go together"),
        (["student", "--criterion", "total", "--discount", "0.9"], "leave --discount out"),
        (["student", "--criterion", "average", "--discount", "0.9"], "leave --discount out"),
        (["student", "--horizon", "3", "--explain", "C1", "--time", "3"], "a --time from 0 to 2, got 3"),
        (["student", "--explain", "C1", "--time", "3"], "--time goes with --horizon"),
        (["student", "--explain", "C1", "--exact"], "leave --exact out"),
        (["student", "--exact", "--method", "value-iteration"], "--method value-iteration does not answer this"),
        (["student", "--criterion", "average", "--method", "topological"], "here it is auto or relative-value"),
        (["student", "--policy", "uniform", "--method", "topological"], "here it is auto or closed-form"),
        (["student", "--policy", "sometimes"], "best, uniform or a .json file"),
        (["student", "--policy", "missing.json"], "missing.json"),
        (["student", "--compare"], "give it with --policy"),
        (["student", "--horizon", "3", "--durations", "x.csv"], "--durations goes with"),
        (["student", "--durations", "missing.csv"], "missing.csv"),
        (["student", "--accuracy", "-1"], "accuracy is a width"),
        (["student", "--horizon", "99999999999"], "out of memory"),
        (["student", "--horizon", "3", "--exact"], "--exact goes with"),
        (["student", "--exact", "--sweeps", "3"], "number of its own"),
        (["student", "--exact", "--policy", "uniform", "--seconds", "3"], "number of its own"),
        (["student", "--criterion", "reach", "--discount", "0.5"], "leave --discount out"),
        (["river_swim", "--discount", "1"], "criterion average"),
        (["river_swim", "--discount", "1", "--exact"], "criterion average"),
        (["student", "--policy", "uniform", "--minimise"], "leave out --policy uniform"),
        (["student", "--horizon", "2", "--returns"], "--returns goes with"),
        (["student", "--out", "x.txt"], ".json, .csv or .npz"),
        (["student", "--picture", "x.gif"], ".gif with --trace"),
        (["student", "--bounds", "x.gif"], ".png or .svg"),
        (["student", "--method", "magic"], "--method"),
        (["student", "--discount", "nan"], "is no finite number"),
        (["student", "--discount", "1.5"], "discount must lie in [0, 1], got 3/2"),
        (["cliff", "--exact", "--criterion", "average"], "--exact goes with"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(solve, tmp_path, monkeypatch, arguments, expected) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = solve(*arguments)
    told = " ".join(err.replace("\n", " ").split())
    assert code == 2 and expected in told and out == "" and "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_solving_a_small_model_imports_nothing_heavy() -> None:
    code = "import sys; from retorno.cli.main import main; main(['solve', 'student'])\n"
    code += "print([m for m in ('matplotlib', 'jax', 'numba', 'gymnasium', 'scipy.optimize') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"


def test_random_walks_are_drawn_as_text(solve, named) -> None:
    _, out, _ = solve(named(random_walk()), "--discount", "1")
    assert out.splitlines()[0].split()[:2] == ["·", "1.000"]


def test_the_probability_to_reach_a_label(solve, tmp_path) -> None:
    (tmp_path / "m.tra").write_text("mdp\n0 0 1 0.5\n0 0 2 0.5\n0 1 1 0.9\n0 1 0 0.1\n1 0 1 1\n2 0 2 1\n")
    (tmp_path / "m.lab").write_text("#DECLARATION\ninit goal\n#END\n0 init\n1 goal\n")
    (tmp_path / "m.time.state.rew").write_text("0 3\n1 3\n")
    code, out, err = solve(tmp_path / "m.tra", "--reach", "goal")
    lines = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "") and lines[1] == ["0", "1.000000", "0.500000", "3.333333", "1"]
    assert lines[2][-1] == "(there)"
    assert "'goal' is reached from the start with probability 1.000000 at the most" in out
    told = json.loads(
        solve(tmp_path / "m.tra", "--reach", "goal", "--policy", "uniform", "--initial", "2", "--json")[1]
    )
    assert told["most"]["value"]["0"] == pytest.approx(0.7 / 0.95) and told["most"]["start"]["value"] == 0
    assert told["least"] == told["most"] and told["reward"]["value"]["0"] == "-inf"  # the pit may come first
    assert solve(tmp_path / "m.tra", "--reach", "goal", "--seconds", "9")[1] == out
    exact = json.loads(solve(tmp_path / "m.tra", "--reach", "goal", "--exact", "--policy", "uniform", "--json")[1])
    assert exact["most"]["start"] == {
        "value": pytest.approx(float(Fraction(exact["most"]["start"]["exact"]))),
        "exact": ANY,
    }
    assert "exactly 1 at the most" in solve(tmp_path / "m.tra", "--reach", "goal", "--exact")[1]
    assert "no label 'gaol'" in solve(tmp_path / "m.tra", "--reach", "gaol")[2]
    assert "--reach asks how probably, and has no --discount" in solve("student", "--reach", "C1", "--discount", "1")[2]
    (tmp_path / "m.time.state.rew").unlink()
    assert "no reward was found in" in solve(tmp_path / "m.tra", "--reach", "goal")[2]
    assert "no reward was found in" in solve(tmp_path / "m.tra")[2]


def test_a_pomdps_own_discount_is_asked_with(solve, tmp_path) -> None:
    path = tmp_path / "m.POMDP"
    path.write_text("discount: 0.5 states: 1 actions: 1 observations: 1 T: 0 identity O: * uniform R: 0 : 0 : * : * 1")
    _, out, err = solve(path)
    assert "start value 2.000000" in out and "discount 0.5, as m.POMDP says" in err
    assert "what is observed is left out: the answer is for one who sees the state" in err.replace("\n", " ")
    assert "start value 10.000000" in solve(path, "--discount", "0.9")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["two1.srew"], "two1.srew belongs to a model: name the .tra file, two"),
        (["robot.prism"], "a model in PRISM's language: export its states"),
        (["no/such.file"], "the file no/such.file is not there: these end in .json, .yaml"),
        (["/"], "/ is a folder, not a world or a model; name a file"),
        (["log.csv", "--reward", "time"], "log.csv: reward (--reward) is not for .csv files"),
        (["student", "--normalise"], "normalise (--normalise) is for a model's file, got student"),
    ],
)
def test_files_that_are_no_models_get_the_way_to_one(solve, arguments, message) -> None:
    code, _, err = solve(*arguments)
    assert code == 2 and message in err and "cliff" not in err


def test_a_log_is_solved_with_what_its_hints_name(solve, tmp_path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("s,a,r,sp,done\n7,1,1,8,0\n7,1,1,9,1\n")
    code, _, err = solve(path)
    assert code == 2 and "state '8': episodes went on from it" in err and "`unseen` (--unseen)" in err
    code, out, err = solve(path, "--unseen", "-5", "--discount", "0.5")
    assert code == 0 and "'done' is taken as terminated" in err and "-10.000000" in out
