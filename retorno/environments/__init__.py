"""Worlds: textbook models, maps, sampled models, classic control, memory, tokens; and Gymnasium's.

Each is imported when it is first used: a model alone needs neither JAX nor Gymnasium.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retorno.environments.access_control import access_control as access_control
    from retorno.environments.bandits import bandit as bandit
    from retorno.environments.bandits import bernoulli_bandit as bernoulli_bandit
    from retorno.environments.bandits import bernoulli_testbed as bernoulli_testbed
    from retorno.environments.bandits import gaussian_testbed as gaussian_testbed
    from retorno.environments.blackjack import blackjack as blackjack
    from retorno.environments.car_rental import car_rental as car_rental
    from retorno.environments.chains import jumping_walk as jumping_walk
    from retorno.environments.chains import maximisation_bias as maximisation_bias
    from retorno.environments.chains import short_corridor as short_corridor
    from retorno.environments.classic_control import acrobot as acrobot
    from retorno.environments.classic_control import cart_pole as cart_pole
    from retorno.environments.classic_control import mountain_car as mountain_car
    from retorno.environments.classic_control import mountain_car_continuous as mountain_car_continuous
    from retorno.environments.classic_control import pendulum as pendulum
    from retorno.environments.counted import counted as counted
    from retorno.environments.counted import recorded as recorded
    from retorno.environments.counterexamples import baird as baird
    from retorno.environments.counterexamples import baird_features as baird_features
    from retorno.environments.counterexamples import tsitsiklis_van_roy as tsitsiklis_van_roy
    from retorno.environments.counterexamples import two_state_features as two_state_features
    from retorno.environments.drawn import drawn as drawn
    from retorno.environments.exploration import deep_sea as deep_sea
    from retorno.environments.exploration import river_swim as river_swim
    from retorno.environments.explored import explored as explored
    from retorno.environments.formats import load as load
    from retorno.environments.formats import save as save
    from retorno.environments.gambler import gambler as gambler
    from retorno.environments.garnet import garnet as garnet
    from retorno.environments.grids import cliff as cliff
    from retorno.environments.grids import example_3_5 as example_3_5
    from retorno.environments.grids import example_4_1 as example_4_1
    from retorno.environments.grids import grid as grid
    from retorno.environments.lakes import frozen_lake as frozen_lake
    from retorno.environments.lakes import random_lake as random_lake
    from retorno.environments.mazes import blocking_maze as blocking_maze
    from retorno.environments.mazes import dyna_maze as dyna_maze
    from retorno.environments.mazes import shortcut_maze as shortcut_maze
    from retorno.environments.mazes import windy_gridworld as windy_gridworld
    from retorno.environments.noisy import noisy as noisy
    from retorno.environments.observed import observed as observed
    from retorno.environments.racetrack import racetrack as racetrack
    from retorno.environments.recall import Recall as Recall
    from retorno.environments.sampled import sampled as sampled
    from retorno.environments.summary import summarise as summarise
    from retorno.environments.testbed import AlternatingBandit as AlternatingBandit
    from retorno.environments.testbed import BernoulliTestbed as BernoulliTestbed
    from retorno.environments.testbed import ContextualBandit as ContextualBandit
    from retorno.environments.testbed import ContinuousBandit as ContinuousBandit
    from retorno.environments.testbed import Testbed as Testbed
    from retorno.environments.textbook import random_walk as random_walk
    from retorno.environments.textbook import student as student
    from retorno.environments.textbook import student_process as student_process
    from retorno.environments.tic_tac_toe import tic_tac_toe as tic_tac_toe
    from retorno.environments.tokens import Tokens as Tokens
    from retorno.environments.toy_text import toy_text as toy_text
    from retorno.environments.wrappers import Hidden as Hidden
    from retorno.environments.wrappers import TimeLimit as TimeLimit

_HOMES = {
    "AlternatingBandit": "testbed",
    "BernoulliTestbed": "testbed",
    "ContextualBandit": "testbed",
    "ContinuousBandit": "testbed",
    "Hidden": "wrappers",
    "Recall": "recall",
    "Testbed": "testbed",
    "TimeLimit": "wrappers",
    "Tokens": "tokens",
    "access_control": "access_control",
    "acrobot": "classic_control",
    "baird": "counterexamples",
    "baird_features": "counterexamples",
    "bandit": "bandits",
    "bernoulli_bandit": "bandits",
    "bernoulli_testbed": "bandits",
    "blackjack": "blackjack",
    "blocking_maze": "mazes",
    "car_rental": "car_rental",
    "cart_pole": "classic_control",
    "cliff": "grids",
    "counted": "counted",
    "deep_sea": "exploration",
    "drawn": "drawn",
    "dyna_maze": "mazes",
    "example_3_5": "grids",
    "example_4_1": "grids",
    "explored": "explored",
    "frozen_lake": "lakes",
    "random_lake": "lakes",
    "gambler": "gambler",
    "garnet": "garnet",
    "gaussian_testbed": "bandits",
    "grid": "grids",
    "jumping_walk": "chains",
    "load": "formats",
    "maximisation_bias": "chains",
    "mountain_car": "classic_control",
    "mountain_car_continuous": "classic_control",
    "noisy": "noisy",
    "observed": "observed",
    "pendulum": "classic_control",
    "racetrack": "racetrack",
    "random_walk": "textbook",
    "recorded": "counted",
    "river_swim": "exploration",
    "sampled": "sampled",
    "save": "formats",
    "short_corridor": "chains",
    "shortcut_maze": "mazes",
    "student": "textbook",
    "student_process": "textbook",
    "summarise": "summary",
    "tic_tac_toe": "tic_tac_toe",
    "toy_text": "toy_text",
    "tsitsiklis_van_roy": "counterexamples",
    "two_state_features": "counterexamples",
    "windy_gridworld": "mazes",
}

__all__ = [
    "AlternatingBandit",
    "BernoulliTestbed",
    "ContextualBandit",
    "ContinuousBandit",
    "Hidden",
    "Recall",
    "Testbed",
    "TimeLimit",
    "Tokens",
    "access_control",
    "acrobot",
    "baird",
    "baird_features",
    "bandit",
    "bernoulli_bandit",
    "bernoulli_testbed",
    "blackjack",
    "blocking_maze",
    "car_rental",
    "cart_pole",
    "cliff",
    "counted",
    "deep_sea",
    "drawn",
    "dyna_maze",
    "example_3_5",
    "example_4_1",
    "explored",
    "frozen_lake",
    "gambler",
    "garnet",
    "gaussian_testbed",
    "grid",
    "jumping_walk",
    "load",
    "maximisation_bias",
    "mountain_car",
    "mountain_car_continuous",
    "noisy",
    "observed",
    "pendulum",
    "racetrack",
    "random_lake",
    "random_walk",
    "recorded",
    "river_swim",
    "sampled",
    "save",
    "short_corridor",
    "shortcut_maze",
    "student",
    "student_process",
    "summarise",
    "tic_tac_toe",
    "toy_text",
    "tsitsiklis_van_roy",
    "two_state_features",
    "windy_gridworld",
]


class _Package(ModuleType):
    """Where a name is both a module and what it holds (`sampled`, `garnet`), it means what the module holds."""

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        # The import of a submodule binds its name here.
        shadowing = isinstance(value, ModuleType) and _HOMES.get(name) == name
        super().__setattr__(name, getattr(value, name) if shadowing else value)

    def __dir__(self) -> list[str]:
        return __all__


sys.modules[__name__].__class__ = _Package
