"""Prediction with approximation on a walk of a thousand states. Sutton & Barto 2018, chapter 9.

What each method settles on is known exactly: gradient Monte Carlo on the weights of least value error VE,
semi-gradient TD on its fixed point (section 9.4), both under the distribution μ of the states visited.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import isqrt
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from scipy.sparse import csr_array

from retorno import bellman
from retorno.algorithms import TD, MonteCarloPrediction
from retorno.core.time_step import Trajectory
from retorno.environments.registry import model, native
from retorno.figures.exhibit import Check, Exhibit, measured
from retorno.figures.random_walks import ALPHAS, exact, over_n, sweep_axes, sweep_rows
from retorno.networks import Aggregation, Fourier, Polynomial, TileCoding
from retorno.networks.linear import Basis, Features
from retorno.plots.curves import mean_reach
from retorno.plots.style import INK, LINES, MUTED, number_axes, panels, style
from retorno.run.loop import Run
from retorno.run.probe import probe

WALK = "random_walk_1000"
STATES = 1000
LONGEST = 1024
"""Steps of an episode that are held: a longer one comes once in millions."""


class Visits(NamedTuple):
    """How often states are visited, exactly."""

    share: Float[np.ndarray, " S"]
    """μ, of all steps."""
    length: float
    """Steps of an episode, on average."""


@cache
def visits() -> Visits:
    """Of the walk's acting states."""
    found = bellman.occupancy(model(WALK), bellman.uniform, 1.0)
    return Visits(found.state_distribution[:STATES], found.total)


def updates(episodes: int, rollout: int) -> int:
    """After which so many episodes have ended on average; a reset is an interaction as well."""
    return round(episodes * (visits().length + 1) / rollout)


def ended(updates: int, rollout: int) -> int:
    """How many episodes have ended after so many updates, on average."""
    return round(updates * rollout / (visits().length + 1))


def values(run: Run, trajectory: Trajectory) -> Array:
    """The value of every state."""
    network = run.learner.network
    return network.unroll(jnp.arange(STATES), jnp.zeros(STATES, bool), ())["value"]


def monte_carlo(network: Basis, step_size: float, rollout: int) -> MonteCarloPrediction:
    """Gradient Monte Carlo. Sutton & Barto 2018, section 9.3."""
    return MonteCarloPrediction(
        network=network, step_size=step_size, discount=1.0, rollout=rollout, longest_episode=LONGEST
    )


def features(basis: Basis) -> Float[np.ndarray, "states d"]:
    """The features of every state."""
    space = native(WALK).observation_space
    found = np.asarray(jax.vmap(lambda s: basis.features(space, s))(jnp.arange(STATES)))
    if found.dtype.kind == "f":
        return found.astype(float)
    x = np.zeros((STATES, basis.size(space)))
    np.put_along_axis(x, found, 1.0, 1)
    return x[:, x.any(0)]


class Pull(NamedTuple):
    """The mean step of a method in an episode with α = 1: w ← w + b − A w. Sutton & Barto 2018, section 9.4."""

    features: Float[np.ndarray, "states d"]
    matrix: Float[np.ndarray, "d d"]
    """A = Xᵀ H (X − P X) for TD(0), Xᵀ H X for Monte Carlo; H holds the visits of an episode."""
    vector: Float[np.ndarray, " d"]
    """b = Xᵀ H r for TD(0), Xᵀ H v for Monte Carlo."""

    def settled(self) -> Float[np.ndarray, " states"]:
        """The values where the mean step is 0: TD's fixed point, or the least VE."""
        return self.features @ np.linalg.lstsq(self.matrix, self.vector)[0]

    def after(self, episodes: int, step_size: float) -> Float[np.ndarray, " states"]:
        """The values on average after so many episodes that began with 0, up to terms of the order α²."""
        w = np.zeros(len(self.vector))
        for _ in range(episodes):
            w = w + step_size * (self.vector - self.matrix @ w)
        return self.features @ w


def pull(basis: Basis, bootstraps: bool = False) -> Pull:
    """Of gradient Monte Carlo, or of semi-gradient TD(0), which bootstraps."""
    walk, x = model(WALK), features(basis)
    weighted = x.T * (visits().length * visits().share)
    if not bootstraps:
        return Pull(x, weighted @ x, weighted @ exact(WALK))
    source = walk.pair_state[walk.transition_pair]
    reward = np.bincount(source, walk.probability * walk.reward, STATES)
    on = walk.discount > 0
    moves = csr_array((walk.probability[on], (source[on], walk.next_state[on])), shape=(STATES, STATES))
    return Pull(x, weighted @ (x - moves @ x), weighted @ reward)


EPISODES = 100_000
LONG = 8192
"""Interactions between two updates where only the end is looked at: the more, the less is gone through twice."""
GROUP = 100


