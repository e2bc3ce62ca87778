"""Average rewards in rational numbers, by multichain policy iteration. Puterman 1994, section 9.2."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from flint import fmpq
from jaxtyping import Float

from retorno.bellman.evaluation import Policy, exact_probabilities
from retorno.bellman.fractional import (
    ONE,
    ZERO,
    best_average,
    chain_of,
    flint,
    fraction,
    gain_and_bias,
    normalised,
    rows_of,
    shares,
)
from retorno.bellman.semi_markov import Duration, checked
from retorno.core.mdp import MDP, Modelled, model_of


@dataclass(frozen=True, eq=False)
class RationalAverage:
    """The average reward of each state in fractions."""

    gain: list[Fraction]
    """[S]: the reward per step (per unit of time), for ever."""
    bias: list[Fraction]
    """[S]: 0 at the first state of each recurrent class."""
    policy: Float[np.ndarray, " P"]
    """The probability of each pair in its state: one best choice a state, or the policy that was evaluated."""


def average_exactly(model: Modelled, *, minimise: bool = False, duration: Duration | None = None) -> RationalAverage:
    """The best average reward from each state, by multichain policy iteration. Puterman 1994, section 9.2.

    What ends earns nothing for ever after; a transition's discount is the probability that it does not end.

    Args:
        model: with S states, P pairs and N transitions.
        minimise: whether rewards are costs.
        duration: expected time that a transition [N] or a pair [P] takes (a semi-Markov model); 1 without.

    Raises:
        ValueError: when `duration` has another length, or is not positive and finite.

    >>> import retorno as rt
    >>> ring = rt.mdp({"a": {"on": [(1.0, "b", 0.0)]}, "b": {"on": [(1.0, "a", 3.0)]}}, initial="a")
    >>> [str(gain) for gain in average_exactly(ring).gain]
    ['3/2', '3/2']
    """
    model, sign = model_of(model), -1 if minimise else 1
    rows = rows_of(model, Fraction(1), sign)
    gain, bias, choice = best_average(rows, _durations(model, duration))
    policy = np.zeros(model.num_pairs)
    policy[list(choice.values())] = 1.0
    return RationalAverage([fraction(sign * g) for g in gain], [fraction(sign * h) for h in bias], policy)


def evaluate_average_exactly(model: Modelled, policy: Policy, *, duration: Duration | None = None) -> RationalAverage:
    """A policy's average reward as fractions. Arguments as in `average_exactly` and `evaluate`.

    >>> import retorno as rt
    >>> ring = rt.mdp({"a": {"on": [(1.0, "b", 0.0)]}, "b": {"on": [(1.0, "a", 3.0)]}}, initial="a")
    >>> [str(gain) for gain in evaluate_average_exactly(ring, rt.bellman.uniform).gain]
    ['3/2', '3/2']
    """
    model = model_of(model)
    chances = exact_probabilities(model, policy)
    rows = rows_of(model, Fraction(1), 1)
    chain, choice = chain_of(rows, chances)
    time = _durations(model, duration)
    mean = [sum((c * time[p] for p, c in share), ZERO) for share in shares(rows, chances)]
    gain, bias = gain_and_bias(chain, choice, mean)
    return RationalAverage([*map(fraction, gain)], [*map(fraction, bias)], np.array(chances, float))


def _durations(model: MDP, duration: Duration | None) -> list[fmpq]:
    """The expected time of each pair."""
    if duration is None:
        return [ONE] * model.num_pairs
    given = [flint(x) for x in model.exactly(checked(model, duration).tolist())]
    if len(given) == model.num_pairs:  # As many transitions as pairs means one each, so both readings agree.
        return given
    chance = [flint(x) for x in model.exactly(model.probability.tolist())]
    spans = [slice(a, b) for a, b in pairwise(model.row_ptr.tolist())]
    return [sum((p * x for p, x in zip(normalised(chance[at]), given[at], strict=True)), ZERO) for at in spans]
