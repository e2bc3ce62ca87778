"""The front door: what is the best value of each state, and what does a policy earn?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.bellman.backup import Backup, backup_of
from retorno.bellman.bounds import best_above
from retorno.bellman.evaluation import (
    BAND,
    COMPILED_FROM,
    DENSE,
    SMALL,
    Evaluation,
    Policy,
    bandwidth,
    elimination_pays,
    probabilities,
    suited,
    sweeps_work,
)
from retorno.bellman.improvement import policy_iteration
from retorno.bellman.minimax import is_for_two, minimax
from retorno.bellman.proper_policies import earns_nothing
from retorno.bellman.solve_monitor import MOST_SWEEPS, RELATIVE, Best, Evaluated, Progress, SolveMonitor
from retorno.bellman.stochastic_shortest_path import where_ending, where_finite
from retorno.bellman.sweeping import compiled_ties, modified_policy_iteration, partitioned
from retorno.bellman.ties import answering
from retorno.bellman.zero_cycles import pays_nothing, pays_nothing_under
from retorno.core.mdp import MDP, Modelled, model_of
from retorno.core.names import says_what_is_meant
from retorno.core.numerals import Number, as_fraction
from retorno.core.solution import Solution, Sweep

Method = Callable[[Backup, SolveMonitor], Best]
"""Finds the best choice of a backup and bounds its value."""


FILLING, MIXING = 1.5, 1e-3
"""More next states than this to a pair fill a linear system up as it is solved; so much discounting lets sweeps mix."""
LONG, SYSTEMS = 1e7, 4
"""Multiplications of sweeps from which on elimination may be quicker, and how many systems policy iteration solves."""


def auto(backup: Backup, monitor: SolveMonitor) -> Best:
    """Choose a method by the model's size and shape, and say why in `monitor.reason`."""
    method, monitor.reason = _chosen(backup)
    monitor.method = method.__name__
    return method(backup, monitor)


def advised(model: Modelled, discount: Number) -> tuple[str, str]:
    """The name of the method that `auto` chooses for a model, and why.

    Args:
        model: as in `solve`.
        discount: γ in [0, 1].

    >>> import retorno as rt
    >>> advised(rt.environments.student(), 0.9)[0]
    'policy_iteration'
    """
    method, reason = _chosen(backup_of(model_of(model), discount))
    return method.__name__, reason


def _chosen(backup: Backup) -> tuple[Method, str]:
    below, above = bandwidth(backup)
    several = backup.rows.nnz > FILLING * backup.num_pairs and max(below, above) * 4 > backup.num_states
    fills = backup.num_states > DENSE and several and backup.least_leak >= MIXING
    if backup.num_states <= SMALL and not fills:
        return policy_iteration, f"at most {SMALL:,} states: a few linear systems are quickest and most exact"
    if below + above <= BAND:
        return policy_iteration, f"a chain, {below + above + 1} diagonals wide: linear systems cost no more than sweeps"
    if sweeps_work(backup) > LONG and elimination_pays(backup, SYSTEMS):
        return (
            policy_iteration,
            "values may spread slowly, and linear systems of this shape fill little",
        )
    if max(below, above) * 16 <= backup.num_states:
        return partitioned, "states lead to near ones: blocks that nothing moves any more are skipped"
    return (
        modified_policy_iteration,
        "states lead far, and linear systems would fill up: sweeps, mostly of one action",
    )


def require_function(method: object) -> None:
    """Refuse a method that is given by its name.

    Raises:
        TypeError: with the line to write.

    Args:
        method: a function, or None for the usual one.
    """
    if method is not None and not callable(method):
        name = str(method).replace("-", "_").replace(" ", "_")
        raise TypeError(f"a method is a function, as method=retorno.bellman.{name}, got {method!r}")


