"""Gymnasium environments in this process, kept so that their episodes can be lived again.

Each episode is seeded from (run's seed, environment, episode), and the actions since its first
row are remembered: together they lead back to the present row. Environments are stepped by a
plain loop, and what they return is checked once for all of them; only when something is wrong is
each looked at by itself.
"""

from __future__ import annotations

import copy
import math
import os
import traceback
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import gymnasium as gym
import jax
import numpy as np
from gymnasium import spaces
from jaxtyping import PyTree

from retorno.core.environment import episode_seed
from retorno.core.errors import WorldError
from retorno.core.spaces import action_units, policy_space, unsupported
from retorno.core.time_step import TimeStep
from retorno.environments.hosted.discounts import discounts, has_lives, two_players
from retorno.environments.hosted.endings import Endings
from retorno.environments.hosted.legality import InfoError, LegalReader

NARROW = {"float64": np.float32, "int64": np.int32, "uint64": np.uint32}
"""Rows are 32 bits wide at most, as JAX's own arrays are."""
WHOLE, PLAIN = frozenset({int}), frozenset({int, float})
"""Python's own numbers, which need no array to be looked at."""
KINDS = "biufO"
"""Of NumPy's kinds those that may be numbers."""
WIDE = ", which 32 bits do not hold: tell it in other units, or split it into several numbers"
LARGEST = float(np.finfo(np.float32).max)
TRAIL = 16
"""How many of an episode's last rows a snapshot knows by their checksums: one row alone shows too little of what an
environment has inside."""
LOG = 1024
"""For how many steps actions are kept before the log is tidied."""


def row_dtype(space: spaces.Space[Any]) -> Any:
    """The type that elements of a space have in rows.

    Args:
        space: of observations or actions.

    >>> row_dtype(spaces.Discrete(3)) is np.int32
    True
    """
    return NARROW.get(str(space.dtype), space.dtype)


def reader(space: spaces.Space[Any], batched: bool = False) -> Callable[[Any], PyTree[np.ndarray]]:
    """How B observations become a pytree of new arrays [B, ...]: from a list of them, or from one that is batched.

    What it returns raises ValueError where a shape is wrong or a number is not finite.

    Args:
        space: of the observations.
        batched: whether one batched observation is read, or a list of B.

    >>> reader(spaces.Discrete(3))([0, 2])
    array([0, 2], dtype=int32)
    """
    match space:
        case spaces.Dict():
            named = {name: reader(part, batched) for name, part in space.spaces.items()}

            def read_named(many: Any) -> dict[str, Any]:
                for obs in () if batched else many:
                    if len(obs) != len(named):
                        raise ValueError(f"an observation of {', '.join(obs)}, expected {', '.join(named)} ({space})")
                return {
                    name: read(many[name] if batched else [obs[name] for obs in many]) for name, read in named.items()
                }

            return read_named
        case spaces.Tuple():
            placed = list(enumerate(reader(part, batched) for part in space.spaces))

            def read_placed(many: Any) -> tuple[Any, ...]:
                for obs in () if batched else many:
                    if len(obs) != len(placed):
                        raise ValueError(f"an observation of {len(obs)} parts, expected {len(placed)} ({space})")
                return tuple(read(many[k] if batched else [obs[k] for obs in many]) for k, read in placed)

            return read_placed
        case spaces.Discrete() | spaces.MultiDiscrete() | spaces.MultiBinary() | spaces.Box():
            return _array_reader(space)
    raise unsupported(space)


def _array_reader(space: spaces.Space[Any]) -> Callable[[Any], np.ndarray]:
    dtype, shape = np.dtype(row_dtype(space)), space.shape
    floating = np.issubdtype(dtype, np.floating)
    if isinstance(space, spaces.Discrete):
        return _number_reader(space)
    low, high = _whole_range(space)
    all_of_it = not floating and np.all(low == _least(space.dtype)) and np.all(high == _most(space.dtype))
    fits = floating or (_least(dtype) <= np.min(low, initial=0) and np.max(high, initial=0) <= _most(dtype))

    def read(many: Any) -> np.ndarray:
        given = np.asarray(many)
        if given.shape[1:] != shape:
            raise ValueError(f"an observation of shape {given.shape[1:]}, expected {shape} ({space})")
        if given.dtype.kind not in KINDS:
            raise ValueError(f"observation {given[0]}, expected numbers ({space})")
        if floating:
            with np.errstate(over="ignore") if given.dtype != dtype else nullcontext():
                array = np.array(given, dtype)
            if not np.isfinite(array).all():
                raise ValueError(f"an observation that is not finite in 32 bits: {given[0]}")
            return array
        if given.dtype != space.dtype or not all_of_it:
            whole = given.dtype.kind in "iub" or (given == np.floor(given)).all()
            if not (whole and (given >= low).all() and (given <= high).all()):
                raise ValueError(f"observation {given[0]}, expected an element of {space}")
        array = np.array(given, dtype)
        if not (fits or (array == given).all()):
            raise ValueError(f"observation {given[0]}{WIDE}")
        return array

    return read


