"""Every world by its name, and the model of those that have one.

A Gymnasium id that is not listed here is still a world: a hosted one. So is the file of a model
(`retorno.environments.formats`) or of a map (`retorno.environments.grids.ascii_map`), a native one.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retorno.core.mdp import MDP, mdp
from retorno.core.names import as_typed, did_you_mean, near
from retorno.environments.bandits.models import bernoulli_testbed, gaussian_testbed
from retorno.environments.formats import FORMATS, Reading, is_model_file, load
from retorno.environments.games.blackjack import blackjack
from retorno.environments.games.tic_tac_toe import perfect_opponent, tic_tac_toe
from retorno.environments.grids.ascii_map import read as read_map
from retorno.environments.grids.gridworlds import cliff, example_3_5, example_4_1
from retorno.environments.grids.mazes import blocking_maze, dyna_maze, shortcut_maze, windy_gridworld
from retorno.environments.grids.racetrack import RIGHT_TRACK, racetrack
from retorno.environments.own_code import attribute, defined_by_a_named_file, located, require_named, run_file
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
    world: Callable[..., Environment]
    """Makes the native world."""
    model: Callable[..., MDP] | None = None
    """Makes its exact model, where there is one."""
    positions: bool = False
    """Whether it is a game: its model is that of its positions, where these are few enough."""

    def settings(self) -> tuple[set[str], bool]:
        """What the world can be made with, by name; and whether it may be more than these."""
        calls: list[Callable[..., Any]] = [self.world] if self.model is None else [self.world, self.model]
        found = [parameter for call in calls for parameter in _parameters(call)]
        takes = {
            each.name for each in found if each.kind is each.POSITIONAL_OR_KEYWORD or each.kind is each.KEYWORD_ONLY
        }
        # A world that is sampled from its model takes what the model takes.
        return takes, any(each.kind is each.VAR_KEYWORD for each in _parameters(calls[-1]))


def _parameters(call: Callable[..., Any]) -> list[inspect.Parameter]:
    """What a function that may be imported late is yet to be called with."""
    if isinstance(call, _Late):
        call = partial(call.function, *call.arguments)
    return list(inspect.signature(call).parameters.values())


@dataclass(frozen=True)
class _Late:
    """A call of "module:name", imported only then: a model is solved without JAX and Gymnasium."""

    path: str
    arguments: tuple[Any, ...] = ()

    @property
    def function(self) -> Callable[..., Any]:
        module, name = self.path.split(":")
        return getattr(importlib.import_module(f"retorno.environments.{module}"), name)

    def __call__(self, **settings: Any) -> Any:
        return self.function(*self.arguments, **settings)


def _late(path: str, *arguments: Any) -> _Late:
    return _Late(path, arguments)


def _modelled(
    about: str,
    model: Callable[..., MDP],
    limit: int | None,
    noise: Callable[[MDP], Any] | None = None,
) -> Entry:
    """A world sampled from its model; `noise` gives the standard deviation of its rewards, of each pair or of all."""

    def world(max_episode_steps: int | None = limit, **settings: Any) -> Environment:
        made = model(**settings)
        endless = _late("noisy_rewards:noisy", made, noise(made))() if noise else _late("sampled_world:sampled", made)()
        return endless if max_episode_steps is None else _late("wrappers:TimeLimit", endless, max_episode_steps)()

    return Entry(about, world, model)


def _game(about: str, path: str) -> Entry:
    return Entry(about, _late(f"games.{path}"), positions=True)


def _one(model: MDP) -> float:
    return 1.0


def _dark_corridor() -> Environment:
    endless = _late("sampled_world:sampled", short_corridor())()
    return _late("wrappers:TimeLimit", _late("observation_maps:observation_map", endless, [0, 0, 0, 0])(), 1000)()


def _bandits(name: str, limit: int, **usual: float) -> Callable[..., Environment]:
    """A testbed whose every episode is another bandit, of so many pulls."""

    def world(max_episode_steps: int = limit, **settings: Any) -> Environment:
        from retorno.environments.bandits import testbed
        from retorno.environments.wrappers import TimeLimit

        return TimeLimit(getattr(testbed, name)(**usual | settings), max_episode_steps)

    return world


def _changing(maze: Callable[[bool], MDP], at: int) -> Environment:
    return _late("nonstationary:nonstationary", maze(False), maze(True), at)()


def _veiled(name: str, keep: tuple[int, ...], **settings: Any) -> Environment:
    """One of classic control's worlds whose velocities are not shown."""
    from retorno.environments.wrappers import Hidden

    return Hidden(_late(f"control.classic:{name}")(**settings), keep)


