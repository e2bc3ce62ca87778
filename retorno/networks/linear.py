"""Linear functions of features: tile coding, Fourier and polynomial bases, state aggregation. Sutton & Barto 2018, 9.5.

Where features are 0 or 1 and few are 1 (tiles, groups), a step sums a few weights and learning moves a
few, in place. The other bases read the observation as numbers in [0, 1], one for each dimension; a
Discrete observation is such a number as well.
"""

from __future__ import annotations

import abc
import itertools
import math
from typing import Any

import equinox as eqx
import gymnasium
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree

from retorno.core.hyperparameters import settings
from retorno.core.policy import Carry, Heads, WithoutMemory
from retorno.core.scalar import Scalar
from retorno.core.spaces import HashableSpace, SpaceError, cardinality, encode, index, parts, unsupported, width
from retorno.networks.heads import Head, Readout, require_no_layers

MOST_WEIGHTS = 500_000_000


class Basis(abc.ABC):
    """From an observation to features: either which ones are 1, or all of them."""

    @abc.abstractmethod
    def size(self, space: gymnasium.Space[Any]) -> int:
        """How many features there are.

        Raises:
            SpaceError: when the basis cannot read the space.
        """

    @abc.abstractmethod
    def features(self, space: gymnasium.Space[Any], obs: PyTree[Any]) -> Float[Array, " d"] | Int[Array, " k"]:
        """All features, as floats; or the numbers of those that are 1, as whole numbers, the others being 0."""

    def start(self, size: int, outputs: int) -> Float[Array, "d outputs"]:
        """The weights of one head before learning."""
        return jnp.zeros((size, outputs), jnp.float32)

    def build(
        self, key: Key[Array, ""], observation_space: gymnasium.Space[Any], heads: dict[str, Head]
    ) -> LinearNetwork:
        """A new network; `key` is not used.

        Raises:
            SpaceError: when the basis cannot read the space, or it would have more than five hundred million weights.
            ValueError: when a head brings layers of its own.
        """
        require_no_layers(heads, "a linear function")
        size = self.size(observation_space)
        weights = size * sum(head.outputs for head in heads.values())
        if weights > MOST_WEIGHTS:
            raise SpaceError(
                f"{weights:,} weights ({weights * 4 / 2**30:,.0f} GiB) for {size:,} features of {self}, at most "
                f"{MOST_WEIGHTS:,} can be held: take fewer features, or a network such as network=MLP()"
            )
        return LinearNetwork(
            weights={name: self.start(size, head.outputs) for name, head in heads.items()},
            readouts={name: Readout(head.parameters(), head) for name, head in heads.items()},
            basis=self,
            observed=HashableSpace(observation_space),
        )


class LinearNetwork(WithoutMemory):
    """Weights for each head: its numbers are sums of features times weights."""

    weights: dict[str, Float[Array, "d outputs"]]
    readouts: dict[str, Readout]
    basis: Basis = eqx.field(static=True)
    observed: HashableSpace = eqx.field(static=True)

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        x = self.basis.features(self.observed.space, obs)
        sparse = jnp.issubdtype(x.dtype, jnp.integer)
        values = {name: w[x].sum(0) if sparse else x @ w for name, w in self.weights.items()}
        return {name: readout(values[name]) for name, readout in self.readouts.items()}, ()

    def moved(
        self, head: str, obs: PyTree[Any], output: Int[Array, ""] | int, change: Scalar
    ) -> Float[Array, "d outputs"]:
        """A head's weights after w ← w + change · x(obs) for one of its numbers."""
        x, weights = self.basis.features(self.observed.space, obs), self.weights[head]
        if jnp.issubdtype(x.dtype, jnp.integer):
            return weights.at[x, output].add(change)
        return weights.at[:, output].add(change * x)


