"""Gymnasium spaces as a network and a table see them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


class SpaceError(ValueError):
    """A space that cannot be taken: the message says which can."""


@dataclass(frozen=True)
class Spec:
    """What an algorithm has to know of a world and of the run to come."""

    observation_space: Space[Any]
    action_space: Space[Any]
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


def width(space: Space[Any]) -> int:
    """The length of `encode(space, obs)`."""
    match space:
        case spaces.Discrete():
            return int(space.n)
        case spaces.MultiDiscrete():
            return int(space.nvec.sum())
        case spaces.Box() | spaces.MultiBinary():
            return int(np.prod(space.shape))
        case spaces.Dict() | spaces.Tuple():
            return sum(width(part) for part in parts(space))
    raise unsupported(space)


def encode(space: Space[Any], obs: PyTree[Any]) -> Float[Array, " D"]:
    """One observation as one vector: one-hot where discrete, flat for Box, joined for Dict and Tuple."""
    match space:
        case spaces.Discrete():
            return jax.nn.one_hot(obs - space.start, int(space.n))
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
        f"a table needs finitely many observations, got {space}: discretise it into a Discrete or "
        "MultiDiscrete space, or give the algorithm a network, for instance network=MLP()"
    )


def index(space: Space[Any], obs: PyTree[Any]) -> Int[Array, ""]:
    """The number of one element of a finite space, in [0, cardinality)."""
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
            raise SpaceError(f"{space} is not finite")
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


Bounds = tuple[np.ndarray, np.ndarray] | None


def action_bounds(space: Space[Any]) -> Bounds:
    """(low, high) of a Box action space, None for others."""
    return (space.low, space.high) if isinstance(space, spaces.Box) else None


def clip_action(action: PyTree[Any], bounds: Bounds) -> PyTree[Any]:
    """An action on its way into the world: held within its Box's bounds."""
    return action if bounds is None else jnp.clip(action, *bounds)


def unsupported(space: Space[Any]) -> SpaceError:
    """The error for a space that no network here reads."""
    return SpaceError(
        f"observations of {space} cannot be read: Discrete, MultiDiscrete, MultiBinary, Box, and Dict or "
        "Tuple of these can; wrap the environment to turn them into one of those"
    )
