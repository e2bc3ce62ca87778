"""Where the backup does not contract, as at discount 1: a policy to start from, and bounds from above."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.bellman.average_problem import without_zeros
from retorno.bellman.backup import Backup
from retorno.bellman.bounds import best_above
from retorno.bellman.chains import follow, recurrent_classes
from retorno.bellman.evaluation import COMPILED_FROM, Evaluation, suited
from retorno.bellman.proper_policies import (
    PaysForEverError,
    earns_nothing,
    end_components,
    ending_choice,
    endless_sum,
    never_ends,
    reaching,
    require_end,
    unending,
)
from retorno.bellman.resting import Rests, resting
from retorno.bellman.solve_monitor import Best, Evaluated, SolveMonitor
from retorno.bellman.zero_cycles import pays_nothing, potentials, sign_of_gain
from retorno.core.mdp import Numbered


def where_finite(
    backup: Backup, monitor: SolveMonitor, method: Callable[[Backup, SolveMonitor], Best], must_end: bool
) -> Best:
    """Solve the part of a backup whose best values are finite; the others are 0, −∞, ∞ or nan.

    0 where nothing is ever earned any more, whatever is done: that is an end. Where a policy need not end, staying
    for ever where nothing is earned is one more way to (`resting`). −∞ where no policy is sure to end; ∞ where a
    loop that pays for ever can be reached; nan where what is earned has no limit.

    Raises:
        ValueError: when no state has a finite value.
    """
    ended = earns_nothing(backup, nothing := pays_nothing(backup))
    whole, rests = (backup, Rests.none(backup)) if must_end else resting(backup, nothing & ~ended[backup.owner])
    dead = unending(whole, ended)
    endless, level = np.zeros_like(dead), np.zeros_like(dead)
    if dead.any() and not must_end:
        endless, level = _judged(whole, ended, dead)
        dead &= ~endless & ~level
    choice = whole.greedy(whole.reward)
    while True:
        lost = dead | level
        endless = reaching(whole, endless, np.asarray(whole.rows @ lost.astype(float) == 0)) & ~lost
        pairs = whole.rows @ (lost | endless).astype(float) == 0
        states = ~(ended | lost | endless)
        rest = np.select([dead, level, endless], [-np.inf, np.nan, np.inf], 0.0)
        if not states.any():
            break
        part = whole.part(states, pairs & states[whole.owner], ended)
        try:
            chosen, answer = method(part, monitor)
        except PaysForEverError as error:
            endless[np.flatnonzero(states)[error.endless]] = True
            continue
        choice[states] = np.flatnonzero(pairs & states[whole.owner])[chosen]
        return rests.kept(backup, choice, _with_the_rest(states, answer, rest))
    if not ended.any():
        if endless.all():
            raise PaysForEverError(backup, endless)
        names = [backup.names[s] for s in range(backup.num_states)]
        raise ValueError(never_ends(names, "under any policy") if must_end else endless_sum(names, float(rest[0])))
    return rests.kept(backup, choice, _with_the_rest(states, Evaluated(*np.zeros((3, 0))), rest))


def _judged(
    whole: Backup, ended: Bool[np.ndarray, " n"], dead: Bool[np.ndarray, " n"]
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Of the states from which no policy is sure to end: those that collect without limit, those without a limit."""
    state_set, inner = end_components(whole, np.ones(whole.num_pairs, bool))
    rich, level = np.zeros_like(dead), np.zeros_like(dead)
    for label in np.unique(state_set[whole.owner[inner]]):
        members = state_set == label
        if dead[members].all():
            gain = sign_of_gain(whole, np.flatnonzero(members), np.flatnonzero(inner & members[whole.owner]))
            (rich if gain > 0 else level)[members] = gain >= 0
    rich = dead & ~unending(whole, ended | rich) if rich.any() else rich
    level = dead & ~rich & ~unending(whole, ended | rich | level) if level.any() else level
    return rich, level


def where_ending(
    backup: Backup, monitor: SolveMonitor, method: Evaluation, ended: Bool[np.ndarray, " n"], must_end: bool
) -> Evaluated:
    """A policy's value where it may never end; the backup has one pair a state.

    What counts as the end is `ended`: there nothing is earned any more. Where it may neither end nor stop earning
    the value is −∞ or ∞, as what is earned falls or grows, or nan where it does neither or may do both; −∞
    where it must end.

    Raises:
        ValueError: when no state has a finite value.
    """
    lost = unending(backup, ended)
    rest = np.zeros(backup.num_states)
    if lost.any():
        rest[lost] = -np.inf
        if not must_end:
            rest[lost] = _limits(backup.part(lost, lost, ~lost))
        if not ended.any() and lost.all():
            names = [backup.names[s] for s in range(backup.num_states)]
            raise ValueError(never_ends(names, "under this policy") if must_end else endless_sum(names, float(rest[0])))
    states = ~ended & ~lost
    part = backup.part(states, states, ended)
    answer = method(part, monitor) if part.num_states else Evaluated(*np.zeros((3, 0)))
    return _with_the_rest(states, answer, rest)


def _limits(chain: Backup) -> Float[np.ndarray, " n"]:
    """What the sums of rewards tend to from states that may come to a class that is never left."""
    chain = without_zeros(chain)
    classes, count = recurrent_classes(chain)
    found = follow(chain, np.ones(chain.num_states), None, SolveMonitor(1e-9), bounded=False)
    limit = np.zeros(chain.num_states)
    for k in range(count):
        inside = classes == k
        low, high = found.lower[inside].max(), found.upper[inside].min()
        # Both up and down without limit, each with a chance, is no number.
        with np.errstate(invalid="ignore"):
            limit[reaching(chain, inside)] += np.inf if low > 0 else -np.inf if high < 0 else np.nan
    return limit


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
    if backup.rows.nnz >= COMPILED_FROM:
        from retorno.bellman.kernels import StoredModel, pass_over

        rows, up = backup.rows, np.arange(backup.num_states)
        scale, leak = 0.99 * float(backup.scale), 0.99 * np.asarray(backup.leak)
        model = StoredModel(backup.ptr, rows.indptr, rows.indices, rows.data, scale, leak)
        while max(pass_over(model, value, choice, order, 1e-9) for order in (up[::-1], up)) >= 1e-6:
            pass
        return choice
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
