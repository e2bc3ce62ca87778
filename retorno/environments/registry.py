"""Every world by its name, and the model of those that have one.

A Gymnasium id that is not listed here is still a world: a hosted one. So is the file of a model
(`retorno.environments.formats`), a native one.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from retorno.core.mdp import MDP
from retorno.environments.formats import FORMATS, is_model_file, load
from retorno.environments.garnet import garnet
from retorno.environments.grids import cliff, example_3_5, example_4_1
from retorno.environments.textbook import random_walk, student, student_process

if TYPE_CHECKING:
    from retorno.core.environment import Environment, World


class UnknownNameError(ValueError):
    """A name that nothing answers to: the message has near ones."""


@dataclass(frozen=True)
class Entry:
    """What a name stands for."""

    about: str
    world: Callable[[], Environment]
    """Makes the native world."""
    model: Callable[[], MDP] | None = None
    """Makes its exact model, where there is one."""


def _late(path: str, *arguments: Any) -> Callable[[], Any]:
    """A call of "module:name", imported only then: a model is solved without JAX and Gymnasium."""
    module, name = path.split(":")

    def call() -> Any:
        return getattr(importlib.import_module(f"retorno.environments.{module}"), name)(*arguments)

    return call


def _modelled(about: str, model: Callable[[], MDP], limit: int | None) -> Entry:
    def world() -> Environment:
        endless = _late("sampled:sampled", model())()
        return endless if limit is None else _late("wrappers:TimeLimit", endless, limit)()

    return Entry(about, world, model)


def _veiled_cart_pole() -> Environment:
    from retorno.environments.classic_control import cart_pole
    from retorno.environments.wrappers import Hidden

    return Hidden(cart_pole(), keep=(0, 2))


def _token_model() -> MDP:
    from retorno.environments.tokens import Tokens

    return Tokens().model()


WORLDS: dict[str, Entry] = {
    "student": _modelled("Silver's student: study, sleep, pub", student, 1000),
    "student_process": _modelled("Silver's student without choices", student_process, 1000),
    "random_walk": _modelled("Sutton & Barto, example 6.2: five states", random_walk, 10_000),
    "random_walk_19": _modelled("Sutton & Barto, example 7.1: nineteen states", partial(random_walk, 19), 10_000),
    "example_3_5": _modelled("Sutton & Barto, example 3.5: a gridworld that never ends", example_3_5, 1000),
    "example_4_1": _modelled("Sutton & Barto, example 4.1: a 4×4 gridworld", example_4_1, 1000),
    "cliff": _modelled("Sutton & Barto, example 6.6: a walk along a cliff", cliff, 10_000),
    "garnet": _modelled("a random model: 20 states, 4 actions, 3 outcomes", partial(garnet, 20, 4, 3, 0, 0.1), 10_000),
    "FrozenLake-v1": _modelled("a slippery lake, 4×4", _late("toy_text:toy_text", "FrozenLake-v1"), 100),
    "FrozenLake8x8-v1": _modelled("a slippery lake, 8×8", _late("toy_text:toy_text", "FrozenLake8x8-v1"), 200),
    "CliffWalking-v1": _modelled("a walk along a cliff", _late("toy_text:toy_text", "CliffWalking-v1"), 10_000),
    "Taxi-v4": _modelled("fetch and deliver a passenger", _late("toy_text:toy_text", "Taxi-v4"), 200),
    "CartPole-v1": Entry("balance a pole on a cart", _late("classic_control:cart_pole")),
    "CartPoleNoVel-v1": Entry("the same with the velocities hidden", _veiled_cart_pole),
    "MountainCar-v0": Entry("swing a weak car up a hill", _late("classic_control:mountain_car")),
    "MountainCarContinuous-v0": Entry(
        "the same with a continuous force", _late("classic_control:mountain_car_continuous")
    ),
    "Acrobot-v1": Entry("swing a two-link arm up", _late("classic_control:acrobot")),
    "Pendulum-v1": Entry("swing a pendulum up and hold it", _late("classic_control:pendulum")),
    "recall": Entry("name the cue that was shown some steps ago: needs memory", _late("recall:Recall")),
    "tokens": Entry("write a hidden pattern, then end the text", _late("tokens:Tokens"), _token_model),
}
"""Native worlds. Names with a version are Gymnasium's, which they match step for step."""


FILE_LIMIT = 1000
"""Steps after which an episode in a model from a file is cut: it may have no end of its own."""


def make(name: str, hosted: bool | None = None) -> World:
    """The world of a name, or of a model's file: native where there is one, unless `hosted`.

    Raises:
        UnknownNameError: when neither retorno nor Gymnasium knows the name, or it is asked for in a
            form that it does not have.
        ModelError: when a file does not hold a model.
    """
    if is_model_file(name):
        if hosted:
            raise UnknownNameError(f"the model in {name} is a native world: leave the choice open")
        return _late("wrappers:TimeLimit", _late("sampled:sampled", load(name))(), FILE_LIMIT)()
    if name in WORLDS and not hosted:
        return WORLDS[name].world()
    if hosted is False:
        raise UnknownNameError(
            f"no native world {name!r}{near(name, WORLDS)}; leave the choice open to have it hosted by Gymnasium"
        )
    return _late("gymnasium:gymnasium", name)()


def model(name: str) -> MDP:
    """The exact model of a name, or of a model's file.

    Raises:
        UnknownNameError: when the world has none.
        ModelError: when a file does not hold a model.
    """
    if is_model_file(name):
        return load(name)
    modelled = {n: entry.model for n, entry in WORLDS.items() if entry.model is not None}
    if name not in modelled:
        raise UnknownNameError(
            f"no exact model of {name!r}{near(name, modelled)}; models: {', '.join(modelled)}, "
            f"or a file that ends in {', '.join(FORMATS)}"
        )
    return modelled[name]()


def near(name: str, names: object) -> str:
    """'; did you mean …?' for a name that is not among `names`."""
    close = difflib.get_close_matches(name, list(names), 3, 0.5)  # type: ignore[call-overload]
    return f"; did you mean {' or '.join(close)}?" if close else ""
