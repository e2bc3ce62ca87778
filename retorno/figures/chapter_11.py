"""Off-policy methods with approximation: what diverges and what does not. Sutton & Barto 2018, chapter 11."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax import Array
from jaxtyping import Float

from retorno.algorithms import TD, TDC
from retorno.core.time_step import Trajectory
from retorno.environments.registry import native
from retorno.environments.textbook.counterexamples import baird_features
from retorno.figures.exhibit import Check, Exhibit, Source
from retorno.networks import features
from retorno.plots.style import LINES, MUTED, number_axes, panels, style
from retorno.policies import Tabulated
from retorno.run.loop import Run
from retorno.run.probe import probe

DISCOUNT, ALPHA, STEPS = 0.99, 0.01, 1000
START = np.array([1.0, 1, 1, 1, 1, 1, 10, 1])
SOLID, USUAL = Tabulated(((0.0, 1.0),)), Tabulated(((6 / 7, 1 / 7),))
"""The policy asked about, and the one that acts."""
STAR: dict[str, Any] = {
    "network": features(baird_features(), START),
    "target": SOLID,
    "behaviour": USUAL,
    "discount": DISCOUNT,
}
"""What a prediction method is asked on Baird's star."""


def weights(run: Run, trajectory: Trajectory) -> Array:
    """Looks at the weights."""
    return run.learner.network.weights["value"][:, 0]


def expected_sweeps(step_size: float, sweeps: int) -> Float[np.ndarray, "points 8"]:
    """Semi-gradient dynamic programming on Baird's star: all states at once, by expected updates.

    Sutton & Barto 2018, eq. 11.9: w ← w + α/|S| Σₛ (E[R + γ v(S′) | s] − v(s)) ∇v(s); under the target policy every
    state leads to the seventh and nothing pays.
    """
    x, w = baird_features(), [START]
    for _ in range(sweeps):
        value = x @ w[-1]
        w.append(w[-1] + step_size * (DISCOUNT * value[-1] - value) @ x / len(x))
    return np.array(w)


def expected_emphasis(step_size: float, steps: int) -> Float[np.ndarray, "points 8"]:
    """Emphatic TD's expected updates on Baird's star: the mean emphasis of each state instead of a sampled one.

    The mean emphasis follows f(s) = d(s) + γ Σ f(s̄) π(s|s̄), with d(s) = 1/7; all of it flows to the seventh state.
    """
    x, w = baird_features(), [START]
    share = np.full(len(x), 1 / len(x))
    emphasis = share
    for _ in range(steps):
        value = x @ w[-1]
        w.append(w[-1] + step_size * (emphasis * (DISCOUNT * value[-1] - value)) @ x)
        emphasis = share + DISCOUNT * emphasis.sum() * np.eye(len(x))[-1]
    return np.array(w)


def drawn(curves: dict[str, Float[np.ndarray, "K 8"]], xlabels: tuple[str, ...], title: str) -> Any:
    """One panel for each method: its weights over time."""
    with style():
        figure, panes = panels(7.6, 3.9, 1, len(curves))
        for pane, (name, w), xlabel in zip(panes, curves.items(), xlabels, strict=True):
            for i in range(6):
                pane.plot(w[:, i], color=LINES[0], linewidth=1, alpha=0.6, label="w₁ … w₆" if i == 0 else None)
            pane.plot(w[:, 6], color=LINES[1], label="w₇")
            pane.plot(w[:, 7], color=LINES[2], label="w₈")
            pane.axhline(0, color=MUTED, linewidth=0.8)
            pane.set_title(name)
            pane.set_xlabel(xlabel)
            number_axes(pane)
        figure.legend(*panes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        figure.suptitle(title, fontsize=10.5, x=0.01, ha="left")
    return figure


def table(curves: dict[str, Float[np.ndarray, "K 8"]]) -> dict[str, Any]:
    """Every tenth step as rows."""
    columns = ("method", "step", *(f"w{i}" for i in range(1, 9)))
    rows = [[name, i, *map(float, w[i])] for name, w in curves.items() for i in range(0, len(w), 10)]
    return {"columns": columns, "rows": rows}


def lived(method: Any, steps: int, seeds: int) -> Float[np.ndarray, "S K 8"]:
    """The weights of a method on Baird's star, after every step, the first ones included."""
    seen = probe(method, native("baird"), steps, weights, seeds=range(seeds))
    return np.concatenate([np.broadcast_to(START, (seeds, 1, 8)), seen], 1)


def baird(seeds: int) -> Exhibit:
    """Figure 11.2: semi-gradient off-policy TD and semi-gradient dynamic programming diverge."""
    sampled, expected = lived(TD(**STAR, step_size=ALPHA), STEPS, seeds), expected_sweeps(ALPHA, STEPS)
    curves = {"off-policy TD(0), one seed": sampled[0], "dynamic programming": expected}
    grown = np.abs(sampled[:, -1]).max(1)
    return Exhibit(
        picture=drawn(curves, ("steps", "sweeps"), "Baird's star: all values are 0, and the weights grow"),
        **table(curves),
        checks=(
            Check("expected update, w₁ … w₆ after 1,000 sweeps", 114.434, float(expected[-1, 0]), 0.0, 5e-4),
            Check("expected update, w₇", 6.850, float(expected[-1, 6]), 0.0, 5e-4),
            Check("expected update, w₈", 335.001, float(expected[-1, 7]), 0.0, 5e-4),
            Check(
                "share of seeds whose weights grew tenfold", 1.0, float(np.mean(grown > 100)), 0.0, 0.05, Source.FIGURE
            ),
        ),
    )


def corrected(seeds: int) -> Exhibit:
    """Figure 11.5: TD with gradient correction on Baird's star."""
    sampled = lived(TDC(**STAR, step_size=0.005, second_step_size=0.05), STEPS, seeds)
    mean = sampled.mean(0)
    curves = {"TDC, one seed": sampled[0], f"TDC, mean of {seeds} seeds": mean}
    value = lambda w: np.sqrt(((w @ baird_features().T) ** 2).mean(-1))  # noqa: E731
    largest = float(np.abs(sampled[:, -1]).max())
    return Exhibit(
        picture=drawn(curves, ("steps", "steps"), "Baird's star: the projected error falls, the weights stay finite"),
        **table(curves),
        checks=(
            Check("largest weight at the end (at first: 10)", 10.0, largest, 0.0, 10.0, Source.FIGURE),
            Check("value error at the end", 2.0, float(value(mean[-1])), 0.0, 1.0, Source.FIGURE),
        ),
    )


def emphatic(seeds: int) -> Exhibit:
    """Figure 11.6: emphatic TD's expected updates on Baird's star settle on the right values."""
    expected = expected_emphasis(0.03, STEPS)
    curves = {"emphatic TD, expected updates": expected}
    error = float(np.sqrt(((expected[-1] @ baird_features().T) ** 2).mean()))
    return Exhibit(
        picture=drawn(curves, ("steps",), "Baird's star: emphatic TD, α = .03"),
        **table(curves),
        checks=(Check("value error at the end", 0.0, error, 0.0, 0.05),),
        notes=("single runs have too high a variance to be seen converging, as the book says",),
    )
