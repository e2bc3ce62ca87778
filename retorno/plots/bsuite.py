"""What an algorithm can do, as a star: one ray for each thing that the behaviour suite asks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from retorno.plots.style import INK, LINES, PlotError, style
from retorno.run.bsuite import Suite


def radar(suites: Sequence[Suite]) -> Figure:
    """The mean score of the experiments that ask for each thing: 0 in the middle is chance, 1 the best that can be.

    Args:
        suites: of one algorithm each, in which the same was asked for.

    Raises:
        PlotError: where fewer than three things were asked for: that is no star.
    """
    tags = [*suites[0].by_tag]
    if len(tags) < 3:
        raise PlotError(f"a star has three rays or more, and {len(tags)} were asked for: live more experiments")
    angles = np.linspace(0, 2 * np.pi, len(tags), endpoint=False)
    with style():
        figure = Figure(figsize=(5.6, 5), layout="constrained")
        axes = figure.add_subplot(projection="polar")
        for each, colour in zip(suites, LINES, strict=False):
            scores = [each.by_tag.get(tag, 0.0) for tag in tags]
            axes.plot([*angles, angles[0]], [*scores, scores[0]], color=colour, label=each.algorithm)
            axes.fill(angles, np.maximum(scores, 0), color=colour, alpha=0.15)
        axes.set_xticks(angles, [tag.replace("_", " ") for tag in tags])
        for label, angle in zip(axes.get_xticklabels(), angles, strict=True):
            side = np.cos(angle)
            label.set_horizontalalignment("center" if abs(side) < 0.1 else "left" if side > 0 else "right")
        axes.set_yticks([0.25, 0.5, 0.75, 1.0], ["", ".5", "", "1"])
        axes.set_ylim(0, 1)
        axes.spines["polar"].set_visible(False)
        if len(suites) > 1:
            figure.legend(loc="outside lower center", ncols=len(suites))
        names = " and ".join(each.algorithm for each in suites)
        figure.suptitle(f"{names} in the behaviour suite", x=0.01, ha="left", fontsize=11, color=INK)
    return figure
