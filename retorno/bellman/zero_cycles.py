"""Loops at discount 1: whether going round pays, decided without rounding.

A loop that pays, however little, makes the best value infinite, and no floating-point bound can tell a
gain of nothing from one below rounding. So the few states that good actions can circle among are judged
in fractions, from the model's own numbers.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.bellman.average import average_reward
from retorno.bellman.backup import Backup
from retorno.bellman.rational_average import average_exactly
from retorno.core.mdp import MDP, Numbered
from retorno.core.numerals import exactly

MOST_STATES, MOST_PAIRS = 40, 400
"""Of a set of states that is judged in fractions."""


def exact_mean(backup: Backup, pair: int) -> Fraction:
    """A pair's expected reward, exactly: probabilities are normalised as fractions."""
    model, origin = backup.origin
    begin, end = model.row_ptr[origin[pair] : origin[pair] + 2]
    probability = model.exactly(model.probability[begin:end])
    reward = model.exactly(model.reward[begin:end])
    return sum((p * r for p, r in zip(probability, reward, strict=True)), Fraction(0)) / sum(probability)


def pays_nothing(backup: Backup) -> Bool[np.ndarray, " P"]:
    """The pairs whose expected reward is exactly zero."""
    nothing = backup.reward == 0
    if backup.traceable:
        near = _paid(backup) & (np.abs(backup.reward) <= backup.rounding * backup.largest_reward)
        for pair in np.flatnonzero(near)[: 10 * MOST_PAIRS]:
            nothing[pair] = exact_mean(backup, int(pair)) == 0
    return nothing


def _paid(backup: Backup) -> Bool[np.ndarray, " P"]:
    """The pairs that have a reward at all."""
    model, origin = backup.origin
    paid = (model.reward != 0) & (model.probability > 0)
    return np.add.reduceat(paid, model.row_ptr[:-1], dtype=np.int64)[origin] > 0


def pays_nothing_under(backup: Backup, policy: Float[np.ndarray, " P"]) -> Bool[np.ndarray, " n"]:
    """The states whose expected reward under a policy is exactly zero."""
    mean = np.bincount(backup.owner, policy * backup.reward, minlength=backup.num_states)
    nothing = mean == 0
    if backup.traceable:
        counts = np.diff(backup.ptr)
        paid = np.bincount(backup.owner, _paid(backup) & (policy > 0), minlength=backup.num_states) > 0
        near = paid & (np.abs(mean) <= backup.rounding * (1 + counts) * backup.largest_reward)
        for state in np.flatnonzero(near)[: 10 * MOST_PAIRS]:
            pairs = range(int(backup.ptr[state]), int(backup.ptr[state + 1]))
            taken = [p for p in pairs if policy[p] > 0]
            chances = exactly(policy[taken].tolist(), {})
            paid = (chance * exact_mean(backup, p) for p, chance in zip(taken, chances, strict=True))
            nothing[state] = sum(paid, Fraction(0)) == 0
    return nothing


def potentials(
    backup: Backup, state_set: Int[np.ndarray, " n"], inner: Bool[np.ndarray, " P"]
) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """For each set of states that `inner` pairs can stay in, an h with h ≥ r + P h for those pairs.

    Where there is one, going round gains nothing: Puterman 1994, theorem 9.1.4 with gain 0.

    Returns:
        h (0 where nothing is to be circled), the states of sets that pay for ever, and of those undecided.
    """
    h, pays, unknown = np.zeros(backup.num_states), *np.zeros((2, backup.num_states), bool)
    nothing = pays_nothing(backup)
    owner = state_set[backup.owner]
    for label in np.unique(owner[inner & ~nothing]):
        members, pairs = np.flatnonzero(state_set == label), np.flatnonzero(inner & (owner == label))
        if len(members) > MOST_STATES or len(pairs) > MOST_PAIRS or not backup.traceable:
            unknown[members] = True
            continue
        part = _part(backup, members, pairs)
        best = average_exactly(part, minimise=backup.minimise)
        sign = -1 if backup.minimise else 1
        if max(sign * gain for gain in best.gain) > 0:
            pays[members] = True
        elif (exact := [sign * bias for bias in best.bias]) and _holds(part, exact, sign):
            h[members] = [float(bias) for bias in exact]
        else:
            unknown[members] = True
    return h, pays, unknown


def sign_of_gain(backup: Backup, members: Int[np.ndarray, " m"], pairs: Int[np.ndarray, " k"]) -> int:
    """Whether the best average reward within an end component is above 0 (1), below (−1), or neither can be told (0).

    In fractions where it is small, else by its bounds.
    """
    part, sign = _part(backup, members, pairs), -1 if backup.minimise else 1
    if len(members) <= MOST_STATES and len(pairs) <= MOST_PAIRS:
        gain = max(sign * gain for gain in average_exactly(part, minimise=backup.minimise).gain)
        return (gain > 0) - (gain < 0)
    found = average_reward(part, minimise=backup.minimise)
    low, high = float(found.lower[0]), float(found.upper[0])  # It communicates: one gain for all.
    low, high = (low, high) if sign > 0 else (-high, -low)
    return int(low > 0) - int(high < 0)


def _part(backup: Backup, members: Int[np.ndarray, " m"], pairs: Int[np.ndarray, " k"]) -> MDP:
    """The model of a set of states with the pairs that stay in it."""
    model, origin = backup.origin
    own = origin[pairs]
    kept = [t for p in own for t in range(model.row_ptr[p], model.row_ptr[p + 1]) if model.probability[t] > 0]
    counts = [int((model.probability[model.row_ptr[p] : model.row_ptr[p + 1]] > 0).sum()) for p in own]
    states = model.pair_state[origin[backup.ptr[members]]]
    number = {int(s): i for i, s in enumerate(states)}
    return MDP(
        state_ptr=np.searchsorted(backup.owner[pairs], np.append(members, backup.num_states)),
        action=np.arange(len(pairs)),
        row_ptr=np.append(0, np.cumsum(counts)),
        next_state=np.array([number[int(model.next_state[t])] for t in kept]),
        probability=model.probability[kept],
        reward=model.reward[kept],
        discount=np.ones(len(kept)),
        initial=np.full(len(members), 1 / len(members)),
        state_names=Numbered(len(members)),
        action_names=Numbered(len(pairs)),
        fractions=model.fractions,
    )


def _holds(model: MDP, h: list[Fraction], sign: int) -> bool:
    """Whether h ≥ r + P h for every pair, exactly."""
    for s in range(model.num_states):
        for p in range(model.state_ptr[s], model.state_ptr[s + 1]):
            total = gain = Fraction(0)
            for t in range(model.row_ptr[p], model.row_ptr[p + 1]):
                probability, reward = model.exactly((model.probability[t], model.reward[t]))
                total += probability
                gain += probability * (sign * reward + h[model.next_state[t]])
            if gain > h[s] * total:
                return False
    return True
