"""Random models: generic average random networks of tasks."""

from __future__ import annotations

import numpy as np

from retorno.core.mdp import MDP, Numbered
from retorno.core.memory import ensure_fits


def garnet(states: int, actions: int, branching: int, seed: int, termination: float = 0.0) -> MDP:
    """A random model in which every action of every state leads to `branching` different states.

    Probabilities are the gaps between sorted uniform cuts of [0, 1]; the reward of a pair is normal
    with mean 0 and variance 1. Archibald, McKinnon & Thomas 1995; Bhatnagar et al. 2009, section 6.

    Args:
        states: S.
        actions: A, the same in every state.
        branching: how many next states a pair has, from 1 to S.
        seed: the same seed gives the same model.
        termination: the chance that a transition is one that terminates. Above 0, every state's
            first action has at least one such transition, so that all policies can be improved to
            one that ends.

    Raises:
        ValueError: when `branching` is not in [1, S] or `termination` not in [0, 1].
        ModelError: when the model would not fit into memory, with both numbers.

    >>> model = garnet(states=20, actions=4, branching=3, seed=0)
    >>> model.num_pairs, len(model.next_state)
    (80, 240)
    """
    if not 1 <= branching <= states:
        raise ValueError(f"branching must lie in [1, {states}], the number of states, got {branching}")
    if not 0 <= termination <= 1:
        raise ValueError(f"termination must lie in [0, 1], got {termination}")
    ensure_fits(64 * states * actions * branching, f"a model of {states:,} states")
    rng = np.random.default_rng(seed)
    pairs = states * actions
    next_state = _distinct(rng, pairs, branching, states)
    cuts = np.sort(rng.random((pairs, branching - 1)), axis=1)
    probability = np.diff(cuts, axis=1, prepend=0.0, append=1.0)
    discount = np.broadcast_to(1.0, (pairs * branching,))
    if termination:
        ends = rng.random((pairs, branching)) < termination
        ends[::actions, 0] = True
        discount = np.where(ends, 0.0, 1.0).reshape(-1)
    return MDP(
        state_ptr=np.arange(states + 1) * actions,
        action=np.tile(np.arange(actions), states),
        row_ptr=np.arange(pairs + 1) * branching,
        next_state=next_state.reshape(-1).astype(np.int32 if states < 2**31 else np.int64),
        probability=probability.reshape(-1),
        reward=np.repeat(rng.normal(size=pairs), branching),
        discount=discount,
        initial=np.full(states, 1 / states),
        state_names=Numbered(states),
        action_names=Numbered(actions),
    )


def _distinct(rng: np.random.Generator, rows: int, size: int, below: int) -> np.ndarray:
    """Each row [size] a uniformly random set of different numbers under `below`. Floyd's algorithm (Bentley 1987)."""
    chosen = np.empty((rows, size), np.int64)
    for i, largest in enumerate(range(below - size, below)):
        number = rng.integers(0, largest + 1, rows)
        taken = (chosen[:, :i] == number[:, None]).any(axis=1)
        chosen[:, i] = np.where(taken, largest, number)
    return chosen
