"""Jack's car rental: cars are moved between two locations over night. Sutton & Barto 2018, example 4.2."""

from __future__ import annotations

from math import exp

import numpy as np
from jaxtyping import Float

from retorno.core.mdp import MDP, MapKey

MOST_CARS, MOST_MOVED = 20, 5
RENTAL_PAYS, MOVE_COSTS = 10.0, 2.0
REQUESTS, RETURNS = (3.0, 4.0), (3.0, 2.0)
"""Expected per day at the first and the second location."""
PARKED_FREE = 10
"""Cars that a location's own lot holds over night."""


def car_rental(free_moves: int = 0, parking_cost: float = 0.0) -> MDP:
    """States "n,m" are the cars at both locations in the evening, actions how many go from the first to the second.

    Requests and returns are Poisson with their whole tails. The reward of a transition is its
    expectation given the cars next evening: what was rented is not in the state. At γ = .9 the value
    of an empty business is 421.4141; with tails cut at 11 cars, as often seen, it would be 406.07.

    Args:
        free_moves: cars that go from the first to the second location at no cost. 1 in exercise 4.7.
        parking_cost: of each location that keeps more than 10 cars over night. 4 in exercise 4.7.

    >>> model = car_rental()
    >>> model.num_states, model.num_actions
    (441, 11)
    """
    side = np.arange(MOST_CARS + 1)
    first, second = (x.reshape(-1) for x in np.meshgrid(side, side, indexing="ij"))
    moves = np.arange(-MOST_MOVED, MOST_MOVED + 1)
    allowed = (moves <= first[:, None]) & (-moves <= second[:, None])
    state, action = np.nonzero(allowed)
    moved = moves[action]
    morning = [np.minimum(cars[state] + sign * moved, MOST_CARS) for cars, sign in ((first, -1), (second, 1))]
    cost = MOVE_COSTS * (np.abs(moved) - np.minimum(np.maximum(moved, 0), free_moves))
    cost += parking_cost * sum((cars > PARKED_FREE).astype(float) for cars in morning)

    days = [_day(requests, returns) for requests, returns in zip(REQUESTS, RETURNS, strict=True)]
    (chance_1, rented_1), (chance_2, rented_2) = ((p[n], r[n]) for (p, r), n in zip(days, morning, strict=True))
    pairs, outcomes = len(state), len(first)
    probability = (chance_1[:, :, None] * chance_2[:, None, :]).reshape(-1)
    reward = RENTAL_PAYS * (rented_1[:, :, None] + rented_2[:, None, :]) - cost[:, None, None]
    return MDP(
        state_ptr=np.append(0, np.cumsum(allowed.sum(1))),
        action=action,
        row_ptr=np.arange(pairs + 1) * outcomes,
        next_state=np.tile(np.arange(outcomes, dtype=np.int32), pairs),
        probability=probability,
        reward=reward.reshape(-1),
        discount=np.broadcast_to(1.0, pairs * outcomes),
        initial=np.full(outcomes, 1 / outcomes),
        state_names=tuple(f"{n},{m}" for n, m in zip(first, second, strict=True)),
        action_names=tuple(str(move) for move in moves),
        grid=tuple((MOST_CARS - int(n), int(m)) for n, m in zip(first, second, strict=True)),
        map_key=MapKey(
            rows="cars at the first location",
            columns="cars at the second location",
            row_names=tuple(str(n) for n in reversed(side)),
            column_names=tuple(str(m) for m in side),
            actions="cars moved to the second location over night",
        ),
    )


def _day(requests: float, returns: float) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n m"]]:
    """From n cars in the morning to m in the evening: (probability, expected number rented given both)."""
    size = MOST_CARS + 1
    chance, rented = np.zeros((size, size)), np.zeros((size, size))
    for n in range(size):
        for k, p in enumerate(_at_most(requests, n)):
            row = p * np.append(np.zeros(n - k), _at_most(returns, MOST_CARS - n + k))
            chance[n] += row
            rented[n] += k * row
    return chance, rented / chance


def _at_most(mean: float, most: int) -> Float[np.ndarray, " numbers"]:
    """The distribution of a Poisson number of which no more than `most` count."""
    chances = exp(-mean) * np.cumprod(np.append(1.0, mean / np.arange(1, most + 1)))
    chances[-1] = 1 - chances[:-1].sum()
    return chances
