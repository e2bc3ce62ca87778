"""The best value of a model and a policy that reaches it: value iteration, policy iteration.

At discount 1 the best is meant among the policies that end with probability one (the proper
policies of Bertsekas & Tsitsiklis 1991); policies that never end may exist beside them. A loop
that pays for ever has no finite best value and is an error.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.bellman.backup import Backup, backup_of, ending_choice
from retorno.bellman.bounds import extrapolate, tied_loops
from retorno.bellman.evaluation import SMALL, Evaluated, require_end, solution, suited
from retorno.core.mdp import MDP, Solution


def solve(model: MDP, discount: float, accuracy: float = 1e-6) -> Solution:
    """The best value of each state, a policy that reaches it and all actions that tie.

    Policy iteration for models of up to 1,000 states, value iteration above; `Solution.method` says.

    Args:
        model: with S states and P state–action pairs.
        discount: γ in [0, 1].
        accuracy: the width of the bounds at which the answer counts as `converged`.

    Raises:
        ValueError: when the discount is outside [0, 1]; at discount 1 when a state can never
            terminate or a loop pays for ever (the state is named).
    """
    method = policy_iteration if model.num_states <= SMALL else value_iteration
    return method(model, discount, accuracy)


def policy_iteration(model: MDP, discount: float, accuracy: float = 1e-6) -> Solution:
    """Evaluate a policy exactly, take its greedy policy, repeat. Howard 1960; Puterman 1994, section 6.4.

    Starts from a policy that ends, and changes an action only for a better one, so that at
    discount 1 every policy on the way ends too. Arguments and errors as in `solve`.
    """
    backup = backup_of(model, discount)
    choice, answer = improve_policy(backup)
    return solution(
        model, discount, backup, answer, _one_hot(choice, backup), answer.upper, accuracy, "policy iteration"
    )


def value_iteration(model: MDP, discount: float, accuracy: float = 1e-6) -> Solution:
    """Sweep v ← max_a (r + γ P v) until the bounds meet. Sutton & Barto 2018, section 4.4.

    At discount 1 the sweeps start from the value of a policy that ends, so they rise to the best
    value from below; the last policy is then evaluated exactly. Arguments and errors as in `solve`.
    """
    backup = backup_of(model, discount)
    iterate = _sweep if backup.contracts else _sweep_from_below
    choice, answer = iterate(backup, accuracy)
    return solution(
        model, discount, backup, answer, _one_hot(choice, backup), answer.upper, accuracy, "value iteration"
    )


def best_soft(model: MDP, discount: float, epsilon: float, accuracy: float = 1e-6) -> Solution:
    """The best among the ε-soft policies: what SARSA with a fixed ε can reach at best.

    Policy iteration where choosing an action means taking it with probability 1 − ε and any of the
    state's actions otherwise. Sutton & Barto 2018, section 5.4. `q` holds the plain action values;
    `policy` the ε-soft probabilities [P]; bounds and loss are against the best ε-soft policy.

    Raises:
        ValueError: as `solve`, and when ε is outside [0, 1].
    """
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon must lie in [0, 1], got {epsilon}")
    plain = backup_of(model, discount)
    backup = plain.soft(epsilon)
    choice, answer = improve_policy(backup)
    counts = np.diff(plain.ptr)[plain.owner]
    policy = epsilon / counts + (1 - epsilon) * _one_hot(choice, plain)
    name = f"policy iteration over {epsilon:g}-soft policies"
    return solution(model, discount, plain, answer, policy, answer.upper, accuracy, name)


Best = tuple[Int[np.ndarray, " n"], Evaluated]
"""The pair chosen in each state, and the best value: bounded below by that policy's, above for every policy."""


def improve_policy(backup: Backup) -> Best:
    """Policy iteration on a backup."""
    choice = _first_choice(backup)
    evaluate = suited(backup)
    answer = evaluate(backup.choose(choice), 0.0)
    changes = [float(np.abs(answer.value).max())]
    while True:
        q = backup.q(answer.value)
        better = backup.best(q) - q[choice]
        # A gain below the rounding of one backup is no gain: taking it could go round in circles.
        improved = _replace(backup, choice, q, better > 4 * backup.noise(answer.value))
        if not backup.contracts and ending_choice(backup.choose(improved))[1].any():
            # Gains within the errors of the two values may close a loop of ties; larger ones pay for ever.
            improved = _replace(backup, choice, q, better > 2 * answer.width + 4 * backup.noise(answer.value))
            _require_finite(backup, improved)
        if (improved == choice).all():
            break
        new = evaluate(backup.choose(improved), 0.0)
        changes.append(float(np.abs(new.value - answer.value).max()))
        if (new.value - answer.value).max() <= backup.noise(new.value):
            break
        choice, answer = improved, new
    return choice, answer._replace(upper=upper_bound(backup, answer), residuals=tuple(changes))


