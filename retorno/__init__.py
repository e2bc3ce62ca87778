"""retorno: reinforcement learning with one set of concepts and answers you can check.

    import retorno as rt

    student = rt.environments.student()                      # a model
    print(rt.bellman.solve(student, discount=0.9))           # exact, with bounds
    run = rt.train(rt.PPO(), "CartPole-v1", steps=100_000)   # iterate it for reports
    for report in run: print(report)
    print(rt.evaluate(run.policy, run.world))                # mean and 95% interval

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retorno import bellman as bellman
    from retorno import environments as environments
    from retorno import figures as figures
    from retorno import networks as networks
    from retorno import ops as ops
    from retorno import plots as plots
    from retorno.algorithms import DQN as DQN
    from retorno.algorithms import PPO as PPO
    from retorno.algorithms import REINFORCE as REINFORCE
    from retorno.algorithms import SARSA as SARSA
    from retorno.algorithms import QLearning as QLearning
    from retorno.core.mdp import MDP as MDP
    from retorno.core.mdp import mdp as mdp
    from retorno.core.solution import Solution as Solution
    from retorno.environments.export import to_gymnasium as to_gymnasium
    from retorno.environments.gymnasium import gymnasium as gymnasium
    from retorno.environments.registry import make as make
    from retorno.environments.sampled import sampled as sampled
    from retorno.run.evaluate import Evaluation as Evaluation
    from retorno.run.evaluate import evaluate as evaluate
    from retorno.run.study import study as study
    from retorno.run.train import restore as restore
    from retorno.run.train import resume as resume
    from retorno.run.train import train as train

__version__ = "0.1.0"

_MODULES = {"algorithms", "bellman", "environments", "figures", "networks", "ops", "plots"}
_HOMES = {
    "DQN": "retorno.algorithms",
    "PPO": "retorno.algorithms",
    "REINFORCE": "retorno.algorithms",
    "SARSA": "retorno.algorithms",
    "QLearning": "retorno.algorithms",
    "MDP": "retorno.core.mdp",
    "Solution": "retorno.core.solution",
    "mdp": "retorno.core.mdp",
    "to_gymnasium": "retorno.environments.export",
    "gymnasium": "retorno.environments.gymnasium",
    "make": "retorno.environments.registry",
    "sampled": "retorno.environments.sampled",
    "Evaluation": "retorno.run.evaluate",
    "evaluate": "retorno.run.evaluate",
    "restore": "retorno.run.train",
    "study": "retorno.run.study",
    "resume": "retorno.run.train",
    "train": "retorno.run.train",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"retorno.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'retorno' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_MODULES | set(_HOMES) | {"__version__"})
