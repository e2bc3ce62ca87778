"""Human feedback on behaviour: short stretches of it, which of two is better, and a reward that says so everywhere."""

from retorno.preferences.judges import JUDGES, FunctionJudge, Judge, People, TrueReward
from retorno.preferences.learnt_reward import LearntReward, Preferences
from retorno.preferences.segments import Pairs

__all__ = ["JUDGES", "FunctionJudge", "Judge", "LearntReward", "Pairs", "People", "Preferences", "TrueReward"]
