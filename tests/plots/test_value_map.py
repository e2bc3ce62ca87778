"""Arrows and cells of value maps: by hand on small grids, on Gymnasium's own tables, and as they are drawn."""

import gymnasium
import numpy as np
import pytest

from retorno.core.mdp import mdp
from retorno.plots import PlotError, greedy, value_map
from retorno.plots.answers import Greedy
from retorno.plots.places import directions, ends, entered, entry_rewards

LEFT, DOWN, RIGHT, UP = (0, -1), (1, 0), (0, 1), (-1, 0)


def moves(size, names, steps, slip=0.0):
    """A square grid without an end; `slip` is the probability of going to either side."""
    cells = [(r, c) for r in range(size) for c in range(size)]

    def land(at, step):
        r, c = at[0] + step[0], at[1] + step[1]
        return (r, c) if 0 <= r < size and 0 <= c < size else at

    def outcomes(at, step):
        sides = [(step[1], step[0]), (-step[1], -step[0])]
        return [(1 - slip, land(at, step), 0.0), *((slip / 2, land(at, side), 0.0) for side in sides)]

    table = {at: {n: outcomes(at, s) for n, s in zip(names, steps, strict=True)} for at in cells}
    return mdp(table, grid={at: at for at in cells})


def corridor():
    """Three cells in a row, the ends at either side; both ways are worth the same in the middle."""
    return mdp(
        {
            "a": {"left": [(1, "pit", -1.0)], "right": [(1, "b", 0.0)]},
            "b": {"left": [(1, "a", 0.0)], "right": [(1, "c", 0.0)]},
            "c": {"left": [(1, "b", 0.0)], "right": [(1, "goal", 1.0)]},
        },
        initial="b",
        grid={"pit": (0, 0), "a": (0, 1), "b": (0, 2), "c": (0, 3), "goal": (0, 4)},
    )


def answer(model, value, optimal):
    return Greedy(model, np.array(value, float), np.array(optimal, bool))


def heads(figure):
    """Where the arrow heads are: (row, column) of the cell and the direction from its middle."""
    found = []
    (arrows,) = (c for c in figure.axes[0].collections if c.get_gid() == "arrows")
    for path in arrows.get_paths():
        x, y = path.vertices[:3].mean(0) if len(path.vertices) < 6 else path.vertices[2:5].mean(0)
        cell = round(y), round(x)
        found.append((cell, tuple(int(np.sign(np.round(offset, 1))) for offset in (y - cell[0], x - cell[1]))))
    return sorted(found)


