"""retorno's side of pixels.py: each work prepares itself and answers with its rate, by seconds of CPU."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from measure import serve

import retorno as rt
from retorno.algorithms.published import settings
from retorno.core.counter import Counter
from retorno.core.environment import Environment
from retorno.core.time_step import TimeStep, restart, transition
from retorno.networks import Activation
from retorno.networks.layers import Precision
from retorno.run.hosted import Rollout
from retorno.run.loop import native_spec

FOREVER = 2**30
STEPS_AN_UPDATE = 25


class Noise(Environment):
    """Screens of Atari's size without a game: what is left of a run's time is the learner's."""

    actions: int = eqx.field(static=True, default=6)

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(0, 255, (84, 84, 1), np.uint8)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.actions)

    def reset(self, key: Any) -> tuple[Any, TimeStep]:
        return (), restart(jax.random.bits(key, (84, 84, 1), jnp.uint8))

    def step(self, state: Any, action: Any, key: Any) -> tuple[Any, TimeStep]:
        return (), transition(jax.random.bits(key, (84, 84, 1), jnp.uint8), 1.0)


def published(name: str, world: str) -> Any:
    found = settings(name, world)
    assert found is not None
    return found.algorithm


def going_on(algorithm: Any, world: Any, steps: int, per_step: float = 1.0) -> Callable[[], float]:
    """A run that is gone on with for at least so many steps each time."""
    training = rt.train(algorithm, world, FOREVER)
    reports = iter(training)

    def measure() -> float:
        before, began = training.step, time.process_time()
        while training.step - before < steps:
            next(reports)
        return int(training.step - before) * per_step / (time.process_time() - began)

    return measure


def nature(compute: Precision = Precision.float32) -> Callable[[], float]:
    """Gradient steps of the Nature paper's DQN."""
    method = published("dqn", "ALE/Pong-v5")
    screens = method.network
    method = replace(
        method,
        network=replace(screens, network=replace(screens.network, compute=compute)),
        capacity=5_000,
        rollout=1,
        gradient_steps=STEPS_AN_UPDATE,
        learning_starts=4,
        target_period=400,
    )
    return going_on(method, Noise(), 2, STEPS_AN_UPDATE)


def bfloat16() -> Callable[[], float]:
    """The same, its layers computed in bfloat16."""
    return nature(Precision.bfloat16)


def dqn() -> Callable[[], float]:
    """Young & Tian's DQN on Breakout, steps of the game, one gradient step each."""
    return going_on(replace(published("dqn", "minatar/breakout"), learning_starts=100), "minatar/breakout", 1_000)


def pqn() -> Callable[[], float]:
    """Gallici et al.'s PQN on Breakout, 128 environments."""
    return going_on(published("pqn", "minatar/breakout"), "minatar/breakout", 8_192)


def gymnax_cnn() -> Callable[[], float]:
    """PPO on Breakout with the settings of PureJaxRL's example, and the network that is published here."""
    return going_on(published("ppo", "minatar/breakout"), "minatar/breakout", 4 * 8_192)


def gymnax_mlp() -> Callable[[], float]:
    """The same with the example's network."""
    network = rt.networks.MLP(hidden=(64, 64), activation=Activation.relu)
    return going_on(replace(published("ppo", "minatar/breakout"), network=network), "minatar/breakout", 4 * 8_192)


def pong_dqn() -> Callable[[], float]:
    """The Nature network on Pong, a gradient step for four actions, as Stable-Baselines3 has it."""
    optimiser = rt.Adam(1e-4, max_gradient_norm=10.0)
    sizes = {"capacity": 5_000, "learning_starts": 100, "target_period": 1_000}
    method = replace(published("dqn", "ALE/Pong-v5"), optimiser=optimiser, **sizes)
    return going_on(method, rt.make("ALE/Pong-v5", preset="mnih"), 200)


def pong_ppo() -> Callable[[], float]:
    """PPO on eight games of Pong, with the settings of the zoo."""
    return going_on(published("ppo", "ALE/Pong-v5"), rt.make("ALE/Pong-v5", preset="mnih"), 1_024)


def two_cores() -> float:
    """How much quicker PPO on Pong would be at most if it acted on one core while it learnt on another.

    That is all that a step takes over the longer of the two: what is acted with would be one update old.
    """
    acting, collect = [0.0], Rollout.collect

    def timed(*given: Any) -> Any:
        began = time.process_time()
        ended = collect(*given)
        acting[0] += time.process_time() - began
        return ended

    measure = pong_ppo()
    measure()
    Rollout.collect, began = timed, time.process_time()
    measure()
    whole = time.process_time() - began
    return whole / max(acting[0], whole - acting[0])


def replay_share() -> float:
    """Bytes of a replay of a million screens over those of the screens."""
    method = published("dqn", "ALE/Pong-v5")
    spec = native_spec(Noise(), Counter.of(1), 1)
    learner = jax.eval_shape(lambda key: method.init(key, spec), jax.random.key(0))
    held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(learner.replay))
    return held / (84 * 84 * method.capacity)


if __name__ == "__main__":
    once = {"replay": replay_share, "two_cores": two_cores}
    if sys.argv[1] in once:
        print(once[sys.argv[1]]())
    else:
        works = (nature, bfloat16, dqn, pqn, pong_dqn, pong_ppo, gymnax_mlp, gymnax_cnn)
        serve({each.__name__: each for each in works})
