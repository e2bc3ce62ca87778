"""Pictures of policies: what a policy is worth over one of its probabilities, and estimates of its gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from retorno.plots.curves import mean_reach
from retorno.plots.style import INK, LINES, number, number_axes, panels, style


def value_over_probability(
    x: Float[np.ndarray, " K"], value: Float[np.ndarray, " K"], marked: Mapping[str, tuple[float, float]], title: str
) -> Figure:
    """J over the probability of one action, with some policies marked by name."""
    with style():
        figure, (axes,) = panels(7.2, 3.8)
        axes.plot(x, value, color=LINES[0])
        for name, (p, worth) in marked.items():
            axes.plot([p], [worth], "o", color=LINES[1], markersize=5)
            side = "right" if p > 0.8 else "left"
            axes.annotate(
                f"{name}\n{number(p)}: {number(worth)}",
                (p, worth),
                xytext=(-9 if side == "right" else 9, -14 if 0.2 < p < 0.8 else 0),
                textcoords="offset points",
                ha=side,
                va="top" if 0.2 < p < 0.8 else "center",
                fontsize=9,
            )
        axes.set_xlim(0, 1)
        axes.set_xlabel("probability of right")
        axes.set_ylabel("value of the start")
        axes.set_title(title, pad=10)
        axes.margins(y=0.08)
        number_axes(axes)
    return figure


def estimates_picture(
    names: Sequence[str],
    exact: Float[np.ndarray, " P"],
    found: Mapping[str, Float[np.ndarray, "N P"]],
    title: str,
) -> Figure:
    """Above, each estimator's mean with its 95% interval beside the exact value; below, its standard deviation."""
    with style():
        figure, (means, spreads) = panels(9.0, 6.6, rows=2)
        width = 0.8 / len(found)
        at = np.arange(len(names))
        means.hlines(exact, at - 0.45, at + 0.45, color=INK, linewidth=1.2, label="exact", zorder=3)
        for i, ((name, values), colour) in enumerate(zip(found.items(), cycle(LINES), strict=False)):
            x = at + (i - (len(found) - 1) / 2) * width
            means.errorbar(
                x, values.mean(0), mean_reach(values), fmt="o", markersize=3.5, color=colour, label=name, capsize=2
            )
            spreads.bar(x, values.std(0, ddof=1), 0.9 * width, color=colour)
        for axes, label in ((means, "gradient of the value"), (spreads, "standard deviation, one episode")):
            axes.set_xticks(at, [name.replace(": ", "\n") for name in names], fontsize=8.5)
            axes.grid(axis="x", visible=False)
            axes.set_ylabel(label)
        means.set_title(title, pad=10)
        figure.legend(loc="outside lower center", ncols=3)
    return figure
