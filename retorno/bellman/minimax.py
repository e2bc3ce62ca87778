"""Games of two in turn, solved exactly: who moves maximises what the other then cannot get. Shapley 1953."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from retorno.core.mdp import MDP, ModelError
from retorno.core.numerals import Number, as_fraction
from retorno.core.solution import Solution

SWEEPS = 100_000


def is_for_two(model: MDP) -> bool:
    """Whether two move in turn in a model: some discount is negative."""
    return bool(len(model.discount)) and bool(model.discount.min() < 0)


def minimax(model: MDP, discount: Number = 1, accuracy: float = 1e-9) -> Solution:
    r"""The values of a zero-sum game in which two move in turn, with bounds, and all best actions.

    .. math:: v(s) = \max_a \sum_{s'} p(s' \mid s, a) \left( r + \gamma\, d(s, a, s')\, v(s') \right)

    with a discount d of −1 where the opponent moves next: v(s) belongs to whoever moves in s. Sweeps draw a lower and
    an upper bound together, each from the other where the turn passes. A game that no course comes back in is exact
    after as many as its longest course has moves and one; where chance alone lets it go round, bounds close as its end
    becomes certain.

    Args:
        model: with S states and P state–action pairs; its discounts may have either sign.
        discount: γ in [0, 1].
        accuracy: the width of the bounds at which the sweeps end.

    Returns:
        The solution; its `policy` takes each of the best actions equally.

    Raises:
        ValueError: when the discount is outside [0, 1].
        ModelError: when the players can go round for ever, so that the bounds do not close.

    >>> from retorno.core.mdp import mdp
    >>> import dataclasses
    >>> game = mdp({"I": {"leave two": [(1.0, "you", 0.0)]}, "you": {"take": [(1.0, "end", 2.0)]}}, "I")
    >>> minimax(dataclasses.replace(game, discount=-game.discount)).start_value
    -2.0
    """
    if not 0 <= discount <= 1:
        raise ValueError(f"discount must lie in [0, 1], got {discount}")
    given, discount = as_fraction(discount), float(discount)
    acting, pair, after = np.flatnonzero(~model.terminal), model.transition_pair, model.next_state
    reward = np.bincount(pair, model.probability * model.reward, model.num_pairs)
    weight = discount * model.discount * model.probability
    own, other = np.maximum(weight, 0), np.minimum(weight, 0)

    def backed_up(mine: Float[np.ndarray, " S"], theirs: Float[np.ndarray, " S"]) -> Float[np.ndarray, " P"]:
        """Action values, where what is left to the opponent is taken at its other bound."""
        return reward + np.bincount(pair, own * mine[after] + other * theirs[after], model.num_pairs)

    def best(q: Float[np.ndarray, " P"]) -> Float[np.ndarray, " S"]:
        value = np.zeros(model.num_states)
        value[acting] = np.maximum.reduceat(q, model.state_ptr[acting])
        return value

    # What is earned at most: where each payment counts less than the one before, all of them; where the end alone pays,
    # one; else one a state, which is all that is passed where no course comes back.
    largest = np.abs(model.reward).max(initial=0.0)
    on_the_way = discount == 1 and bool(((model.reward != 0) & (weight != 0)).any())
    scale = largest / (1 - discount) if discount < 1 else largest * (model.num_states if on_the_way else 1)
    lower, upper = (np.where(model.terminal, 0.0, sign * scale) for sign in (-1, 1))
    widths: list[float] = []
    while True:
        before = lower, upper
        lower, upper = best(backed_up(*before)), best(backed_up(*before[::-1]))
        widths.append(float((upper - lower).max(initial=0.0)))
        if widths[-1] <= accuracy:
            break
        if np.array_equal(before, (lower, upper)) or len(widths) > (model.num_states if on_the_way else SWEEPS):
            raise ModelError(
                "this game can go round for ever: after "
                f"{len(widths):,} sweeps the bounds of state {model.state_names[int(np.argmax(upper - lower))]!r} are "
                "still apart. End it after a number of moves, or where a position comes again"
            )
    low, high = backed_up(lower, upper), backed_up(upper, lower)
    rounding = 0.0 if _whole(model, weight) else len(widths) * (2 * np.diff(model.row_ptr).max() + 8) * 2.0**-53 * scale
    lower, upper = lower - rounding * ~model.terminal, upper + rounding * ~model.terminal
    optimal = high + rounding >= lower[model.pair_state]
    ties = np.bincount(model.pair_state, optimal, model.num_states)
    return Solution(
        model,
        given,
        value=(lower + upper) / 2,
        lower=lower,
        upper=upper,
        q=(low + high) / 2,
        policy=optimal / ties[model.pair_state],
        optimal=optimal,
        policy_loss_bound=float((upper - lower).max(initial=0.0)),
        converged=True,
        sweeps=len(widths),
        residuals=tuple(widths),
        method="minimax",
        reason="two move in turn",
    )


def _whole(model: MDP, weight: Float[np.ndarray, " N"]) -> bool:
    """Whether all numbers are whole, so that no sum is rounded."""
    return all(bool((x == np.round(x)).all()) for x in (weight, model.probability, model.reward))
