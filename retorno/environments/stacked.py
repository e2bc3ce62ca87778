"""Several models as worlds of one shape: a method is compiled once, and lives in all of them at once.

What is too small gets states that are never entered, actions that no state has, and outcomes that never follow.
Values and policies of the states that are really there are unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from retorno.core.environment import Environment
from retorno.core.mdp import MDP
from retorno.environments.sampled_world import Sampled, sampled

AnyWorld = TypeVar("AnyWorld", bound=Environment)


def padded(models: Sequence[MDP]) -> list[MDP]:
    """The same models, each with as many states and actions as the largest has.

    Args:
        models: of any sizes.

    >>> from retorno.environments.textbook.lecture import random_walk
    >>> [model.num_states for model in padded([random_walk(3), random_walk(5)])]
    [7, 7]
    """
    states, actions = (max(getattr(model, size) for model in models) for size in ("num_states", "num_actions"))
    return [_pad(model, states - model.num_states, actions - model.num_actions) for model in models]


def _pad(model: MDP, states: int, actions: int) -> MDP:
    return replace(
        model,
        state_ptr=np.append(model.state_ptr, np.full(states, model.num_pairs)),
        initial=np.append(model.initial, np.zeros(states)),
        state_names=(*model.state_names, *(f"no state {i}" for i in range(states))),
        action_names=(*model.action_names, *(f"no action {i}" for i in range(actions))),
        grid=None,
    )


def of_one_shape(models: Sequence[MDP]) -> list[Sampled]:
    """The padded models as worlds whose arrays have the same shapes.

    Args:
        models: of any sizes.

    >>> from retorno.environments.textbook.lecture import random_walk
    >>> [world.first_outcome.shape for world in of_one_shape([random_walk(3), random_walk(5)])]
    [(7, 2), (7, 2)]
    """
    models = padded(models)
    worlds = [sampled(model) for model in models]
    outcomes, starts = (max(len(getattr(world, name)) for world in worlds) for name in ("reward", "start"))
    masked = any(world.legal is not None for world in worlds)

    def longer(world: Sampled, model: MDP) -> Sampled:
        def pad(x: jax.Array, size: int, value: float = 0) -> jax.Array:
            return jnp.asarray(np.append(x, np.full(size - len(x), value, x.dtype)))

        return replace(
            world,
            cumulative=pad(world.cumulative, outcomes),
            next_state=pad(world.next_state, outcomes),
            reward=pad(world.reward, outcomes),
            discount=pad(world.discount, outcomes),
            start=pad(world.start, starts),
            # The last place of a start holds infinity, and a draw finds the first that does.
            start_cumulative=pad(world.start_cumulative, starts, np.inf),
            legal=jnp.asarray(model.legal | model.terminal[:, None]) if masked else None,
            most_outcomes=max(each.most_outcomes for each in worlds),
        )

    return [longer(world, model) for world, model in zip(worlds, models, strict=True)]


def stacked(worlds: Sequence[AnyWorld]) -> AnyWorld:
    """Worlds of one shape as one, for `probe(…, side_by_side=True)`: every array has their axis in front.

    Args:
        worlds: W of them, for instance `of_one_shape(models)`.

    Returns:
        One of their kind, whose arrays are [W, ...].

    >>> from retorno.environments.textbook.lecture import random_walk
    >>> stacked(of_one_shape([random_walk(3), random_walk(5)])).first_outcome.shape
    (2, 7, 2)
    """
    return jax.tree.map(lambda *x: jnp.stack(x), *worlds)
