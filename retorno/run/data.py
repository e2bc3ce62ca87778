"""A data set that is given by its place: how it is cut for who learns from it, and how often it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from retorno.core.names import as_typed
from retorno.core.policy import Algorithm
from retorno.environments.datasets import DATASET, DatasetError, is_dataset
from retorno.environments.recordings import Recorded
from retorno.environments.registry import WorldName
from retorno.networks import policy_head
from retorno.run.folder import CONFIG

BATCH = 256
"""Transitions of a gradient step, as all who learn from recordings publish them."""
EPOCHS = 40
"""How often a data set is read, where that is more than the usual steps."""


Note = Callable[[str], Any]
"""Is told, one line each, what was chosen."""


def _untold(line: str) -> None:
    """Say nothing of it."""


def source_of(algorithm: Any, world: Any) -> str | None:
    """The data set on the disk that stands where a world does; None where another thing does.

    Raises:
        DatasetError: for the folder of a run: it says how its recordings are made.

    Args:
        algorithm: what is to learn.
        world: as it was given.
    """
    if not hasattr(algorithm, "RECORDED") or not isinstance(world, str | Path):
        return None
    if (Path(world) / CONFIG).exists():
        raise DatasetError(
            f"{world} is a run, and {type(algorithm).__name__} learns from recordings: give it what that run does, "
            f"retorno.record({str(world)!r}), or the file of `retorno record {as_typed(str(world))} --out data.npz`"
        )
    return str(world) if is_dataset(str(world)) else None


def fitted(algorithm: Algorithm, settings: dict[str, Any], note: Note = _untold) -> tuple[Recorded, dict[str, Any]]:
    """A data set, and its settings, in pieces for who remembers nothing: whole for others.

    What is learnt from transitions one by one is the same in pieces, of which each gradient step takes fewer.

    Args:
        algorithm: learns from it.
        settings: of the data set.
        note: is told in which pieces.
    """
    world: Any = WorldName(DATASET, settings=settings).make()
    columns = usual_columns(algorithm)
    cut = max(BATCH // columns, 1)
    if "cut" in settings or world.lived.steps.last.shape[0] <= cut + 1 or remembers(algorithm, world):
        return world, settings
    note(
        f"episodes are learnt from in pieces of {cut} steps, {columns} in each gradient step (--world.cut, --num-envs)"
    )
    settings = {**settings, "cut": cut}
    return WorldName(DATASET, settings=settings).make(), settings  # pyright: ignore[reportReturnType]


def require_lived(algorithm: Any, world: Any, what: str) -> None:
    """Refuse recordings where returns are compared: nothing is lived in them.

    Raises:
        DatasetError: it says where what is learnt from them can be judged.

    Args:
        algorithm: what is to learn.
        world: as it was given.
        what: compares, for the message.
    """
    place = world.name if isinstance(world, WorldName) else world
    if isinstance(world, Recorded) or source_of(algorithm, place) is not None:
        told = as_typed(str(place)) if isinstance(place, str | Path) else "this world"
        raise DatasetError(
            f"{told} holds recordings: nothing is lived in them, so {what} has no returns to compare. Learn from them "
            "with each setting, training = retorno.train(…), and judge what was learnt in a world, "
            "retorno.evaluate(training.policy, WORLD)"
        )


def usual_columns(algorithm: Any) -> int:
    """How many columns are learnt from at once where there are as many.

    Args:
        algorithm: learns from recordings.
    """
    return algorithm.num_envs or algorithm.COLUMNS


def within(algorithm: Any, world: Any, note: Note = _untold) -> Any:
    """The algorithm with a number of columns in each gradient step: as is usual, but no more than there are.

    Args:
        algorithm: any; only who learns from recordings has columns.
        world: of recordings, or another.
        note: is told how many, where they are fewer than usual.

    >>> from retorno.algorithms import IQL
    >>> within(IQL(), "no recordings").num_envs
    8
    """
    if not hasattr(algorithm, "RECORDED"):
        return algorithm
    most = usual = usual_columns(algorithm)
    if isinstance(world, Recorded):
        # Whole groups of them.
        most = min(usual // world.group or 1, world.groups) * world.group
    if most != usual:
        note(f"columns in each gradient step: {most:,}, of {world.columns:,} that there are (--num-envs)")
    return replace(algorithm, num_envs=most)


def remembers(algorithm: Any, world: Recorded) -> bool:
    """Whether the policy that is learnt reads more of an episode than the row at hand.

    Args:
        algorithm: learns it.
        world: of recordings.
    """
    network = getattr(algorithm, "network", None)
    if network is None:
        return True
    heads = {"policy": policy_head(world.action_space)}
    shaped = jax.eval_shape(lambda key: network.build(key, world.observation_space, heads), jax.random.key(0))
    return shaped.context != 0