def upper_bound(backup: Backup, answer: Evaluated) -> Float[np.ndarray, " n"]:
    """Upper bounds of the best value from the value v of a policy that is (nearly) the best.

    Where the backup contracts, those of Porteus. Otherwise any u ≥ Tu is above the value of every
    policy that ends: u = v + ε z, where z is the longest expected time to the end along the pairs
    that tie for the best, and ε the largest gain that is left. Loops of ties would make z
    infinite; going round them gains nothing, so their states share one z. The inequality is then
    checked for every pair; infinity where it fails.
    """
    value, noise = answer.value, backup.noise(answer.value)
    q = backup.q(value)
    if backup.contracts:
        return backup.best(q) + extrapolate(backup, value, backup.best(q))[1]
    gain = q - value[backup.owner]
    left = max(float(gain.max()), 0.0) + 4 * noise
    for share in (1e-9, 1e-6, 1e-3):
        tight = gain >= -share * (backup.largest_reward + float(np.abs(value).max()))
        state_set, inner = tied_loops(backup, tight)
        time = _longest_time(backup, tight & ~inner, state_set)
        if time is None or gain[inner].max(initial=-np.inf) > 2 * answer.width + noise:
            continue
        falls = time[backup.owner] - backup.matrix @ time
        if (2 * left * falls >= gain + 2 * noise)[~inner].all():
            return value + 2 * left * time
    return np.full_like(value, np.inf)


def _longest_time(
    backup: Backup, pairs: Bool[np.ndarray, " P"], state_set: Int[np.ndarray, " n"]
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
    clock = Backup(merged, np.ones(len(order)), np.append(0, np.cumsum(counts)), ("",) * sets, backup.rounding, 1.0)
    choice, endless = ending_choice(clock)
    if endless.any():
        return None
    time = np.zeros(sets)
    while True:
        before, time = time, suited(clock)(clock.choose(choice), 0.01).value
        if clock.noise(time) > 0.1 or time.sum() <= before.sum():
            return None  # so long that rounding blurs a single step
        q = clock.q(time)
        improved = _replace(clock, choice, q, clock.best(q) - q[choice] > 0.25)
        if (improved == choice).all():
            return time[state_set]
        if ending_choice(clock.choose(improved))[1].any():
            return None
        choice = improved


def _sweep(backup: Backup, accuracy: float) -> Best:
    """Value iteration where the backup contracts."""
    value, residuals = np.zeros(backup.num_states), []
    while True:
        q = backup.q(value)
        new = backup.best(q)
        residuals.append(float(np.abs(new - value).max()))
        below, above = extrapolate(backup, value, new)
        if above - below <= accuracy or residuals[-1] <= backup.noise(new):
            answer = Evaluated(new + (below + above) / 2, new + below, new + above, tuple(residuals))
            return backup.greedy(q), answer
        value = new


def _sweep_from_below(backup: Backup, accuracy: float) -> Best:
    """Value iteration where it does not.

    The value starts at that of a policy that ends and only rises, and a state's choice is the last
    pair that raised it. So if that choice closes a loop, the loop pays for ever.
    """
    choice = _first_choice(backup)
    evaluate = suited(backup)
    value, residuals = evaluate(backup.choose(choice), accuracy).lower, []
    target, check = accuracy, 64
    while True:
        q = backup.q(value)
        rise = backup.best(q) - value
        rises = rise > 4 * backup.noise(value)
        choice = _replace(backup, choice, q, rises)
        value = np.where(rises, backup.best(q), value)
        residuals.append(float(np.where(rises, rise, 0.0).max()))
        if len(residuals) == check:
            _require_finite(backup, choice)
            check *= 2
        if residuals[-1] > target:
            continue
        _require_finite(backup, choice)
        answer = evaluate(backup.choose(choice), target / 10)
        best = answer._replace(upper=upper_bound(backup, answer), residuals=tuple(residuals))
        if best.width <= accuracy or residuals[-1] == 0:
            return choice, best
        value, target = np.maximum(value, answer.lower), target / 100


def _first_choice(backup: Backup) -> Int[np.ndarray, " n"]:
    """A policy that ends, and soon: nearly the one with the largest mean of .99^steps.

    One that merely ends may take so long that float64 cannot hold its value. Each state keeps the
    last pair that raised it, so a closed loop could only be one of the policy it began with.
    """
    choice = require_end(backup, "under any policy")
    if backup.contracts:
        return choice
    value = np.zeros(backup.num_states)
    while True:
        q = 0.99 * (1 - backup.stay + backup.matrix @ value)
        rise = backup.best(q) - value
        if rise.max() < 1e-6:
            return choice
        choice = _replace(backup, choice, q, rise > 1e-9)
        value = np.where(rise > 1e-9, backup.best(q), value)


def _replace(
    backup: Backup, choice: Int[np.ndarray, " n"], q: Float[np.ndarray, " P"], where: Bool[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """The greedy pair in the states `where`, the old choice elsewhere."""
    return np.where(where, backup.greedy(q), choice)


def _one_hot(choice: Int[np.ndarray, " n"], backup: Backup) -> Float[np.ndarray, " P"]:
    policy = np.zeros(len(backup.reward))
    policy[choice] = 1.0
    return policy


def _require_finite(backup: Backup, choice: Int[np.ndarray, " n"]) -> None:
    """Raise where a policy made of improvements never ends: its loop pays for ever."""
    endless = ending_choice(backup.choose(choice))[1]
    if endless.any():
        raise ValueError(
            f"state {backup.names[int(np.argmax(endless))]!r} can reach a loop that pays for ever, so its best value "
            "at discount 1 is infinite: ask with a discount below 1"
        )
