"""Settings with which an algorithm is known to learn a world, and where they come from.

"zoo": RL Baselines3 Zoo's tuned hyperparameters (commit 22e3ff2, April 2026; those of TRPO, BipedalWalker and
MountainCarContinuous as they stood in its files a year or two before), in retorno's terms: a batch size becomes a
number of minibatches, and what is not said, as the value's weight, the network and the optimiser, is a default of
Stable-Baselines3. Its policies of a pendulum act within ±2, ours within ±1: a spread is half of theirs.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

from retorno.algorithms import (
    A2C,
    DQN,
    ES,
    IMPALA,
    PPO,
    PQN,
    R2D2,
    REINFORCE,
    SAC,
    SARSA,
    TD3,
    TQC,
    TRPO,
    AlphaZero,
    BootstrappedDQN,
    MuZero,
    QLearning,
)
from retorno.core.policy import Algorithm
from retorno.networks import CNN, GRU, LSTM, MLP, Activation, BoxPolicy, Stack
from retorno.networks.ensembles import Truncated
from retorno.networks.returns import Categorical, ImplicitQuantiles, QuantileRegression
from retorno.ops.optimisers import Adam, AdamW, RAdam, RMSprop, Schedule
from retorno.policies import Epsilon
from retorno.replay import Hindsight, Proportional, Sparse
from retorno.search import Gumbel


class Published(NamedTuple):
    """Settings for one algorithm on one world."""

    algorithm: Algorithm
    steps: int
    """The published budget of environment steps."""
    source: str
    relabel: str | None = None
    """By what rewards are changed for learning, by its name; None for nothing."""


_ZOO = "RL Baselines3 Zoo"
_CLIFF = "Sutton & Barto 2018, example 6.6, for longer"
_WIDE = MLP(hidden=(256, 256), activation=Activation.relu, orthogonal=False)
_FALLING = dataclasses.replace(PPO().optimiser, learning_rate=1e-3, schedule=Schedule.linear)
_LANDER = PPO(
    num_envs=16, rollout=1024, epochs=4, minibatches=256, discount=0.999, lambda_=0.98, entropy_coefficient=0.01
)

_EVERY_FOURTH = DQN(
    network=_WIDE,
    optimiser=Adam(6.3e-4, max_gradient_norm=10.0),
    batch_size=128,
    capacity=50_000,
    learning_starts=0,
    target_period=250,
    rollout=4,
    gradient_steps=4,
    exploration_fraction=0.12,
    epsilon_end=0.1,
    double=False,
)
_LANDING = dataclasses.replace(
    _EVERY_FOURTH,
    network=dataclasses.replace(_WIDE, layer_norm=True),
    optimiser=Adam(6.3e-4, Schedule.linear, max_gradient_norm=10.0),
    n=3,
    double=True,
)
"""With the zoo's own two seeds of ten end at −250: their values grow past all that can be got while they are learnt."""
_LANDS = f"{_ZOO}'s DQN, with double, returns of three steps, layers normalised and a step size that falls"
_POLE_BY_VALUES = DQN(
    network=_WIDE,
    optimiser=Adam(2.3e-3, max_gradient_norm=10.0),
    batch_size=64,
    capacity=100_000,
    learning_starts=1_000,
    target_period=10,
    rollout=256,
    gradient_steps=128,
    exploration_fraction=0.16,
    epsilon_end=0.04,
    double=False,
)
_STEADY = dataclasses.replace(
    _POLE_BY_VALUES, optimiser=Adam(1e-3, Schedule.linear, max_gradient_norm=10.0), n=3, double=True
)
_UPHILL = DQN(
    network=_WIDE,
    optimiser=Adam(4e-3, max_gradient_norm=10.0),
    batch_size=128,
    capacity=10_000,
    learning_starts=1_000,
    target_period=600,
    rollout=16,
    gradient_steps=8,
    discount=0.98,
    exploration_fraction=0.2,
    epsilon_end=0.07,
    double=False,
    # It gets better until the end: averaged weights lag behind (docs/results.md).
    average=None,
)
_UPHILL_STEADY = dataclasses.replace(
    _UPHILL, optimiser=Adam(4e-3, Schedule.linear, max_gradient_norm=10.0), n=3, double=True
)
_CLIMBS = f"{_ZOO}'s, with double, returns of three steps and a step size that falls"


