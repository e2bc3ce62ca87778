"""Prediction methods against the exact values of six questions: bias, spread over seeds, and how soon they are near.

Every method lives in all six worlds at once (`environments.stacked`). An error is that of the value of a
state, squared, weighed by how often the policy is there (V̄E, Sutton & Barto 2018, eq. 9.1), and given in
per cent of the range of the exact values; so RMS² = bias² + deviation².
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from retorno import bellman
from retorno.algorithms import (
    GTD2,
    LSTD,
    TD,
    TDC,
    EmphaticTD,
    LambdaReturn,
    MonteCarloPrediction,
    TDLambda,
    TrueOnlineTD,
)
from retorno.core.mdp import MDP
from retorno.core.time_step import Trajectory
from retorno.environments.observation_maps import Observed
from retorno.environments.registry import model
from retorno.environments.stacked import of_one_shape, stacked
from retorno.environments.textbook.chains import groups
from retorno.figures.chapter_5 import sticking
from retorno.figures.exhibit import Exhibit
from retorno.plots.style import INK, LINES, MUTED, RULE, number, panels, style
from retorno.policies import Tabulated
from retorno.run.loop import Run
from retorno.run.probe import probe

INTERACTIONS, EVERY = 20_000, 100
ALPHAS = (0.03, 0.1, 0.3)
"""Step sizes; each method has the one that is near soonest."""
ACROSS = 3
"""Questions side by side in the picture."""
NEAR = 5.0
"""Per cent of the range of the exact values."""
ENORMOUS = 1e3
"""Per cent: what diverges is not further off than this."""
FURTHEST = 100.0
"""Per cent: what is further off is drawn as an arrow at the edge."""
RESAMPLED = 400
"""Times that the seeds are drawn anew for an interval (Efron 1979)."""
BEHAVIOUR = Tabulated(((1 / 3, 2 / 3),))
"""Goes right twice as often as left where there is a choice; off-policy, random play is asked about."""


@dataclass(frozen=True)
class Question:
    """A policy's values in a world."""

    model: MDP
    """What the methods live in: where they are on policy it leaves no choice."""
    label: Int[np.ndarray, " S"]
    """What is seen of each state."""

    @property
    def value(self) -> Float[np.ndarray, " S"]:
        """The exact values at γ = 1."""
        return bellman.evaluate(self.model, bellman.uniform, 1.0).value

    @property
    def weight(self) -> Float[np.ndarray, " S"]:
        """μ, how often the policy is in each state."""
        return bellman.occupancy(self.model, bellman.uniform, 1.0).state_distribution


def under(decisions: MDP, chances: Float[np.ndarray, " P"]) -> MDP:
    """The process that a policy makes of a model: its one action draws the policy's."""
    acting = ~decisions.terminal
    return dataclasses.replace(
        decisions,
        state_ptr=np.append(0, np.cumsum(acting)),
        action=np.zeros(acting.sum(), np.int64),
        row_ptr=np.append(decisions.row_ptr[decisions.state_ptr[:-1][acting]], decisions.num_transitions),
        probability=decisions.probability * chances[decisions.transition_pair],
        action_names=("go",),
    )


def questions() -> dict[str, Question]:
    """All that is asked, by name."""

    def process(name: str) -> MDP:
        return under(model(name), bellman.uniform(model(name)))

    game = model("blackjack")
    asked = {
        "5 states": process("random_walk"),
        "19 states": process("random_walk_19"),
        "student": process("student_process"),
        "blackjack": under(game, sticking(game)[game.pair_state, game.action]),
        "5 states, off-policy": model("random_walk"),
    }
    whole = {name: Question(each, np.arange(each.num_states)) for name, each in asked.items()}
    return {**whole, "1,000 in 10 groups": Question(process("random_walk_1000"), groups())}


def together(asked: dict[str, Question]) -> Observed:
    """The worlds of these questions, of one shape."""
    worlds = of_one_shape([each.model for each in asked.values()])
    states, count = worlds[0].first_outcome.shape[0], max(int(each.label.max()) for each in asked.values()) + 1
    # What is never entered is seen as anything.
    labels = [np.append(each.label, np.zeros(states - len(each.label), np.int64)) for each in asked.values()]
    return stacked(
        [Observed(world, jnp.asarray(label, jnp.int32), count) for world, label in zip(worlds, labels, strict=True)]
    )


class Way(NamedTuple):
    """A method, and where it can be used."""

    method: Any
    off_policy: bool = True
    large: bool = True
    """Over blackjack's 290 states too; LSTD's matrix would take too long."""
    scale: float = 1.0
    """Of its step sizes: an emphasis is as large as an episode is long."""


