"""Human feedback on behaviour: short stretches of it, which of them is better, and a reward that says so everywhere."""

from retorno.preferences.demonstrations import ranked_demonstrations
from retorno.preferences.judges import JUDGES, FunctionJudge, Judge, People, TrueReward
from retorno.preferences.learnt_reward import Centre, LearntReward, Preferences
from retorno.preferences.novelty import StateEntropy
from retorno.preferences.queries import QUERIES, Disagreement, InformationGain, Queries, Random
from retorno.preferences.segments import Compared

__all__ = [
    "JUDGES",
    "QUERIES",
    "Centre",
    "Compared",
    "Disagreement",
    "FunctionJudge",
    "InformationGain",
    "Judge",
    "LearntReward",
    "People",
    "Preferences",
    "Queries",
    "Random",
    "StateEntropy",
    "TrueReward",
    "ranked_demonstrations",
]
