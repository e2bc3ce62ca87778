"""Monte Carlo prediction: blackjack, and importance sampling with and without a finite variance. Chapter 5."""

from __future__ import annotations

import dataclasses
from itertools import cycle, product
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from retorno import bellman
from retorno.algorithms import MonteCarloPrediction, Weighing
from retorno.core.mdp import MDP, mdp
from retorno.core.time_step import Trajectory
from retorno.environments.registry import model
from retorno.environments.sampled_world import sampled
from retorno.figures.exhibit import Check, Exhibit, measured
from retorno.plots.curves import mean_reach, seed_curves
from retorno.plots.style import INK, LINES, log_x_axis, number_axes, panels, style
from retorno.policies import Tabulated, Uniform, tabulated
from retorno.run.loop import Run
from retorno.run.probe import at_episodes, probe

STICK_FROM = 20
CARDS = ("A", *map(str, range(2, 11)))


def sticking(game: MDP) -> Float[np.ndarray, "S A"]:
    """The policy of example 5.1: stick on 20 and 21, else hit."""
    stick = game.action_names.index("stick")
    chances = np.zeros((game.num_states, game.num_actions))
    for state, name in enumerate(game.state_names):
        total = 21 if name.startswith("natural") else int(name.split()[0]) if name[0].isdigit() else 21
        chances[state, stick if total >= STICK_FROM else 1 - stick] = 1
    return chances


def hands(game: MDP, values: Float[np.ndarray, " S"], usable: bool) -> Float[np.ndarray, "sums cards"]:
    """The values of sums 12–21 against each card of the dealer's."""
    kind = "soft" if usable else "hard"
    place = {name: i for i, name in enumerate(game.state_names)}
    return np.array([[values[place[f"{total} {kind}, {card}"]] for card in range(1, 11)] for total in range(12, 22)])


def surfaces(game: MDP, columns: dict[str, Float[np.ndarray, " S"]], title: str) -> Any:
    """Values as colours: usable aces above, others below; one column for each of several tables."""
    with style():
        figure, panes = panels(2.9 * len(columns) + 1, 5.4, 2, len(columns))
        for pane, (usable, (name, values)) in zip(
            panes, ((u, c) for u in (True, False) for c in columns.items()), strict=True
        ):
            shown = pane.imshow(
                hands(game, values, usable),
                origin="lower",
                vmin=-1,
                vmax=1,
                cmap="RdBu",
                extent=(-0.5, 9.5, 11.5, 21.5),
            )
            pane.set_title(f"{name}, {'usable ace' if usable else 'no usable ace'}", fontsize=9.5)
            pane.set_xticks(range(10), CARDS)
            pane.set_yticks(range(12, 22, 3))
            pane.grid(False)
            pane.set_xlabel("dealer shows")
            pane.set_ylabel("sum")
        figure.colorbar(shown, ax=panes.tolist(), label="value", shrink=0.6)
        figure.suptitle(title, fontsize=10.5, x=0.01, ha="left")
    return figure


def table(run: Run, trajectory: Trajectory) -> dict[str, Array]:
    """Looks at the values, and at how many episodes have ended."""
    return {"value": run.learner.network.tables["value"][:, 0], "episodes": run.scores.episodes}


def blackjack(seeds: int) -> Exhibit:
    """Figure 5.1: the value of sticking on 20 and 21 alone, from episodes."""
    game = model("blackjack")
    chances = sticking(game)
    method = MonteCarloPrediction(
        discount=1.0, target=tabulated(chances), first_visit=True, longest_episode=12, rollout=128
    )
    seen = probe(method, sampled(game), 10_400, table, seeds=range(seeds), every=200)
    few, many = (np.abs(seen["episodes"][0] - n).argmin() for n in (10_000, 500_000))
    exact = bellman.evaluate(game, chances[game.pair_state, game.action], 1.0).value
    learnt = seen["value"]
    episodes = seen["episodes"].mean(0)
    columns = {
        f"{episodes[few]:,.0f} episodes": learnt[0, few],
        f"{episodes[many]:,.0f} episodes": learnt[0, many],
        "exact": exact,
    }
    start = learnt[:, -1] @ game.initial
    rows = [
        [name, *map(float, (learnt[0, few, i], learnt[0, many, i], exact[i]))]
        for i, name in enumerate(game.state_names)
    ]
    return Exhibit(
        picture=surfaces(game, columns, "Blackjack, sticking on 20 and 21: one seed"),
        columns=("state", *columns),
        rows=rows,
        checks=(measured("value of the game under this policy (exact)", float(exact @ game.initial), start),),
    )


