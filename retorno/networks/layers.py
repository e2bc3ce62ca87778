"""What networks are made of: activations, linear layers, the reading of observations, and trunks.

Everything is unbatched and small, so that a `vmap` over rows leaves plain matrix products.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree

from retorno.core.policy import Carry
from retorno.core.spaces import HashableSpace, SpaceError, encode, in_short, width
from retorno.networks.chance import Chance
from retorno.networks.initialisation import Draws


class Activation(enum.Enum):
    """The nonlinearity between layers; a member is called as a function."""

    tanh = enum.member(jnp.tanh)
    relu = enum.member(jax.nn.relu)
    gelu = enum.member(jax.nn.gelu)
    silu = enum.member(jax.nn.silu)

    def __call__(self, x: Array) -> Array:
        return self.value(x)

    def __repr__(self) -> str:
        return str(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # By its name: to another process what JAX wraps cannot be sent.
        return getattr, (type(self), self.name)


class Linear(eqx.Module):
    """y = xW + b, or xW."""

    weight: Float[Array, "in out"]
    bias: Float[Array, " out"] | None = None

    def __call__(self, x: Float[Array, "*rows in"]) -> Float[Array, "*rows out"]:
        return x @ self.weight if self.bias is None else x @ self.weight + self.bias

    def rows(self) -> Rows:
        """The same layer, with a row for each output."""
        return Rows(self.weight.T, self.bias)


class Rows(eqx.Module):
    """y = Wx + b, or Wx, with a row of W for each output, as PyTorch holds them.

    Where a few inputs meet a large W, as when texts are written, a CPU takes half the time that it takes for `Linear`:
    it reads W as it lies. Taken apart along their first axis, all leaves are a layer of some of the outputs.
    """

    weight: Float[Array, "out in"]
    bias: Float[Array, " out"] | None = None
    scale: Float[Array, " out"] | None = None
    """What each row is multiplied with, where rows are whole numbers of eight bits."""

    def __call__(self, x: Float[Array, "*rows in"]) -> Float[Array, "*outputs"]:
        """Of rows [*rows, in] outputs [*rows, out]; a single row of W gives one number for each."""
        # Under `vmap` vectors are the columns of one product; the barrier keeps XLA from making rows of them again.
        y = jax.lax.optimization_barrier(self.weight @ x) if x.ndim == 1 else x @ self.weight.T
        y = y if self.scale is None else y * self.scale
        return y if self.bias is None else y + self.bias

    def row(self, output: Int[Array, "*N"]) -> Float[Array, "*N in"]:
        """What one output is a product with, or each of many."""
        row = self.weight[output]
        return row if self.scale is None else row * self.scale[output][..., None]

    def whole(self) -> Float[Array, "out in"]:
        """All rows, as numbers that can be trained."""
        return self.weight if self.scale is None else self.weight * self.scale[:, None]


def of_many(layer: Any) -> Any:
    """The layer as it is quickest for many rows at once: `Rows`, which few inputs are quickest through, as `Linear`."""
    return Linear(layer.weight.T, layer.bias) if isinstance(layer, Rows) and layer.scale is None else layer


class Embedding(eqx.Module):
    """A row for each token."""

    tokens: Rows

    def __call__(self, obs: Int[Array, ""]) -> Float[Array, " out"]:
        return self.tokens.row(obs)


def linear(draws: Draws, inputs: int, outputs: int, gain: float | None) -> Linear:
    """A new layer: orthogonal times `gain` with zero biases, or, where `gain` is None, PyTorch's default.

    PyTorch draws weights and biases uniformly from ±1/√inputs.
    """
    if gain is None:
        return Linear(draws.uniform((inputs, outputs), inputs), draws.uniform((outputs,), inputs))
    return Linear(draws.orthogonal(inputs, outputs, gain), draws.constant((outputs,), 0.0))


class Norm(eqx.Module):
    """Scaled x / √(mean x² + ε) (Zhang & Sennrich 2019, eq. 4); with a bias, the mean is taken off (Ba et al. 2016)."""

    scale: Float[Array, " width"]
    bias: Float[Array, " width"] | None = None
    epsilon: float = eqx.field(static=True, default=1e-6)

    def __call__(self, x: Float[Array, "*T width"]) -> Float[Array, "*T width"]:
        if self.bias is not None:
            return standardised(x, self.scale, self.bias, self.epsilon)
        square = jnp.mean(x.astype(jnp.float32) ** 2, axis=-1, keepdims=True)
        return x * jax.lax.rsqrt(square + self.epsilon).astype(x.dtype) * self.scale


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def standardised(
    x: Float[Array, "*T width"], scale: Float[Array, " width"], bias: Float[Array, " width"], epsilon: float
) -> Float[Array, "*T width"]:
    r"""Layer norm (Ba et al. 2016, eq. 4).

    .. math:: y = s \frac{x - \bar x}{\sqrt{\text{Var}\, x + \epsilon}} + b

    With a gradient of its own, which on a CPU takes less than half the time of XLA's: there, means of a row are sums of
    one number after another, and are products here; the barriers keep roots from being taken for each number anew.

    Args:
        x: rows. Shape [*T, width].
        scale: s. Shape [width].
        bias: b. Shape [width].
        epsilon: ε, what a variance has at least.

    Returns:
        y. Shape [*T, width].

    >>> standardised(jnp.array([1.0, 3.0]), jnp.ones(2), jnp.zeros(2), 0.0)
    Array([-1.,  1.], dtype=float32)
    """
    return _standardise(x, scale, bias, epsilon)[0]


def _standardise(x: Array, scale: Array, bias: Array, epsilon: float) -> tuple[Array, tuple[Array, ...]]:
    """The outcome, and what its gradient is made of."""
    exact = _exact(x)
    mean = jax.lax.optimization_barrier(exact.mean(-1, keepdims=True))
    variance = jnp.square(exact - mean).mean(-1, keepdims=True)
    rate = jax.lax.optimization_barrier(jax.lax.rsqrt(variance + epsilon))
    return ((exact - mean) * rate).astype(x.dtype) * scale + bias, (x, mean, rate, scale)


def _standardise_back(epsilon: float, kept: tuple[Array, ...], slope: Array) -> tuple[Array, Array, Array]:
    """From dL/dy: dL/dx = (s dL/dy − mean (s dL/dy) − z mean (z s dL/dy)) / √(Var x + ε), with z = (y − b) / s."""
    x, mean, rate, scale = kept
    slope = jax.lax.optimization_barrier(_exact(slope))
    standard, wide = (_exact(x) - mean) * rate, _exact(scale)
    along = slope * standard
    average = lambda rows: jnp.dot(rows, wide / wide.size, precision="highest")[..., None]  # noqa: E731
    plain, turned = jax.lax.optimization_barrier((average(slope), average(along)))
    of_x = rate * (slope * wide - plain - standard * turned)
    of_scale, of_bias = (rows.reshape(-1, wide.size).sum(0).astype(scale.dtype) for rows in (along, slope))
    return of_x.astype(x.dtype), of_scale, of_bias


standardised.defvjp(_standardise, _standardise_back)


def _exact(x: Array) -> Array:
    """As float32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def layer_norm_of(draws: Draws, width: int) -> Norm:
    """A new layer norm (Ba et al. 2016) of so many numbers."""
    return Norm(draws.constant((width,), 1.0), draws.constant((width,), 0.0))


