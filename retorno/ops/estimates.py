"""What is said of the return after each action: its mean, or its distribution; and how far that is from a target.

A target is always atoms with their masses, so one update serves them all: the mean is one atom. Bellemare, Dabney &
Munos 2017 (categorical, "C51"); Dabney et al. 2018 (quantile regression); Dabney, Ostrovski et al. 2018 (implicit
quantiles); Bellemare, Dabney & Rowland 2023 for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, PyTree

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
        return quantile_regression(places, self.shares, atoms, mass, delta), jnp.sum(mass * atoms) - places.mean()


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


def quantile_regression(
    places: Float[Array, " M"],
    shares: Float[Array, " M"],
    samples: Float[Array, " m"],
    mass: Float[Array, " m"],
    delta: Scalar = 1.0,
) -> Float[Array, ""]:
    r"""What quantiles of a distribution minimise, over samples of it (Dabney et al. 2018, eq. 10).

    .. math:: \sum_j m_j \sum_i |\tau_i - 1[y_j < \theta_i]|\, L_\delta(y_j - \theta_i)

    Samples are given: a gradient reaches the quantiles alone.

    Args:
        places: θ. Shape [M].
        shares: τ in (0, 1), which quantile each is. Shape [M].
        samples: y. Shape [m].
        mass: m, how much each counts. Shape [m].
        delta: δ, beyond which Huber's loss L is linear; near 0 the minimum is the quantile, infinite an expectile.

    Returns:
        The sum. Shape [].

    >>> place, both = jnp.array([1.0]), jnp.array([3.0, 0.0])
    >>> quantile_regression(place, jnp.array([0.25]), both, jnp.array([1.0, 2.0]))  # .25 · 1.5 + 2 · .75 · .5
    Array(1.125, dtype=float32)
    """
    return _regression(places, *jax.lax.stop_gradient((shares, samples, mass, delta)))


@jax.custom_jvp
def _regression(places: Array, shares: Array, samples: Array, mass: Array, delta: Scalar) -> Array:
    return _regression_and_slope(places, shares, samples, mass, delta)[0]


@_regression.defjvp
def _regression_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    loss, slope = _regression_and_slope(*primals)
    return loss, jnp.sum(slope * tangents[0])


def _regression_and_slope(
    places: Array, shares: Array, samples: Array, mass: Array, delta: Scalar
) -> tuple[Array, Array]:
    """The slope is found with the sum: kept for it, all pairs of a batch take four times as long."""

    def of_each(sample: Array, much: Array) -> tuple[Array, Array]:
        error = sample - places
        weight = much * jnp.abs(shares - (error < 0))
        return weight * huber(error, delta), -weight * jnp.clip(error, -delta, delta)

    losses, slope = _added_up(of_each, samples, mass)
    return losses.sum(), slope


def smallest(x: Float[Array, " n"], count: int) -> Float[Array, " count"]:
    """The smallest of several numbers, in rising order: each goes to where so many come before it.

    Args:
        x: shape [n].
        count: how many, n at most.

    Returns:
        Shape [count].

    >>> smallest(jnp.array([3.0, 1.0, 2.0, 1.0]), 3).tolist()
    [1.0, 1.0, 2.0]
    """
    order = jnp.arange(x.size)
    before = _added_up(lambda y, place: ((y < x) | ((y == x) & (place < order))).astype(jnp.int32), x, order)
    return jnp.zeros(count, x.dtype).at[before].set(x, mode="drop")


def _added_up(of_each: Callable[..., PyTree[Array]], *each: Array) -> PyTree[Array]:
    """Σⱼ f(eachⱼ): at once, but on a CPU one after another, where XLA adds up a short axis number by number."""
    if jax.default_backend() != "cpu":
        return jax.tree.map(lambda x: x.sum(0), jax.vmap(of_each)(*each))
    first = of_each(*(x[0] for x in each))
    add = lambda total, x: (jax.tree.map(jnp.add, total, of_each(*x)), None)  # noqa: E731
    return jax.lax.scan(add, first, tuple(x[1:] for x in each))[0]


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
