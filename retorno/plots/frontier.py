"""What judges give a policy, against how far it has gone from where it began (Gao et al. 2022, figure 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from retorno.language.judging import Point
from retorno.plots.style import LINES, PlotError, number_axes, panels, style


def frontier(points: Sequence[Point]) -> Figure:
    """Mean scores with their 95% intervals against the distance from the reference, one line a judge.

    Args:
        points: what `retorno.language.frontier` gives, in the order of training.

    Raises:
        PlotError: when there is none.
    """
    if not points:
        raise PlotError("no policy was judged: a run keeps one at each of its checkpoints")
    names = list(points[0].scores)
    with style():
        figure, panes = panels(7.2, 3.9)
        axes = panes[0]
        kl = np.array([point.kl[0] for point in points])
        for name, colour in zip(names, LINES, strict=False):
            mean, low, high = np.array([point.scores[name] for point in points]).T
            axes.plot(kl, mean, color=colour, marker="o", markersize=3.5, label=name)
            # Bars, no band: a policy may come nearer to its reference again.
            axes.errorbar(kl, mean, (mean - low, high - mean), fmt="none", ecolor=colour, elinewidth=1, alpha=0.45)
        for place, ha in ((0, "left"), (-1, "right")):
            point = points[place]
            axes.annotate(
                f"{point.step:,} steps", (kl[place], point.scores[names[0]][0]), xytext=(0, 7),
                textcoords="offset points", ha=ha, fontsize=8.5,
            )  # fmt: skip
        axes.set_xlabel("KL(policy ‖ reference), nats an answer")
        axes.set_ylabel("mean score")
        axes.set_xlim(left=min(0.0, float(kl.min())))
        number_axes(axes)
        if len(names) > 1:
            axes.legend(loc="best")
        else:
            axes.set_title(names[0])
    return figure
