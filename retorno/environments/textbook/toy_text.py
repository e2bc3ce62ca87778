"""Gymnasium's toy text environments as models, from the table `P` that they carry."""

from __future__ import annotations

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
    state that is only entered by such transitions is terminal. Time limits are not in `P`, nor is
    Taxi's fickle passenger.

    Args:
        env: an environment, or its name.
        options: for `gymnasium.make`, for instance `map_name="8x8"`.

    Raises:
        ValueError: when the environment has no `P` (Blackjack has none) or is unknown.
    """
    if isinstance(env, str):
        try:
            env = gymnasium.make(env, **options)
        except gymnasium.error.UnregisteredEnv as error:
            raise ValueError(f"Gymnasium does not know {env!r}: {error}") from error
    inside: Any = env.unwrapped
    if not hasattr(inside, "P"):
        raise ValueError(f"{type(inside).__name__} carries no model P: FrozenLake, CliffWalking and Taxi do")
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


def _places(inside: Any, states: int) -> dict[Any, tuple[int, int]] | None:
    """Where the states lie, if they are the cells of a map, row by row."""
    rows, columns = getattr(inside, "shape", None) or np.shape(getattr(inside, "desc", np.zeros((0, 0))))
    if rows * columns != states:
        return None
    return {s: divmod(s, columns) for s in range(states)}
