"""A run of hosted environments that was broken off, by Ctrl-C or by the world, and is gone on with in Python."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import jax
import numpy as np
import pytest
from gymnasium import spaces

from retorno.algorithms import DQN
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.networks import MLP
from retorno.run.train import train

INTERRUPTED = 21


class Numbered(gym.Env[np.ndarray, int]):
    """Tells which of all its rows each one is, and is interrupted once; episodes of nine steps."""

    observation_space = spaces.Box(0, 1e6, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.rows = self.steps = 0

    def reset(self, **given: Any) -> Any:
        self.rows, self.age = self.rows + 100, 0
        return np.float32([self.rows]), {}

    def step(self, action: int) -> Any:
        self.rows, self.age, self.steps = self.rows + 1, self.age + 1, self.steps + 1
        if self.steps == INTERRUPTED:
            raise KeyboardInterrupt
        return np.float32([self.rows]), 0.0, self.age == 9, False, {}


@pytest.mark.parametrize("rollout", [1, 4])
def test_no_transition_leads_from_one_episode_into_another(rollout: int) -> None:
    sizes = {"capacity": 64, "learning_starts": 8, "batch_size": 4, "gradient_steps": 1}
    method = DQN(network=MLP(hidden=(4,)), num_envs=1, rollout=rollout, **sizes)
    with train(method, gymnasium(Numbered), 48) as training:
        with pytest.raises(KeyboardInterrupt):
            training.run_to_end(progress=False)
        left = training.step
        assert 16 <= left < INTERRUPTED
        training.run_to_end(progress=False)
        assert training.step >= 48
        ring = training.run.learner.replay
    steps = jax.tree.map(np.asarray, ring.steps)
    stored = int(ring.newest) + 1
    rows, last = np.asarray(steps.obs).reshape(-1)[:stored], steps.last.reshape(-1)[:stored]
    assert stored > 48 and last.sum() >= 5
    assert (np.diff(rows)[~last[:-1]] == 1).all() and (np.diff(rows)[last[:-1]] > 1).all()