def _bits(bits: int) -> Environment:
    from retorno.environments.textbook.bit_flip import BitFlip
    from retorno.environments.wrappers import TimeLimit

    return TimeLimit(BitFlip(bits), bits)


def _minatar(
    game: str,
    sticky: float = 0.1,
    ramping: bool = True,
    all_actions: bool = False,
    max_episode_steps: int | None = 10_000,
) -> Environment:
    """One of MinAtar's games; the original's have no limit, but a ball may fly in circles for ever."""
    from retorno.environments.wrappers import TimeLimit

    made = _late(f"pixels.{game}")(sticky=sticky, ramping=ramping, all_actions=all_actions)
    return made if max_episode_steps is None else TimeLimit(made, max_episode_steps)


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
    "blackjack": _modelled("Sutton & Barto, example 5.1: as Blackjack-v1, its states numbered", blackjack, None),
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
    "FrozenLake-v1": _modelled("a slippery lake, 4×4", _late("textbook.toy_text:frozen_lake_table"), 100),
    "FrozenLake8x8-v1": _modelled("a slippery lake, 8×8", _late("textbook.toy_text:frozen_lake_table", "8x8"), 200),
    "CliffWalking-v1": _modelled(
        "a walk along a cliff; cut after 10,000 steps, Gymnasium's never is",
        _late("textbook.toy_text:cliff_walking_table"),
        10_000,
    ),
    "CliffWalkingSlippery-v1": _modelled(
        "the same on slippery ground", _late("textbook.toy_text:cliff_walking_table", True), 10_000
    ),
    "Blackjack-v1": Entry("hit or stick against the dealer", _late("games.blackjack_world:Blackjack")),
    "Taxi-v4": _modelled("fetch and deliver a passenger", _late("textbook.toy_text:taxi_table"), 200),
    "CartPole-v1": Entry("balance a pole on a cart", _late("control.classic:cart_pole")),
    "CartPoleNoVel-v1": Entry("the same with the velocities hidden", partial(_veiled, "cart_pole", (0, 2))),
    "MountainCar-v0": Entry("swing a weak car up a hill", _late("control.classic:mountain_car")),
    "MountainCarContinuous-v0": Entry(
        "the same with a continuous force", _late("control.classic:mountain_car_continuous")
    ),
    "MountainCarNoVel-v0": Entry("the car with its velocity hidden", partial(_veiled, "mountain_car", (0,))),
    "MountainCarContinuousNoVel-v0": Entry(
        "the same with a continuous force", partial(_veiled, "mountain_car_continuous", (0,))
    ),
    "Acrobot-v1": Entry("swing a two-link arm up", _late("control.classic:acrobot")),
    "Pendulum-v1": Entry("swing a pendulum up and hold it", _late("control.classic:pendulum")),
    "PendulumNoVel-v1": Entry("the same with the velocity hidden", partial(_veiled, "pendulum", (0, 1))),
    "bit_flip": Entry("Andrychowicz et al. 2017: flip ten bits to the wanted ones", partial(_bits, 10)),
    "tic_tac_toe_for_two": _game(
        "tic-tac-toe, both sides: whoever moves next sees the board as their own", "tic_tac_toe_for_two:TicTacToe"
    ),
    "connect_four": _game("four in a row; the first player wins (Allis 1988)", "connect_four:ConnectFour"),
    "gomoku": _game("five in a row on 15×15", "gomoku:Gomoku"),
    "othello": _game("turn the other's discs, 8×8", "othello:Othello"),
    "hex": _game("join two sides of an 11×11 board (Nash 1952)", "hex:Hex"),
    "breakthrough": _game("bring a piece to the other side, 8×8", "breakthrough:Breakthrough"),
    "go": _game("Go on 9×9: area scoring, positional superko, komi", "go:Go"),
    "pig": _game("a race with a die: roll on, or hold", "pig:Pig"),
    "2048": _game("push tiles together, alone against chance", "twenty48:Twenty48"),
    **{
        f"minatar/{name}": Entry(f"Young & Tian 2019: {about}, 10×10 cells", partial(_minatar, f"{name}:{kind}"))
        for name, kind, about in (
            ("asterix", "Asterix", "gold among enemies"),
            ("breakout", "Breakout", "a ball and bricks"),
            ("freeway", "Freeway", "a road to be crossed"),
            ("seaquest", "Seaquest", "divers and submarines"),
            ("space_invaders", "SpaceInvaders", "aliens that come down"),
        )
    },
    "recall": Entry("name the cue that was shown some steps ago: needs memory", _late("text.recall:Recall")),
    "tokens": Entry("write a hidden pattern, then end the text", _late("text.tokens:Tokens"), _token_model),
}
"""Native worlds. Names with a version are Gymnasium's, which they match step for step; CliffWalking alone is cut as
well, where Gymnasium's goes on for ever: a greedy policy that goes in circles would never be evaluated
(max_episode_steps=None leaves the limit out)."""


