"""Atari's games in threads of the emulator's own: its vector environment, with the choices of `atari`.

Rows are those of single environments (`Frames`, `Lives`), to the pixel, but for three things. What is drawn by chance
is seeded once for each game and not for each episode, so a run cannot be resumed exactly. An episode begins after 0 to
`noop_max` frames and not 1 to so many, and they do not count among `max_frames`. And what is seen where a game is over,
which nothing is learnt from, may be a frame older or newer.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from retorno.environments.hosted.atari import Choices


class Consoles(VectorEnv):
    """B games, each stepped in one of as many threads as there are cores.

    Args:
        name: as "ALE/Pong-v5".
        num_envs: B
        **settings: what is chosen.

    Raises:
        ValueError: where a choice is not to be had so.
    """

    def __init__(self, name: str, num_envs: int, **settings: Any) -> None:
        from ale_py.vector_env import AtariVectorEnv

        chosen = Choices(**settings)
        if chosen.fire:
            raise ValueError(
                "fire: the emulator's own vector environment presses it for one frame, where single ones take a whole "
                "step: leave out fire=True or native=True"
            )
        self._games = AtariVectorEnv(
            gym.spec(name).kwargs["game"],
            num_envs,
            stack_num=1,
            img_height=chosen.screen,
            img_width=chosen.screen,
            grayscale=chosen.grey,
            frameskip=chosen.frame_skip,
            maxpool=chosen.frame_skip > 1,
            noop_max=chosen.noop_max + 1 if chosen.noop_max else 0,
            repeat_action_probability=chosen.sticky,
            full_action_space=chosen.full_actions,
            max_num_frames_per_episode=chosen.max_frames,
            reward_clipping=False,
            use_fire_reset=False,
            autoreset_mode=AutoresetMode.NEXT_STEP,
        )
        self._shape = (chosen.screen, chosen.screen, 1 if chosen.grey else 3)
        self.num_envs = num_envs
        self.single_observation_space = gym.spaces.Box(0, 255, self._shape, np.uint8)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.single_action_space, self.action_space = self._games.single_action_space, self._games.action_space
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "lives": chosen.lives}
        self._lives, self._left = chosen.lives, np.zeros(num_envs, np.int32)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """The first screens [B]. The emulator's seeds have 31 bits, one after another."""
        seeds = None if seed is None else int(seed) % (2**31 - self.num_envs)
        seen, told = self._games.reset(seed=seeds, options=options)
        self._left = told["lives"]
        return self._shown(seen), told

    def step(self, actions: np.ndarray) -> Any:
        """The next screens [B]; where a life was lost, and that is asked for, a discount of 0 is told."""
        seen, paid, terminated, truncated, told = self._games.step(actions)
        lost, self._left = told["lives"] < self._left, told["lives"]
        if self._lives:
            told = {**told, "discount": np.zeros(self.num_envs), "_discount": lost}
        return self._shown(seen), paid, terminated, truncated, told

    def _shown(self, seen: Any) -> np.ndarray:
        return np.asarray(seen).reshape(self.num_envs, *self._shape)