def weighing(seeds: int) -> Exhibit:
    """Figure 5.3: ordinary and weighted importance sampling of one state of blackjack, with random play."""
    game, episodes = model("blackjack"), 10_000
    chances = sticking(game)
    state = game.state_names.index("13 soft, 2")
    alone = dataclasses.replace(game, initial=np.eye(game.num_states)[state])
    exact = float(bellman.evaluate(game, chances[game.pair_state, game.action], 1.0).value[state])
    usual = MonteCarloPrediction(
        discount=1.0, target=tabulated(chances), behaviour=Uniform(), rollout=1, longest_episode=10, first_visit=True
    )

    def look(run: Run, trajectory: Trajectory) -> dict[str, Array]:
        value = run.learner.network.tables["value"][state, 0]
        return {"value": value, "last": trajectory.steps.last[1, 0]}

    found = {}
    for way in Weighing:
        seen = probe(dataclasses.replace(usual, weighing=way), sampled(alone), 29_000, look, seeds=range(seeds))
        found[way.value] = at_episodes(seen["value"], seen["last"], episodes)
    x = np.unique(np.geomspace(1, episodes, 200).astype(int))
    squared = {f"{name} importance sampling": (v[:, x - 1] - exact) ** 2 for name, v in found.items()}
    picture = seed_curves(
        x,
        squared,
        xlabel="episodes",
        ylabel="mean square error",
        title=f"One state of blackjack off-policy: mean of {seeds} seeds",
        log_x=True,
    )
    # The book's range: the first ordinary estimates lie far above it.
    picture.axes[0].set_ylim(0, 5)
    return Exhibit(
        picture=picture,
        columns=("episode", *(f"{name} {part}" for name in squared for part in ("mean square error", "± 95%"))),
        rows=np.column_stack([x, *(p for v in squared.values() for p in (v.mean(0), mean_reach(v)))]).tolist(),
        checks=(
            Check("exact value", -0.27720, exact, 0.0, 5e-6),
            *(measured(f"{name}, after 10,000 episodes", exact, values[:, -1]) for name, values in found.items()),
        ),
    )


def looping() -> MDP:
    """Example 5.5: `left` comes back with probability .9 and else ends with 1; `right` ends with nothing."""
    return mdp({"s": {"left": [(0.9, "s", 0.0), (0.1, "end", 1.0)], "right": [(1.0, "end", 0.0)]}}, initial="s")


def infinite_variance(seeds: int) -> Exhibit:
    """Figure 5.4: ordinary importance sampling whose variance is infinite: it does not settle on 1."""
    method = MonteCarloPrediction(
        discount=1.0,
        target=Tabulated(((1.0, 0.0),)),
        behaviour=Uniform(),
        first_visit=True,
        rollout=128,
        longest_episode=32,
    )

    def look(run: Run, trajectory: Trajectory) -> dict[str, Array]:
        return {"value": run.learner.network.tables["value"][0, 0], "episodes": jnp.float32(run.scores.episodes)}

    seen = probe(method, sampled(looping()), 8_000, look, seeds=range(seeds))
    x = seen["episodes"].mean(0)
    picked = np.unique(np.geomspace(1, len(x), 600).astype(int)) - 1
    values = seen["value"][:, picked]
    weighted = dataclasses.replace(method, weighing=Weighing.weighted)
    steady = probe(weighted, sampled(looping()), 200, look, seeds=range(seeds))["value"][:, -1]
    with style():
        figure, (axes,) = panels(7.2, 3.8)
        for one, (colour, dashes) in zip(values, cycle(product(LINES, ((None, None), (4, 2)))), strict=False):
            axes.plot(x[picked], one, color=colour, dashes=dashes, linewidth=1.2)
        axes.axhline(1, color=INK, linewidth=1, dashes=(5, 3), label="the value, which weighted estimates have at once")
        axes.set_title(f"Ordinary importance sampling of infinite variance: {seeds} seeds, a line each", pad=10)
        axes.set_xlabel("episodes")
        axes.set_ylabel("estimate")
        axes.set_ylim(bottom=0)
        number_axes(axes)
        log_x_axis(axes)
        axes.legend(loc="upper right")
    return Exhibit(
        picture=figure,
        columns=("episodes", *(f"seed {i}" for i in range(seeds))),
        rows=np.column_stack([x[picked], values.T]).tolist(),
        checks=(Check("weighted importance sampling, any seed", 1.0, float(steady.mean()), 0.0, 1e-6),),
        notes=("no check of the ordinary estimates: their variance is infinite, so a standard error says nothing",),
    )
