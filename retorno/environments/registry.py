"""Every world by its name, and the model of those that have one.

A Gymnasium id that is not listed here is still a world: a hosted one. So is the file of a model
(`retorno.environments.formats`) or of a map (`retorno.environments.grids.ascii_map`), a native one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retorno.core.mdp import MDP
from retorno.core.names import did_you_mean
from retorno.environments.bandits.models import bernoulli_testbed, gaussian_testbed
from retorno.environments.formats import FORMATS, is_model_file, load
from retorno.environments.games.blackjack import blackjack
from retorno.environments.games.tic_tac_toe import perfect_opponent, tic_tac_toe
from retorno.environments.grids.ascii_map import read as read_map
from retorno.environments.grids.gridworlds import cliff, example_3_5, example_4_1
from retorno.environments.grids.mazes import blocking_maze, dyna_maze, shortcut_maze, windy_gridworld
from retorno.environments.grids.racetrack import RIGHT_TRACK, racetrack
from retorno.environments.textbook.access_control import access_control
from retorno.environments.textbook.car_rental import car_rental
from retorno.environments.textbook.chains import branch_noise, jumping_walk, maximisation_bias, short_corridor
from retorno.environments.textbook.counterexamples import baird, tsitsiklis_van_roy
from retorno.environments.textbook.exploration import chest_noise, deep_sea, river_swim
from retorno.environments.textbook.gambler import gambler
from retorno.environments.textbook.garnet import garnet
from retorno.environments.textbook.lecture import random_walk, student, student_process

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


def _modelled(
    about: str,
    model: Callable[[], MDP],
    limit: int | None,
    noise: Callable[[MDP], Any] | None = None,
) -> Entry:
    """A world sampled from its model; `noise` gives the standard deviation of its rewards, of each pair or of all."""

    def world() -> Environment:
        made = model()
        endless = _late("noisy_rewards:noisy", made, noise(made))() if noise else _late("sampled_world:sampled", made)()
        return endless if limit is None else _late("wrappers:TimeLimit", endless, limit)()

    return Entry(about, world, model)


def _one(model: MDP) -> float:
    return 1.0


def _dark_corridor() -> Environment:
    endless = _late("sampled_world:sampled", short_corridor())()
    return _late("wrappers:TimeLimit", _late("observation_maps:observation_map", endless, [0, 0, 0, 0])(), 1000)()


def _bandits(name: str, limit: int, **settings: float) -> Callable[[], Environment]:
    """A testbed whose every episode is another bandit, of so many pulls."""

    def world() -> Environment:
        from retorno.environments.bandits import testbed
        from retorno.environments.wrappers import TimeLimit

        return TimeLimit(getattr(testbed, name)(**settings), limit)

    return world


def _changing(maze: Callable[[bool], MDP], at: int) -> Environment:
    return _late("nonstationary:nonstationary", maze(False), maze(True), at)()


def _veiled_cart_pole() -> Environment:
    from retorno.environments.control.classic import cart_pole
    from retorno.environments.wrappers import Hidden

    return Hidden(cart_pole(), keep=(0, 2))


def _bits(bits: int) -> Environment:
    from retorno.environments.textbook.bit_flip import BitFlip
    from retorno.environments.wrappers import TimeLimit

    return TimeLimit(BitFlip(bits), bits)


def _token_model() -> MDP:
    from retorno.environments.text.tokens import Tokens

    return Tokens().model()


WORLDS: dict[str, Entry] = {
    "student": _modelled("Silver's student: study, sleep, pub", student, 1000),
    "student_process": _modelled("Silver's student without choices", student_process, 1000),
    "random_walk": _modelled("Sutton & Barto, example 6.2: five states", random_walk, 10_000),
    "random_walk_19": _modelled("Sutton & Barto, example 7.1: nineteen states", partial(random_walk, 19), 10_000),
    "random_walk_1000": _modelled("Sutton & Barto, example 9.1: a thousand states, with jumps", jumping_walk, 10_000),
    "example_3_5": _modelled("Sutton & Barto, example 3.5: a gridworld that never ends", example_3_5, 1000),
    "example_4_1": _modelled("Sutton & Barto, example 4.1: a 4×4 gridworld", example_4_1, 1000),
    "cliff": _modelled("Sutton & Barto, example 6.6: a walk along a cliff", cliff, 10_000),
    "windy": _modelled("Sutton & Barto, example 6.5: a gridworld with a crosswind", windy_gridworld, 10_000),
    "windy_king": _modelled(
        "Sutton & Barto, exercise 6.9: the king's moves in it", partial(windy_gridworld, 8), 10_000
    ),
    "windy_gusts": _modelled("Sutton & Barto, exercise 6.10: with gusts", partial(windy_gridworld, 8, 2 / 3), 10_000),
    "dyna_maze": _modelled("Sutton & Barto, example 8.1: the maze of Dyna", dyna_maze, 10_000),
    "dyna_maze_4": _modelled(
        "Sutton & Barto, example 8.4: the same with 16 cells for each", partial(dyna_maze, 4), 10_000
    ),
    "blocking_maze": _modelled("Sutton & Barto, example 8.2: a wall open at the right", blocking_maze, 10_000),
    "blocking_maze_after": _modelled("the same, open at the left instead", partial(blocking_maze, True), 10_000),
    "shortcut_maze": _modelled("Sutton & Barto, example 8.3: a wall open at the left", shortcut_maze, 10_000),
    "shortcut_maze_after": _modelled("the same, open at the right as well", partial(shortcut_maze, True), 10_000),
    "blocking_maze_change": Entry("from the one to the other after 1,000", partial(_changing, blocking_maze, 1000)),
    "shortcut_maze_change": Entry("a shortcut opens after 3,000 steps", partial(_changing, shortcut_maze, 3000)),
    "racetrack": _modelled("Sutton & Barto, exercise 5.12: the left track of figure 5.5", racetrack, 1000),
    "racetrack_right": _modelled("Sutton & Barto, exercise 5.12: the right one", partial(racetrack, RIGHT_TRACK), 1000),
    "car_rental": _modelled("Sutton & Barto, example 4.2: Jack moves cars over night", car_rental, 1000),
    "car_rental_4_7": _modelled(
        "Sutton & Barto, exercise 4.7: with a free move and parking", partial(car_rental, 1, 4.0), 1000
    ),
    "gambler": _modelled("Sutton & Barto, example 4.3: stakes on a coin that shows heads with .4", gambler, 10_000),
    "blackjack": _modelled("Sutton & Barto, example 5.1: Gymnasium's Blackjack-v1", blackjack, None),
    "tic_tac_toe": _modelled("Sutton & Barto, section 1.5: against a random opponent", tic_tac_toe, None),
    "tic_tac_toe_perfect": _modelled("the same against a perfect one", partial(tic_tac_toe, perfect_opponent), None),
    "maximisation_bias": _modelled(
        "Sutton & Barto, example 6.7: a branch with noisy rewards", maximisation_bias, None, branch_noise
    ),
    "access_control": _modelled(
        "Sutton & Barto, example 10.2: which customers to serve, for ever", access_control, 1000
    ),
    "short_corridor": _modelled("Sutton & Barto, example 13.1: one state is the wrong way round", short_corridor, 1000),
    "short_corridor_dark": Entry("the same where all states look alike", _dark_corridor),
    "baird": _modelled("Sutton & Barto, figure 11.1: Baird's counterexample", baird, 1000),
    "tsitsiklis_van_roy": _modelled("Sutton & Barto, example 11.1: their counterexample", tsitsiklis_van_roy, 1000),
    "river_swim": _modelled("Strehl & Littman 2008: against the current", river_swim, 1000),
    "deep_sea": _modelled("Osband et al. 2019: ten rows, one way to the treasure; as bsuite's", deep_sea, None),
    "deep_sea_stochastic": _modelled(
        "bsuite's: going right may fail, and the chests' rewards are noisy",
        partial(deep_sea, slippery=True, mapping_seed=0),
        None,
        chest_noise,
    ),
    "ten_armed": _modelled(
        "Sutton & Barto, section 2.3: a bandit of the testbed", partial(gaussian_testbed, 0), 1000, _one
    ),
    "ten_armed_bernoulli": _modelled("a bandit whose arms pay 1 or 0", partial(bernoulli_testbed, 0), 1000),
    "testbed": Entry("Sutton & Barto, section 2.3: each episode is another bandit", _bandits("Testbed", 1000)),
    "testbed_walk": Entry(
        "Sutton & Barto, exercise 2.5: arms that change", _bandits("Testbed", 10_000, spread=0.0, walk=0.01)
    ),
    "testbed_bernoulli": Entry(
        "each episode is another bandit whose arms pay 1 or 0", _bandits("BernoulliTestbed", 1000)
    ),
    "testbed_alternating": Entry(
        "Zimmert & Seldin 2021: arms in good times and bad times", _bandits("AlternatingBandit", 1000)
    ),
    "contextual_bandit": Entry("Li et al. 2010: arms that pay by what is seen", _bandits("ContextualBandit", 1000)),
    "continuous_bandit": Entry("each real number is an arm, one is best", _bandits("ContinuousBandit", 1000)),
    "garnet": _modelled("a random model: 20 states, 4 actions, 3 outcomes", partial(garnet, 20, 4, 3, 0, 0.1), 10_000),
    "FrozenLake-v1": _modelled("a slippery lake, 4×4", _late("textbook.toy_text:toy_text", "FrozenLake-v1"), 100),
    "FrozenLake8x8-v1": _modelled("a slippery lake, 8×8", _late("textbook.toy_text:toy_text", "FrozenLake8x8-v1"), 200),
    "CliffWalking-v1": _modelled(
        "a walk along a cliff", _late("textbook.toy_text:toy_text", "CliffWalking-v1"), 10_000
    ),
    "Taxi-v4": _modelled("fetch and deliver a passenger", _late("textbook.toy_text:toy_text", "Taxi-v4"), 200),
    "CartPole-v1": Entry("balance a pole on a cart", _late("control.classic:cart_pole")),
    "CartPoleNoVel-v1": Entry("the same with the velocities hidden", _veiled_cart_pole),
    "MountainCar-v0": Entry("swing a weak car up a hill", _late("control.classic:mountain_car")),
    "MountainCarContinuous-v0": Entry(
        "the same with a continuous force", _late("control.classic:mountain_car_continuous")
    ),
    "Acrobot-v1": Entry("swing a two-link arm up", _late("control.classic:acrobot")),
    "Pendulum-v1": Entry("swing a pendulum up and hold it", _late("control.classic:pendulum")),
    "bit_flip": Entry("Andrychowicz et al. 2017: flip ten bits to the wanted ones", partial(_bits, 10)),
    "tic_tac_toe_for_two": Entry(
        "tic-tac-toe, both sides: whoever moves next sees the board as their own",
        _late("games.tic_tac_toe_for_two:TicTacToe"),
    ),
    "recall": Entry("name the cue that was shown some steps ago: needs memory", _late("text.recall:Recall")),
    "tokens": Entry("write a hidden pattern, then end the text", _late("text.tokens:Tokens"), _token_model),
}
"""Native worlds. Names with a version are Gymnasium's, which they match step for step."""


