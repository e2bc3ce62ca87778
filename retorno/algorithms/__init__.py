"""One file per algorithm: a frozen dataclass of hyperparameters with pure methods."""

from retorno.algorithms.average_reward import DifferentialSARSA, RLearning
from retorno.algorithms.double_q_learning import DoubleQLearning
from retorno.algorithms.dqn import DQN
from retorno.algorithms.monte_carlo import MonteCarloControl, MonteCarloES, OffPolicyMonteCarlo
from retorno.algorithms.ppo import PPO
from retorno.algorithms.q_learning import QLearning
from retorno.algorithms.q_sigma import NStepSARSA, QSigma, TreeBackup
from retorno.algorithms.reinforce import REINFORCE
from retorno.algorithms.sarsa import SARSA, ExpectedSARSA
from retorno.algorithms.sarsa_lambda import QLambda, SARSALambda, Trace

ALGORITHMS = {
    "q_learning": QLearning,
    "double_q_learning": DoubleQLearning,
    "sarsa": SARSA,
    "expected_sarsa": ExpectedSARSA,
    "n_step_sarsa": NStepSARSA,
    "tree_backup": TreeBackup,
    "q_sigma": QSigma,
    "sarsa_lambda": SARSALambda,
    "q_lambda": QLambda,
    "monte_carlo": MonteCarloControl,
    "monte_carlo_es": MonteCarloES,
    "off_policy_monte_carlo": OffPolicyMonteCarlo,
    "differential_sarsa": DifferentialSARSA,
    "r_learning": RLearning,
    "dqn": DQN,
    "reinforce": REINFORCE,
    "ppo": PPO,
}
"""Every algorithm by the name that the command line gives it."""

__all__ = [
    "ALGORITHMS",
    "DQN",
    "PPO",
    "REINFORCE",
    "SARSA",
    "DifferentialSARSA",
    "DoubleQLearning",
    "ExpectedSARSA",
    "MonteCarloControl",
    "MonteCarloES",
    "NStepSARSA",
    "OffPolicyMonteCarlo",
    "QLambda",
    "QLearning",
    "QSigma",
    "RLearning",
    "SARSALambda",
    "Trace",
    "TreeBackup",
]
