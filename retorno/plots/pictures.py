"""The picture that fits an answer: a map, a graph, bars, or all states in a row."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from retorno.plots.answers import Answer
from retorno.plots.charts import action_bars, value_profile
from retorno.plots.graph import model_graph, readable
from retorno.plots.maps import value_map
from retorno.plots.places import ends


def answer_picture(answer: Answer) -> Figure:
    """A map where the model has one; bars where a single state acts; a graph where it can be read; else a profile.

    Args:
        answer: of any model.
    """
    model = answer.model
    if model.has_map:
        return value_map(answer)
    if np.count_nonzero(~ends(model)) == 1 and model.num_actions > 3:
        return action_bars(answer)
    return model_graph(model, answer) if readable(model) else value_profile(answer)
