"""Models that a Python file makes, and recorded transitions: asked about on the command line."""

import json
import sys

import pytest

from retorno import bellman

GRID = """\
from retorno.bellman import MatrixFree
from retorno.core.mdp import mdp
import beside

SIDE = 30

def step(state, action, outcome):
    row, column = state // SIDE, state % SIDE
    if state == SIDE * SIDE - 1:
        return 0, 0.0, 0.0, 0.0
    to = min(row + 1, SIDE - 1) * SIDE + column if action == 0 else row * SIDE + min(column + 1, SIDE - 1)
    return to, 1.0, beside.COST, 0.0 if to == SIDE * SIDE - 1 else 1.0

walk = MatrixFree(step, SIDE * SIDE, 2, 1)
table = {"a": {"go": [(1.0, "end", 2.0)]}}

def small():
    return mdp(table)

def wrong():
    return 1 / 0

number = 3
"""


@pytest.fixture
def grid(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "grid", raising=False)  # Other tests may have imported one.
    (tmp_path / "beside.py").write_text("COST = -1.0\n")
    path = tmp_path / "grid.py"
    path.write_text(GRID)
    return path


def test_a_model_that_is_not_stored(cli, grid, tmp_path, monkeypatch):
    answers, solve = [], bellman.solve_matrix_free

    def once(*given, **more):
        """A Python function is compiled anew for each answer: here both are told of one."""
        answers.append(answers[0] if answers else solve(*given, **more))
        return answers[0]

    monkeypatch.setattr(bellman, "solve_matrix_free", once)
    asked = ("solve", f"{grid}:walk", "--discount", "0.9", "--initial", "899")
    code, out, err = cli(*asked, "--out", tmp_path / "walk.csv")
    assert code == 0 and "900 states, up to 2 actions each, not stored" in out, err
    rows = (tmp_path / "walk.csv").read_text().splitlines()
    assert rows[0] == "state,value,lower,upper,policy,optimal" and len(rows) == 901
    assert rows[1].endswith(",0|1") and rows[900].endswith(",,")  # Both ways are as long; the goal has none.
    told = json.loads(cli(*asked, "--json")[1])
    assert len(answers) == 2
    assert told["start_value"] == 0 and told["value"]["0"] == pytest.approx(-(1 - 0.9**58) / 0.1, abs=1e-6)
    assert told["optimal"]["0"] == ["0", "1"] and told["converged"]


def test_a_dictionary_and_a_function(cli, grid):
    assert json.loads(cli("solve", f"{grid}:table", "--json")[1])["value"]["a"] == 2
    assert json.loads(cli("model", f"{grid}:small", "--json")[1])["states"] == 2


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("grid.py", [], "which model in"),
        ("grid.py:smal", [], "defines no 'smal'; did you mean small"),
        ("grid.py:number", [], "is a int: expected an MDP"),
        ("grid.py:wrong", [], "grid.py, line 21: ZeroDivisionError: division by zero"),
        ("no.py:walk", [], "No such file"),
        ("grid.py:walk", ["--explain", "3"], "--explain needs a model that is stored"),
        ("grid.py:walk", ["--criterion", "average"], "--criterion average needs a model that is stored"),
        ("grid.py:walk", ["--initial", "900"], "one of the states 0 to 899"),
    ],
)
def test_one_line_says_what_is_wrong(cli, grid, name, more, message):
    code, out, err = cli("solve", grid.parent / name, *more)
    assert code == 2 and message in err and len(err.splitlines()) == 1 and not out


def test_a_file_that_ends_itself(cli, tmp_path):
    (tmp_path / "ends.py").write_text("import sys\nsys.exit(3)\n")
    code, _, err = cli("solve", f"{tmp_path}/ends.py:model")
    assert code == 2 and "ends.py ended itself (3) before it made a model" in err


def test_a_model_that_is_not_stored_has_no_summary(cli, grid):
    code, _, err = cli("model", f"{grid}:walk")
    assert code == 2 and "is not stored, so there is nothing to summarise" in err


def test_recorded_transitions(cli, tmp_path):
    path = tmp_path / "walk.csv"
    path.write_text("state,action,reward,next_state,terminated\n" + "a,go,-1,b,0\n" * 3 + "a,go,0,a,0\nb,go,5,b,1\n")
    told = json.loads(cli("solve", path, "--discount", "1", "--json")[1])
    assert told["value"] == pytest.approx({"a": 4, "b": 5})  # a: (3 (−1 + 5) + a)/4
    out = cli("model", path)[1]
    assert "estimated from 5 transitions: 2 pairs tried 1 to 4 times" in out
    assert "from b by go to b with probability 1, in [0.025, 1]" in out
    known = json.loads(cli("model", path, "--confidence", "0.9", "--json")[1])["estimated"]
    assert known["confidence"] == 0.9 and known["transitions"][1]["probability"] == 0.75
    assert known["transitions"][1]["lower"] == pytest.approx(0.2486, abs=1e-4)  # Clopper & Pearson of 3 in 4
    code, _, err = cli("model", "student", "--prior", "1")
    assert code == 2 and "prior (--prior) is for a model's file, got student" in err
