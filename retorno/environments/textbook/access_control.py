"""Access control: which customers to give a server to, for ever. Sutton & Barto 2018, example 10.2."""

from __future__ import annotations

from math import comb

from retorno.core.mdp import MDP, MapKey, mdp

PAYMENTS = (1, 2, 4, 8)
"""What customers pay when they are accepted; each kind is equally likely to be next in the queue."""


def access_control(servers: int = 10, release: float = 0.06) -> MDP:
    """States "n free, pays r": a customer is accepted (where a server is free) or rejected, and the next one comes.

    Each busy server is released with the same probability before the next customer, the one just
    taken among them. It never ends: the best average reward is 2.74764 a step. On the map, rows are
    the payments and columns the free servers, as in figure 10.5.

    Args:
        servers: how many there are.
        release: the probability that a busy server is free at the next step.

    Raises:
        ValueError: when there is no server, or the probability is outside [0, 1].

    >>> from retorno.bellman import average_reward
    >>> round(float(average_reward(access_control()).gain.max()), 3)
    2.748
    """
    if servers < 1:
        raise ValueError(f"there must be at least 1 server, got {servers}")
    if not 0 <= release <= 1:
        raise ValueError(f"release is a probability, in [0, 1], got {release}")

    def then(free: int, reward: float) -> list[tuple[float, str, float]]:
        busy = servers - free
        released = (comb(busy, k) * release**k * (1 - release) ** (busy - k) for k in range(busy + 1))
        return [(p / len(PAYMENTS), _name(free + k, pays), reward) for k, p in enumerate(released) for pays in PAYMENTS]

    transitions = {
        _name(free, pays): {"reject": then(free, 0.0)} | ({"accept": then(free - 1, float(pays))} if free else {})
        for free in range(servers + 1)
        for pays in PAYMENTS
    }
    place = {_name(free, pays): (row, free) for free in range(servers + 1) for row, pays in enumerate(PAYMENTS)}
    return mdp(
        transitions,
        initial={_name(servers, pays): 1 / len(PAYMENTS) for pays in PAYMENTS},
        grid=place,
        map_key=MapKey(
            rows="the customer pays",
            columns="free servers",
            row_names=tuple(map(str, PAYMENTS)),
            column_names=tuple(str(free) for free in range(servers + 1)),
        ),
    )


def _name(free: int, pays: int) -> str:
    return f"{free} free, pays {pays}"
