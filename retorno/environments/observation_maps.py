"""What is seen of a state: a label that others share, or a vector of features, in place of its number."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Float, Int, Key
from numpy.typing import ArrayLike

from retorno.core.environment import Environment
from retorno.core.runtime import prepare
from retorno.core.time_step import TimeStep
from retorno.environments.wrappers import Wrapper


class Observed(Wrapper):
    """A world whose observation, a number, is looked up: row i of `table` is shown in its place.

    A table of whole numbers gives labels: states that share one cannot be told apart (state aliasing,
    state aggregation). A table of floats gives feature vectors.
    """

    table: Int[Array, " S"] | Float[Array, "S d"]
    labels: int | None = eqx.field(static=True)
    """How many there are; None for features."""
    low: tuple[float, ...] = eqx.field(static=True, default=())
    high: tuple[float, ...] = eqx.field(static=True, default=())
    """[d] The least and the largest of each feature."""

    def __check_init__(self) -> None:
        space = self.world.observation_space
        if not isinstance(space, spaces.Discrete) or len(self.table) != space.n:
            raise ValueError(f"a table of {len(self.table)} rows cannot show {space}: expected a row for each number")
        if (np.ndim(self.table), np.asarray(self.table).dtype.kind) not in ((1, "i"), (2, "f")):
            raise ValueError(f"a table holds whole numbers [S] or floats [S, d], got {np.shape(self.table)}")

    @property
    def observation_space(self) -> spaces.Space[Any]:
        if self.labels is not None:
            return spaces.Discrete(self.labels)
        low, high = (np.asarray(side, np.float32) for side in (self.low, self.high))
        return spaces.Box(low, high, dtype=np.float32)

    def reset(self, key: Key[Array, ""]) -> tuple[Any, TimeStep]:
        state, row = self.world.reset(key)
        return state, row._replace(obs=self.table[row.obs])

    def restart(self, state: Any, key: Key[Array, ""]) -> tuple[Any, TimeStep]:
        state, row = self.world.restart(state, key)
        return state, row._replace(obs=self.table[row.obs])

    def step(self, state: Any, action: Any, key: Key[Array, ""]) -> tuple[Any, TimeStep]:
        state, row = self.world.step(state, action, key)
        return state, row._replace(obs=self.table[row.obs])


def observation_map(world: Environment, table: ArrayLike) -> Observed:
    """A world seen through a table of labels [S] (whole numbers) or features [S, d] (floats).

    Raises:
        ValueError: when the table has another shape, or the world's observations are not numbers.

    Args:
        world: whose observations are numbers.
        table: what is shown of each. Shape [S] or [S, d].

    >>> from retorno.environments.textbook.lecture import random_walk
    >>> from retorno.environments.sampled_world import sampled
    >>> observation_map(sampled(random_walk(3)), [0, 0, 1, 2, 2]).observation_space
    Discrete(3)
    """
    prepare()
    rows = np.asarray(table)
    if rows.dtype.kind in "iu":
        return Observed(world, jnp.asarray(rows, jnp.int32), labels=int(rows.max()) + 1)
    rows = rows.astype(np.float32)
    low, high = (tuple(map(float, np.atleast_1d(side))) for side in (rows.min(0), rows.max(0)))
    return Observed(world, jnp.asarray(rows), None, low, high)
