"""Policies and value functions: a configuration's `build` makes a network with any heads."""

from retorno.networks.exploration import EXPLORATIONS, UCB, Epsilon, Exploration, Softmax
from retorno.networks.fixed import (
    FIXED,
    FixedConfig,
    Followed,
    Judged,
    Tabulated,
    Uniform,
    followed,
    tabulated,
    weighed,
)
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
from retorno.networks.linear import Aggregation, Features, Fourier, LinearNetwork, Polynomial, TileCoding, features
from retorno.networks.mlp import MLP
from retorno.networks.models import MODELS, Counted, Exact, ModelConfig
from retorno.networks.network import Network, NetworkConfig, require_memoryless
from retorno.networks.recurrent import GRU, LSTM
from retorno.networks.table import Table, TableNetwork, nudge, require_linear
from retorno.networks.transformer import Transformer
from retorno.networks.visits import Decay

NETWORKS: dict[str, type[NetworkConfig]] = {
    "table": Table,
    "mlp": MLP,
    "gru": GRU,
    "lstm": LSTM,
    "transformer": Transformer,
    "features": Features,
    "aggregation": Aggregation,
    "tilecoding": TileCoding,
    "fourier": Fourier,
    "polynomial": Polynomial,
}
"""Every network by the name that the command line gives it."""

__all__ = [
    "EXPLORATIONS",
    "FIXED",
    "GRU",
    "LSTM",
    "MLP",
    "MODELS",
    "NETWORKS",
    "UCB",
    "ActionValueHead",
    "Activation",
    "Aggregation",
    "CategoricalHead",
    "Counted",
    "Decay",
    "Epsilon",
    "EpsilonGreedyPolicy",
    "Exact",
    "Exploration",
    "Features",
    "FixedConfig",
    "Followed",
    "Fourier",
    "GaussianHead",
    "Head",
    "Judged",
    "LinearNetwork",
    "ModelConfig",
    "MultiCategoricalHead",
    "Network",
    "NetworkConfig",
    "Polynomial",
    "Softmax",
    "SquashedGaussianHead",
    "Table",
    "TableNetwork",
    "Tabulated",
    "TileCoding",
    "Transformer",
    "Uniform",
    "ValueHead",
    "features",
    "followed",
    "nudge",
    "policy_head",
    "require_linear",
    "require_memoryless",
    "tabulated",
    "weighed",
]
