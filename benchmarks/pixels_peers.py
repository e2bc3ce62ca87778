"""PyTorch's side of pixels.py: the same networks, losses and settings in plain loops, by seconds of CPU.

It needs torch; for MinAtar the package, pip install --no-deps MinAtar==1.0.15; for Pong stable-baselines3, ale-py and
opencv-python-headless.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from measure import serve
from torch import nn  # pyright: ignore[reportMissingImports]

torch.set_num_threads(1)


def optimiser(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(network.parameters(), 2.5e-4, alpha=0.95, eps=0.01, centered=True)


def gradient_step(network: nn.Module, target: nn.Module, step: torch.optim.Optimizer, batch: Any) -> None:
    before, action, reward, after, over = batch
    with torch.no_grad():
        aim = reward + 0.99 * (1 - over) * target(after).max(1)[0]
    taken = network(before).gather(1, action[:, None])[:, 0]
    loss = nn.functional.smooth_l1_loss(taken, aim)
    step.zero_grad(set_to_none=True)
    loss.backward()
    step.step()


def nature() -> Callable[[], float]:
    """Gradient steps on stacks of four, drawn from frames that are stored once."""

    def made() -> nn.Module:
        convolutions = nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, 1)
        return nn.Sequential(*convolutions, nn.ReLU(), nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 6))

    network, target = made(), made()
    step, rng = optimiser(network), np.random.default_rng(0)
    frames = rng.integers(0, 256, (5_000, 84, 84), np.uint8)
    actions = rng.integers(0, 6, 5_000)

    def once() -> None:
        index = rng.integers(4, 4_999, 32)
        before, after = (
            torch.from_numpy(frames[(index + k)[:, None] + np.arange(-3, 1)]).float() / 255 for k in (0, 1)
        )
        gradient_step(
            network, target, step, (before, torch.from_numpy(actions[index]), torch.ones(32), after, torch.zeros(32))
        )

    def measure() -> float:
        began = time.process_time()
        for _ in range(50):
            once()
        return 50 / (time.process_time() - began)

    return measure


def dqn() -> Callable[[], float]:
    """MinAtar's own Breakout with a ring of NumPy arrays, one gradient step after each action."""
    from minatar import Environment  # pyright: ignore[reportMissingImports]

    def made() -> nn.Module:
        layers = nn.Conv2d(4, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, 3)
        return nn.Sequential(*layers)

    network, target, game, rng = made(), made(), Environment("breakout"), np.random.default_rng(0)
    size, actions = 100_000, game.minimal_action_set()
    step = torch.optim.RMSprop(network.parameters(), 2.5e-4, alpha=0.95, eps=0.01, centered=True, momentum=0.95)
    seen, after = np.zeros((2, size, 4, 10, 10), bool)
    action, reward, over = np.zeros(size, np.int64), np.zeros(size, np.float32), np.zeros(size, np.float32)
    count = 0

    def look() -> np.ndarray:
        return game.state().transpose(2, 0, 1)

    def live() -> None:
        nonlocal count
        at = count % size
        seen[at] = look()
        with torch.no_grad():
            greedy = int(network(torch.from_numpy(seen[at : at + 1]).float()).argmax())
        action[at] = rng.integers(3) if rng.random() < 0.1 else greedy
        paid, ended = game.act(actions[action[at]])
        after[at], reward[at], over[at] = look(), paid, ended
        if ended:
            game.reset()
        count += 1

    def learn() -> None:
        drawn = rng.integers(0, min(count, size), 32)
        images = [torch.from_numpy(x[drawn]).float() for x in (seen, after)]
        rest = [torch.from_numpy(x[drawn]) for x in (action, reward, over)]
        gradient_step(network, target, step, (images[0], rest[0], rest[1], images[1], rest[2]))
        if count % 1_000 == 0:
            target.load_state_dict(network.state_dict())

    for _ in range(100):
        live()

    def measure() -> float:
        began = time.process_time()
        for _ in range(500):
            live()
            learn()
        return 500 / (time.process_time() - began)

    return measure


def pong(kind: str, num_envs: int, steps: int, **settings: Any) -> Callable[[], float]:
    """Stable-Baselines3 on Pong, prepared by its own wrappers."""
    import ale_py
    import gymnasium as gym
    import stable_baselines3  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.env_util import make_atari_env  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.vec_env import VecFrameStack  # pyright: ignore[reportMissingImports]

    gym.register_envs(ale_py)
    frames = {"frameskip": 1, "repeat_action_probability": 0.0}
    games = VecFrameStack(make_atari_env("ALE/Pong-v5", num_envs, seed=0, env_kwargs=frames), 4)
    agent = getattr(stable_baselines3, kind)("CnnPolicy", games, device="cpu", **settings)
    agent.learn(max(steps, 200))

    def measure() -> float:
        began, before = time.process_time(), agent.num_timesteps
        agent.learn(steps, reset_num_timesteps=False)
        return (agent.num_timesteps - before) / (time.process_time() - began)

    return measure


def pong_dqn() -> Callable[[], float]:
    sizes = {"buffer_size": 5_000, "learning_starts": 100, "target_update_interval": 1_000}
    return pong("DQN", 1, 200, learning_rate=1e-4, batch_size=32, train_freq=4, **sizes)


def pong_ppo() -> Callable[[], float]:
    sizes = {"n_steps": 128, "batch_size": 256, "n_epochs": 4}
    return pong("PPO", 8, 1_024, learning_rate=2.5e-4, clip_range=0.1, ent_coef=0.01, **sizes)


if __name__ == "__main__":
    serve({"nature": nature, "dqn": dqn, "pong_dqn": pong_dqn, "pong_ppo": pong_ppo})
