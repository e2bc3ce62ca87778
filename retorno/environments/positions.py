"""The exact model of a native world: each position is entered, each action tried, and chance asked what it may do.

No second description is needed: what is solved is what is played.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Int, PyTree, UInt8

from retorno.core.environment import Environment, ListsChances
from retorno.core.mdp import MDP, ModelError
from retorno.core.time_step import TimeStep, allowed, legal_mask
from retorno.environments.games.game import SIGNS, Game

MOST = 1_000_000
TOGETHER = 256
"""Positions that are explored by one call of a compiled program."""
EARLY = 20_000
"""Positions after which it is asked whether there are far too many, before all that are allowed were gone through."""
AT_RANDOM = 64
"""Steps of the courses at random that tell so."""


@dataclass(frozen=True, eq=False)
class Positions:
    """Every position that can be come to, as the states of a model."""

    model: MDP
    obs: PyTree[Any]
    """What is observed in each. [S]"""
    numbers: dict[bytes, int]
    """The state of each observation, by its bytes."""

    def state(self, obs: PyTree[Any]) -> int:
        """The state that an observation shows.

        Raises:
            KeyError: when no course of the world leads there.
        """
        return self.numbers[b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(obs))]


def positions(world: Environment, *, limit: int = MOST) -> Positions:
    """The model of every position of a world that begins in one and can be entered in each: a game, a puzzle.

    In a game of two a transition's discount is −1 where the other moves next, so `bellman.solve` finds perfect play.

    Args:
        world: with A actions, whose observations tell all. What chance does in it is listed (`ListsChances`).
        limit: more positions than this are refused.

    Raises:
        ModelError: when it has no such model: it says why.

    >>> from retorno.bellman import solve
    >>> from retorno.environments.games.hex import Hex
    >>> found = positions(Hex(size=2)).model
    >>> found.num_states, solve(found, 1).start_value
    (32, 1.0)
    """
    name = type(world).__name__
    if not isinstance(world.action_space, spaces.Discrete):
        raise ModelError(
            f"{name} has the actions {world.action_space}, and a model has numbered ones, a Discrete space"
        )
    first, explore = _first(world), _explorer(world)
    tree = jax.tree.structure(first)
    rows = [np.asarray(leaf)[None] for leaf in jax.tree.leaves(first)]
    numbers, frontier, planned = {_keys(rows)[0].tobytes(): 0}, np.zeros(1, np.int64), {0}
    table: list[tuple[np.ndarray, ...]] = []
    refused = ModelError(
        f"{name} has more than {limit:,} positions: solve a smaller one (of a game its size is a setting), or raise "
        "`limit`"
    )
    asked = False
    while len(frontier):
        further: list[int] = []
        for now in np.split(frontier, range(TOGETHER, len(frontier), TOGETHER)):
            if len(numbers) > limit:
                raise refused
            if len(numbers) > EARLY and not asked:
                asked = True
                if _surely_more(world, limit):
                    raise refused
            obs = [leaf[np.resize(now, TOGETHER)] for leaf in rows]
            reached, legal, chance = jax.device_get(explore(jax.tree.unflatten(tree, obs)))
            happens = legal[..., None] & (chance > 0)
            happens[len(now) :] = False
            at, action, _ = where = np.nonzero(happens)
            reward, discount = reached.reward[where].astype(float), reached.discount[where].astype(float)
            _require_whole(name, reached.last[where], reward, discount)
            after, known = [leaf[where] for leaf in jax.tree.leaves(reached.obs)], len(numbers)
            next_state, fresh = _numbered(after, numbers)
            rows = [_appended(leaf, known, more[fresh]) for leaf, more in zip(rows, after, strict=True)]
            # Where an episode is over there is nothing to explore, unless one also comes there and goes on.
            new = [each for each in dict.fromkeys(next_state[discount != 0].tolist()) if each not in planned]
            planned.update(new)
            further += new
            table.append((now[at], action, next_state, chance[where], reward, discount))
        frontier = np.array(further, np.int64)
    obs = jax.tree.unflatten(tree, [leaf[: len(numbers)] for leaf in rows])
    model = _model(world, Shown(world, obs), [np.concatenate(column) for column in zip(*table, strict=True)])
    return Positions(model, obs, numbers)


def _first(world: Environment) -> PyTree[Any]:
    """What is observed in the first position, where there is only one."""
    if _draws(world.reset):
        raise ModelError(f"{type(world).__name__} draws where it begins: a model of its positions needs one beginning")
    try:
        row = world.reset(jax.random.key(0))[1]
        world.enter(row.obs)
    except NotImplementedError as error:
        raise ModelError(f"{error}, so its positions cannot be gone through: give a model of it") from None
    step = lambda obs, key: world.step(world.enter(obs)[0], jnp.int32(0), key)  # noqa: E731
    if not isinstance(world, ListsChances) and _draws(step, row.obs):
        raise ModelError(
            f"{type(world).__name__} draws what follows an action and does not list what may: it needs `chances`, "
            "`odds` and `outcome`; a game derives from ChanceGame and says `chances`, `chance_logits` and `happen`"
        )
    return row.obs


def _draws(call: Callable[..., Any], *given: Any) -> bool:
    """Whether a function of something and a key looks at the key."""
    traced = jax.make_jaxpr(call)(*given, jax.random.key(0)).jaxpr
    return any(each is traced.invars[-1] for equation in traced.eqns for each in equation.invars)


def _explorer(world: Environment) -> Any:
    """Observations [N] → rows [N, A, C], what is legal [N, A], and how likely each outcome is [N, A, C]."""
    actions = int(world.action_space.n)  # pyright: ignore[reportAttributeAccessIssue]
    listed = world if isinstance(world, ListsChances) else None

    def one(obs: PyTree[Any]) -> tuple[TimeStep, Array, Array]:
        state, row = world.enter(obs)

        def happened(action: Int[Array, ""], chance: Int[Array, ""]) -> TimeStep:
            if listed is not None:
                return listed.outcome(state, action, chance)[1]
            return world.step(state, action, jax.random.key(0))[1]

        def odds(action: Int[Array, ""]) -> Array:
            return jnp.zeros(1) if listed is None else listed.odds(state, action)

        every, chances = jnp.arange(actions), jnp.arange(1 if listed is None else listed.chances)
        led = jax.vmap(lambda action: jax.vmap(lambda chance: happened(action, chance))(chances))(every)
        legal = legal_mask(row.legal, actions)
        return led, jnp.ones(actions, bool) if legal is None else legal, jax.nn.softmax(jax.vmap(odds)(every))

    return jax.jit(jax.vmap(one))


def _surely_more(world: Environment, limit: int) -> bool:
    """Whether courses at random show that a world has more positions than a limit.

    However likely each of N positions is at some step, two courses are in the same one there with a probability of 1/N
    or more. So many are lived that 50 pairs of them would meet, on average, if there were no more positions than the
    limit: where fewer than a fourth of that do, there are more, but for one time in a million.
    """
    courses = int(10 * limit**0.5)

    @jax.jit
    def on(state: Any, row: TimeStep, key: Any) -> tuple[Any, TimeStep]:
        def one(state: Any, row: TimeStep, key: Any) -> tuple[Any, TimeStep]:
            choosing, stepping = jax.random.split(key)
            free = jnp.zeros(int(world.action_space.n))  # pyright: ignore[reportAttributeAccessIssue]
            return world.step(state, jax.random.categorical(choosing, allowed(row.legal, free)), stepping)

        return jax.vmap(one)(state, row, jax.random.split(key, courses))

    state, row = jax.vmap(world.reset)(jax.random.split(jax.random.key(0), courses))
    live = np.ones(courses, bool)
    for step in range(AT_RANDOM):
        state, row = on(state, row, jax.random.key(step))
        shown = _keys([np.asarray(leaf)[live] for leaf in jax.tree.leaves(row.obs)])
        expected = len(shown) * (len(shown) - 1) / 2 / limit
        if expected < 32:
            return False
        together = np.unique(shown.view(f"V{shown.shape[1]}").ravel(), return_counts=True)[1]
        if (together * (together - 1) / 2).sum() < expected / 4:
            return True
        live &= ~np.asarray(row.last)
    return False


def _require_whole(name: str, last: np.ndarray, reward: np.ndarray, discount: np.ndarray) -> None:
    if not np.isfinite(reward).all():
        raise ModelError(f"{name} pays {reward[~np.isfinite(reward)][0]} for what it says is legal")
    if (last & (discount != 0)).any():
        raise ModelError(f"{name} cuts its episodes off after a time that its observations do not tell: leave that out")


def _keys(rows: Sequence[np.ndarray]) -> UInt8[np.ndarray, "N bytes"]:
    """The bytes of N observations, given by their leaves."""
    return np.concatenate([np.ascontiguousarray(leaf.reshape(len(leaf), -1)).view(np.uint8) for leaf in rows], 1)


def _numbered(
    rows: Sequence[np.ndarray], numbers: dict[bytes, int]
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " fresh"]]:
    """The states of N observations, and which of these show one that was not met before: it has its number now."""
    whole = _keys(rows)
    _, first, inverse = np.unique(whole.view(f"V{whole.shape[1]}").ravel(), return_index=True, return_inverse=True)
    known, number = len(numbers), np.zeros(len(first), np.int64)
    by_place = np.argsort(first)
    number[by_place] = [numbers.setdefault(whole[i].tobytes(), len(numbers)) for i in first[by_place]]
    return number[inverse.ravel()], first[by_place][number[by_place] >= known]


def _appended(leaf: np.ndarray, count: int, more: np.ndarray) -> np.ndarray:
    """The first `count` rows and some more, in twice the room where there is none left."""
    if count + len(more) > len(leaf):
        leaf = np.concatenate([leaf[:count], np.empty((max(len(leaf), len(more)), *leaf.shape[1:]), leaf.dtype)])
    leaf[count : count + len(more)] = more
    return leaf


def _model(world: Environment, shown: Shown, table: Sequence[np.ndarray]) -> MDP:
    """The model of a table of transitions, one a row: state, action, next state, how likely, reward and discount."""
    order = np.lexsort((table[1], table[0]))
    state, action, next_state, chance, reward, discount = (column[order] for column in table)
    starts = np.flatnonzero(np.append(True, (np.diff(state) != 0) | (np.diff(action) != 0)))
    row_ptr = np.append(starts, len(state))
    mass = np.add.reduceat(chance.astype(float), starts)
    actions = range(int(world.action_space.n))  # pyright: ignore[reportAttributeAccessIssue]
    return MDP(
        state_ptr=np.searchsorted(state[starts], np.arange(len(shown) + 1)),
        action=action[starts],
        row_ptr=row_ptr,
        next_state=next_state.astype(np.int32),
        probability=chance / np.repeat(mass, np.diff(row_ptr)),
        reward=reward,
        discount=discount,
        initial=np.eye(1, len(shown))[0],
        state_names=shown,
        action_names=[world.say(each) if isinstance(world, Game) else str(each) for each in actions],
    )


@dataclass(frozen=True, eq=False)
class Shown(Sequence[str]):
    """Positions in one line each, written when they are read: a board row by row, X whoever moves."""

    world: Environment
    obs: PyTree[Any]
    """[S]"""

    def __len__(self) -> int:
        return len(jax.tree.leaves(self.obs)[0])

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        obs = jax.tree.map(lambda leaf: leaf[index], self.obs)
        if not isinstance(self.world, Game) or self.world.board is None:
            return " ".join(str(x) for leaf in jax.tree.leaves(obs) for x in np.asarray(leaf).ravel())
        board = "/".join("".join(SIGNS[mark] for mark in row) for row in self.world.marks(obs))
        # Where more is seen than a board's marks, the same marks may be several positions.
        return board if len(jax.tree.leaves(obs)) == 1 else f"{board} #{index % len(self)}"
