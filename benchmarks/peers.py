"""The same work in Stable-Baselines3 and SBX; run by deep.py with the peers' own Python."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

from measure import clock, serve


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


CROSSQ = dict(net_arch=dict(pi=[256, 256], qf=[1024, 1024]))
DROQ = dict(net_arch=[256, 256], dropout_rate=0.01, layer_norm=True)
TWENTY = dict(gradient_steps=20, policy_delay=20)


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


def off_policy(
    library: str, name: str, world: str = "Pendulum-v1", steps: int = 200, policy: Any = None, **settings: Any
) -> Callable[[], float]:
    """One update of 256 a step, or as many as are set; networks of 2 × 256, or the library's own."""
    given = dict(learning_starts=10, buffer_size=100_000, policy_kwargs=policy or dict(net_arch=[256, 256]))
    if library == "stable_baselines3":
        import torch

        torch.set_num_threads(1)
        settings["device"] = "cpu"
    return _rate(getattr(importlib.import_module(library), name)("MlpPolicy", world, **given, **settings), steps)


def ppo_of_bodies(steps: int = 2_048) -> Callable[[], float]:
    """PPO on 16 HalfCheetahs × 128 steps, 10 epochs in batches of 64."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    model = PPO("MlpPolicy", make_vec_env("HalfCheetah-v5", 16), n_steps=128, n_epochs=10, batch_size=64, device="cpu")
    return _rate(model, steps)


def _rate(model: object, steps: int) -> Callable[[], float]:
    def measure() -> float:
        began = clock()
        model.learn(steps, reset_num_timesteps=False)  # type: ignore[attr-defined]
        return steps / (clock() - began)

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
                "sac": partial(off_policy, "stable_baselines3", "SAC"),
                "td3": partial(off_policy, "stable_baselines3", "TD3"),
                "sac_sbx": partial(off_policy, "sbx", "SAC"),
                "td3_sbx": partial(off_policy, "sbx", "TD3"),
                "tqc_sbx": partial(off_policy, "sbx", "TQC"),
                "crossq_sbx": partial(off_policy, "sbx", "CrossQ", policy=CROSSQ),
                "droq_sbx": partial(
                    off_policy, "sbx", "SAC", steps=40, policy=DROQ, gradient_steps=20, policy_delay=20
                ),
                "sac_body": partial(off_policy, "stable_baselines3", "SAC", "HalfCheetah-v5"),
                "sac_body_sbx": partial(off_policy, "sbx", "SAC", "HalfCheetah-v5"),
                "ppo_bodies": ppo_of_bodies,
            }
        )
