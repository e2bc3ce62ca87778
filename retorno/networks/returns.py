"""Heads for the return after each action: its mean, or its distribution, perhaps in two streams, perhaps with noise.

A head of these may bring layers of its own (`layers`): duelling streams (Wang et al. 2016), the implicit quantile
function (Dabney, Ostrovski et al. 2018). Noise on the weights explores (Fortunato et al. 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key

from retorno.core.hyperparameters import Count, hyperparameters
from retorno.core.policy import Policy
from retorno.core.registry import Registry
from retorno.networks.chance import Chance
from retorno.networks.heads import ActionValueHead, Head, LayeredHead, Parameters
from retorno.networks.initialisation import Draws
from retorno.networks.layers import Dense, Linear, linear
from retorno.networks.network import Network
from retorno.ops.estimates import Atoms, Quantiles, middles

AnyPolicy = TypeVar("AnyPolicy", bound=Policy)
Layer = Callable[[Float[Array, " D"]], Any]
Last = Callable[[Draws, int, int, float | None], Layer]
"""Makes a last layer: of draws, inputs, outputs and gain, as `linear` does."""


@runtime_checkable
class Returns(Protocol):
    """What is learnt of the return after each action."""

    def head(self, actions: int) -> Head:
        """What says so; it gives an `Estimate`, or plain numbers where that is the mean."""
        ...


@hyperparameters
class Mean:
    """Its mean: the action values (Mnih et al. 2015)."""

    def head(self, actions: int) -> ActionValueHead:
        return ActionValueHead(actions)


@hyperparameters
class Categorical:
    """Chances of evenly spaced atoms: C51 (Bellemare, Dabney & Munos 2017)."""

    atoms: Count = 51
    """M, how many there are."""
    support: tuple[float, float] = (-10.0, 10.0)
    """The lowest and the highest: what lies beyond is taken for them."""

    def __post_init__(self) -> None:
        low, high = self.support
        if self.atoms < 2 or not low < high:
            raise ValueError(
                f"returns are shown by two atoms or more from a lower to a higher one, got {self.atoms} on "
                f"{self.support}: try atoms=51, support=(-10.0, 10.0)"
            )

    def head(self, actions: int) -> AtomsHead:
        return AtomsHead(actions, self.atoms, self.support)


@hyperparameters
class QuantileRegression:
    """Quantiles of as many equal shares: QR-DQN (Dabney, Rowland, Bellemare & Munos 2018)."""

    quantiles: Count = 200
    """M, how many there are."""

    def head(self, actions: int) -> QuantilesHead:
        return QuantilesHead(actions, self.quantiles)


@hyperparameters
class ImplicitQuantiles:
    """The quantile function itself, read where it is asked: IQN (Dabney, Ostrovski, Silver & Munos 2018).

    What we do differently: fractions are drawn once for a gradient step, one in each of as many equal parts of [0, 1],
    and where one acts they are the parts' middles: each is as likely as drawn alone, and a mean is less noisy.
    """

    samples: Count = 64
    """N, how many fractions are drawn while learning."""
    judged: Count = 32
    """K, how many an action's value is the mean of."""
    cosines: Count = 64
    """Of the fraction, that its embedding is made of."""

    def head(self, actions: int) -> ImplicitHead:
        return ImplicitHead(actions, self.samples, self.judged, self.cosines)


RETURNS = Registry((Mean, Categorical, QuantileRegression, ImplicitQuantiles), of=Returns)
"""What may be learnt of the return, by the name that the command line gives it."""


@dataclass(frozen=True)
class AtomsHead(Head):
    """Logits of M atoms for each action."""

    actions: int
    atoms: int
    support: tuple[float, float]
    gain: ClassVar[float] = 1.0

    @property
    def outputs(self) -> int:
        return self.actions * self.atoms

    def read(self, x: Float[Array, " outputs"], parameters: Parameters) -> Atoms:
        return Atoms(x.reshape(self.actions, self.atoms), jnp.linspace(*self.support, self.atoms, dtype=x.dtype))


@dataclass(frozen=True)
class QuantilesHead(Head):
    """M quantiles for each action, in the middles of as many equal shares."""

    actions: int
    quantiles: int
    gain: ClassVar[float] = 1.0

    @property
    def outputs(self) -> int:
        return self.actions * self.quantiles

    def read(self, x: Float[Array, " outputs"], parameters: Parameters) -> Quantiles:
        return Quantiles(x.reshape(self.actions, self.quantiles), middles(self.quantiles))


@dataclass(frozen=True)
class ImplicitHead(Head):
    """The quantile function of each action at some fractions."""

    actions: int
    samples: int
    judged: int
    cosines: int
    gain: ClassVar[float] = 1.0

    @property
    def outputs(self) -> int:
        return self.actions

    def layers(self, draws: Draws, width: int, gain: float | None, last: Last = linear) -> QuantileFunction:
        embedding = linear(draws, self.cosines, width, _inner(gain))
        return QuantileFunction(
            embedding, last(draws, width, self.actions, gain), self.samples, self.judged, self.cosines
        )

    def read(self, x: Quantiles, parameters: Parameters) -> Quantiles:
        return x


