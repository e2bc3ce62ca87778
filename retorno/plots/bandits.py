"""Pictures of bandits: the arms, how methods fare on them, and what they lose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from retorno.plots.curves import mean_reach
from retorno.plots.style import INK, LINES, MUTED, mark_expected, number, number_axes, panels, style

Samples = Float[np.ndarray, "S K"]
"""A value of each of S seeds at each of K points."""


def arms_picture(means: Float[np.ndarray, " k"], deviation: float, title: str) -> Figure:
    """What each arm pays: its mean as a bar across the normal distribution of its rewards."""
    with style():
        figure, (axes,) = panels(7.2, 3.6)
        offset = np.linspace(-3.2, 3.2, 161)
        half = 0.42 * np.exp(-(offset**2) / 2)
        for arm, mean in enumerate(means, start=1):
            y = mean + deviation * offset
            axes.fill_betweenx(y, arm - half, arm + half, color=LINES[0], alpha=0.22, linewidth=0)
            axes.plot([arm - 0.42, arm + 0.42], [mean, mean], color=LINES[0], linewidth=1.6)
            axes.annotate(
                f"{mean:.2f}".replace("-", "−"),
                (arm, mean),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
        axes.axhline(0, color=MUTED, linewidth=0.9, dashes=(5, 3), zorder=1)
        axes.set_xticks(range(1, len(means) + 1))
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("arm")
        axes.set_ylabel("reward")
        axes.set_title(title, pad=10)
    return figure


def reward_and_choice(
    series: Mapping[str, tuple[Samples, Samples]],
    title: str,
    x: Sequence[float] | np.ndarray | None = None,
    expected: Mapping[str, tuple[float, float]] | None = None,
    source: str = "",
) -> Figure:
    """The average reward above, how often the best arm is pulled (in %) below; bands are 95% intervals over seeds.

    Args:
        series: both of each method.
        title: above the picture.
        x: the steps; 1, 2, … by default.
        expected: values of both at the end, by method, that are known beforehand: marked with diamonds.
        source: where these come from, for the legend.
    """
    with style():
        figure, axes = panels(7.2, 6.2, rows=2)
        for pane, part, label in zip(axes, (0, 1), ("average reward", "% best arm"), strict=True):
            for (name, values), colour in zip(series.items(), cycle(LINES), strict=False):
                mean, reach = values[part].mean(0), mean_reach(values[part])
                points = np.arange(1, len(mean) + 1) if x is None else np.asarray(x)
                pane.plot(points, mean, color=colour, label=name, linewidth=1.2)
                pane.fill_between(points, mean - reach, mean + reach, color=colour, alpha=0.2, linewidth=0)
            mark_expected(pane, [(points[-1], values[part]) for values in (expected or {}).values()], source)
            pane.set_ylabel(label)
            pane.margins(x=0.01)
            number_axes(pane)
        axes[0].set_title(title, pad=10)
        axes[1].set_ylim(0, 100)
        axes[1].set_xlabel("step")
        axes[0].legend(loc="lower right", handlelength=1.6)
    return figure


def parameter_curves(found: Mapping[str, tuple[Sequence[float], Samples]], title: str) -> Figure:
    """What each method reaches over its own parameter, powers of two; whiskers are 95% intervals."""
    with style():
        figure, (axes,) = panels(7.2, 4.2)
        for (name, (x, values)), colour in zip(found.items(), cycle(LINES), strict=False):
            axes.errorbar(
                x, values.mean(0), mean_reach(values), marker="o", markersize=3.5, color=colour, label=name, capsize=2
            )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: number(v) if v >= 1 else f"1/{round(1 / v)}"))
        axes.set_xlabel("ε, α, c, Q₁")
        axes.set_ylabel("average reward")
        axes.set_title(title, pad=10)
        axes.legend(loc="best", handlelength=1.6)
    return figure


def regret_panels(
    lost: Mapping[str, Mapping[str, Samples]],
    references: Mapping[str, Mapping[str, Float[np.ndarray, " K"]]],
    title: str,
) -> Figure:
    """Regret so far over pulls, a panel a world, with bands of 95% intervals.

    Dashed lines are from theory; one that lies above all that is shown is left out.
    """
    with style():
        figure, axes = panels(4.0 * len(lost), 5.2, columns=len(lost))
        colours: dict[str, str] = {}
        for pane, (world, curves) in zip(axes, lost.items(), strict=True):
            for name, values in curves.items():
                colour = colours.setdefault(name, (*LINES, INK, MUTED)[len(colours) % 8])
                points = np.unique(np.linspace(1, values.shape[1], 200).astype(int))
                mean, reach = values.mean(0)[points - 1], mean_reach(values[:, points - 1])
                pane.plot(points, mean, color=colour, label=name, linewidth=1.5)
                pane.fill_between(points, mean - reach, mean + reach, color=colour, alpha=0.18, linewidth=0)
            top = max(values.mean(0)[-1] + mean_reach(values[:, -1:])[0] for values in curves.values())
            shown = {name: line for name, line in references.get(world, {}).items() if line.min() < 1.1 * top}
            for name, line in shown.items():
                pane.plot(np.arange(1, len(line) + 1), line, color=INK, linewidth=1.1, dashes=(5, 3), label=name)
            pane.set_ylim(0, 1.1 * top)
            pane.set_title(world, pad=8)
            pane.set_xlabel("pulls")
            number_axes(pane, 4)
            pane.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), handlelength=1.4, fontsize=8, ncols=2)
        axes[0].set_ylabel("regret so far")
        figure.suptitle(title, fontsize=10.5, x=0.01, ha="left")
    return figure
