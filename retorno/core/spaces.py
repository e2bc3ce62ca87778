"""Gymnasium spaces as a network and a table see them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import Space, spaces
from jax import Array
from jaxtyping import Float, Int, PyTree

from retorno.core.counter import Counter
from retorno.core.environment import Environment
from retorno.core.time_step import TimeStep

if TYPE_CHECKING:
    from retorno.core.policy import Relabel

CHANNELS = (1, 3, 4)
"""How many a picture has: grey, colours, or four grey frames or colours and how opaque they are."""
LISTED = 8
"""Numbers of an observation that are told one by one."""


class SpaceError(ValueError):
    """A space that cannot be taken: the message says which can."""


@dataclass(frozen=True)
class Spec:
    """What an algorithm has to know of a world and of the run to come."""

    observation_space: Space[Any]
    action_space: Space[Any]
    """As policies act in it: see `policy_space`."""
    num_envs: int
    """B, the number of environments that act side by side."""
    steps: int | Int[Array, ""] | Counter
    """The run's budget of environment steps, over which schedules run."""
    row: TimeStep
    """A row of zeros that ends an episode (`last`): shapes and dtypes, and a place to start from."""
    world: Environment | None = None
    """The world itself, where it is native: for what plans in it."""
    relabel: Relabel | None = None
    """Where rewards come from, when not from the world alone."""
    two_players: bool = False
    """Whether an opponent moves on some rows."""
    whole: bool = False
    """Whether each rollout is of whole episodes, all of which begin with it: then no memory outlives one."""


def require_one_player(spec: Spec, algorithm: str, why: str) -> None:
    """Refuse a game of two.

    Raises:
        SpaceError: with the reason, where an opponent moves on some rows.
    """
    if spec.two_players:
        raise SpaceError(
            f"{algorithm} is for one player, and here two move in turn: {why}. QLearning, PPO or UCT can play, or give "
            "the opponent a policy of its own inside the world"
        )


class Mixed(Space[np.ndarray]):
    """Choices and real numbers in one vector of float32, as policies act in a Dict or Tuple that asks for both."""

    def __init__(self, sizes: tuple[int, ...], reals: spaces.Box) -> None:
        """The numbers of the choices stand first, of which there are so many each; then what the Box holds."""
        self.sizes, self.reals = sizes, reals
        super().__init__((len(sizes) + width(reals),), np.float32)

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def sample(self, mask: Any = None, probability: Any = None) -> np.ndarray:
        chosen = [self.np_random.integers(size) for size in self.sizes]
        self.reals.seed(int(self.np_random.integers(2**31)))
        return np.concatenate([chosen, self.reals.sample()]).astype(np.float32)

    def contains(self, x: Any) -> bool:
        choices, reals = np.split(np.asarray(x, np.float32), [len(self.sizes)])
        return bool(np.isin(choices, np.arange(max(self.sizes))).all() and (choices < self.sizes).all()) and (
            self.reals.contains(reals)
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mixed) and (self.sizes, self.reals) == (other.sizes, other.reals)

    def __repr__(self) -> str:
        return f"choices of {', '.join(map(str, self.sizes))} beside {self.reals}"


class Record(spaces.Box):
    """A Box that tells states apart and is nothing to compute with: `enter` reads it, and no network does."""


PICTURE_FROM = 12
"""Rows and columns from which three axes are taken for a picture."""


def is_picture(space: Space[Any]) -> bool:
    """Whether its elements are pictures: rows of a raster of bytes in one or several channels, wherever these are."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3


def is_screen(space: Space[Any]) -> bool:
    """Whether its elements are pictures, or boards of bits as MinAtar's planes are: all of it of one kind."""
    return is_picture(space) or (isinstance(space, spaces.Box) and space.dtype == np.bool_)


def channels_first(space: Space[Any]) -> bool:
    """Whether its elements are pictures [channels, rows, columns], as PyTorch has them.

    So are bytes of 1, 3 or 4 channels, and whatever has twice as many rows and columns as channels or more (twelve of
    four stacked frames; floats too), unless as few come last. Another number of channels than 1, 3 or 4 are rather a
    board's rows where what follows is small and no square.

    >>> [channels_first(spaces.Box(0, 255, shape, np.uint8)) for shape in ((3, 40, 60), (40, 60, 3), (4, 4, 3))]
    [True, False, False]
    >>> [channels_first(spaces.Box(0, 1, shape)) for shape in ((12, 40, 60), (40, 60, 12), (6, 7, 42))]
    [True, False, False]
    """
    match space:
        case Record():
            return False
        case spaces.Box(low=low, high=high, shape=(first, rows, last)) if last not in CHANNELS:
            usual = first in CHANNELS
            if usual and is_picture(space) and not low.any() and bool((high == 255).all()):
                return True
            return 2 * first <= min(rows, last) and (usual or rows == last or min(rows, last) >= PICTURE_FROM)
    return False


