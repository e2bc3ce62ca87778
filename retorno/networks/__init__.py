"""Policies and value functions: a configuration's `build` makes a network with any heads."""

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
from retorno.networks.network import Network, NetworkConfig
from retorno.networks.table import Table, TableNetwork, nudge

NETWORKS: dict[str, type[NetworkConfig]] = {"table": Table, "mlp": MLP}
"""Every network by the name that the command line gives it."""

__all__ = [
    "MLP",
    "NETWORKS",
    "Activation",
    "ActionValueHead",
    "CategoricalHead",
    "GaussianHead",
    "Head",
    "MultiCategoricalHead",
    "Network",
    "NetworkConfig",
    "SquashedGaussianHead",
    "Table",
    "TableNetwork",
    "ValueHead",
    "nudge",
    "policy_head",
]