PGX = "pgx/"
"""How the names of pgx's games begin: `environments/games/pgx.py`."""
BSUITE = "bsuite/"
"""How the names of the behaviour suite's experiments begin: `environments/hosted/bsuite.py`."""
FILE_LIMIT = 1000
"""Steps after which an episode in a model of one's own is cut: it may have no end of its own."""
ASKED_OF_FILES = tuple(each.name for each in dataclasses.fields(Reading))
"""What may be asked of a model's file beside its name."""
MAP = ".txt"
"""How the files of maps end."""
_GYMNASIUM_ID = re.compile(r"(?:.*/)?[\w.-]+-v\d+")


@dataclass(frozen=True)
class WorldName:
    """A world by its name, and what it is made with: all that a run records of it."""

    name: str
    hosted: bool | None = None
    """Whether it is Gymnasium's; None takes the native one where there is one."""
    parallel: bool | int = False
    """As of `gymnasium`."""
    wrappers: tuple[str, ...] = ()
    """As of `gymnasium`."""
    num_envs: int | None = None
    """As of `gymnasium`."""
    native: bool = False
    """As of `gymnasium`: an id's own vector environment."""
    info_keywords: tuple[str, ...] = ()
    """As of `gymnasium`."""
    settings: dict[str, Any] = field(default_factory=dict, hash=False)
    """What the world itself is made with."""

    @classmethod
    def recorded(cls, given: Mapping[str, Any]) -> WorldName:
        """What `as_json` gave.

        Raises:
            OwnCodeError: when it stands in a file that was not named in this process.
        """
        known = {each.name: given[each.name] for each in dataclasses.fields(cls) if each.name in given}
        name = _required(given["name"])
        own = partial(require_named, what="wrapper")
        wrappers = tuple(_of_wrapper(each, own) for each in known.get("wrappers", ()))
        settings = dict(known.get("settings", {}))
        if isinstance(inner := settings.get("world"), str):
            settings["world"] = _required(inner)
        asked = tuple(known.get("info_keywords", ()))
        return cls(**{**known, "name": name, "wrappers": wrappers, "info_keywords": asked, "settings": settings})

    @classmethod
    def of(cls, world: Any) -> WorldName | None:
        """The name by which a world can be made again; None where it has none."""
        match world:
            case WorldName():
                return world
            case str():
                return cls(world)
        if isinstance(named := getattr(world, "named", None), WorldName):
            return named
        source, wrappers = getattr(world, "source", None), getattr(world, "wrappers", ())
        if not isinstance(source, str) or not all(isinstance(each, str) for each in wrappers):
            return None
        try:
            json.dumps(world.kwargs, allow_nan=False)
        except (TypeError, ValueError):
            return None
        given = {name: getattr(world, name) for name in ("parallel", "num_envs", "native", "info_keywords")}
        return cls(source, True, wrappers=tuple(wrappers), settings=dict(world.kwargs), **given)

    @property
    def of_texts(self) -> bool:
        """Whether it is one of texts, for language models."""
        return self.name.startswith("retorno.language:")

    def as_json(self) -> dict[str, Any]:
        """For `config.json`: whatever differs from the defaults. A file is told by its whole path."""
        told: dict[str, Any] = {"name": self.name, "hosted": self.hosted}
        for each in dataclasses.fields(self)[2:]:
            value = getattr(self, each.name)
            if value:
                told[each.name] = [*value] if isinstance(value, tuple) else value
        if self.wrappers:
            told["wrappers"] = [_of_wrapper(each, _whole) for each in self.wrappers]
        if ":" in self.name:
            told["name"] = _whole(self.name)
        elif is_file(self.name):
            told["name"] = str(Path(self.name).resolve())
        return told

    def make(self) -> World:
        """The world."""
        given = ("parallel", "wrappers", "num_envs", "native", "info_keywords")
        more = {each: getattr(self, each) for each in given}
        return make(self.name, self.hosted, **{k: x for k, x in more.items() if x}, **self.settings)

    def model(self) -> MDP | None:
        """The exact model of the world, where it has one."""
        if self.wrappers:
            return None
        if ":" in self.name:
            made = None if _GYMNASIUM_ID.fullmatch(located(self.name)[2]) else attribute(self.name)
            made = made(**self.settings) if inspect.isfunction(made) else made
            return mdp(made) if isinstance(made, dict) else made if isinstance(made, MDP) else None
        if is_file(self.name):
            return model(self.name, **{key: x for key, x in self.settings.items() if key in ASKED_OF_FILES})
        entry = WORLDS.get(self.name)
        settings = {key: x for key, x in self.settings.items() if key not in ("max_episode_steps", "limit")}
        if entry is None or entry.model is None or _strange(entry, settings):
            return None
        return entry.model(**settings)


