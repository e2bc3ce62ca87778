"""What a native world's rows have to be: their shapes, while it is traced, and what they say, while it is lived in."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, PyTree

from retorno.core.environment import Environment
from retorno.core.errors import WorldError
from retorno.core.spaces import in_short, misfit, policy_space
from retorno.core.time_step import Only, TimeStep


def require_contract(world: Environment) -> None:
    """Refuse a native world whose rows are not what its spaces promise, or change their shape.

    Ours are under the tests' laws and cost nothing here; of another, a reset and a step are traced.

    Args:
        world: a native world.

    Raises:
        WorldError: with what is wrong, and how it should be.
    """
    if not _ours(world):
        require_rows(world)


def require_rows(world: Environment) -> None:
    """The same of any world.

    Args:
        world: a native world.

    Raises:
        WorldError: with what is wrong, and how it should be.

    >>> from retorno.environments import ConnectFour
    >>> require_rows(ConnectFour())
    """
    key = jax.random.key(0)
    action = jax.tree.map(jnp.asarray, world.action_space.sample())
    begun = jax.eval_shape(lambda: _kept(world, "reset", world.reset(key)))
    after = jax.eval_shape(lambda begun: _kept(world, "step", world.step(begun[0], action, key)), begun)
    for part, was, now in (
        ("its state", begun[0], after[0]),
        ("obs", begun[1].obs, after[1].obs),
        ("legal", begun[1].legal, after[1].legal),
    ):
        if why := _unlike(now, was):
            raise WorldError(
                f"{part} after a step of {type(world).__name__} {why}: what follows from a step has to be of the same "
                "shapes and types as what a reset gives"
            )


def breaches(row: TimeStep) -> dict[str, Bool[Array, " *B"]]:
    """What a world must not say, and of which rows it does.

    Args:
        row: one row or many. Shapes [B], or [].

    Returns:
        By what it is called, whether it is so. Shape [B], or [].

    >>> row = TimeStep((), jnp.array(1.0), jnp.array(0.0), jnp.array(False), jnp.array(False), jnp.array([True]))
    >>> [why for why, found in breaches(row).items() if found]
    ['has a discount of 0 and is not the last of its episode: 0 says that the episode is over']
    """
    masks = () if row.legal is None or isinstance(row.legal, Only) else jax.tree.leaves(row.legal)
    discount = jnp.asarray(row.discount)
    never = jnp.zeros_like(discount, bool)
    return {
        "says that nothing is legal, and does not end its episode there: nothing can be done, and nothing is worth a "
        "number. Let the world end where nothing is legal": ~row.last & sum((~mask.any(-1) for mask in masks), never),
        "pays what is no finite number; of a game, for a move that is not legal": ~jnp.isfinite(row.reward),
        "has a discount that is none in [-1, 1]": ~(jnp.abs(discount) <= 1),
        "has a discount of 0 and is not the last of its episode: 0 says that the episode is over": ~row.last
        & (discount == 0),
    }


def _ours(world: Environment) -> bool:
    """Whether the world, and what it wraps, is retorno's own."""
    inside = (part for part in vars(world).values() if isinstance(part, Environment))
    return type(world).__module__.startswith("retorno.") and all(map(_ours, inside))


def _kept(world: Environment, function: str, given: Any) -> tuple[PyTree[Any], TimeStep]:
    """What `reset` or `step` gave, where it is a state and a row as the world's spaces promise."""
    asked = f"{function} of {type(world).__name__}"
    if not (isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], TimeStep)):
        raise WorldError(f"{asked} returns {_told(given)}, where a state and its row are expected, (state, TimeStep)")
    state, row = given
    records = jax.tree.map(lambda x: np.empty((0, *np.shape(x))), row.obs)
    if why := misfit(world.observation_space, records):
        raise WorldError(f"obs by {asked} has {why}, its observation_space")
    numbers = {"reward": (row.reward, "biuf"), "discount": (row.discount, "biuf")}
    for name, (value, kinds) in (numbers | {"first": (row.first, "b"), "last": (row.last, "b")}).items():
        what = "one number" if kinds != "b" else "true or false"
        if value is None or np.shape(value) != () or jnp.result_type(value).kind not in kinds:
            raise WorldError(f"{name} by {asked} is {_told(value)}, where {what} is expected, a scalar")
    if row.legal is not None and not isinstance(row.legal, Only):
        _require_masks(world.action_space, row.legal, asked)
    return state, row


def _require_masks(space: spaces.Space[Any], legal: Any, asked: str) -> None:
    """That there is one mask of each choice."""
    match policy_space(space):
        case spaces.Discrete(n=n):
            sizes, masks = (int(n),), (legal,)
        case spaces.MultiDiscrete(nvec=nvec):
            sizes, masks = tuple(map(int, nvec)), legal
        case _:
            raise WorldError(
                f"legal by {asked} is given, and its actions are no choices ({in_short(space)}): leave it out"
            )
    found = tuple(map(_told, masks)) if isinstance(masks, tuple) else (_told(masks),)
    if found != (expected := tuple(f"bool [{size}]" for size in sizes)):
        raise WorldError(
            f"legal by {asked} is {', '.join(found)}, where {', '.join(expected)} is expected: whether each action may "
            f"be taken, of {in_short(space)}"
        )


def _unlike(given: PyTree[Any], like: PyTree[Any]) -> str:
    """How arrays differ from others in what tells a compiled program apart; nothing where they do not."""
    alike = jax.tree.structure(given) == jax.tree.structure(like) and all(
        np.shape(one) == np.shape(other) and jnp.result_type(one, other) == jnp.result_type(other)
        for one, other in zip(jax.tree.leaves(given), jax.tree.leaves(like), strict=True)
    )
    return "" if alike else f"is {_told(given)}, not {_told(like)}"


def _told(value: PyTree[Any]) -> str:
    """Arrays by type and shape."""
    match value:
        case TimeStep():
            return "a TimeStep"
        case tuple() | list():
            return f"({', '.join(map(_told, value))})"
        case dict():
            return f"{{{', '.join(f'{name}: {_told(each)}' for name, each in value.items())}}}"
        case None:
            return "None"
    leaves = jax.tree.leaves(value)
    if len(leaves) != 1 or leaves[0] is not value:
        return f"{type(value).__name__}({', '.join(map(_told, leaves))})"
    return f"{jnp.result_type(value)} {list(np.shape(value))}"
