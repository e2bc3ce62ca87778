"""Where the backup does not contract, as at discount 1: a policy to start from, and bounds from above."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.bellman.backup import Backup
from retorno.bellman.bounds import best_above
from retorno.bellman.evaluation import Evaluation, suited
from retorno.bellman.proper_policies import (
    PaysForEverError,
    earns_nothing,
    end_components,
    ending_choice,
    never_ends,
    reaching,
    require_end,
)
from retorno.bellman.solve_monitor import Best, Evaluated, SolveMonitor
from retorno.bellman.zero_cycles import pays_nothing, potentials
from retorno.core.mdp import Numbered


def where_finite(backup: Backup, monitor: SolveMonitor, method: Callable[[Backup, SolveMonitor], Best]) -> Best:
    """Solve the part of a backup whose best values are finite; the others are 0, −∞ or ∞.

    0 where nothing is ever earned any more, which counts as the end; −∞ where no policy ends with
    probability one; ∞ where a loop that pays for ever can be reached.

    Raises:
        ValueError: when no state has a finite value.
    """
    ended = earns_nothing(backup, pays_nothing(backup))
    dead, endless = np.zeros_like(ended), np.zeros_like(ended)
    choice = backup.greedy(backup.reward)
    while True:
        pairs = backup.rows @ (dead | endless).astype(float) == 0
        states = ~(ended | dead | endless)
        stuck = states & (np.bincount(backup.owner[pairs], minlength=backup.num_states) == 0)
        if stuck.any():
            dead |= stuck
            continue
        if not states.any():
            break
        part = backup.part(states, pairs & states[backup.owner], ended)
        lost = ending_choice(part)[1]
        if lost.any():
            dead[np.flatnonzero(states)[lost]] = True
            continue
        try:
            chosen, answer = method(part, monitor)
        except PaysForEverError as error:
            endless[np.flatnonzero(states)[error.endless]] = True
            safe = np.asarray(backup.rows @ dead.astype(float) == 0)
            endless = reaching(backup, endless, safe) & ~dead
            continue
        choice[states] = np.flatnonzero(pairs & states[backup.owner])[chosen]
        rest = np.where(dead, -np.inf, np.where(endless, np.inf, 0.0))
        return choice, _with_the_rest(states, answer, rest)
    if endless.any() and not ended.any():
        raise PaysForEverError(backup, endless)
    if dead.any() and not ended.any():
        raise ValueError(never_ends(backup, dead, "under any policy"))
    rest = np.where(dead, -np.inf, np.where(endless, np.inf, 0.0))
    return choice, _with_the_rest(states, Evaluated(*np.zeros((3, 0))), rest)


def where_ending(
    backup: Backup, monitor: SolveMonitor, method: Evaluation, nothing: Bool[np.ndarray, " n"]
) -> Evaluated:
    """A policy's value where it may never end but then earns nothing, which counts as the end.

    The backup has one pair a state, and `nothing` marks those whose expected reward is exactly zero.

    Raises:
        ValueError: when a state never ends and goes on earning, naming it.
    """
    ended = earns_nothing(backup, nothing)
    part = backup.part(~ended, ~ended, ended)
    require_end(part, "under this policy")
    answer = method(part, monitor) if part.num_states else Evaluated(*np.zeros((3, 0)))
    return _with_the_rest(~ended, answer, np.zeros(backup.num_states))


def _with_the_rest(states: Bool[np.ndarray, " n"], answer: Evaluated, rest: Float[np.ndarray, " n"]) -> Evaluated:
    """An answer over some of the states, joined with the known values of the others."""

    def join(part: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n"]:
        whole = rest.copy()
        whole[states] = part
        return whole

    return Evaluated(*(join(x) for x in answer))


def first_choice(backup: Backup) -> Int[np.ndarray, " n"]:
    """A policy that ends, and soon: nearly the one with the largest mean of .99^steps.

    One that merely ends may take so long that float64 cannot hold its value. Each state keeps the
    last pair that raised it, so a closed loop could only be one of the policy it began with.
    """
    choice = require_end(backup, "under any policy")
    if backup.contracts:
        return choice
    value = np.zeros(backup.num_states)
    while True:
        q = 0.99 * (backup.leak + backup.matrix @ value)
        rise = backup.best(q) - value
        if rise.max() < 1e-6:
            return choice
        choice = replace(backup, choice, q, rise > 1e-9)
        value = np.where(rise > 1e-9, backup.best(q), value)


def replace(
    backup: Backup, choice: Int[np.ndarray, " n"], q: Float[np.ndarray, " P"], where: Bool[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """The greedy pair in the states `where`, the old choice elsewhere."""
    return np.where(where, backup.greedy(q), choice)


def require_finite(backup: Backup, choice: Int[np.ndarray, " n"]) -> None:
    """Raise where a policy made of improvements never ends: its loop pays for ever."""
    endless = ending_choice(backup.choose(choice))[1]
    if endless.any():
        raise PaysForEverError(backup, endless)


def upper_bound(backup: Backup, answer: Evaluated, monitor: SolveMonitor) -> Float[np.ndarray, " n"]:
    """Upper bounds of the best value from the value v of a policy that is (nearly) the best.

    Where the backup contracts, those of Porteus. Otherwise any u ≥ Tu is above the value of every
    policy that ends: u = v + ε z, where z is the longest expected time to the end along the pairs
    that tie for the best, and ε the largest gain that is left. Loops of ties would make z
    infinite; where going round them gains nothing, which `potentials` decides without rounding, their
    states share one z, and u is lifted to a potential. The inequality is then checked for every other
    pair, with room for rounding; infinity where it fails.

    Raises:
        PaysForEverError: where a loop of ties pays for ever.
    """
    value, noise = answer.value, backup.noise(answer.value)
    if backup.contracts:
        return best_above(backup, value)
    q = backup.q(value)
    gain = q - value[backup.owner]
    left = max(float(gain.max()), 0.0) + 4 * noise
    for share in (1e-9, 1e-6, 1e-3):
        tight = gain >= -share * (backup.largest_reward + float(np.abs(value).max()))
        state_set, inner = end_components(backup, tight)
        h, pays, unknown = potentials(backup, state_set, inner)
        if pays.any():
            raise PaysForEverError(backup, pays)
        time = None if unknown.any() else _longest_time(backup, tight & ~inner, state_set, monitor)
        if time is None:
            continue
        for stretch in (2, 8, 32):
            upper = _lifted(value + stretch * left * time, h, state_set)
            if (upper[backup.owner] - backup.q(upper) >= 2 * backup.noise(upper))[~inner].all():
                return upper + backup.noise(upper)
    return np.full_like(value, np.inf)


def _lifted(
    upper: Float[np.ndarray, " n"], h: Float[np.ndarray, " n"], state_set: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """The least potential of each set, h plus a constant, that is nowhere below `upper`."""
    constant = np.full(int(state_set.max()) + 1, -np.inf)
    np.maximum.at(constant, state_set, upper - h)
    return h + constant[state_set]


def _longest_time(
    backup: Backup, pairs: Bool[np.ndarray, " P"], state_set: Int[np.ndarray, " n"], monitor: SolveMonitor
) -> Float[np.ndarray, " n"] | None:
    """The longest expected time to the end along `pairs`, to a quarter of a step; moves within a set are free.

    None where there is no such time, or none that float64 can hold to that precision.
    """
    from scipy.sparse import csr_array

    sets = int(state_set.max()) + 1
    owner = state_set[backup.owner[pairs]]
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=sets)
    if (counts == 0).any():
        return None
    member = csr_array(
        (np.ones(len(state_set)), state_set, np.arange(len(state_set) + 1)), shape=(len(state_set), sets)
    )
    merged = csr_array(backup.matrix[np.flatnonzero(pairs)[order]] @ member)
    leak, ptr = backup.leak[pairs][order], np.append(0, np.cumsum(counts))
    clock = Backup(merged, np.ones(len(order)), leak, ptr, Numbered(sets), backup.rounding, 1.0)
    choice, endless = ending_choice(clock)
    if endless.any():
        return None
    time = np.zeros(sets)
    while True:
        before, time = time, suited(clock)(clock.choose(choice), monitor.inside(0.01)).value
        if clock.noise(time) > 0.1 or time.sum() <= before.sum():
            return None  # so long that rounding blurs a single step
        q = clock.q(time)
        improved = replace(clock, choice, q, clock.best(q) - q[choice] > 0.25)
        if (improved == choice).all():
            return time[state_set]
        if ending_choice(clock.choose(improved))[1].any():
            return None
        choice = improved
