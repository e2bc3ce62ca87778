"""Policies and value functions: a configuration's `build` makes a network with any heads."""

from retorno.networks.exploration import EXPLORATIONS, UCB, Epsilon, Exploration, Softmax
from retorno.networks.greedy import EpsilonGreedyPolicy
from retorno.networks.heads import (
    ActionValueHead,
    CategoricalHead,
    GaussianHead,
    Head,
    MultiCategoricalHead,
    SquashedGaussianHead,
    ValueHead,
    policy_head,
)
from retorno.networks.layers import Activation
from retorno.networks.mlp import MLP
from retorno.networks.network import Network, NetworkConfig, require_memoryless
from retorno.networks.recurrent import GRU, LSTM
from retorno.networks.table import Table, TableNetwork, nudge
from retorno.networks.transformer import Transformer
from retorno.networks.visits import Decay

NETWORKS: dict[str, type[NetworkConfig]] = {
    "table": Table,
    "mlp": MLP,
    "gru": GRU,
    "lstm": LSTM,
    "transformer": Transformer,
}
"""Every network by the name that the command line gives it."""

__all__ = [
    "EXPLORATIONS",
    "GRU",
    "LSTM",
    "MLP",
    "NETWORKS",
    "UCB",
    "ActionValueHead",
    "Activation",
    "CategoricalHead",
    "Decay",
    "Epsilon",
    "EpsilonGreedyPolicy",
    "Exploration",
    "GaussianHead",
    "Head",
    "MultiCategoricalHead",
    "Network",
    "NetworkConfig",
    "Softmax",
    "SquashedGaussianHead",
    "Table",
    "TableNetwork",
    "Transformer",
    "ValueHead",
    "nudge",
    "policy_head",
    "require_memoryless",
]
