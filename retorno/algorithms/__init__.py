"""One file per algorithm: a frozen dataclass of hyperparameters with pure methods."""

from retorno.algorithms.dqn import DQN
from retorno.algorithms.ppo import PPO
from retorno.algorithms.q_learning import QLearning
from retorno.algorithms.reinforce import REINFORCE
from retorno.algorithms.sarsa import SARSA

ALGORITHMS = {"q_learning": QLearning, "sarsa": SARSA, "dqn": DQN, "reinforce": REINFORCE, "ppo": PPO}
"""Every algorithm by the name that the command line gives it."""

__all__ = ["ALGORITHMS", "DQN", "PPO", "REINFORCE", "SARSA", "QLearning"]
