"""Worlds: textbook models, sampled models, classic control, memory, tokens; and Gymnasium's.

Each is imported when it is first used: a model alone needs neither JAX nor Gymnasium.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retorno.environments.classic_control import acrobot as acrobot
    from retorno.environments.classic_control import cart_pole as cart_pole
    from retorno.environments.classic_control import mountain_car as mountain_car
    from retorno.environments.classic_control import mountain_car_continuous as mountain_car_continuous
    from retorno.environments.classic_control import pendulum as pendulum
    from retorno.environments.counted import counted as counted
    from retorno.environments.counted import recorded as recorded
    from retorno.environments.explored import explored as explored
    from retorno.environments.formats import load as load
    from retorno.environments.formats import save as save
    from retorno.environments.garnet import garnet as garnet
    from retorno.environments.grids import cliff as cliff
    from retorno.environments.grids import example_3_5 as example_3_5
    from retorno.environments.grids import example_4_1 as example_4_1
    from retorno.environments.grids import frozen_lake as frozen_lake
    from retorno.environments.grids import grid as grid
    from retorno.environments.recall import Recall as Recall
    from retorno.environments.sampled import sampled as sampled
    from retorno.environments.summary import summarise as summarise
    from retorno.environments.textbook import random_walk as random_walk
    from retorno.environments.textbook import student as student
    from retorno.environments.textbook import student_process as student_process
    from retorno.environments.tokens import Tokens as Tokens
    from retorno.environments.toy_text import toy_text as toy_text
    from retorno.environments.wrappers import Hidden as Hidden
    from retorno.environments.wrappers import TimeLimit as TimeLimit

_HOMES = {
    "Hidden": "wrappers",
    "Recall": "recall",
    "TimeLimit": "wrappers",
    "Tokens": "tokens",
    "acrobot": "classic_control",
    "cart_pole": "classic_control",
    "cliff": "grids",
    "counted": "counted",
    "example_3_5": "grids",
    "example_4_1": "grids",
    "explored": "explored",
    "frozen_lake": "grids",
    "garnet": "garnet",
    "grid": "grids",
    "load": "formats",
    "mountain_car": "classic_control",
    "mountain_car_continuous": "classic_control",
    "pendulum": "classic_control",
    "random_walk": "textbook",
    "recorded": "counted",
    "sampled": "sampled",
    "save": "formats",
    "student": "textbook",
    "student_process": "textbook",
    "summarise": "summary",
    "toy_text": "toy_text",
}

__all__ = [
    "Hidden",
    "Recall",
    "TimeLimit",
    "Tokens",
    "acrobot",
    "cart_pole",
    "cliff",
    "counted",
    "example_3_5",
    "example_4_1",
    "explored",
    "frozen_lake",
    "garnet",
    "grid",
    "load",
    "mountain_car",
    "mountain_car_continuous",
    "pendulum",
    "random_walk",
    "recorded",
    "sampled",
    "save",
    "student",
    "student_process",
    "summarise",
    "toy_text",
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
