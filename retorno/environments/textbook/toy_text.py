"""Gymnasium's toy text environments as models, from the table `P` that they carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np

from retorno.core.mdp import MDP
from retorno.environments.formats import from_gymnasium

ACTIONS = {
    "FrozenLakeEnv": ("left", "down", "right", "up"),
    "CliffWalkingEnv": ("up", "right", "down", "left"),
    "TaxiEnv": ("south", "north", "east", "west", "pick up", "drop off"),
}


def toy_text(env: str | gymnasium.Env[Any, Any], **options: Any) -> MDP:
    """The model of a Gymnasium environment that carries its own: FrozenLake, CliffWalking, Taxi.

    `P` is read as `from_gymnasium` reads it: a transition flagged `terminated` has discount 0, and a
    state that is only entered by such transitions is terminal. Time limits are not in `P`.

    Args:
        env: an environment, or its name.
        options: for `gymnasium.make`, for instance `map_name="8x8"`.

    Raises:
        ValueError: when the environment has no `P` (Blackjack has none) or is unknown, or does what is not in it
            (Taxi's fickle passenger).
    """
    if isinstance(env, str):
        try:
            env = gymnasium.make(env, **options)
        except gymnasium.error.UnregisteredEnv as error:
            raise ValueError(f"Gymnasium does not know {env!r}: {error}") from error
    inside: Any = env.unwrapped
    if not hasattr(inside, "P"):
        raise ValueError(f"{type(inside).__name__} carries no model P: FrozenLake, CliffWalking and Taxi do")
    if getattr(inside, "fickle_passenger", False):
        raise ValueError(
            "Taxi's fickle passenger changes their mind in step(), and the table P knows nothing of it: there is no "
            "exact model; leave fickle_passenger out, or learn in Gymnasium's environment itself"
        )
    table: dict[Any, dict[Any, Any]] = inside.P
    start = np.asarray(inside.initial_state_distrib, float)

    model = from_gymnasium(
        table,
        initial={int(s): float(start[s] / start.sum()) for s in np.flatnonzero(start)},
        grid=_places(inside, len(table)),
    )
    cells = np.ravel(getattr(inside, "desc", np.zeros(0)))
    lake = cells.dtype.kind == "S" and len(cells) == model.num_states
    letters = {"goal": b"G", "hole": b"H"} if lake else {}
    return replace(
        model,
        action_names=ACTIONS.get(type(inside).__name__, model.action_names),
        labels={label: np.flatnonzero(cells == letter) for label, letter in letters.items()},
    )


def frozen_lake_table(
    map_name: str = "4x4",
    desc: Sequence[str] | None = None,
    is_slippery: bool = True,
    success_rate: float = 1 / 3,
    reward_schedule: Sequence[float] = (1, 0, 0),
) -> MDP:
    """FrozenLake-v1, as Gymnasium's own table has it.

    Args:
        map_name: "4x4" or "8x8".
        desc: the rows of another map, of S, F, H and G.
        is_slippery: whether a move may go to either side.
        success_rate: how probably it goes as meant on slippery ice.
        reward_schedule: what the goal, a hole and ice pay to who enters them.
    """
    settings = {"success_rate": success_rate, "reward_schedule": tuple(reward_schedule)}
    return toy_text("FrozenLake-v1", map_name=map_name, desc=desc, is_slippery=is_slippery, **settings)


def cliff_walking_table(is_slippery: bool = False) -> MDP:
    """CliffWalking-v1, as Gymnasium's own table has it.

    Args:
        is_slippery: whether a move may go to either side.
    """
    return toy_text("CliffWalking-v1", is_slippery=is_slippery)


def taxi_table(is_rainy: bool = False, rainy_probability: float = 0.8) -> MDP:
    """Taxi-v4, as Gymnasium's own table has it.

    Args:
        is_rainy: whether a move may go to either side.
        rainy_probability: how probably it goes as meant then.
    """
    return toy_text("Taxi-v4", is_rainy=is_rainy, rainy_probability=rainy_probability)


def _places(inside: Any, states: int) -> dict[Any, tuple[int, int]] | None:
    """Where the states lie, if they are the cells of a map, row by row."""
    rows, columns = getattr(inside, "shape", None) or np.shape(getattr(inside, "desc", np.zeros((0, 0))))
    if rows * columns != states:
        return None
    return {s: divmod(s, columns) for s in range(states)}