@says_what_is_meant
def solve(
    model: Modelled,
    discount: Number,
    accuracy: float = 1e-6,
    *,
    relative_accuracy: float = RELATIVE,
    method: Method = auto,
    minimise: bool = False,
    must_end: bool = False,
    sweeps: int = MOST_SWEEPS,
    seconds: float | None = None,
    trace: bool = False,
    watch: Callable[[Progress], object] | None = None,
) -> Solution:
    r"""The best value of each state, a policy that reaches it and all actions that tie.

    .. math:: v_*(s) = \max_a \sum_{s'} p(s' \mid s, a) \bigl[r + \gamma v_*(s')\bigr]

    At discount 1 there are two questions. The *total reward* is the default: the best among all policies, of which
    one that stays for ever where nothing is earned has ended as well. To *reach the end* (`must_end`) only
    policies count that end with probability one. (A state from which nothing is ever earned whatever is
    done is an end to both.) Where no policy is worth comparing the value is −∞: all go on for ever at a
    loss, or none is sure to end. It is ∞ where a loop can be taken that pays for ever, and nan where what is earned
    goes up and down for ever. Only actions tie that some best policy takes: not one that waits for ever
    for what it could have.

    Args:
        model: with S states and P state–action pairs; or the dictionary that describes it, as of `mdp`.
        discount: γ in [0, 1]; a float stands for its shortest decimal, and it may be a `Fraction`.
        accuracy: the width of the bounds at which the answer counts as `converged`.
        relative_accuracy: or their width as a part of the largest value, whichever is more.
        method: `auto` chooses by size and shape (and `minimax` where two move in turn); or one of `policy_iteration`,
            `value_iteration`,
            `modified_policy_iteration`, `gauss_seidel`, `asynchronous`, `prioritised_sweeping`,
            `topological`, `partitioned`, `interval_iteration`, `linear_programming`.
        minimise: rewards are costs, and the least return is the best.
        must_end: at discount 1, whether only policies count that end with probability one.
        sweeps: stop after so many, a million unless told, with the bounds reached and `converged=False`.
        seconds: stop after this time, likewise. (At discount 1 to prove what was found may take as long again.)
        trace: keep values and bounds of every sweep in `Solution.trace`. The solve stops where they fill the
            memory, and `Solution.stopped` says so.
        watch: called about ten times a second with (sweeps, width of the bounds, seconds); the solve
            stops, with the bounds reached, where it returns True.

    Raises:
        ValueError: when the discount is outside [0, 1]; at discount 1 when no state has a finite value
            (a state that can never terminate, or a loop that pays for ever, is named). The average reward
            (`average_reward`) is then the question to ask.
        ModelError: when no state acts; when two move in turn, and another method than `auto` is asked for or they can
            go round for ever.

    >>> import retorno as rt
    >>> best = solve(rt.environments.student(), discount=1.0)
    >>> best.value.round(3), best.actions("C3")
    (array([ 6.,  6.,  8., 10.,  0.]), ('study',))
    """
    model = model_of(model)
    require_function(method)
    if method is auto and is_for_two(model):
        asked = {"minimise": minimise, "must_end": must_end, "trace": trace, "sweeps": sweeps != MOST_SWEEPS}
        if unheard := [name for name, given in {**asked, "seconds": seconds is not None}.items() if given]:
            raise ValueError(f"two move in turn in this model, which minimax solves whole: leave out {unheard[0]}")
        return minimax(model, discount, accuracy)
    backup = backup_of(model, discount, minimise)
    monitor = SolveMonitor(accuracy, relative_accuracy, sweeps, np.inf if seconds is None else seconds, trace, watch)
    if backup.contracts:
        choice, answer = method(backup, monitor)
    else:
        choice, answer = where_finite(backup, monitor, method, must_end)
    policy = _one_hot(choice, backup)
    del choice  # 8 MB a million states
    name = monitor.method or method.__name__
    return _solution(
        model, discount, backup, answer, policy, answer.upper, monitor, name, minimise=minimise, must_end=must_end
    )


