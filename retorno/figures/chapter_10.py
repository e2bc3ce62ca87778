"""On-policy control with approximation: the mountain car by tile coding, and the average reward of a queue."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from retorno.algorithms import SARSA, DifferentialSARSA, NStepSARSA
from retorno.bellman.average import average_reward, evaluate_average
from retorno.core.mdp import MDP
from retorno.core.time_step import Trajectory
from retorno.environments.control.classic import MountainCar
from retorno.environments.sampled_world import sampled
from retorno.environments.textbook.access_control import PAYMENTS, access_control
from retorno.figures.exhibit import Exhibit, Source, measured
from retorno.networks.linear import TileCoding
from retorno.plots.curves import mean_reach, seed_curves
from retorno.plots.style import LINES, mark_expected, number, number_axes, panels, style
from retorno.policies import Epsilon
from retorno.run.loop import Run
from retorno.run.probe import by_episode, probe

TILINGS = 8
SETTINGS: dict[str, Any] = {
    "network": TileCoding(tiles=8, tilings=TILINGS),
    "discount": 1.0,
    "exploration": Epsilon(0.0),
}
"""Greedy: values that begin at 0 are optimistic where every step costs 1. Sutton & Barto 2018, example 10.1."""
GRID = 50


def hill() -> Float[np.ndarray, "G G 2"]:
    """Positions and velocities, on a grid of cells' midpoints."""
    place, speed = ((np.arange(GRID) + 0.5) / GRID * (high - low) + low for low, high in ((-1.2, 0.5), (-0.07, 0.07)))
    return np.stack(np.meshgrid(place, speed), -1).astype(np.float32)


def cost_to_go(run: Run, trajectory: Trajectory) -> tuple[Array, Array]:
    """−max q over the hill, and how many episodes have ended."""
    value = lambda obs: -run.learner.network.step(obs, jnp.array(False), ())[0]["q"].max()  # noqa: E731
    return jax.vmap(jax.vmap(value))(jnp.asarray(hill())), run.scores.episodes


def mountain_car_values(seeds: int) -> Exhibit:
    """Figure 10.1: what the rest of the way is thought to cost, after so many episodes."""
    method, world = SARSA(step_size=0.3 / TILINGS, **SETTINGS), MountainCar()
    early, _ = probe(method, world, 428, cost_to_go, seeds=range(seeds), every=428)
    shown = {"step 428": early[:, -1]}
    for steps, every, wanted in ((6_000, 100, (12,)), (200_000, 2_000, (104, 1000))):
        costs, episodes = probe(method, world, steps, cost_to_go, seeds=range(seeds), every=every)
        for episode in wanted:
            point = (episodes < episode).sum(1)
            shown[f"episode {episode:,}"] = costs[np.arange(seeds), np.minimum(point, costs.shape[1] - 1)]
    with style():
        figure, panes = panels(9.6, 2.9, 1, len(shown))
        for pane, (name, cost) in zip(panes, shown.items(), strict=True):
            mean = cost.mean(0)
            drawn = pane.imshow(mean, origin="lower", extent=(-1.2, 0.5, -0.07, 0.07), aspect="auto", cmap="cividis")
            pane.set_title(f"{name}: up to {mean.max():.0f}", fontsize=9.5)
            pane.set_xlabel("position")
            pane.grid(visible=False)
            figure.colorbar(drawn, ax=pane, orientation="horizontal", aspect=18, label="steps to go")
        panes[0].set_ylabel("velocity")
        for pane in panes[1:]:
            pane.set_yticklabels([])
    cells = hill().reshape(-1, 2)
    bottom = int((np.abs(cells - [-0.52, 0.0]) / [1.7, 0.14]).sum(1).argmin())
    costs = [cost.mean(0).reshape(-1) for cost in shown.values()]
    return Exhibit(
        picture=figure,
        columns=("position", "velocity", *shown),
        rows=np.column_stack([cells, *costs]).round(4).tolist(),
        notes=(
            f"mean of {seeds} seeds, Sarsa with α = .3/8 and no exploration; the bottom of the valley is thought to "
            f"cost {costs[-1][bottom]:.0f} steps after episode 1,000",
        ),
    )


def ends(run: Run, trajectory: Trajectory) -> dict[str, Array]:
    """Whether an interaction was a step, and whether it ended an episode."""
    return {"counts": trajectory.transitions[0, 0], "last": trajectory.steps.last[1, 0]}


