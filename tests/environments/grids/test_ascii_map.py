"""Maps of letters as models: every letter and line worked by hand, and one clear error for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from retorno import bellman
from retorno.core.mdp import ModelError
from retorno.environments import ascii_map
from retorno.environments.grids.ascii_map import read
from retorno.environments.registry import make, model


def row(text: str, state: str, action: str) -> dict[tuple[str, float, float], float]:
    """{(next state, reward, discount): probability}."""
    made = ascii_map(text)
    s, a = made.state(state), list(made.action_names).index(action)
    (p,) = (p for p in range(made.state_ptr[s], made.state_ptr[s + 1]) if made.action[p] == a)
    found: dict[tuple[str, float, float], float] = {}
    for t in range(made.row_ptr[p], made.row_ptr[p + 1]):
        key = (str(made.state_names[made.next_state[t]]), float(made.reward[t]), float(made.discount[t]))
        found[key] = found.get(key, 0.0) + float(made.probability[t])
    return {key: pytest.approx(p) for key, p in found.items()}


def test_walls_and_the_edge_stop_a_move() -> None:
    text = "S#G\n..."
    assert row(text, "0,0", "right") == {("0,0", 0, 1): 1}
    assert row(text, "0,0", "up") == row(text, "0,0", "left") == {("0,0", 0, 1): 1}
    assert row(text, "0,0", "down") == {("1,0", 0, 1): 1}


def test_goals_pits_and_letters_end_the_episode_and_pay() -> None:
    text = "step: -1\ngoal: 3\nA: 5\nGSX\nA.7"
    assert row(text, "0,1", "left") == {("0,0", 2, 0): 1}
    assert row(text, "0,1", "right") == {("0,2", -2, 0): 1}
    assert row(text, "1,1", "left") == {("1,0", 4, 0): 1}
    assert row(text, "1,1", "right") == {("1,2", 6, 0): 1}


def test_a_cliff_leads_back_to_the_start() -> None:
    assert row("step: -1\nSCG", "0,0", "right") == {("0,0", -101, 1): 1}


def test_a_slip_goes_to_either_side() -> None:
    text = "slip: 0.2\n...\n.S.\n..G"
    assert row(text, "1,1", "right") == {("1,2", 0, 1): 0.8, ("0,1", 0, 1): 0.1, ("2,1", 0, 1): 0.1}


def test_wind_blows_upward_from_the_column_that_is_left() -> None:
    text = "wind: 0 1 0\n...\n...\n.SG"
    assert row(text, "2,1", "right") == {("1,2", 0, 1): 1}
    assert row(text, "2,1", "left") == {("1,0", 0, 1): 1}
    assert row(text, "2,0", "right") == {("2,1", 0, 1): 1}


def test_gusts_blow_one_more_or_less_where_there_is_wind() -> None:
    text = "wind: 0 1\ngusts: 1/2\n..\n..\n..\nS.\nG."
    assert row(text, "3,1", "left") == {("2,0", 0, 1): 0.5, ("1,0", 0, 1): 0.25, ("3,0", 0, 1): 0.25}
    assert row(text, "3,0", "right") == {("3,1", 0, 1): 1}


@pytest.mark.parametrize(("moves", "count"), [(4, 4), (8, 8), (9, 9)])
def test_moves(moves: int, count: int) -> None:
    assert ascii_map(f"moves: {moves}\nS.\n.G").num_actions == count


def test_starts() -> None:
    any_free = ascii_map("start: any\n..\n.G")
    assert any_free.initial[[any_free.state(s) for s in ("0,0", "0,1", "1,0")]] == pytest.approx(1 / 3)
    two = ascii_map("start: any\nS.S\n..G")
    assert two.initial[[two.state("0,0"), two.state("0,2")]].tolist() == [0.5, 0.5]


def test_a_map_without_an_end_that_is_meant() -> None:
    assert not ascii_map("ends: none\nS.").terminal.any()


def test_a_detour_is_worth_its_steps() -> None:
    """The wall makes six steps of two; each is discounted by .9."""
    assert bellman.solve(ascii_map("S#G\n.#.\n..."), 0.9).start_value == pytest.approx(0.9**5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("S.\nSG", "line 2, column 1: a second S, after line 1, column 1; leave one, or write `start: any`"),
        ("..\n.G", "no start: write S in one cell, or `start: any`"),
        ("S.\n..", "no goal: write G where the episode ends, or `ends: none`"),
        ("S.\n.?\n.G", "line 2, column 2: '\\?' is unknown; a map has . # S G X C and digits"),
        ("S.\n  .k\n.G", "line 2, column 4: 'k' is unknown; .* others after a line such as `k: 10`"),
        ("S..\n.G", "line 2: 2 cells, where line 1 has 3"),
        ("step: -1\n\nS..\n.G\n...", "line 4: 2 cells, where line 3 has 3"),
        ("slip: 2\nSG", "line 1: slip must lie in \\[0, 1\\], got 2"),
        ("slip: fast\nSG", "line 1: slip: "),
        ("slip: .1\nslip: .2\nSG", "line 2: 'slip' again; line 1 has it already"),
        ("wind: 1\nSG", "line 1: wind has 1 numbers, expected 2, one for each column"),
        ("wind: 0 .5\nSG", "line 1: wind blows whole cells"),
        ("moves: 5\nSG", "line 1: moves is 4 or 8 or 9, got '5'"),
        ("speed: 5\nSG", "line 1: no rule 'speed'; there are about, step"),
        ("A: 5\nSG", "line 1: there is no A on the map"),
        ("G: 5\nSG", "line 1: what G pays is written `goal: 5`"),
        ("", "there is no map"),
        ("start: any\n#G", "no free cell"),
    ],
)
def test_what_is_wrong_with_a_map_is_said(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ascii_map(text)


def test_a_map_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rooms.txt"
    path.write_text("about: two rooms\nstep: -1\nS.#G\n....\n")
    assert bellman.solve(model(str(path)), 1.0).start_value == pytest.approx(-4)
    assert make(str(path)).observation_space.n == read(path).num_states  # type: ignore[attr-defined]
    path.write_text("S.S\nG..\n")
    with pytest.raises(ModelError, match=r"rooms\.txt.*line 1, column 3: a second S"):
        read(path)
