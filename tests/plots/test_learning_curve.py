"""Learning curves: intervals by hand, gaps, resumed runs, and what is drawn."""

import math

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection, LineCollection

from retorno.plots import PlotError, learning_curve, metric_curves, save, seed_rows
from retorno.plots.progress import POINTS, final_returns, in_order, return_curve, smoothing, spent_seconds
from retorno.plots.style import number


def row(step, returns, **more):
    return {"step": step, "returns": returns, "metrics": {}, **more}


def test_interval_of_two_and_three_seeds_by_hand():
    # Student's t at 97.5%: 12.7062 with one degree of freedom, 4.30265 with two.
    curve = return_curve([[row(10, [1.0, 3.0]), row(20, [2.0, 6.0])]])
    assert curve.mean.tolist() == [2.0, 4.0]
    np.testing.assert_allclose(curve.high - curve.mean, [12.70620474 * 1.0, 12.70620474 * 2.0])
    np.testing.assert_allclose(curve.mean - curve.low, curve.high - curve.mean)
    curve = return_curve([[row(10, [1.0, 2.0, 3.0])]])
    np.testing.assert_allclose(curve.high, 2 + 4.30265273 / math.sqrt(3))


def test_one_seed_has_no_interval():
    curve = return_curve([[row(10, [1.0]), row(20, [3.0])]])
    assert curve.mean.tolist() == [1.0, 3.0] and np.isnan(curve.low).all() and curve.seeds == 1


def test_a_seed_keeps_its_return_until_the_next_episode():
    rows = [row(10, [1.0, None]), row(20, [None, 5.0]), row(30, [None, None]), row(40, [3.0, math.nan])]
    curve = return_curve([rows])
    assert curve.x.tolist() == [20, 30, 40]
    assert curve.mean.tolist() == [3.0, 3.0, 4.0]


def test_a_seed_without_any_episode_is_left_out():
    curve = return_curve([[row(10, [1.0, None, 3.0])]])
    assert curve.mean.tolist() == [2.0] and curve.seeds == 2


def test_later_rows_replace_what_a_resumed_run_did_again():
    rows = [row(10, [1.0]), row(20, [2.0]), row(30, [3.0]), row(20, [7.0]), row(30, [8.0])]
    assert [(r["step"], r["returns"][0]) for r in in_order(rows)] == [(10, 1.0), (20, 7.0), (30, 8.0)]


def test_long_runs_are_averaged_over_equal_spans():
    per = 3
    rows = [row(i, [float(i), None if i % per else 3.0 * i]) for i in range(1, per * POINTS + 1)]
    curve = return_curve([rows])
    ends = np.arange(1, POINTS + 1) * per
    np.testing.assert_array_equal(curve.x, ends)
    np.testing.assert_allclose(curve.mean, ((ends - 1) + 3.0 * ends) / 2)


def test_a_point_is_the_mean_over_the_episodes_that_ended_in_its_span():
    rows = [
        {"step": 5, "steps": 1000, "returns": [1.0, 5.0], "ended": [3, 1]},
        {"step": 9, "steps": 1000, "returns": [5.0, None], "ended": [1, 0]},
        {"step": 20, "steps": 1000, "returns": [7.0, 9.0], "ended": [1, 1]},
    ]
    curve = return_curve([rows])
    assert curve.x.tolist() == [9, 20] and curve.returns.tolist() == [[2.0, 5.0], [7.0, 9.0]]
    assert final_returns(curve).tolist() == [4.5, 7.0]
    assert smoothing({"a": [rows]}).endswith("in 1% of the run (10 environment steps)")


def test_a_fast_and_a_slow_machine_draw_the_same_curve():
    """Rows that come more often tell of parts of what one row tells of."""
    returns = np.random.default_rng(0).normal(size=400)
    slow = [{"step": i + 1, "steps": 400, "returns": [returns[i]], "ended": [1]} for i in range(400)]
    fast = [
        {"step": i + 4, "steps": 400, "returns": [returns[i : i + 4].mean()], "ended": [4]} for i in range(0, 400, 4)
    ]
    (one, other) = (return_curve([rows]) for rows in (slow, fast))
    np.testing.assert_array_equal(one.x, other.x)
    np.testing.assert_allclose(one.returns, other.returns)


