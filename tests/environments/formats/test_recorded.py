"""Recorded transitions in a .csv: the counts by hand, names and numbers, and on bad days."""

from fractions import Fraction

import pytest

from retorno.core.mdp import ModelError
from retorno.environments.formats import Reading, load, read, recorded, save

WALK = """\
state,action,reward,next_state,terminated
home,walk,-1,park,0
home,walk,-1,home,false
home,walk,-2,park,0
park,sit,3,park,true
"""


@pytest.fixture
def walk(tmp_path):
    def write(text=WALK):
        path = tmp_path / "walk.csv"
        path.write_text(text)
        return path

    return write


def test_frequencies_and_means(walk):
    known = recorded.estimate(walk())
    model = known.model
    assert list(model.state_names) == ["home", "park"] and list(model.action_names) == ["walk", "sit"]
    assert known.visits.tolist() == [3, 1] and known.counts.tolist() == [1, 2, 1]
    assert model.next_state.tolist() == [0, 1, 1] and model.probability == pytest.approx([1 / 3, 2 / 3, 1])
    assert model.reward.tolist() == [-1, -1.5, 3] and model.discount.tolist() == [1, 1, 0]
    assert load(walk()).probability == pytest.approx(model.probability)


def test_means_and_shares_are_those_of_the_numbers_that_were_written(walk):
    text = "s,a,r,sp,terminated\nx,go,1/3,y,0\nx,go,0.1,y,0\nx,go,0.1,x,0\nx,go,0.1,x,0\nx,go,0.1,x,0\ny,go,1,x,1\n"
    model = load(walk(text))
    assert model.exactly(model.probability) == [Fraction(3, 5), Fraction(2, 5), 1]
    assert model.exactly(model.reward) == [Fraction(1, 10), Fraction(13, 60), 1]
    prior = load(walk(text), prior=Fraction(1, 3))
    assert prior.exactly(prior.probability)[:2] == [Fraction(10, 17), Fraction(7, 17)]
    assert prior.exactly(prior.reward)[2:] == [1, 1]


def test_a_table_from_a_spreadsheet_and_one_with_an_index(walk):
    loaded = read(walk("\ufeffs;a;r;sp;terminated\nx;go;0,5;y;0\ny;go;-1,25;x;1\n"))
    assert loaded.model.reward.tolist() == [0.5, -1.25]
    assert loaded.notes == ("commas in rewards are taken as decimal points: 0,5 is a half",)
    assert read(walk(",s,a,r,sp,terminated\n0,x,go,1,y,True\n")).notes == ("left out: the columns (without a name)",)
    with pytest.raises(ModelError, match="reward '1,2,3' is not a finite number"):
        load(walk("s;a;r;sp;terminated\nx;go;1,2,3;y;1\n"))
    with pytest.raises(ModelError, match=r"walk.tra.gz is packed: unpack it first"):
        load("walk.tra.gz")


def test_numbers_are_names_and_columns_may_stand_in_any_order(walk):
    model = load(walk("reward,terminated,state,action,next_state\n1,0,20000000,7,3\n\n2,1,3,1,20000000\n"))
    assert model.state_names == ["3", "20000000"] and model.action_names == ["1", "7"]
    assert model.action.tolist() == [0, 1] and model.reward.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("text", "columns", "told"),
    [
        (
            "s,a,r,sp\n1,2,3,2\n1,2,5,2\n2,1,0,9\n",
            None,
            ["nothing was tried, such as 9, are taken as ends"],
        ),
        ("s,a,r,sp,done\n1,2,4,2,0\n2,1,0,9,1\n", None, ["'done' is taken as terminated"]),
        (
            "episode,t,obs,action,reward,next_obs,terminated,truncated\n0,0,1,2,4,2,0,0\n0,1,2,1,0,9,True,False\n",
            None,
            ["left out: the columns episode,t,truncated"],
        ),
        ("A;B;C;D;E\n1;2;4;2;0\n2;1;0;9;1\n", "state=A,action=B,reward=C,next_state=D,terminated=E", []),
        ("A\tB\tC\tD\tE\n1\t2\t4\t2\t0\n2\t1\t0\t9\t1\n", "A,B,C,D,E", []),
        ("0,1,2,4,2\n0,2,1,0,9\n", "2,3,4,5", ["nothing was tried"]),
    ],
)
def test_any_header_is_read(walk, text, columns, told):
    found = read(walk(text), Reading(columns=columns))
    model = found.model
    assert list(model.state_names) == ["1", "2", "9"] and list(model.action_names) == ["1", "2"]
    assert model.next_state.tolist() == [1, 2] and model.reward.tolist() == [4, 0] and model.discount.tolist() == [1, 0]
    assert model.terminal.tolist() == [False, False, True]
    assert len(found.notes) == len(told) and all(part in note for part, note in zip(told, found.notes, strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the columns state,action,reward,next_state,terminated, got nothing"),
        ("state,value\na,1\n", "line 1: expected the columns"),
        (WALK + "home,walk,x,park,0\n", "line 6: reward 'x' is not a finite number"),
        (WALK + "home,walk,1,park,maybe\n", "line 6: terminated 'maybe' is not 1 or 0"),
        (WALK + "home,walk,1,park\n", "line 6: expected 5 fields, got 4"),
        (WALK + ",walk,1,park,0\n", "line 6: state '' is not a name"),
        (WALK.splitlines()[0], "no transitions were recorded"),
        (WALK + "home,walk,nan,park,0\n", "line 6: reward 'nan' is not a finite number"),
        (WALK + "home,walk,1,bench,0\n", "state 'bench': episodes went on from it"),
    ],
)
def test_what_is_wrong_is_named(walk, text, message):
    with pytest.raises(ModelError, match=message) as caught:
        load(walk(text))
    assert "walk.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("home,walk", "expected the names of state,action,reward,next_state,terminated in this order"),
        ("state=who", "line 1: no column 'who' for the state; the columns: state,action"),
        ("state=state,place=next_state", "'place=next_state' is not COLUMN=NAME"),
        ("state=state,next_state=state", "one column stands for two things"),
        ("1,2,3,9", "line 1 has 5 columns, and columns='1,2,3,9' asks for 9"),
    ],
)
def test_columns_that_are_not_there(walk, columns, message):
    with pytest.raises(ModelError, match=message):
        load(walk(), columns=columns)


def test_a_state_of_several_columns(walk):
    found = read(walk("x,y,a,r,x2,y2\n0,1,up,1,0,2\n0,2,up,2,9,9\n"), Reading(columns="state=x+y,next_state=x2+y2"))
    assert found.model.state_names == ["(0,1)", "(0,2)", "(9,9)"] and found.model.terminal.tolist() == [0, 0, 1]
    with pytest.raises(ModelError, match="no column 'z' for the state"):
        load(walk("x,y,a,r,x2,y2\n"), columns="state=x+z,next_state=x2+y2")


def test_it_is_not_written(walk, tmp_path):
    with pytest.raises(ModelError, match="is read, not written; models are written as"):
        save(load(walk()), tmp_path / "again.csv")
