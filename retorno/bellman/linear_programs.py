"""The best value as a linear program, and its dual: how often to be where. Puterman 1994, section 6.9.

    primal   min Σ_s c(s) v(s)   with v(s) ≥ r(s, a) + Σ_s′ M(s, a, s′) v(s′)   for every pair
    dual     max Σ_p x(p) r(p)   with Σ_a x(s, a) = c(s) + Σ_p x(p) M(p, s) and x ≥ 0

M holds the discounted probabilities. A program is solved to a tolerance, by HiGHS (Huangfu & Hall 2018); what
is returned is the policy that it points to, evaluated and bounded as any other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from retorno.bellman.backup import Backup, backup_of
from retorno.bellman.evaluation import suited
from retorno.bellman.improvement import policy_iteration
from retorno.bellman.occupancy_measure import Initial, Occupancy, occupancy, start_distribution
from retorno.bellman.proper_policies import ending_choice
from retorno.bellman.solve_monitor import Best, SolveMonitor
from retorno.bellman.stochastic_shortest_path import replace, upper_bound
from retorno.core.mdp import MDP
from retorno.core.numerals import Number, plain


def linear_programming(backup: Backup, monitor: SolveMonitor) -> Best:
    """Solve the primal with equal weights; the pair whose inequality is tight is the choice. For small models.

    A program's tolerance may leave a little to be gained, above all near discount 1: policy improvements
    from its choice take that. Where the program has no solution, a loop pays for ever or numbers are too
    far apart for HiGHS, and policy iteration answers instead.
    """
    choice = _tight(backup)
    if choice is None:
        return policy_iteration(backup, monitor)
    while True:
        chain = backup.choose(choice)
        answer = suited(chain)(chain, monitor.inside(0.0))
        best = answer._replace(upper=upper_bound(backup, answer, monitor))
        q = backup.q(answer.value)
        left = backup.best(q) - q[choice]
        improved = replace(backup, choice, q, left > 2 * answer.width + 4 * backup.noise(answer.value))
        if monitor.record(float(left.max()), best, best.width) or (improved == choice).all():
            return choice, best
        if ending_choice(backup.choose(improved))[1].any():
            return policy_iteration(backup, monitor)
        choice = improved


def occupancy_program(model: MDP, discount: Number, initial: Initial = None) -> tuple[Occupancy, float]:
    """The best occupancy measure by the dual program: (the visits of its policy, the program's value).

    The visits x(s, a) are recomputed from the policy x(s, a)/Σ_a x(s, a), with their error; where nothing
    is visited the policy does not matter. The value is the program's own, up to its tolerance: Σ x r, the
    best value at the start. At discount 1 the policy ends wherever it gets to.

    Args:
        model: with S states and P state–action pairs.
        discount: γ in [0, 1].
        initial: a state, a distribution [S], or None for the model's own.

    Raises:
        ValueError: when the discount is outside [0, 1]; at discount 1 when the start can never be sure to
            end, or can reach a loop that pays for ever.

    >>> import retorno as rt
    >>> measure, value = occupancy_program(rt.environments.student(), discount=1.0)
    >>> round(value, 6)
    6.0
    """
    backup, start = backup_of(model, discount), start_distribution(model, initial)
    balance = (_owners(backup) - backup.matrix).T.tocsr()
    scale = _scale(backup)
    answer = _program(-backup.reward / scale, equal=balance, to=start[~model.terminal], least=0.0)
    if answer.x is None:
        raise ValueError(
            f"no best occupancy at discount {plain(float(discount))} ({answer.message.strip()}): a state never "
            "terminates under any policy, or a loop pays for ever; ask with a discount below 1"
        )
    visits = np.maximum(answer.x, 0.0)
    total = np.add.reduceat(visits, backup.ptr[:-1])
    seen = total > 1e-12 * total.max()
    counts = np.diff(backup.ptr)
    share = np.where(seen[backup.owner], visits, 1.0) / np.where(seen, total, counts)[backup.owner]
    return occupancy(model, share, discount, start), -float(answer.fun) * scale


def _tight(backup: Backup) -> Any:
    """The pair of each state with the largest dual, or None without a solution or one that ends."""
    constraint = backup.matrix - _owners(backup)
    scale = _scale(backup)
    answer = _program(np.ones(backup.num_states), below=constraint, most=-backup.reward / scale)
    if answer.x is None:
        return None
    visits: Float[np.ndarray, " P"] = -answer.ineqlin.marginals
    choice = backup.greedy(visits)
    return None if ending_choice(backup.choose(choice))[1].any() else choice


def _owners(backup: Backup) -> Any:
    """The matrix [P, n] with a 1 for the state that owns each pair."""
    from scipy.sparse import csr_array

    pairs = backup.num_pairs
    return csr_array((np.ones(pairs), backup.owner, np.arange(pairs + 1)), shape=(pairs, backup.num_states))


def _scale(backup: Backup) -> float:
    """A reward that counts as 1: HiGHS's tolerances are absolute."""
    return float(np.abs(backup.reward).max()) or 1.0


def _program(
    cost: Float[np.ndarray, " k"],
    below: Any = None,
    most: Any = None,
    equal: Any = None,
    to: Any = None,
    least: float | None = None,
) -> Any:
    """Minimise `cost` over x ≥ least, with `below` x ≤ `most` and `equal` x = `to`."""
    from scipy.optimize import linprog

    tight = {"dual_feasibility_tolerance": 1e-10, "primal_feasibility_tolerance": 1e-10}
    return linprog(cost, below, most, equal, to, bounds=(least, None), method="highs", options=tight)
