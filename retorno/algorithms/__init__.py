"""One file per algorithm: a frozen dataclass of hyperparameters with pure methods."""

from retorno.algorithms.actor_critic.actor_critic import ActorCritic
from retorno.algorithms.actor_critic.natural_actor_critic import NaturalActorCritic
from retorno.algorithms.actor_critic.ppo import PPO
from retorno.algorithms.bandits.exp3 import EXP3
from retorno.algorithms.bandits.gradient_bandit import GradientBandit
from retorno.algorithms.bandits.linucb import LinUCB
from retorno.algorithms.bandits.thompson import BernoulliThompson, GaussianThompson
from retorno.algorithms.planning.dyna import DynaQ
from retorno.algorithms.planning.model_based import PSRL, CertaintyEquivalence, RMax
from retorno.algorithms.planning.prioritised_sweeping import PrioritisedSweeping
from retorno.algorithms.planning.rollout import Rollout
from retorno.algorithms.planning.uct import UCT
from retorno.algorithms.policy_gradient.reinforce import REINFORCE
from retorno.algorithms.prediction.batch import BatchMonteCarlo, BatchTD
from retorno.algorithms.prediction.emphatic_td import EmphaticTD
from retorno.algorithms.prediction.gradient_td import GTD2, TDC
from retorno.algorithms.prediction.lstd import LSTD
from retorno.algorithms.prediction.monte_carlo_prediction import LambdaReturn, MonteCarloPrediction, Weighing
from retorno.algorithms.prediction.td import TD
from retorno.algorithms.prediction.td_lambda import TDLambda, TrueOnlineTD
from retorno.algorithms.tabular.average_reward import DifferentialSARSA, RLearning
from retorno.algorithms.tabular.double_q_learning import DoubleQLearning
from retorno.algorithms.tabular.monte_carlo import MonteCarloControl, MonteCarloES, OffPolicyMonteCarlo
from retorno.algorithms.tabular.q_learning import QLearning
from retorno.algorithms.tabular.q_sigma import NStepSARSA, QSigma, TreeBackup
from retorno.algorithms.tabular.sarsa import SARSA, ExpectedSARSA
from retorno.algorithms.tabular.sarsa_lambda import QLambda, SARSALambda, Trace
from retorno.algorithms.values.dqn import DQN

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