@settings
class Features(Basis):
    """Linear in features of its observations, which are given."""

    rows: tuple[tuple[float, ...], ...] = ()
    """The features of each observation of a finite space, in order; else the observation itself."""
    initial: tuple[float, ...] = ()
    """The weight of each feature before learning; none for zeros."""

    def size(self, space: gymnasium.Space[Any]) -> int:
        if not self.rows:
            return width(space)
        if len(self.rows) != cardinality(space) or len({len(row) for row in self.rows}) != 1:
            raise SpaceError(f"{len(self.rows)} rows of features do not fit {space}: give one for each, equally long")
        return len(self.rows[0])

    def start(self, size: int, outputs: int) -> Float[Array, "d outputs"]:
        if not self.initial:
            return super().start(size, outputs)
        if len(self.initial) != size:
            raise SpaceError(f"{len(self.initial)} weights for {size} features: give one for each, or none")
        return jnp.repeat(jnp.array(self.initial, jnp.float32)[:, None], outputs, 1)

    def features(self, space: gymnasium.Space[Any], obs: PyTree[Any]) -> Float[Array, " d"]:
        return jnp.array(self.rows, jnp.float32)[index(space, obs)] if self.rows else encode(space, obs)


@settings
class Aggregation(Basis):
    """State aggregation: neighbouring observations share a weight. Sutton & Barto 2018, section 9.3."""

    group: int = 1
    """How many observations share one."""

    def __post_init__(self) -> None:
        if self.group < 1:
            raise ValueError(f"a group holds at least 1 observation, got {self.group}")

    def size(self, space: gymnasium.Space[Any]) -> int:
        return math.ceil(cardinality(space) / self.group)

    def features(self, space: gymnasium.Space[Any], obs: PyTree[Any]) -> Int[Array, " 1"]:
        return (index(space, obs) // self.group)[None]


@settings
class TileCoding(Basis):
    """Tile coding: grids laid over the observation, each a little off the others. Sutton & Barto 2018, section 9.5.4.

    Tiling k is shifted by k/n of a tile's width in the first dimension, 3k/n in the second, 5k/n in
    the third …, wrapped (Miller & Glanz 1996). Every tile has its own weight: nothing is hashed.
    """

    tiles: int = 8
    """How many tiles side by side cover a dimension."""
    tilings: int = 8
    """n, how many grids; a step size is divided among them by whoever chooses it."""
    low: tuple[float, ...] | None = None
    """The least of each dimension; None for the space's own bound."""
    high: tuple[float, ...] | None = None
    """The largest; what lies outside counts as on the edge."""

    def __post_init__(self) -> None:
        if self.tiles < 1 or self.tilings < 1:
            raise ValueError(f"tile coding needs at least 1 tile and 1 tiling, got {self.tiles} and {self.tilings}")

    def size(self, space: gymnasium.Space[Any]) -> int:
        low, _ = bounds(space, self.low, self.high)
        return self.tilings * (self.tiles + 1) ** len(low)

    def features(self, space: gymnasium.Space[Any], obs: PyTree[Any]) -> Int[Array, " n"]:
        place = scaled(space, obs, self.low, self.high) * self.tiles
        dimensions = place.shape[0]
        shifts = np.outer(np.arange(self.tilings), 2 * np.arange(dimensions) + 1) / self.tilings % 1
        # A grid has one tile more than fits, for the part that its shift uncovers.
        tile = jnp.clip(jnp.floor(place + shifts.astype(np.float32)), 0, self.tiles).astype(jnp.int32)
        strides = (self.tiles + 1) ** np.arange(dimensions)
        return (
            tile @ strides.astype(np.int32) + np.arange(self.tilings, dtype=np.int32) * (self.tiles + 1) ** dimensions
        )


@settings
class Fourier(Basis):
    """The Fourier cosine basis, cos(π c·s) for all c ∈ {0 … order}ᵈ. Konidaris et al. 2011."""

    order: int = 3
    """The highest frequency of each dimension."""
    low: tuple[float, ...] | None = None
    """The least of each dimension; None for the space's own bound."""
    high: tuple[float, ...] | None = None
    """The largest; what lies outside counts as on the edge."""

    def __post_init__(self) -> None:
        require_order(self.order)

    def size(self, space: gymnasium.Space[Any]) -> int:
        return (self.order + 1) ** len(bounds(space, self.low, self.high)[0])

    def features(self, space: gymnasium.Space[Any], obs: PyTree[Any]) -> Float[Array, " d"]:
        place = scaled(space, obs, self.low, self.high)
        return jnp.cos(jnp.pi * (powers(self.order, place.shape[0]) @ place))


@settings
class Polynomial(Basis):
    """The polynomial basis, Π sᵢ^cᵢ for all c ∈ {0 … order}ᵈ. Sutton & Barto 2018, eq. 9.17."""

    order: int = 3
    """The highest power of each dimension."""
    low: tuple[float, ...] | None = None
    """The least of each dimension; None for the space's own bound."""
    high: tuple[float, ...] | None = None
    """The largest; what lies outside counts as on the edge."""

    def __post_init__(self) -> None:
        require_order(self.order)

    def size(self, space: gymnasium.Space[Any]) -> int:
        return (self.order + 1) ** len(bounds(space, self.low, self.high)[0])

    def features(self, space: gymnasium.Space[Any], obs: PyTree[Any]) -> Float[Array, " d"]:
        place = scaled(space, obs, self.low, self.high)
        return jnp.prod(place ** powers(self.order, place.shape[0]), axis=1)


def require_order(order: int) -> None:
    """Refuse a basis without features.

    Raises:
        ValueError: for an order below 0.
    """
    if order < 0:
        raise ValueError(f"the order of a basis is at least 0, got {order}")


def powers(order: int, dimensions: int) -> Float[np.ndarray, "features d"]:
    """All c ∈ {0 … order}ᵈ."""
    return np.array(list(itertools.product(range(order + 1), repeat=dimensions)), np.float32)


def numbers(space: gymnasium.Space[Any], obs: PyTree[Any]) -> Float[Array, " D"]:
    """An observation as one vector of its numbers; a Discrete one is one number, not one-hot."""
    match space:
        case spaces.Discrete() | spaces.MultiDiscrete() | spaces.Box() | spaces.MultiBinary():
            return jnp.asarray(obs, jnp.float32).reshape(-1)
        case spaces.Dict():
            return jnp.concatenate([numbers(part, obs[name]) for name, part in space.spaces.items()])
        case spaces.Tuple():
            return jnp.concatenate([numbers(part, o) for part, o in zip(space.spaces, obs, strict=True)])
    raise unsupported(space)


Sides = tuple[np.ndarray, np.ndarray]


def bounds(space: gymnasium.Space[Any], low: tuple[float, ...] | None, high: tuple[float, ...] | None) -> Sides:
    """The least and the largest of each number: the given ones, or the space's.

    Raises:
        SpaceError: when they are not finite, or do not fit the space.
    """
    own = _own_bounds(space)
    sides = tuple(np.asarray(o if g is None else g, float) for o, g in zip(own, (low, high), strict=True))
    if any(side.shape != own[0].shape for side in sides):
        raise SpaceError(f"the bounds {low} and {high} do not fit the {len(own[0])} numbers of {space}")
    if not (np.isfinite(sides).all() and (sides[0] <= sides[1]).all()):
        raise SpaceError(
            f"{space} has numbers without finite bounds, which this basis needs: give it some, as in "
            "TileCoding(low=(-2.4, -3.0), high=(2.4, 3.0))"
        )
    return sides[0], sides[1]


def _own_bounds(space: gymnasium.Space[Any]) -> Sides:
    match space:
        case spaces.Discrete():
            return np.array([int(space.start)]), np.array([int(space.start + space.n - 1)])
        case spaces.MultiDiscrete():
            return space.start.reshape(-1), (space.start + space.nvec - 1).reshape(-1)
        case spaces.MultiBinary():
            size = int(np.prod(space.shape))
            return np.zeros(size), np.ones(size)
        case spaces.Box():
            return space.low.reshape(-1), space.high.reshape(-1)
        case spaces.Dict() | spaces.Tuple():
            lows, highs = zip(*map(_own_bounds, parts(space)), strict=True)
            return np.concatenate(lows), np.concatenate(highs)
    raise unsupported(space)


def scaled(
    space: gymnasium.Space[Any], obs: PyTree[Any], low: tuple[float, ...] | None, high: tuple[float, ...] | None
) -> Float[Array, " D"]:
    """An observation's numbers in [0, 1]; a number that cannot vary is 0."""
    least, largest = bounds(space, low, high)
    reach = np.where(largest > least, largest - least, 1)
    return jnp.clip((numbers(space, obs) - least.astype(np.float32)) / reach.astype(np.float32), 0, 1)


def features(rows: Float[np.ndarray, "S d"], initial: Float[np.ndarray, " d"] | None = None) -> Features:
    """The settings that hold arrays of features and of weights."""
    start = () if initial is None else tuple(map(float, initial))
    return Features(tuple(tuple(map(float, row)) for row in rows), start)
