"""A causal transformer whose memory is its key–value cache.

Vaswani et al. 2017, with the norms before the layers (Xiong et al. 2020). What pretrained language models vary is a
part of a block or absent from it: root mean squares or layer norms, rotary positions or learned ones, queries that
share their keys and values in groups, gated layers, biases. A row sees itself and the rows of the same episode that
came less than `window` before it.

The cache is a ring: position p of the episode lies in slot p mod window. What a slot holds follows
from the position alone, so an episode begins by setting the position to 0; the old keys stay where
they are and are not seen.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree

from retorno.core.constants import thaw
from retorno.core.hyperparameters import settings
from retorno.networks.heads import Head
from retorno.networks.initialisation import Draws
from retorno.networks.layers import Activation, Embedding, Input, Linear, Norm, Precision, Rows, Trunk, linear, read
from retorno.networks.low_rank import LowRank
from retorno.networks.network import Network, NetworkConfig, assemble, reading
from retorno.networks.rotary import Rotary, Turn

Layer = Linear | Rows | LowRank


class Cache(NamedTuple):
    """The last keys (already rotated) and values: for each layer K heads, W slots, D numbers.

    Each layer has its own arrays, heads first: one array for all layers, or slots first, takes up
    to four times as long a step, because XLA then copies.
    """

    keys: tuple[Float[Array, "K W D"], ...]
    values: tuple[Float[Array, "K W D"], ...]
    position: Int[Array, ""]
    """How many rows of the present episode were seen: the next row's position."""


class Below(eqx.Module):
    """Rows, as the lowest blocks have left them: what the next one reads."""

    x: Float[Array, "*T width"]
    blocks: int = eqx.field(static=True)
    """How many those are."""


class Read(eqx.Module):
    """What a trunk without memory makes of an observation, as wide as the blocks."""

    reader: Trunk
    linear: Linear

    def __call__(self, obs: PyTree[Any]) -> Float[Array, " width"]:
        return self.linear(self.reader.step(obs, jnp.bool_(True), ())[0])


class Block(eqx.Module):
    """One layer: x ← x + attention(norm x), then x ← x + feed-forward(norm x). Takes rows [..., width]."""

    attention_norm: Norm
    query_key_value: Layer
    """Side by side: the queries of all N heads, the keys of K, the values of K."""
    out: Layer
    forward_norm: Norm
    up: Layer
    """Where the layer is gated, the gates stand before what they let through (Shazeer 2020)."""
    down: Layer
    num_heads: int = eqx.field(static=True)
    """N"""
    key_heads: int = eqx.field(static=True)
    """K: N / K queries share a key and a value (Ainslie et al. 2023)."""
    head_width: int = eqx.field(static=True)
    """D"""
    activation: Activation = eqx.field(static=True)
    gated: bool = eqx.field(static=True, default=False)
    query_norm: Norm | None = None
    """Of each head's query and key (Dehghani et al. 2023)."""
    key_norm: Norm | None = None

    def project(self, x: Float[Array, "*T width"], turn: Turn | None) -> tuple[Array, Array, Array]:
        """Queries [N, *T, D], keys and values [K, *T, D]; where positions are angles, queries and keys are turned."""
        projected = self.query_key_value(self.attention_norm(x)).reshape(*x.shape[:-1], -1, self.head_width)
        split = (self.num_heads, self.num_heads + self.key_heads)
        query, key, value = jnp.split(jnp.moveaxis(projected, -2, 0), split)
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        return (query, key, value) if turn is None else (turn(query), turn(key), value)

    def finish(self, x: Float[Array, "*T width"], attended: Float[Array, "N *T D"]) -> Float[Array, "*T width"]:
        """What is left to do once the values are gathered."""
        x = _summed(x + self.out(jnp.moveaxis(attended, 0, -2).reshape(*x.shape[:-1], -1)))
        inner = self.up(self.forward_norm(x))
        if self.gated:
            gate, inner = jnp.split(inner, 2, axis=-1)
            inner = self.activation(gate) * inner
        else:
            inner = self.activation(inner)
        return _summed(x + self.down(inner))


