"""Random walks: how wrong the values of each prediction method are. Sutton & Barto 2018, chapters 6, 7 and 12."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from retorno import bellman
from retorno.algorithms import LSTD, TD, LambdaReturn, MonteCarloPrediction, TDLambda, TrueOnlineTD
from retorno.core.time_step import Trajectory
from retorno.environments.registry import model, native
from retorno.figures.exhibit import Exhibit, Source, measured
from retorno.networks import Table
from retorno.plots.curves import mean_reach, seed_curves
from retorno.plots.style import INK, LINES, MUTED, mark_expected, number_axes, panels, style
from retorno.run.loop import Run
from retorno.run.probe import at_episodes, probe

STEPS = {"random_walk": 1500, "random_walk_19": 2600, "random_walk_1000": 1700}
"""Enough for the episodes that are looked at: 100 of the first, 10 of the others."""
ENORMOUS = 1e6


@cache
def exact(world: str) -> Float[np.ndarray, " S"]:
    """The values of the uniform policy; the ends' are left out."""
    walk = model(world)
    return bellman.evaluate(walk, bellman.uniform, 1.0).value[~walk.terminal]


@cache
def errors(world: str, late: bool = False, group: int = 1) -> Callable[[Run, Trajectory], dict[str, Array]]:
    """Looks at the root mean square error over states, and at whether an episode has been learnt from to its end.

    n-step TD is `late`: the first row that it holds is the one after the last that was learnt from. Where each
    `group` of neighbours shares its value, only one of them is looked at.
    """
    value = exact(world).reshape(-1, group)
    middle, within = jnp.asarray(value.mean(1), jnp.float32), float(value.var(1).mean())
    acting = np.flatnonzero(~model(world).terminal)[::group]

    def look(run: Run, trajectory: Trajectory) -> dict[str, Array]:
        network = run.learner.network
        learnt = network.unroll(jnp.asarray(acting), jnp.zeros(len(acting), bool), ())["value"]
        last = run.learner.held.rows.last[0] if late else trajectory.steps.last[1]
        return {"error": jnp.sqrt(jnp.mean((learnt - middle) ** 2) + within), "last": last[0]}

    return look


def by_episode(
    method: Any,
    world: str,
    seeds: int,
    episodes: int,
    over: Mapping[str, Sequence[float]] | None = None,
    group: int = 1,
) -> Float[np.ndarray, "*settings S E"]:
    """The root mean square error at the ends of the first episodes."""
    n = getattr(method, "n", 1)
    seen = probe(method, native(world), STEPS[world] + n, errors(world, n > 1, group), seeds=range(seeds), over=over)
    # The rows that n-step TD holds before the first are no episodes' ends.
    seen["last"] = seen["last"] & (np.arange(seen["last"].shape[-1]) >= n - 1)
    # Too large a step size diverges: such an error is as large as it is shown, or larger.
    error = np.nan_to_num(seen["error"].astype(float), nan=ENORMOUS, posinf=ENORMOUS)
    return at_episodes(np.minimum(error, ENORMOUS), seen["last"], episodes)


