"""The exact value of a policy. Sutton & Barto 2018, section 4.1; Puterman 1994, section 6.1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from retorno.bellman.backup import Backup
from retorno.bellman.bounds import extrapolate, rounding_of, weighted
from retorno.bellman.solve_monitor import RELATIVE, Evaluated, SolveMonitor
from retorno.core.graph import graph_of
from retorno.core.mdp import MDP
from retorno.core.names import did_you_mean
from retorno.core.numerals import Number, as_floats, decimal, exactly

Policy = (
    Float[np.ndarray, " P"]
    | Int[np.ndarray, " S"]
    | Shaped[np.ndarray, " P"]
    | Sequence[int]
    | Sequence[Number]
    | Mapping[Any, Any]
    | Callable[[MDP], Float[np.ndarray, " P"]]
)
"""A probability per pair [P] (floats; or fractions, in a list or an array of objects), an action number per state [S]
(integers), {state: action} or {state: {action: probability}} by name, or a function of the model."""


SMALL = 1_000
"""Up to this many states a linear system is solved at once, whatever the model."""
COMPILED_FROM = 20_000
"""From this many transitions on a pass over them is worth a compiled kernel, and Numba's import."""
DENSE = 100
"""Up to this many as a full matrix."""
BAND = 64
"""Diagonals up to which a system of any size is solved as a band."""
LITTLE, MUCH = 2e7, 1e9
"""Multiplications of an elimination that is quick whatever sweeps take (a hundredth of a second), and of one that is
slow (half a second)."""
SWEPT = 20
"""Sweeps, times 1 − γ, until bounds are e^20 times as close: fewer where values mix."""
MOST_ORDERED = 100_000
"""States that are put in an order, to see how a system of theirs would fill."""
MOST_CROWDED, CROWDED = 32, 16
"""So many states may be led to by so many times more than the mean: they are eliminated last."""

Evaluation = Callable[[Backup, SolveMonitor], Evaluated]
"""Evaluates a backup with one pair a state, to the monitor's accuracy."""


def uniform(model: MDP) -> Float[np.ndarray, " P"]:
    r"""The policy that takes each of a state's actions with the same probability.

    .. math:: \pi(a \mid s) = 1 / |\mathcal{A}(s)|

    Args:
        model: with P state–action pairs.

    Returns:
        The probability of each pair. Shape [P].

    >>> import retorno as rt
    >>> uniform(rt.environments.random_walk(3)), uniform(rt.environments.student())[:2]
    (array([0.5, 0.5, 0.5, 0.5, 0.5, 0.5]), array([0.5, 0.5]))
    """
    counts = np.diff(model.state_ptr)
    return np.repeat(1 / np.maximum(counts, 1), counts)


def closed_form(backup: Backup, monitor: SolveMonitor) -> Evaluated:
    """Solve (I − M) v = r by elimination, near γ = 1 twice. The bounds are as narrow as rounding lets them be.

    Quick for chains (a band), and for maps of moderate size; in models that lead from anywhere to
    anywhere the factors fill up, and a few thousand states take long.
    """
    sides = np.stack([backup.reward, np.ones(backup.num_states)], axis=1)
    try:
        value, time = np.ascontiguousarray(_linear_solver(backup)(backup, sides).T)
    except (np.linalg.LinAlgError, RuntimeError):
        # What leaks is lost in rounding, so that float64 sees a policy that never ends: nothing is proved.
        value, time = np.zeros((2, backup.num_states))
    answer = Evaluated(value, *weighted(backup, value, time)).within()
    if backup.contracts and RELATIVE / 10 * np.abs(value).max() < answer.width < np.inf:
        # Near γ = 1 values are much larger than they differ: only their differences are solved for, and the bounds
        # of one sweep from there are as narrow as those differences let them be.
        apart = value - (value.min() + value.max()) / 2
        left = backup.change(apart)[0]
        sides = np.stack([left - (left.min() + left.max()) / 2, time], axis=1)
        apart += _linear_solver(backup)(backup, sides)[:, 0]
        closer = _extrapolated(backup, apart, *backup.change(apart)).within()
        answer = closer if closer.width < answer.width else answer
    monitor.record(float(np.abs(backup.q(value) - value).max()), answer, answer.width)
    return answer


def _linear_solver(backup: Backup) -> Callable[[Backup, Float[np.ndarray, "n 2"]], Float[np.ndarray, "n 2"]]:
    if backup.num_states <= DENSE:
        return _dense
    return _banded if sum(bandwidth(backup)) <= BAND else _sparse


