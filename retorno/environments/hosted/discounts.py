"""What environments that live in Python say of discounts: Gymnasium itself knows 0 (`terminated`) and 1 alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from retorno.environments.hosted.legality import InfoError


def two_players(env: gym.Env | VectorEnv) -> bool:
    """Whether an opponent moves on some rows: `metadata["two_players"]`.

    Args:
        env: an environment or a vector of them.

    >>> two_players(gym.make("CartPole-v1"))
    False
    """
    return bool((env.metadata or {}).get("two_players", False))


def has_lives(env: gym.Env | VectorEnv) -> bool:
    """Whether what is learnt may end where an episode goes on, as where a life is lost: `metadata["lives"]`.

    Args:
        env: an environment or a vector of them.

    >>> has_lives(gym.make("CartPole-v1"))
    False
    """
    return bool((env.metadata or {}).get("lives", False))


def discounts(
    infos: Sequence[Mapping[str, Any]], terminated: Any, first: Any, two_players: bool, lives: bool = False
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The discounts of rows [B]: 0 where an episode terminated, else `info["discount"]`, or 1 where that says nothing.

    Args:
        infos: what each of B environments told beside its row.
        terminated: which of them ended there. Shape [B].
        first: whose row is an episode's first: its discount is 1. Shape [B].
        two_players: whether a discount may be negative.
        lives: whether it may be 0 where an episode goes on.

    Returns:
        Shape [B].

    Raises:
        InfoError: where an environment says something that cannot be.

    >>> discounts([{"discount": -1.0}, {}, {}], [False, False, True], [False] * 3, two_players=True)
    array([-1.,  1.,  0.], dtype=float32)
    """
    discount = 1 - np.asarray(terminated, np.float32)
    for i in [i for i, info in enumerate(infos) if "discount" in info]:
        if not first[i]:
            discount[i] = _told(i, infos[i]["discount"], bool(terminated[i]), two_players, lives)
    return discount


def _told(i: int, told: Any, terminated: bool, two_players: bool, lives: bool) -> float:
    number = np.asarray(told)
    if number.shape != () or number.dtype.kind not in "iufb" or not -1 <= number <= 1:
        raise InfoError(i, f'gave info["discount"]={told!r}, expected a number in [-1, 1]')
    if (number == 0) != terminated and not (number == 0 and lives):
        raise InfoError(
            i, f'gave info["discount"]={told!r} and terminated={terminated}: a discount is 0 just where an episode ends'
        )
    if number < 0 and not two_players:
        raise InfoError(
            i,
            f'gave info["discount"]={told!r}: in a game of two, whose opponent\'s value is negated, say '
            'metadata = {"two_players": True}',
        )
    return float(number)
