"""The same work in Stable-Baselines3 and SBX; run by deep.py with the peers' own Python."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from measure import serve


def _linear(start: float) -> Callable[[float], float]:
    return lambda progress: start * progress


def ppo(steps: int = 10_240) -> Callable[[], float]:
    """PPO with the zoo's settings for CartPole: 8 × 32 steps, 20 epochs, batches of 256."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)  # Faster than two for networks of this size.
    model = PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", 8),
        n_steps=32,
        batch_size=256,
        n_epochs=20,
        gae_lambda=0.8,
        gamma=0.98,
        learning_rate=_linear(1e-3),
        clip_range=_linear(0.2),
        device="cpu",
    )
    return _rate(model, steps)


DQN = dict(
    learning_rate=2.3e-3,
    batch_size=64,
    buffer_size=100_000,
    learning_starts=100,
    gamma=0.99,
    target_update_interval=250,
    train_freq=1,
    gradient_steps=1,
    policy_kwargs=dict(net_arch=[256, 256]),
)


def dqn_sb3(steps: int = 1_500) -> Callable[[], float]:
    """DQN, one gradient step of 64 for each environment step."""
    import torch
    from stable_baselines3 import DQN as Model

    torch.set_num_threads(1)
    return _rate(Model("MlpPolicy", "CartPole-v1", device="cpu", **DQN), steps)


def dqn_sbx(steps: int = 1_500) -> Callable[[], float]:
    """The same in SBX, on JAX."""
    from sbx import DQN as Model

    return _rate(Model("MlpPolicy", "CartPole-v1", **DQN), steps)


def a2c(steps: int = 2_000) -> Callable[[], float]:
    """A2C with the zoo's settings for CartPole: 8 environments, 5 steps."""
    import torch
    from stable_baselines3 import A2C
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    return _rate(A2C("MlpPolicy", make_vec_env("CartPole-v1", 8), device="cpu"), steps)


def qrdqn(steps: int = 600) -> Callable[[], float]:
    """QR-DQN, one gradient step of 64 and 25 quantiles for each environment step."""
    import torch
    from sb3_contrib import QRDQN

    torch.set_num_threads(1)
    policy = dict(net_arch=[256, 256], n_quantiles=25)
    return _rate(QRDQN("MlpPolicy", "CartPole-v1", device="cpu", **{**DQN, "policy_kwargs": policy}), steps)


def recurrent(steps: int = 1_024) -> Callable[[], float]:
    """PPO with an LSTM of 256 units for the policy and one for the value, 8 × 128 steps, 10 epochs of one batch."""
    import torch
    from sb3_contrib import RecurrentPPO
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    settings = dict(n_steps=128, batch_size=1_024, n_epochs=10, policy_kwargs=dict(lstm_hidden_size=256))
    return _rate(RecurrentPPO("MlpLstmPolicy", make_vec_env("CartPole-v1", 8), device="cpu", **settings), steps)


def off_policy(name: str, steps: int = 200) -> Callable[[], float]:
    """One update of 256 a step, networks of 2 × 256."""
    import stable_baselines3
    import torch

    torch.set_num_threads(1)
    settings = dict(learning_starts=100, buffer_size=100_000, policy_kwargs=dict(net_arch=[256, 256]))
    return _rate(getattr(stable_baselines3, name)("MlpPolicy", "Pendulum-v1", device="cpu", **settings), steps)


def _rate(model: object, steps: int) -> Callable[[], float]:
    def measure() -> float:
        began = time.perf_counter()
        model.learn(steps, reset_num_timesteps=False)  # type: ignore[attr-defined]
        return steps / (time.perf_counter() - began)

    return measure


def whole_command() -> None:
    """Train 100,000 steps of PPO on CartPole and evaluate 100 episodes."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    torch.set_num_threads(1)
    env = make_vec_env("CartPole-v1", 8)
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=32,
        batch_size=256,
        n_epochs=20,
        gae_lambda=0.8,
        gamma=0.98,
        learning_rate=_linear(1e-3),
        clip_range=_linear(0.2),
        device="cpu",
    )
    model.learn(100_000)
    print(evaluate_policy(model, env, 100))


if __name__ == "__main__":
    import sys

    if sys.argv[1] == "whole":
        whole_command()
    else:
        serve(
            {
                "ppo": ppo,
                "dqn_sb3": dqn_sb3,
                "dqn_sbx": dqn_sbx,
                "a2c": a2c,
                "qrdqn": qrdqn,
                "recurrent": recurrent,
                "sac": partial(off_policy, "SAC"),
                "td3": partial(off_policy, "TD3"),
            }
        )
