"""Which states can end, which must, and what that leaves to be solved at discount 1.

At discount 1 a return is a sum without end unless the process ends. Best is then meant among the
policies that end with probability one (the proper policies of Bertsekas & Tsitsiklis 1991); a state
from which none does, or from which a loop can be taken that pays for ever, has no finite value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from retorno.bellman.backup import Backup
from retorno.core import graph


class PaysForEverError(ValueError):
    """A loop that pays for ever, among the states marked `endless` [n]: the best value is infinite."""

    def __init__(self, backup: Backup, endless: Bool[np.ndarray, " n"]) -> None:
        self.endless = endless
        super().__init__(
            f"state {backup.names[int(np.argmax(endless))]!r} can reach a loop that pays for ever, so its best value "
            f"at discount 1 is infinite: {OTHERWISE}"
        )


def ending_choice(backup: Backup) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """A policy that may end wherever one may, and the states where none can. Where none is left, it is proper.

    Works outwards from the pairs that may end at once: each state in turn takes a pair that may
    lead to a state which already has one. After a few rounds the rest is searched for at once.
    """
    choice = np.zeros(backup.num_states, np.int64)
    ends = np.zeros(backup.num_states, bool)
    towards = backup.leak > 0
    for _ in range(graph.ROUNDS):
        pairs = np.flatnonzero(towards & ~ends[backup.owner])
        if not len(pairs):
            return choice, ~ends
        choice[backup.owner[pairs[::-1]]] = pairs[::-1]
        ends[backup.owner[pairs]] = True
        towards = backup.rows @ ends.astype(float) > 0
    found, last = graph.led_to(backup.owner, *_possible(backup), ends, ~ends[backup.owner])
    return np.where(last >= 0, last, choice), ~found


def reaching(
    backup: Backup, states: Bool[np.ndarray, " n"], pairs: Bool[np.ndarray, " P"] | None = None
) -> Bool[np.ndarray, " n"]:
    """The states from which some policy, of these `pairs` (of all), may come to one of `states`, those included."""
    reached = states
    for _ in range(graph.ROUNDS):
        towards = backup.rows @ reached.astype(float) > 0
        wider = reached.copy()
        wider[backup.owner[towards if pairs is None else towards & pairs]] = True
        if (wider == reached).all():
            return reached
        reached = wider
    usable = np.ones(backup.num_pairs, bool) if pairs is None else pairs
    return graph.led_to(backup.owner, *_possible(backup), reached, usable)[0]


def _possible(backup: Backup) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """The pair of each possible transition, and where it leads."""
    entries = backup.rows.tocoo()
    pair, target = entries.coords
    real = entries.data > 0
    return (pair, target) if real.all() else (pair[real], target[real])


def earns_nothing(backup: Backup, nothing: Bool[np.ndarray, " P"]) -> Bool[np.ndarray, " n"]:
    """The states from which no policy ends or earns, by pairs that pay `nothing`: they might as well be the end."""
    earning = np.zeros(backup.num_states, bool)
    earning[backup.owner[~nothing | (backup.leak > 0)]] = True
    return ~reaching(backup, earning)


def require_end(backup: Backup, who: str) -> Int[np.ndarray, " n"]:
    """A choice per state that ends with probability one.

    Raises:
        ValueError: when a state never terminates, naming it.
    """
    choice, endless = ending_choice(backup)
    if endless.any():
        raise ValueError(never_ends([backup.names[int(s)] for s in np.flatnonzero(endless)], who))
    return choice


def unending(backup: Backup, ended: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """The states from which no policy is sure to end, where to be in one of `ended` is to have ended.

    De Alfaro 1997: almost-sure reachability.
    """
    dead = np.zeros(backup.num_states, bool)
    while True:
        safe = backup.rows @ dead.astype(float) == 0
        states = ~(ended | dead)
        if not states.any():
            return dead
        stuck = states & (np.bincount(backup.owner[safe], minlength=backup.num_states) == 0)
        if stuck.any():
            drawn = graph.drawn(backup.owner, *_possible(backup), dead | stuck, safe & states[backup.owner])
            dead |= drawn & states
            continue
        lost = ending_choice(backup.part(states, safe & states[backup.owner], ended))[1]
        if not lost.any():
            return dead
        dead[np.flatnonzero(states)[lost]] = True


OTHERWISE = (
    "ask for the average reward of a step (the criterion average), or with a discount below 1, or mark the "
    "transitions that end as terminated"
)


def never_ends(names: Sequence[str], who: str) -> str:
    """What to say of states that never terminate."""
    return f"{_named(names)} never terminates {who}, so its return at discount 1 is an endless sum: {OTHERWISE}"


def endless_sum(names: Sequence[str], value: float) -> str:
    """What to say where no state has a finite value, that of the first is `value`."""
    how = "grows without limit" if value > 0 else "falls without limit" if value < 0 else "has no limit"
    return f"{_named(names)} never terminates, and what is earned {how}: {OTHERWISE}"


def _named(names: Sequence[str]) -> str:
    others, more = names[1:4], len(names) - 1
    told = f" (with {more} more: {', '.join(map(repr, others))}{', …' if more > 3 else ''})" if more else ""
    return f"state {names[0]!r}{told}"


def end_components(
    backup: Backup, tight: Bool[np.ndarray, " P"]
) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " P"]]:
    """The sets of states within which `tight` pairs can stay for ever: (set of each state, pairs that stay).

    Maximal end components. De Alfaro 1997, section 3.3.
    """
    return graph.end_components(backup.owner, *_possible(backup), tight & (backup.leak == 0), backup.num_states)