def _summed(x: Float[Array, "*T width"]) -> Float[Array, "*T width"]:
    """The residual stream of many rows, added up once for all that read it, in the gradient too.

    XLA would add it up anew in each copy that it turns around for a product with the rows.
    """
    return x if x.ndim == 1 else jax.lax.optimization_barrier(x)


class Causal(Trunk):
    """A stack of blocks on an embedding of the observation."""

    input: Input | Embedding | Read
    blocks: tuple[Block, ...]
    norm: Norm
    """Its precision is that of what flows between the blocks, and of the cache."""
    window: int = eqx.field(static=True)
    rematerialise: bool = eqx.field(static=True)
    rotary: Rotary | None = eqx.field(static=True, default=Rotary())
    positions: Rows | None = None
    """Where positions are learned, and no angles: each has a row, which is added to the embedding."""

    @property
    def context(self) -> None:
        return None

    def initial_carry(self) -> Cache:
        def empty() -> tuple[Array, ...]:
            dtype = self.norm.scale.dtype
            return tuple(jnp.zeros((block.key_heads, self.window, block.head_width), dtype) for block in self.blocks)

        return Cache(empty(), empty(), jnp.int32(0))

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Cache) -> tuple[Float[Array, " width"], Cache]:
        position = jnp.where(first, 0, carry.position)
        slot = position % self.window
        # Slot j holds the newest position ≤ this one that is congruent to j; a negative one was never written.
        visible = held(position, self.window) >= 0
        x, turn = self._embed(self.input(obs), position), self._turn(position)
        keys, values = [], []
        for block, old_keys, old_values in zip(self.blocks, carry.keys, carry.values, strict=True):
            query, key, value = block.project(x, turn)
            keys.append(old_keys.at[:, slot].set(key))
            values.append(old_values.at[:, slot].set(value))
            x = block.finish(x, attend(query, keys[-1], values[-1], visible))
        return self.norm(x), Cache(tuple(keys), tuple(values), position + 1)

    def unroll(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Cache | None) -> Float[Array, "T width"]:
        return self.norm(self._sequence(obs, first, carry)[0])

    def read(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Cache | None) -> Cache:
        if first.size == 0:
            return self.initial_carry() if carry is None else carry
        return self._sequence(obs, first, carry)[1]

    def foresee(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Cache | None) -> PyTree[Any]:
        learnt = [bool(jax.tree.leaves((self.input, self.positions))), *(bool(jax.tree.leaves(x)) for x in self.blocks)]
        below = [*learnt, True].index(True) - 1
        return obs if below < 1 else Below(thaw(self)._sequence(obs, first, carry, below)[0], below)

    def transposed(self) -> Rows:
        return self.input.tokens if isinstance(self.input, Embedding) else Rows(self.input.linear.weight)

    def _embed(self, x: Float[Array, "*T width"], position: Int[Array, "*T"]) -> Float[Array, "*T width"]:
        """What enters the blocks."""
        x = x.astype(self.norm.scale.dtype)
        return x if self.positions is None else x + self.positions.row(position)

    def _turn(self, position: Int[Array, "*T"]) -> Turn | None:
        """How far the blocks' queries and keys are turned."""
        return None if self.rotary is None else self.rotary.turn(position, self.blocks[0].head_width)

    def _sequence(
        self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Cache | None, until: int | None = None
    ) -> tuple[Float[Array, "T width"], Cache]:
        """All rows through each block at once: (what comes out of the last, the cache after the last row).

        Args:
            obs: what is observed, or how the lowest blocks have left it.
            first: whether each row begins an episode.
            carry: what was remembered before row 0; None for nothing.
            until: how many blocks they go through; None for all.
        """
        time = jnp.arange(first.shape[0])
        began = jax.lax.cummax(jnp.where(first, time, 0 if carry is None else -1))
        distance = time[:, None] - time
        visible = (began[:, None] == began) & (distance >= 0) & (distance < self.window)
        position = time - began
        before = self.initial_carry() if carry is None else carry
        if carry is not None:
            carried = began < 0
            position = jnp.where(carried, carry.position + time, position)
            cached = held(carry.position - 1, self.window)
            in_cache = carried[:, None] & (cached >= 0) & (position[:, None] - cached < self.window)
            visible = jnp.concatenate([in_cache, visible], axis=1)
        # The newest position of each slot lies in this sequence where it is so late, else in the cache as it was.
        newest = held(position[-1], self.window)
        source = time[-1] - (position[-1] - newest)
        fresh = (newest >= 0) & (source >= 0)
        into = lambda cache, rows: jnp.where(fresh[:, None], rows[:, jnp.maximum(source, 0)], cache)  # noqa: E731
        turn = self._turn(position)
        below, x = (
            (obs.blocks, obs.x) if isinstance(obs, Below) else (0, self._embed(jax.vmap(self.input)(obs), position))
        )

        def through(block: Block, x: Array, old_keys: Array, old_values: Array) -> tuple[Array, tuple[Array, Array]]:
            query, key, value = block.project(x, turn)
            keys, values = key, value
            if carry is not None:
                keys, values = (jnp.concatenate(both, axis=1) for both in ((old_keys, key), (old_values, value)))
            return block.finish(x, attend(query, keys, values, visible)), (into(old_keys, key), into(old_values, value))

        if self.rematerialise:
            through = jax.checkpoint(through)
        caches = list(zip(before.keys, before.values, strict=True))
        for place, block in list(enumerate(self.blocks))[below:until]:
            x, caches[place] = through(block, x, *caches[place])
        keys, values = zip(*caches, strict=True)
        return x, Cache(keys, values, position[-1] + 1)


