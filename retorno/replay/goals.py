"""What a world with goals pays for being somewhere: a pure function of what was achieved and what was desired."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Shaped

from retorno.core.hyperparameters import NonNegative, hyperparameters
from retorno.core.registry import Registry

OBSERVATION, ACHIEVED, DESIRED = "observation", "achieved_goal", "desired_goal"
"""The parts of an observation in a world with goals, as in Gymnasium-Robotics' `GoalEnv`."""

Goal = Shaped[Array, "..."]


@runtime_checkable
class GoalReward(Protocol):
    """The reward of a world with goals, and whether it ends an episode there. Settings: `hyperparameters`."""

    def reward(self, achieved: Goal, desired: Goal) -> Float[Array, ""]:
        """Of arriving on a row where this much is achieved."""
        ...

    def terminated(self, achieved: Goal, desired: Goal) -> Bool[Array, ""]:
        """Whether an episode terminates there because of its goal."""
        ...


@hyperparameters
class Sparse:
    """One reward until the goal is reached, another one there, as Gymnasium-Robotics' "sparse"."""

    tolerance: NonNegative = 0.05
    """How far from the goal it counts as reached."""
    missed: float = -1.0
    """What is paid elsewhere."""
    reached: float = 0.0
    """What is paid at the goal."""
    terminates: bool = False
    """Whether an episode terminates at its goal."""

    def reward(self, achieved: Goal, desired: Goal) -> Float[Array, ""]:
        return jnp.where(self._there(achieved, desired), self.reached, self.missed)

    def terminated(self, achieved: Goal, desired: Goal) -> Bool[Array, ""]:
        return self._there(achieved, desired) if self.terminates else jnp.array(False)

    def _there(self, achieved: Goal, desired: Goal) -> Bool[Array, ""]:
        return distance(achieved, desired) <= self.tolerance


@hyperparameters
class Dense:
    """The distance to the goal, negated, as Gymnasium-Robotics' "dense"."""

    tolerance: NonNegative = 0.05
    """How far from the goal it counts as reached."""
    terminates: bool = False
    """Whether an episode terminates at its goal."""

    def reward(self, achieved: Goal, desired: Goal) -> Float[Array, ""]:
        return -distance(achieved, desired)

    def terminated(self, achieved: Goal, desired: Goal) -> Bool[Array, ""]:
        return distance(achieved, desired) <= self.tolerance if self.terminates else jnp.array(False)


def distance(achieved: Goal, desired: Goal) -> Float[Array, ""]:
    """Of two goals: the length of their difference, in float32.

    >>> distance(jnp.array([1, 0, 4]), jnp.array([1, 3, 0]))
    Array(5., dtype=float32)
    """
    return jnp.linalg.norm(jnp.ravel(achieved.astype(jnp.float32) - desired.astype(jnp.float32)))


GOAL_REWARDS = Registry((Sparse, Dense), of=GoalReward)
"""What worlds with goals pay, by the name that the command line gives it."""

register = GOAL_REWARDS.register