def channels_last(space: spaces.Box, x: Any) -> Any:
    """Of pictures, or of several side by side, the channels behind rows and columns: [rows, columns, channels].

    Args:
        space: that they are elements of: of three axes, or of one more in front, of the frames.
        x: one of them, or bounds of the space.

    >>> channels_last(spaces.Box(0, 255, (4, 3, 40, 60), np.uint8), np.zeros((4, 3, 40, 60))).shape
    (40, 60, 12)
    """
    match space.shape:
        case (frames, *_, _) if len(space.shape) == 4:
            one = spaces.Box(space.low[0], space.high[0], dtype=space.dtype.type)  # type: ignore[union-attr]
            seen = jnp if isinstance(x, Array) else np
            return seen.concatenate([channels_last(one, x[k]) for k in range(frames)], -1)
        case (_, _, _) if channels_first(space):
            return jnp.moveaxis(x, 0, -1) if isinstance(x, Array) else np.moveaxis(x, 0, -1)
    return x


def width(space: Space[Any]) -> int:
    """The length of `encode(space, obs)`."""
    match space:
        case Record():
            return 0
        case spaces.Discrete():
            return int(space.n)
        case spaces.MultiDiscrete():
            return int(space.nvec.sum())
        case spaces.Box() | spaces.MultiBinary():
            return int(np.prod(space.shape))
        case spaces.Dict() | spaces.Tuple():
            return sum(width(part) for part in parts(space))
        case Mixed():
            return sum(space.sizes) + width(space.reals)
    raise unsupported(space)


def encode(space: Space[Any], obs: PyTree[Any]) -> Float[Array, " D"]:
    """One observation as one vector: one-hot where discrete, flat for Box, joined for Dict and Tuple."""
    match space:
        case Record():
            return jnp.zeros(0)
        case spaces.Discrete():
            return jax.nn.one_hot(obs - space.start, int(space.n))
        case spaces.MultiDiscrete() if len(set(space.nvec.reshape(-1).tolist())) == 1:
            return jax.nn.one_hot(obs - space.start, int(space.nvec.reshape(-1)[0])).reshape(-1)
        case spaces.MultiDiscrete():
            digits = (obs - space.start).reshape(-1)
            sizes = space.nvec.reshape(-1)
            return jnp.concatenate([jax.nn.one_hot(d, int(n)) for d, n in zip(digits, sizes, strict=True)])
        case spaces.Box() | spaces.MultiBinary():
            return jnp.asarray(obs, jnp.float32).reshape(-1)
        case spaces.Dict():
            return jnp.concatenate([encode(part, obs[name]) for name, part in space.spaces.items()])
        case spaces.Tuple():
            return jnp.concatenate([encode(part, o) for part, o in zip(space.spaces, obs, strict=True)])
        case Mixed():
            choices, reals = jnp.split(obs, [len(space.sizes)])
            numbered = [jax.nn.one_hot(x.astype(jnp.int32), n) for x, n in zip(choices, space.sizes, strict=True)]
            return jnp.concatenate([*numbered, reals])
    raise unsupported(space)


def cardinality(space: Space[Any]) -> int:
    """How many different observations or actions a finite space holds.

    Raises:
        SpaceError: when the space is not finite.
    """
    match space:
        case spaces.Discrete():
            return int(space.n)
        case spaces.MultiDiscrete():
            return math.prod(space.nvec.reshape(-1).tolist())
        case spaces.MultiBinary():
            return 2 ** math.prod(space.shape)
        case spaces.Dict() | spaces.Tuple():
            return math.prod(cardinality(part) for part in parts(space))
    raise SpaceError(
        f"a table needs finitely many observations, got {in_short(space)}: discretise it into a Discrete or "
        "MultiDiscrete space, or give the algorithm a network, for instance network=MLP()"
    )