def legend(figure):
    """What the legend says."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def fills(pane):
    """The colour of each cell, by column."""
    (cells,) = (c for c in pane.collections if c.get_gid() == "cells")
    columns = [round(float(path.vertices[:4, 0].mean())) for path in cells.get_paths()]
    return dict(zip(columns, map(tuple, cells.get_facecolors()), strict=True))


@pytest.mark.parametrize("slip", [0.0, 2 / 3, 0.8])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_directions_come_from_the_transitions(slip, size):
    model = moves(size, "abcd", [UP, RIGHT, DOWN, LEFT], slip)
    assert directions(model).tolist() == [list(UP), list(RIGHT), list(DOWN), list(LEFT)]


@pytest.mark.parametrize(
    ("name", "columns", "expected"),
    [
        ("FrozenLake-v1", 4, [LEFT, DOWN, RIGHT, UP]),
        ("CliffWalking-v1", 12, [UP, RIGHT, DOWN, LEFT]),
    ],
)
def test_directions_of_gymnasiums_numbered_actions(name, columns, expected):
    table = gymnasium.make(name).unwrapped.P
    model = mdp(table, grid={s: divmod(s, columns) for s in table})
    assert model.action_names == ("0", "1", "2", "3")
    assert directions(model).tolist() == [list(d) for d in expected]


def test_diagonal_and_standing_actions():
    model = moves(4, ["x", "stay"], [(1, 1), (0, 0)])
    assert directions(model).tolist() == [[1, 1], [0, 0]]


def test_a_name_holds_in_the_wind_but_not_against_the_transitions():
    windy = moves(5, ["right", "a"], [(-1, 1), (-1, 1)])
    assert directions(windy).tolist() == [list(RIGHT), [-1, 1]]
    mirrored = moves(3, ["left", "right"], [RIGHT, LEFT])
    assert directions(mirrored).tolist() == [list(RIGHT), list(LEFT)]


def test_a_jump_does_not_bend_an_arrow():
    table = {(0, c): {"go": [(1, (0, c + 1) if c < 3 else (9, 9), 0.0)]} for c in range(4)}
    table[(9, 9)] = {"go": [(1, (0, 0), 0.0)]}
    assert directions(mdp(table, grid={at: at for at in table})).tolist() == [list(RIGHT)]


def test_all_tied_actions_are_drawn():
    optimal = [False, True, True, True, False, True]
    figure = value_map(answer(corridor(), [0.25, 0.5, 0.75, 0, 0], optimal))
    assert heads(figure) == [((0, 1), RIGHT), ((0, 2), LEFT), ((0, 2), RIGHT), ((0, 3), RIGHT)]


def test_values_and_ends_are_written():
    figure = value_map(answer(corridor(), [-0.25, 0.5, 0.75, 0, 0], [True] * 6))
    assert {t.get_text() for t in figure.axes[0].texts} == {"−0.250", "0.500", "0.750", "−1", "+1"}
    markers = {str(line.get_marker()): float(np.ravel(line.get_xdata())[0]) for line in figure.axes[0].lines}
    assert markers == {"X": 0.0, "*": 4.0}
    assert legend(figure) == ["best move", "start", "goal", "pit", "value, below a sign the reward"]


def test_unknown_values_have_no_arrow():
    figure = value_map(answer(corridor(), [np.nan, 0.5, 0.75, 0, 0], [True] * 6))
    assert "–" in {t.get_text() for t in figure.axes[0].texts}
    assert {cell for cell, _ in heads(figure)} == {(0, 2), (0, 3)}


def test_ends_entered_and_entry_rewards():
    model = corridor()
    number = {name: s for s, name in enumerate(model.state_names)}
    assert ends(model).tolist() == [name in ("pit", "goal") for name in model.state_names]
    assert entry_rewards(model) == {number["pit"]: -1.0, number["goal"]: 1.0}

    table = gymnasium.make("CliffWalking-v1").unwrapped.P
    cliff = mdp(table, initial=36, grid={s: divmod(s, 12) for s in table})
    assert np.flatnonzero(~entered(cliff)).tolist() == list(range(37, 47))
    over = mdp({s: {"x": [(1, n, 0.0, s == "a")]} for s, n in ["ab", "bc", "ca"]}, initial="a")
    assert entered(over).tolist() == [True, True, False]
    paying = mdp({"s": {"x": [(1, "s", 1.0)]}, "t": {"x": [(1, "t", 0.0)]}})
    assert ends(paying).tolist() == [False, True]
    lake = gymnasium.make("FrozenLake-v1").unwrapped.P
    assert np.flatnonzero(ends(mdp(lake))).tolist() == [5, 7, 11, 12, 15]


def test_two_answers_share_one_scale():
    model = corridor()
    low, high = answer(model, [0, 1, 2, 0, 0], [True] * 6), answer(model, [2, 3, 4, 0, 0], [True] * 6)
    figure = value_map({"low": low, "high": high})
    colours = [fills(pane) for pane in figure.axes]
    assert [pane.get_title(loc="left") for pane in figure.axes] == ["low", "high"]
    assert colours[0][3] == colours[1][1]  # The value 2, in the last and in the first cell.
    assert colours[0][1] != colours[1][1]


def test_large_maps_have_a_colour_bar_instead_of_numbers():
    model = moves(20, ["left", "down", "right", "up"], [LEFT, DOWN, RIGHT, UP])
    value = np.arange(model.num_states, dtype=float)
    optimal = np.arange(model.num_pairs) < 8
    figure = value_map(answer(model, value, optimal))
    assert len(figure.axes) == 2 and not figure.axes[0].texts
    assert heads(figure) == sorted(((0, c), d) for c in (0, 1) for d in (LEFT, DOWN, RIGHT, UP))


def test_greedy_ties_and_absent_actions():
    model = mdp(
        {"s": {"x": [(1, "t", 0.0)], "y": [(1, "end", 0.0)]}, "t": {"y": [(1, "end", 1.0)]}},
        grid={"s": (0, 0), "t": (0, 1), "end": (0, 2)},
    )
    q = np.zeros((3, 2))
    q[model.state("s")] = [0.5, 0.5 + 1e-9]
    q[model.state("t")] = [99.0, 1.0]  # `t` has no action x.
    found = greedy(model, q)
    assert found.optimal.tolist() == [True, True, True]
    assert found.value[[model.state(s) for s in ("s", "t", "end")]].tolist() == [0.5 + 1e-9, 1.0, 0.0]
    q[model.state("s")] = [0.5, 0.6]
    assert greedy(model, q).optimal.tolist() == [False, True, True]
    with pytest.raises(PlotError, match=r"\(2, 3\).*expected \(3, 2\)"):
        greedy(model, q.T)


def test_nothing_that_lies_on_a_map_is_refused():
    model = mdp({"s": {"x": [(1, "end", 0.0)]}})
    with pytest.raises(PlotError, match="grid"):
        value_map(answer(model, [1, 0], [True]))
    with pytest.raises(PlotError, match="no answer"):
        value_map({})
