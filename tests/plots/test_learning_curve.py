"""Learning curves: intervals by hand, gaps, resumed runs, and what is drawn."""

import math

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection, LineCollection

from retorno.plots import PlotError, learning_curve, metric_curves, save
from retorno.plots.curves import POINTS, in_order, return_curve
from retorno.plots.style import number


def row(step, returns, **more):
    return {"step": step, "returns": returns, "metrics": {}, **more}


def test_interval_of_two_and_three_seeds_by_hand():
    # Student's t at 97.5%: 12.7062 with one degree of freedom, 4.30265 with two.
    curve = return_curve([row(10, [1.0, 3.0]), row(20, [2.0, 6.0])])
    assert curve.mean.tolist() == [2.0, 4.0]
    np.testing.assert_allclose(curve.high - curve.mean, [12.70620474 * 1.0, 12.70620474 * 2.0])
    np.testing.assert_allclose(curve.mean - curve.low, curve.high - curve.mean)
    curve = return_curve([row(10, [1.0, 2.0, 3.0])])
    np.testing.assert_allclose(curve.high, 2 + 4.30265273 / math.sqrt(3))


def test_one_seed_has_no_interval():
    curve = return_curve([row(10, [1.0]), row(20, [3.0])])
    assert curve.mean.tolist() == [1.0, 3.0] and np.isnan(curve.low).all() and curve.seeds == 1


def test_a_seed_keeps_its_return_until_the_next_episode():
    rows = [row(10, [1.0, None]), row(20, [None, 5.0]), row(30, [None, None]), row(40, [3.0, math.nan])]
    curve = return_curve(rows)
    assert curve.step.tolist() == [20, 30, 40]
    assert curve.mean.tolist() == [3.0, 3.0, 4.0]


def test_a_seed_without_any_episode_is_left_out():
    curve = return_curve([row(10, [1.0, None, 3.0])])
    assert curve.mean.tolist() == [2.0] and curve.seeds == 2


def test_later_rows_replace_what_a_resumed_run_did_again():
    rows = [row(10, [1.0]), row(20, [2.0]), row(30, [3.0]), row(20, [7.0]), row(30, [8.0])]
    assert [(r["step"], r["returns"][0]) for r in in_order(rows)] == [(10, 1.0), (20, 7.0), (30, 8.0)]


def test_long_runs_are_averaged_over_equal_spans():
    per = 3
    rows = [row(i, [float(i), None if i % per else 3.0 * i]) for i in range(1, per * POINTS + 1)]
    curve = return_curve(rows)
    ends = np.arange(1, POINTS + 1) * per
    np.testing.assert_array_equal(curve.step, ends)
    np.testing.assert_allclose(curve.mean, ((ends - 1) + 3.0 * ends) / 2)


def test_drawn_line_band_references_and_evaluations():
    evaluation = {"mean": 5.0, "ci95": [4.0, 7.0], "episodes": 10, "seeds": 2, "returns": [4.5, 5.5]}
    rows = [row(10, [1.0, 3.0]), row(20, [2.0, 6.0], evaluation=evaluation)]
    (axes,) = learning_curve({"a": rows}, {"optimum": 9.0}).axes
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[10, 2], [20, 4]])
    bands = [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]
    assert len(bands) == 1
    assert bands[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(4 + 2 * 12.70620474)
    (whiskers,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    np.testing.assert_allclose(whiskers.get_segments(), [[[20, 4], [20, 7]]])
    assert any(np.allclose(line.get_ydata(), 9.0) for line in axes.lines)
    assert "optimum" in {t.get_text() for t in axes.texts}


def test_one_seed_has_a_line_only():
    (axes,) = learning_curve({"a": [row(10, [1.0]), row(20, [2.0])]}).axes
    assert not axes.collections and axes.get_legend() is None


def test_several_runs_are_named_whatever_their_names(tmp_path):
    rows = [row(10, [1.0]), row(20, [2.0])]
    figure = learning_curve({"_hidden": rows, "$x_{$": rows, "学习": rows})
    legend = figure.axes[0].get_legend()
    assert [t.get_text() for t in legend.get_texts()] == [
        "_hidden (1 seed)",
        "$x_{$ (1 seed)",
        "学习 (1 seed)",
    ]
    assert len({line.get_color() for line in figure.axes[0].lines}) == 3
    assert save(figure, tmp_path / "new" / "a.png").stat().st_size > 1000
    assert "学习" in save(figure, tmp_path / "a.svg").read_text()


def test_metrics_leave_gaps_where_they_are_not_numbers():
    values = [1.0, None, math.nan, math.inf, 5.0]
    rows = [row(i, [0.0], metrics={"loss": x, "kl": 0.5}) for i, x in enumerate(values, start=1)]
    figure = metric_curves({"a": rows})
    assert [pane.get_title(loc="left") for pane in figure.axes if pane.get_visible()] == ["loss", "kl"]
    drawn = figure.axes[0].lines[0].get_ydata()
    np.testing.assert_array_equal(np.isfinite(drawn), [True, False, False, False, True])


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({}, "no episode"),
        ({"a": []}, "no rows"),
        ({"a": [row(1, [None, None])]}, "no episode"),
        ({"a": [row(1, [1.0]), row(2, [1.0, 2.0])]}, "one run"),
        ({"a": [{"step": 1}]}, "no returns"),
    ],
)
def test_nothing_to_draw_is_said(runs, message):
    with pytest.raises(PlotError, match=message):
        learning_curve(runs)


def test_no_metrics_is_said():
    with pytest.raises(PlotError, match="no metrics"):
        metric_curves({"a": [row(1, [1.0])]})


def test_other_picture_formats_are_refused(tmp_path):
    with pytest.raises(PlotError, match=r"a\.doc"):
        save(learning_curve({"a": [row(1, [1.0])]}), tmp_path / "a.doc")


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0, "0"),
        (100000, "100,000"),
        (-1234.5678, "−1,235"),
        (0.5, "0.5"),
        (0.12345, "0.1235"),
        (99.999, "100"),
        (1e-7, "1.000e−07"),
        (math.nan, "–"),
        (-math.inf, "−∞"),
    ],
)
def test_numbers_are_written_for_people(x, text):
    assert number(x) == text