def index(space: Space[Any], obs: PyTree[Any]) -> Int[Array, ""]:
    """The number of one element of a finite space, in [0, cardinality).

    Raises:
        SpaceError: when the space is not finite, or too large to be numbered in 32 bits.
    """
    if cardinality(space) >= 2**31:
        raise SpaceError(
            f"{in_short(space)} has {cardinality(space):,} elements, and a table numbers at most 2,147,483,647: give "
            "the algorithm a network, for instance network=MLP(), or make the observation coarser"
        )
    match space:
        case spaces.Discrete():
            return obs - space.start
        case spaces.MultiDiscrete():
            digits, sizes = (obs - space.start).reshape(-1), space.nvec.reshape(-1)
        case spaces.MultiBinary():
            digits, sizes = obs.reshape(-1), np.full(int(np.prod(space.shape)), 2)
        case spaces.Dict():
            digits = [index(part, obs[name]) for name, part in space.spaces.items()]
            sizes = [cardinality(part) for part in parts(space)]
        case spaces.Tuple():
            digits = [index(part, o) for part, o in zip(space.spaces, obs, strict=True)]
            sizes = [cardinality(part) for part in parts(space)]
        case _:
            raise unsupported(space)
    number = jnp.int32(0)
    for digit, size in zip(digits, sizes, strict=True):
        number = number * int(size) + digit
    return number


def element(space: Space[Any], number: Int[Array, ""]) -> PyTree[Any]:
    """The element of a finite space that `index` gives this number."""
    match space:
        case spaces.Discrete():
            return number + int(space.start)
        case spaces.MultiDiscrete():
            digits = _digits(number, space.nvec.reshape(-1).tolist())
            return jnp.stack(digits).reshape(space.shape) + space.start
        case spaces.MultiBinary():
            return jnp.stack(_digits(number, [2] * int(np.prod(space.shape)))).reshape(space.shape)
        case spaces.Dict() | spaces.Tuple():
            held = parts(space)
            numbers = _digits(number, [cardinality(part) for part in held])
            made = [element(part, n) for part, n in zip(held, numbers, strict=True)]
            return dict(zip(space.spaces, made, strict=True)) if isinstance(space, spaces.Dict) else tuple(made)
    raise SpaceError(f"{space} is not finite")


def _digits(number: Int[Array, ""], sizes: list[int]) -> list[Int[Array, ""]]:
    """A number written with these bases, the last digit running fastest."""
    digits = []
    for size in reversed(sizes):
        digits.append(number % size)
        number = number // size
    return digits[::-1]


def misfit(space: Space[Any], recorded: PyTree[Any]) -> str:
    """Why values [N, …] are no elements of a space; nothing where they are. Of Box bounds are not looked at.

    Args:
        space: in which they should lie.
        recorded: what was observed or done, as the world gives or takes it.

    >>> misfit(spaces.Discrete(2), np.array([0, 1, 3])), misfit(spaces.Box(-1, 1, (2,)), np.zeros((5, 2)))
    ('from 0 to 3 where Discrete(2) is expected', '')
    """
    match space, recorded:
        case spaces.Dict(), dict():
            if space.spaces.keys() != recorded.keys():
                return f"parts {', '.join(recorded)} where {', '.join(space.spaces)} are expected"
            found = ((name, misfit(part, recorded[name])) for name, part in space.spaces.items())
            return next((f"{name}: {why}" for name, why in found if why), "")
        case spaces.Tuple(), tuple() if len(space.spaces) == len(recorded):
            found = enumerate(map(misfit, space.spaces, recorded))
            return next((f"part {place}: {why}" for place, why in found if why), "")
        case (spaces.Dict() | spaces.Tuple(), _) | (_, dict() | tuple()):
            return f"parts that are not those of {in_short(space)}"
    values = np.asarray(recorded)
    if values.shape[1:] != (space.shape or ()):
        return f"shape {list(values.shape[1:])} where {in_short(space)} is expected"
    match space:
        case spaces.Discrete() | spaces.MultiDiscrete():
            count = space.n if isinstance(space, spaces.Discrete) else space.nvec
            low, high = space.start, space.start + count - 1
        case spaces.MultiBinary():
            low, high = 0, 1
        case spaces.Box() if np.issubdtype(space.dtype, np.integer):
            low, high = -np.inf, np.inf
        case _:
            return ""
    if len(values) and ((values < low) | (values > high) | (values % 1 != 0)).any():
        return f"from {values.min():g} to {values.max():g} where {in_short(space)} is expected"
    return ""


def parts(space: spaces.Dict | spaces.Tuple) -> tuple[Space[Any], ...]:
    """The spaces inside a Dict or Tuple, in order."""
    return tuple(space.spaces.values()) if isinstance(space, spaces.Dict) else tuple(space.spaces)