def back_to(carry: PyTree[Any], position: int) -> PyTree[Any]:
    """Caches as they were when so many rows of the episode were seen: what was written since is not seen.

    They hold the whole episode: no more rows than there are slots were seen.
    """
    at = lambda cache: cache._replace(position=jnp.full_like(cache.position, position))  # noqa: E731
    return jax.tree.map(at, carry, is_leaf=lambda node: isinstance(node, Cache))


def with_slots(carry: PyTree[Any], window: int) -> PyTree[Any]:
    """Caches of whole episodes, with room for more rows."""

    def wider(slots: Array) -> Array:
        return jnp.pad(slots, [(0, 0)] * (slots.ndim - 2) + [(0, window - slots.shape[-2]), (0, 0)])

    def grown(cache: Cache) -> Cache:
        return Cache(tuple(map(wider, cache.keys)), tuple(map(wider, cache.values)), cache.position)

    return jax.tree.map(grown, carry, is_leaf=lambda node: isinstance(node, Cache))


def held(position: Int[Array, ""], window: int) -> Int[Array, " W"]:
    """The position that each slot of the ring holds once `position` is written; negative where it is empty."""
    return position - (position - jnp.arange(window)) % window


@jax.custom_jvp
def attend(
    query: Float[Array, "N *T D"],
    keys: Float[Array, "K S D"],
    values: Float[Array, "K S D"],
    visible: Bool[Array, "*T S"],
) -> Float[Array, "N *T D"]:
    """softmax(QKᵀ/√D)V over the visible rows, one row at least. Vaswani et al. 2017, eq. 1.

    Each of the K keys and values serves N / K queries. Ainslie et al. 2023.
    """
    return _gathered(_weights(query, keys, visible), values).reshape(query.shape)