def _least(dtype: Any) -> int:
    """The least number of a type of whole numbers, to which bool counts."""
    return 0 if np.dtype(dtype).kind == "b" else int(np.iinfo(dtype).min)


def _most(dtype: Any) -> int:
    return 1 if np.dtype(dtype).kind == "b" else int(np.iinfo(dtype).max)


def _number_reader(space: spaces.Discrete) -> Callable[[Any], np.ndarray]:
    """Numbers of a Discrete space: a few are looked at faster one by one than as an array."""
    low, high = _whole_range(space)
    least, most = max(low, -(2**31)), min(high, 2**31 - 1)

    def read(many: Any) -> np.ndarray:
        if type(many) is list and WHOLE.issuperset(map(type, many)) and least <= min(many) <= max(many) <= most:
            return np.array(many, np.int32)
        given = np.asarray(many)
        if given.ndim != 1:
            raise ValueError(f"an observation of shape {given.shape[1:]}, expected () ({space})")
        if given.dtype.kind not in KINDS:
            raise ValueError(f"observation {given.tolist()[0]!r}, expected an element of {space}")
        numbers = given.tolist()
        if given.dtype.kind not in "iub" and not all(number == math.floor(number) for number in numbers):
            raise ValueError(f"observation {given[0]}, expected an element of {space}")
        if min(numbers) < low or max(numbers) > high:
            raise ValueError(f"observation {given[0]}, expected an element of {space}")
        if not -(2**31) <= min(numbers) <= max(numbers) < 2**31:
            raise ValueError(f"observation {given[0]}{WIDE}")
        return np.array(given, np.int32)

    return read


def _whole_range(space: spaces.Space[Any]) -> tuple[Any, Any]:
    """The least and the largest number of a space of integers."""
    match space:
        case spaces.Discrete():
            return int(space.start), int(space.start + space.n) - 1
        case spaces.MultiDiscrete():
            return space.start, space.start + space.nvec - 1
        case spaces.MultiBinary():
            return 0, 1
        case spaces.Box():
            return space.low, space.high
    raise unsupported(space)


SLACK = 1e-4
"""How far, relative to a bound, a float may lie beyond it: roundings do."""


def outside(space: spaces.Space[Any], obs: Any) -> tuple[int, str] | None:
    """Which of B observations holds floats beyond its bounds, and what is said of it. Asked of first rows only.

    Args:
        space: of the observations.
        obs: B of them, as `reader` reads them.

    Returns:
        The first of them that does, and a message; None where none does.

    >>> outside(spaces.Box(0, 1, (1,)), np.array([[0.5], [2.0]]))[0]
    1
    """
    match space:
        case spaces.Dict():
            found = (outside(part, obs[name]) for name, part in space.spaces.items())
        case spaces.Tuple():
            found = (outside(part, one) for part, one in zip(space.spaces, obs, strict=True))
        case spaces.Box() if np.issubdtype(space.dtype, np.floating):
            below = obs < space.low - SLACK * np.maximum(1, np.abs(space.low))
            above = obs > space.high + SLACK * np.maximum(1, np.abs(space.high))
            beyond = (below | above).reshape(len(obs), -1).any(1)
            i = int(np.argmax(beyond))
            what = f"observation {obs[i]}, which lies outside of {space}: widen the space's bounds to what it may be"
            found = [(i, what)] if beyond.any() else []
        case _:
            found = []
    return next((one for one in found if one is not None), None)


