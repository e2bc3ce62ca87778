"""What is made of several critics' judgements: the target of all of them, and what an actor climbs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import gymnasium
import jax
import jax.numpy as jnp
from gymnasium import spaces
from jax import Array
from jaxtyping import Float, Key

from retorno.core.hyperparameters import Count, Whole, hyperparameters
from retorno.core.registry import Registry
from retorno.core.spaces import SpaceError
from retorno.networks.heads import ActionValueHead, Head, Parameters, ValueHead
from retorno.ops.estimates import middles, quantile_regression, smallest
from retorno.ops.objectives import least


@runtime_checkable
class Ensemble(Protocol):
    """How many critics there are, and what they say together."""

    @property
    def members(self) -> int:
        """K, how many learn."""
        ...

    def head(self, action_space: gymnasium.Space[Any]) -> Head:
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

    def head(self, action_space: gymnasium.Space[Any]) -> Head:
        return ActionValueHead(int(action_space.n)) if isinstance(action_space, spaces.Discrete) else ValueHead()

    def target(self, q: Float[Array, "K ..."], key: Key[Array, ""]) -> Float[Array, "*A"]:
        if self.subset is None:
            return least(q)
        return q[jax.random.permutation(key, self.members)[: self.subset]].min(0)

    def judgement(self, q: Float[Array, "K ..."]) -> Float[Array, "*A"]:
        return least(q) if self.subset is None else q.mean(0)

    def loss(self, q: Float[Array, " K"], target: Float[Array, " 1"]) -> Float[Array, ""]:
        return 0.5 * jnp.sum(jnp.square(q - target))


@dataclass(frozen=True)
class QuantileHead(Head):
    """Quantiles of the return after an action, of as many equal shares: [M]."""

    quantiles: int
    """M, how many there are."""
    gain: ClassVar[float] = 1.0

    @property
    def outputs(self) -> int:
        return self.quantiles

    def read(self, x: Float[Array, " M"], parameters: Parameters) -> Float[Array, " M"]:
        return x


@hyperparameters
class Truncated:
    """Quantiles of all critics in one mixture, without the largest. Kuznetsov et al. 2020 (TQC). Actions: Box."""

    members: Count = 5
    """How many critics learn."""
    quantiles: Count = 25
    """Of each critic."""
    dropped: Whole = 2
    """The largest of the mixture, so many for each critic, are left out of the target."""

    def __post_init__(self) -> None:
        if self.dropped >= self.quantiles:
            raise ValueError(
                f"of {self.quantiles} quantiles {self.dropped} are dropped, and nothing is left: drop fewer"
            )

    def head(self, action_space: gymnasium.Space[Any]) -> Head:
        return _quantile_head(self.quantiles, action_space)

    def target(self, q: Float[Array, "K ..."], key: Key[Array, ""]) -> Float[Array, "*A"]:
        return smallest(q.reshape(-1), self.members * (self.quantiles - self.dropped))

    def judgement(self, q: Float[Array, "K ..."]) -> Float[Array, "*A"]:
        return q.mean()

    def loss(self, q: Float[Array, "K ..."], target: Float[Array, " m"]) -> Float[Array, ""]:
        return _quantile_regression(q, target)


@hyperparameters
class LeastQuantiles:
    """Quantiles of each critic; those of the critic with the least mean are believed. Wurman et al. 2022 (QR-SAC)."""

    members: Count = 2
    """How many critics learn."""
    quantiles: Count = 32
    """Of each critic."""

    def head(self, action_space: gymnasium.Space[Any]) -> Head:
        return _quantile_head(self.quantiles, action_space)

    def target(self, q: Float[Array, "K ..."], key: Key[Array, ""]) -> Float[Array, "*A"]:
        return q[jnp.argmin(q.mean(-1))]

    def judgement(self, q: Float[Array, "K ..."]) -> Float[Array, "*A"]:
        return least(q.mean(-1))

    def loss(self, q: Float[Array, "K ..."], target: Float[Array, " m"]) -> Float[Array, ""]:
        return self.members * _quantile_regression(q, target)


def _quantile_head(quantiles: int, action_space: gymnasium.Space[Any]) -> QuantileHead:
    """Of quantiles of the return after an action that is read.

    Raises:
        SpaceError: when actions are finitely many.
    """
    if isinstance(action_space, spaces.Discrete):
        raise SpaceError(f"quantiles of several critics judge real numbers (Box), got {action_space}: take Least")
    return QuantileHead(quantiles)


def _quantile_regression(q: Float[Array, "K M"], target: Float[Array, " m"]) -> Float[Array, ""]:
    """Quantile regression with Huber's loss (Dabney et al. 2018, eq. 10), the mean over all pairs."""
    evenly = jnp.full_like(target, 1 / target.size)
    each = jax.vmap(quantile_regression, (0, None, None, None))(q, middles(q.shape[-1]), target, evenly)
    return each.sum() / q.size


ENSEMBLES = Registry((Least, LeastQuantiles, Truncated), of=Ensemble)
"""Every way to make one judgement of several, by the name that the command line gives it."""