def lengths(seen: dict[str, Bool[np.ndarray, "S K"]], episodes: int) -> Float[np.ndarray, "S E"]:
    """Steps of each of the first episodes."""
    return by_episode(seen["counts"].astype(float), seen["last"], episodes)


def mountain_car_learning(seeds: int) -> Exhibit:
    """Figure 10.2: steps an episode, for three step sizes."""
    found = {}
    for alpha, updates in ((0.1, 130_000), (0.2, 110_000), (0.5, 90_000)):
        method = SARSA(step_size=alpha / TILINGS, **SETTINGS)
        found[f"α = {alpha:g}/8"] = lengths(probe(method, MountainCar(), updates, ends, seeds=range(seeds)), 500)
    return _learning(found, f"Mountain car: Sarsa over 8 tilings, mean of {seeds} seeds")


def mountain_car_n_steps(seeds: int) -> Exhibit:
    """Figure 10.3: one step and eight."""
    found = {}
    for n, alpha in ((1, 0.5), (8, 0.3)):
        method = NStepSARSA(n=n, step_size=alpha / TILINGS, **SETTINGS)
        seen = probe(method, MountainCar(), 90_000, ends, seeds=range(seeds))
        found[f"n = {n}, α = {alpha:g}/8"] = lengths(seen, 500)
    return _learning(found, f"Mountain car: n-step Sarsa, mean of {seeds} seeds")


def _learning(found: dict[str, Float[np.ndarray, "S E"]], title: str) -> Exhibit:
    x = np.arange(1, 501)
    figure = seed_curves(x, found, xlabel="episode", ylabel="steps an episode", title=title)
    axes = figure.axes[0]
    axes.set_yscale("log")
    ticks = [tick for tick in (100, 200, 400, 1000, 2000) if tick < axes.get_ylim()[1]]
    axes.set_yticks(ticks, [number(tick) for tick in ticks])
    axes.minorticks_off()
    return Exhibit(
        picture=figure,
        columns=("episode", *(f"{name} {part}" for name in found for part in ("steps", "± 95%"))),
        rows=np.column_stack([x, *(p for v in found.values() for p in (v.mean(0), mean_reach(v)))]).tolist(),
        notes=tuple(
            f"{name}: {values[:, :50].mean():.1f} steps an episode in the first 50, {values[:, -100:].mean():.1f} in "
            "the last 100"
            for name, values in found.items()
        ),
    )


BEST = 220
"""The least number of steps an episode, as far as it can be read off the book's figure."""
INTERACTIONS = 18_000
"""At most, for 50 episodes: a mean of 360 steps, beyond the picture's edge."""


def mountain_car_sweep(seeds: int) -> Exhibit:
    """Figure 10.4: n and α, by the first 50 episodes."""
    steps = {
        1: (0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6),
        2: (0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5),
        4: (0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.2),
        8: (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9),
        16: (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6),
    }
    found, spread = {}, {}
    for n, alphas in steps.items():
        seen = probe(
            NStepSARSA(n=n, **SETTINGS),
            MountainCar(),
            INTERACTIONS,
            ends,
            seeds=range(seeds),
            over={"step_size": [alpha / TILINGS for alpha in alphas]},
        )
        taken = np.minimum(np.cumsum(seen["last"], -1), 50)
        within = seen["counts"] & (np.cumsum(seen["last"], -1) - seen["last"] < 50)
        means = within.sum(-1) / np.maximum(taken[..., -1], 1)
        found[n], spread[n] = means, mean_reach(means.T)
    with style():
        figure, (axes,) = panels(7.2, 4.2)
        for (n, means), colour in zip(found.items(), LINES, strict=False):
            axes.errorbar(steps[n], means.mean(1), spread[n], color=colour, capsize=2.5, label=f"n = {n}")
        mark_expected(axes, [(steps[4][int(found[4].mean(1).argmin())], BEST)], Source.FIGURE)
        axes.set_ylim(210, 300)
        axes.set_xlabel("step size α × tilings (8)")
        axes.set_ylabel("steps an episode, first 50")
        axes.set_title(f"Mountain car: n-step Sarsa, mean of {seeds} seeds", pad=10)
        number_axes(axes)
        axes.legend(loc="upper right")
    best = found[4][int(found[4].mean(1).argmin())]
    return Exhibit(
        picture=figure,
        columns=("n", "α · 8", "steps", "± 95%"),
        rows=[
            (n, alpha, float(mean), float(reach))
            for n in steps
            for alpha, mean, reach in zip(steps[n], found[n].mean(1), spread[n], strict=True)
        ],
        checks=(measured("n = 4, the best step size (read off)", BEST, best, 8.0, Source.FIGURE),),
        notes=("a run that has not finished 50 episodes after 18,000 steps counts with those that it has finished",),
    )