def rows(obs: Any, reward: Any, discount: Any, first: Any, last: Any, legal: Any) -> TimeStep:
    """Rows [B] in NumPy.

    Args:
        obs: what is seen. Shapes [B, …].
        reward: paid on the way into them. Shape [B].
        discount: of that way. Shape [B].
        first: whose row begins an episode. Shape [B].
        last: whose row ends one. Shape [B].
        legal: what may be done on them.
    """
    starts: Any = np.array(first, bool)
    ends: Any = np.array(last, bool)
    return TimeStep(obs, reward, discount, starts, ends, legal)


class ActionLayout:
    """How actions [B, ...], as `given_units` has them, become what an environment takes."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        crossing = policy_space(space) if isinstance(space, spaces.Dict | spaces.Tuple) else space
        self.shape, self.stored = tuple(crossing.shape or ()), row_dtype(crossing)
        self._space, self._units = space, None if crossing is space else action_units(space)

    def decode(self, action: Any) -> Any:
        """New arrays, which an environment may change."""
        return as_taken(self._space, action if self._units is None else self._units.to_world(np.asarray(action)))

    def each(self, action: Any) -> list[Any]:
        """One after another, of B."""
        decoded = self.decode(action)
        if self._units is None:
            return [*decoded]
        return [jax.tree.map(lambda x, i=i: x[i], decoded) for i in range(len(action))]


def as_taken(space: spaces.Space[Any], action: Any) -> Any:
    """Actions in the types of their space, as new arrays."""
    match space:
        case spaces.Dict():
            return {name: as_taken(part, action[name]) for name, part in space.spaces.items()}
        case spaces.Tuple():
            return tuple(as_taken(part, one) for part, one in zip(space.spaces, action, strict=True))
    return np.array(action, space.dtype)


def raised(what: str, error: Exception) -> str:
    """That something raised an error, with the line of the user's own code, else of the package's, where it began.

    Args:
        what: was called.
        error: that it raised.
    """
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename != __file__]
    library = (os.path.dirname(os.__file__), "<")
    own = [each for each in frames if not each.filename.startswith(library) and "site-packages" not in each.filename]
    last = (own or frames)[-1:]
    where = "".join(f" ({os.path.basename(each.filename)}, line {each.lineno})" for each in last)
    return f"{what} raised {type(error).__name__}: {error}{where}"


class Keepers:
    """Environments number `numbers` of a run, one after another in this process.

    Next-step autoreset: where a row was `last`, the next is its successor's first, whatever the action.

    Args:
        envs: the environments; all have the same spaces.
        numbers: their numbers in the run, from which their episodes are seeded.
        seed: the run's.
        name: what messages call them.
        owned: whether `close` closes them.
        late: what they say of legal actions with steps alone (`legality.told_by_a_step`).
        group: episodes of so many neighbours that have the same number begin from the same seed.
        info_keywords: which numbers of an episode's last info are kept.
    """

    why_not_resumable: str | None = None

    def __init__(
        self,
        envs: Sequence[gym.Env],
        numbers: Sequence[int],
        seed: int,
        name: str,
        owned: bool = True,
        late: str = "",
        group: int = 1,
        info_keywords: Sequence[str] = (),
    ) -> None:
        self.num_envs, self.name, self.seed, self.owned, self.closed = len(envs), name, seed, owned, False
        self._group = group
        self._envs, self._numbers = list(envs), [int(number) for number in numbers]
        observations, actions = envs[0].observation_space, envs[0].action_space
        for number, env in zip(self._numbers, envs, strict=True):
            if env.observation_space != observations or env.action_space != actions:
                raise WorldError(
                    f"environment {number} has the spaces {env.observation_space} and {env.action_space}, environment "
                    f"{self._numbers[0]} has {observations} and {actions}: all environments of a run need the same"
                )
        self._read, self._layout = reader(observations), ActionLayout(actions)
        self._legal, self._two_players = LegalReader(actions, envs, late), two_players(envs[0])
        self._lives = has_lives(envs[0])
        self._row: TimeStep | None = None
        self._looks = 2
        """How many of the next rows are looked at in full: the first reset's and the first step's."""
        self._last = [False] * self.num_envs
        self.endings = Endings(self.num_envs, info_keywords)
        self._episode = np.full(self.num_envs, -1, np.int64)
        # Row t of the log holds the actions [B] of step t; environment i's episode began at row start[i].
        self._log = np.zeros((LOG, self.num_envs, *self._layout.shape), self._layout.stored)
        self._cursor = 0
        self._start = np.zeros(self.num_envs, np.int64)
        self._trail: deque[tuple[Any, Any, Any]] = deque(maxlen=TRAIL)
        """Observations, rewards and terminations [B] of the rows before the present one and of that one."""

    def reset(self) -> TimeStep:
        """The first rows [B] of the first episodes."""
        self._episode[:] = -1
        begun: list[Any] = [self._begin(i) for i in range(self.num_envs)]
        self._find_legal(begun[0][1])
        zeros, no = [0.0] * self.num_envs, [False] * self.num_envs
        return self._gather(
            [obs for obs, _ in begun], zeros, no, no, [True] * self.num_envs, [info for _, info in begun]
        )

    def step(self, action: np.ndarray) -> TimeStep:
        """The next rows [B]."""
        sent = self._layout.each(self._remember(action))
        ended, observations, rewards, terminations, lasts, infos = self._last, [], [], [], [], []
        i = 0
        try:
            for i, env in enumerate(self._envs):
                if ended[i]:
                    obs, info = self._begin(i)
                    reward, terminated, last = 0.0, False, False
                else:
                    outcome = env.step(sent[i])
                    # Looked at here where it is as Gymnasium says: a call for each of many environments adds up.
                    if type(outcome) is not tuple or len(outcome) != 5 or type(outcome[4]) is not dict:
                        outcome = self._outcome(i, outcome)
                    obs, reward, terminated, truncated, info = outcome
                    if type(terminated) is not bool or type(truncated) is not bool:
                        _, _, terminated, truncated, _ = self._outcome(i, outcome)
                    last = terminated or truncated
                observations.append(obs)
                rewards.append(reward)
                terminations.append(terminated)
                lasts.append(last)
                infos.append(info)
        except WorldError:
            raise
        except Exception as error:
            raise self._error(i, raised("step", error)) from error
        if True in lasts:
            try:
                self.endings.see(lasts, infos)
            except InfoError as error:
                raise self._error(error.env, str(error)) from error
        return self._gather(observations, rewards, terminations, lasts, ended, infos)

    def step_and_tell(self, action: np.ndarray) -> tuple[TimeStep, np.ndarray]:
        """The next rows [B], and what was said of each one's last episode [K, B]: for another process."""
        return self.step(action), self.endings.newest

    def snapshot(self) -> dict[str, np.ndarray]:
        """Episode number, age, actions since the first row and checksums of the present row and of some before it.

        Returns:
            `episode`, `age`, `fingerprint` [B], `trail` [B, TRAIL] (0 before the episode's first row), and `actions`
            [Σ age, ...], one environment after another.
        """
        if self._row is None:
            raise WorldError("there is nothing to remember yet: call reset() before snapshot()")
        actions = [self._log[start : self._cursor, i] for i, start in enumerate(self._start)]
        return {
            "episode": self._episode.copy(),
            "age": self._cursor - self._start,
            "actions": np.concatenate(actions),
            "fingerprint": _checksum(self._row),
            "trail": self._checksums(self._cursor - self._start),
        }

    def _checksums(self, ages: np.ndarray) -> np.ndarray:
        """Of the last rows [B, TRAIL] of each environment's present episode, the newest first."""
        sums = np.zeros((self.num_envs, TRAIL), np.uint32)
        for back, (obs, reward, terminated) in enumerate(reversed(self._trail)):
            whole = _checksum((obs, np.asarray(reward, np.float32), np.asarray(terminated, bool)))
            sums[:, back] = np.where(ages >= back, whole, 0)
        return sums

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """Live the present episodes again, up to the rows at which `snapshot` was taken.

        Raises:
            WorldError: when an environment does not return to its row, because it does not follow
                its seed or remembers things across episodes.
        """
        ages = snapshot["age"]
        if ages.shape != (self.num_envs,) or len(snapshot["actions"]) != ages.sum():
            raise WorldError(f"the snapshot is of {len(ages)} environments, these are {self.num_envs}")
        self._episode[:] = snapshot["episode"] - 1
        self._cursor = int(ages.max())
        self._log = np.zeros((self._cursor + LOG, *self._log.shape[1:]), self._log.dtype)
        self._trail.clear()
        lives = []
        for i, actions in enumerate(np.split(snapshot["actions"], np.cumsum(ages)[:-1])):
            self._log[self._cursor - len(actions) : self._cursor, i] = actions
            obs, info = self._begin(i)
            self._find_legal(info)
            self._start[i] -= len(actions)
            lives.append(self._replay(i, actions, (obs, 0.0, False, False, info)))
        for back in range(min(TRAIL, int(ages.max()) + 1) - 1, 0, -1):
            # Where an episode had not begun, any of its rows stands in the place: nothing is told of it.
            before = [life[max(len(life) - 1 - back, 0)] for life in lives]
            self._trail.append((self._read([o[0] for o in before]), [o[1] for o in before], [o[2] for o in before]))
        outcomes = [life[-1] for life in lives]
        observations, rewards, terminations, truncations, infos = zip(*outcomes, strict=True)
        lasts = [a or b for a, b in zip(terminations, truncations, strict=True)]
        row = self._gather(observations, rewards, terminations, lasts, (ages == 0).tolist(), infos)
        astray = _checksum(row) != snapshot["fingerprint"]
        if (trail := snapshot.get("trail")) is not None:
            astray |= (self._checksums(ages) != trail).any(1)
        if astray.any():
            raise self._astray(int(np.argmax(astray)))

    def _replay(self, i: int, actions: np.ndarray, outcome: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """What environment i gives when it takes actions again: the last `TRAIL` rows."""
        lived: deque[tuple[Any, ...]] = deque([_kept(outcome)], TRAIL)
        try:
            for t, action in enumerate(self._layout.each(actions)):
                if outcome[2] or outcome[3]:
                    raise self._astray(i)
                outcome = self._outcome(i, self._envs[i].step(action))
                if len(actions) - t <= TRAIL:
                    lived.append(_kept(outcome))
        except WorldError:
            raise
        except Exception as error:
            raise self._error(i, raised("step", error)) from error
        return [*lived]

    def render(self, i: int = 0) -> Any:
        """A picture of environment `i`, where it was made with render_mode="rgb_array"."""
        return self._envs[i].render()

    @property
    def fps(self) -> float | None:
        """Pictures a second at their own speed, where they say it: a body knows only once it is made."""
        return (self._envs[0].metadata or {}).get("render_fps")

    @property
    def action_names(self) -> tuple[str, ...]:
        """What the environments call their actions, as Atari's do; nothing where they do not say."""
        told = getattr(self._envs[0].unwrapped, "get_action_meanings", None)
        return () if told is None else tuple(told())

    def close(self) -> None:
        """Close the environments; those that were lent stay open."""
        if self.owned and not self.closed:
            for env in self._envs:
                env.close()
        self.closed = True

    def _begin(self, i: int) -> tuple[Any, dict[str, Any]]:
        """Reset environment i into its next episode."""
        self._episode[i] += 1
        self._start[i] = self._cursor
        try:
            number = self._numbers[i] // self._group
            begun = self._envs[i].reset(seed=episode_seed(self.seed, number, int(self._episode[i])))
        except Exception as error:
            raise self._error(i, raised("reset", error)) from error
        if not (isinstance(begun, tuple) and len(begun) == 2 and isinstance(begun[1], dict)):
            raise self._error(i, f"reset returned {begun!r}, expected (observation, info): return obs, {{}}")
        return begun

    def _outcome(self, i: int, outcome: Any) -> tuple[Any, Any, bool, bool, Any]:
        """What a step returned, looked at: five things, two of them yes or no."""
        if not (isinstance(outcome, tuple) and len(outcome) == 5):
            told = f"{len(outcome)} things" if isinstance(outcome, tuple) else repr(outcome)
            raise self._error(
                i, f"step returned {told}, expected observation, reward, terminated, truncated, info (Gymnasium's five)"
            )
        obs, reward, terminated, truncated, info = outcome
        if not isinstance(info, Mapping):
            raise self._error(
                i, f"step returned info={info!r}, expected a dictionary: return {{}} where it says nothing"
            )
        if type(terminated) is bool and type(truncated) is bool:
            return outcome
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            if np.size(flag) != 1 or flag not in (0, 1):
                raise self._error(i, f"step returned {name}={flag!r}, expected True or False")
        return obs, reward, bool(terminated), bool(truncated), info

    def _remember(self, action: np.ndarray) -> np.ndarray:
        """Write the actions into the log, and return what is written."""
        if np.shape(action) != self._log.shape[1:]:
            raise ValueError(f"actions have the shape {np.shape(action)}, expected {self._log.shape[1:]}")
        if self._cursor == len(self._log):
            oldest = int(self._start.min())
            kept = self._log[oldest:]
            self._log = np.zeros((max(LOG, 2 * len(kept)), *kept.shape[1:]), kept.dtype)
            self._log[: len(kept)] = kept
            self._cursor -= oldest
            self._start -= oldest
        self._log[self._cursor] = action
        self._cursor += 1
        return self._log[self._cursor - 1]

    def _gather(self, observations, rewards, terminations, lasts, firsts, infos) -> TimeStep:
        """Rows [B] of what B environments returned."""
        try:
            obs, reward = self._read(observations), _paid(rewards)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise self._blame(observations, rewards) from error
        if self._looks:
            self._looks -= 1
            if found := outside(self._envs[0].observation_space, obs):
                raise self._error(found[0], f"returned {found[1]}")
        self._last = lasts
        try:
            legal = self._legal.read(infos, lasts, firsts)
            discount = discounts(infos, terminations, firsts, self._two_players, self._lives)
        except InfoError as error:
            raise self._error(error.env, str(error)) from error
        self._row = rows(obs, reward, discount, firsts, lasts, legal)
        self._trail.append((obs, reward, terminations))
        return self._row

    def _find_legal(self, info: dict[str, Any]) -> None:
        try:
            self._legal.start(info)
        except ValueError as error:
            raise self._error(0, str(error)) from error

    def _blame(self, observations, rewards) -> WorldError:
        """Which environment returned something wrong, and what."""
        for i, (obs, reward) in enumerate(zip(observations, rewards, strict=True)):
            number = np.asarray(reward)
            if number.shape != () or number.dtype.kind not in "biuf" or not _payable([number.item()]):
                told = f"returned reward {reward!r}, expected a finite number, in 32 bits"
                if number.shape and number.size == 1:
                    told += f": its one number is in an array of shape {list(number.shape)}, return reward.item()"
                return self._error(i, told)
            try:
                self._read([obs])
            except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
                space = self._envs[i].observation_space
                told = isinstance(error, ValueError) and "observation" in str(error)
                what = str(error) if told else f"{type(obs).__name__} {obs!r}, expected an element of {space}"
                return self._error(i, f"returned {what}")
        return WorldError(f"{self.name}: rewards {rewards!r} do not fit together")

    def _astray(self, i: int) -> WorldError:
        return self._error(
            i,
            "did not return to where it was when its actions were taken again: it does not follow reset(seed=...), "
            "or it (or a wrapper) remembers things across episodes. Such a run cannot be resumed exactly",
        )

    def _error(self, i: int, what: str) -> WorldError:
        age = self._cursor - self._start[i]
        return WorldError(
            f"environment {self._numbers[i]} ({self.name}), episode {self._episode[i]}, step {age}: {what}"
        )


def _kept(outcome: tuple[Any, ...]) -> tuple[Any, ...]:
    """An outcome whose observation the environment will not write over."""
    return copy.deepcopy(outcome[0]), *outcome[1:]


def _checksum(tree: PyTree[np.ndarray]) -> np.ndarray:
    """A checksum [B] of what each of B environments has in a tree of arrays [B, ...]."""
    leaves = [np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(tree)]
    sums = np.zeros(len(leaves[0]), np.uint32)
    for i in range(len(sums)):
        for leaf in leaves:
            sums[i] = zlib.crc32(leaf[i].tobytes(), int(sums[i]))
    return sums


def _paid(rewards: Sequence[Any]) -> np.ndarray:
    """Rewards [B] of B environments.

    Raises:
        ValueError: where one is no finite number in 32 bits.
    """
    numbers = rewards
    if not PLAIN.issuperset(map(type, rewards)):
        paid = np.asarray(rewards)
        if paid.shape != (len(rewards),) or paid.dtype.kind not in "biuf":
            raise ValueError(f"rewards {rewards!r}, expected numbers")
        numbers = paid.tolist()
    if not _payable(numbers):
        raise ValueError(f"rewards {rewards!r}, expected finite numbers in 32 bits")
    return np.array(numbers, np.float32)


def _payable(rewards: Sequence[float]) -> bool:
    """Whether all are finite in 32 bits: of a few, quicker so than as an array."""
    return -LARGEST <= min(rewards) and max(rewards) <= LARGEST and math.isfinite(sum(rewards))