def best_soft(model: MDP, discount: Number, epsilon: float, accuracy: float = 1e-6) -> Solution:
    """The best among the ε-soft policies: what SARSA with a fixed ε can reach at best.

    Policy iteration where choosing an action means taking it with probability 1 − ε and any of the
    state's actions otherwise. Sutton & Barto 2018, section 5.4. `q` holds the plain action values;
    `policy` the ε-soft probabilities [P]; bounds and loss are against the best ε-soft policy. With ε = 0
    every policy is ε-soft, and the answer is that of `solve`.

    Raises:
        ValueError: as `solve`, and when ε is outside [0, 1].

    >>> import retorno as rt
    >>> best_soft(rt.environments.student(), discount=1.0, epsilon=0.5).value.round(3)
    array([2.772, 3.106, 5.55 , 9.4  , 0.   ])
    """
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon must lie in [0, 1], got {epsilon}")
    if epsilon == 0:
        return solve(model, discount, accuracy)
    plain = backup_of(model, discount)
    monitor = SolveMonitor(accuracy, RELATIVE)
    choice, answer = policy_iteration(plain.soft(epsilon), monitor)
    counts = np.diff(plain.ptr)[plain.owner]
    policy = epsilon / counts + (1 - epsilon) * _one_hot(choice, plain)
    name = f"policy iteration over {epsilon:g}-soft policies"
    return _solution(model, discount, plain, answer, policy, answer.upper, monitor, name)


@says_what_is_meant
def evaluate(
    model: Modelled,
    policy: Policy,
    discount: Number,
    *,
    accuracy: float = 1e-9,
    relative_accuracy: float = RELATIVE,
    must_end: bool = False,
    method: Evaluation | None = None,
    sweeps: int = MOST_SWEEPS,
    seconds: float | None = None,
    trace: bool = False,
    watch: Callable[[Progress], object] | None = None,
) -> Solution:
    r"""The value of a policy: v = (I − γP)⁻¹ r.

    .. math:: v_\pi(s) = \sum_a \pi(a \mid s) \sum_{s'} p(s' \mid s, a) \bigl[r + \gamma v_\pi(s')\bigr]

    At discount 1 the question is that of `solve`: a policy that stays for ever where it earns nothing has ended as
    well, and one that goes on for ever at a loss or a gain is worth −∞ or ∞ (nan where it goes up and down, or may
    do both). With `must_end` it is worth −∞ wherever it may not end.

    Args:
        model: with S states and P state–action pairs; or the dictionary that describes it, as of `mdp`.
        policy: probabilities [P] (floats), action numbers [S] (integers, ignored for terminal
            states), or a function of the model such as `uniform`.
        discount: γ in [0, 1].
        accuracy: the width of the bounds at which an answer counts as `converged`.
        relative_accuracy: or their width as a part of the largest value, whichever is more.
        must_end: as in `solve`.
        method: `closed_form` (the default where elimination is quick: up to 1,000 states, and by shape), `iterative`
            (elsewhere) or `krylov`.
        sweeps: stop after so many, with the bounds reached and `converged=False`.
        seconds: stop after this time, likewise.
        trace: keep values and bounds of every sweep in `Solution.trace`.
        watch: as in `solve`.

    Returns:
        The policy's value with `lower ≤ v ≤ upper` [S]. `optimal` marks the pairs that tie for the
        best against this value: those that a policy improvement may choose.

    Raises:
        ValueError: when the discount is outside [0, 1], the policy is not one of this model, or, at
            discount 1, no state has a finite value (one is named).

    >>> import retorno as rt
    >>> evaluate(rt.environments.student(), rt.bellman.uniform, discount=1.0).value.round(1)
    array([-2.3, -1.3,  2.7,  7.4,  0. ])
    """
    model = model_of(model)
    require_function(method)
    backup = backup_of(model, discount)
    chances = probabilities(model, policy)
    chosen = backup.under(chances)
    method = method or suited(chosen)
    monitor = SolveMonitor(accuracy, relative_accuracy, sweeps, np.inf if seconds is None else seconds, trace, watch)
    if chosen.contracts:
        answer = method(chosen, monitor)
    else:
        ended = earns_nothing(backup, pays_nothing(backup))
        if not must_end:
            ended = earns_nothing(chosen, pays_nothing_under(backup, chances))
        answer = where_ending(chosen, monitor, method, ended, must_end)
    name = method.__name__
    return _solution(model, discount, backup, answer, chances, None, monitor, name, evaluated=True, must_end=must_end)