def average_and_values(run: Run, trajectory: Trajectory) -> tuple[Array, Array]:
    """R̄ and the table."""
    return run.learner.average, run.learner.network.tables["q"]


def access(seeds: int) -> Exhibit:
    """Figure 10.5: which customers to serve, by differential Sarsa, beside the exact answer."""
    model, epsilon = access_control(), 0.1
    method = DifferentialSARSA(step_size=0.01, average_step_size=0.01, exploration=Epsilon(epsilon))
    average, q = probe(method, sampled(model), 2_000_000, average_and_values, seeds=range(seeds), every=20_000)
    best = average_reward(model)
    q, late = q[:, -1], average[:, -50:].mean(1)
    gains, own = zip(*(_gains(model, table, epsilon) for table in q), strict=True)
    with style():
        figure, panes = panels(9.6, 3.3, 1, 2)
        free = np.arange(11)
        learnt = np.array([[_accepts(model, q.mean(0), n, pays) for n in range(11)] for pays in PAYMENTS])
        exact = np.array([[_optimal(model, best.optimal, n, pays) for n in range(11)] for pays in PAYMENTS])
        panes[0].imshow(learnt, origin="lower", cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for row, column in np.argwhere(learnt != exact):
            panes[0].text(column, row, "×", ha="center", va="center", color="#d55e00", fontsize=13)
        panes[0].set_yticks(range(4), [str(pays) for pays in PAYMENTS])
        panes[0].set_xlabel("free servers")
        panes[0].set_ylabel("the customer pays")
        panes[0].set_title("accept (light) or reject (dark); ×: not the optimum", fontsize=9.5)
        panes[0].grid(visible=False)
        values = np.where(model.legal, q.mean(0), -np.inf).max(1)
        # Differential values are known up to a constant: the exact ones are put where those of the states visited are.
        exact_values = best.bias + best.stationary @ (values - best.bias)
        for pays, colour in zip(PAYMENTS, LINES, strict=False):
            states = [model.state(f"{n} free, pays {pays}") for n in free]
            panes[1].plot(free, values[states], color=colour, marker="o", markersize=3.5, label=f"pays {pays}")
            panes[1].plot(free, exact_values[states], color=colour, dashes=(2, 2), linewidth=1)
        panes[1].set_ylabel("differential value")
        panes[1].set_title("the best action's; dotted: exact (8 to 10 are rarely free)", fontsize=9.5)
        panes[1].set_xlabel("free servers")
        panes[1].legend(ncols=2)
    return Exhibit(
        picture=figure,
        columns=("seed", "R̄ at the end", "gain of its ε-greedy policy, exact", "gain of its greedy policy, exact"),
        rows=[(seed, float(late[seed]), own[seed], gains[seed]) for seed in range(seeds)],
        checks=(
            measured("R̄, against the exact gain of what is done", float(np.mean(own)), late, 0.03),
            measured("gain of the greedy policy, exact; the best", float(best.start_gain), gains, 0.03),
        ),
        notes=(f"the mean of {seeds} seeds; R̄ is that of the policy with ε = .1, so below 2.74764",),
    )


def _gains(model: MDP, q: Float[np.ndarray, "S A"], epsilon: float) -> tuple[float, float]:
    """What a table's greedy and its ε-greedy policy earn a step, exactly."""
    values = q[model.pair_state, model.action]
    best = values == np.maximum.reduceat(values, model.state_ptr[:-1])[model.pair_state]
    share = lambda x: x / np.bincount(model.pair_state, x)[model.pair_state]  # noqa: E731
    greedy = share(best.astype(float))
    soft = (1 - epsilon) * greedy + epsilon * share(np.ones(model.num_pairs))
    return evaluate_average(model, greedy).start_gain, evaluate_average(model, soft).start_gain


def _accepts(model: MDP, q: Float[np.ndarray, "S A"], free: int, pays: int) -> bool:
    accept, reject = (model.action_names.index(name) for name in ("accept", "reject"))
    state = model.state(f"{free} free, pays {pays}")
    return bool(free and q[state, accept] > q[state, reject])


def _optimal(model: MDP, optimal: Bool[np.ndarray, " P"], free: int, pays: int) -> bool:
    state = model.state(f"{free} free, pays {pays}")
    pairs = range(model.state_ptr[state], model.state_ptr[state + 1])
    return any(optimal[p] and model.action_names[model.action[p]] == "accept" for p in pairs)