def aggregated(seeds: int, episodes: int = EPISODES) -> Exhibit:
    """Figure 9.1: gradient Monte Carlo over ten groups of a hundred states, with the states' distribution μ."""
    method = monte_carlo(Aggregation(GROUP), 2e-5, LONG)
    lived, theory = updates(episodes, LONG), pull(Aggregation(GROUP))
    learnt = probe(method, native(WALK), lived, values, seeds=range(seeds), every=lived)[:, 0]
    settles = theory.settled()
    states = np.arange(1, STATES + 1)
    with style():
        figure, (above, below) = panels(7.2, 5.4, 2, 1)
        above.plot(states, exact(WALK), color=INK, linewidth=1.2, label="true value")
        _steps(above, learnt, LINES[0], "gradient Monte Carlo")
        above.plot(states, settles, color=LINES[1], dashes=(2, 2), linewidth=1, label="least VE")
        share, start = visits().share, int(visits().share.argmax())
        below.fill_between(states, 0, share, color=MUTED, alpha=0.35, linewidth=0)
        # Every episode begins in one state, which stands out.
        below.set_ylim(0, 1.25 * np.delete(share, start).max())
        below.plot([start + 1] * 2, [0, share[start]], color=MUTED, linewidth=1)
        below.annotate(
            f"the start: {share[start]:.4f}",
            (start + 1, 1),
            xytext=(5, -12),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color=MUTED,
        )
        above.set_title(
            f"A thousand states in ten groups, {episodes:,} episodes, α = 2·10⁻⁵: mean of {seeds} seeds", pad=10
        )
        above.set_ylabel("value")
        below.set_ylabel("share of visits μ")
        below.set_xlabel("state")
        for axes in (above, below):
            axes.set_xlim(1, STATES)
            number_axes(axes)
        above.legend(loc="upper left")
    return Exhibit(
        picture=figure,
        columns=("state", "true value", "μ", "learnt", "± 95%", "least VE"),
        rows=np.column_stack(
            [
                states,
                exact(WALK),
                visits().share,
                learnt.mean(0),
                mean_reach(learnt),
                settles,
            ]
        ).tolist(),
        checks=in_groups("on average", theory.after(ended(lived, LONG), 2e-5), learnt),
    )


def in_groups(what: str, expected: np.ndarray, learnt: np.ndarray, tolerance: float = 0.0) -> tuple[Check, ...]:
    """The value of each group of a hundred states, beside what theory says."""
    return tuple(
        measured(f"states {s + 1} to {s + GROUP}: {what}", float(expected[s]), learnt[:, s], tolerance)
        for s in range(0, STATES, GROUP)
    )


def _steps(axes: Any, learnt: Float[np.ndarray, "S states"], colour: str, label: str) -> None:
    """Values that are the same over each group, with the 95% interval of their means."""
    states, mean, reach = np.arange(1, STATES + 1), learnt.mean(0), mean_reach(learnt)
    axes.plot(states, mean, color=colour, label=label)
    axes.fill_between(states, mean - reach, mean + reach, color=colour, alpha=0.25, linewidth=0)


SMALL_GROUP = 50
MORE = 5
"""As many seeds again for ten episodes as for all of them."""
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def bootstrapped(seeds: int, episodes: int = EPISODES) -> Exhibit:
    """Figure 9.2: where semi-gradient TD settles with groups, and n-step TD over them."""
    lived, theory = updates(episodes, LONG), pull(Aggregation(GROUP), bootstraps=True)
    method = TD(network=Aggregation(GROUP), step_size=2e-4, discount=1.0, rollout=LONG)
    learnt = probe(method, native(WALK), lived, values, seeds=range(seeds), every=lived)[:, 0]
    reach = mean_reach(learnt).tolist()
    found = over_n(WALK, SIZES, MORE * seeds, network=Aggregation(SMALL_GROUP), group=SMALL_GROUP)
    states = np.arange(1, STATES + 1)
    with style():
        figure, (left, right) = panels(10.4, 4.4, 1, 2)
        left.plot(states, exact(WALK), color=INK, linewidth=1.2, label="true value")
        _steps(left, learnt, LINES[0], "semi-gradient TD(0)")
        left.plot(states, theory.settled(), color=LINES[1], dashes=(2, 2), linewidth=1, label="its fixed point")
        left.plot(states, pull(Aggregation(GROUP)).settled(), color=MUTED, dashes=(5, 3), linewidth=1, label="least VE")
        left.set_xlim(1, STATES)
        left.set_xlabel("state")
        left.set_ylabel("value")
        left.set_title(f"Ten groups, {episodes:,} episodes, α = 2·10⁻⁴: {seeds} seeds", fontsize=9.5)
        left.legend(loc="upper left")
        number_axes(left)
        sweep_axes(right, found, ALPHAS)
        right.set_title(f"n-step TD over twenty groups: {MORE * seeds} seeds", fontsize=9.5)
    return Exhibit(
        picture=figure,
        columns=("method", "α", "mean error", "± 95%"),
        rows=[
            *(
                [f"TD(0), states {s + 1} to {s + GROUP}", 2e-4, float(learnt[:, s].mean()), reach[s]]
                for s in range(0, STATES, GROUP)
            ),
            *sweep_rows(found, ALPHAS),
        ],
        # Steps of a constant size leave a bias of their order, times the visits to a group in an episode.
        checks=in_groups("on average", theory.after(ended(lived, LONG), 2e-4), learnt, 2e-4 * visits().length / 5),
        notes=("the book prints no number here: its right side looks like figure 7.2",),
    )


