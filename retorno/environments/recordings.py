"""What was lived before, to be learnt from: demonstrations, rankings, anybody's data.

It is a world in which everything happens again as it happened, whatever is chosen. So all that knows worlds knows it;
but the collector does not live it row by row, nor does anybody act: it draws whole episodes, with the actions that
were taken then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int, Key, PyTree, UInt32

from retorno.core.environment import Environment
from retorno.core.runtime import prepare
from retorno.core.spaces import HashableSpace, SpaceError, Spec
from retorno.core.time_step import TimeStep, Trajectory
from retorno.environments.registry import WorldName


class Place(NamedTuple):
    """Where somebody is in what was recorded."""

    column: Int[Array, ""]
    row: Int[Array, ""]


class Reading(NamedTuple):
    """How far the collector has come: every group of columns is drawn once an epoch, in an order of the seed's."""

    epoch: UInt32[Array, ""]
    drawn: Int[Array, ""]
    """Groups of this epoch."""


class Recorded(Environment):
    """Whole episodes, recorded, in columns; see `recorded_episodes`, which makes it.

    Raises:
        ValueError: when its columns are no whole number of groups.
    """

    lived: Trajectory
    """[T+1, C]; a column begins with an episode's first row, and rows after its last episode wait. No carry."""
    observed: HashableSpace = eqx.field(static=True)
    taken: HashableSpace = eqx.field(static=True)
    group: int = eqx.field(static=True, default=1)
    """So many neighbouring columns belong together, as answers to one prompt do: they are drawn together."""
    named: WorldName | None = eqx.field(static=True, default=None)
    """By which it can be made again."""

    def __check_init__(self) -> None:
        if self.columns % self.group:
            raise ValueError(f"{self.columns} columns are no whole number of groups of {self.group}")

    @property
    def observation_space(self) -> gymnasium.Space[Any]:
        return self.observed.space

    @property
    def action_space(self) -> gymnasium.Space[Any]:
        return self.taken.space

    @property
    def columns(self) -> int:
        """C, how many columns there are."""
        return self.lived.steps.last.shape[1]

    @property
    def groups(self) -> int:
        """How many groups of columns there are."""
        return self.columns // self.group

    @property
    def transitions(self) -> int:
        """How many there are in all: environment steps of one epoch."""
        return int(np.asarray(self.lived.transitions).sum())

    def episodes(self) -> Iterator[Episode]:
        """The episodes, one after another, on the host."""
        lived = jax.tree.map(np.asarray, self.lived)
        for column in range(self.columns):
            first, last = lived.steps.first[:, column], lived.steps.last[:, column]
            for begin in np.flatnonzero(first):
                end = begin + int(np.argmax(last[begin:]))
                steps = jax.tree.map(lambda x, a=begin, b=end + 1, c=column: x[a:b, c], lived.steps)
                done, extras = jax.tree.map(lambda x, a=begin, b=end, c=column: x[a:b, c], (lived.action, lived.extras))
                yield Episode(steps, done, extras)

    def reset(self, key: Key[Array, ""]) -> tuple[Place, TimeStep]:
        place = Place(jax.random.randint(key, (), 0, self.columns), jnp.int32(0))
        return place, self._row(place)

    def step(self, state: Place, action: Any, key: Key[Array, ""]) -> tuple[Place, TimeStep]:
        place = Place(state.column, jnp.minimum(state.row + 1, self.lived.steps.last.shape[0] - 1))
        return place, self._row(place)

    def restart(self, state: Place, key: Key[Array, ""]) -> tuple[Place, TimeStep]:
        """The next episode of the column, or where there is none another column."""
        following, row = self.step(state, None, key)
        more = row.first & (following.row > state.row)
        return jax.tree.map(lambda a, b: jnp.where(more, a, b), (following, row), self.reset(key))

    def _row(self, place: Place) -> TimeStep:
        return jax.tree.map(lambda x: x[place.row, place.column], self.lived.steps)

    def opening(self, num_envs: int) -> Reading:
        """Before the first epoch, to be read B columns at a time.

        Raises:
            ValueError: when B columns are no whole groups, or more than there are.
        """
        take, rest = divmod(num_envs, self.group)
        if rest:
            raise ValueError(
                f"{self.group} columns at a time belong together, and num_envs={num_envs} is no multiple of them: "
                f"choose {self.group * min(max(round(num_envs / self.group), 1), self.groups)}"
            )
        if take > self.groups:
            raise ValueError(
                f"num_envs={num_envs} columns are drawn at once, and only {self.columns} were recorded: choose "
                f"num_envs={self.columns} or fewer"
            )
        return Reading(jnp.uint32(0), jnp.int32(0))

    def draw(self, reading: Reading, seed: UInt32[Array, ""], num_envs: int) -> tuple[Reading, Trajectory]:
        """The next B columns, whole groups of them.

        Args:
            reading: how far one has come.
            seed: which the order of each epoch follows from. Shape [].
            num_envs: B.

        Returns:
            How far one has come then, and what was lived [T+1, B].
        """
        take = num_envs // self.group

        def order(epoch: UInt32[Array, ""]) -> Int[Array, " G"]:
            return jax.random.permutation(jax.random.fold_in(jax.random.key(seed), epoch), self.groups)

        # The last groups of an epoch and the first ones of the next may stand in one batch.
        place = reading.drawn + jnp.arange(take)
        over = place >= self.groups
        groups = jnp.where(
            over, order(reading.epoch + 1)[place % self.groups], order(reading.epoch)[place % self.groups]
        )
        columns = (groups[:, None] * self.group + jnp.arange(self.group)).reshape(-1)
        drawn = reading.drawn + take
        ended = drawn >= self.groups
        after = Reading(reading.epoch + ended, jnp.where(ended, drawn - self.groups, drawn))
        return after, jax.tree.map(lambda x: x[:, columns], self.lived)