def _by_quantiles(settings: DQN, quantiles: int) -> DQN:
    """The same by quantile regression: sb3-contrib's clips no gradient, and its ε of Adam goes with the batch."""
    plain = settings.optimiser
    optimiser = Adam(plain.learning_rate, plain.schedule, eps=0.01 / settings.batch_size)
    return dataclasses.replace(settings, returns=QuantileRegression(quantiles), optimiser=optimiser)


_MEMORY = PPO(
    num_envs=32,
    rollout=64,
    epochs=4,
    minibatches=4,
    lambda_=1.0,
    optimiser=_FALLING,
    entropy_coefficient=0.05,
    anneal_entropy=True,
    network=GRU(),
)
_WRITING = dataclasses.replace(
    _MEMORY, discount=1.0, optimiser=dataclasses.replace(_FALLING, learning_rate=3e-4), entropy_coefficient=0.1
)

_POLE = PPO(
    num_envs=8,
    rollout=32,
    epochs=20,
    minibatches=1,
    discount=0.98,
    lambda_=0.8,
    optimiser=_FALLING,
    anneal_clip=True,
)
_VEILED = PPO(
    network=GRU(),
    num_envs=16,
    rollout=64,
    minibatches=4,
    optimiser=_FALLING,
    anneal_clip=True,
    normalise_observations=True,
    normalise_rewards=True,
)
"""The zoo's, 256 rows of 8 lives that are learnt twenty times over with a discount of .98, lose the balance and find it
again until the step size is nothing: at 8 of 20 times in a run no episode fell (seed 104), with these at 19."""

_A2C_NORMALISED = A2C(num_envs=16, normalise_observations=True, normalise_rewards=True)

_BOARD = AlphaZero(
    network=MLP(hidden=(256, 256), activation=Activation.relu, shared=True),
    search=Gumbel(simulations=16),
    gradient_steps=64,
    optimiser=AdamW(2e-3, Schedule.linear, max_gradient_norm=5.0, weight_decay=1e-4),
    lambda_=1.0,
    drawn_moves=0,
    openings=8,
)

# Up to 36 of its 42 moves at random: with 8 the network sees too few kinds of positions (docs/self-play.md).
_FOUR = dataclasses.replace(_BOARD, search=Gumbel(), rollout=32, capacity=200_000, openings=36)
# Every line of four lies under a kernel of 4×4: from equally many positions it learns what takes an MLP twice as many.
_LINES_OF_FOUR = CNN(channels=(128, 32), sizes=(4, 1), strides=(1, 1), hidden=(256,))

_LANDER_NETWORK = MLP(hidden=(400, 300), activation=Activation.relu, orthogonal=False)
_MUJOCO = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5")