def ways() -> dict[str, Way]:
    """All that is compared."""
    one: dict[str, Any] = {"discount": 1.0}
    whole: dict[str, Any] = one | {"rollout": EVERY, "longest_episode": 3 * EVERY}
    off: dict[str, Any] = {"behaviour": BEHAVIOUR}
    return {
        "Monte Carlo": Way(MonteCarloPrediction(**whole, **off, step_size=None)),
        "TD(0)": Way(TD(**one, **off)),
        "4-step TD": Way(TD(**one, **off, n=4)),
        "λ-return, λ = .8": Way(LambdaReturn(**whole), off_policy=False),
        "TD(λ), λ = .8": Way(TDLambda(**one, **off)),
        "true online TD(λ), λ = .8": Way(TrueOnlineTD(**one), off_policy=False),
        "TDC": Way(TDC(**one, **off)),
        "GTD2": Way(GTD2(**one, **off)),
        "emphatic TD": Way(EmphaticTD(**one, **off), scale=0.03),
        "LSTD(0)": Way(LSTD(**one, **off), large=False),
        "LSTD(1)": Way(LSTD(**one, **off, lambda_=1.0), large=False),
    }


def seen(run: Run, trajectory: Trajectory) -> tuple[Array, Array]:
    """The values learnt, and after how many steps."""
    return run.learner.network.tables["value"][:, 0], run.step.low


class Found(NamedTuple):
    """What a method came to on one question, in per cent of the range of the exact values."""

    alpha: float
    """NaN where it has none to choose."""
    bias: Float[np.ndarray, " 3"]
    """With the ends of its 95% interval over seeds; so the others."""
    deviation: Float[np.ndarray, " 3"]
    rms: Float[np.ndarray, " 3"]
    steps: Float[np.ndarray, " 3"]
    """Until a seed is near; one that never is counts as the last step."""
    near: float
    """The share of seeds that were."""


def judged(
    question: Question,
    alphas: Sequence[float],
    learnt: Float[np.ndarray, "alphas seeds K labels"],
    steps: Int[np.ndarray, "alphas seeds K"],
) -> Found:
    """With the step size that is near soonest."""
    value, weight = question.value, question.weight
    there = weight > 0
    value, weight, label = value[there], weight[there], question.label[there]
    off = 100 * (learnt[..., label].astype(float) - value) / np.ptp(value)
    off = np.clip(np.nan_to_num(off, nan=ENORMOUS), -ENORMOUS, ENORMOUS)
    error = np.sqrt((off**2) @ weight)
    hit = error <= NEAR
    first = np.where(hit.any(-1), hit.argmax(-1), -1)
    until = np.take_along_axis(steps, first[..., None], -1)[..., 0].astype(float)
    best = min(range(len(off)), key=lambda i: (until[i].mean(), error[i, :, -1].mean()))
    return Found(
        alphas[best] if alphas else np.nan,
        *interval(off[best, :, -1], until[best], weight),
        near=float(hit[best].any(-1).mean()),
    )


def interval(
    off: Float[np.ndarray, "seeds S"], until: Float[np.ndarray, " seeds"], weight: Float[np.ndarray, " S"]
) -> list[Float[np.ndarray, " 3"]]:
    """Bias, deviation, root mean square and steps, each with its 95% interval: the seeds drawn again and again."""
    draws = np.random.default_rng(0).integers(len(off), size=(RESAMPLED, len(off)))
    samples = np.array([_summary(off[some], until[some], weight) for some in draws])
    low, high = np.quantile(samples, [0.025, 0.975], axis=0)
    return [*np.stack([_summary(off, until, weight), low, high], 1)]


def _summary(off: np.ndarray, until: np.ndarray, weight: np.ndarray) -> tuple[float, ...]:
    bias, deviation = np.sqrt((off.mean(0) ** 2) @ weight), np.sqrt(off.var(0) @ weight)
    return bias, deviation, np.hypot(bias, deviation), until.mean()


def compare(seeds: int) -> dict[str, dict[str, Found]]:
    """What each method came to, by method and question."""
    asked, found = questions(), {}
    small = {name: each for name, each in asked.items() if each.model.num_states < 100 or "groups" in name}
    for name, way in ways().items():
        where = asked if way.large else small
        alphas = [way.scale * alpha for alpha in ALPHAS] if getattr(way.method, "step_size", None) is not None else []
        updates, every = INTERACTIONS // way.method.rollout, EVERY // way.method.rollout
        learnt, steps = probe(
            way.method,
            together(where),
            updates,
            seen,
            seeds=range(seeds),
            every=every,
            over={"step_size": alphas} if alphas else None,
            side_by_side=True,
        )
        if not alphas:
            learnt, steps = learnt[:, None], steps[:, None]
        found[name] = {
            world: judged(question, alphas, learnt[i], steps[i])
            for i, (world, question) in enumerate(where.items())
            if way.off_policy or "off-policy" not in world
        }
    return found


