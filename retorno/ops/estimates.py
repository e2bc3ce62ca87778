"""What is said of the return after each action: its mean, or its distribution; and how far that is from a target.

A target is always atoms with their masses, so one update serves them all: the mean is one atom. Bellemare, Dabney &
Munos 2017 (categorical, "C51"); Dabney et al. 2018 (quantile regression); Dabney, Ostrovski et al. 2018 (implicit
quantiles); Bellemare, Dabney & Rowland 2023 for all of them.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from retorno.core.scalar import Scalar
from retorno.ops.objectives import huber


@runtime_checkable
class Estimate(Protocol):
    """What is said of the return after each of A actions."""

    @property
    def mean(self) -> Float[Array, "*N A"]:
        """The action values."""
        ...

    @property
    def atoms(self) -> Float[Array, "*N A M"]:
        """Where the returns lie."""
        ...

    @property
    def mass(self) -> Float[Array, "*N A M"]:
        """How likely each is."""
        ...

    def loss(
        self, action: Int[Array, ""], atoms: Float[Array, " m"], mass: Float[Array, " m"], delta: Scalar
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """How far the return after an action is said to be from a target; and an error, how much is to be learnt.

        Args:
            action: that was taken.
            atoms: where the target lies. Shape [m].
            mass: how likely each of those is. Shape [m].
            delta: beyond this an error counts linearly, where it is one of numbers.
        """
        ...


class Expected(NamedTuple):
    """Its mean. Mnih et al. 2015."""

    q: Float[Array, "*N A"]

    @property
    def mean(self) -> Float[Array, "*N A"]:
        return self.q

    @property
    def atoms(self) -> Float[Array, "*N A 1"]:
        return self.q[..., None]

    @property
    def mass(self) -> Float[Array, "*N A 1"]:
        return jnp.ones_like(self.q)[..., None]

    def loss(
        self, action: Int[Array, ""], atoms: Float[Array, " m"], mass: Float[Array, " m"], delta: Scalar
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Huber's loss of the TD error, which is the error."""
        error = jnp.sum(mass * atoms) - self.q[action]
        return huber(error, delta), error


