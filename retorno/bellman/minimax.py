"""Games of two in turn, solved exactly: who moves maximises what the other then cannot get. Shapley 1953."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from retorno.core.mdp import MDP, ModelError
from retorno.core.numerals import Number


@dataclass(frozen=True, eq=False)
class GameSolution:
    """What perfect play of both sides comes to."""

    model: MDP
    question_discount: float
    """γ"""
    value: Float[np.ndarray, " S"]
    """Of whoever moves in the state."""
    q: Float[np.ndarray, " P"]
    """Of each action for who takes it."""
    policy: Float[np.ndarray, " P"]
    """Every best action, equally."""
    sweeps: int

    @property
    def start_value(self) -> float:
        """Of whoever moves first."""
        return float(self.model.initial @ self.value)


def minimax(model: MDP, discount: Number = 1.0) -> GameSolution:
    r"""The values of a zero-sum game in which two move in turn, and all best actions.

    .. math:: v(s) = \max_a \sum_{s'} p(s' \mid s, a) \left( r + \gamma\, d(s, a, s')\, v(s') \right)

    with a discount d of −1 where the opponent moves next: v(s) belongs to whoever moves in s. Sweeps go on until one
    changes nothing, so that the answer is exact up to rounding; a game without cycles needs one more than its longest
    course has moves.

    Args:
        model: with S states and P state–action pairs; its discounts may have either sign.
        discount: γ in [0, 1].

    Returns:
        Values [S], action values [P] and the policy [P].

    Raises:
        ValueError: when the discount is outside [0, 1].
        ModelError: when the game can go round for ever, where sweeps need not end.

    >>> from retorno.core.mdp import mdp
    >>> import dataclasses
    >>> game = mdp({"I": {"leave two": [(1.0, "you", 0.0)]}, "you": {"take": [(1.0, "end", 2.0)]}}, "I")
    >>> minimax(dataclasses.replace(game, discount=-game.discount)).start_value
    -2.0
    """
    if not 0 <= discount <= 1:
        raise ValueError(f"discount must lie in [0, 1], got {discount}")
    discount = float(discount)
    acting = np.flatnonzero(~model.terminal)
    weight = discount * model.discount * model.probability
    reward = np.bincount(model.transition_pair, model.probability * model.reward, model.num_pairs)
    value = np.zeros(model.num_states)
    for sweep in range(1, model.num_states + 2):
        q = reward + np.bincount(model.transition_pair, weight * value[model.next_state], model.num_pairs)
        after = np.zeros(model.num_states)
        after[acting] = np.maximum.reduceat(q, model.state_ptr[acting])
        if (after == value).all():
            best = q >= value[model.pair_state]
            count = np.bincount(model.pair_state, best, model.num_states)
            return GameSolution(model, discount, value, q, best / count[model.pair_state], sweep)
        value = after
    raise ModelError("this game can go round for ever: its values were still changing after as many sweeps as states")
