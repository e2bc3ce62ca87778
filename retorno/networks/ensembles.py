"""What is made of several critics' judgements: the target of all of them, and what an actor climbs."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import gymnasium
import jax
import jax.numpy as jnp
from gymnasium import spaces
from jax import Array
from jaxtyping import Float, Key

from retorno.core.hyperparameters import Count, hyperparameters
from retorno.core.registry import Registry
from retorno.networks.heads import ActionValueHead, Head, ValueHead


@runtime_checkable
class Ensemble(Protocol):
    """How many critics there are, and what they say together."""

    @property
    def members(self) -> int:
        """K, how many learn."""
        ...

    def head(self, action_space: gymnasium.Space) -> Head:
        """What each says.

        Raises:
            SpaceError: when it cannot judge such actions.
        """
        ...

    def target(self, q: Float[Array, "K ..."], key: Key[Array, ""]) -> Float[Array, "*A"]:
        """What all learn that the next action is worth: of finitely many each, else one number or several alike."""
        ...

    def judgement(self, q: Float[Array, "K ..."]) -> Float[Array, "*A"]:
        """What the actor climbs: of finitely many actions each one's worth, else that of one."""
        ...

    def loss(self, q: Float[Array, "K ..."], target: Float[Array, " m"]) -> Float[Array, ""]:
        """How far all are from what they learn, on one row."""
        ...


@hyperparameters
class Least:
    """The least of all critics: they err upwards where an action was chosen for their error. Fujimoto et al. 2018."""

    members: Count = 2
    """How many critics learn."""
    subset: Count | None = None
    """The least of so many, drawn anew for each target, while the actor climbs the mean of all; None for all.
    Chen et al. 2021 (REDQ)."""

    def __post_init__(self) -> None:
        if self.subset is not None and self.subset > self.members:
            raise ValueError(f"a subset of {self.subset} cannot be drawn from {self.members} critics: add members")

    def head(self, action_space: gymnasium.Space) -> Head:
        return ActionValueHead(int(action_space.n)) if isinstance(action_space, spaces.Discrete) else ValueHead()

    def target(self, q: Float[Array, "K ..."], key: Key[Array, ""]) -> Float[Array, "*A"]:
        if self.subset is None:
            return q.min(0)
        return q[jax.random.permutation(key, self.members)[: self.subset]].min(0)

    def judgement(self, q: Float[Array, "K ..."]) -> Float[Array, "*A"]:
        return q.min(0) if self.subset is None else q.mean(0)

    def loss(self, q: Float[Array, " K"], target: Float[Array, " 1"]) -> Float[Array, ""]:
        return 0.5 * jnp.sum(jnp.square(q - target))


ENSEMBLES = Registry((Least,), of=Ensemble)
"""Every way to make one judgement of several, by the name that the command line gives it."""
