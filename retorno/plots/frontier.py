"""What judges give a policy, against how far it has gone from where it began (Gao et al. 2022, figure 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retorno.language.judging import Point
from retorno.plots.style import LINES, MUTED, PlotError, number_axes, panels, style


def frontier(points: Sequence[Point], called: str = "mean score") -> Figure:
    """Mean scores with their 95% intervals against the distance from the reference, one line a judge.

    The best of n answers is a dashed line beside them.

    Args:
        points: what `retorno.language.frontier` gives, in the order of training, and `best_of_frontier` after them.
        called: what the scores are.

    Raises:
        PlotError: when there is none.
    """
    if not points:
        raise PlotError("no policy was judged: a run keeps one at each of its checkpoints")
    names = list(points[0].scores)
    with style():
        figure, panes = panels(7.2, 3.9)
        axes = panes[0]
        learnt = [point for point in points if point.best_of is None]
        drawn = [point for point in points if point.best_of is not None]
        for name, colour in zip(names, LINES, strict=False):
            for line, (some, style_of) in {"": (learnt, "-"), ", best of n": (drawn, "--")}.items():
                if some:
                    _line(axes, some, name, colour, style_of, f"{name}{line}")
        ends = [*learnt[:1], *learnt[1:][-1:]]
        trained = len({point.step for point in ends}) == len(ends)  # Else they are of no run.
        told = [(point, f"{point.step:,} steps", ha) for point, ha in zip(ends, ENDS, strict=False) if trained]
        told += [(point, f"best of {point.best_of}", ha) for point, ha in zip(drawn[-1:], ENDS, strict=False)]
        for point, text, ha in told:
            # Above the lines, which may lie anywhere.
            axes.axvline(point.kl[0], color=MUTED, linewidth=0.8, linestyle=":")
            axes.annotate(
                text, (point.kl[0], 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
                textcoords="offset points", ha=ha, fontsize=8.5, color=MUTED,
            )  # fmt: skip
        axes.set_xlabel("KL(policy ‖ reference), nats an answer")
        axes.set_ylabel(called)
        axes.set_xlim(left=min(0.0, *(point.kl[0] for point in points)))
        number_axes(axes)
        if len(names) > 1 or drawn:
            axes.legend(loc="best")
        else:
            axes.set_ylabel(f"{called}: {names[0]}")
    return figure


ENDS = ("left", "right")
"""How what is said of the first point of a line lies, and of its last."""


def _line(axes: Axes, points: Sequence[Point], name: str, colour: str, line: str, label: str) -> None:
    kl = np.array([point.kl[0] for point in points])
    mean, low, high = np.array([point.scores[name] for point in points]).T
    axes.plot(kl, mean, color=colour, linestyle=line, marker="o", markersize=3.5, label=label)
    # Bars, no band: a policy may come nearer to its reference again.
    axes.errorbar(kl, mean, (mean - low, high - mean), fmt="none", ecolor=colour, elinewidth=1, alpha=0.45)