def example(seeds: int) -> Exhibit:
    """Example 6.2: TD(0) and constant-α Monte Carlo on five states, every α with its own noise."""
    start, world, episodes = Table(initial=0.5), "random_walk", 100
    td, mc = (0.05, 0.1, 0.15), (0.01, 0.02, 0.03, 0.04)
    every_visit = MonteCarloPrediction(network=start, discount=1.0, step_size=0.1, rollout=1, longest_episode=64)
    found = {
        "TD": by_episode(TD(network=start, discount=1.0), world, seeds, episodes, {"step_size": td}),
        "MC": by_episode(every_visit, world, seeds, episodes, {"step_size": mc}),
    }
    curves = {
        f"{name} α = {alpha:g}": error
        for name, alphas in (("TD", td), ("MC", mc))
        for alpha, error in zip(alphas, found[name], strict=True)
    }
    x, colours = np.arange(episodes + 1), {"TD": LINES[0], "MC": LINES[1]}
    shown = estimates(TD(network=start, discount=1.0, step_size=0.1), world, (0, 1, 10, 100))
    with style():
        figure, (left, right) = panels(9.6, 4.0, 1, 2)
        states = np.arange(len(exact(world)))
        left.plot(states, exact(world), color=INK, marker="o", markersize=3.5, label="true values")
        for (count, values), colour in zip(shown.items(), (MUTED, *LINES[2:]), strict=False):
            left.plot(
                states,
                values,
                color=colour,
                marker="o",
                markersize=3.5,
                label=f"after {count:,} episode{'' if count == 1 else 's'}",
            )
        left.set_xticks(states, "ABCDE")
        left.set_xlabel("state")
        left.set_ylabel("estimated value")
        left.set_title("One seed of TD(0), α = .1: values while it learns", fontsize=9.5)
        left.legend(loc="upper left", handlelength=1.6)
        for (name, error), dashes in zip(curves.items(), (*DASHES[:3], *DASHES), strict=True):
            mean, reach, colour = error.mean(0), mean_reach(error), colours[name[:2]]
            right.plot(x[1:], mean, color=colour, dashes=dashes, linewidth=1.5, label=name)
            right.fill_between(x[1:], mean - reach, mean + reach, color=colour, alpha=0.15, linewidth=0)
        mark_expected(right, [(episodes, value) for value in (0.0352, 0.0551, 0.0822)], Source.UNSOURCED)
        right.set_ylim(0, 0.25)
        right.set_xlabel("episodes")
        right.set_ylabel("RMS error over states")
        right.set_title(f"All values begin at ½: mean of {seeds} seeds", fontsize=9.5)
        number_axes(right)
        right.legend(loc="upper right", ncols=2, handlelength=2.4)
    x = x[1:]
    return Exhibit(
        picture=figure,
        columns=("episode", *(f"{name} {part}" for name in curves for part in ("mean", "± 95%"))),
        rows=np.column_stack([x, *(part for v in curves.values() for part in (v.mean(0), mean_reach(v)))]).tolist(),
        checks=(
            measured("TD(0) α = .05, after 100 episodes", 0.0352, found["TD"][0, :, -1], 0.002, Source.UNSOURCED),
            measured("TD(0) α = .1, after 100 episodes", 0.0551, found["TD"][1, :, -1], 0.002, Source.UNSOURCED),
            measured("Monte Carlo α = .02, after 100 episodes", 0.0822, found["MC"][1, :, -1], 0.002, Source.UNSOURCED),
        ),
        notes=("what is expected are means of 100 seeds without a source, trusted to .002",),
    )


DASHES = ((None, None), (5, 2), (2, 2), (1, 2))


def estimates(method: TD, world: str, counts: Sequence[int]) -> dict[int, Float[np.ndarray, " S"]]:
    """The values of one seed after so many episodes; before the first they are as they began."""
    acting = np.flatnonzero(~model(world).terminal)

    def look(run: Run, trajectory: Trajectory) -> dict[str, Array]:
        return {"value": run.learner.network.tables["value"][acting, 0], "last": trajectory.steps.last[1, 0]}

    seen = probe(method, native(world), STEPS[world], look, seeds=[0])
    ends = np.flatnonzero(seen["last"][0])
    begun = np.full(len(acting), getattr(method.network, "initial", 0.0))
    return {count: seen["value"][0, ends[count - 1]] if count else begun for count in counts}


def batch(seeds: int) -> Exhibit:
    """Figure 6.2: batch training, solved at once by least squares, which is what the sweeps settle on."""
    world, episodes = "random_walk", 100
    found = {
        f"batch {name}": by_episode(LSTD(discount=1.0, lambda_=lambda_), world, seeds, episodes)
        for name, lambda_ in (("TD", 0.0), ("Monte Carlo", 1.0))
    }
    x = np.arange(1, episodes + 1)
    picture = seed_curves(
        x,
        found,
        xlabel="episodes",
        ylabel="RMS error over states",
        title=f"Batch training on five states: mean of {seeds} seeds",
    )
    picture.axes[0].set_ylim(0, 0.25)
    return Exhibit(
        picture=picture,
        columns=("episode", *(f"{name} {part}" for name in found for part in ("mean", "± 95%"))),
        rows=np.column_stack([x, *(part for v in found.values() for part in (v.mean(0), mean_reach(v)))]).tolist(),
        notes=("the book prints no number here: its figure shows batch TD below batch Monte Carlo throughout",),
    )


ALPHAS = (0.02, *(round(0.05 * i, 2) for i in range(1, 9)), *(round(0.1 * i, 1) for i in range(5, 11)))
"""Step sizes of the figures over nineteen states."""
LAMBDAS = (0.0, 0.4, 0.8, 0.9, 0.95, 0.975, 0.99, 1.0)
HIGHEST = 0.55
"""Where the book cuts its figures off."""
TABLE = Table()
LOOKS = [(colour, dashes) for dashes in ((None, None), (4, 2)) for colour in (*LINES, MUTED, INK)]
"""Colours, then again with dashes."""


