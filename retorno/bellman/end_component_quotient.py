"""Where to stay for the best average reward: a problem that ends, with the components' bounds as its rewards."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from retorno.bellman.average_problem import AverageProblem, extremes, rounded, staying_pairs
from retorno.bellman.backup import Backup
from retorno.bellman.evaluation import SMALL, suited
from retorno.bellman.solve_monitor import SolveMonitor
from retorno.core.mdp import Numbered

MOST_SWEEPS = 20_000
"""Where the states that are left for ever are too many for elimination, their bounds are those of so many sweeps."""


def upper_bound(question: AverageProblem, bias: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """No policy earns more than this: the bounds of the components, and where each state can get to."""
    backup = question.backup
    if not question.components:
        return np.zeros(backup.num_states)  # it ends, whatever is done
    pairs, staying = staying_pairs(question)
    label = question.label[question.label >= 0]
    worth = np.full(question.components, np.inf)
    for guessed in (bias[question.label >= 0], np.zeros(len(label))):
        x, error = rounded(staying, question.time[pairs], guessed, label, question.components)
        worth = np.minimum(worth, extremes(staying.best(x + error), label, question.components)[1])
    if question.communicating:
        return np.full(backup.num_states, worth[0])
    quotient, _, group = _quotient(question, worth)
    most = float(np.append(worth, 0.0).max() if (backup.leak > 0).any() else worth.max())
    return np.minimum(_ending_bound(quotient), most)[group]


def _quotient(
    question: AverageProblem, worth: Float[np.ndarray, " C"]
) -> tuple[Backup, Int[np.ndarray, " Q"], Int[np.ndarray, " n"]]:
    """Where to stay: (the problem, the pair of the model that each of its pairs is or −1, the state each is part of).

    A component is one state, in which one may stay, ending with what it is worth, or leave by any pair
    that does. Nothing else can go on for ever, so every policy ends.
    """
    from scipy.sparse import csr_array, vstack

    backup, count = question.backup, question.components
    alone = question.label < 0
    group = np.where(alone, count + np.cumsum(alone) - 1, question.label)
    groups = count + int(alone.sum())
    member = csr_array((np.ones(len(group)), group, np.arange(len(group) + 1)), shape=(len(group), groups))
    outer = np.flatnonzero(~question.inner)
    owner = np.append(group[backup.owner[outer]], np.arange(count))
    order = np.argsort(owner, kind="stable")
    rows = csr_array(vstack([csr_array(backup.rows[outer] @ member), csr_array((count, groups))]))[order]
    problem = Backup(
        rows=rows,
        reward=np.append(np.zeros(len(outer)), worth)[order],
        leak=np.append(backup.leak[outer], np.ones(count))[order],
        ptr=np.append(0, np.cumsum(np.bincount(owner, minlength=groups))),
        names=Numbered(groups),
        rounding=2 * backup.rounding,
        largest_reward=float(np.abs(worth).max(initial=0.0)),
    )
    return problem, np.append(outer, np.full(count, -1))[order], group


def go_and_stay(
    question: AverageProblem, worth: Float[np.ndarray, " C"], choice: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """The policy that goes where staying is worth most and there follows `choice`."""
    if question.communicating:
        return choice
    backup, choice = question.backup, choice.copy()
    problem, pair, group = _quotient(question, worth)
    taken = pair[_highest(problem)[0]]
    alone = question.label < 0
    choice[alone] = taken[group[alone]]
    leaving = taken[: question.components]
    leaving = leaving[leaving >= 0]
    arrived = np.ones(backup.num_states, bool)
    arrived[np.isin(group, group[backup.owner[leaving]])] = False
    choice[backup.owner[leaving]] = leaving
    reached = np.zeros(backup.num_states, bool)
    reached[backup.owner[leaving]] = True
    while not (arrived | reached).all():  # within a component every state can get to the one that leaves
        towards = question.inner & ~(arrived | reached)[backup.owner] & (backup.rows @ reached.astype(float) > 0)
        pairs = np.flatnonzero(towards)[::-1]
        choice[backup.owner[pairs]] = pairs
        reached[backup.owner[pairs]] = True
    return choice


def _highest(problem: Backup, residual: float = 0.0) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The best policy of a problem in which all of them end, and a value that a backup moves by `residual` at most.

    By policy iteration, above 1,000 states by sweeps; up to rounding.
    """
    choice = problem.greedy(problem.reward)
    value = np.zeros(problem.num_states)
    if problem.num_states > SMALL:
        for _ in range(MOST_SWEEPS):
            before, value = value, problem.best(problem.q(value))
            if np.abs(value - before).max() <= max(residual, 2 * problem.noise(value)):
                break
        return problem.greedy(problem.q(value)), value
    best = -np.inf
    while True:
        chain = problem.choose(choice)
        try:
            new = suited(chain)(chain, SolveMonitor(0.0)).value
        except (RuntimeError, np.linalg.LinAlgError):  # singular to the last digit
            return choice, value
        if not new.sum() > best:
            return choice, value
        value, best = new, new.sum()
        q = problem.q(value)
        rises = problem.best(q) - q[choice] > 4 * problem.noise(value)
        if not rises.any():
            return choice, value
        choice = np.where(rises, problem.greedy(q), choice)


def _ending_bound(problem: Backup) -> Float[np.ndarray, " n"]:
    """An upper bound of the best value of a problem in which all policies end: any u ≥ Tu is one.

    u = v + 2εz, where v is nearly the best value, ε how much it may still rise and z the longest
    expected time to the end along pairs that nearly tie for the best; checked for every pair. Infinity
    where rounding leaves nothing that can be checked.
    """
    value = _highest(problem)[1]
    if not np.isfinite(value).all():
        return np.full(problem.num_states, np.inf)
    rise = problem.q(value) - value[problem.owner]
    noise = 2 * problem.noise(value)
    left = max(float(rise.max()), 0.0) + noise
    scale = problem.largest_reward + float(np.abs(value).max())
    for share in (1e-9, 1e-3, np.inf):
        tied = rise >= -max(share * scale, 4 * left)
        counts = np.bincount(problem.owner[tied], minlength=problem.num_states)
        clock = Backup(
            rows=problem.rows[np.flatnonzero(tied)],
            reward=np.ones(int(tied.sum())),
            leak=problem.leak[tied],
            ptr=np.append(0, np.cumsum(counts)),
            names=problem.names,
            rounding=problem.rounding,
            largest_reward=1.0,
        )
        if (counts == 0).any():
            continue
        time = _highest(clock, 0.25)[1]
        if not np.isfinite(time).all() or time.min() < 0:
            continue
        falls = time[problem.owner] - problem.rows @ time - 4 * problem.rounding * float(time.max())
        if (2 * left * falls >= rise + noise).all():
            return value + 2 * left * time * (1 + 1e-12) + noise
    return np.full(problem.num_states, np.inf)
