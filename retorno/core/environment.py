"""Worlds: the JAX-native contract, and the hosted one for environments that live in Python."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Integer, Key, PyTree

from retorno.core.counter import SPREAD, WORD, Counter
from retorno.core.runtime import prepare
from retorno.core.time_step import TimeStep


class Lockstep(NamedTuple):
    """That all environments begin their episodes together, and of how many rows these are."""

    prompt: int
    """Rows at an episode's start that leave no choice (`Only`), in every environment: they are read at once."""
    rows: int
    """From a first row to the next, in every environment: where an episode ends sooner, rows that are `last` wait."""


class Environment(eqx.Module):
    """A JAX-native world: pure functions of one environment, unbatched.

    Its arrays are leaves and its settings static fields, so one compiled program serves every
    world of the same shape. It never resets by itself: `advance` does.
    """

    endless: ClassVar[bool] = False
    """Whether no row is ever `last`: then no next episode has to stand ready at each step."""

    def __check_init__(self) -> None:
        # JAX is set up before whoever made the world makes arrays for it.
        prepare()

    @property
    def two_players(self) -> bool:
        """Whether an opponent moves on some rows: into those the discount is negative."""
        return False

    @property
    def lockstep(self) -> Lockstep | None:
        """How the environments keep together, where they do."""
        return None

    def held_back(self, state: PyTree[Any]) -> Int[Array, ""] | int:
        """For how many rows the episode that begins in `state` waits where environments keep together.

        So that all are free at once, however long what comes before that is.
        """
        return 0

    @property
    @abc.abstractmethod
    def observation_space(self) -> gymnasium.Space[Any]: ...

    @property
    @abc.abstractmethod
    def action_space(self) -> gymnasium.Space[Any]: ...

    @abc.abstractmethod
    def reset(self, key: Key[Array, ""]) -> tuple[PyTree[Any], TimeStep]:
        """Begin an episode: (state, first row)."""

    @abc.abstractmethod
    def step(self, state: PyTree[Any], action: Any, key: Key[Array, ""]) -> tuple[PyTree[Any], TimeStep]:
        """Take one action on a row that is not `last`: (state, next row)."""

    def restart(self, state: PyTree[Any], key: Key[Array, ""]) -> tuple[PyTree[Any], TimeStep]:
        """Begin the episode after the one that ended in `state`, for worlds that remember more than one.

        Where environments keep together it may give a row that only waits, which is `last` and not `first`.
        """
        return self.reset(key)

    def enter(self, obs: PyTree[Any]) -> tuple[PyTree[Any], TimeStep]:
        """Begin an episode in the state that shows an observation, where that tells all: what planning asks for."""
        raise NotImplementedError(f"an observation of {type(self).__name__} does not tell its state")

    def render(self, state: PyTree[Any]) -> np.ndarray:
        """A picture [height, width, 3] (uint8) of a state, where the world can be drawn."""
        raise NotImplementedError(f"{type(self).__name__} cannot be drawn: it has no render(state)")

    def picture(self, obs: PyTree[Any]) -> np.ndarray:
        """A picture [height, width, 3] (uint8) of an observation, where that alone can be drawn."""
        raise NotImplementedError(f"an observation of {type(self).__name__} is no picture: it has no picture(obs)")


SUCCESS = "is_success"
"""In the info of an episode's final row: what Gymnasium-Robotics says there, and Stable-Baselines3 reads."""


class Endings(Protocol):
    """What B environments say of episodes that ended, by K names: whether they were successes, and what is asked."""

    @property
    def names(self) -> Sequence[str]:
        """`SUCCESS`, and those that are asked for."""
        ...

    @property
    def newest(self) -> Float[np.ndarray, "K B"]:
        """Of each one's last episode; NaN where nothing was said."""
        ...

    @property
    def told(self) -> Int[np.ndarray, " K"]:
        """Episodes of which something was said."""
        ...

    @property
    def total(self) -> Float[np.ndarray, " K"]:
        """The sum of what was: of successes their number."""
        ...


@runtime_checkable
class ListsChances(Protocol):
    """A native world that says what may happen after an action, and how likely it is: a search can weigh it."""

    @property
    def chances(self) -> int:
        """C, how many different things may happen."""
        ...

    def odds(self, state: PyTree[Any], action: Any) -> Float[Array, " C"]:
        """How likely each is: logarithms, up to a constant; −∞ for what cannot happen."""
        ...

    def outcome(self, state: PyTree[Any], action: Any, chance: Integer[Array, ""]) -> tuple[PyTree[Any], TimeStep]:
        """What one of them leads to, as `step`."""
        ...