def test_runs_that_are_seeds_of_one_thing_are_one_curve():
    apart = [[row(10, [1.0]), row(20, [2.0])], [row(10, [3.0]), row(20, [6.0])], [row(10, [None])]]
    together = [[row(10, [1.0, 3.0]), row(20, [2.0, 6.0])]]
    for one, other in zip(return_curve(apart[:2]), return_curve(together), strict=True):
        np.testing.assert_array_equal(one, other)
    assert return_curve(apart).seeds == 2  # In the third no episode has ended.
    shorter = return_curve([apart[0], apart[1][:1]])
    assert shorter.x.tolist() == [10]  # As far as every run goes.


@pytest.mark.parametrize(
    ("over", "x"), [("steps", [20, 40]), ("episodes", [3, 8]), ("seconds", [2, 3.5]), ("updates", [4, 8])]
)
def test_a_curve_stands_over_what_is_asked_for(over, x):
    rows = [
        row(20, [1.0, 2.0], episodes=6, seconds=2.0, updates=4),
        row(40, [1.0, 2.0], episodes=10, seconds=1.5, updates=8),  # Resumed: the clock began again.
    ]
    assert return_curve([rows], over).x.tolist() == x
    assert over[:4] in learning_curve({"a": [rows]}, over=over).axes[0].get_xlabel()
    np.testing.assert_allclose(spent_seconds([*rows, row(60, [None, None], seconds=3.0)]), [2.0, 3.5, 5.0])


def test_no_band_is_above_the_best_return_there_is():
    curve = return_curve([[row(10, [1.0, 3.0]), row(20, [2.0, 6.0])]], most=6.5)
    assert curve.high.tolist() == [6.5, 6.5] and curve.low.min() < -20


def test_each_seed_alone():
    rows = [row(10, [1.0, 3.0]), row(20, [2.0, 6.0])]
    (axes,) = learning_curve({"a": [rows], "b": [rows, rows]}, alone=True).axes
    assert len(axes.lines) == 2 + 4 and not axes.collections


def test_what_lies_far_outside_does_not_flatten_the_rest():
    first = [row(i, [-2000.0 if i == 1 else -50.0 + i / 10]) for i in range(1, 100)]
    far = {"mean": -10_000.0, "ci95": [None, None], "episodes": 1}
    (axes,) = learning_curve({"a": [[*first, row(100, [-40.0], evaluation=far)]]}).axes
    low, high = axes.get_ylim()
    assert -60 < low < -50 and -41 < high < -39
    assert "▼ evaluated: −10,000" in {text.get_text() for text in axes.texts}


def test_what_else_a_run_notes_is_passed_over():
    evaluation = {"mean": 1.0, "ci95": [0.0, 2.0], "seeds": 2}
    rows = [{"step": 0, "evaluation": evaluation}, row(10, [1.0, 2.0]), {"step": 10, "relabel": {"digest": "x"}}]
    kept = in_order(rows)
    assert [r["step"] for r in kept] == [0, 10] and kept[0]["evaluation"] == evaluation
    assert return_curve([rows]).x.tolist() == [10]


