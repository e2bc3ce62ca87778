"""The picture that fits an answer: a map, a graph, bars, or all states in a row."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from retorno.bellman.average import AverageSolution
from retorno.bellman.horizon import HorizonSolution
from retorno.bellman.rational import RationalSolution
from retorno.plots.answers import Answer, as_drawn
from retorno.plots.charts import action_bars, value_profile
from retorno.plots.graph import model_graph, readable
from retorno.plots.maps import value_map
from retorno.plots.places import ends
from retorno.plots.style import style


def answer_picture(answer: Answer | RationalSolution | AverageSolution | HorizonSolution) -> Figure:
    """A map where the model has one; bars where a single state acts; a graph where it can be read; else a profile.

    Args:
        answer: of any model, and to any question; see `as_drawn`.
    """
    drawn = as_drawn(answer)
    figure = _picture(drawn)
    if title := getattr(drawn, "title", ""):
        with style():
            figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def _picture(answer: Answer) -> Figure:
    model = answer.model
    if model.has_map:
        return value_map(answer)
    if np.count_nonzero(~ends(model)) == 1 and model.num_actions > 3:
        return action_bars(answer)
    return model_graph(model, answer) if readable(model) else value_profile(answer)
