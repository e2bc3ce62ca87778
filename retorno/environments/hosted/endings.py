"""What environments that live in Python say of an episode that ended: whether it was a success, and what is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.core.environment import SUCCESS
from retorno.environments.hosted.legality import InfoError


class Endings:
    """Of B environments the newest answers to K questions, and how many there were."""

    def __init__(self, num_envs: int, info_keywords: Sequence[str] = ()) -> None:
        """`info_keywords` are the numbers that are asked for beside `is_success`: each must be in such an info."""
        self.names = (SUCCESS, *info_keywords)
        """What is read in the info of an episode's final row."""
        self.newest: Float[np.ndarray, "K B"] = np.full((len(self.names), num_envs), np.nan)
        """What was said of each one's episode that ended last; NaN where nothing was said."""
        self.told: Int[np.ndarray, " K"] = np.zeros(len(self.names), int)
        """Episodes of which something was said."""
        self.total: Float[np.ndarray, " K"] = np.zeros(len(self.names))
        """The sum of what was."""

    def see(self, last: Sequence[bool] | Bool[np.ndarray, " B"], infos: Sequence[Mapping[str, Any]]) -> None:
        """Look at the rows that end an episode.

        Args:
            last: whether each does. Shape [B].
            infos: what was told beside each row.

        Raises:
            InfoError: where what is said is no number, of a success neither yes nor no, or a number is missing.
        """
        for i in np.flatnonzero(last).tolist():
            answers = [_success(i, infos[i]), *(_number(i, infos[i], name) for name in self.names[1:])]
            self.newest[:, i] = answers
            self._count(self.newest[:, i])

    def add(self, envs: Any, newest: Float[np.ndarray, "K N"], last: Bool[np.ndarray, " N"]) -> None:
        """Take over what was seen elsewhere of some environments.

        Args:
            envs: which ones.
            newest: what was said of each one's last episode. Shape [K, N].
            last: whose episode has ended just now. Shape [N].
        """
        self.newest[:, envs] = newest
        for i in np.flatnonzero(last):
            self._count(newest[:, i])

    def _count(self, answers: Float[np.ndarray, " K"]) -> None:
        said = ~np.isnan(answers)
        self.told += said
        self.total[said] += answers[said]


def _success(env: int, info: Mapping[str, Any]) -> float:
    if SUCCESS not in info:
        return math.nan
    said = np.ravel(np.asarray(info[SUCCESS]))
    if said.size != 1 or said.dtype.kind not in "biuf" or said[0] not in (0, 1):
        raise InfoError(env, f"{SUCCESS} is {info[SUCCESS]!r}, expected True or False")
    return float(said[0])


def _number(env: int, info: Mapping[str, Any], name: str) -> float:
    if name not in info:
        raise InfoError(
            env,
            f"the info of an episode's last step has no {name!r}, which is asked for as one of info_keywords: it has "
            f"{', '.join(map(str, info)) or 'nothing'}",
        )
    said = np.ravel(np.asarray(info[name]))
    if said.size != 1 or said.dtype.kind not in "biuf" or not np.isfinite(said[0]):
        raise InfoError(env, f"info[{name!r}] is {info[name]!r}, expected one finite number")
    return float(said[0])
