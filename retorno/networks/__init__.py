"""Policies and value functions: a configuration's `build` makes a network with any heads."""

from retorno.core.registry import Registry
from retorno.networks.batch_renorm import BatchRenormMLP
from retorno.networks.cnn import CNN
from retorno.networks.composed import Apart, Tempered
from retorno.networks.critics import Critics, critics
from retorno.networks.heads import (
    ActionValueHead,
    BernoulliHead,
    BoxPolicy,
    CategoricalHead,
    DeterministicHead,
    GaussianHead,
    Head,
    JointHead,
    MultiCategoricalHead,
    SquashedGaussianHead,
    StateDependentHead,
    ValueHead,
    policy_head,
    with_spread,
)
from retorno.networks.layers import Activation
from retorno.networks.linear import Aggregation, Features, Fourier, LinearNetwork, Polynomial, TileCoding, features
from retorno.networks.mlp import MLP
from retorno.networks.network import Network, NetworkConfig, require_no_context
from retorno.networks.pretrained import Pretrained, WeightsFile, save_weights
from retorno.networks.recurrent import GRU, LSTM
from retorno.networks.residual import Residual
from retorno.networks.simba import SimBa
from retorno.networks.stacked import Stack
from retorno.networks.table import Table, TableNetwork, require_linear, semi_gradient_step
from retorno.networks.transformer import Transformer

NETWORKS = Registry(
    (
        Table,
        MLP,
        SimBa,
        BatchRenormMLP,
        Residual,
        CNN,
        GRU,
        LSTM,
        Transformer,
        Stack,
        Features,
        Aggregation,
        TileCoding,
        Fourier,
        Polynomial,
    ),
    of=NetworkConfig,
)
"""Every network by the name that the command line gives it."""

register = NETWORKS.register

__all__ = [
    "CNN",
    "GRU",
    "LSTM",
    "MLP",
    "NETWORKS",
    "ActionValueHead",
    "Activation",
    "Aggregation",
    "Apart",
    "BatchRenormMLP",
    "BernoulliHead",
    "BoxPolicy",
    "CategoricalHead",
    "Critics",
    "DeterministicHead",
    "Features",
    "Fourier",
    "GaussianHead",
    "Head",
    "JointHead",
    "LinearNetwork",
    "MultiCategoricalHead",
    "Network",
    "NetworkConfig",
    "Polynomial",
    "Pretrained",
    "Residual",
    "SimBa",
    "SquashedGaussianHead",
    "Stack",
    "StateDependentHead",
    "Table",
    "TableNetwork",
    "Tempered",
    "TileCoding",
    "Transformer",
    "ValueHead",
    "WeightsFile",
    "critics",
    "features",
    "policy_head",
    "register",
    "require_linear",
    "require_no_context",
    "save_weights",
    "semi_gradient_step",
    "with_spread",
]
