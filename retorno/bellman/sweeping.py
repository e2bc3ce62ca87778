"""Control by sweeps: value iteration in every order, and modified policy iteration.

All of them repeat two steps. A full backup v ← T v bounds the best value on both sides (Porteus 1975);
between two such backups a method does its own work on v, in place, and that is all in which they differ:
nothing (value iteration), some backups of the greedy policy (modified policy iteration), backups with the
newest values in one order or another (Gauss–Seidel, random, by component, by priority, by blocks).

At discount 1 the value starts at that of a policy that ends and only rises; the last policy is then
evaluated, and the rest bounded as in `control`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.bellman.backup import Backup
from retorno.bellman.bounds import tails
from retorno.bellman.evaluation import COMPILED_FROM, closed_form, elimination_pays, suited
from retorno.bellman.proper_policies import ending_choice
from retorno.bellman.solve_monitor import Best, Evaluated, SolveMonitor
from retorno.bellman.stochastic_shortest_path import first_choice, require_finite, upper_bound
from retorno.core.graph import strong_components

Between = Callable[[Float[np.ndarray, " n"], Int[np.ndarray, " n"], float, float], None]
"""(value, choice, rise, target): improves both in place until a pass changes no value by more than `target`.

A value may only be replaced where it rises by more than `rise`; −∞ where any change is welcome."""

SHARED_FROM = 1_000_000
"""From this many on it is worth a second thread."""
COPIED_TO = 5_000_000
"""Up to this many the rows of a policy are copied side by side; of more, the memory would be missed."""
PATIENCE = 8
"""So many rounds of sweeps for a policy, and one that stays the same is evaluated by elimination where that is less."""
MOST_PASSES = 64
"""Passes between two full backups, which tell how far the answer is."""


def value_iteration(backup: Backup, monitor: SolveMonitor) -> Best:
    """Sweep v ← max_a (r + γ P v), all states at once, until the bounds meet. Sutton & Barto 2018, section 4.4.

    A sweep carries values one step: around a ring of 2,000 states at γ = .9999 some 200,000 sweeps are needed, a
    minute, where elimination (`policy_iteration`) and passes that use new values at once (`gauss_seidel`,
    `topological`, `partitioned`) take .02 s. `auto` chooses by the model's shape.
    """
    return sweep_until(backup, monitor, lambda value, choice, rise, target: None)


def modified_policy_iteration(backup: Backup, monitor: SolveMonitor) -> Best:
    """After each sweep, some sweeps for the greedy policy alone. Puterman & Shin 1978; Puterman 1994, section 6.5."""
    scratch, calls = np.empty(backup.num_states), 0
    narrow = np.int32 if backup.num_pairs < 2**31 else np.int64  # 4 MB a million states
    settled, step = np.empty(0, narrow), None

    def evaluate_in_part(value: Any, choice: Any, rise: float, target: float) -> None:
        nonlocal settled, step, calls
        first, enough, calls = None, 0.1, calls + 1
        if step is not None and np.array_equal(choice, settled):
            if calls > PATIENCE and rise < 0 and elimination_pays(backup):
                value[:] = closed_form(backup.choose(choice), monitor.inside(0.0)).value
                return
            enough = 0.001  # The policy has stayed the same: a full backup will find little new.
        else:
            settled, step = choice.astype(narrow), policy_step(backup, choice)
        if rise < 0:
            # The bounds are as close as the changes of all states are alike, however large these are.
            target = max(monitor.enough(value) * backup.least_leak / 4, backup.noise(value))
        for _ in range(MOST_PASSES // 2):
            for old, new in ((value, scratch), (scratch, value)):
                low, high = step(old, new)
                if rise >= 0:
                    np.maximum(old, new, out=new)
            span = high - low if rise < 0 else high
            first = span if first is None else first
            if span <= max(enough * first, target) or monitor.pause():
                return

    return sweep_until(backup, monitor, evaluate_in_part)


def interval_iteration(backup: Backup, monitor: SolveMonitor) -> Best:
    """Two values, one that only rises and one that only falls, with the best between. Haddad & Monmege 2018.

    Bounds of each state's own, where those of Porteus are equally wide for all. At discount 1 the upper
    value has no start that loops leave valid, so there the sweeps are those of `value_iteration`.
    """
    if not backup.contracts:
        return value_iteration(backup, monitor)
    value, choice = np.zeros(backup.num_states), np.empty(backup.num_states, np.int64)
    new, ignored = np.empty_like(value), np.empty_like(choice)
    low, high = sweep(backup, value, new, choice)
    below, above = tails(backup.least_leak, backup.most_leak, low, high, backup.noise(value))
    lower, upper = new + below, new + above
    while True:
        noise = max(backup.noise(lower), backup.noise(upper))
        _, rise = sweep(backup, lower, new, choice)
        np.maximum(lower, new - noise, out=lower)
        fall, _ = sweep(backup, upper, new, ignored)
        np.minimum(upper, new + noise, out=upper)
        answer = Evaluated((lower + upper) / 2, lower, upper)
        residual = max(rise, -fall, 0.0)
        if (
            monitor.record(residual, answer, answer.width)
            or answer.width <= monitor.enough(lower)
            or residual <= 2 * noise
        ):
            return choice, answer


def gauss_seidel(backup: Backup, monitor: SolveMonitor) -> Best:
    """Sweeps that use each new value at once, upwards and downwards in turn. Puterman 1994, section 6.3.3."""
    up = np.arange(backup.num_states)
    return sweep_until(backup, monitor, _passes(backup, monitor, lambda k: up if k % 2 == 0 else up[::-1]))


def asynchronous(backup: Backup, monitor: SolveMonitor) -> Best:
    """States in random order, each with the newest values. Bertsekas & Tsitsiklis 1989, section 6.2."""
    random = np.random.default_rng(0)
    return sweep_until(backup, monitor, _passes(backup, monitor, lambda k: random.permutation(backup.num_states)))


def topological(backup: Backup, monitor: SolveMonitor) -> Best:
    """Strongly connected components, the last first, each until it is settled. Dai & Goldsmith 2007."""
    from retorno.bellman.kernels import by_component

    order, starts, alone = components(backup)
    model = rows_of(backup)

    def between(value: Any, choice: Any, rise: float, target: float) -> None:
        by_component(model, value, choice, order, starts, alone, rise, target, 16 * MOST_PASSES)

    return sweep_until(backup, monitor, between)


def prioritised_sweeping(backup: Backup, monitor: SolveMonitor) -> Best:
    """The state whose value may change most comes first. Moore & Atkeson 1993; Andre et al. 1998."""
    from retorno.bellman.kernels import predecessors, prioritised

    model = rows_of(backup)
    before = predecessors(model.ptr, model.begin, model.column, model.weight, backup.num_states)

    def between(value: Any, choice: Any, rise: float, target: float) -> None:
        priority = np.abs(backup.best(backup.q(value)) - value)
        most = MOST_PASSES * backup.num_states
        prioritised(model, value, choice, *before, priority, rise, target, most)

    return sweep_until(backup, monitor, between)


BLOCK = 4096
"""States of a block: the values and transitions of one fit into a core's second cache."""


