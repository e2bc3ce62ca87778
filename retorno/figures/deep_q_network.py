"""What the deep Q-network's parts are worth, on MinAtar's Breakout. Mnih et al. 2015, extended data table 3.

The paper leaves out the replay, the target network and both, on five games of Atari for ten million frames; here it is
a game of 10×10 cells and a network of one convolution, for minutes. The third part is the clipping of rewards, which
lets one step size serve games that pay 1 and games that pay 100: here one game pays either.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import equinox as eqx
import numpy as np
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.algorithms import DQN
from retorno.core.environment import Environment
from retorno.core.time_step import TimeStep
from retorno.environments.registry import make
from retorno.environments.wrappers import Wrapper
from retorno.figures.exhibit import Exhibit
from retorno.networks import CNN
from retorno.ops.optimisers import Adam
from retorno.plots.curves import mean_reach, seed_panels
from retorno.run.evaluate import evaluate
from retorno.run.train import train

WORLD = "minatar/breakout"
LONGEST = 1_000
"""Steps after which a game is cut: a policy that keeps the ball for ever would be watched for long."""
STEPS = 60_000
POINTS = 6
"""At which a run is judged."""
EPISODES = 20
PAYS = 100.0
"""What a brick pays in the other game."""
WHOLE = DQN(
    network=CNN(hidden=(64,), orthogonal=False),
    optimiser=Adam(5e-4),
    num_envs=8,
    rollout=2,
    gradient_steps=4,
    capacity=50_000,
    learning_starts=2_000,
    target_period=2_000,
    exploration_fraction=0.3,
    double=False,
    average=None,
)
NO_REPLAY = {"capacity": WHOLE.num_envs * WHOLE.rollout, "learning_starts": 0}
"""Nothing but the newest transitions is learnt from."""
NO_TARGET = {"target_period": 1}
"""The target is the network itself."""


class Paying(Wrapper):
    """The same world, whose rewards are larger."""

    factor: float = eqx.field(static=True)

    def step(self, state: PyTree[Array], action: PyTree[Array], key: Key[Array, ""]) -> tuple[PyTree[Array], TimeStep]:
        after, row = self.world.step(state, action, key)
        return after, row._replace(reward=row.reward * self.factor)


def learnt(seeds: int, pays: float = 1.0, **changed: Any) -> Float[np.ndarray, "S K"]:
    """The bricks that each seed's greedy policy breaks in a game, after each part of its budget."""
    world = make(WORLD, max_episode_steps=LONGEST)
    assert isinstance(world, Environment)
    world = Paying(world, pays)
    with train(replace(WHOLE, **changed), world, STEPS, seed=range(seeds), every=STEPS // POINTS) as training:
        judged = [evaluate(training.policies, world, EPISODES).returns for told in training if told.boundary]
    return np.stack(judged).mean(-1).T / pays


def parts(seeds: int) -> Exhibit:
    """Without a target network, a replay, or both; and where a brick pays 100, with rewards clipped or not."""
    whole = learnt(seeds)
    left_out = {
        "all parts": whole,
        "no target network": learnt(seeds, **NO_TARGET),
        "no replay": learnt(seeds, **NO_REPLAY),
        "neither": learnt(seeds, **NO_TARGET, **NO_REPLAY),
    }
    # Clipped, these rewards are those of the game that pays 1: it is the same run.
    paid = {"all parts": whole, "rewards not clipped": learnt(seeds, PAYS)}
    steps = np.arange(1, POINTS + 1) * STEPS // POINTS
    figure = seed_panels(
        {"a brick pays 1": (steps, left_out), f"a brick pays {PAYS:.0f}": (steps, paid)},
        xlabel="steps",
        ylabel="bricks broken in a game",
    )
    for axes in figure.axes:
        axes.set_ylim(bottom=0)
    rows = [
        (name, int(step), float(values[:, k].mean()), float(mean_reach(values)[k]))
        for name, values in (left_out | paid).items()
        for k, step in enumerate(steps)
    ]
    return Exhibit(
        figure,
        ("what", "steps", "bricks", "reach"),
        rows,
        notes=(f"greedy, {EPISODES} games of at most {LONGEST:,} steps each; bands are 95% intervals over seeds",),
    )