class Dropout(Chance):
    """While it has a key it leaves out a share of the numbers; the others grow for it. Srivastava et al. 2014.

    What is left out of a row follows from the key and from what the layer sees, so that no row needs a key of its own.
    """

    rate: float = eqx.field(static=True)
    key: Key[Array, ""] | None = None
    """None where nothing is left out, as wherever one acts; see `drawn`."""

    def __call__(self, x: Float[Array, " D"]) -> Float[Array, " D"]:
        if self.key is None or self.rate == 0:
            return x
        seen = jax.lax.bitcast_convert_type(x.astype(jnp.float32).sum(), jnp.uint32)
        left_out = min(round(self.rate * 2**16), 2**16 - 1)
        # Sixteen bits decide, and all of each hash is used: that is a quarter of a step of DroQ, not two fifths.
        with jax.threefry_partitionable(False):
            words = jax.random.bits(jax.random.fold_in(self.key, seen), (-(-x.size // 2),))
        drawn = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)[: x.size]
        return jnp.where(drawn >= left_out, x / (1 - left_out / 2**16), 0.0)


class Input(eqx.Module):
    """The first layer: xW + b of the encoded observation. A Discrete one looks up its row of W."""

    linear: Linear
    observed: HashableSpace = eqx.field(static=True)

    def __call__(self, obs: PyTree[Any]) -> Float[Array, " out"]:
        space = self.observed.space
        if isinstance(space, spaces.Discrete):
            row = self.linear.weight[obs - int(space.start)]
            return row if self.linear.bias is None else row + self.linear.bias
        return self.linear(encode(space, obs).astype(self.linear.weight.dtype))


def read(draws: Draws, space: gymnasium.Space[Any], outputs: int, gain: float | None) -> Input:
    """A new first layer.

    Raises:
        SpaceError: when the space cannot be read, or there is nothing in it.
    """
    if not (inputs := width(space)):
        raise SpaceError(f"observations of {in_short(space)} hold no number: a constant one will do, as Discrete(1)")
    return Input(linear(draws, inputs, outputs, gain), HashableSpace(space))


class Trunk(eqx.Module):
    """From observations to features, perhaps with a memory: what lies under a head. Unbatched."""

    @property
    @abc.abstractmethod
    def context(self) -> int | None:
        """How many earlier rows of its episode the features of a row may depend on; see `Policy.context`."""

    @abc.abstractmethod
    def initial_carry(self) -> Carry: ...

    @abc.abstractmethod
    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Float[Array, " D"], Carry]:
        """Features of one row; `carry` counts as empty where `first`."""

    @abc.abstractmethod
    def unroll(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Float[Array, "T D"]:
        """Features of T rows: the same as T calls of `step`; `carry` is None where nothing was remembered before."""

    @abc.abstractmethod
    def read(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Carry:
        """The memory after T rows: the same as after T calls of `step`; `carry` as in `unroll`."""

    def foresee(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> PyTree[Any]:
        """What `unroll` takes in place of the observations; see `Policy.foresee`."""
        return obs

    def transposed(self) -> Rows:
        """The first layer backwards, from features to what is observed, where the two are tied."""
        raise NotImplementedError


class Precision(enum.Enum):
    """How exactly numbers are held: bfloat16 takes half the room of float32 and keeps eight binary digits."""

    float32 = "float32"
    bfloat16 = "bfloat16"

    @property
    def dtype(self) -> np.dtype[Any]:
        return jnp.dtype(self.value)


@runtime_checkable
class TrunkConfig(Protocol):
    """What the settings of every network of trunks and heads say."""

    @property
    def shared(self) -> bool: ...
    @property
    def stop_gradient(self) -> tuple[str, ...]: ...
    @property
    def parameters(self) -> Precision: ...
    @property
    def compute(self) -> Precision: ...


class Computed(Trunk):
    """A trunk that computes and remembers in another precision than its parameters have; its features are float32."""

    trunk: Trunk
    precision: Precision = eqx.field(static=True)

    @property
    def context(self) -> int | None:
        return self.trunk.context

    def initial_carry(self) -> Carry:
        return self._cast.initial_carry()

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Float[Array, " D"], Carry]:
        features, carry = self._cast.step(obs, first, carry)
        return features.astype(jnp.float32), carry

    def unroll(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Float[Array, "T D"]:
        return self._cast.unroll(obs, first, carry).astype(jnp.float32)

    def read(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Carry:
        return self._cast.read(obs, first, carry)

    @property
    def _cast(self) -> Trunk:
        return jax.tree.map(lambda w: w.astype(self.precision.dtype), self.trunk)


def computed(trunk: Trunk, config: TrunkConfig) -> Trunk:
    """The trunk itself, where all is float32."""
    if config.parameters is config.compute is Precision.float32:
        return trunk
    return Computed(trunk, config.compute)


class Feedforward(Trunk):
    """A trunk without memory: what is seen is called with."""

    @abc.abstractmethod
    def __call__(self, obs: PyTree[Any]) -> Float[Array, " D"]: ...

    @property
    def context(self) -> int:
        return 0

    def initial_carry(self) -> Carry:
        return ()

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Float[Array, " D"], Carry]:
        return self(obs), carry

    def unroll(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Float[Array, "T D"]:
        return jax.vmap(self)(obs)

    def read(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Carry:
        return ()


class Dense(Feedforward):
    """Fully connected layers on the observation."""

    input: Input
    hidden: tuple[Linear, ...]
    activation: Activation = eqx.field(static=True)
    dropouts: tuple[Dropout, ...] = ()
    """Of each layer's outcome; none where nothing is ever left out."""
    norms: tuple[Norm, ...] = ()
    """Of what is left of each; none where nothing is normalised."""

    def __call__(self, obs: PyTree[Any]) -> Float[Array, " D"]:
        x = self._after(0, self.input(obs))
        for k, layer in enumerate(self.hidden, 1):
            x = self._after(k, layer(x))
        return x

    def _after(self, k: int, x: Float[Array, " D"]) -> Float[Array, " D"]:
        """What becomes of a layer's outcome."""
        x = self.dropouts[k](x) if self.dropouts else x
        return self.activation(self.norms[k](x) if self.norms else x)


def dense(
    draws: Draws,
    space: gymnasium.Space[Any],
    sizes: Sequence[int],
    activation: Activation,
    gain: float | None,
    dropout: float = 0.0,
    layer_norm: bool = False,
) -> Dense:
    """New fully connected layers of the given sizes, at least one.

    Raises:
        SpaceError: when the space cannot be read.
        ValueError: when there is no layer, or one without a unit.
    """
    if not sizes or min(sizes) < 1:
        raise ValueError(f"a network needs one or more layers of one or more units, got {tuple(sizes)}: try (64, 64)")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}: it is the share of numbers that is left out")
    return Dense(
        input=read(draws, space, sizes[0], gain),
        hidden=tuple(linear(draws, i, o, gain) for i, o in pairwise(sizes)),
        activation=activation,
        dropouts=tuple(Dropout(dropout) for _ in sizes) if dropout else (),
        norms=tuple(layer_norm_of(draws, size) for size in sizes) if layer_norm else (),
    )
