"""Perfect play: a policy that asks, on the host, who has solved the game."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, PyTree

from retorno.bellman import minimax
from retorno.core.environment import Environment
from retorno.core.policy import Carry, Heads, WithoutMemory
from retorno.core.solution import Solution
from retorno.environments.positions import Positions, positions
from retorno.ops.distributions import Categorical
from retorno.search.stopping import Stop


@runtime_checkable
class Solver(Protocol):
    """Who knows what each of A moves is worth."""

    @property
    def actions(self) -> int:
        """Their number, A."""
        ...

    def scores(self, obs: Any, stop: Stop | None = None) -> Float[np.ndarray, " A"]:
        """The more the better for whoever moves; NaN for what is not legal.

        Raises:
            Stopped: when the question was taken back.
        """
        ...

    def values(self, obs: Any, stop: Stop | None = None) -> Float[np.ndarray, " A"]:
        """What whoever moves gets with perfect play behind each move; NaN for what is not legal, or not known.

        Raises:
            Stopped: when the question was taken back.
        """
        ...


@dataclass(frozen=True, eq=False)
class Exhaustive:
    """A game of few positions, solved in all of them by minimax.

    >>> from retorno.environments.games.hex import Hex
    >>> Exhaustive.of(Hex(size=2)).scores(np.zeros((2, 2), np.int8))
    array([-1.,  1.,  1., -1.])
    """

    found: Positions
    solution: Solution

    @classmethod
    def of(cls, world: Environment) -> Exhaustive:
        """Of a game.

        Raises:
            ModelError: when it has too many positions, or can go round for ever.
        """
        found = positions(world)
        return cls(found, minimax(found.model))

    @property
    def actions(self) -> int:
        return self.found.model.num_actions

    def scores(self, obs: Any, stop: Stop | None = None) -> Float[np.ndarray, " A"]:
        """What each move is worth; NaN for what is not legal. Everything is, once the game is over.

        Raises:
            KeyError: for a position to which no game leads.
        """
        model, state = self.found.model, self.found.state(obs)
        if model.terminal[state]:
            return np.zeros(self.actions)
        own = slice(int(model.state_ptr[state]), int(model.state_ptr[state + 1]))
        worth = np.full(self.actions, np.nan)
        worth[model.action[own]] = self.solution.q[own]
        return worth

    values = scores


class Perfect(WithoutMemory):
    """Takes one of the best moves, as a solver says."""

    solver: Solver = eqx.field(static=True)

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        def on_the_host(obs: PyTree[Any]) -> np.ndarray:
            return self._scores(jax.tree.map(np.asarray, obs))

        like = jax.ShapeDtypeStruct((self.solver.actions,), np.float32)
        scores = jax.pure_callback(on_the_host, like, obs, vmap_method="sequential")
        return {"policy": Categorical(jnp.where(scores == scores.max(), 0.0, -1e3)), "q": scores}, ()

    def move(self, obs: PyTree[Any], stop: Stop) -> int:
        """The move that it takes, on the host alone.

        Args:
            obs: a position in which something is legal.
            stop: by which the question is taken back.

        Raises:
            Stopped: when it was.
        """
        return int(self._scores(jax.tree.map(np.asarray, obs), stop).argmax())

    def _scores(self, obs: PyTree[Any], stop: Stop | None = None) -> Float[np.ndarray, " A"]:
        return np.nan_to_num(self.solver.scores(obs, stop), nan=-1e3).astype(np.float32)


def word(cells: Bool[np.ndarray, "*N"]) -> np.uint64:
    """A set of up to 64 cells as bits, the first one the lowest: what the compiled searches work on."""
    return np.uint64(sum(1 << int(i) for i in np.flatnonzero(cells)))