_RUNNER = PPO(num_envs=1, rollout=2048, minibatches=32, normalise_observations=True, normalise_rewards=True)
"""Stable-Baselines3's own settings, with both normalised."""
_WIDE_RUNNER = dataclasses.replace(_RUNNER, network=_WIDE, rollout=512, initial_log_std=-2.0)
_RUNNERS = {
    "HalfCheetah-v5": dataclasses.replace(
        _WIDE_RUNNER,
        epochs=20,
        minibatches=8,
        discount=0.98,
        lambda_=0.92,
        clip=0.1,
        optimiser=Adam(2.0633e-5, max_gradient_norm=0.8, eps=1e-5),
        value_coefficient=0.58096,
        entropy_coefficient=0.000401762,
    ),
    "Hopper-v5": dataclasses.replace(
        _WIDE_RUNNER,
        epochs=5,
        minibatches=16,
        discount=0.999,
        lambda_=0.99,
        optimiser=Adam(9.80828e-5, max_gradient_norm=0.7, eps=1e-5),
        value_coefficient=0.835671,
        entropy_coefficient=0.00229519,
    ),
    "Walker2d-v5": dataclasses.replace(
        _RUNNER,
        rollout=512,
        epochs=20,
        minibatches=16,
        clip=0.1,
        optimiser=Adam(5.05041e-5, max_gradient_norm=1.0, eps=1e-5),
        value_coefficient=0.871923,
        entropy_coefficient=0.000585045,
    ),
    "Ant-v5": _RUNNER,
}
# Held for a rollout, as theirs is, it costs a pendulum 45 of its return (six seeds).
_ANEW = f"{_ZOO}'s, with noise drawn anew at each step"
_A2C_SMOOTH = A2C(
    num_envs=8,
    rollout=8,
    network=MLP(orthogonal=False),
    box=BoxPolicy.state_dependent,
    discount=0.9,
    lambda_=0.9,
    value_coefficient=0.4,
    optimiser=dataclasses.replace(A2C().optimiser, schedule=Schedule.linear),
    normalise_observations=True,
    normalise_rewards=True,
)
_A2C_BY_CAR = A2C(
    num_envs=4,
    rollout=100,
    network=MLP(orthogonal=False),
    box=BoxPolicy.state_dependent,
    initial_log_std=0.0,
    noise_period=16,
    # With a step size that stays two of sixteen seeds end below 85, with one that falls none below 91.
    optimiser=dataclasses.replace(A2C().optimiser, schedule=Schedule.linear),
    normalise_observations=True,
    normalise_rewards=True,
)
# With the zoo's own (one environment, rollouts of 8, σ = e^−3.29) the car stands still at the end of three of twelve
# seeds, two of which had been on the hill. With the noise that its A2C has all twelve are above 92.
_BY_CAR = PPO(
    num_envs=4,
    rollout=128,
    minibatches=8,
    network=MLP(orthogonal=False),
    box=BoxPolicy.state_dependent,
    initial_log_std=0.0,
    noise_period=16,
    optimiser=_FALLING,
    normalise_observations=True,
    normalise_rewards=True,
)
# Theirs cuts the rollouts of a few environments into pieces, ours learns from whole ones of more.
_IN_PIECES = f"{_ZOO}'s, from as many pieces of a rollout, its layer before the memory"
_BY_CAR_FROM_MEMORY = PPO(
    num_envs=32,
    rollout=256,
    minibatches=32,
    network=LSTM(32, orthogonal=False),
    box=BoxPolicy.state_dependent,
    initial_log_std=0.0,
    noise_period=8,
    discount=0.9999,
    lambda_=0.9,
    clip=0.1,
    optimiser=Adam(7.77e-5, max_gradient_norm=5.0, eps=1e-5),
    entropy_coefficient=0.00429,
    value_coefficient=0.19,
    normalise_observations=True,
    normalise_rewards=True,
)
_SWING_FROM_MEMORY = PPO(
    num_envs=32,
    rollout=128,
    minibatches=32,
    network=LSTM(activation=Activation.relu, orthogonal=False),
    box=BoxPolicy.state_dependent,
    initial_log_std=-math.log(2),
    noise_period=4,
    discount=0.9,
    # With one that stays, five seeds of ten ended between −232 and −454.
    optimiser=Adam(1e-3, Schedule.linear, max_gradient_norm=0.5, eps=1e-5),
    normalise_observations=True,
    normalise_rewards=True,
)

_TRUSTED = TRPO(num_envs=2, rollout=1024, critic_epochs=10, critic_minibatches=16, optimiser=Adam(1e-3, eps=1e-5))
"""sb3-contrib's own settings but for the rollout: each of the critic's steps learns from 128 transitions."""
_TRUSTED_NORMALISED = dataclasses.replace(_TRUSTED, normalise_observations=True, normalise_rewards=True)

