"""One file per algorithm: a frozen dataclass of hyperparameters with pure methods."""

from retorno.algorithms.dqn import DQN
from retorno.algorithms.dyna import DynaQ
from retorno.algorithms.model_based import PSRL, CertaintyEquivalence, RMax
from retorno.algorithms.ppo import PPO
from retorno.algorithms.prioritised_sweeping import PrioritisedSweeping
from retorno.algorithms.q_learning import QLearning
from retorno.algorithms.reinforce import REINFORCE
from retorno.algorithms.sarsa import SARSA

ALGORITHMS = {
    "q_learning": QLearning,
    "sarsa": SARSA,
    "dyna_q": DynaQ,
    "prioritised_sweeping": PrioritisedSweeping,
    "certainty_equivalence": CertaintyEquivalence,
    "rmax": RMax,
    "psrl": PSRL,
    "dqn": DQN,
    "reinforce": REINFORCE,
    "ppo": PPO,
}
"""Every algorithm by the name that the command line gives it."""

__all__ = [
    "ALGORITHMS",
    "DQN",
    "PPO",
    "PSRL",
    "REINFORCE",
    "SARSA",
    "CertaintyEquivalence",
    "DynaQ",
    "PrioritisedSweeping",
    "QLearning",
    "RMax",
]
