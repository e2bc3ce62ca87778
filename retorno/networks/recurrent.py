"""Recurrent networks: GRU (Cho et al. 2014) and LSTM (Hochreiter & Schmidhuber 1997; forget gate of Gers et al. 2000).

The input's share of the gates is computed for all rows of a sequence at once; only the product
with the hidden state is left inside the loop (`recurrence`).
"""

from __future__ import annotations

import abc
import math
from typing import Any, ClassVar

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Key, PyTree

from retorno.core.hyperparameters import settings
from retorno.core.policy import Carry
from retorno.networks.heads import Head
from retorno.networks.initialisation import Draws
from retorno.networks.layers import Activation, Linear, Precision, Trunk, dense, linear
from retorno.networks.network import Network, NetworkConfig, assemble, reading
from retorno.networks.recurrence import State, emptied, recurrence


class Recurrent(Trunk):
    """An embedding of the observation, then a cell with G gates of H units."""

    embed: Trunk
    """What reads each observation, without a memory."""
    input: Linear
    """[E, G·H]"""
    hidden: Linear
    """[H, G·H]"""
    rematerialise: bool = eqx.field(static=True)
    states: ClassVar[int]
    """How many arrays the cell remembers."""
    gates: ClassVar[int]
    """G"""

    @staticmethod
    @abc.abstractmethod
    def cell(seen: Float[Array, " G"], remembered: Float[Array, " G"], state: State) -> State:
        """The next state from the input's share of the gates, the hidden state's, and the last state."""

    @property
    def context(self) -> None:
        return None

    def initial_carry(self) -> State:
        return tuple(jnp.zeros(len(self.hidden.weight), self.hidden.weight.dtype) for _ in range(self.states))

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Float[Array, " H"], Carry]:
        before = emptied(first, carry)
        carry = self.cell(self.input(self.embed.step(obs, first, ())[0]), self.hidden(before[0]), before)
        return carry[0], carry

    def unroll(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Float[Array, "T H"]:
        return self._sequence(obs, first, carry)[1]

    def read(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Carry:
        return self._sequence(obs, first, carry)[0]

    def _sequence(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> tuple[Carry, Float[Array, "T H"]]:
        """(the state after the last row, what the cell says on each)."""
        before = self.initial_carry() if carry is None else carry
        seen = self.input(self.embed.unroll(obs, first, ()))
        return recurrence(self.cell, self.hidden, seen, first, before, self.rematerialise)


class GRUCell(Recurrent):
    """h ← (1 − z) n + z h, with n = tanh(xWₙ + r (hUₙ + b)): the reset gate r, the update gate z."""

    states: ClassVar[int] = 1
    gates: ClassVar[int] = 3

    @staticmethod
    def cell(seen: Float[Array, " G"], remembered: Float[Array, " G"], state: State) -> State:
        (h,) = state
        reset_x, update_x, new_x = jnp.split(seen, 3)
        reset_h, update_h, new_h = jnp.split(remembered, 3)
        reset = jax.nn.sigmoid(reset_x + reset_h)
        update = jax.nn.sigmoid(update_x + update_h)
        new = jnp.tanh(new_x + reset * new_h)
        return (new + update * (h - new),)


class LSTMCell(Recurrent):
    """c ← f c + i g and h = o tanh c, with input, forget and output gates i, f, o and the new content g."""

    states: ClassVar[int] = 2
    gates: ClassVar[int] = 4

    @staticmethod
    def cell(seen: Float[Array, " G"], remembered: Float[Array, " G"], state: State) -> State:
        _, c = state
        enter, forget, content, leave = jnp.split(seen + remembered, 4)
        c = jax.nn.sigmoid(forget) * c + jax.nn.sigmoid(enter) * jnp.tanh(content)
        return jax.nn.sigmoid(leave) * jnp.tanh(c), c


@settings
class RecurrentConfig(abc.ABC):
    """A cell on an embedding of the observation: the settings that every kind of cell has."""

    width: int = 64
    """Units of each array that the cell remembers."""
    embed: tuple[int, ...] = (64,)
    """Units of each layer between the observation and the cell."""
    activation: Activation = Activation.tanh
    """The nonlinearity after each layer of `embed`."""
    reader: NetworkConfig | None = None
    """Whose layers read each observation in place of `embed`: a CNN where it is a picture."""
    shared: bool = False
    """Whether all heads share one cell. Where returns are large, a value head drowns the policy's gradient."""
    stop_gradient: tuple[str, ...] = ()
    """Heads whose gradient does not reach what lies under them, for instance the value on a shared trunk."""
    parameters: Precision = Precision.float32
    """How exactly the weights are held."""
    compute: Precision = Precision.float32
    """How exactly the hidden layers are computed; heads are float32."""
    rematerialise: bool = False
    """Compute the gates again for the gradient instead of keeping them: less memory, a third more work.
    From 2¹⁸ weights between states on they always are."""
    orthogonal: bool = True
    """Orthogonal weights and zero biases; else uniform in ±1/√inputs."""

    @property
    @abc.abstractmethod
    def cell(self) -> type[Recurrent]:
        """What remembers."""

    def build(self, key: Key[Array, ""], observation_space: gymnasium.Space[Any], heads: dict[str, Head]) -> Network:
        """A new network.

        Raises:
            SpaceError: when the space is not Discrete, MultiDiscrete, MultiBinary, Box, or a Dict or Tuple of these.
            ValueError: when there is no head, no layer in `embed`, a layer without a unit, the reader has a memory, or
                `embed` or `activation` are said beside it.
        """
        if self.width < 1:
            raise ValueError(f"width must be positive, got {self.width}: try 64")
        own = (self.embed, self.activation)
        if self.reader is not None and own != (RecurrentConfig.embed, RecurrentConfig.activation):
            raise ValueError(
                f"a reader stands in place of embed, got embed={self.embed} of {self.activation} beside "
                f"{type(self.reader).__name__}: say layers as the reader's own, as in reader=MLP(hidden={self.embed})"
            )
        trunk = lambda draws: self._trunk(draws, observation_space)  # noqa: E731
        return assemble(key, heads, self, self.orthogonal, self.width, trunk)

    def _trunk(self, draws: Draws, space: gymnasium.Space[Any]) -> Recurrent:
        if self.reader is not None:
            embed, features = reading(draws, self.reader, space)
        else:
            embed = dense(draws, space, self.embed, self.activation, math.sqrt(2) if self.orthogonal else None)
            features = self.embed[-1]
        return self.cell(embed, self._gates(draws, features), self._gates(draws, self.width), self.rematerialise)

    def _gates(self, draws: Draws, inputs: int) -> Linear:
        gates = self.cell.gates
        if not self.orthogonal:
            return linear(draws, inputs, gates * self.width, None)
        # One orthogonal matrix for each gate: together they could not all be.
        weights = [draws.orthogonal(inputs, self.width) for _ in range(gates)]
        return Linear(jnp.concatenate(weights, axis=1), draws.constant((gates * self.width,), 0.0))


@settings
class GRU(RecurrentConfig):
    """A gated recurrent unit on an embedding of the observation."""

    @property
    def cell(self) -> type[Recurrent]:
        return GRUCell


@settings
class LSTM(RecurrentConfig):
    """A long short-term memory on an embedding of the observation."""

    @property
    def cell(self) -> type[Recurrent]:
        return LSTMCell
