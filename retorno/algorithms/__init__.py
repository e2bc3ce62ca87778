"""One file per algorithm: a frozen dataclass of hyperparameters with pure methods."""

from retorno.algorithms.actor_critic import ActorCritic
from retorno.algorithms.dqn import DQN
from retorno.algorithms.exp3 import EXP3
from retorno.algorithms.gradient_bandit import GradientBandit
from retorno.algorithms.linucb import LinUCB
from retorno.algorithms.natural_actor_critic import NaturalActorCritic
from retorno.algorithms.ppo import PPO
from retorno.algorithms.q_learning import QLearning
from retorno.algorithms.reinforce import REINFORCE
from retorno.algorithms.sarsa import SARSA
from retorno.algorithms.thompson import BernoulliThompson, GaussianThompson

BANDITS = {
    "gradient_bandit": GradientBandit,
    "thompson_gaussian": GaussianThompson,
    "thompson_bernoulli": BernoulliThompson,
    "exp3": EXP3,
    "linucb": LinUCB,
}
"""Algorithms that look no further than the next reward: each observation is a bandit."""

ALGORITHMS = {
    **BANDITS,
    "q_learning": QLearning,
    "sarsa": SARSA,
    "actor_critic": ActorCritic,
    "natural_actor_critic": NaturalActorCritic,
    "dqn": DQN,
    "reinforce": REINFORCE,
    "ppo": PPO,
}
"""Every algorithm by the name that the command line gives it."""

__all__ = [
    "ALGORITHMS",
    "BANDITS",
    "DQN",
    "EXP3",
    "PPO",
    "REINFORCE",
    "SARSA",
    "ActorCritic",
    "BernoulliThompson",
    "GaussianThompson",
    "GradientBandit",
    "LinUCB",
    "NaturalActorCritic",
    "QLearning",
]