def _dense(backup: Backup, sides: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    return np.linalg.solve(np.eye(backup.num_states) - backup.matrix.toarray(), sides)


def _banded(backup: Backup, sides: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    from scipy.linalg import solve_banded

    below, above = bandwidth(backup)
    row = np.repeat(np.arange(backup.num_states), np.diff(backup.rows.indptr))
    place = (above + row - backup.rows.indices) * backup.num_states + backup.rows.indices
    weight = np.bincount(place, backup.rows.data, minlength=(below + above + 1) * backup.num_states)
    band = (weight * -backup.scale).reshape(below + above + 1, backup.num_states)
    band[above] += 1
    return solve_banded((below, above), band, sides, overwrite_ab=True, overwrite_b=True, check_finite=False)


def _sparse(backup: Backup, sides: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    from scipy.sparse import csc_array, eye_array
    from scipy.sparse.linalg import splu

    return splu(csc_array(eye_array(backup.num_states) - backup.matrix)).solve(sides)


def _row_of(backup: Backup) -> Int[np.ndarray, " entries"]:
    """The pair of each entry."""
    return np.repeat(np.arange(backup.num_pairs), np.diff(backup.rows.indptr))


def bandwidth(backup: Backup) -> tuple[int, int]:
    """How far below and above its own number a state's next states lie: the lower and upper bandwidth of M."""
    if backup.rows.nnz >= COMPILED_FROM:
        from retorno.bellman.kernels import bandwidth

        return bandwidth(backup.ptr, backup.rows.indptr, backup.rows.indices)
    ahead = backup.rows.indices - backup.owner[_row_of(backup)]
    return int(-ahead.min(initial=0)), int(ahead.max(initial=0))


def iterative(backup: Backup, monitor: SolveMonitor) -> Evaluated:
    """Sweep v ← r + M v from 0 until the bounds meet, or until only rounding is left to change."""
    value, time = np.zeros(backup.num_states), np.zeros(backup.num_states)
    while True:
        gain, noise = backup.change(value)
        new = value + gain
        residual = float(np.abs(gain).max())
        if backup.contracts:
            answer = _extrapolated(backup, value, gain, noise)
        else:
            time = np.asarray(1 + backup.matrix @ time)
            answer = Evaluated(new, *weighted(backup, new, time))
        stop = monitor.record(residual, answer, answer.width)
        settled = residual <= max(noise, rounding_of(value))
        if stop or answer.width <= monitor.enough(answer.value) or (settled and answer.width < np.inf):
            return answer
        value = new


def _extrapolated(
    backup: Backup, value: Float[np.ndarray, " n"], gain: Float[np.ndarray, " n"], noise: float
) -> Evaluated:
    """What a sweep from v to v + gain proves where the backup contracts."""
    new = value + gain
    below, above = extrapolate(backup, value, gain, noise)
    return Evaluated(new + (below + above) / 2, new + below, new + above)


def krylov(backup: Backup, monitor: SolveMonitor) -> Evaluated:
    """Solve (I − M) v = r by BiCGSTAB (van der Vorst 1992); else sweep. Quick where values diffuse far."""
    from scipy.sparse import csr_array, eye_array
    from scipy.sparse.linalg import bicgstab

    system = csr_array(eye_array(backup.num_states) - backup.matrix)
    diagonal = system.diagonal()
    inverse = csr_array(eye_array(backup.num_states).multiply(1 / np.where(diagonal > 0, diagonal, 1)[:, None]))
    scale = max(float(np.abs(backup.reward).max()), 1e-300)
    value, time = np.zeros(backup.num_states), np.zeros(backup.num_states)
    target = monitor.enough(value) * max(backup.least_leak, 1e-12) / 4
    for _ in range(4):
        left = backup.q(value) - value
        value = value + bicgstab(system, left, rtol=1e-8, atol=max(target, 1e-14 * scale), M=inverse, maxiter=500)[0]
        if backup.contracts:
            answer = _extrapolated(backup, value, *backup.change(value))
        else:
            time = time + bicgstab(system, 1 + backup.matrix @ time - time, rtol=1e-3, M=inverse, maxiter=500)[0]
            answer = Evaluated(value, *weighted(backup, value, time))
        stop = monitor.record(float(np.abs(left).max()), answer, answer.width)
        if stop or answer.width <= monitor.enough(answer.value):
            break
    return iterative(backup, monitor) if answer.width == np.inf and not stop else answer


def suited(backup: Backup, precise: bool = False) -> Evaluation:
    """`closed_form` where it is quick, however slowly values spread; `iterative` above.

    To be as `precise` as rounding lets it be takes sweeps twice as long, and longer where values mix.
    """
    small = backup.num_states <= SMALL or sum(bandwidth(backup)) <= BAND
    if small or (elimination_work(backup) <= MUCH if precise else elimination_pays(backup)):
        return closed_form
    return iterative


def elimination_pays(backup: Backup, times: int = 1) -> bool:
    """Whether so many linear systems take less than the sweeps that may be needed in their place."""
    return bool(times * elimination_work(backup) <= max(LITTLE, min(MUCH, sweeps_work(backup))))


def sweeps_work(backup: Backup) -> float:
    """About how many multiplications sweeps may take, if values do not mix."""
    leak = backup.least_leak
    return SWEPT * backup.rows.nnz / leak if leak else np.inf


def elimination_work(backup: Backup) -> float:
    """About how many multiplications a linear system of these states takes, by the shape of what leads where.

    States are put in an order in which what leads to each other lies close (Cuthill & McKee 1969), those that very
    many lead to last: each row is then filled from its first entry on, and there. Infinite where that is not worth
    looking at.
    """
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    n = backup.num_states
    if not 0 < n <= MOST_ORDERED:
        return np.inf
    graph = graph_of(backup.owner[_row_of(backup)], backup.rows.indices, n)
    both = graph + graph.T
    degree = np.diff(both.indptr)
    crowded = np.argsort(-degree, kind="stable")[:MOST_CROWDED]
    crowded = crowded[degree[crowded] > CROWDED * degree.mean()]
    kept = np.ones(n, bool)
    kept[crowded] = False
    inner = both[kept][:, kept]
    place = np.empty(len(kept) - len(crowded), np.int64)
    place[reverse_cuthill_mckee(inner, symmetric_mode=True)] = np.arange(len(place))
    row = np.repeat(np.arange(len(place)), np.diff(inner.indptr))
    reach = np.zeros(len(place))
    np.maximum.at(reach, place[row], place[row] - place[inner.indices])
    return float(((reach + len(crowded) + 1) ** 2).sum())


def probabilities(model: MDP, policy: Policy) -> Float[np.ndarray, " P"]:
    """Any policy that `evaluate` takes, as a probability per pair.

    Raises:
        ValueError: naming the state where it is not a policy of this model.
    """
    if isinstance(policy, Mapping):
        policy = np.array([float(x) for x in by_name(model, policy)])
    given = np.asarray(policy(model) if callable(policy) else policy)
    owner = model.pair_state
    if np.issubdtype(given.dtype, np.integer):
        if given.shape != (model.num_states,):
            raise ValueError(f"a policy of action numbers needs one per state [{model.num_states}], got {given.shape}")
        chances = (model.action == given[owner]).astype(float)
        expected = "the number of one of its actions"
    else:
        if given.shape != (model.num_pairs,):
            raise ValueError(
                f"a policy of probabilities needs one per pair [{model.num_pairs}], got {given.shape}: "
                "pass integers to choose one action per state"
            )
        chances = given.astype(float)
        expected = "probabilities that are not negative and sum to 1"
    total = np.bincount(owner, chances, minlength=model.num_states)
    wrong = ~model.terminal & ~(np.abs(total - 1) <= 1e-9)
    wrong[owner[~(chances >= 0)]] = True
    if wrong.any():
        s = int(np.argmax(wrong))
        got = given[s] if given.shape == (model.num_states,) else chances[owner == s]
        raise ValueError(f"policy in state {model.state_names[s]!r}: got {got}, expected {expected}")
    return chances / np.where(model.terminal, 1.0, total)[owner]


def exact_probabilities(model: MDP, policy: Policy) -> list[Fraction]:
    """The same in fractions [P], not divided by their sum: a policy keeps those that it is given in.

    Raises:
        ValueError: as `probabilities`.
    """
    policy = policy(model) if callable(policy) else policy
    chances = probabilities(model, policy)
    if isinstance(policy, Mapping):
        return by_name(model, policy)
    known = dict[float, Fraction]()
    given = as_floats(policy, known)
    return exactly((chances if np.issubdtype(np.asarray(policy).dtype, np.integer) else given).tolist(), known)


def by_name(model: MDP, policy: Mapping[Any, Any]) -> list[Fraction]:
    """The probability of each pair [P] under a policy {state: action} or {state: {action: probability}}.

    States and actions are given by their names, or as what these were made of. A terminal state may have None.

    Raises:
        ValueError: naming a state or an action that the model lacks, or a state without an action.
    """
    chances = [Fraction(0)] * model.num_pairs
    for given, chosen in policy.items():
        try:
            s = model.state(given)
        except KeyError:
            raise ValueError(f"no state {given!r} in the model{did_you_mean(str(given), model.state_names)}") from None
        own = {model.action_names[int(model.action[p])]: p for p in range(*model.state_ptr[s : s + 2].tolist())}
        shares = chosen if isinstance(chosen, Mapping) else {} if chosen is None else {chosen: 1}
        for action, chance in shares.items():
            if str(action) not in own:
                raise ValueError(f"state {given!r} has no action {action!r}; it has {', '.join(own) or 'none'}")
            try:
                chances[own[str(action)]] = Fraction(chance) if not isinstance(chance, float) else decimal(chance)
            except (TypeError, ValueError):
                raise ValueError(f"state {given!r}, action {action!r}: {chance!r} is no probability") from None
    acts = np.add.reduceat(np.array(chances, bool), model.state_ptr[:-1][~model.terminal])
    if not acts.all():
        s = int(np.flatnonzero(~model.terminal)[np.argmin(acts)])
        raise ValueError(f"policy in state {model.state_names[s]!r}: no action is given")
    return chances