class Episode(NamedTuple):
    """An episode as it was lived, on the host: n transitions between n + 1 rows."""

    steps: TimeStep
    """[n+1], the first one `first`, the last one `last`."""
    action: PyTree[Any]
    """[n]"""
    extras: PyTree[Any] = ()
    """[n], what else is known of each transition."""


def episode(
    obs: PyTree[Any],
    action: PyTree[Any],
    reward: Any = 0.0,
    terminated: bool = True,
    legal: Any = None,
    extras: PyTree[Any] = (),
) -> Episode:
    """An episode from arrays.

    Args:
        obs: what was observed. Shapes [n+1, …].
        action: what was done. Shapes [n, …].
        reward: what was paid for it. Shape [n] or [].
        terminated: whether it ended by itself; else it was cut.
        legal: what might be done on each row. Shapes [n+1, …], or None.
        extras: what else is known of each transition. Shapes [n, …].

    >>> episode(np.arange(3), np.zeros(2, int), 1.0).steps.discount
    array([1., 1., 0.], dtype=float32)
    """
    rows = len(jax.tree.leaves(obs)[0])
    paid = np.zeros(rows, np.float32)
    with np.errstate(over="ignore"):  # Whoever reads it looks for infinity.
        paid[1:] = reward
    discount = np.ones(rows, np.float32)
    discount[-1] = 0.0 if terminated else 1.0
    number = np.arange(rows)
    steps: Any = TimeStep(obs, paid, discount, number == 0, number == rows - 1, legal)  # pyright: ignore[reportArgumentType]
    return Episode(steps, action, extras)


def recorded_episodes(
    episodes: Sequence[Episode],
    observation_space: gymnasium.Space[Any],
    action_space: gymnasium.Space[Any],
    *,
    rows: int | None = None,
    packed: bool = True,
    group: int = 1,
) -> Recorded:
    """A world of recorded episodes.

    Args:
        episodes: what was lived.
        observation_space: of what was observed.
        action_space: of what was done.
        rows: of a column, T + 1; None for those of the longest episode.
        packed: whether short episodes share a column, one after the other; of groups none do.
        group: so many neighbouring episodes belong together.

    Raises:
        ValueError: when there are none, or one is longer than a column.

    >>> from gymnasium import spaces
    >>> short, long = episode(np.arange(3), np.zeros(2, int)), episode(np.arange(5), np.zeros(4, int))
    >>> world = recorded_episodes([short, long, short], spaces.Discrete(5), spaces.Discrete(2), rows=6)
    >>> world.columns, world.transitions
    (2, 8)
    """
    lengths = [len(each.steps.last) for each in episodes]
    if not lengths or min(lengths) < 2:
        raise ValueError("no recorded episode: expected one or more, each of one transition or more")
    if rows is None:
        rows = max(lengths)
    if max(lengths) > rows:
        number = int(np.argmax(lengths))
        raise ValueError(f"episode {number} has {lengths[number]} rows, a column {rows}: give rows={max(lengths)}")
    places = _packed(lengths, rows) if packed and group == 1 else [(column, 0) for column in range(len(lengths))]
    columns = 1 + max(column for column, _ in places)

    def empty(leaf: Any, length: int) -> np.ndarray:
        leaf = np.asarray(leaf)
        return np.zeros((length, columns, *leaf.shape[1:]), leaf.dtype)

    steps = jax.tree.map(lambda x: empty(x, rows), episodes[0].steps)
    steps = steps._replace(last=np.ones((rows, columns), bool))  # Rows that only wait.
    action, extras = jax.tree.map(lambda x: empty(x, rows - 1), (episodes[0].action, episodes[0].extras))

    def put(into: np.ndarray, x: Any, start: int, column: int) -> None:
        into[start : start + len(x), column] = x

    for each, (column, start) in zip(episodes, places, strict=True):
        jax.tree.map(lambda into, x, c=column, s=start: put(into, x, s, c), steps, each.steps)
        jax.tree.map(lambda into, x, c=column, s=start: put(into, x, s, c), action, each.action)
        jax.tree.map(lambda into, x, c=column, s=start: put(into, x, s, c), extras, each.extras)
    prepare()  # Before its arrays are made.
    lived = jax.tree.map(jnp.asarray, Trajectory(steps, action, extras, ()))
    return Recorded(lived, HashableSpace(observation_space), HashableSpace(action_space), group)