def _one_hot(choice: Int[np.ndarray, " n"], backup: Backup) -> Float[np.ndarray, " P"]:
    policy = np.zeros(backup.num_pairs)
    policy[choice] = 1.0
    return policy


def _solution(
    model: MDP,
    discount: Number,
    backup: Backup,
    answer: Evaluated,
    policy: Float[np.ndarray, " P"],
    optimum: Float[np.ndarray, " n"] | None,
    monitor: SolveMonitor,
    method: str,
    *,
    minimise: bool = False,
    evaluated: bool = False,
    must_end: bool = False,
) -> Solution:
    """Join an answer over the acting states to one over all. `optimum` bounds the best value from above."""
    sign = -1.0 if minimise else 1.0
    acting, answer = ~model.terminal, answer.within()

    def everywhere(value: Float[np.ndarray, " n"]) -> Float[np.ndarray, " S"]:
        if len(value) == model.num_states:
            return sign * value if minimise else value
        full = np.zeros(model.num_states)
        full[acting] = sign * value
        return full

    def swept(sweep: Sweep) -> Sweep:
        value, low, high = (everywhere(x) for x in sweep[:3])
        return Sweep(value, *((high, low) if minimise else (low, high)), sweep.residual)

    finite = np.isfinite(answer.value)
    width = float(np.subtract(answer.upper, answer.lower, where=finite, out=np.zeros(len(finite))).max(initial=0.0))
    if optimum is None and backup.contracts and np.isfinite(answer.upper).all():
        optimum = best_above(backup, answer.upper)
    loss = np.inf if optimum is None else float((optimum[finite] - answer.lower[finite]).max(initial=0.0))
    q, optimal = values_and_ties(backup, answer)
    if not (backup.contracts or evaluated):
        optimal = answering(backup, answer, optimal, must_end)
    low, high = everywhere(answer.lower), everywhere(answer.upper)
    return Solution(
        model=model,
        given_discount=as_fraction(discount),
        value=everywhere(answer.value),
        lower=high if minimise else low,
        upper=low if minimise else high,
        q=sign * q if minimise else q,
        policy=policy,
        optimal=optimal,
        policy_loss_bound=max(loss, 0.0),
        converged=width <= monitor.enough(answer.value),
        sweeps=len(monitor.residuals),
        residuals=tuple(monitor.residuals),
        method=method.replace("_", " "),
        reason=monitor.reason,
        minimise=minimise,
        evaluated=evaluated,
        must_end=must_end,
        stopped=monitor.full,
        trace=tuple(swept(sweep) for sweep in monitor.trace),
    )


def values_and_ties(backup: Backup, answer: Evaluated) -> tuple[Float[np.ndarray, " P"], Bool[np.ndarray, " P"]]:
    """The action values, and which pairs may be the best of their state within the bounds."""
    if backup.contracts and backup.rows.nnz >= COMPILED_FROM:
        width = answer.upper - answer.lower
        if width.max() <= 2 * width.min():
            reach = (1 - backup.least_leak) * float(width.max()) + 4 * backup.noise(answer.value)
            return compiled_ties(backup, answer.value, reach)
    q = _action_values(backup, answer.value)
    high, low = _action_values(backup, answer.upper), _action_values(backup, answer.lower)
    slack = backup.noise(np.where(np.isfinite(answer.value), answer.value, 0.0))
    least = np.where(np.isnan(low), -np.inf, low)
    return q, high + 2 * slack >= backup.best(least)[backup.owner]


def _action_values(backup: Backup, value: Float[np.ndarray, " n"]) -> Float[np.ndarray, " P"]:
    """`Backup.q` where some values are infinite."""
    if np.isfinite(value).all():
        return backup.q(value)
    q = backup.q(np.where(np.isfinite(value), value, 0.0))
    for last in (np.inf, -np.inf):  # What may fall without limit has no better part.
        q[backup.rows @ (value == last).astype(float) > 0] = last
    q[backup.rows @ np.isnan(value).astype(float) > 0] = np.nan
    return q