_SOFT_BY_CAR: dict[str, Any] = {
    "network": MLP((64, 64), Activation.relu, orthogonal=False),
    "rollout": 32,
    "gradient_steps": 32,
    "batch_size": 512,
    "capacity": 50_000,
    "learning_starts": 0,
    "target_step": 0.01,
    "discount": 0.9999,
    "temperature": 0.1,
    "automatic": False,
    "state_dependent": True,
    "initial_log_std": -3.67,
    "noise_period": 32,
}
_SOFT_LANDER: dict[str, Any] = {
    "network": _LANDER_NETWORK,
    "optimiser": Adam(7.3e-4, Schedule.linear),
    "target_step": 0.01,
    "learning_starts": 10_000,
}
_SOFT_WALKER: dict[str, Any] = {
    "network": _LANDER_NETWORK,
    "optimiser": Adam(7.3e-4),
    "rollout": 64,
    "gradient_steps": 64,
    "capacity": 300_000,
    "target_step": 0.02,
    "discount": 0.98,
    "learning_starts": 10_000,
    "state_dependent": True,
    "initial_log_std": -3.0,
    "noise_period": 64,
}
_TD3_LANDER = TD3(discount=0.98, capacity=200_000, learning_starts=10_000)
_TWO_CRITICS = Truncated(members=2)
"""As sb3-contrib's are; five in the paper."""

_MINATAR = tuple(f"minatar/{game}" for game in ("asterix", "breakout", "freeway", "seaquest", "space_invaders"))
_YOUNG = DQN(
    network=CNN(orthogonal=False),
    # PyTorch adds .01 to the root of the variance; under the root that is about .0001.
    optimiser=RMSprop(2.5e-4, decay=0.95, eps=1e-4, momentum=0.95),
    rollout=1,
    learning_starts=5_000,
    epsilon_end=0.1,
    exploration_fraction=0.02,
    double=False,
    average=None,
)
"""Young & Tian 2019, their examples/dqn.py."""
_PARALLEL = PQN(
    network=CNN(layer_norm=True),
    at_once=32,
    num_envs=128,
    rollout=32,
    epochs=2,
    minibatches=32,
    lambda_=0.65,
    exploration_fraction=0.1,
    optimiser=RAdam(5e-4, Schedule.linear, max_gradient_norm=10.0),
)
_CLIPPED = PPO(
    network=CNN(),
    at_once=32,
    num_envs=64,
    rollout=128,
    epochs=4,
    minibatches=8,
    optimiser=Adam(5e-3, Schedule.linear, max_gradient_norm=0.5, eps=1e-5),
    entropy_coefficient=0.01,
)

_SCREENS = Stack(frames=4, network=CNN(orthogonal=False))
_NATURE = DQN(
    network=_SCREENS,
    optimiser=RMSprop(2.5e-4),
    capacity=1_000_000,
    learning_starts=50_000,
    # Each 10,000 gradient steps, of which there is one for each four actions.
    target_period=40_000,
    epsilon_end=0.1,
    exploration_fraction=0.02,
    double=False,
    average=None,
)
"""Mnih et al. 2015, extended data table 1."""
_ADAM = dataclasses.replace(_NATURE, optimiser=Adam(2.5e-4, eps=0.01 / 32), epsilon_end=0.01)
_SCREEN_ACTOR = Stack(frames=4, network=CNN())
ATARI = "ALE/*"
"""Any game of the Arcade Learning Environment."""
_FRAMES = 50_000_000
"""Agent steps, of four frames each."""
_CLIP = "clip_rewards"

