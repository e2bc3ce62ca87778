"""Recorded transitions in a .csv: the counts by hand, names and numbers, and on bad days."""

import numpy as np
import pytest

from retorno.core.mdp import ModelError
from retorno.environments.formats import load, recorded, save

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


def test_numbers_are_themselves_and_columns_may_stand_in_any_order(walk):
    model = load(walk("reward,terminated,state,action,next_state\n1,0,2,0,0\n\n2,1,0,1,2\n"))
    assert model.num_states == 3 and np.flatnonzero(~model.terminal).tolist() == [0, 2]
    assert model.action.tolist() == [1, 0] and model.reward.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the columns state,action,reward,next_state,terminated, got nothing"),
        ("state,value\na,1\n", "line 1: expected the columns"),
        (WALK + "home,walk,x,park,0\n", "line 6: reward 'x' is not a number"),
        (WALK + "home,walk,1,park,maybe\n", "line 6: terminated 'maybe' is not 1 or 0"),
        (WALK + "home,walk,1,park\n", "line 6: expected 5 fields, got 4"),
        (WALK + ",walk,1,park,0\n", "line 6: state '' is not a name"),
        (WALK.splitlines()[0] + f"\n{10**30},0,1,0,1\n", "too large for the number of a state"),
        (WALK.splitlines()[0] + f"\n{10**13},0,1,0,1\n", "would take .* of memory"),
        (WALK.splitlines()[0], "no transitions were recorded"),
        (WALK + "home,walk,nan,park,0\n", "reward nan"),
        (WALK + "home,walk,1,bench,0\n", "state 'bench': episodes went on from it"),
    ],
)
def test_what_is_wrong_is_named(walk, text, message):
    with pytest.raises(ModelError, match=message) as caught:
        load(walk(text))
    assert "walk.csv" in str(caught.value)


def test_it_is_not_written(walk, tmp_path):
    with pytest.raises(ModelError, match="is read, not written; models are written as"):
        save(load(walk()), tmp_path / "again.csv")
