"""What acts on top of a network: greedy, ε-greedy, softmax, fixed, planned; exploration and its schedules."""

from retorno.policies.exploration import EXPLORATIONS, UCB, Epsilon, Exploration, Softmax
from retorno.policies.greedy import EpsilonGreedyPolicy
from retorno.policies.schedules import Decay
from retorno.policies.target_and_behaviour import (
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

__all__ = [
    "EXPLORATIONS",
    "FIXED",
    "UCB",
    "Decay",
    "Epsilon",
    "EpsilonGreedyPolicy",
    "Exploration",
    "FixedConfig",
    "Followed",
    "Judged",
    "Softmax",
    "Tabulated",
    "Uniform",
    "followed",
    "tabulated",
    "weighed",
]
