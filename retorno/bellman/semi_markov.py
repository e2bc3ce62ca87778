"""Steps that take time: semi-Markov models. Puterman 1994, chapter 11.

Under the average criterion the gain is per unit of time. Under discounting a transition that takes τ is
discounted by γ^τ, which is a model's own `discount`: `discounted_by_time` writes it there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from jaxtyping import Float

from retorno.bellman.backup import NEAR
from retorno.core.mdp import MDP
from retorno.core.numerals import Number, as_fraction, keep

Duration = Float[np.ndarray, " N"] | Float[np.ndarray, " P"] | Sequence[float]
"""The time that each transition [N], or each pair [P], takes: positive."""


def discounted_by_time(model: MDP, discount: Number, duration: Duration) -> MDP:
    """The model in which a transition that takes τ is discounted by γ^τ; ask it with the discount 1.

    A reward is paid when its transition begins. One that flows while it lasts, at a rate ρ, is worth
    ρ (1 − γ^τ)/(−ln γ) (Puterman 1994, eq. 11.3.3).

    Args:
        model: with P pairs and N transitions.
        discount: γ in (0, 1], of one unit of time.
        duration: τ of each transition [N] or pair [P]. For a random time its mean is not enough: give its
            transform, by `dataclasses.replace(model, discount=model.discount * E[γ^τ])`.

    Raises:
        ValueError: when γ is outside (0, 1], or `duration` has another length or is not positive and finite.

    >>> import retorno as rt
    >>> ring = rt.mdp({"a": {"on": [(1.0, "b", 0.0)]}, "b": {"on": [(1.0, "a", 4.0)]}}, initial="a")
    >>> discounted_by_time(ring, 0.5, [1.0, 2.0]).discount
    array([0.5 , 0.25])
    """
    if not 0 < discount <= 1:
        raise ValueError(f"the discount of a unit of time must lie in (0, 1], got {discount}")
    times = checked(model, duration)
    if len(times) != model.num_transitions:
        times = np.repeat(times, np.diff(model.row_ptr))
    product, gamma, fractions = model.discount * float(discount) ** times, as_fraction(discount), dict(model.fractions)
    # Near 1 the float has lost the digits of what is missing from it: what it stands for is kept beside it.
    asked = np.stack([model.discount, times], 1)[near := product > 1 - NEAR]
    for (own, time), x in set(zip(map(tuple, asked.tolist()), product[near].tolist(), strict=True)):
        exact = model.exactly([own])[0] * _power(gamma, time)
        if x == 1 != exact:
            raise ValueError(f"{gamma}^{time:g} is closer to 1 than float64 holds: measure time in longer units")
        keep(exact, x, fractions)
    return replace(model, discount=product, fractions=fractions)


MOST_EXACT = 100
"""So many whole units of time at most are raised to exactly, and longer ones to float64's digits of 1 − γ^τ."""


def _power(gamma: Fraction, time: float) -> Fraction:
    """γ^τ near 1."""
    if time == int(time) <= MOST_EXACT:
        return gamma ** int(time)
    return 1 + Fraction(math.expm1(time * math.log1p(-float(1 - gamma))))


def checked(model: MDP, duration: Duration) -> Float[np.ndarray, " N_or_P"]:
    """Durations of the right length, positive and finite.

    Raises:
        ValueError: where they are not.
    """
    given = np.asarray(duration, float)
    if given.shape not in ((model.num_transitions,), (model.num_pairs,)):
        raise ValueError(
            f"duration needs one time per transition [{model.num_transitions}] or per pair [{model.num_pairs}], "
            f"got {given.shape}"
        )
    if not (np.isfinite(given) & (given > 0)).all():
        raise ValueError(f"durations must be positive and finite, got {given.min()} to {given.max()}")
    return given


def pair_times(model: MDP, duration: Duration | None) -> Float[np.ndarray, " P"]:
    """The expected time of each pair; 1 where nothing is said."""
    if duration is None:
        return np.ones(model.num_pairs)
    given = checked(model, duration)
    if len(given) == model.num_pairs:  # As many transitions as pairs means one each, so both readings agree.
        return given
    return np.add.reduceat(model.probability * given, model.row_ptr[:-1])
