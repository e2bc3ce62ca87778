"""Policy iteration: evaluate a policy exactly, take its greedy policy, repeat.

Howard 1960; Puterman 1994, section 6.4. In a model of many states an improvement is not one backup
but passes upwards and downwards that use each new value at once, and the first policy takes in each
state that of the constant ones (its first action everywhere, its second, …) which earns most from there
(policy switching: Chang, Givan & Chong 2004). Along a chain, better choices then spread from one end
to the other in a few improvements, and not in as many as there are states.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from retorno.bellman.backup import Backup
from retorno.bellman.evaluation import SMALL, suited
from retorno.bellman.proper_policies import ending_choice
from retorno.bellman.solve_monitor import Best, Evaluated, SolveMonitor
from retorno.bellman.stochastic_shortest_path import first_choice, replace, require_finite, upper_bound
from retorno.bellman.sweeping import improve_in_passes


def policy_iteration(backup: Backup, monitor: SolveMonitor) -> Best:
    """Starts from a policy that ends, and changes an action only for a better one.

    So at discount 1 every policy on the way ends too. A policy whose value float64 cannot tell is not
    taken, nor one that was taken before: rounding could go round in circles.
    """
    improve = _greedy if backup.num_states <= SMALL else improve_in_passes
    choice = first_choice(backup)
    if backup.num_states > SMALL and backup.contracts:
        choice = _best_of_constant(backup, monitor)
    answer = _evaluated(backup, choice, monitor)
    residual = float(np.abs(answer.value).max())
    tried = {choice.tobytes()}
    while True:
        bounded = answer._replace(upper=upper_bound(backup, answer, monitor)) if monitor.traced else None
        if monitor.record(residual, bounded, bounded.width if bounded else np.inf):
            break
        improved = improve(backup, choice, answer)
        if improved.tobytes() in tried:
            break
        tried.add(improved.tobytes())
        new = _evaluated(backup, improved, monitor)
        residual = float(np.abs(new.value - answer.value).max())
        if not np.isfinite(new.lower).all() or (new.value - answer.value).max() <= backup.noise(new.value):
            break
        choice, answer = improved, new
    return choice, answer._replace(upper=upper_bound(backup, answer, monitor))


MOST_CONSTANT = 8
"""So many constant policies are tried."""


def _evaluated(backup: Backup, choice: Int[np.ndarray, " n"], monitor: SolveMonitor) -> Evaluated:
    """The value of a policy."""
    chosen = backup.choose(choice)
    return suited(chosen, precise=True)(chosen, monitor.inside(0.0))


def _best_of_constant(backup: Backup, monitor: SolveMonitor) -> Int[np.ndarray, " n"]:
    """In each state the action of that constant policy which earns most from there."""
    counts = np.diff(backup.ptr)
    constant = [backup.ptr[:-1] + np.minimum(k, counts - 1) for k in range(min(int(counts.max()), MOST_CONSTANT))]
    values = [_evaluated(backup, choice, monitor).value for choice in constant]
    return np.choose(np.argmax(values, axis=0), constant)


def _greedy(backup: Backup, choice: Int[np.ndarray, " n"], answer: Evaluated) -> Int[np.ndarray, " n"]:
    """The greedy policy, with the old choice where that is as good."""
    q, noise = backup.change(answer.value)
    better = backup.best(q) - q[choice]
    # A gain below the rounding of one backup is no gain: taking it could go round in circles.
    improved = replace(backup, choice, q, better > 4 * noise)
    if not backup.contracts and ending_choice(backup.choose(improved))[1].any():
        # Gains within the errors of the two values may close a loop of ties; larger ones pay for ever.
        improved = replace(backup, choice, q, better > 2 * answer.width + 4 * noise)
        require_finite(backup, improved)
    return improved
