"""What an average reward is asked of, and the inequality that its bounds rest on.

In a maximal end component no policy earns more than max (r + Ph − h)/τ over its pairs, and a policy's own
loop no less than the min over its pairs, *whatever h is*; so h may come from any method, rounded as it is.
Ashok et al. 2017, "Value iteration for long-run average reward in Markov decision processes".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.bellman.backup import UNDERFLOW, Backup, backup_of
from retorno.bellman.proper_policies import end_components
from retorno.bellman.semi_markov import Duration, pair_times
from retorno.core.mdp import MDP


@dataclass(frozen=True, eq=False)
class AverageProblem:
    """What a method is asked: the best average reward of n states that act, with P pairs."""

    backup: Backup
    """At discount 1, rewards to be made large, no entry of probability 0."""
    time: Float[np.ndarray, " P"]
    """Expected time that each pair takes."""
    label: Int[np.ndarray, " n"]
    """The maximal end component of each state, −1 where it can stay in none."""
    inner: Bool[np.ndarray, " P"]
    """The pairs that stay in their state's component."""

    @cached_property
    def components(self) -> int:
        return int(self.label.max(initial=-1)) + 1

    @property
    def communicating(self) -> bool:
        """Whether there is nothing but one component: everywhere can be reached from everywhere."""
        return self.components == 1 and bool(self.inner.all())


def question_of(model: MDP, minimise: bool, duration: Duration | None) -> AverageProblem:
    backup = without_zeros(backup_of(model, 1.0, minimise))
    return question_about(backup, pair_times(model, duration))


def question_about(backup: Backup, time: Float[np.ndarray, " P"]) -> AverageProblem:
    sets, inner = end_components(backup, np.ones(backup.num_pairs, bool))
    label = np.full(backup.num_states, -1)
    stays = np.unique(backup.owner[inner])
    label[stays] = np.unique(sets[stays], return_inverse=True)[1]
    return AverageProblem(backup, time, label, inner)


def without_zeros(backup: Backup) -> Backup:
    """Without stored zeros, which would look like ways that can be taken."""
    if (backup.rows.data > 0).all():
        return backup
    rows = backup.rows.copy()
    rows.eliminate_zeros()
    return replace(backup, rows=rows)


def advantage(
    question: AverageProblem, gain: Float[np.ndarray, " n"], bias: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " P"]:
    """What each pair gains: r + Ph − h − τg."""
    owner = question.backup.owner
    return question.backup.q(bias) - bias[owner] - question.time * gain[owner]


def extremes(x: Float[np.ndarray, " m"], label: Int[np.ndarray, " m"], count: int) -> tuple[Any, Any]:
    """The least and the largest of x in each of `count` sets."""
    if count == 1:
        return np.array([x.min()]), np.array([x.max()])
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, label, x)
    np.maximum.at(high, label, x)
    return low, high


def staying_pairs(question: AverageProblem) -> tuple[Int[np.ndarray, " K"], Backup]:
    """The pairs that stay in their component, and the backup of them alone."""
    pairs = np.flatnonzero(question.inner)
    if question.communicating:
        return pairs, question.backup
    states = question.label >= 0
    return pairs, question.backup.part(states, question.inner, np.zeros(len(states), bool))


def rounded(
    backup: Backup,
    time: Float[np.ndarray, " P"],
    h: Float[np.ndarray, " n"],
    label: Int[np.ndarray, " n"],
    count: int,
) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]]:
    """(r + Ph − h)/τ of each pair with how far rounding may have moved it; each set's h is centred first."""
    low, high = extremes(h, label, count)
    h = h - ((low + high) / 2)[label]
    size = ((high - low) / 2)[label][backup.owner] * (1 + 1e-12)
    x = backup.q(h) - h[backup.owner]
    error = backup.rounding * (backup.largest_reward + 4 * size + np.abs(x))
    error += UNDERFLOW if backup.largest_reward else 0.0
    return x / time, 2 * error / time
