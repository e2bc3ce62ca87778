"""MinAtar's Breakout learnt from pixels: a film of training, and what the network sees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from retorno.algorithms.published import settings
from retorno.core.environment import Environment, advance, begin
from retorno.core.policy import Policy
from retorno.environments.pixels.minatar import MinAtar
from retorno.environments.registry import make
from retorno.environments.wrappers import TimeLimit
from retorno.figures.exhibit import Exhibit
from retorno.plots.pixels import convolved, hidden, on_a_plane, saliency
from retorno.plots.style import number
from retorno.run.evaluate import evaluate
from retorno.run.train import train

WORLD = "minatar/breakout"
STEPS = 400_000
SHARES = (0.0, 0.1, 0.5, 1.0)
MOMENTS = (0, 20, 40, 60, 80, 100)
"""Which rows of the game are shown."""
ROWS = 200
"""How many of them are lived."""
EPISODES = 50
SEED = 4


@dataclass(frozen=True)
class Seen:
    """One game by one policy."""

    obs: np.ndarray
    """[ROWS, 10, 10, C]"""
    pictures: list[np.ndarray]
    """At `MOMENTS`, as far as the game went."""


def played(policy: Policy, world: TimeLimit) -> Seen:
    """The game that begins from `SEED`; where it ends, the next one goes on, of which no picture is shown."""
    seed, env, game = jnp.uint32(SEED), jnp.uint32(0), world.world
    assert isinstance(game, MinAtar)

    def step(state: Any, _: Any) -> Any:
        standing, row = state
        heads, _carry = policy.step(row.obs, row.first, ())
        after = advance(world, standing, row, jnp.argmax(heads["q"]), seed, env)
        return after, (row.obs, standing.state, standing.episode.low)

    _, (obs, states, episode) = jax.jit(partial(jax.lax.scan, step, length=ROWS))(begin(world, seed, env), None)
    last = int((np.asarray(episode) == 0).sum()) - 1
    shown = [at for at in MOMENTS if at < last] + [last] * (last < MOMENTS[-1])
    at = [jax.tree.map(lambda x, t=t: np.asarray(x[t]), states) for t in shown]
    return Seen(np.asarray(obs), [world.render(each) for each in at])


def learnt(steps: int = STEPS, seed: int = 0) -> tuple[Environment, list[tuple[int, Policy, float]]]:
    """The world; and at each of `SHARES` of a run its steps, its policy, and what that is paid."""
    world, published = make(WORLD), settings("pqn", WORLD)
    assert isinstance(world, Environment) and published is not None
    kept: list[tuple[int, Policy, float]] = []

    def keep(step: int, policy: Policy) -> None:
        kept.append((step, policy, float(evaluate(policy, world, EPISODES).mean)))

    with train(published.algorithm, world, steps, seed=seed) as training:
        keep(0, training.policy)
        for report in training:
            if len(kept) < len(SHARES) - 1 and report.step >= SHARES[len(kept)] * steps:
                keep(int(report.step), training.policy)
        keep(int(training.step), training.policy)
    return world, kept


def film(seeds: int) -> Exhibit:
    """The same game at 0, 10, 50 and 100% of a run; the kernels, saliency and last hidden layer in the end."""
    world, kept = learnt()
    assert isinstance(world, TimeLimit)
    games = [played(policy, world) for _, policy, _ in kept]
    figure = Figure((7.2, 7.6), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(5, 2.4))
    above, below = parts
    axes = above.subplots(len(kept), len(MOMENTS))
    for row, ((step, _, score), game) in enumerate(zip(kept, games, strict=True)):
        for column, place in enumerate(axes[row]):
            place.set_axis_off()
            if column < len(game.pictures):
                place.imshow(game.pictures[column])
                over = column == len(game.pictures) - 1 and column < len(MOMENTS) - 1
                place.set_title("over" if over else f"step {MOMENTS[column]}", fontsize=7)
        axes[row][0].text(
            -0.12, 0.5, f"{step:,} steps\nmean {number(score, 3)}", transform=axes[row][0].transAxes,
            ha="right", va="center", fontsize=8,
        )  # fmt: skip
    policy, lived = kept[-1][1], games[-1].obs
    _what_it_sees(below, policy, lived)
    rows = [(step, score) for step, _, score in kept]
    return Exhibit(figure, ("step", "mean_return"), rows, notes=(f"one seed, {EPISODES} episodes each",))


def _what_it_sees(below: Any, policy: Policy, lived: np.ndarray) -> None:
    kernels, change, plane = below.subplots(1, 3)
    weights = np.asarray(convolved(policy).convolutions[0].kernel)[:, :, 1]
    size, count = weights.shape[0], weights.shape[-1]
    wide = int(np.ceil(np.sqrt(count)))
    tiles = np.full((wide * (size + 1), wide * (size + 1)), np.nan)
    for k in range(count):
        top, left = divmod(k, wide)
        tiles[top * (size + 1) :][:size, left * (size + 1) :][:, :size] = weights[..., k]
    most = np.nanmax(abs(tiles))
    kernels.imshow(tiles, cmap="RdBu", vmin=-most, vmax=most)
    kernels.set_title("first layer: the ball's plane", fontsize=8)
    middle = lived[len(lived) // 3]
    change.imshow(middle.any(-1), cmap="Greys", alpha=0.35)
    change.imshow(saliency(policy, middle), cmap="magma", alpha=0.75)
    change.set_title("what the best value hangs on", fontsize=8)
    for place in (kernels, change):
        place.set_xticks([])
        place.set_yticks([])
    values = np.asarray(jax.lax.map(lambda o: policy.step(o, jnp.array(True), ())[0]["q"].max(), jnp.asarray(lived)))
    x, y = on_a_plane(hidden(policy, lived)).T
    dots = plane.scatter(x, y, c=values, s=7, cmap="viridis")
    below.colorbar(dots, ax=plane).set_label("value", fontsize=8)
    plane.set_title("last hidden layer, two components", fontsize=8)
    plane.set_xticks([])
    plane.set_yticks([])
