"""What environments that live in Python say of an episode that ended: whether it was a success."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from retorno.environments.hosted.legality import InfoError

NAME = "is_success"
"""In the info of an episode's final row: what Gymnasium-Robotics says there, and Stable-Baselines3 reads."""


class Successes:
    """Of B environments the newest answers, and how many there were."""

    def __init__(self, num_envs: int) -> None:
        self.newest: Float[np.ndarray, " B"] = np.full(num_envs, np.nan)
        """Whether each one's episode that ended last was a success, 1 or 0; NaN where nothing was said."""
        self.told = 0
        """Episodes of which something was said."""
        self.count = 0.0
        """How many of these were successes."""

    def see(self, last: Sequence[bool] | Bool[np.ndarray, " B"], infos: Sequence[Mapping[str, Any]]) -> None:
        """Look at the rows that end an episode.

        Args:
            last: whether each does. Shape [B].
            infos: what was told beside each row.

        Raises:
            InfoError: where what is said is neither yes nor no.
        """
        for i in np.flatnonzero(last).tolist():
            self.newest[i] = _answer(i, infos[i])
            self._count(self.newest[i])

    def add(self, envs: Any, newest: Float[np.ndarray, " N"], last: Bool[np.ndarray, " N"]) -> None:
        """Take over what was seen elsewhere of some environments.

        Args:
            envs: which ones.
            newest: what was said of each one's last episode. Shape [N].
            last: whose episode has ended just now. Shape [N].
        """
        self.newest[envs] = newest
        for answer in newest[last]:
            self._count(answer)

    def _count(self, answer: float) -> None:
        if not math.isnan(answer):
            self.told += 1
            self.count += answer


def _answer(env: int, info: Mapping[str, Any]) -> float:
    if NAME not in info:
        return math.nan
    said = np.ravel(np.asarray(info[NAME]))
    if said.size != 1 or said.dtype.kind not in "biuf" or said[0] not in (0, 1):
        raise InfoError(env, f"{NAME} is {info[NAME]!r}, expected True or False")
    return float(said[0])
