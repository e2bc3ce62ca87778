"""Which of the actions that tie at discount 1 answer the question: those that some policy takes which ends."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

from retorno.bellman.backup import Backup
from retorno.bellman.proper_policies import earns_nothing, end_components
from retorno.bellman.solve_monitor import Evaluated
from retorno.bellman.zero_cycles import pays_nothing
from retorno.core import graph


def answering(
    backup: Backup, answer: Evaluated, tied: Bool[np.ndarray, " P"], must_end: bool
) -> Bool[np.ndarray, " P"]:
    """Of the pairs that tie within the bounds, those that answer the question at discount 1.

    Where the value is −∞ or nan none does. Who need not end may as well stay for ever where nothing is earned, if
    that is the best.
    """
    entries = backup.rows.tocoo()
    real = entries.data > 0
    pair, target = (coordinate[real] for coordinate in entries.coords)
    nothing = pays_nothing(backup)
    ends = (backup.leak > 0) | earns_nothing(backup, nothing)[backup.owner]
    if not must_end:
        worthless = (answer.lower <= 0) & (answer.upper >= 0)
        rests = end_components(backup, nothing & (backup.leak == 0) & worthless[backup.owner])[1]
        ends = ends | rests
    finite = np.isfinite(answer.value)[backup.owner]
    good = that_end(backup.owner, pair, target, tied & finite, ends, backup.num_states)
    return good | (tied & (answer.value == np.inf)[backup.owner])


def that_end(
    owner: Int[np.ndarray, " P"],
    pair: Int[np.ndarray, " N"],
    target: Int[np.ndarray, " N"],
    tied: Bool[np.ndarray, " P"],
    ends: Bool[np.ndarray, " P"],
    states: int,
) -> Bool[np.ndarray, " P"]:
    """Of pairs that tie for the best, those after which a policy of ties that always takes them still ends.

    Waiting where one is ties with whatever is best there, but who always waits never gets it. Only pairs that can
    stay among ties for ever (an end component) are in question. Such a pair is good where it may lead to a state
    from which a way out does not lead through its own state again: its own state dominates no such way.

    Args:
        owner: the state of each pair.
        pair: the pair of each possible transition that goes on.
        target: the state where it leads.
        tied: the pairs that tie for the best of their state.
        ends: pairs that may end.
        states: S, how many there are.

    >>> every, never = np.array([True, True]), np.array([False, True])  # Wait, or stop.
    >>> that_end(np.array([0, 0]), np.array([0]), np.array([0]), every, never, 1)
    array([False,  True])
    """
    inner = graph.end_components(owner, pair, target, tied & ~ends, states)[1]
    if not inner.any():
        return tied
    inside = np.zeros(states, bool)
    inside[owner[inner]] = True
    ways_out = np.unique(owner[tied & ~inner])
    ways_out = ways_out[inside[ways_out]]
    kept = inner[pair]
    begin, end = graph.under(graph.rooted(target[kept], owner[pair[kept]], ways_out, states), states)
    own, onwards = owner[pair[kept]], target[kept]
    freed = (begin[onwards] < begin[own]) | (begin[onwards] >= end[own]) | (begin[own] < 0)
    good = np.zeros(len(owner), bool)
    good[pair[kept][freed]] = True
    return tied & (good | ~inner)
