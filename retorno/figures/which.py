"""Which deep algorithm to take: what steps and what seconds buy, on four worlds. See docs/actor-critic.md.

Each with the settings that are published for the world, where there are any, and its own where not; but actors and
critics that replay have two layers of 64 units, where papers take 256 or 400. Steps are what counts where a world is
dear, as a robot is; seconds where it is cheap, as a game is: an algorithm that replays what was lived takes a tenth of
the steps and many times as long for each.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from retorno.algorithms import ALGORITHMS
from retorno.algorithms.published import settings
from retorno.environments.registry import make
from retorno.figures.exhibit import Exhibit
from retorno.networks.returns import Categorical
from retorno.plots.curves import seed_rows
from retorno.run.evaluate import evaluate
from retorno.run.train import train

POINTS = 10
"""At which a run is judged."""
EPISODES = 20
SMALL = (64, 64)
"""Layers of all actors and critics that replay."""
ROLLOUTS = ("reinforce", "a2c", "ppo", "trpo", "impala", "es")
"""They learn from what they have just lived, and forget it."""
VALUES = ("dqn", "rainbow", "c51", "qrdqn", "iqn", "pqn")
"""They replay what was lived long ago, but for PQN."""
CRITICS = ("ddpg", "td3", "sac", "tqc", "crossq", "droq")
"""They replay too, and act by real numbers."""
WORLDS = {
    "CartPole-v1": ROLLOUTS + VALUES,
    "Acrobot-v1": ROLLOUTS + VALUES,
    "Pendulum-v1": ROLLOUTS + CRITICS,
    "MountainCarContinuous-v0": ROLLOUTS + CRITICS,
}
STEPS = dict.fromkeys(ROLLOUTS, 200_000) | {"pqn": 200_000} | dict.fromkeys(CRITICS, 20_000) | {"droq": 4_000}
"""Where no budget is published; and of critics always."""
RELATIVES = ("rainbow", "c51", "iqn")
PACE = ("num_envs", "rollout", "gradient_steps", "batch_size", "capacity", "learning_starts", "target_period")
PACE += ("optimiser", "discount")
"""What is published of DQN in a world says of its relatives too, how often and how fast they learn."""
PAID = {"CartPole-v1": (0.0, 100.0), "Acrobot-v1": (-100.0, 0.0)}
"""Between which numbers discounted returns lie: where the atoms of a categorical distribution stand."""


class Bought(NamedTuple):
    """What one algorithm learns in a world, at each of K points."""

    steps: Float[np.ndarray, " K"]
    seconds: Float[np.ndarray, " K"]
    """Of the processor, of one seed, without compiling and judging."""
    returns: Float[np.ndarray, "S K"]
    """Of S seeds' greedy policies."""


def which(seeds: int) -> Exhibit:
    """Return over steps, and over seconds."""
    found = {world: {name: bought(name, world, seeds) for name in names} for world, names in WORLDS.items()}
    figure = seed_rows(
        {
            axis: {
                world: {name: (getattr(each, axis), each.returns) for name, each in of_world.items()}
                for world, of_world in found.items()
            }
            for axis in ("steps", "seconds")
        },
        ylabel="return",
        log_x=True,
        extremes=True,
    )
    rows = [
        (world, name, int(steps), round(float(seconds), 3), *(float(of(paid)) for of in (np.mean, np.min, np.max)))
        for world, of_world in found.items()
        for name, each in of_world.items()
        for steps, seconds, paid in zip(each.steps, each.seconds, each.returns.T, strict=True)
    ]
    note = f"{seeds} seeds, greedy, {EPISODES} episodes each: their mean, and from the worst to the best"
    spent = "seconds of the processor, of one seed, compiled before"
    columns = ("world", "algorithm", "steps", "seconds", "return", "worst", "best")
    return Exhibit(figure, columns, rows, notes=(note, spent))


def bought(name: str, world: str, seeds: int) -> Bought:
    """Train all seeds at once, and judge them after each part of the budget."""
    (algorithm, steps), made, told = _asked(name, world), make(world), []
    run = {"seed": range(seeds), "every": steps // POINTS}
    with train(algorithm, made, steps, **run) as compiled:
        next(iter(compiled))
    with train(algorithm, made, steps, **run) as training:
        spent, began = 0.0, time.process_time()
        for report in training:
            if report.boundary:
                spent += time.process_time() - began
                returns = evaluate(training.policies, made, EPISODES).returns.mean(1)
                told.append((report.step, spent / seeds, returns))
                began = time.process_time()
    reached, seconds, returns = zip(*told, strict=True)
    return Bought(np.array(reached), np.array(seconds), np.stack(returns, 1))


def _asked(name: str, world: str) -> tuple[Any, int]:
    """The algorithm, and how many steps it is given."""
    if name in RELATIVES:
        like, own = settings("dqn", world), {} if name == "iqn" else {"returns": Categorical(support=PAID[world])}
        assert like is not None
        own |= {part: getattr(like.algorithm, part) for part in PACE}
        return dataclasses.replace(ALGORITHMS[name](), **own), like.steps
    published = settings(name, world)
    algorithm: Any = published.algorithm if published else ALGORITHMS[name]()
    if name in CRITICS:
        networks = {part: getattr(algorithm, part) for part in ("network", "critic_network")}
        small = {part: dataclasses.replace(made, hidden=SMALL) for part, made in networks.items() if made is not None}
        return dataclasses.replace(algorithm, **small), STEPS[name]
    return algorithm, published.steps if published else STEPS[name]