def _required(name: str) -> str:
    """A world's name as a run recorded it, of code of one's own that may be run."""
    return require_named(name) if ":" in name and not _GYMNASIUM_ID.fullmatch(located(name)[2]) else name


def _whole(name: str) -> str:
    """FILE.py:NAME or MODULE:NAME by the file's whole path, where it stands in one."""
    file, _, inside = located(name)
    return name if file is None else f"{file}:{inside}"


def _of_wrapper(told: str, change: Callable[[str], str]) -> str:
    """A wrapper as it is told, "shop.py:Discounted(share=0.5)", with the name of one's own code changed."""
    name, bracket, inside = told.partition("(")
    return f"{change(name) if ':' in name else name}{bracket}{inside}"


def make(name: str, hosted: bool | None = None, **settings: Any) -> World:
    """The world of a name: native where there is one, unless `hosted`.

    Args:
        name: as `retorno list worlds` shows it; a Gymnasium id; the file of a model or of a map; or what code of your
            own defines, FILE.py:NAME or MODULE:NAME: a class or function that makes an environment, a model, a world.
        hosted: whether it is Gymnasium's; None takes the native one where there is one.
        **settings: what the world is made with; of a model's file how it is read, as for `load`; and for a hosted one
            `parallel`, `wrappers`, `info_keywords` and `num_envs` as for `gymnasium`.

    Raises:
        UnknownNameError: when neither retorno nor Gymnasium knows the name, or it is asked for in a
            form that it does not have.
        OwnCodeError: when code of one's own is not there, or fails.
        ModelError: when a file does not hold a model.
        WorldError: when the world cannot be made with these settings.

    >>> make("cliff").action_space
    Discrete(4)
    >>> make("random_walk", states=7).observation_space
    Discrete(9)
    """
    if ":" in name:
        return _own(name, hosted, settings)
    if is_file(name):
        if hosted:
            raise UnknownNameError(f"the model in {name} is a native world: leave the choice open")
        asked = {key: settings.pop(key) for key in ASKED_OF_FILES if key in settings}
        return as_world(model(name, **asked), **settings)
    if name.startswith(PGX):
        if settings or hosted:
            raise UnknownNameError(f"{name} is a native world that pgx makes, without settings: got {_told(settings)}")
        return _late("games.pgx:PgxGame", name.removeprefix(PGX))()
    if name.startswith(BSUITE):
        if hosted is False:
            raise UnknownNameError(f"{name} is a hosted world: leave the choice open")
        return _late("hosted.bsuite:world", name.removeprefix(BSUITE))(**settings)
    if name in WORLDS and not hosted:
        entry = WORLDS[name]
        if "max_episode_steps" in settings and "limit" in entry.settings()[0]:
            settings = {"limit" if key == "max_episode_steps" else key: x for key, x in settings.items()}
        strange = _strange(entry, settings)
        if not strange:
            try:
                return entry.world(**settings)
            except TypeError as error:
                raise UnknownNameError(f"{name} cannot be made with {_told(settings)}: {error}") from error
        if hosted is False or not _GYMNASIUM_ID.fullmatch(name):
            takes = sorted(entry.settings()[0])
            raise UnknownNameError(
                f"the native world {name} takes no {strange[0]!r}{did_you_mean(strange[0], takes)}; it takes "
                f"{', '.join(takes) or 'nothing'}"
            )
    if hosted is False:
        raise UnknownNameError(
            f"no native world {name!r}{did_you_mean(name, WORLDS)}; "
            "leave the choice open to have it hosted by Gymnasium"
        )
    if Path(name).exists():
        _refuse_path(name)

    if not _GYMNASIUM_ID.fullmatch(name):
        import gymnasium

        if name not in gymnasium.registry and not defined_by_a_named_file(name):
            close = " or ".join([*_late("hosted.atari:games_like", name)(), *near(name, WORLDS)][:3])
            hint = f"; did you mean {close}? `retorno list worlds`" if close else ": `retorno list worlds`"
            raise UnknownNameError(f"there is no world {name!r}{hint} shows all")
    return _late("hosted.gymnasium:gymnasium", name)(**settings)