def sweep_axes(
    axes: Any,
    found: Mapping[str, Float[np.ndarray, "alphas S"]],
    alphas: Sequence[float],
    noted: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Mean errors over step sizes, one line for each method; what is above the book's range is left out.

    `noted` has the lowest errors that were noted elsewhere: they are marked at our best step sizes.
    """
    for (name, error), (colour, dashes) in zip(found.items(), LOOKS, strict=False):
        mean, reach = error.mean(1), mean_reach(error.T)
        shown = mean <= HIGHEST * 1.02
        x = np.asarray(alphas)[shown]
        axes.plot(x, mean[shown], color=colour, dashes=dashes, label=name, marker="o", markersize=3)
        axes.fill_between(x, (mean - reach)[shown], (mean + reach)[shown], color=colour, alpha=0.2, linewidth=0)
    mark_expected(
        axes, [(alphas[found[name].mean(1).argmin()], value) for name, value in noted.items()], Source.UNSOURCED
    )
    axes.set_xlabel("step size α")
    axes.set_ylabel("RMS error over states, first 10 episodes")
    axes.set_ylim(top=HIGHEST)
    number_axes(axes)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), handlelength=2)


def sweep_rows(found: Mapping[str, Float[np.ndarray, "alphas S"]], alphas: Sequence[float]) -> list[list[float | str]]:
    """The numbers of `sweep_axes`."""
    return [
        [name, alpha, float(one.mean()), float(mean_reach(one[:, None])[0])]
        for name, error in found.items()
        for alpha, one in zip(alphas, error, strict=True)
    ]


def sweep(
    title: str, found: dict[str, Float[np.ndarray, "alphas S"]], alphas: Sequence[float], noted: Mapping[str, float]
) -> Exhibit:
    """Mean errors over step sizes, the lowest beside those noted elsewhere; a grid of steps may miss it by a little."""
    with style():
        figure, (axes,) = panels(7.2, 4.2)
        sweep_axes(axes, found, alphas, noted)
        axes.set_title(title, pad=10)
    return Exhibit(
        picture=figure,
        columns=("method", "α", "mean error", "± 95%"),
        rows=sweep_rows(found, alphas),
        checks=tuple(
            measured(f"{name}, best α", value, found[name][found[name].mean(1).argmin()], 0.006, Source.UNSOURCED)
            for name, value in noted.items()
        ),
    )


def over_n(
    world: str, sizes: Sequence[int], seeds: int, network: Any = TABLE, group: int = 1
) -> dict[str, Float[np.ndarray, "alphas S"]]:
    """The errors of n-step TD for every n and α, those of one n lived side by side."""
    return {
        f"n = {n}": by_episode(TD(network, n=n, discount=1.0), world, seeds, 10, {"step_size": ALPHAS}, group).mean(-1)
        for n in sizes
    }


def n_step(seeds: int, sizes: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)) -> Exhibit:
    """Figure 7.2: n-step TD on nineteen states."""
    found = over_n("random_walk_19", sizes, seeds)
    lowest = {1: 0.345, 2: 0.277, 4: 0.264, 8: 0.277, 16: 0.312}
    noted = {f"n = {n}": error for n, error in lowest.items() if n in sizes}
    return sweep(f"n-step TD on nineteen states: mean of {seeds} seeds", found, ALPHAS, noted)


def over_lambda(
    method: Any, seeds: int, lambdas: Sequence[float], alphas: Sequence[float]
) -> dict[str, Float[np.ndarray, "alphas S"]]:
    """The errors for every λ and α, all lived side by side."""
    pairs = list(product(lambdas, alphas))
    over = {"lambda_": [pair[0] for pair in pairs], "step_size": [pair[1] for pair in pairs]}
    found = by_episode(method, "random_walk_19", seeds, 10, over).mean(-1)
    return dict(zip((f"λ = {x:g}" for x in lambdas), found.reshape(len(lambdas), len(alphas), seeds), strict=True))


def offline_lambda_return(seeds: int) -> Exhibit:
    """Figure 12.3: the off-line λ-return algorithm on nineteen states."""
    # Of a million episodes one or two are longer.
    method, alphas = LambdaReturn(discount=1.0, rollout=1, longest_episode=1024), (0.05, *ALPHAS[2::2])
    found = over_lambda(method, seeds, LAMBDAS, alphas)
    noted = {"λ = 0.8": 0.261}
    return sweep(f"Off-line λ-returns on nineteen states: mean of {seeds} seeds", found, alphas, noted)


def td_lambda(seeds: int) -> Exhibit:
    """Figure 12.6: TD(λ) on nineteen states."""
    found = over_lambda(TDLambda(discount=1.0), seeds, LAMBDAS, ALPHAS)
    noted = {"λ = 0.8": 0.261}
    return sweep(f"TD(λ) on nineteen states: mean of {seeds} seeds", found, ALPHAS, noted)


def true_online(seeds: int) -> Exhibit:
    """Figure 12.8: true online TD(λ), which is the online λ-return algorithm, on nineteen states."""
    found = over_lambda(TrueOnlineTD(discount=1.0), seeds, LAMBDAS, ALPHAS)
    noted = {"λ = 0.8": 0.253}
    return sweep(f"True online TD(λ) on nineteen states: mean of {seeds} seeds", found, ALPHAS, noted)