class Atoms(NamedTuple):
    """Chances of atoms that stay where they are."""

    logits: Float[Array, "*N A M"]
    support: Float[Array, "*N M"]
    """In rising order, evenly spaced."""

    @property
    def mean(self) -> Float[Array, "*N A"]:
        return jnp.sum(self.mass * self.atoms, -1)

    @property
    def atoms(self) -> Float[Array, "*N A M"]:
        return jnp.broadcast_to(self.support[..., None, :], self.logits.shape)

    @property
    def mass(self) -> Float[Array, "*N A M"]:
        return jax.nn.softmax(self.logits)

    def loss(
        self, action: Int[Array, ""], atoms: Float[Array, " m"], mass: Float[Array, " m"], delta: Scalar
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Cross-entropy to the target as these atoms can show it (Bellemare et al. 2017, algorithm 1).

        The error is the divergence, what is left of it without the target's own entropy (Hessel et al. 2018).
        """
        shown = jax.lax.stop_gradient(projection(atoms, mass, self.support))
        cross = -jnp.sum(shown * jax.nn.log_softmax(self.logits[action]))
        return cross, cross + jnp.sum(jax.scipy.special.xlogy(shown, shown))


class Quantiles(NamedTuple):
    """Places below which the return lies with given chances, each standing for as much of it."""

    places: Float[Array, "*N A M"]
    shares: Float[Array, "*N M"]
    """τ: the chance that the return lies below each."""

    @property
    def mean(self) -> Float[Array, "*N A"]:
        return self.places.mean(-1)

    @property
    def atoms(self) -> Float[Array, "*N A M"]:
        return self.places

    @property
    def mass(self) -> Float[Array, "*N A M"]:
        return jnp.full(self.places.shape, 1 / self.places.shape[-1], self.places.dtype)

    def loss(
        self, action: Int[Array, ""], atoms: Float[Array, " m"], mass: Float[Array, " m"], delta: Scalar
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Quantile regression, all quantiles' sum (Dabney et al. 2018, eq. 10); the error is that of the mean."""
        places = self.places[action]
        of_each = lambda atom: jax.vmap(quantile_huber, (0, 0, None, None))(places, self.shares, atom, delta)  # noqa: E731
        return jnp.sum(mass * jax.vmap(of_each)(atoms).sum(-1)), jnp.sum(mass * atoms) - places.mean()


def estimate(said: Float[Array, "*N A"] | Estimate) -> Estimate:
    """What a head says of the return; of plain numbers, that they are its means."""
    return Expected(said) if isinstance(said, Array) else said


def projection(atoms: Float[Array, " m"], mass: Float[Array, " m"], support: Float[Array, " M"]) -> Float[Array, " M"]:
    r"""A distribution on other, evenly spaced atoms: each shares its mass between its neighbours, as it is near them.

    Bellemare, Dabney & Munos 2017, eq. 7. The mean stays, but for what lies outside of the support.

    .. math:: p_i = \sum_j m_j \left[ 1 - \frac{|\text{clip}(y_j, z_1, z_M) - z_i|}{\Delta z} \right]_0^1

    Args:
        atoms: y. Shape [m].
        mass: m. Shape [m].
        support: z, evenly spaced, in rising order, two or more. Shape [M].

    Returns:
        p. Shape [M].

    >>> projection(jnp.array([0.5, 9.0]), jnp.array([0.5, 0.5]), jnp.array([0.0, 1.0, 2.0]))
    Array([0.25, 0.25, 0.5 ], dtype=float32)
    """
    within = jnp.clip(atoms, support[0], support[-1])
    away = jnp.abs(within - support[:, None]) / (support[1] - support[0])
    return jnp.clip(1 - away, 0, 1) @ mass


def middles(count: int) -> Float[Array, " count"]:
    """The middles of as many equal parts of [0, 1]: which quantiles these are.

    Args:
        count: how many.

    Returns:
        Shape [count].

    >>> middles(2).tolist()
    [0.25, 0.75]
    """
    return (jnp.arange(count) + 0.5) / count


def quantile_huber(
    place: Float[Array, ""], share: Scalar, target: Float[Array, ""], delta: Scalar = 1.0
) -> Float[Array, ""]:
    r"""What a quantile of a distribution minimises, over samples of it (Dabney et al. 2018, eq. 10).

    .. math:: \rho = |\tau - 1[y < \theta]|\, L_\delta(y - \theta)

    Args:
        place: θ. Shape [].
        share: τ in (0, 1). Shape [].
        target: y, a sample. Shape [].
        delta: δ, beyond which Huber's loss L is linear; near 0 the minimum is the quantile, infinite an expectile.

    Returns:
        ρ. Shape [].

    >>> quantile_huber(jnp.float32(1), 0.25, jnp.float32(3)), quantile_huber(jnp.float32(3), 0.25, jnp.float32(1))
    (Array(0.375, dtype=float32), Array(1.125, dtype=float32))
    """
    error = target - place
    return jnp.abs(share - (error < 0)) * huber(error, delta)


def squashed(x: Float[Array, "*N"]) -> Float[Array, "*N"]:
    r"""Large returns made small, so that one step size fits all worlds (Pohlen et al. 2018, section 3.1).

    .. math:: h(x) = \text{sign}(x) \left( \sqrt{|x| + 1} - 1 \right) + 10^{-3} x
              = \frac{x}{\sqrt{|x| + 1} + 1} + 10^{-3} x

    Args:
        x: of any shape.

    Returns:
        h. Of the same shape.

    >>> squashed(jnp.array([0.0, 3.0, -8.0]))
    Array([ 0.   ,  1.003, -2.008], dtype=float32)
    """
    return x / (jnp.sqrt(jnp.abs(x) + 1) + 1) + SLOPE * x


def stretched(h: Float[Array, "*N"]) -> Float[Array, "*N"]:
    r"""What was squashed as it was: the inverse of `squashed` (Kapturowski et al. 2019, section 2.3).

    .. math:: x = \text{sign}(h) \left[ \left(
              \frac{\sqrt{1 + 4 \epsilon (|h| + 1 + \epsilon)} - 1}{2 \epsilon} \right)^2 - 1 \right], \quad
              \epsilon = 10^{-3}

    What we do differently: a root whose difference from 1 would cancel in float32 is multiplied out.

    Args:
        h: of any shape.

    Returns:
        x. Of the same shape.

    >>> [round(x, 3) for x in stretched(jnp.array([0.0, 1.003, -2.008])).tolist()]
    [0.0, 3.0, -8.0]
    """
    size = jnp.abs(h)
    # u = √(|x| + 1) solves ε u² + u = |h| + 1 + ε; u − 1 = 2|h| / (√(1 + 4ε(|h| + 1 + ε)) + 1 + 2ε).
    beyond = 2 * size / (jnp.sqrt(1 + 4 * SLOPE * (size + 1 + SLOPE)) + 1 + 2 * SLOPE)
    return jnp.sign(h) * beyond * (beyond + 2)


SLOPE = 1e-3
