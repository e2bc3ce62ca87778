"""How much is still to be earned, shown beside what is observed: of recordings as it was, of a world as it is desired.

For what learns to earn as much as it is asked to: Schmidhuber 2019 ("upside-down reinforcement learning"), Chen et al.
2021 (decision transformer).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.environment import Environment
from retorno.core.spaces import HashableSpace
from retorno.core.time_step import TimeStep
from retorno.environments.recordings import Recorded
from retorno.environments.wrappers import Wrapper

OBS, TO_GO = "obs", "to_go"


class Desiring(NamedTuple):
    """A state, and what is still to be earned."""

    state: PyTree[Any]
    to_go: Float[Array, ""]


class Desired(Wrapper):
    """A world in whose observations stands how much of a desired return is still to be earned.

    An observation is {"obs": what the world shows, "to_go": [1]}.
    """

    desired: Float[Array, ""]
    """The return of an episode."""
    scale: Float[Array, ""]
    """What is shown is divided by it."""

    @property
    def observation_space(self) -> spaces.Dict:
        return told_space(self.world.observation_space)

    def reset(self, key: Key[Array, ""]) -> tuple[Desiring, TimeStep]:
        return self._begun(*self.world.reset(key))

    def restart(self, state: Desiring, key: Key[Array, ""]) -> tuple[Desiring, TimeStep]:
        return self._begun(*self.world.restart(state.state, key))

    def step(self, state: Desiring, action: Any, key: Key[Array, ""]) -> tuple[Desiring, TimeStep]:
        after, row = self.world.step(state.state, action, key)
        return self._shown(Desiring(after, state.to_go - row.reward), row)

    def held_back(self, state: Desiring) -> Any:
        return self.world.held_back(state.state)

    def render(self, state: Desiring) -> np.ndarray:
        return self.world.render(state.state)

    def _begun(self, state: PyTree[Any], row: TimeStep) -> tuple[Desiring, TimeStep]:
        return self._shown(Desiring(state, self.desired), row)

    def _shown(self, state: Desiring, row: TimeStep) -> tuple[Desiring, TimeStep]:
        return state, row._replace(obs={OBS: row.obs, TO_GO: state.to_go[None] / self.scale})


def desired(world: Environment, returned: float, scale: float = 1.0) -> Desired:
    """A world in which so large a return is desired; see `Desired`.

    Args:
        world: a native one.
        returned: how much is to be earned in an episode.
        scale: what is shown is divided by it: what a network reads should be near 1 in size.

    Raises:
        TypeError: when the world is not native.
        ValueError: when the scale is not positive.
    """
    if not isinstance(world, Environment):
        raise TypeError(
            f"a return is desired in a native world, as retorno.make('CartPole-v1') gives one, got {world!r}: what it "
            "pays on each step is taken off what is shown, inside of the compiled program"
        )
    return Desired(world, jnp.float32(returned), jnp.float32(_positive(scale)))


def told_returns(recorded: Recorded, scale: float = 1.0) -> Recorded:
    """Recordings in whose observations stands how much was earned from there to the episode's end.

    Args:
        recorded: what was lived.
        scale: as in `desired`.

    Raises:
        ValueError: when the scale is not positive.

    >>> from retorno.environments import episode, recorded_episodes
    >>> lived = episode(np.arange(4), np.zeros(3, int), np.array([1.0, 0.0, 2.0]))
    >>> told = told_returns(recorded_episodes([lived], spaces.Discrete(4), spaces.Discrete(2)))
    >>> told.lived.steps.obs["to_go"][:, 0, 0]
    Array([3., 2., 2., 0.], dtype=float32)
    """
    steps, scale = recorded.lived.steps, _positive(scale)

    def earlier(to_go: Float[Array, " C"], row: tuple[Array, Array]) -> tuple[Array, Array]:
        """Of a row, from what was to go after it: nothing, where it ended an episode or waited."""
        paid, last = row
        to_go = jnp.where(last, 0.0, paid + to_go)
        return to_go, to_go

    nothing = jnp.zeros_like(steps.reward[0])
    _, before = jax.lax.scan(earlier, nothing, (steps.reward[1:], steps.last[:-1]), reverse=True)
    to_go = jnp.concatenate([before, nothing[None]])[..., None] / scale
    told = steps._replace(obs={OBS: steps.obs, TO_GO: to_go})
    lived = recorded.lived._replace(steps=told)
    space = HashableSpace(told_space(recorded.observation_space))
    return Recorded(lived, space, recorded.taken, recorded.group)


def _positive(scale: float) -> float:
    if not 0 < scale < np.inf:
        raise ValueError(f"what is still to be earned is divided by scale, which must be positive, got {scale}")
    return scale


def told_space(space: Any) -> spaces.Dict:
    """Of the observations."""
    return spaces.Dict({OBS: space, TO_GO: spaces.Box(-np.inf, np.inf, (1,), np.float32)})