FILE_LIMIT = 1000
"""Steps after which an episode in a model from a file is cut: it may have no end of its own."""
MAP = ".txt"
"""How the files of maps end."""


def make(name: str, hosted: bool | None = None) -> World:
    """The world of a name, or of a model's or map's file: native where there is one, unless `hosted`.

    Raises:
        UnknownNameError: when neither retorno nor Gymnasium knows the name, or it is asked for in a
            form that it does not have.
        ModelError: when a file does not hold a model.

    Args:
        name: as `retorno list` shows it, a Gymnasium id, or a file.
        hosted: whether it is Gymnasium's; None takes the native one where there is one.

    >>> make("cliff").action_space
    Discrete(4)
    """
    if is_file(name):
        if hosted:
            raise UnknownNameError(f"the model in {name} is a native world: leave the choice open")
        return _late("wrappers:TimeLimit", _late("sampled_world:sampled", model(name))(), FILE_LIMIT)()
    if name in WORLDS and not hosted:
        return WORLDS[name].world()
    if hosted is False:
        raise UnknownNameError(
            f"no native world {name!r}{did_you_mean(name, WORLDS)}; "
            "leave the choice open to have it hosted by Gymnasium"
        )
    return _late("hosted.gymnasium:gymnasium", name)()


def native(name: str) -> Environment:
    """The native world of a registered name.

    Raises:
        UnknownNameError: when there is none.

    Args:
        name: as `retorno list` shows it.

    >>> native("tic_tac_toe_for_two").two_players
    True
    """
    if name not in WORLDS:
        raise UnknownNameError(f"no native world {name!r}{did_you_mean(name, WORLDS)}")
    return WORLDS[name].world()


def model(name: str) -> MDP:
    """The exact model of a name, or of a model's or map's file.

    Raises:
        UnknownNameError: when the world has none.
        ModelError: when a file does not hold a model.

    Args:
        name: as `retorno list` shows it, or a file.

    >>> model("student").state_names
    ('Facebook', 'C1', 'C2', 'C3', 'Sleep')
    """
    if is_file(name):
        return load(name) if is_model_file(name) else read_map(Path(name))
    modelled = {n: entry.model for n, entry in WORLDS.items() if entry.model is not None}
    if name not in modelled:
        raise UnknownNameError(
            f"no exact model of {name!r}{did_you_mean(name, modelled)}; models: {', '.join(modelled)}, "
            f"or a file that ends in {', '.join(FORMATS)}, or {MAP} (a map)"
        )
    return modelled[name]()


def is_file(name: str) -> bool:
    """Whether a name ends as the files of models and maps do.

    Args:
        name: of a world or a file.

    >>> is_file("maze.txt"), is_file("cliff")
    (True, False)
    """
    return is_model_file(name) or Path(name).suffix.lower() == MAP
