"""One file per algorithm: a frozen dataclass of hyperparameters with pure methods.

The line that imports one registers it, under its class's name and in its folder's group. Somebody's own, in a file of
their own, is registered by `@retorno.algorithms.register`.
"""

from inspect import isfunction

from retorno.algorithms.actor_critic.actor_critic import ActorCritic as ActorCritic
from retorno.algorithms.actor_critic.impala import IMPALA as IMPALA
from retorno.algorithms.actor_critic.natural_actor_critic import NaturalActorCritic as NaturalActorCritic
from retorno.algorithms.actor_critic.ppo import A2C as A2C
from retorno.algorithms.actor_critic.ppo import PPO as PPO
from retorno.algorithms.actor_critic.sac import QRSAC as QRSAC
from retorno.algorithms.actor_critic.sac import REDQ as REDQ
from retorno.algorithms.actor_critic.sac import SAC as SAC
from retorno.algorithms.actor_critic.sac import TQC as TQC
from retorno.algorithms.actor_critic.sac import CrossQ as CrossQ
from retorno.algorithms.actor_critic.sac import DroQ as DroQ
from retorno.algorithms.actor_critic.sac import SimBaSAC as SimBaSAC
from retorno.algorithms.actor_critic.td3 import DDPG as DDPG
from retorno.algorithms.actor_critic.td3 import TD3 as TD3
from retorno.algorithms.bandits.exp3 import EXP3 as EXP3
from retorno.algorithms.bandits.gradient_bandit import GradientBandit as GradientBandit
from retorno.algorithms.bandits.linucb import LinUCB as LinUCB
from retorno.algorithms.bandits.thompson import BernoulliThompson as BernoulliThompson
from retorno.algorithms.bandits.thompson import GaussianThompson as GaussianThompson
from retorno.algorithms.evolution.cma_es import CMAES as CMAES
from retorno.algorithms.evolution.evolution_strategies import ARS as ARS
from retorno.algorithms.evolution.evolution_strategies import ES as ES
from retorno.algorithms.imitation.behaviour_cloning import BehaviourCloning as BehaviourCloning
from retorno.algorithms.imitation.behaviour_cloning import sft as sft
from retorno.algorithms.imitation.cql import CQL as CQL
from retorno.algorithms.imitation.dagger import DAgger as DAgger
from retorno.algorithms.imitation.decision_transformer import DecisionTransformer as DecisionTransformer
from retorno.algorithms.imitation.iql import IQL as IQL
from retorno.algorithms.imitation.td3_bc import TD3BC as TD3BC
from retorno.algorithms.planning.dyna import DynaQ as DynaQ
from retorno.algorithms.planning.model_based import PSRL as PSRL
from retorno.algorithms.planning.model_based import CertaintyEquivalence as CertaintyEquivalence
from retorno.algorithms.planning.model_based import RMax as RMax
from retorno.algorithms.planning.prioritised_sweeping import PrioritisedSweeping as PrioritisedSweeping
from retorno.algorithms.planning.rollout import Rollout as Rollout
from retorno.algorithms.planning.uct import UCT as UCT
from retorno.algorithms.policy_gradient.expert_iteration import ExpertIteration as ExpertIteration
from retorno.algorithms.policy_gradient.grpo import GRPO as GRPO
from retorno.algorithms.policy_gradient.reinforce import REINFORCE as REINFORCE
from retorno.algorithms.policy_gradient.rloo import RLOO as RLOO
from retorno.algorithms.policy_gradient.trpo import TRPO as TRPO
from retorno.algorithms.prediction.batch import BatchMonteCarlo as BatchMonteCarlo
from retorno.algorithms.prediction.batch import BatchTD as BatchTD
from retorno.algorithms.prediction.emphatic_td import EmphaticTD as EmphaticTD
from retorno.algorithms.prediction.gradient_td import GTD2 as GTD2
from retorno.algorithms.prediction.gradient_td import TDC as TDC
from retorno.algorithms.prediction.lstd import LSTD as LSTD
from retorno.algorithms.prediction.monte_carlo_prediction import LambdaReturn as LambdaReturn
from retorno.algorithms.prediction.monte_carlo_prediction import MonteCarloPrediction as MonteCarloPrediction
from retorno.algorithms.prediction.monte_carlo_prediction import Weighing as Weighing
from retorno.algorithms.prediction.td import TD as TD
from retorno.algorithms.prediction.td_lambda import TDLambda as TDLambda
from retorno.algorithms.prediction.td_lambda import TrueOnlineTD as TrueOnlineTD
from retorno.algorithms.preferences.dpo import DPO as DPO
from retorno.algorithms.preferences.dpo import Preference as Preference
from retorno.algorithms.preferences.reward_model import Likelihood as Likelihood
from retorno.algorithms.preferences.reward_model import RewardModel as RewardModel
from retorno.algorithms.self_play.alpha_zero import AlphaZero as AlphaZero
from retorno.algorithms.self_play.mu_zero import MuZero as MuZero
from retorno.algorithms.tabular.average_reward import DifferentialSARSA as DifferentialSARSA
from retorno.algorithms.tabular.average_reward import RLearning as RLearning
from retorno.algorithms.tabular.double_q_learning import DoubleQLearning as DoubleQLearning
from retorno.algorithms.tabular.monte_carlo import MonteCarloControl as MonteCarloControl
from retorno.algorithms.tabular.monte_carlo import MonteCarloES as MonteCarloES
from retorno.algorithms.tabular.monte_carlo import OffPolicyMonteCarlo as OffPolicyMonteCarlo
from retorno.algorithms.tabular.q_learning import QLearning as QLearning
from retorno.algorithms.tabular.q_sigma import NStepSARSA as NStepSARSA
from retorno.algorithms.tabular.q_sigma import QSigma as QSigma
from retorno.algorithms.tabular.q_sigma import TreeBackup as TreeBackup
from retorno.algorithms.tabular.sarsa import SARSA as SARSA
from retorno.algorithms.tabular.sarsa import ExpectedSARSA as ExpectedSARSA
from retorno.algorithms.tabular.sarsa_lambda import QLambda as QLambda
from retorno.algorithms.tabular.sarsa_lambda import SARSALambda as SARSALambda
from retorno.algorithms.values.bootstrapped_dqn import BootstrappedDQN as BootstrappedDQN
from retorno.algorithms.values.dqn import C51 as C51
from retorno.algorithms.values.dqn import DQN as DQN
from retorno.algorithms.values.dqn import IQN as IQN
from retorno.algorithms.values.dqn import QRDQN as QRDQN
from retorno.algorithms.values.dqn import R2D2 as R2D2
from retorno.algorithms.values.dqn import Rainbow as Rainbow
from retorno.algorithms.values.pqn import PQN as PQN
from retorno.core.registry import Registry
from retorno.ops.traces import Trace as Trace

ALGORITHMS = Registry(
    made
    for made in list(vars().values())
    if getattr(made, "__module__", "").startswith(f"{__name__}.") and (isfunction(made) or hasattr(made, "update"))
)
"""Every algorithm, and every preset of one (a function), by the name that the command line gives it."""

BANDITS = ALGORITHMS.group("bandits")
"""Algorithms that look no further than the next reward: each observation is a bandit."""

register = ALGORITHMS.register
