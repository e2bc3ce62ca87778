"""Gymnasium's toy text environments as models, from the table `P` that they carry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np

from retorno.core.mdp import MDP, mdp

ACTIONS = {
    "FrozenLakeEnv": ("left", "down", "right", "up"),
    "CliffWalkingEnv": ("up", "right", "down", "left"),
    "TaxiEnv": ("south", "north", "east", "west", "pick up", "drop off"),
}


def toy_text(env: str | gymnasium.Env[Any, Any], **options: Any) -> MDP:
    """The model of a Gymnasium environment that carries its own: FrozenLake, CliffWalking, Taxi.

    A transition flagged `terminated` has discount 0 even where `P` leads on from the state it
    enters: Gymnasium's goals are not absorbing. A state that is only ever entered by such
    transitions becomes terminal; `P`'s other states all stay, those that no episode reaches too.
    Time limits are not in `P`, nor is Taxi's fickle passenger.

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

    entered, passed = set(), set(np.flatnonzero(start).tolist())
    for state, choices in table.items():
        for outcomes in choices.values():
            for p, target, _, terminated in outcomes:
                if p > 0 and target != state:
                    (entered if terminated else passed).add(int(target))
    terminal = entered - passed
    model = mdp(
        {s: {} if s in terminal else choices for s, choices in table.items()},
        initial={int(s): float(start[s] / start.sum()) for s in np.flatnonzero(start)},
        grid=_places(inside, len(table)),
    )
    return replace(model, action_names=ACTIONS.get(type(inside).__name__, model.action_names))


def _places(inside: Any, states: int) -> dict[Any, tuple[int, int]] | None:
    """Where the states lie, if they are the cells of a map, row by row."""
    rows, columns = getattr(inside, "shape", None) or np.shape(getattr(inside, "desc", np.zeros((0, 0))))
    if rows * columns != states:
        return None
    return {s: divmod(s, columns) for s in range(states)}
