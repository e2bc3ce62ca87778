"""AlphaZero: what its targets are, by hand, and what it records of its own play."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.algorithms import AlphaZero
from retorno.core.counter import Counter
from retorno.core.policy import WithoutMemory, world_reward
from retorno.core.spaces import SpaceError
from retorno.core.time_step import TimeStep, Trajectory
from retorno.environments.games.tic_tac_toe_for_two import TicTacToe
from retorno.environments.registry import native
from retorno.networks import MLP
from retorno.ops.distributions import Categorical
from retorno.run.loop import native_spec
from retorno.search import PUCT

WORLD = TicTacToe()
KEY = jax.random.key(0)


class Constant(WithoutMemory):
    """A network that thinks .5 of everything."""

    def step(self, obs: Any, first: Any, carry: Any) -> Any:
        return {"policy": Categorical(jnp.zeros(9)), "value": jnp.float32(0.5)}, ()


def test_targets_by_hand() -> None:
    """Five moves: two by chance, then a game that the mover of row 4 wins; λ = ½."""
    values = jnp.array([0.1, 0.2, 0.4, -0.6, 0.8])[:, None]
    opens = jnp.array([True, True, False, False, False])[:, None]
    shape = (6, 1)
    steps = TimeStep(
        obs=jnp.zeros((*shape, 3, 3), jnp.int8),
        reward=jnp.zeros(shape).at[5].set(1.0),
        discount=jnp.full(shape, -1.0).at[0].set(1.0).at[5].set(0.0),
        first=jnp.zeros(shape, bool).at[0].set(True),
        last=jnp.zeros(shape, bool).at[5].set(True),
        legal=jnp.ones((*shape, 9), bool),
    )
    lived = Trajectory(steps, jnp.zeros((5, 1), jnp.int32), {"value": values, "opens": opens}, ())
    target = AlphaZero(lambda_=0.5)._targets(Constant(), lived, world_reward)
    # Row 4 wins: 1. Row 3: −(½ · .8 + ½ · 1). Row 2: −(½ · −.6 + ½ · −.9). Chance's rows keep the search's value.
    np.testing.assert_allclose(target[:, 0], [0.1, 0.2, 0.75, -0.9, 1.0], rtol=1e-6)


@pytest.mark.parametrize("world", ["recall", "CartPoleNoVel-v1"])
def test_a_world_that_cannot_be_entered_is_refused(world: str) -> None:
    place = native(world)
    method = AlphaZero(network=MLP((8,)), search=PUCT(simulations=4))
    with pytest.raises(SpaceError, match="plans in the world itself"):
        method.init(KEY, native_spec(place, Counter.of(1), 4))
