"""Batch renormalisation: what enters a layer is standardised over the batch, or over what all batches were like.

Ioffe 2017, "Batch renormalization". While critics learn a number x of a row becomes

    x̂ = r (x − μ_B) / σ_B + d        r = clip(σ_B / σ, 1/3, 3)        d = clip((μ_B − μ) / σ, −5, 5)

with the moments μ_B, σ_B of the batch and the running ones μ, σ: within the clips the same (x − μ) / σ as wherever one
acts, but with a gradient through the batch. During the first batches r = 1 and d = 0 (Ioffe & Szegedy 2015).

Layers here are unbatched. The batch is what a `vmap` with the axis name `ROWS` runs over, its moments are collective
means. The running moments are leaves like the weights, but what they "gain" in a gradient is the batch's moments
themselves, which `follow` moves them towards. So no algorithm has to hand them through its loss.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Whole, settings
from retorno.core.policy import ROWS
from retorno.core.scalar import Scalar
from retorno.core.spaces import HashableSpace, encode, width
from retorno.networks.heads import Head
from retorno.networks.initialisation import Draws
from retorno.networks.layers import Activation, Feedforward, Linear, Precision, linear
from retorno.networks.network import Network, assemble

AnyTree = TypeVar("AnyTree")

MOST_SCALED, MOST_SHIFTED = 3.0, 5.0
"""How far r and d may go. Ioffe 2017, section 4."""
EPSILON = 1e-3
"""Added to a variance."""


class Moments(eqx.Module):
    """What batches were like: leaves that no optimiser moves; see `follow`."""

    mean: Float[Array, " D"]
    variance: Float[Array, " D"]
    batches: Float[Array, ""]
    """How many there were, up to 2²⁴."""


class BatchRenorm(eqx.Module):
    """Standardises numbers over rows, then scales and shifts them."""

    scale: Float[Array, " D"]
    bias: Float[Array, " D"]
    moments: Moments
    warm_up: int = eqx.field(static=True)
    """Batches in which those alone count that are learnt from."""
    learning: bool = eqx.field(static=True, default=False)
    """Whether rows are standardised among themselves: inside of a `vmap` over `ROWS`. See `learning`."""

    def __call__(self, x: Float[Array, " D"]) -> Float[Array, " D"]:
        moments = jax.lax.stop_gradient(self.moments)
        mean, deviation = moments.mean, jnp.sqrt(moments.variance + EPSILON)
        if not self.learning:
            return (x - mean) / deviation * self.scale + self.bias
        batch_mean = jax.lax.pmean(x, ROWS)
        batch_variance = jax.lax.pmean(jnp.square(x - batch_mean), ROWS)
        batch_deviation = jnp.sqrt(batch_variance + EPSILON)
        fixed = jax.lax.stop_gradient((batch_mean, batch_deviation))
        r = jnp.clip(fixed[1] / deviation, 1 / MOST_SCALED, MOST_SCALED)
        d = jnp.clip((fixed[0] - mean) / deviation, -MOST_SHIFTED, MOST_SHIFTED)
        warm = moments.batches >= self.warm_up
        standard = (x - batch_mean) / batch_deviation * jnp.where(warm, r, 1.0) + jnp.where(warm, d, 0.0)
        rows = jax.lax.psum(1, ROWS)
        shares = (x / rows, jnp.square(x - batch_mean) / rows)
        return _telling(self.moments, standard, *shares) * self.scale + self.bias


@jax.custom_vjp
def _telling(moments: Moments, x: Array, mean: Array, variance: Array) -> Array:
    """Give back x; in a gradient each row's shares of the batch's moments stand where that of the moments would."""
    return x


def _forward(moments: Moments, x: Array, mean: Array, variance: Array) -> tuple[Array, Any]:
    return x, (mean, variance)


def _backward(shares: tuple[Array, Array], slope: Array) -> tuple[Any, ...]:
    mean, variance = shares
    return Moments(mean, variance, jnp.float32(0)), slope, jnp.zeros_like(mean), jnp.zeros_like(variance)


_telling.defvjp(_forward, _backward)


def _is_renorm(x: Any) -> bool:
    return isinstance(x, BatchRenorm)


def _each(f: Any, *trees: Any) -> Any:
    """The first tree with `f` of every batch renormalisation in all of them in its place."""
    return jax.tree.map(lambda *x: f(*x) if _is_renorm(x[0]) else x[0], *trees, is_leaf=_is_renorm)


def learning(network: AnyTree) -> AnyTree:
    """The same network, which standardises the rows of a batch among themselves."""
    return _each(lambda layer: replace(layer, learning=True), network)


def still(gradient: AnyTree) -> AnyTree:
    """A gradient in which nothing stands for running moments: an optimiser leaves them where they are."""
    return _each(lambda layer: replace(layer, moments=jax.tree.map(jnp.zeros_like, layer.moments)), gradient)


def follow(network: AnyTree, gradient: AnyTree, step: Scalar) -> AnyTree:
    """The same network with running moments moved towards those of the batch.

    Args:
        network: a pytree of modules.
        gradient: of a loss of the network as it is while `learning`, shaped like it.
        step: how far, in [0, 1].
    """

    def moved(layer: BatchRenorm, told: BatchRenorm) -> BatchRenorm:
        old, new = layer.moments, told.moments
        towards = lambda x, y: x + step * (y - x)  # noqa: E731
        batches = jnp.minimum(old.batches + 1, 2.0**24)
        return replace(
            layer, moments=Moments(towards(old.mean, new.mean), towards(old.variance, new.variance), batches)
        )

    return _each(moved, network, gradient)


class Renormalised(Feedforward):
    """Fully connected layers, each of which sees what is standardised over rows."""

    norms: tuple[BatchRenorm, ...]
    """Before the first layer, and behind each nonlinearity."""
    layers: tuple[Linear, ...]
    activation: Activation = eqx.field(static=True)
    observed: HashableSpace = eqx.field(static=True)

    def __call__(self, obs: PyTree[Any]) -> Float[Array, " D"]:
        x = self.norms[0](encode(self.observed.space, obs).astype(self.layers[0].weight.dtype))
        for layer, norm in zip(self.layers, self.norms[1:], strict=True):
            x = norm(self.activation(layer(x)))
        return x


@settings
class BatchRenormMLP:
    """A multilayer perceptron with batch renormalisation before each layer, as CrossQ has it (Bhatt et al. 2024).

    Only SAC's critics and actor standardise rows among themselves; elsewhere the running moments would stay as they
    begin, which standardises nothing.
    """

    NAME: ClassVar[str] = "batch_renorm"

    hidden: tuple[int, ...] = (256, 256)
    """Units of each hidden layer."""
    activation: Activation = Activation.relu
    """The nonlinearity after each hidden layer."""
    warm_up: Whole = 100_000
    """Batches in which running moments have no say."""
    shared: bool = False
    """Whether all heads share the hidden layers."""
    stop_gradient: tuple[str, ...] = ()
    """Heads whose gradient does not reach what lies under them."""
    parameters: Precision = Precision.float32
    """How exactly the weights are held."""
    compute: Precision = Precision.float32
    """How exactly the hidden layers are computed; heads are float32."""

    def build(self, key: Key[Array, ""], observation_space: gymnasium.Space[Any], heads: dict[str, Head]) -> Network:
        """A new network.

        Raises:
            SpaceError: when the space is not Discrete, MultiDiscrete, MultiBinary, Box, or a Dict or Tuple of these.
            ValueError: when there is no head or no hidden layer.
        """
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(
                f"a network needs one or more layers of one or more units, got {self.hidden}: try (64, 64)"
            )
        sizes = (width(observation_space), *self.hidden)

        def norm(draws: Draws, size: int) -> BatchRenorm:
            zeros, ones = draws.constant((size,), 0.0), draws.constant((size,), 1.0)
            moments = Moments(
                jnp.array(np.zeros(size, np.float32)), jnp.array(np.ones(size, np.float32)), jnp.float32(0)
            )
            return BatchRenorm(ones, zeros, moments, self.warm_up)

        def trunk(draws: Draws) -> Renormalised:
            return Renormalised(
                norms=tuple(norm(draws, size) for size in sizes),
                layers=tuple(linear(draws, i, o, None) for i, o in pairwise(sizes)),
                activation=self.activation,
                observed=HashableSpace(observation_space),
            )

        return assemble(key, heads, self, False, sizes[-1], trunk)
