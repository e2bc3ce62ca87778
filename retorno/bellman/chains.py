"""A policy's average reward: its recurrent classes, and what leads to them. Puterman 1994, section 8.2.

The gain g and the bias h solve g = Pg, h + τg = r + Ph. Each class has one gain, bounded by `rounded`;
the states that are left for ever earn the mean of those that they come to.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from retorno.bellman.average_problem import extremes, rounded
from retorno.bellman.backup import Backup
from retorno.bellman.evaluation import SMALL, suited
from retorno.bellman.solve_monitor import Evaluated, SolveMonitor
from retorno.core.graph import graph_of, strong_components
from retorno.core.mdp import Numbered


class Chain(NamedTuple):
    """A policy's average, over the n states that act."""

    gain: Float[np.ndarray, " n"]
    lower: Float[np.ndarray, " n"]
    upper: Float[np.ndarray, " n"]
    bias: Float[np.ndarray, " n"]
    classes: Int[np.ndarray, " n"]
    stationary: Float[np.ndarray, " n"]
    ends: bool


def follow(
    chain: Backup,
    time: Float[np.ndarray, " n"],
    guess: Float[np.ndarray, " n"] | None,
    monitor: SolveMonitor,
    bounded: bool = True,
) -> Chain:
    """The average of a policy; `guess` is a bias to trust in its classes where these are too large to be solved."""
    n = chain.num_states
    classes, count = recurrent_classes(chain)
    gain, bias, visits = np.zeros(n), np.zeros(n), np.zeros(n)
    lower, upper = np.zeros(n), np.zeros(n)
    inside = np.flatnonzero(classes >= 0)
    if count:
        label, own_time = classes[inside], time[inside]
        own = chain.part(classes >= 0, classes >= 0, np.zeros(n, bool))
        solved = _solve_classes(own, own_time, label, count) if guess is None or len(inside) <= SMALL else None
        h = solved[0] if solved else (np.zeros(len(inside)) if guess is None else guess[inside])
        low, high = np.full(count, -np.inf), np.full(count, np.inf)
        for guessed in (h, np.zeros(len(inside))):
            x, error = rounded(own, own_time, guessed, label, count)
            low = np.maximum(low, extremes(x - error, label, count)[0])
            high = np.minimum(high, extremes(x + error, label, count)[1])
        lower[inside], upper[inside] = low[label], high[label]
        if solved:
            visits[inside] = solved[1]
        elif bounded:
            visits[inside] = _settle(own, label, count)
        mean = np.bincount(label, visits[inside] * own.reward) if solved else (low + high) / 2
        if solved:
            mean = np.clip(mean / np.bincount(label, visits[inside] * own_time), low, high)
        gain[inside] = mean[label]
        centre = np.bincount(label, visits[inside] * h) if solved or bounded else np.zeros(count)
        bias[inside] = h - centre[label]
    ends = bool((chain.leak > 0).any())
    outside = np.flatnonzero(classes < 0)
    if len(outside):
        into = chain.rows[outside][:, inside]
        passing = _Passing(
            rows=chain.rows[outside][:, outside],
            leak=chain.leak[outside] + into.sum(axis=1),
            rounding=2 * chain.rounding,
            monitor=monitor,
        )
        gain[outside] = passing.mean(into @ gain[inside]).value
        bias[outside] = passing.mean(chain.reward[outside] - time[outside] * gain[outside] + into @ bias[inside]).value
        if bounded:
            # No mean lies outside of what it is the mean of, however little could be computed.
            there = slice(None) if ends else inside
            lower[outside] = np.maximum(passing.mean(into @ lower[inside]).lower, lower[there].min())
            upper[outside] = np.minimum(passing.mean(into @ upper[inside]).upper, upper[there].max())
            gain[outside] = np.clip(gain[outside], lower[outside], upper[outside])
    return Chain(gain, lower, upper, bias, classes, visits, ends)


class _Passing(NamedTuple):
    """The states that a policy leaves for ever, as a problem that ends where it comes to a class or an end."""

    rows: Any
    leak: Float[np.ndarray, " k"]
    rounding: float
    monitor: SolveMonitor

    def mean(self, reward: Float[np.ndarray, " k"]) -> Evaluated:
        """What is earned on the way, with its bounds; nothing is known where elimination fails."""
        k = len(reward)
        largest = float(np.abs(reward).max())
        backup = Backup(self.rows, reward, self.leak, np.arange(k + 1), Numbered(k), self.rounding, largest)
        try:
            answer = suited(backup)(backup, self.monitor.inside(self.monitor.accuracy / 4))
        except (RuntimeError, np.linalg.LinAlgError):  # singular to the last digit
            return Evaluated(np.zeros(k), np.full(k, -np.inf), np.full(k, np.inf))
        low, high = (np.where(np.isnan(x), side, x) for x, side in ((answer.lower, -np.inf), (answer.upper, np.inf)))
        return Evaluated(np.nan_to_num(answer.value), low, high)


def recurrent_classes(chain: Backup) -> tuple[Int[np.ndarray, " n"], int]:
    """The recurrent class of each state, −1 where it is left for ever, and how many there are."""
    source, target = chain.rows.tocoo().coords
    count, label = strong_components(graph_of(source, target, chain.num_states))
    closed = np.ones(count, bool)
    closed[label[source[label[source] != label[target]]]] = False
    closed[label[chain.leak > 0]] = False
    number = np.where(closed, np.cumsum(closed) - 1, -1)
    return number[label], int(closed.sum())


def _solve_classes(
    chain: Backup, time: Float[np.ndarray, " n"], label: Int[np.ndarray, " n"], count: int
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]] | None:
    """(bias, share of the steps) of recurrent classes by one sparse elimination, or None where it is singular.

    The bias of each class's first state is taken as 0, and the gain put in its column:
    A (g, h) = r. The same factors give the visits: πᵀA = (πᵀτ) eᵀ.
    """
    from scipy.sparse import csc_array, eye_array
    from scipy.sparse.linalg import splu

    n = len(label)
    first = np.unique(label, return_index=True)[1]
    keep = np.ones(n)
    keep[first] = 0.0
    scale = csc_array((keep, (np.arange(n), np.arange(n))), shape=(n, n))
    clock = csc_array((time, (np.arange(n), first[label])), shape=(n, n))
    system = csc_array((eye_array(n) - chain.rows) @ scale + clock)
    try:
        factors = splu(system)
    except (RuntimeError, np.linalg.LinAlgError):
        return None
    h = factors.solve(chain.reward)
    h[first] = 0.0
    visits = np.maximum(factors.solve(1 - keep, trans="T"), 0.0)
    total = np.bincount(label, visits, minlength=count)
    if not (np.isfinite(h).all() and np.isfinite(total).all() and (total > 0).all()):
        return None
    return h, visits / total[label]


def _settle(chain: Backup, label: Int[np.ndarray, " n"], count: int, sweeps: int = 10_000) -> Float[np.ndarray, " n"]:
    """The stationary distributions by lazy steps until they no longer move."""
    visits = 1 / np.bincount(label)[label]
    back = chain.rows.T.tocsr()
    for _ in range(sweeps):
        new = 0.1 * visits + 0.9 * (back @ visits)
        moved = np.abs(new - visits).max()
        visits = new
        if moved <= 1e-15:
            break
    return visits / np.bincount(label, visits, minlength=count)[label]
