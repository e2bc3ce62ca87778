"""The gambler's problem: stake on a coin until the goal or ruin. Sutton & Barto 2018, example 4.3."""

from __future__ import annotations

from retorno.core.mdp import MDP, mdp


def gambler(heads: float = 0.4, goal: int = 100) -> MDP:
    """States are the capital 1 … goal − 1, actions the stake 1 … min(capital, goal − capital).

    Reaching the goal pays 1; a stake of nothing is no action. At γ = 1 the value is the probability to
    reach the goal; many stakes tie (with p = .4 and 51, both 1 and 49).

    Args:
        heads: the probability to win the stake.
        goal: the capital that ends the game.

    Raises:
        ValueError: when the probability is outside [0, 1] or the goal below 2.

    >>> from retorno.bellman import solve
    >>> solve(gambler(), 1.0).value[[24, 49, 74]].round(3)
    array([0.16, 0.4 , 0.64])
    """
    if not 0 <= heads <= 1:
        raise ValueError(f"heads is a probability, in [0, 1], got {heads}")
    if goal < 2:
        raise ValueError(f"the goal must be at least 2, so that there is something to stake, got {goal}")
    return mdp(
        {
            capital: {
                stake: [
                    (heads, capital + stake, float(capital + stake == goal)),
                    (1 - heads, capital - stake, 0.0),
                ]
                for stake in range(1, min(capital, goal - capital) + 1)
            }
            for capital in range(1, goal)
        },
        initial=goal // 2,
    )