def table(seeds: int) -> Exhibit:
    """Every method on every question."""
    found, asked = compare(seeds), questions()
    parts = ("bias", "deviation", "RMS error", "steps to 5%")
    return Exhibit(
        picture=drawn(found, list(asked), seeds),
        columns=(
            "method",
            "world",
            "α",
            *(f"{part}{end}" for part in parts for end in ("", " low", " high")),
            "share of seeds within 5%",
        ),
        rows=[
            [name, world, one.alpha, *map(float, np.concatenate(one[1:5])), one.near]
            for name, worlds in found.items()
            for world, one in worlds.items()
        ],
        notes=(
            "errors after 20,000 interactions in per cent of the range of the exact values, intervals of 95%",
            "each method has the step size that is near soonest; what diverges counts as 1,000% off",
            "batch TD and batch Monte Carlo settle on the answers of LSTD(0) and LSTD(1), and are not shown apart",
        ),
    )


def drawn(found: dict[str, dict[str, Found]], asked: list[str], seeds: int) -> Figure:
    """Errors, and below them steps, of all methods on each question; three questions side by side."""
    blocks = [asked[i : i + ACROSS] for i in range(0, len(asked), ACROSS)]
    with style():
        figure, panes = panels(10.5, 4.1 * 2 * len(blocks), 2 * len(blocks), ACROSS)
        grid = panes.reshape(len(blocks), 2, ACROSS)
        for (errors, steps), worlds in zip(grid, blocks, strict=True):
            for column, world in enumerate(worlds):
                _errors(errors[column], world, found)
                _steps(steps[column], world, found)
            for pane in (errors[0], steps[0]):
                pane.set_yticks(range(len(found)), found, fontsize=9.5)
            for pane in (*errors[len(worlds) :], *steps[len(worlds) :]):
                pane.set_visible(False)
        handles, labels = panes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=10.5)
        figure.suptitle(
            f"Values against the exact ones after {INTERACTIONS:,} interactions: {seeds} seeds and 95% intervals\n"
            f"dashed: {NEAR:g}%; a triangle: further right; –: not asked",
            fontsize=11,
            x=0.01,
            ha="left",
        )
    return figure


def _errors(pane: Any, world: str, found: dict[str, dict[str, Found]]) -> None:
    """Bias, deviation and their root sum of squares after all interactions."""
    for row, worlds in enumerate(found.values()):
        if (one := worlds.get(world)) is None:
            _absent(pane, row)
            continue
        parts = {"bias": one.bias, "deviation over seeds": one.deviation, "RMS error": one.rms}
        for place, (part, (middle, low, high)) in enumerate(parts.items()):
            y, colour = row + 0.22 * (place - 1), LINES[place]
            marker = "o" if middle < FURTHEST else ">"
            middle, high = min(middle, FURTHEST), min(high, FURTHEST)
            pane.plot(middle, y, marker, color=colour, markersize=5, label=part if row == 0 else None)
            pane.plot([min(low, high), high], [y, y], color=colour, linewidth=1.5)
    pane.axvline(NEAR, color=MUTED, linewidth=1, dashes=(5, 3), zorder=1)
    _log(pane, world, "error, % of the range", len(found), (0.1, 1.1 * FURTHEST))


def _steps(pane: Any, world: str, found: dict[str, dict[str, Found]]) -> None:
    """Steps until the error is within 5%; arrows where some seeds never are."""
    for row, worlds in enumerate(found.values()):
        if (one := worlds.get(world)) is None:
            _absent(pane, row)
            continue
        middle, low, high = one.steps
        pane.plot(middle, row, "o" if one.near == 1 else ">", color=INK if one.near else MUTED, markersize=5.5)
        pane.plot([low, high], [row, row], color=INK, linewidth=1.4)
    _log(pane, world, "steps to 5%", len(found), (EVERY, 1.3 * INTERACTIONS))


def _absent(pane: Any, row: int) -> None:
    pane.annotate("–", (0.5, row), xycoords=("axes fraction", "data"), ha="center", va="center", color=MUTED)


def _log(pane: Any, title: str, xlabel: str, rows: int, limits: tuple[float, float]) -> None:
    pane.set_xscale("log")
    pane.set_xlim(*limits)
    pane.xaxis.set_major_formatter(lambda x, _: number(x, 2))
    pane.xaxis.set_minor_formatter(lambda x, _: "")
    pane.set_ylim(rows - 0.5, -0.5)
    pane.set_yticks(range(rows), [""] * rows)
    for row in range(0, rows, 2):
        pane.axhspan(row - 0.5, row + 0.5, color=RULE, alpha=0.35, linewidth=0, zorder=0)
    pane.set_title(title, fontsize=10.5)
    pane.set_xlabel(xlabel, fontsize=10)