def _strange(entry: Entry, settings: Mapping[str, Any]) -> list[str]:
    """The settings that a native world does not take."""
    takes, more = entry.settings()
    hosted = {"parallel", "wrappers", "num_envs", "native", "info_keywords"}
    return [key for key in settings if key not in takes and (key in hosted or not more)]


def _told(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in settings.items()) or "no settings"


def _own(name: str, hosted: bool | None, settings: dict[str, Any]) -> World:
    """The world that FILE.py:NAME or MODULE:NAME stands for."""
    file, _, inside = located(name)
    if _GYMNASIUM_ID.fullmatch(inside):
        if file is None:
            return _late("hosted.gymnasium:gymnasium", name)(**settings)
        run_file(file, "world")
        return _late("hosted.gymnasium:gymnasium", inside)(**settings)
    made = as_world(attribute(name), **settings)
    if hosted is not None and hosted == is_native(made):
        raise UnknownNameError(f"{name} is a {'native' if hosted else 'hosted'} world: leave the choice open")
    return made


def is_native(world: Any) -> bool:
    from retorno.core.environment import Environment

    return isinstance(world, Environment)


def _makes_native(kind: Any) -> bool:
    from retorno.core.environment import Environment

    return isinstance(kind, type) and issubclass(kind, Environment)


def as_world(given: Any, hosted: bool | None = None, **settings: Any) -> World:
    """What was given as a world, as one: whatever it plainly means.

    Args:
        given: a world or its name; a model, or a dictionary that describes one, which is sampled, each episode cut
            after 1,000 steps; a Gymnasium environment; a class, or a function, that makes one of these.
        hosted: of a name, as for `make`.
        **settings: what a class or function is called with.

    Raises:
        ValueError: when it is none of these; and as `make`.

    >>> as_world({"a": {"go": [(1.0, "end", 2.0)]}}).observation_space
    Discrete(2)
    """
    import gymnasium
    from gymnasium.envs.registration import EnvSpec

    from retorno.core.environment import Environment

    match given:
        case str():
            return make(given, hosted, **settings)
        case WorldName():
            return given.make()
        case gymnasium.Env() | gymnasium.vector.VectorEnv():
            return _late("hosted.gymnasium:gymnasium", given)(**settings)
        case EnvSpec():
            return _late("hosted.gymnasium:gymnasium", given.id)(**{**given.kwargs, **settings})
        case type() if issubclass(given, gymnasium.Env):
            return _late("hosted.gymnasium:gymnasium", given)(**settings)
        case dict():
            return as_world(mdp(given), **settings)
        case MDP():
            limit = settings.pop("max_episode_steps", FILE_LIMIT)
            _refuse(settings, "a model")
            return _late("wrappers:TimeLimit", _late("sampled_world:sampled", given)(), limit)()
        case _ if isinstance(given, Environment) or (hasattr(given, "open") and not isinstance(given, type)):
            _refuse(settings, "a world that is made already")
            return given
    if callable(given):
        return _called(given, settings)
    raise ValueError(
        f"{_short(given)} is no world: pass a name (`retorno list worlds`, or a Gymnasium id), a model, a Gymnasium "
        "environment, or a retorno Environment"
    )


def _called(make: Callable[..., Any], settings: dict[str, Any]) -> World:
    """The world that a class or function makes."""
    import gymnasium

    hosted = {key: settings.pop(key) for key in ("parallel", "wrappers", "num_envs") if key in settings}
    name = getattr(make, "__name__", type(make).__name__)
    try:
        inspect.signature(make).bind(**settings)
    except TypeError as error:
        raise ValueError(f"{name} cannot be called with {_told(settings)}: {error}") from None
    made = make(**settings)
    if isinstance(made, gymnasium.Env):
        made.close()
        return _late("hosted.gymnasium:gymnasium", make)(**hosted, **settings)
    if callable(made) and not isinstance(made, type):
        raise ValueError(f"{name}() gives another function, {_short(made)}: pass what makes a world")
    return as_world(made, **hosted)


