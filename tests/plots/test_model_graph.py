"""The graph of a model: what is written on it, that it can be read, and that it is always the same."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Circle, FancyArrowPatch

from retorno.bellman import solve
from retorno.core.mdp import mdp
from retorno.environments.textbook.lecture import random_walk, student, student_process
from retorno.plots import PlotError, model_graph
from retorno.plots.graph import BEST, DOT
from retorno.plots.style import inline_svg

RECYCLING = mdp(  # Sutton & Barto 2018, example 3.3.
    {
        "high": {"search": [(0.7, "high", 3.0), (0.3, "low", 3.0)], "wait": [(1, "high", 1.0)]},
        "low": {
            "search": [(0.6, "low", 3.0), (0.4, "high", -3.0)],
            "wait": [(1, "low", 1.0)],
            "recharge": [(1, "high", 0.0)],
        },
    }
)


def labels(figure):
    return sorted(text.get_text() for text in figure.axes[0].texts)


def test_student_has_its_names_probabilities_and_rewards():
    written = labels(model_graph(student()))
    for label in ["facebook, −1", "facebook, −1", "quit, 0", "study, −2", "study, −2", "study, +10", "sleep, 0"]:
        written.remove(label)
    for label in ["pub, +1", "0.2", "0.4", "0.4", "Facebook", "C1", "C2", "C3", "Sleep"]:
        written.remove(label)
    assert written == ["dot: action, reward; on its arrows: probability · square: end · bold: start"]


def test_rewards_stand_at_the_outcomes_where_they_differ():
    written = labels(model_graph(RECYCLING))
    assert {"search", "0.6, +3", "0.4, −3", "search, +3", "0.7", "0.3"} <= set(written)


def test_a_process_has_no_action_dots():
    figure = model_graph(student_process())
    assert "0.9, −1" in labels(figure) and "1, +10" in labels(figure)
    assert not [p for p in figure.axes[0].patches if isinstance(p, Circle) and p.radius == DOT]


def test_all_best_actions_are_coloured_and_values_written():
    solution = solve(student(), discount=1.0)
    figure = model_graph(student(), solution)
    arrows = [p for p in figure.axes[0].patches if isinstance(p, FancyArrowPatch)]
    coloured = [p for p in arrows if p.get_edgecolor()[:3] == pytest.approx((213 / 255, 94 / 255, 0))]
    # quit, study, study, study: one outcome each.
    assert solution.optimal.sum() == 4 and len(coloured) == 4 and len(arrows) == 11
    assert [t.get_text() for t in figure.axes[0].texts if t.get_color() == BEST].count("study, −2") == 2
    assert {"6", "8", "10"} <= set(labels(figure))


def test_an_ending_into_a_state_that_goes_on_is_dashed():
    model = mdp({"a": {"x": [(0.5, "b", 1.0, True), (0.5, "b", 0.0)]}, "b": {"x": [(1, "a", 0.0)]}})
    figure = model_graph(model)
    styles = [p.get_linestyle() for p in figure.axes[0].patches if isinstance(p, FancyArrowPatch)]
    assert styles.count("--") == 1 and any("dashed" in label for label in labels(figure))


@pytest.mark.parametrize("model", [student(), student_process(), random_walk(), RECYCLING], ids=lambda m: m.state_names)
def test_labels_can_be_read(model):
    figure = model_graph(model)
    axes, renderer = figure.axes[0], FigureCanvasAgg(figure).get_renderer()
    boxes = [t.get_window_extent(renderer) for t in axes.texts]
    page = figure.bbox
    assert all(page.x0 <= b.x0 and b.x1 <= page.x1 and page.y0 <= b.y0 and b.y1 <= page.y1 for b in boxes)
    overlaps = [
        (s.get_text(), t.get_text())
        for (s, a), (t, b) in combinations(zip(axes.texts, boxes, strict=True), 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]
    assert not overlaps
    circles = [p for p in axes.patches if isinstance(p, Circle) and p.radius > DOT]
    for a, b in combinations(circles, 2):
        assert np.hypot(*np.subtract(a.center, b.center)) > a.radius + b.radius
    for circle in circles:
        centre, edge = axes.transData.transform([circle.center, np.add(circle.center, (circle.radius, 0))])
        radius = edge[0] - centre[0]
        for text, box in zip(axes.texts, boxes, strict=True):
            nearest = np.clip(centre, box.min, box.max)
            assert text.get_text() in model.state_names or np.hypot(*(nearest - centre)) > radius - 1


def test_the_layout_is_always_the_same():
    assert inline_svg(model_graph(student()), "a") == inline_svg(model_graph(student()), "a")


def test_large_models_are_refused():
    with pytest.raises(PlotError, match="up to 16"):
        model_graph(random_walk(19))


def test_a_single_state_can_be_drawn():
    model = mdp({"a": {"x": [(1, "a", 1.0)], "y": [(1, "a", 0.0)]}})
    assert labels(model_graph(model))[-3:] == ["dot: action, reward; on its arrows: probability", "x, +1", "y, 0"]