def num_actions(space: Space[Any], algorithm: str) -> int:
    """The number of actions of a Discrete space.

    Raises:
        SpaceError: when the space is of another kind.
    """
    if not isinstance(space, spaces.Discrete):
        raise SpaceError(f"{algorithm} chooses among finitely many actions (Discrete), got {space}: PPO takes it")
    return int(space.n)


def require_bounded(space: Space[Any], algorithm: str) -> spaces.Box:
    """A Box between two bounds in each component, as policies act in it: [−1, 1].

    Raises:
        SpaceError: when the space is of another kind, or a component has no bound.
    """
    if not isinstance(space, spaces.Box):
        takes = "DQN and PPO choose among finitely many" if isinstance(space, spaces.Discrete) else "PPO takes it"
        raise SpaceError(f"{algorithm} acts by real numbers (Box), got {space}: {takes}")
    if not space.is_bounded():
        raise SpaceError(
            f"{algorithm} acts between bounds, got {space}: give the world's action space finite low and high, or take "
            "PPO, which acts without"
        )
    return space


def require_windows(spec: Spec, algorithm: str) -> None:
    """Refuse rewards that cannot be asked of single transitions.

    Raises:
        SpaceError: when the relabel looks at earlier rows.
    """
    if spec.relabel is not None and spec.relabel.context != 0:
        raise SpaceError(
            f"{algorithm} samples single transitions, and {type(spec.relabel).__name__} judges them by earlier rows: "
            "PPO and REINFORCE ask about whole stretches"
        )


def policy_space(space: Space[Any]) -> Space[Any]:
    """An action space as policies act in it: flat, numbers from 0, what is bounded in [−1, 1].

    Discrete stays Discrete, MultiDiscrete and MultiBinary have one axis, and so has Box, in float32: a
    component between two bounds is in [−1, 1], any other in the world's own units. What a Dict or Tuple holds is one
    MultiDiscrete where it is finite, one Box where it is real, else `Mixed`.

    Raises:
        SpaceError: for other kinds of spaces.
    """
    match space:
        case spaces.Dict() | spaces.Tuple() if parts(space):
            return _joined([policy_space(part) for part in _leaves(space)])
        case Mixed():
            return space
        case spaces.Discrete():
            return spaces.Discrete(int(space.n))
        case spaces.MultiDiscrete():
            return spaces.MultiDiscrete(space.nvec.reshape(-1))
        case spaces.MultiBinary():
            return spaces.MultiBinary(math.prod(space.shape))
        case spaces.Box():
            low, high = _limits(space)
            between = np.isfinite(low) & np.isfinite(high)
            return spaces.Box(np.where(between, -1, low), np.where(between, 1, high), dtype=np.float32)
    raise SpaceError(
        f"no policy can choose in {space}: Discrete, MultiDiscrete, MultiBinary and Box can be taken, and Dict and "
        "Tuple of these; wrap the environment to turn its actions into one of those"
    )


def as_tree(space: Space[Any]) -> PyTree[Space[Any]]:
    """The spaces inside of Dict and Tuple, as a pytree like their elements."""
    match space:
        case spaces.Dict():
            return {name: as_tree(part) for name, part in space.spaces.items()}
        case spaces.Tuple():
            return tuple(as_tree(part) for part in space.spaces)
    return space


def _leaves(space: Space[Any]) -> list[Space[Any]]:
    """Those that are neither Dict nor Tuple, in a pytree's order."""
    return jax.tree.leaves(as_tree(space))


def _joined(held: list[Space[Any]]) -> Space[Any]:
    """One space for what policies choose in several, which are flat."""
    if len(held) == 1:
        return held[0]
    sizes: list[int] = []
    boxes: list[spaces.Box] = []
    for part in held:
        match part:
            case spaces.Box():
                boxes.append(part)
            case spaces.MultiBinary():
                sizes += [2] * int(part.shape[0])
            case _:
                sizes += np.reshape(getattr(part, "nvec", getattr(part, "n", 0)), -1).tolist()
    if not boxes:
        return spaces.MultiDiscrete(sizes)
    low, high = (np.concatenate([getattr(box, bound) for box in boxes]) for bound in ("low", "high"))
    reals = spaces.Box(low, high, dtype=np.float32)
    return Mixed(tuple(sizes), reals) if sizes else reals