PUBLISHED: dict[tuple[str, str], Published] = {
    **{("dqn", world): Published(_YOUNG, 5_000_000, "Young & Tian 2019") for world in _MINATAR},
    **{("pqn", world): Published(_PARALLEL, 10_000_000, "Gallici et al. 2025") for world in _MINATAR},
    **{("ppo", world): Published(_CLIPPED, 10_000_000, "PureJaxRL (Lu et al. 2022)") for world in _MINATAR},
    ("dqn", ATARI): Published(_NATURE, _FRAMES, "Mnih et al. 2015", _CLIP),
    ("c51", ATARI): Published(
        dataclasses.replace(_ADAM, returns=Categorical()), _FRAMES, "Bellemare, Dabney & Munos 2017", _CLIP
    ),
    ("qrdqn", ATARI): Published(
        dataclasses.replace(_ADAM, returns=QuantileRegression(), optimiser=Adam(5e-5, eps=0.01 / 32)),
        _FRAMES,
        "Dabney, Rowland, Bellemare & Munos 2018",
        _CLIP,
    ),
    ("iqn", ATARI): Published(
        dataclasses.replace(_ADAM, returns=ImplicitQuantiles(), optimiser=Adam(5e-5, eps=0.01 / 32)),
        _FRAMES,
        "Dabney, Ostrovski, Silver & Munos 2018",
        _CLIP,
    ),
    ("rainbow", ATARI): Published(
        dataclasses.replace(
            _NATURE,
            network=Stack(frames=4, network=CNN(hidden=(), orthogonal=False)),
            returns=Categorical(),
            duelling=512,
            noisy=True,
            n=3,
            replay=Proportional(alpha=0.5),
            double=True,
            epsilon=0.0,
            epsilon_end=0.0,
            learning_starts=20_000,
            target_period=8_000,
            optimiser=Adam(6.25e-5, eps=1.5e-4),
        ),
        _FRAMES,
        "Hessel et al. 2018",
        _CLIP,
    ),
    ("ppo", ATARI): Published(
        PPO(
            network=_SCREEN_ACTOR,
            at_once=64,
            num_envs=8,
            rollout=128,
            epochs=4,
            minibatches=4,
            clip=0.1,
            anneal_clip=True,
            entropy_coefficient=0.01,
            optimiser=Adam(2.5e-4, Schedule.linear, max_gradient_norm=0.5, eps=1e-5),
        ),
        10_000_000,
        _ZOO,
        _CLIP,
    ),
    ("a2c", ATARI): Published(
        A2C(
            network=_SCREEN_ACTOR,
            num_envs=16,
            entropy_coefficient=0.01,
            value_coefficient=0.25,
            optimiser=dataclasses.replace(A2C().optimiser, eps_under_root=True),
        ),
        10_000_000,
        _ZOO,
        _CLIP,
    ),
    ("pqn", ATARI): Published(
        dataclasses.replace(
            _PARALLEL,
            network=Stack(frames=4, network=CNN(layer_norm=True)),
            at_once=64,
            optimiser=RAdam(2.5e-4, max_gradient_norm=10.0),
            epsilon_end=0.001,
        ),
        _FRAMES,
        "Gallici et al. 2025",
        _CLIP,
    ),
    ("ppo", "CartPole-v1"): Published(_POLE, 100_000, _ZOO),
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
        PPO(
            num_envs=4,
            rollout=512,
            epochs=15,
            minibatches=32,
            discount=0.95,
            lambda_=0.95,
            optimiser=_FALLING,
            normalise_rewards=True,
        ),
        100_000,
        "retorno",
    ),
    **{("ppo", world): Published(runner, 1_000_000, f"{_ZOO}'s for -v4") for world, runner in _RUNNERS.items()},
    ("ppo", "MountainCarContinuous-v0"): Published(_BY_CAR, 20_000, f"retorno, its noise as in {_ZOO}'s for A2C"),
    ("ppo", "BipedalWalker-v3"): Published(
        PPO(
            num_envs=32,
            rollout=2048,
            minibatches=1024,
            discount=0.999,
            clip=0.18,
            normalise_observations=True,
            normalise_rewards=True,
        ),
        5_000_000,
        _ZOO,
    ),
    ("ppo", "PendulumNoVel-v1"): Published(_SWING_FROM_MEMORY, 100_000, f"{_IN_PIECES}, and a step size that falls"),
    ("ppo", "MountainCarContinuousNoVel-v0"): Published(_BY_CAR_FROM_MEMORY, 300_000, _IN_PIECES),
    ("ppo", "CartPoleNoVel-v1"): Published(_VEILED, 200_000, "retorno"),
    ("ppo", "recall"): Published(_MEMORY, 200_000, "retorno"),
    ("ppo", "tokens"): Published(_WRITING, 300_000, "retorno"),
    ("a2c", "CartPole-v1"): Published(A2C(num_envs=8), 500_000, _ZOO),
    ("a2c", "Acrobot-v1"): Published(_A2C_NORMALISED, 500_000, _ZOO),
    ("a2c", "MountainCar-v0"): Published(_A2C_NORMALISED, 1_000_000, _ZOO),
    ("a2c", "LunarLander-v3"): Published(
        A2C(
            num_envs=8,
            discount=0.995,
            entropy_coefficient=1e-5,
            optimiser=dataclasses.replace(A2C().optimiser, learning_rate=8.3e-4, schedule=Schedule.linear),
        ),
        200_000,
        _ZOO,
    ),
    ("a2c", "Pendulum-v1"): Published(_A2C_SMOOTH, 1_000_000, _ANEW),
    ("a2c", "LunarLanderContinuous-v3"): Published(
        dataclasses.replace(_A2C_SMOOTH, num_envs=4, discount=0.99), 5_000_000, _ANEW
    ),
    ("a2c", "MountainCarContinuous-v0"): Published(_A2C_BY_CAR, 100_000, f"{_ZOO}'s, with a step size that falls"),
    ("a2c", "BipedalWalker-v3"): Published(
        dataclasses.replace(
            _A2C_SMOOTH,
            num_envs=16,
            discount=0.99,
            optimiser=dataclasses.replace(_A2C_SMOOTH.optimiser, learning_rate=9.6e-4),
        ),
        5_000_000,
        _ANEW,
    ),
    **{
        ("a2c", world): Published(dataclasses.replace(_A2C_NORMALISED, num_envs=1), 1_000_000, f"{_ZOO}'s for -v4")
        for world in _MUJOCO
    },
    ("dqn", "CartPole-v1"): Published(
        _STEADY, 50_000, f"{_ZOO}'s, with double, returns of three steps and a smaller step size that falls"
    ),
    ("dqn", "CartPoleNoVel-v1"): Published(
        dataclasses.replace(_STEADY, network=Stack(frames=2, difference=50.0, network=_WIDE)),
        50_000,
        f"{_ZOO}'s for CartPole, with velocities from two frames, returns of three steps and a step size that falls",
    ),
    ("r2d2", "CartPoleNoVel-v1"): Published(
        R2D2(
            network=GRU(32, (32,)),
            optimiser=Adam(1e-3, Schedule.linear, max_gradient_norm=10.0),
            rollout=32,
            gradient_steps=8,
            length=16,
            burn_in=8,
            n=3,
            target_period=500,
        ),
        150_000,
        "retorno",
    ),
    ("dqn", "bit_flip"): Published(
        DQN(
            network=MLP(hidden=(128,), activation=Activation.relu, orthogonal=False),
            optimiser=Adam(1e-3, max_gradient_norm=10.0),
            replay=Hindsight(reward=Sparse(terminates=True)),
            num_envs=8,
            batch_size=64,
            capacity=50_000,
            learning_starts=500,
            target_period=500,
            rollout=10,
            gradient_steps=20,
            discount=0.98,
            exploration_fraction=0.5,
            epsilon_end=0.1,
        ),
        20_000,
        "Andrychowicz et al. 2017, section 3.1, with a smaller network",
    ),
    ("dqn", "Acrobot-v1"): Published(_EVERY_FOURTH, 100_000, _ZOO),
    ("dqn", "MountainCar-v0"): Published(_UPHILL_STEADY, 120_000, _CLIMBS),
    ("dqn", "LunarLander-v3"): Published(_LANDING, 100_000, _LANDS),
    ("qrdqn", "CartPole-v1"): Published(_by_quantiles(_POLE_BY_VALUES, 10), 50_000, _ZOO),
    ("qrdqn", "Acrobot-v1"): Published(_by_quantiles(_EVERY_FOURTH, 25), 100_000, _ZOO),
    ("qrdqn", "MountainCar-v0"): Published(_by_quantiles(_UPHILL_STEADY, 25), 120_000, _CLIMBS),
    ("qrdqn", "LunarLander-v3"): Published(_by_quantiles(_LANDING, 50), 100_000, _LANDS),
    # 81 weights: of the 4,500 of two layers of 64 the noise of 64 pairs says little (−1,278 after 2 million steps).
    ("es", "Pendulum-v1"): Published(
        ES(network=MLP(hidden=(16,)), num_envs=32, rollout=400, optimiser=Adam(0.05)), 10_000_000, "retorno"
    ),
    ("pqn", "CartPole-v1"): Published(PQN(), 200_000, "retorno"),
    ("impala", "CartPole-v1"): Published(
        # With rollouts of 20 and a step size that stays, twenty seeds got 400 after 200,000 steps, the worst 146.
        IMPALA(rollout=5, optimiser=_FALLING),
        500_000,
        "retorno",
    ),
    ("sac", "Pendulum-v1"): Published(SAC(optimiser=Adam(1e-3)), 20_000, _ZOO),
    ("sac", "MountainCarContinuous-v0"): Published(SAC(**_SOFT_BY_CAR), 50_000, _ZOO),
    ("sac", "LunarLanderContinuous-v3"): Published(SAC(**_SOFT_LANDER), 500_000, _ZOO),
    ("sac", "BipedalWalker-v3"): Published(SAC(**_SOFT_WALKER), 500_000, _ZOO),
    **{("sac", world): Published(SAC(learning_starts=10_000), 1_000_000, f"{_ZOO}'s for -v4") for world in _MUJOCO},
    ("td3", "Pendulum-v1"): Published(_TD3_LANDER, 20_000, _ZOO),
    # Its process of Ornstein and Uhlenbeck has θ = .15, σ = .5 and a step of .01: .05 a step, of which .9985 stays.
    ("td3", "MountainCarContinuous-v0"): Published(TD3(noise=0.05, noise_kept=0.9985), 300_000, _ZOO),
    ("td3", "LunarLanderContinuous-v3"): Published(_TD3_LANDER, 300_000, _ZOO),
    ("td3", "BipedalWalker-v3"): Published(_TD3_LANDER, 1_000_000, _ZOO),
    **{("td3", world): Published(TD3(learning_starts=10_000), 1_000_000, f"{_ZOO}'s for -v4") for world in _MUJOCO},
    ("tqc", "Pendulum-v1"): Published(
        TQC(ensemble=_TWO_CRITICS, optimiser=Adam(1e-3)), 20_000, f"{_ZOO}'s for SAC, two critics as for other worlds"
    ),
    ("tqc", "MountainCarContinuous-v0"): Published(TQC(ensemble=_TWO_CRITICS, **_SOFT_BY_CAR), 50_000, _ZOO),
    ("tqc", "LunarLanderContinuous-v3"): Published(TQC(ensemble=_TWO_CRITICS, **_SOFT_LANDER), 500_000, _ZOO),
    ("tqc", "BipedalWalker-v3"): Published(TQC(ensemble=_TWO_CRITICS, **_SOFT_WALKER), 500_000, _ZOO),
    ("trpo", "CartPole-v1"): Published(
        # With a trust region that stays ten seeds that all held the pole at 60,000 steps got 403 to 500 at the end.
        TRPO(rollout=128, critic_minibatches=2, damping=1e-3, lambda_=0.98, anneal_trust=True),
        100_000,
        f"{_ZOO}'s, with 8 environments and a trust region that falls",
    ),
    ("trpo", "Acrobot-v1"): Published(TRPO(normalise_observations=True, normalise_rewards=True), 100_000, "retorno"),
    ("trpo", "MountainCar-v0"): Published(dataclasses.replace(_TRUSTED_NORMALISED, critic_epochs=20), 100_000, _ZOO),
    ("trpo", "MountainCarContinuous-v0"): Published(
        dataclasses.replace(
            _TRUSTED_NORMALISED,
            rollout=2048,
            critic_minibatches=32,
            box=BoxPolicy.state_dependent,
            initial_log_std=0.0,
            # Theirs is held for 4, with which one seed of ten does not find the hill.
            noise_period=16,
        ),
        50_000,
        f"{_ZOO}'s, with noise held for 16 steps",
    ),
    ("trpo", "Pendulum-v1"): Published(
        dataclasses.replace(
            _TRUSTED,
            discount=0.9,
            critic_epochs=15,
            box=BoxPolicy.state_dependent,
            initial_log_std=-math.log(2),
            noise_period=4,
        ),
        100_000,
        _ZOO,
    ),
    ("trpo", "LunarLander-v3"): Published(
        # With their two environments, and nothing normalised, one seed got −126; with half as long rollouts ten got 72.
        dataclasses.replace(
            _TRUSTED_NORMALISED,
            num_envs=8,
            rollout=256,
            critic_epochs=15,
            critic_minibatches=8,
            damping=0.01,
            lambda_=0.98,
        ),
        200_000,
        f"{_ZOO}'s, normalised, with 8 environments",
    ),
    # sb3-contrib takes the mean of the KL over an action's components, not their sum: its .01 is .01 of each.
    ("trpo", "LunarLanderContinuous-v3"): Published(
        dataclasses.replace(_TRUSTED_NORMALISED, num_envs=8, rollout=256, critic_epochs=20, trust=0.02, damping=0.2),
        200_000,
        f"{_ZOO}'s, with 8 environments",
    ),
    ("trpo", "BipedalWalker-v3"): Published(
        dataclasses.replace(_TRUSTED_NORMALISED, critic_epochs=20, conjugate_steps=25, trust=0.04, damping=0.4),
        1_000_000,
        _ZOO,
    ),
    # The baseline takes one step in 1,024 interactions and is half of the returns to the end: unless advantages are
    # standardised all that is done is praised. With a step size that stays one of ten seeds was at 330 after 475,000.
    ("reinforce", "CartPole-v1"): Published(
        REINFORCE(normalise_advantages=True, optimiser=Adam(1e-3, Schedule.linear, max_gradient_norm=0.5)),
        500_000,
        "retorno",
    ),
    # What is not known yet has to look as good as the treasure: with priors of a third it is found twice as late.
    ("bootstrapped_dqn", "deep_sea"): Published(BootstrappedDQN(prior_scale=10.0), 40_000, "retorno, for 20 rows"),
    ("alpha_zero", "tic_tac_toe_for_two"): Published(_BOARD, 150_000, "retorno"),
    ("alpha_zero", "connect_four"): Published(
        dataclasses.replace(_FOUR, network=_LINES_OF_FOUR, capacity=500_000), 500_000, "retorno"
    ),
    ("alpha_zero", "hex"): Published(dataclasses.replace(_FOUR, openings=16), 300_000, "retorno, for 5×5"),
    ("alpha_zero", "othello"): Published(dataclasses.replace(_FOUR, openings=28), 100_000, "retorno, for 6×6"),
    # Of all rows most are those of poor players, whose values are learnt with the others': the newest are kept, learnt
    # from for longer. Steps that do not fall leave a pole that stood to fall again.
    ("mu_zero", "CartPole-v1"): Published(
        MuZero(
            rollout=64,
            gradient_steps=96,
            capacity=8192,
            lambda_=1.0,
            optimiser=dataclasses.replace(MuZero().optimiser, schedule=Schedule.linear),
        ),
        100_000,
        "retorno",
    ),
    ("q_learning", "cliff"): Published(QLearning(step_size=0.5, discount=1.0), 100_000, _CLIFF),
    ("sarsa", "cliff"): Published(SARSA(step_size=0.1, step_size_end=0.0, discount=1.0), 1_000_000, "retorno"),
    **{
        ("q_learning", world): Published(
            QLearning(step_size=0.2, step_size_end=0.0, exploration=Epsilon(0.5), discount=discount),
            1_000_000,
            "retorno",
        )
        for world, discount in [("student", 1.0), ("FrozenLake-v1", 0.99)]
    },
    **{
        ("sarsa", world): Published(
            SARSA(step_size=0.2, step_size_end=0.0, exploration=Epsilon(0.1), discount=discount), 1_000_000, "retorno"
        )
        for world, discount in [("student", 1.0), ("FrozenLake-v1", 0.99)]
    },
}
"""By (algorithm, world)."""


def family(world: str) -> str:
    """What settings for many worlds are published for, which a world is one of.

    >>> family("ALE/Pong-v5")
    'ALE/*'
    """
    return ATARI if world.startswith("ALE/") else world


def settings(algorithm: str, world: str) -> Published | None:
    """The published settings of an algorithm on a world, if there are any."""
    return PUBLISHED.get((algorithm, world), PUBLISHED.get((algorithm, family(world))))
