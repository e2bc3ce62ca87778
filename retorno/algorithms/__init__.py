"""One file per algorithm: a frozen dataclass of hyperparameters with pure methods."""

from retorno.algorithms.actor_critic import ActorCritic
from retorno.algorithms.average_reward import DifferentialSARSA, RLearning
from retorno.algorithms.batch import BatchMonteCarlo, BatchTD
from retorno.algorithms.double_q_learning import DoubleQLearning
from retorno.algorithms.dqn import DQN
from retorno.algorithms.dyna import DynaQ
from retorno.algorithms.emphatic_td import EmphaticTD
from retorno.algorithms.exp3 import EXP3
from retorno.algorithms.gradient_bandit import GradientBandit
from retorno.algorithms.gradient_td import GTD2, TDC
from retorno.algorithms.linucb import LinUCB
from retorno.algorithms.lstd import LSTD
from retorno.algorithms.model_based import PSRL, CertaintyEquivalence, RMax
from retorno.algorithms.monte_carlo import MonteCarloControl, MonteCarloES, OffPolicyMonteCarlo
from retorno.algorithms.monte_carlo_prediction import LambdaReturn, MonteCarloPrediction, Weighing
from retorno.algorithms.natural_actor_critic import NaturalActorCritic
from retorno.algorithms.ppo import PPO
from retorno.algorithms.prioritised_sweeping import PrioritisedSweeping
from retorno.algorithms.q_learning import QLearning
from retorno.algorithms.q_sigma import NStepSARSA, QSigma, TreeBackup
from retorno.algorithms.reinforce import REINFORCE
from retorno.algorithms.rollout import Rollout
from retorno.algorithms.sarsa import SARSA, ExpectedSARSA
from retorno.algorithms.sarsa_lambda import QLambda, SARSALambda, Trace
from retorno.algorithms.td import TD
from retorno.algorithms.td_lambda import TDLambda, TrueOnlineTD
from retorno.algorithms.thompson import BernoulliThompson, GaussianThompson
from retorno.algorithms.uct import UCT

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
    "monte_carlo_prediction": MonteCarloPrediction,
    "lambda_return": LambdaReturn,
    "td": TD,
    "td_lambda": TDLambda,
    "true_online_td": TrueOnlineTD,
    "batch_td": BatchTD,
    "batch_monte_carlo": BatchMonteCarlo,
    "tdc": TDC,
    "gtd2": GTD2,
    "emphatic_td": EmphaticTD,
    "lstd": LSTD,
    "actor_critic": ActorCritic,
    "natural_actor_critic": NaturalActorCritic,
    "dyna_q": DynaQ,
    "prioritised_sweeping": PrioritisedSweeping,
    "certainty_equivalence": CertaintyEquivalence,
    "rmax": RMax,
    "psrl": PSRL,
    "rollout": Rollout,
    "uct": UCT,
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
    "GTD2",
    "LSTD",
    "PPO",
    "PSRL",
    "REINFORCE",
    "SARSA",
    "TD",
    "TDC",
    "UCT",
    "ActorCritic",
    "BatchMonteCarlo",
    "BatchTD",
    "BernoulliThompson",
    "CertaintyEquivalence",
    "DifferentialSARSA",
    "DoubleQLearning",
    "DynaQ",
    "EmphaticTD",
    "ExpectedSARSA",
    "GaussianThompson",
    "GradientBandit",
    "LambdaReturn",
    "LinUCB",
    "MonteCarloControl",
    "MonteCarloES",
    "MonteCarloPrediction",
    "NStepSARSA",
    "NaturalActorCritic",
    "OffPolicyMonteCarlo",
    "PrioritisedSweeping",
    "QLambda",
    "QLearning",
    "QSigma",
    "RLearning",
    "RMax",
    "Rollout",
    "SARSALambda",
    "TDLambda",
    "Trace",
    "TreeBackup",
    "TrueOnlineTD",
    "Weighing",
]
