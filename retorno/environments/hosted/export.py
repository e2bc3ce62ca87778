"""A JAX-native world as a Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import jax
import numpy as np
from gymnasium import spaces
from jaxtyping import Array, Integer, PyTree

from retorno.core.counter import Counter
from retorno.core.environment import Environment, step_key
from retorno.core.time_step import Legal, Only, TimeStep

FRAMES_PER_SECOND = 30


@jax.jit
def _reset(world: Environment, seed: Integer[Array, ""]) -> tuple[PyTree[Any], TimeStep]:
    return world.reset(jax.random.key(seed))


@jax.jit
def _restart(world: Environment, state: PyTree[Any], seed: Integer[Array, ""]) -> tuple[PyTree[Any], TimeStep]:
    return world.restart(state, jax.random.key(seed))


@jax.jit
def _step(
    world: Environment, state: PyTree[Any], action: Any, seed: Integer[Array, ""], age: Counter
) -> tuple[PyTree[Any], TimeStep]:
    return world.step(state, action, step_key(seed, age))


class Exported(gym.Env):
    """A JAX-native world behind Gymnasium's interface, compiled for the CPU.

    An episode is the one that the native collector lives with the same 32-bit seed and actions. A
    row's `legal` is given as `info["action_mask"]`, one for each component of a MultiDiscrete action, or, where it
    is `Only` one action, as `info["only_action"]` (−1 where all are free). Gymnasium knows no discount but 0
    (`terminated`) and 1: any other, as of −1 in a game of two, is `info["discount"]`, and `metadata["two_players"]`
    says that there are two. A world that remembers more than one episode goes on with what it remembers, so its
    runs are not restored from a seed.
    """

    def __init__(self, world: Environment, render_mode: str | None = None) -> None:
        self.metadata = {"render_modes": ["rgb_array"] if _can_be_drawn(world) else [], "render_fps": FRAMES_PER_SECOND}
        if world.two_players:
            self.metadata["two_players"] = True
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode must be None or one of {self.metadata['render_modes']}, got {render_mode!r}")
        self.world, self.render_mode = world, render_mode
        self.observation_space, self.action_space = world.observation_space, world.action_space
        self._cpu = jax.local_devices(backend="cpu")[0]
        self._state: PyTree[Any] = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, from the seed's low 32 bits or, without one, from `np_random`."""
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**32, dtype=np.uint32))
        self._seed, self._age = np.uint32(seed & 0xFFFFFFFF), 0
        with jax.default_device(self._cpu):
            fresh = self._state is None
            self._state, row = (
                _reset(self.world, self._seed) if fresh else _restart(self.world, self._state, self._seed)
            )
            while row.last and not row.first:  # Gymnasium knows no rows that only wait for other environments.
                self._state, row = _restart(self.world, self._state, self._seed)
        return self._tell(row)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self._state is None:
            raise gym.error.ResetNeeded("step was called before reset: call reset() first")
        with jax.default_device(self._cpu):
            self._state, row = _step(self.world, self._state, action, self._seed, Counter.of(self._age))
        self._age += 1
        obs, info = self._tell(row)
        terminated = float(row.discount) == 0
        return obs, float(row.reward), terminated, bool(row.last) and not terminated, info

    def render(self) -> np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The present state's picture, [height, width, 3] uint8."""
        return None if self.render_mode is None else self.world.render(self._state)

    def _tell(self, row: TimeStep) -> tuple[Any, dict[str, Any]]:
        discount = float(row.discount)
        told = {} if discount in (0, 1) else {"discount": discount}
        return _element(self.observation_space, row.obs), told | _info(row.legal)


def _can_be_drawn(world: Environment) -> bool:
    """Whether it has a picture of its own; a wrapper has its world's."""
    inner = getattr(world, "world", None)
    return _can_be_drawn(inner) if isinstance(inner, Environment) else type(world).render is not Environment.render


def to_gymnasium(world: Environment, render_mode: str | None = None) -> Exported:
    """A JAX-native world as a Gymnasium environment, which passes Gymnasium's `check_env`.

    Args:
        world: the world, with its time limit if it is to have one.
        render_mode: "rgb_array" where the world can be drawn.

    Returns:
        A `gymnasium.Env`.

    >>> from retorno.environments.games.tic_tac_toe_for_two import TicTacToe
    >>> env = to_gymnasium(TicTacToe())
    >>> board, info = env.reset(seed=0)
    >>> board, reward, terminated, truncated, info = env.step(4)
    >>> board[1], info["discount"]
    (array([0, 2, 0], dtype=int8), -1.0)
    """
    return Exported(world, render_mode)


def _element(space: spaces.Space[Any], obs: PyTree[Any]) -> Any:
    """An observation as the space's own kind of element, in memory of its own."""
    match space:
        case spaces.Dict():
            return {name: _element(part, obs[name]) for name, part in space.spaces.items()}
        case spaces.Tuple():
            return tuple(_element(part, one) for part, one in zip(space.spaces, obs, strict=True))
        case spaces.Discrete():
            return np.int64(obs)
    return np.array(obs, space.dtype)


def _info(legal: Legal) -> dict[str, Any]:
    """What is said of legal actions: masks as Gymnasium's `sample` takes them."""
    match legal:
        case None:
            return {}
        case Only():
            return {"only_action": int(legal.action)}
        case tuple():
            return {"action_mask": tuple(np.array(mask, np.int8) for mask in legal)}
    return {"action_mask": np.array(legal, np.int8)}