def test_evaluations_of_several_runs_are_one_over_their_seeds():
    runs = [
        [row(10, [1.0], evaluation={"mean": x, "ci95": [x - 9, x + 9], "returns": [x], "episodes": 5})]
        for x in (1.0, 3.0)
    ]
    (axes,) = learning_curve({"a": runs}).axes
    (whiskers,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    np.testing.assert_allclose(whiskers.get_segments(), [[[10, 2 - 12.70620474], [10, 2 + 12.70620474]]])


def test_drawn_line_band_references_and_evaluations():
    evaluation = {"mean": 5.0, "ci95": [4.0, 7.0], "episodes": 10, "seeds": 2, "returns": [4.5, 5.5]}
    rows = [row(10, [1.0, 3.0]), row(20, [2.0, 6.0], evaluation=evaluation)]
    figure = learning_curve({"a": [rows]}, {"optimum": 9.0})
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[10, 2], [20, 4]])
    bands = [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]
    assert len(bands) == 1
    assert bands[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(4 + 2 * 12.70620474)
    (whiskers,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    np.testing.assert_allclose(whiskers.get_segments(), [[[20, 4], [20, 7]]])
    assert any(np.allclose(line.get_ydata(), 9.0) for line in axes.lines)
    assert "optimum: 9" in {t.get_text() for t in figure.legends[0].get_texts()}


def test_bands_are_intervals_or_reach_from_the_worst_seed_to_the_best():
    rows = {"steps": {"world": {"it": (np.array([1.0, 2.0]), np.array([[1.0, 2.0], [3.0, 6.0]]))}}}
    for extremes, low, high in ((False, 4 - 2 * 12.70620474, 4 + 2 * 12.70620474), (True, 1, 6)):
        (axes,) = seed_rows(rows, ylabel="return", extremes=extremes).axes
        assert axes.lines[0].get_ydata().tolist() == [2, 4]
        y = axes.collections[0].get_paths()[0].vertices[:, 1]
        assert (y.min(), y.max()) == pytest.approx((low, high))


def test_powers_of_ten_keep_apart():
    x = np.geomspace(400, 1e7, 5)
    pane = {"world": {"it": (x, x[None])}}
    axes = seed_rows({"steps": pane, "seconds": pane}, ylabel="return", log_x=True).axes
    shown = [text.get_text() for text in axes[0].get_xticklabels() if 400 <= text.get_position()[0] <= 1e7]
    assert shown == ["1,000", "100,000", "10,000,000"]


def test_one_seed_has_a_line_only():
    (axes,) = learning_curve({"a": [[row(10, [1.0]), row(20, [2.0])]]}).axes
    assert not axes.collections and axes.get_legend() is None


def test_several_runs_are_named_whatever_their_names(tmp_path):
    rows = [row(10, [1.0]), row(20, [2.0])]
    figure = learning_curve({"_hidden": [rows], "$x_{$": [rows], "学习": [rows]})
    (legend,) = figure.legends
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
    figure = metric_curves({"a": [rows]})
    assert [pane.get_title(loc="left") for pane in figure.axes if pane.get_visible()] == ["loss", "kl"]
    drawn = figure.axes[0].lines[0].get_ydata()
    np.testing.assert_array_equal(np.isfinite(drawn), [True, False, False, False, True])


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({}, "no episode"),
        ({"a": [[]]}, "no rows"),
        ({"a": [[row(1, [None, None])]]}, "no episode"),
        ({"a": [[row(1, [1.0]), row(2, [1.0, 2.0])]]}, "one run"),
        ({"a": [[{"step": 1}]]}, "no rows"),
    ],
)
def test_nothing_to_draw_is_said(runs, message):
    with pytest.raises(PlotError, match=message):
        learning_curve(runs)


def test_a_legend_of_metrics_stands_below_them():
    rows = [row(i, [0.0], metrics={"loss": 1.0 / i}) for i in (1, 2, 3)]
    figure = metric_curves({f"a long name of settings {i}": [rows] for i in range(3)}, width=3.7)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box, label = legend.get_window_extent(), figure.axes[0].xaxis.label.get_window_extent()
    assert box.y1 <= label.y0 + 1 and box.x0 >= 0 and box.x1 <= figure.bbox.x1


def test_no_metrics_is_said():
    with pytest.raises(PlotError, match="no metrics"):
        metric_curves({"a": [[row(1, [1.0])]]})


def test_pictures_for_slides_hold_their_letters(tmp_path):
    figure = learning_curve({"a": [[row(1, [1.0]), row(2, [2.0])]], "b": [[row(1, [1.0])]]})
    pdf = save(figure, tmp_path / "a.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and b"/FontFile2" in pdf and b"/Type3" not in pdf
    assert "<text" not in save(figure, tmp_path / "a.svg").read_text()


def test_other_picture_formats_are_refused(tmp_path):
    with pytest.raises(PlotError, match=r"a\.bmp"):
        save(learning_curve({"a": [[row(1, [1.0])]]}), tmp_path / "a.bmp")


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
