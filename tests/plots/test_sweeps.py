"""Pictures of how a solution came about: the right numbers in the right places, and animations that can be read."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from retorno.bellman import solve, value_iteration
from retorno.bellman.explanation import shown_sweeps
from retorno.core.solution import Solution, Sweep
from retorno.environments.grids.lakes import frozen_lake
from retorno.environments.textbook.lecture import student
from retorno.plots import PlotError, animate, bounds_plot, model_graph, sweep_table, sweeps
from retorno.plots.maps import value_map
from retorno.plots.sweeps import FRAMES, at_value


def traced(widths: list[float]) -> Solution:
    """The student's solution as if it had taken sweeps with these widths, values half a width too low."""
    best = solve(student(), 1.0)
    acting = ~best.model.terminal

    def sweep(width: float) -> Sweep:
        half = np.where(acting, width / 2, 0.0)
        return Sweep(best.value - np.minimum(half, 5.0), best.value - half, best.value + half, width / 10)

    return replace(best, trace=tuple(map(sweep, widths)))


def lines(axes):
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def test_bounds_close_in_on_the_start_value_and_shrink_on_a_log_axis() -> None:
    widths = [np.inf, 8.0, 0.5, 1e-7]
    above, below = bounds_plot(traced(widths)).axes
    assert above.get_title(loc="left") == "Value of the start, 6, and its bounds"
    assert below.get_yscale() == "log"
    drawn = lines(below)
    assert drawn["bounds, widest state"][1:] == pytest.approx(np.array([[2, 8.0], [3, 0.5], [4, 1e-7]]))
    assert np.isnan(drawn["bounds, widest state"][0, 1])  # Not yet bounded.
    assert drawn["error, largest"][:, 1] == pytest.approx([5.0, 4.0, 0.25, np.nan], nan_ok=True)
    assert drawn["residual, largest change"][1:, 1] == pytest.approx([0.8, 0.05, 1e-8])
    low, high = above.get_xlim()
    assert low <= 1 and high >= 4


def test_a_solution_without_a_trace_is_refused() -> None:
    for draw in (bounds_plot, sweep_table, lambda s: animate(s, "x.gif")):
        with pytest.raises(PlotError, match="trace=True"):
            draw(solve(student(), 1.0))


def test_the_table_of_sweeps() -> None:
    table = sweep_table(traced([4.0, 2.0, 0.0]))
    assert list(table.head) == ["sweep", "Facebook", "C1", "C2", "C3", "residual", "width"]
    assert table.rows[0] == [1, "4.0000", "4.0000", "6.0000", "8.0000", "4.0e-01", "4.0e+00"]
    assert table.rows[-1][1:5] == ["6.0000", "6.0000", "8.0000", "10.0000"] and table.marked == {2}
    assert table.caption == "values after each sweep at discount 1"
    many = sweep_table(traced([1.0] * 100), most=10)
    assert len(many.rows) <= 10 and many.rows[-1][0] == 100 and "of 100 sweeps" in many.caption


def test_actions_that_are_best_at_a_sweeps_values() -> None:
    # At v = 0 the student only looks at the next reward.
    best = solve(student(), 1.0)
    found = at_value(best, np.zeros(5))
    names = [best.model.action_names[best.model.action[p]] for p in np.flatnonzero(found.optimal)]
    assert names == ["quit", "facebook", "sleep", "study"]
    worst = at_value(replace(best, minimise=True), np.zeros(5))
    names = [best.model.action_names[best.model.action[p]] for p in np.flatnonzero(worst.optimal)]
    assert names == ["facebook", "study", "study", "pub"]
    assert (at_value(best, best.value).optimal == best.optimal).all()


@pytest.mark.parametrize("model", [student(), frozen_lake()])
def test_an_animation_has_a_frame_a_sweep_and_ends_with_the_answer(tmp_path, model) -> None:
    answer = solve(model, 0.5, method=value_iteration, trace=True)
    path = animate(answer, tmp_path / "new" / "sweeps.gif", seconds=1.0)
    with Image.open(path) as picture:
        shown = shown_sweeps(len(answer.trace), FRAMES)
        # Pillow joins frames that look the same.
        assert 1 < getattr(picture, "n_frames", 1) <= len(shown)
        durations, last = [], None
        for k in range(getattr(picture, "n_frames", 1)):
            picture.seek(k)
            durations.append(picture.info["duration"])
            last = np.asarray(picture.convert("RGB"), float)
    assert durations[-1] > 2000 and sum(durations) == pytest.approx(3000, abs=10 * len(shown))
    assert last is not None and last.std() > 10 and min(last.shape[:2]) > 200
    with pytest.raises(PlotError, match=r"\.gif"):
        animate(answer, tmp_path / "sweeps.png")


def test_the_maps_of_an_animation_are_laid_out_once(tmp_path, monkeypatch) -> None:
    """And no sweep leaves anything behind."""
    laid, drawn = [], []
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda self, figure: laid.append(figure))
    draw_once = sweeps._image
    monkeypatch.setattr(
        sweeps, "_image", lambda figure: drawn.append(len(figure.axes[0].get_children())) or draw_once(figure)
    )
    animate(solve(frozen_lake(), 0.5, method=value_iteration, sweeps=3, trace=True), tmp_path / "sweeps.gif")
    assert len(laid) == 1 and len(drawn) == 3 and len(set(drawn)) == 1


def test_several_answers_share_one_layout() -> None:
    answers = {f"γ = {g:g}": solve(student(), g) for g in (0, 0.9, 1)}
    figure = model_graph(student(), answers)
    assert len(figure.axes) == 3
    places = [[t.get_position() for t in axes.texts if t.get_text() == "C2"] for axes in figure.axes]
    assert places[0] == places[1] == places[2] and len(places[0]) == 1
    words = [{t.get_text() for t in axes.texts} for axes in figure.axes]
    assert "γ = 0" in words[0] and "4.3" in words[1] and "8" in words[2]
    # The pictures do not overlap.
    boxes = sorted((a.get_position().y0, a.get_position().y1) for a in figure.axes)
    assert all(low[1] <= high[0] + 1e-9 for low, high in pairwise(boxes))
    with pytest.raises(PlotError, match="no answer"):
        model_graph(student(), {})


def test_a_maps_colours_can_be_fixed() -> None:
    answer = solve(frozen_lake(), 0.99)

    def first_colour(figure):
        (cells,) = (drawn for drawn in figure.axes[0].collections if drawn.get_gid() == "cells")
        return tuple(cells.get_facecolors()[0])

    own, wide = value_map(answer), value_map(answer, limits=(-10.0, 10.0))
    assert first_colour(own) != first_colour(wide)
    assert first_colour(wide) == first_colour(value_map({"a": answer}, limits=(-10.0, 10.0)))