@attend.defjvp
def _attend_and_tangent(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    r"""How what is gathered moves, so that its gradient needs no sum over S for each row (Dao et al. 2022, appendix B).

    .. math:: dO = (P \circ dS) V - \big(\textstyle\sum_s P \circ dS\big) O + P\, dV
    """
    query, keys, values, visible = primals
    weights = _weights(query, keys, visible)
    gathered = _gathered(weights, values)
    moved = weights * (_scores(tangents[0], keys) + _scores(query, tangents[1]))
    tangent = _gathered(moved, values) - moved.sum(-1, keepdims=True).astype(gathered.dtype) * gathered
    tangent += _gathered(weights, tangents[2])
    return gathered.reshape(query.shape), tangent.reshape(query.shape)


def _weights(
    query: Float[Array, "N *T D"], keys: Float[Array, "K S D"], visible: Bool[Array, "*T S"]
) -> Float[Array, "K G *T S"]:
    """How much of each value a row gathers."""
    return jax.nn.softmax(jnp.where(visible, _scores(query, keys), -jnp.inf))


def _scores(query: Float[Array, "N *T D"], keys: Float[Array, "K S D"]) -> Float[Array, "K G *T S"]:
    """QKᵀ/√D."""
    grouped = query.reshape(keys.shape[0], -1, *query.shape[1:])
    products = jnp.einsum("kg...d,ksd->kg...s", grouped, keys, preferred_element_type=jnp.float32)
    return products / math.sqrt(query.shape[-1])


def _gathered(weights: Float[Array, "K G *T S"], values: Float[Array, "K S D"]) -> Float[Array, "K G *T D"]:
    return jnp.einsum("kg...s,ksd->kg...d", weights.astype(values.dtype), values)


@settings
class Transformer:
    """A causal transformer over the rows of an episode."""

    width: int = 64
    """Numbers that stand for one row between the layers."""
    layers: int = 2
    """Blocks of attention and feed-forward layers."""
    num_heads: int = 4
    """Attention heads, each of width/num_heads numbers."""
    window: int = 64
    """How many rows a row sees, itself included; the cache holds as many."""
    activation: Activation = Activation.gelu
    """The nonlinearity inside the feed-forward layers, which are four times as wide."""
    shared: bool = False
    """Whether all heads share one stack. Where returns are large, a value head drowns the policy's gradient."""
    stop_gradient: tuple[str, ...] = ()
    """Heads whose gradient does not reach what lies under them, for instance the value on a shared trunk."""
    parameters: Precision = Precision.float32
    """How exactly the weights are held."""
    compute: Precision = Precision.float32
    """How exactly the hidden layers are computed; heads are float32."""
    rematerialise: bool = False
    """Compute each block again for the gradient instead of keeping what is inside it: less memory, more work."""
    reader: NetworkConfig | None = None
    """Whose layers read each observation below the blocks: a CNN where it is a picture. None: one linear layer."""

    def build(self, key: Key[Array, ""], observation_space: gymnasium.Space[Any], heads: dict[str, Head]) -> Network:
        """A new network: orthogonal weights, those into the residual stream over √(2 layers) (Radford et al. 2019).

        Raises:
            SpaceError: when the space is not Discrete, MultiDiscrete, MultiBinary, Box, or a Dict or Tuple of these.
            ValueError: when there is no head, a size is not positive, width is no multiple of 2 · num_heads, or the
                reader has a memory.
        """
        if min(self.width, self.layers, self.num_heads, self.window) < 1:
            raise ValueError(f"width, layers, num_heads and window must be positive, got {self}")
        if self.width % (2 * self.num_heads):
            pairs = math.ceil(self.width / (2 * self.num_heads))
            raise ValueError(
                f"width must be a multiple of 2 · num_heads (rotary positions turn pairs), got width {self.width} with "
                f"num_heads {self.num_heads}: try width={2 * self.num_heads * pairs}"
            )
        trunk = lambda draws: self._trunk(draws, observation_space)  # noqa: E731
        return assemble(key, heads, self, True, self.width, trunk)

    def _trunk(self, draws: Draws, space: gymnasium.Space[Any]) -> Causal:
        return Causal(
            input=self._input(draws, space),
            blocks=tuple(self._block(draws) for _ in range(self.layers)),
            norm=Norm(draws.constant((self.width,), 1.0)),
            window=self.window,
            rematerialise=self.rematerialise,
        )

    def _input(self, draws: Draws, space: gymnasium.Space[Any]) -> Input | Read:
        if self.reader is None:
            return read(draws, space, self.width, 1.0)
        reader, features = reading(draws, self.reader, space)
        return Read(reader, linear(draws, features, self.width, 1.0))

    def _block(self, draws: Draws) -> Block:
        residual_gain = 1 / math.sqrt(2 * self.layers)
        return Block(
            attention_norm=Norm(draws.constant((self.width,), 1.0)),
            query_key_value=linear(draws, self.width, 3 * self.width, 1.0),
            out=linear(draws, self.width, self.width, residual_gain),
            forward_norm=Norm(draws.constant((self.width,), 1.0)),
            up=linear(draws, self.width, 4 * self.width, math.sqrt(2)),
            down=linear(draws, 4 * self.width, self.width, residual_gain),
            num_heads=self.num_heads,
            key_heads=self.num_heads,
            head_width=self.width // self.num_heads,
            activation=self.activation,
        )