def _limits(space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """The bounds of a Box as vectors [D] of float32, ±∞ where there are none."""
    low = np.where(space.bounded_below, space.low, -np.inf).reshape(-1)
    high = np.where(space.bounded_above, space.high, np.inf).reshape(-1)
    return low.astype(np.float32), high.astype(np.float32)


def unbounded_note(space: Space[Any]) -> str | None:
    """What has to be said of a Box action without bounds; None where there is nothing to say."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return next(filter(None, map(unbounded_note, _leaves(space))), None)
    if not isinstance(space, spaces.Box):
        return None
    free = ~(space.bounded_below & space.bounded_above).reshape(-1)
    if not free.any():
        return None
    which = "" if free.all() else f" in the components {', '.join(map(str, np.flatnonzero(free)))}"
    return (
        f"actions of {space} have no bounds{which}: there policies act in the world's own units, first about "
        "within 1 of 0; give the Box bounds where 1 is much or little"
    )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ActionUnits:
    """A policy's actions as the world takes them, and back: bounds, numbers that start elsewhere, shape.

    A policy acts in `policy_space(space)`. What leaves [−1, 1], as a Gaussian's action may, is clipped.
    Actions may have any axes in front.
    """

    scale: Float[np.ndarray | Array, "4 D"] | None
    """Of a Box: the world's action is clip(centre + half · action, low, high). Rows: centre, half, low, high."""
    start: Int[np.ndarray | Array, "*N"] | None
    """Of Discrete and MultiDiscrete: the numbers that theirs start at, where that is not 0."""
    shape: tuple[int, ...] | None = field(metadata={"static": True})
    """Of the world's action; None for Discrete, whose actions are numbers for both."""
    whole: bool = field(metadata={"static": True})
    """Whether a Box holds integers."""

    def to_world(self, action: Any) -> Any:
        """A policy's action as the world takes it. NumPy in, NumPy out."""
        xp: Any = np if isinstance(action, np.ndarray | np.generic) else jnp
        if self.scale is not None:
            centre, half, low, high = self.scale
            action = xp.clip(centre + half * action, low, high)
            action = xp.round(action) if self.whole else action
        if self.shape is not None:
            action = xp.reshape(action, (*action.shape[:-1], *self.shape))
        return action if self.start is None else action + xp.asarray(self.start)

    def to_policy(self, action: Any) -> Any:
        """The world's action as the policy would have chosen it; one beyond the bounds is what they make of it."""
        xp: Any = np if isinstance(action, np.ndarray | np.generic) else jnp
        action = action if self.start is None else action - xp.asarray(self.start)
        if self.shape is None:
            return action
        action = xp.reshape(action, (*action.shape[: action.ndim - len(self.shape)], -1))
        if self.scale is None:
            return action
        centre, half, low, high = self.scale
        return xp.where(half > 0, (xp.clip(action, low, high) - centre) / xp.where(half > 0, half, 1), 0)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class JoinedUnits:
    """The same for Dict and Tuple: each part of a policy's vector becomes a leaf of what the world takes."""

    leaves: tuple[ActionUnits, ...]
    """In a pytree's order."""
    places: tuple[tuple[int, int], ...] = field(metadata={"static": True})
    """Where each lies in the policy's vector: choices first, then real numbers."""
    structure: Any = field(metadata={"static": True})
    """Of the pytree that the world takes."""

    def to_world(self, action: Any) -> PyTree[Any]:
        """A policy's action as the world takes it. NumPy in, NumPy out."""
        if len(self.leaves) == 1:
            return jax.tree.unflatten(self.structure, [self.leaves[0].to_world(action)])
        given = []
        for units, (start, stop) in zip(self.leaves, self.places, strict=True):
            part = action[..., start:stop]
            part = part.astype(np.int32) if units.scale is None else part
            given.append(units.to_world(part[..., 0] if units.shape is None else part))
        return jax.tree.unflatten(self.structure, given)

    def to_policy(self, action: PyTree[Any]) -> Any:
        """The world's action as the policy would have chosen it."""
        own = [units.to_policy(leaf) for units, leaf in zip(self.leaves, jax.tree.leaves(action), strict=True)]
        if len(own) == 1:
            return own[0]
        xp: Any = np if all(isinstance(x, np.ndarray | np.generic) for x in own) else jnp
        own = [x[..., None] if units.shape is None else x for units, x in zip(self.leaves, own, strict=True)]
        real = any(units.scale is not None for units in self.leaves)
        placed = [part for _, part in sorted(zip(self.places, own, strict=True), key=lambda each: each[0])]
        return xp.concatenate(placed, -1).astype(np.float32 if real else np.int32)


Units = ActionUnits | JoinedUnits
"""How a policy's actions become a world's, and back."""


def action_units(space: Space[Any]) -> Units:
    """The units of a world's actions.

    Raises:
        SpaceError: when no policy can choose in the space.
    """
    policy_space(space)
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        return _units(space)
    leaves, structure = jax.tree.flatten(as_tree(space))
    units = tuple(map(_units, leaves))
    lengths = [1 if one.shape is None else math.prod(one.shape) for one in units]
    choices_first = sorted(range(len(units)), key=lambda i: units[i].scale is not None)
    starts = dict(zip(choices_first, accumulate([0, *(lengths[i] for i in choices_first)]), strict=False))
    return JoinedUnits(units, tuple((starts[i], starts[i] + n) for i, n in enumerate(lengths)), structure)


def given_units(space: Space[Any]) -> Units:
    """How actions cross to a hosted environment: as one array, so that of Dict and Tuple they stay the policy's."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return ActionUnits(None, None, None, False)
    return action_units(space)


def as_given(space: Space[Any], action: PyTree[Any]) -> Any:
    """The world's action as one array, which crosses to a hosted environment: see `given_units`."""
    return action_units(space).to_policy(action) if isinstance(space, spaces.Dict | spaces.Tuple) else action


def _units(space: Space[Any]) -> ActionUnits:
    shape = None if isinstance(space, spaces.Discrete) else space.shape
    if isinstance(space, spaces.Box):
        low, high = (bound.astype(np.float64) for bound in _limits(space))
        between = np.isfinite(low) & np.isfinite(high)
        with np.errstate(invalid="ignore"):
            centre, half = np.where(between, low / 2 + high / 2, 0), np.where(between, high / 2 - low / 2, 1)
        scale = np.stack([centre, half, low, high]).astype(np.float32)
        return ActionUnits(scale, None, shape, np.issubdtype(space.dtype, np.integer))
    start = np.asarray(getattr(space, "start", 0), np.int32)
    return ActionUnits(None, start if start.any() else None, shape, False)


class HashableSpace:
    """A space as a static field: one object for all spaces that are alike in every number.

    Gymnasium's spaces do not hash and are slow to compare, which every call of a compiled function does; this compares
    by identity.
    """

    _known: ClassVar[dict[Any, HashableSpace]] = {}
    space: Space[Any]

    def __new__(cls, space: Space[Any]) -> HashableSpace:
        hashable = super().__new__(cls)
        hashable.space = space
        return cls._known.setdefault(_contents(space), hashable)


def _contents(space: Space[Any]) -> Any:
    """All that tells a space from another; what it prints leaves out most of a large Box's bounds."""
    match space:
        case spaces.Box():
            numbers = (space.low.tobytes(), space.high.tobytes())
        case spaces.Discrete():
            numbers = (int(space.n), int(space.start))
        case spaces.MultiDiscrete():
            numbers = (space.nvec.tobytes(), space.start.tobytes())
        case spaces.Dict():
            numbers = tuple((name, _contents(part)) for name, part in space.spaces.items())
        case spaces.Tuple():
            numbers = tuple(_contents(part) for part in space.spaces)
        case Mixed():
            numbers = (space.sizes, _contents(space.reals))
        case _:
            numbers = repr(space)
    return type(space), space.shape, str(space.dtype), numbers


def in_short(space: Space[Any]) -> str:
    """A space in words: of a board, or of many numbers in a row, by its shape and not cell by cell.

    >>> in_short(spaces.MultiDiscrete(np.full((9, 9), 3))), in_short(spaces.Discrete(5))
    ('MultiDiscrete of 9 × 9 numbers below 3', 'Discrete(5)')
    """
    match space:
        case spaces.MultiDiscrete() if space.nvec.size > LISTED:
            least, most = int(space.nvec.min()), int(space.nvec.max())
            below = f"{most}" if least == most else f"{least} to {most}"
            return f"MultiDiscrete of {' × '.join(map(str, space.shape))} numbers below {below}"
        case spaces.Dict():
            return f"Dict({', '.join(f'{name}: {in_short(part)}' for name, part in space.spaces.items())})"
        case spaces.Tuple():
            return f"Tuple({', '.join(map(in_short, space.spaces))})"
    return str(space)


def unsupported(space: Space[Any]) -> SpaceError:
    """The error for a space that no network here reads."""
    return SpaceError(
        f"observations of {in_short(space)} cannot be read: Discrete, MultiDiscrete, MultiBinary, Box, and Dict or "
        "Tuple of these can; wrap the environment to turn them into one of those"
    )