@runtime_checkable
class HostedEnvironments(Protocol):
    """B environments that live in Python, opened and seeded. All arrays are NumPy with axis [B] first."""

    num_envs: int

    @property
    def endings(self) -> Endings:
        """What they say of episodes that ended."""
        ...

    def reset(self) -> TimeStep:
        """The first rows [B]."""
        ...

    def step(self, action: np.ndarray) -> TimeStep:
        """The next rows [B]; where the previous row was `last`, the next episode's first (the action is ignored)."""
        ...

    def snapshot(self) -> dict[str, np.ndarray]:
        """Everything needed to return to the present rows."""
        ...

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """Return to the rows at which `snapshot` was taken."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class HostedWorld(Protocol):
    """The description of environments that live in Python; `open` makes them."""

    @property
    def num_envs(self) -> int | None:
        """How many there are, where the description fixes it."""
        ...

    @property
    def observation_space(self) -> gymnasium.Space[Any]: ...

    @property
    def action_space(self) -> gymnasium.Space[Any]: ...

    @property
    def two_players(self) -> bool:
        """Whether an opponent moves on some rows: into those the discount is negative."""
        ...

    @property
    def why_not_resumable(self) -> str | None:
        """Why a run here could not be resumed exactly; None where it can."""
        ...

    def open(self, num_envs: int, seed: int, group: int = 1) -> HostedEnvironments:
        """Make them; episodes of `group` neighbours that have the same number begin alike."""
        ...


World = Environment | HostedWorld


class Episodes(eqx.Module):
    """Where one environment stands: its state, and which step of which episode it is in."""

    state: PyTree[Any]
    episode: Counter
    age: Counter
    """Steps since the episode's first row."""


def episode_seed(seed: Any, env: Any, episode: Any) -> Any:
    """The 32-bit seed of one episode, from the run's seed, the environment's and the episode's number.

    Integers or arrays of NumPy or JAX (there the episode is a `Counter`) alike, so that a hosted and a native world
    draw the same. The mixing is the finaliser of MurmurHash3 (Appleby 2011).

    >>> episode_seed(0, 1, 2) == episode_seed(0, np.uint32(1), 2) == episode_seed(0, jnp.uint32(1), 2)
    Array(True, dtype=bool)
    """
    low, high = episode if isinstance(episode, Counter) else (episode % WORD, episode // WORD)
    if type(seed) is type(env) is type(low) is int:
        return _mixed(int, seed ^ high * int(SPREAD), env, low)
    xp = np if all(isinstance(x, int | np.generic | np.ndarray) for x in (seed, env, low)) else jnp
    with np.errstate(over="ignore"):
        seed, env, low, high = (xp.asarray(x).astype(xp.uint32) for x in (seed, env, low, high))
        return _mixed(xp.uint32, seed ^ high * SPREAD, env, low)


def _mixed(kind: Any, *parts: Any) -> Any:
    """Numbers mixed into one of 32 bits, by arithmetic of that kind: Python's own is ten times as quick for a few."""
    word, mask = kind(SPREAD), kind(WORD - 1)
    for part in parts:
        word = (word ^ part) & mask
        word = (word ^ word >> kind(16)) * kind(0x85EBCA6B) & mask
        word = (word ^ word >> kind(13)) * kind(0xC2B2AE35) & mask
        word = word ^ word >> kind(16)
    return word


def begin(world: Environment, seed: Integer[Array, ""], env: Integer[Array, ""]) -> tuple[Episodes, TimeStep]:
    """Environment number `env` of a run at the first row of its first episode."""
    state, row = world.reset(jax.random.key(episode_seed(seed, env, 0)))
    return Episodes(state, Counter.of(jnp.uint32(0)), Counter.of(jnp.uint32(0))), row


def advance(
    world: Environment,
    episodes: Episodes,
    row: TimeStep,
    action: Any,
    seed: Integer[Array, ""],
    env: Integer[Array, ""],
) -> tuple[Episodes, TimeStep]:
    """The next row: a step, or, where `row` ended the episode, the next episode's first row.

    All randomness comes from (seed, environment, episode, step), so any episode can be lived
    again on its own.
    """
    stepped = world.step(episodes.state, action, step_key(episode_seed(seed, env, episodes.episode), episodes.age))
    if world.endless:
        return Episodes(stepped[0], episodes.episode, episodes.age.plus(1)), stepped[1]
    fresh = world.restart(episodes.state, jax.random.key(episode_seed(seed, env, episodes.episode.plus(1))))
    state, row_after = jax.tree.map(lambda new, old: jnp.where(row.last, new, old), fresh, stepped)
    age = jax.tree.map(lambda word: jnp.where(row.last, 0, word), episodes.age.plus(1))
    # Between two episodes there may be rows that only wait: `last`, and not `first`.
    begun = row.last & fresh[1].first
    return Episodes(state, episodes.episode.plus(begun), age), row_after


def step_key(seed: Integer[Array, ""], age: Counter) -> Key[Array, ""]:
    """The key of an episode's step: `age` steps after the first row, which has `key(seed)`."""
    return jax.random.fold_in(jax.random.key(age.mixed(seed)), age.low)
