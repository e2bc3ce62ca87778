"""Gymnasium vector environments that step themselves, such as ALE's or EnvPool's."""

from __future__ import annotations

import copy
from collections import ChainMap
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from retorno.core.environment import episode_seed
from retorno.core.errors import WorldError
from retorno.core.time_step import TimeStep
from retorno.environments.hosted.discounts import discounts, has_lives, two_players
from retorno.environments.hosted.endings import Endings
from retorno.environments.hosted.legality import LegalReader, sample
from retorno.environments.hosted.sync_environments import ActionLayout, outside, reader, rows

OPAQUE = (
    "{} is a vector environment that keeps its state to itself, so a run cannot be resumed exactly: "
    "give the environment's id or a function that makes one environment for that"
)


class Vector:
    """A vector environment driven through its own `step`, whatever its autoreset mode.

    NEXT_STEP (and a vector environment that does not tell its mode) is what rows are made of
    already. DISABLED is exact too: where an episode ended, the environment is reset, goes along
    with the others' next step and is reset again, so that its next row is a true first one.

    SAME_STEP cannot be exact: the environment has moved on by the time that the `last` row is
    read (from `info["final_obs"]`), and must be stepped with the others while they wait for the
    next one. It then takes one random legal action, and the observation after it is the episode's first:
    every episode but the first begins one step late. Where an environment writes its observations into one
    array, Gymnasium's own `SyncVectorEnv` gives the next episode's as `final_obs`.

    What a vector environment has inside cannot be read or set, so it cannot be restored.
    """

    def __init__(self, vector: VectorEnv, seed: int, name: str, owned: bool, info_keywords: Sequence[str] = ()) -> None:
        self.num_envs, self.name, self.owned, self.closed = vector.num_envs, name, owned, False
        self.why_not_resumable = OPAQUE.format(name)
        self._vector, self._seed = vector, int(episode_seed(seed, 0, 0))
        self._mode = AutoresetMode(vector.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        self._read = reader(vector.single_observation_space, batched=True)
        self._layout = ActionLayout(vector.single_action_space)
        self._legal, self._two_players = LegalReader(vector.single_action_space), two_players(vector)
        self._lives = has_lives(vector)
        self._sampler = copy.deepcopy(vector.single_action_space)
        self._steps, self._looks = 0, 2
        self.endings = Endings(self.num_envs, info_keywords)

    def reset(self) -> TimeStep:
        """The first rows [B]."""
        self._sampler.seed(self._seed)
        obs, info = self._guard(self._vector.reset, seed=self._seed)
        self._steps, self._last = 0, np.zeros(self.num_envs, bool)
        self._legally(self._legal.start, info)
        self._told, self._discounts = self._each(info), self._said({})
        return self._row(obs, np.zeros(self.num_envs), self._last, self._last, ~self._last)

    def step(self, action: np.ndarray) -> TimeStep:
        """The next rows [B]."""
        ended, action = self._last, self._layout.decode(action)
        self._steps += 1
        resets, mode = bool(ended.any()), self._mode
        if resets and mode is AutoresetMode.DISABLED:
            self._reset(ended)
        if resets and mode is not AutoresetMode.NEXT_STEP:
            for i in np.flatnonzero(ended):
                jax.tree.map(lambda all, one, i=i: all.__setitem__(i, one), action, self._random(i))
        obs, reward, terminated, truncated, info = self._guard(self._vector.step, action)
        for name, flags in (("terminated", terminated), ("truncated", truncated)):
            if np.shape(flags) != (self.num_envs,):
                raise WorldError(
                    f"{self.name}, step {self._steps}: returned {name}={flags!r}, expected [{self.num_envs}]"
                )
        reward, terminated = np.where(ended, 0.0, reward), np.asarray(terminated, bool) & ~ended
        last = terminated | (np.asarray(truncated, bool) & ~ended)
        self._told = self._each(info)
        self._discounts = self._said(info)
        if resets and mode is AutoresetMode.DISABLED:
            obs = jax.tree.map(np.array, obs)  # The next reset may write into the same memory.
            obs = _merge(obs, self._reset(ended), ended)
        if last.any() and mode is AutoresetMode.SAME_STEP:
            obs = _merge(obs, info["final_obs"], last)
            ends = self._said(info.get("final_info", {}))
            self._discounts = [ends[i] if last[i] else self._discounts[i] for i in range(self.num_envs)]
        if last.any():
            ends = info.get("final_info", {}) if mode is AutoresetMode.SAME_STEP else info
            said = zip(*(self._said(ends, name) for name in self.endings.names), strict=True)
            self._legally(self.endings.see, last, [dict(ChainMap(*each)) for each in said])
        self._last = last
        return self._row(obs, reward, terminated, last, ended)

    def snapshot(self) -> dict[str, np.ndarray]:
        raise WorldError(self.why_not_resumable)

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        raise WorldError(self.why_not_resumable)

    def close(self) -> None:
        """Close the vector environment, unless it was lent."""
        if self.owned and not self.closed:
            self._vector.close()
        self.closed = True

    def _reset(self, which: np.ndarray) -> Any:
        """Reset some of the environments: the observations of all."""
        obs, info = self._guard(self._vector.reset, options={"reset_mask": which.copy()})
        fresh = self._each(info)
        self._told = [fresh[i] if which[i] else told for i, told in enumerate(self._told)]
        return obs

    def _random(self, i: Any) -> Any:
        """A legal action of an environment that was reset."""
        legal = self._legally(self._legal.read, [self._told[i]], [False], [True])
        return sample(self._sampler, jax.tree.map(lambda x: x[0], legal))

    def _each(self, info: dict[str, Any]) -> list[dict[str, Any]]:
        """What each environment says of its legal actions."""
        told = [name for name in ("only_action", "action_mask") if name in info]
        # Copies: the next reset may write into the same memory.
        return [{name: jax.tree.map(np.copy, info[name][i]) for name in told} for i in range(self.num_envs)]

    def _said(self, info: dict[str, Any], name: str = "discount") -> list[dict[str, Any]]:
        """What each environment says of its discount, or so; a batch of infos marks who says something."""
        if name not in info:
            return [{}] * self.num_envs
        told = info.get(f"_{name}", np.ones(self.num_envs, bool))
        return [{name: x} if says else {} for x, says in zip(np.array(info[name]), told, strict=True)]

    def _row(self, obs, reward, terminated, last, first) -> TimeStep:
        # What is told beside an episode's final observation may be the next episode's.
        told = [{} if over else one for one, over in zip(self._told, last, strict=True)]
        legal = self._legally(self._legal.read, told, last, first)
        discount = self._legally(discounts, self._discounts, terminated, first, self._two_players, self._lives)
        try:
            read, reward = self._read(obs), np.asarray(reward, np.float32)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise WorldError(f"{self.name}, step {self._steps}: returned {error}") from error
        if reward.shape != (self.num_envs,):
            raise WorldError(
                f"{self.name}, step {self._steps}: returned rewards of shape {list(reward.shape)}, expected one number "
                f"of each environment, [{self.num_envs}]"
            )
        if not np.isfinite(reward).all():
            raise WorldError(f"{self.name}, step {self._steps}: returned rewards {reward}, expected finite numbers")
        if self._looks:
            self._looks -= 1
            if found := outside(self._vector.single_observation_space, read):
                raise WorldError(f"{self.name}, step {self._steps}: environment {found[0]} returned {found[1]}")
        return rows(read, reward, discount, first, last, legal)

    def _legally(self, call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except ValueError as error:
            raise WorldError(f"{self.name}, step {self._steps}: {error}") from error

    def _guard(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except Exception as error:
            raise WorldError(f"{self.name}, step {self._steps}: raised {type(error).__name__}: {error}") from error


def _merge(batch: Any, other: Any, take: np.ndarray) -> Any:
    """A copy of a batch [B, ...] with the elements `take` [B] of another, which may be an array of single ones."""
    batch = jax.tree.map(np.array, batch)
    for i in np.flatnonzero(take):
        single = isinstance(other, np.ndarray) and other.dtype == object
        one = other[i] if single else jax.tree.map(lambda x: x[i], other)  # noqa: B023
        for whole, part in zip(jax.tree.leaves(batch), jax.tree.leaves(one), strict=True):
            whole[i] = part
    return batch