BASES = 5000
"""Episodes of figures 9.5 and 9.10."""
ROLLOUT = 4096
"""Interactions between two points of those figures."""
ASKED = 249
"""The state whose value is held against theory, the 250th."""


def value_error(run: Run, trajectory: Trajectory) -> dict[str, Array]:
    """√VE, the value of one state, and how many episodes have ended."""
    share, value = jnp.asarray(visits().share, jnp.float32), jnp.asarray(exact(WALK), jnp.float32)
    learnt = values(run, trajectory)
    error = jnp.sqrt(jnp.sum(share * (learnt - value) ** 2))
    return {"error": error, "value": learnt[ASKED], "episodes": run.scores.episodes}


class Compared(NamedTuple):
    """A basis, the step size with which it learns, and how its line is drawn."""

    basis: Basis
    step_size: float
    colour: str
    dashes: Any = (None, None)


def looked_up(basis: Basis) -> Basis:
    """The same features, of each state worked out once."""
    rows = np.concatenate([features(basis), np.zeros((2, features(basis).shape[1]))])
    return Features(tuple(map(tuple, rows.tolist())))


def compared(methods: Mapping[str, Compared], seeds: int, episodes: int, title: str) -> Exhibit:
    """√VE of gradient Monte Carlo over episodes, for several bases with their step sizes."""
    x, errors, checks = np.linspace(0, episodes, 51), {}, []
    start = np.sqrt((visits().share * exact(WALK) ** 2).sum())
    for name, (basis, step_size, *_) in methods.items():
        method, lived = monte_carlo(basis, step_size, ROLLOUT), updates(episodes + 5 * isqrt(episodes), ROLLOUT)
        seen = probe(method, native(WALK), lived, value_error, seeds=range(seeds))
        error, value = (
            np.array(
                [np.interp(x, [0, *when], [at, *one]) for when, one in zip(seen["episodes"], seen[y], strict=True)]
            )
            for y, at in (("error", start), ("value", 0.0))
        )
        errors[name] = error
        average = pull(basis).after(episodes, step_size)[ASKED]
        checks.append(measured(f"{name}: state {ASKED + 1}, on average", average, value[:, -1]))
    least = {
        name: float(np.sqrt((visits().share * (pull(way.basis).settled() - exact(WALK)) ** 2).sum()))
        for name, way in methods.items()
    }
    with style():
        figure, (axes,) = panels(7.2, 4.0)
        for name, way in methods.items():
            mean, reach = errors[name].mean(0), mean_reach(errors[name])
            axes.plot(x, mean, color=way.colour, dashes=way.dashes, linewidth=1.5, label=name)
            axes.fill_between(x, mean - reach, mean + reach, color=way.colour, alpha=0.15, linewidth=0)
        axes.set_title(f"{title}: mean of {seeds} seeds", pad=10)
        axes.set_xlabel("episodes")
        axes.set_ylabel("√VE")
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        number_axes(axes)
        axes.legend(loc="upper right", handlelength=2.4)
    return Exhibit(
        picture=figure,
        columns=("episodes", *(f"{name} {part}" for name in errors for part in ("√VE", "± 95%"))),
        rows=np.column_stack([x, *(p for v in errors.values() for p in (v.mean(0), mean_reach(v)))]).tolist(),
        checks=tuple(checks),
        notes=tuple(
            f"{name}: √VE {error[:, -1].mean():.3f} after {episodes:,} episodes; the least is {least[name]:.3f}"
            for name, error in errors.items()
        ),
    )


def bases(seeds: int, episodes: int = BASES) -> Exhibit:
    """Figure 9.5: Fourier bases against polynomials."""
    reach: dict[str, Any] = {"low": (0.0,), "high": (STATES - 1.0,)}
    methods = {}
    for order, dashes in ((5, (None, None)), (10, (5, 2)), (20, (2, 2))):
        polynomial, fourier = looked_up(Polynomial(order, **reach)), looked_up(Fourier(order, **reach))
        methods[f"polynomial, order {order}"] = Compared(polynomial, 1e-4, LINES[0], dashes)
        methods[f"Fourier, order {order}"] = Compared(fourier, 5e-5, LINES[1], dashes)
    return compared(methods, seeds, episodes, "Gradient Monte Carlo on a thousand states")


def tilings(seeds: int, episodes: int = BASES) -> Exhibit:
    """Figure 9.10: one tiling against fifty."""
    # A tile is two hundred states wide, and each tiling lies four states off the one before.
    methods = {
        name: Compared(TileCoding(5, count, low=(0.0,), high=(float(STATES),)), 1e-4 / count, colour)
        for name, count, colour in (("one tiling", 1, LINES[0]), ("fifty tilings", 50, LINES[1]))
    }
    return compared(methods, seeds, episodes, "Tiles of two hundred states, gradient Monte Carlo")
