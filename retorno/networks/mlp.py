"""The multilayer perceptron: fully connected layers, no memory."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
from jax import Array
from jaxtyping import Key

from retorno.core.hyperparameters import settings
from retorno.networks.heads import Head
from retorno.networks.layers import Activation, Precision, dense
from retorno.networks.network import Network, assemble


@settings
class MLP:
    """A multilayer perceptron. The defaults are those of PPO's published benchmarks (Schulman et al. 2017)."""

    hidden: tuple[int, ...] = (64, 64)
    """Units of each hidden layer."""
    activation: Activation = Activation.tanh
    """The nonlinearity after each hidden layer."""
    shared: bool = False
    """Whether all heads share the hidden layers. Where returns are large, a value head drowns the policy's gradient."""
    stop_gradient: tuple[str, ...] = ()
    """Heads whose gradient does not reach what lies under them, for instance the value on a shared trunk."""
    parameters: Precision = Precision.float32
    """How exactly the weights are held."""
    compute: Precision = Precision.float32
    """How exactly the hidden layers are computed; heads are float32."""
    orthogonal: bool = True
    """Orthogonal weights (√2; .01 under a policy, 1 under a value) and zero biases; else uniform in ±1/√inputs."""
    layer_norm: bool = False
    """Standardise each hidden layer's outcome over its units, before its nonlinearity (Ba et al. 2016)."""
    dropout: float = 0.0
    """The share of each hidden layer's units that is left out while critics learn (Srivastava et al. 2014)."""

    def build(self, key: Key[Array, ""], observation_space: gymnasium.Space[Any], heads: dict[str, Head]) -> Network:
        """A new network.

        Raises:
            SpaceError: when the space is not Discrete, MultiDiscrete, MultiBinary, Box, or a Dict or Tuple of these.
            ValueError: when there is no head or no hidden layer, or the dropout is no share.
        """
        gain = math.sqrt(2) if self.orthogonal else None
        return assemble(
            key,
            heads,
            self,
            self.orthogonal,
            self.hidden[-1] if self.hidden else 0,
            lambda draws: dense(
                draws, observation_space, self.hidden, self.activation, gain, self.dropout, self.layer_norm
            ),
        )