def partitioned(backup: Backup, monitor: SolveMonitor) -> Best:
    """Gauss–Seidel by blocks of states, skipping those whose inputs have not moved. Wingate & Seppi 2005.

    A block that moved is swept again at once, from the cache, for the pairs it has just chosen. Where
    most of a large model is already right, as it is far from what pays, only the rest costs anything.
    """
    return sweep_until(backup, monitor, blocks(backup, monitor), start=far_value(backup))


def blocks(backup: Backup, monitor: SolveMonitor) -> Between:
    """The passes of `partitioned`."""
    from retorno.bellman.kernels import leading_blocks, pass_over_blocks

    model = rows_of(backup)
    size = max(BLOCK, backup.num_states // 4096)
    leads = leading_blocks(model, backup.num_states, size)

    def between(value: Any, choice: Any, rise: float, target: float) -> None:
        pending = np.full(len(leads), np.inf)
        for k in range(16 * MOST_PASSES):
            pass_over_blocks(model, value, choice, size, leads, pending, rise, target, 4, k % 2 == 0)
            if (pending <= target).all() or monitor.pause():
                return

    return between


def far_value(backup: Backup) -> Float[np.ndarray, " n"]:
    """Where to start: the value of a state that earns for ever what the median state earns now."""
    value = np.zeros(backup.num_states)
    if backup.contracts:
        value += float(np.median(backup.best(backup.reward))) * (1 / backup.least_leak)
    return value


def _passes(backup: Backup, monitor: SolveMonitor, order: Callable[[int], Int[np.ndarray, " n"]]) -> Between:
    from retorno.bellman.kernels import pass_over

    model, made = rows_of(backup), iter(range(2**62))

    def between(value: Any, choice: Any, rise: float, target: float) -> None:
        for _ in range(MOST_PASSES):
            if pass_over(model, value, choice, order(next(made)), rise) <= target or monitor.pause():
                return

    return between


def improve_in_passes(backup: Backup, choice: Int[np.ndarray, " n"], answer: Evaluated) -> Int[np.ndarray, " n"]:
    """The pairs that last raised a value in a few passes up and down from below a policy's value."""
    from retorno.bellman.kernels import pass_over

    value, choice, up = answer.lower.copy(), choice.copy(), np.arange(backup.num_states)
    rise = 2 * answer.width + 4 * backup.noise(value)
    for order in (up, up[::-1]) * 8:
        pass_over(rows_of(backup), value, choice, order, rise)
    if not backup.contracts:
        require_finite(backup, choice)
    return choice


def sweep_until(
    backup: Backup, monitor: SolveMonitor, between: Between, start: Float[np.ndarray, " n"] | None = None
) -> Best:
    """Full backups with `between` in between, until the bounds are as close as was asked."""
    if backup.contracts:
        return _sweep(backup, monitor, between, np.zeros(backup.num_states) if start is None else start)
    return _sweep_from_below(backup, monitor, between)


def _sweep(backup: Backup, monitor: SolveMonitor, between: Between, value: Float[np.ndarray, " n"]) -> Best:
    new, choice = np.empty_like(value), np.empty(backup.num_states, np.int64)
    while True:
        low, high = sweep(backup, value, new, choice)
        noise, residual = backup.noise(value), max(-low, high, 0.0)
        below, above = tails(backup.least_leak, backup.most_leak, low, high, noise)
        swept = Evaluated(new, new + below, new + above) if monitor.traced else None
        stop = monitor.record(residual, swept, above - below)
        enough = monitor.enough(new)
        if stop or above - below <= enough or residual <= noise:
            return choice, _around(new, below, above)
        value, new = new, value
        # What is left to gain is at most residual/leak, and a tenth of it is worth the next full backup.
        needed = enough * backup.least_leak / 4
        between(value, choice, -np.inf, max(needed, 0.03 * residual, noise))


def _around(new: Float[np.ndarray, " n"], below: float, above: float) -> Evaluated:
    return Evaluated(new + (below + above) / 2, new + below, new + above)


def _sweep_from_below(backup: Backup, monitor: SolveMonitor, between: Between) -> Best:
    """Where the backup does not contract: a state's choice is the last pair that raised its value.

    So if that choice closes a loop, the loop pays for ever.
    """
    choice = first_choice(backup)
    evaluate = suited(backup)
    first = evaluate(backup.choose(choice), monitor.inside(monitor.accuracy))
    value = first.lower
    if not np.isfinite(value).all():
        monitor.record(np.inf)  # It takes so long to end that rounding hides it: there is nothing to start from.
        return choice, first._replace(upper=np.full_like(value, np.inf))
    new, greedy = np.empty_like(value), np.empty_like(choice)
    enough = monitor.enough(value)
    target, check = enough, 64
    while True:
        sweep(backup, value, new, greedy)
        rise = 4 * backup.noise(value)
        rises = new - value > rise
        residual = float((new - value)[rises].max(initial=0.0))
        choice, value = np.where(rises, greedy, choice), np.where(rises, new, value)
        stop = monitor.record(residual, _swept(backup, choice, value, monitor) if monitor.traced else None)
        if len(monitor.residuals) >= check:
            require_finite(backup, choice)
            check *= 2
        if residual > target and not stop:
            between(value, choice, rise, max(target, 0.03 * residual))
            continue
        require_finite(backup, choice)
        answer = evaluate(backup.choose(choice), monitor.inside(target / 10))
        best = answer._replace(upper=upper_bound(backup, answer, monitor))
        monitor.width = min(monitor.width, best.width)
        enough = monitor.enough(answer.value)
        if best.width <= enough or residual == 0 or stop:
            return choice, best
        value, target = np.maximum(value, answer.lower), target / 100


def _swept(
    backup: Backup, choice: Int[np.ndarray, " n"], value: Float[np.ndarray, " n"], monitor: SolveMonitor
) -> Evaluated:
    """The value of a sweep, with bounds from the policy that it has come to, where that ends."""
    chosen = backup.choose(choice)
    if ending_choice(chosen)[1].any():
        return Evaluated(value, np.full_like(value, -np.inf), np.full_like(value, np.inf))
    answer = suited(chosen)(chosen, monitor.inside(0.0))
    return Evaluated(value, np.minimum(answer.lower, value), upper_bound(backup, answer, monitor))


def rows_of(backup: Backup) -> Any:
    """The backup as the kernels read it."""
    from retorno.bellman.kernels import StoredModel

    rows = backup.rows
    return StoredModel(backup.ptr, rows.indptr, rows.indices, rows.data, float(backup.scale), backup.reward)


def sweep(backup: Backup, value: Any, new: Any, choice: Any) -> tuple[float, float]:
    """New = T value, and the greedy pairs: the least and the largest change."""
    if backup.rows.nnz < COMPILED_FROM:
        q = backup.q(value)
        new[:] = backup.best(q)
        choice[:] = backup.greedy(q)
        return float((new - value).min()), float((new - value).max())
    from retorno.bellman.kernels import sweep

    return shared(sweep, rows_of(backup), value, new, choice, backup.rows.nnz)


def policy_step(backup: Backup, choice: Any) -> Callable[[Any, Any], tuple[float, float]]:
    """What sets new = T_π value for the chosen pairs, and tells the least and the largest change."""
    if backup.rows.nnz < COMPILED_FROM:
        chosen = backup.choose(choice)

        def step(value: Any, new: Any) -> tuple[float, float]:
            new[:] = chosen.q(value)
            return float((new - value).min()), float((new - value).max())

        return step

    from retorno.bellman.kernels import policy_sweep

    rows, pair = rows_of(backup), choice
    if backup.rows.nnz <= COPIED_TO:
        rows, pair = _copied(rows, choice), np.arange(backup.num_states)
    return lambda value, new: shared(policy_sweep, rows, value, new, pair, backup.rows.nnz)


def _copied(rows: Any, choice: Any) -> Any:
    """The rows of the chosen pairs alone, side by side."""
    from retorno.bellman.kernels import copy_rows

    begin = np.append(0, np.cumsum(rows.begin[choice + 1] - rows.begin[choice])).astype(rows.begin.dtype)
    column, weight = np.empty(begin[-1], rows.column.dtype), np.empty(begin[-1])
    shared(partial(copy_rows, begin=begin), rows, choice, column, weight, len(rows.column))
    return rows._replace(begin=begin, column=column, weight=weight, reward=rows.reward[choice])


def compiled_ties(
    backup: Backup, value: Float[np.ndarray, " n"], reach: float
) -> tuple[Float[np.ndarray, " P"], Bool[np.ndarray, " P"]]:
    """The action values of `value`, and which are within `reach` of their state's best.

    They take the place of the backup's rewards, which nothing may read any more: a large model has one
    array [P] less at its peak of memory.
    """
    from retorno.bellman.kernels import ties

    q, optimal = backup.reward, np.empty(backup.num_pairs, bool)
    shared(partial(ties, reach=reach), rows_of(backup), value, q, optimal, backup.rows.nnz)
    return q, optimal


def shared(kernel: Any, model: Any, value: Any, new: Any, choice: Any, work: int) -> tuple[float, float]:
    """Run a kernel over all states, in as many threads as there are cores where that pays."""
    threads = (os.cpu_count() or 1) if work >= SHARED_FROM else 1
    if threads == 1:
        return kernel(model, value, new, choice, 0, len(value))
    cuts = np.linspace(0, len(value), threads + 1).astype(np.int64)
    parts = [_pool().submit(kernel, model, value, new, choice, *cuts[i : i + 2]) for i in range(threads)]
    lows, highs = zip(*(part.result() for part in parts), strict=True)
    return min(lows), max(highs)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="retorno")


def components(
    backup: Backup,
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " bounds"], Bool[np.ndarray, " C"]]:
    """Strongly connected components in an order in which each comes after all that it leads to.

    Returns:
        The states in that order, where each of the C components begins and the last one ends, and which are one
        state without a loop.
    """
    from scipy.sparse import csr_array

    n = backup.num_states
    rows = backup.rows
    graph = csr_array((rows.data, rows.indices, rows.indptr[backup.ptr]), shape=(n, n), copy=True)
    graph.sum_duplicates()
    count, label = strong_components(graph)
    inside = label[np.repeat(np.arange(n), np.diff(graph.indptr))] == label[graph.indices]
    looping = np.zeros(count, bool)
    looping[label[graph.indices[inside]]] = True
    starts = np.append(0, np.cumsum(np.bincount(label, minlength=count)))
    return np.argsort(label, kind="stable"), starts, ~looping