def _packed(lengths: Sequence[int], rows: int) -> list[tuple[int, int]]:
    """A column and a first row for each episode: the longest first, each where it still fits (Johnson 1973).

    >>> _packed([2, 4, 2, 3], 6)
    [(0, 4), (0, 0), (1, 3), (1, 0)]
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    places = [(0, 0)] * len(lengths)
    room: dict[int, list[int]] = {}  # Columns by how many rows are left.
    columns = 0
    for i in order:
        fitting = [left for left in room if left >= lengths[i] and room[left]]
        if fitting:
            left = min(fitting)
            column = room[left].pop()
        else:
            left, column, columns = rows, columns, columns + 1
        places[i] = column, rows - left
        room.setdefault(left - lengths[i], []).append(column)
    return places


def ranked_episodes(
    answers: Sequence[tuple[Sequence[Episode], Sequence[int]]],
    observation_space: gymnasium.Space[Any],
    action_space: gymnasium.Space[Any],
    *,
    rows: int | None = None,
) -> Recorded:
    """A world of answers of which somebody said which are better: a group of columns for each ranking.

    Where one ranking has fewer answers than another, columns that only wait stand in their places.

    Args:
        answers: for each ranking its episodes, and the rank of each: 0 the best, equal ones tie, −1 not ranked.
        observation_space: of what was observed.
        action_space: of what was done.
        rows: of a column, T + 1; None for those of the longest answer.

    Raises:
        ValueError: when there are none, when the ranks of one are not as many as its answers, or tell nothing apart.
    """
    size = max((len(episodes) for episodes, _ in answers), default=0)
    told = []
    for number, (episodes, rank) in enumerate(answers):
        if len(rank) != len(episodes):
            raise ValueError(f"ranking {number} has {len(episodes)} answers and {len(rank)} ranks: give one to each")
        if len({each for each in rank if each >= 0}) < 2:
            raise ValueError(f"ranking {number} tells no two answers apart: its ranks are {list(rank)}")
        ranking = np.array([*rank, *[-1] * (size - len(rank))], np.int8)
        for each in episodes:
            beside = np.broadcast_to(ranking, (len(each.steps.last) - 1, size))
            told.append(each._replace(extras={"ranking": beside}))
        waiting = told[-1]._replace(steps=told[-1].steps._replace(last=np.ones_like(told[-1].steps.last)))
        told += [waiting] * (size - len(episodes))
    return recorded_episodes(told, observation_space, action_space, rows=rows, group=max(size, 1))


def rankings(lived: Trajectory) -> Int[Array, "P K"]:
    """The ranks of the K answers to each of P prompts, which stand side by side; −1 where one was not ranked.

    Args:
        lived: drawn from a world that `ranked_episodes` made. Shapes [T+1, P·K].
    """
    ranking = lived.extras["ranking"][0]
    return ranking[:: ranking.shape[-1]]


def require_recorded(spec: Spec, algorithm: str, *extras: str) -> Recorded:
    """The world of recordings that an algorithm is to learn from.

    Raises:
        SpaceError: when it is another world, or what the algorithm reads of each transition was not recorded.

    Args:
        spec: what is known of the world.
        algorithm: its name, for the message.
        *extras: what it reads beside the actions, by name.
    """
    world = spec.world
    if not isinstance(world, Recorded):
        raise SpaceError(
            f"{algorithm} learns from what was recorded and does not act itself: give it the file or folder of a data "
            "set in the world's place, what a run does, retorno.record(run), your own episodes, "
            "retorno.environments.recorded_episodes(…), or texts, retorno.language.demonstrations(…) or rankings(…)"
        )
    held = world.lived.extras if isinstance(world.lived.extras, dict) else {}
    if missing := [name for name in extras if name not in held]:
        raise SpaceError(
            f"{algorithm} reads {', '.join(missing)} of each answer, and these recordings hold "
            f"{', '.join(held) or 'actions alone'}: rankings are made by retorno.language.rankings(…)"
        )
    return world
