"""The total reward of policies that need not end: staying for ever where nothing is earned is worth 0.

Each state in which one can stay among pairs that earn exactly nothing gets one more pair, which ends and pays
nothing. So the best total reward is the best value among policies that end, which the other modules know.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int

from retorno.bellman.backup import Backup
from retorno.bellman.proper_policies import end_components
from retorno.bellman.solve_monitor import Best, Evaluated


@dataclass(frozen=True, eq=False)
class Rests:
    """Which pairs of a backup stand for resting."""

    pair: Int[np.ndarray, " Q"]
    """The pair of the model's own backup that each is; of a rest the one that stays."""
    rests: Bool[np.ndarray, " Q"]

    @staticmethod
    def none(backup: Backup) -> Rests:
        """Of a backup as it is."""
        return Rests(np.arange(backup.num_pairs), np.zeros(backup.num_pairs, bool))

    def kept(self, backup: Backup, choice: Int[np.ndarray, " n"], answer: Evaluated) -> Best:
        """The choice by the backup's own pairs, and the answer with bounds that hold for it.

        Where one state rests all do that its pair may lead to. The others of them may have been about to
        leave for more, if the solve was stopped: what that was worth is taken off the lower bounds.
        """
        if not self.rests.any():
            return choice, answer
        rests = self.rests[choice]
        stay = np.full(backup.num_states, -1)
        stay[backup.owner[self.pair[self.rests]]] = self.pair[self.rests]
        resting = rests.copy()
        while True:
            onwards = np.asarray(backup.rows[stay[resting]].sum(axis=0)).ravel() > 0
            if not (onwards & ~resting).any():
                break
            resting |= onwards
        given_up = max(float(answer.lower[resting & ~rests].max(initial=0.0)), 0.0)
        choice = np.where(resting, stay, self.pair[choice])
        return choice, answer._replace(lower=answer.lower - given_up) if given_up else answer


def resting(backup: Backup, nothing: Bool[np.ndarray, " P"]) -> tuple[Backup, Rests]:
    """The backup with one more pair wherever one can stay for ever by pairs that earn `nothing`."""
    from scipy.sparse import csr_array, vstack

    idle = nothing & (backup.leak == 0)
    inner = end_components(backup, idle)[1] if idle.any() else idle
    if not inner.any():
        return backup, Rests.none(backup)
    stays = np.flatnonzero(inner)
    states, first = np.unique(backup.owner[stays], return_index=True)
    order = np.argsort(np.append(backup.owner, states), kind="stable")
    pair = np.append(np.arange(backup.num_pairs), stays[first])[order]
    added = csr_array((len(states), backup.num_states))
    origin = None if backup.model is None else backup.origin[1][pair]
    extended = replace(
        backup,
        rows=csr_array(vstack([backup.rows, added], format="csr"))[order],
        reward=np.append(backup.reward, np.zeros(len(states)))[order],
        leak=np.append(backup.leak, np.ones(len(states)))[order],
        ptr=np.append(0, np.cumsum(np.bincount(np.append(backup.owner, states), minlength=backup.num_states))),
        pairs=origin,
    )
    return extended, Rests(pair, order >= backup.num_pairs)