class QuantileFunction(Chance):
    """f(ψ ⊙ φ(τ)) with φ(τ) = ReLU(Σ cos(π i τ) wᵢ + b). Dabney, Ostrovski et al. 2018, eq. 4."""

    embedding: Layer
    last: Layer
    samples: int = eqx.field(static=True)
    judged: int = eqx.field(static=True)
    cosines: int = eqx.field(static=True)
    key: Key[Array, ""] | None = None

    def __call__(self, features: Float[Array, " D"]) -> Quantiles:
        if self.key is None:
            shares = middles(self.judged)
        else:
            drawn = jax.random.uniform(self.key, (self.samples,))
            shares = (jnp.arange(self.samples) + drawn) / self.samples
        cosines = jnp.cos(jnp.pi * jnp.arange(self.cosines) * shares[:, None])
        at_each = features * jax.nn.relu(self.embedding(cosines))
        return Quantiles(jax.vmap(self.last)(at_each).T, shares)


@dataclass(frozen=True)
class Duelling(Head):
    """Another head on two streams, of what all actions share and of what each adds. Wang et al. 2016."""

    head: Head
    """Says of each action as many numbers, action by action."""
    actions: int
    hidden: int
    """Units of each stream's hidden layer, ReLU."""
    gain: ClassVar[float] = 1.0

    @property
    def outputs(self) -> int:
        return self.head.outputs

    def parameters(self) -> Parameters:
        return self.head.parameters()

    def layers(self, draws: Draws, width: int, gain: float | None, last: Last = linear) -> Layer:
        if isinstance(self.head, LayeredHead):
            return self.head.layers(draws, width, gain, self._streams)
        return self._streams(draws, width, self.outputs, gain)

    def read(self, x: Any, parameters: Parameters) -> Any:
        return self.head.read(x, parameters)

    def _streams(self, draws: Draws, width: int, outputs: int, gain: float | None) -> Streams:
        def stream(outputs: int) -> tuple[Linear, Linear]:
            return linear(draws, width, self.hidden, _inner(gain)), linear(draws, self.hidden, outputs, gain)

        return Streams(stream(outputs // self.actions), stream(outputs), self.actions)


class Streams(eqx.Module):
    """v + a − mean a, of each number that is said of an action. Wang et al. 2016, eq. 9."""

    shared: tuple[Linear, Linear]
    added: tuple[Linear, Linear]
    actions: int = eqx.field(static=True)

    def __call__(self, features: Float[Array, " D"]) -> Float[Array, " outputs"]:
        shared, added = (last(jax.nn.relu(first(features))) for first, last in (self.shared, self.added))
        added = added.reshape(self.actions, -1)
        return (shared + added - added.mean(0)).reshape(-1)


class Noisy(Chance):
    """A layer with noise on its weights, whose size is learnt; without a key there is none. Fortunato et al. 2018.

    The noise on a weight is the product of one for its input and one for its output (eq. 10), and a bias has its
    output's: so it need not be held, and rows with noise of their own are plain matrix products too.
    """

    mean: Linear
    scale: Linear
    key: Key[Array, ""] | None = None

    def __call__(self, x: Float[Array, "*rows in"]) -> Float[Array, "*rows out"]:
        y = self.mean(x)
        if self.key is None:
            return y
        inputs, outputs = self.scale.weight.shape
        rooted = lambda z: jnp.sign(z) * jnp.sqrt(jnp.abs(z))  # noqa: E731
        noise = rooted(jax.random.normal(self.key, (inputs + outputs,), y.dtype))
        return y + noise[inputs:] * self.scale(x * noise[:inputs])


def with_noise(network: AnyPolicy, scale: float = 0.5) -> AnyPolicy:
    """The network with noise on its fully connected layers but the first, and on those of its heads.

    Args:
        network: not noisy yet.
        scale: σ₀; noise starts at σ₀ / √inputs.

    Raises:
        ValueError: when it has no such layer, so that nothing would explore.
    """

    def all_of(kind: type, tree: Any) -> list[Any]:
        of_it = lambda x: isinstance(x, kind)  # noqa: E731
        return [x for x in jax.tree.leaves(tree, is_leaf=of_it) if of_it(x)]

    def layers(tree: Any) -> list[Linear]:
        above = [node.hidden for node in all_of(Dense, tree)], [node.last for node in all_of(Network, tree)]
        return all_of(Linear, above)

    def noisy(layer: Linear) -> Noisy:
        size = scale / np.sqrt(len(layer.weight))
        return Noisy(layer, jax.tree.map(lambda w: jnp.full_like(w, size), layer))

    if not layers(network):
        raise ValueError(
            f"noise is on the weights of layers, and {type(network).__name__} has none: choose network=MLP() or "
            "another one with layers, or explore by epsilon"
        )
    return eqx.tree_at(layers, network, [noisy(layer) for layer in layers(network)])


def _inner(gain: float | None) -> float | None:
    """Of a hidden layer's weights, where the last one's have this gain."""
    return None if gain is None else float(np.sqrt(2))
