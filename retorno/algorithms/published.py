"""Settings with which an algorithm is known to learn a world, and where they come from.

"zoo": RL Baselines3 Zoo's tuned hyperparameters (commit 22e3ff2, April 2026), in retorno's terms: a
batch size becomes a number of minibatches, and the value's weight, network and optimiser are
Stable-Baselines3's defaults.
"""

from __future__ import annotations

from typing import NamedTuple

from retorno.algorithms import DQN, PPO, SARSA, QLearning
from retorno.core.policy import Algorithm
from retorno.networks import MLP, Activation


class Published(NamedTuple):
    """Settings for one algorithm on one world."""

    algorithm: Algorithm
    steps: int
    """The published budget of environment steps."""
    source: str


_ZOO = "RL Baselines3 Zoo"
_WIDE = MLP(hidden=(256, 256), activation=Activation.relu, orthogonal=False)
_LANDER = PPO(
    num_envs=16, rollout=1024, epochs=4, minibatches=256, discount=0.999, lambda_=0.98, entropy_coefficient=0.01
)

PUBLISHED: dict[tuple[str, str], Published] = {
    ("ppo", "CartPole-v1"): Published(
        PPO(
            num_envs=8,
            rollout=32,
            epochs=20,
            minibatches=1,
            discount=0.98,
            lambda_=0.8,
            learning_rate=1e-3,
            anneal_learning_rate=True,
            anneal_clip=True,
        ),
        100_000,
        _ZOO,
    ),
    ("ppo", "Acrobot-v1"): Published(
        PPO(
            num_envs=16,
            rollout=256,
            epochs=4,
            minibatches=64,
            discount=0.99,
            lambda_=0.94,
            normalise_observations=True,
            normalise_rewards=True,
        ),
        1_000_000,
        _ZOO,
    ),
    ("ppo", "MountainCar-v0"): Published(
        PPO(
            num_envs=16,
            rollout=16,
            epochs=4,
            minibatches=4,
            discount=0.99,
            lambda_=0.98,
            normalise_observations=True,
            normalise_rewards=True,
        ),
        1_000_000,
        _ZOO,
    ),
    ("ppo", "LunarLander-v3"): Published(_LANDER, 1_000_000, _ZOO),
    ("ppo", "LunarLanderContinuous-v3"): Published(_LANDER, 1_000_000, _ZOO),
    ("ppo", "Pendulum-v1"): Published(
        PPO(num_envs=4, rollout=1024, epochs=10, minibatches=64, discount=0.9, lambda_=0.95, learning_rate=1e-3),
        100_000,
        f"{_ZOO}, without state-dependent exploration",
    ),
    ("dqn", "CartPole-v1"): Published(
        DQN(
            network=_WIDE,
            learning_rate=2.3e-3,
            batch_size=64,
            capacity=100_000,
            learning_starts=1_000,
            target_period=10,
            rollout=256,
            gradient_steps=128,
            exploration=0.16,
            epsilon_end=0.04,
            double=False,
        ),
        50_000,
        _ZOO,
    ),
    ("dqn", "Acrobot-v1"): Published(
        DQN(
            network=_WIDE,
            learning_rate=6.3e-4,
            batch_size=128,
            capacity=50_000,
            learning_starts=0,
            target_period=250,
            rollout=4,
            gradient_steps=4,
            exploration=0.12,
            epsilon_end=0.1,
            double=False,
        ),
        100_000,
        _ZOO,
    ),
    ("dqn", "MountainCar-v0"): Published(
        DQN(
            network=_WIDE,
            learning_rate=4e-3,
            batch_size=128,
            capacity=10_000,
            learning_starts=1_000,
            target_period=600,
            rollout=16,
            gradient_steps=8,
            discount=0.98,
            exploration=0.2,
            epsilon_end=0.07,
            double=False,
        ),
        120_000,
        _ZOO,
    ),
    ("dqn", "LunarLander-v3"): Published(
        DQN(
            network=_WIDE,
            learning_rate=6.3e-4,
            batch_size=128,
            capacity=50_000,
            learning_starts=0,
            target_period=250,
            rollout=4,
            gradient_steps=4,
            exploration=0.12,
            epsilon_end=0.1,
            double=False,
        ),
        100_000,
        _ZOO,
    ),
    ("q_learning", "cliff"): Published(
        QLearning(step_size=0.5, epsilon=0.1, discount=1.0), 10_000, "Sutton & Barto 2018, example 6.6"
    ),
    ("sarsa", "cliff"): Published(
        SARSA(step_size=0.5, epsilon=0.1, discount=1.0), 10_000, "Sutton & Barto 2018, example 6.6"
    ),
}
"""By (algorithm, world)."""


def settings(algorithm: str, world: str) -> Published | None:
    """The published settings of an algorithm on a world, if there are any."""
    return PUBLISHED.get((algorithm, world))