def _refuse(settings: Mapping[str, Any], what: str) -> None:
    if settings:
        raise ValueError(f"{what} takes no settings, got {_told(settings)}: these are for what is made by its name")


def _short(value: Any) -> str:
    return f"{repr(value)[:80]} (a {type(value).__name__})"


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


def model(name: str, **settings: Any) -> MDP:
    """The exact model of a name, or of a model's or map's file.

    Raises:
        UnknownNameError: when the world has none.
        ModelError: when a file does not hold a model, or a game has too many positions.

    Args:
        name: as `retorno list` shows it, or a file.
        **settings: of a name what its model is made with; of a model's file how it is read, as for `load`.

    >>> model("student").state_names
    ('Facebook', 'C1', 'C2', 'C3', 'Sleep')
    >>> model("FrozenLake-v1", map_name="8x8").num_states
    64
    """
    if is_model_file(name):
        return load(name, **settings)
    if is_file(name):
        _refuse(settings, f"the map {name}")
        return read_map(Path(name))
    modelled = {n: entry.model for n, entry in WORLDS.items() if entry.model is not None}
    if name not in modelled:
        _refuse_path(name)
        if name in WORLDS and WORLDS[name].positions:
            return as_model(make(name, **settings))
        if _names_world(name):
            raise UnknownNameError(
                f"{name} has no exact model, it can only be lived in, as in `retorno train ppo {name}`; "
                "`retorno list worlds` marks those that have one"
            )
        raise UnknownNameError(
            f"no exact model of {name!r}{did_you_mean(name, modelled)}; models: {', '.join(modelled)}, "
            f"or a file that ends in {', '.join(FORMATS)}, or {MAP} (a map)"
        )
    takes = [each.name for each in _parameters(modelled[name])]
    for key in settings:
        if key not in takes:
            known = f"{did_you_mean(key, takes)}; it takes {', '.join(takes) or 'nothing'}"
            raise UnknownNameError(f"the model of {name} takes no {key!r}{known}")
    return modelled[name](**settings)


def _names_world(name: str) -> bool:
    """Whether a name is made as those of worlds are, and no file's."""
    return name in WORLDS or name.startswith(PGX) or _GYMNASIUM_ID.fullmatch(name) is not None


def _refuse_path(name: str) -> None:
    """Raise where a name is that of a file or folder in which there is no model: a list of worlds would not help."""
    path = Path(name)
    if _names_world(name):
        return
    if path.is_dir():
        learnt = f"what was learnt in it: retorno evaluate {as_typed(name)}"
        hint = learnt if (path / "config.json").exists() else "name a file"
        raise UnknownNameError(f"{name} is a folder, not a world or a model; {hint}")
    if path.exists() or os.sep in name:
        what = "is neither a model's nor a map's" if path.exists() else "is not there"
        raise UnknownNameError(f"the file {name} {what}: these end in {', '.join(FORMATS)}, or {MAP} (a map)")


def as_model(given: Any) -> MDP:
    """What was given as a model, as one: whatever it plainly means.

    Args:
        given: a model; its name, or its file; FILE.py:NAME, MODULE:NAME; a dictionary that describes one; a Gymnasium
            environment that carries its own (FrozenLake, CliffWalking, Taxi); a native world that can be entered in
            each of its positions, as a game; a class or function that makes one of these.

    Raises:
        ValueError: when it is none of these; and as `model`.

    >>> as_model(student).num_states, as_model("student").num_states
    (5, 5)
    """
    match given:
        case MDP():
            return given
        case WorldName():
            if (made := given.model()) is not None:
                return made
        case str() if ":" in given:
            return as_model(attribute(given, "model"))
        case str():
            return model(given)
        case dict():
            return mdp(given)
        case _ if is_native(given):
            return _late("positions:positions", given)().model
        case _ if hasattr(getattr(given, "unwrapped", None), "P"):
            return _late("textbook.toy_text:toy_text", given)()
        case _ if inspect.isfunction(given) or isinstance(given, partial) or _makes_native(given):
            return as_model(given())
    raise ValueError(
        f"{_short(given)} has no model: pass a model (retorno.mdp, retorno.environments.load), its name "
        "(`retorno list worlds` marks those that have one) or a dictionary of transitions"
    )


def is_file(name: str) -> bool:
    """Whether a name ends as the files of models and maps do.

    Args:
        name: of a world or a file.

    >>> is_file("maze.txt"), is_file("cliff")
    (True, False)
    """
    return is_model_file(name) or Path(name).suffix.lower() == MAP
