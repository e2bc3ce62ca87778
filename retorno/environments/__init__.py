"""Worlds: textbook models, sampled models, classic control, memory, tokens; and Gymnasium's."""

from retorno.environments.classic_control import (
    acrobot,
    cart_pole,
    mountain_car,
    mountain_car_continuous,
    pendulum,
)
from retorno.environments.counted import counted, recorded
from retorno.environments.explored import explored
from retorno.environments.formats import load, save
from retorno.environments.garnet import garnet
from retorno.environments.grids import cliff, example_3_5, example_4_1, frozen_lake, grid
from retorno.environments.recall import Recall
from retorno.environments.sampled import sampled
from retorno.environments.summary import summarise
from retorno.environments.textbook import random_walk, student, student_process
from retorno.environments.tokens import Tokens
from retorno.environments.toy_text import toy_text
from retorno.environments.wrappers import Hidden, TimeLimit

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
