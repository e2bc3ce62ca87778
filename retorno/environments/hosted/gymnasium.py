"""Gymnasium environments as a world: any id, function, environment or vector environment.

An episode's final observation is a row (next-step autoreset, Gymnasium's own default), and each
episode is seeded by itself, so a run can be restored from each episode's seed and actions.
"""

from __future__ import annotations

import ast
import importlib
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from retorno.core.environment import HostedEnvironments, episode_seed
from retorno.core.errors import WorldError
from retorno.core.names import did_you_mean, near
from retorno.environments.hosted.atari import PREFIX, RAW, atari, choices, games_like
from retorno.environments.hosted.atari_threads import Consoles
from retorno.environments.hosted.discounts import two_players
from retorno.environments.hosted.external_vector_environments import OPAQUE, Vector
from retorno.environments.hosted.legality import told_by_a_step
from retorno.environments.hosted.mujoco import (
    SMALL,
    Bodies,
    draw_plainly,
    graphics_card,
    made_here,
    make_body,
    together,
)
from retorno.environments.hosted.repeatability import why_not_repeated
from retorno.environments.hosted.subprocess_environments import Processes
from retorno.environments.hosted.sync_environments import Keepers
from retorno.environments.own_code import attribute, defined_by_a_named_file

Maker = Callable[..., gym.Env]
Wrap = Callable[[gym.Env], gym.Env]


@dataclass(frozen=True)
class GymnasiumWorld:
    """What to open as a hosted world; `gymnasium(...)` makes it.

    Where `source` is an id, all fields are JSON.
    """

    source: str | Maker | tuple[Maker, ...] | gym.Env | VectorEnv
    """An id, a function that makes one environment, one function for each, or something that is open already."""
    num_envs: int | None = None
    """How many environments there are, where that is fixed."""
    parallel: bool | int = False
    """Whether they live in processes of their own: one for each core, or so many."""
    native: bool = False
    """Whether an id's own vector environment is used (`vector_entry_point`)."""
    kwargs: dict[str, Any] = field(default_factory=dict, hash=False)
    """What the environment is made with."""
    wrappers: tuple[str | Wrap, ...] = ()
    """What each environment is wrapped in, the innermost first."""
    info_keywords: tuple[str, ...] = ()
    """Which numbers in the info of an episode's last step are told of it, beside its return."""

    @property
    def name(self) -> str:
        """The id, or the name of the function or class that makes it."""
        if isinstance(self.source, str):
            return self.source
        if isinstance(self.source, gym.Env | VectorEnv) and self.source.spec is not None:
            return self.source.spec.id
        maker = self.source[0] if isinstance(self.source, tuple) else self.source
        maker = getattr(maker, "func", maker)
        return getattr(maker, "__name__", type(maker).__name__)

    @property
    def observation_space(self) -> spaces.Space[Any]:
        return self._described[0]

    @property
    def action_space(self) -> spaces.Space[Any]:
        """As the environment has it."""
        return self._described[1]

    @property
    def two_players(self) -> bool:
        """Whether an opponent moves on some rows: what `metadata["two_players"]` says."""
        return self._described[2]

    @property
    def why_not_resumable(self) -> str | None:
        """Why a run here could not be resumed exactly; None where it can."""
        if self.native:
            return (
                f"{self.name}'s own vector environment keeps its state to itself, so a run cannot be resumed exactly: "
                "leave out native=True for that"
            )
        if isinstance(self.source, VectorEnv):
            return OPAQUE.format(self.name)
        spec = find(self.source) if isinstance(self.source, str) else getattr(self.source, "spec", None)
        if spec is not None and spec.nondeterministic:
            return f"{self.name} says that it is not deterministic, so a run cannot be resumed exactly"
        return None

    @property
    def restorable(self) -> bool:
        """Whether a run can be resumed exactly."""
        return self.why_not_resumable is None

    def open(self, num_envs: int, seed: int, group: int = 1) -> HostedEnvironments:
        """Make and seed the environments. What is open already is borrowed, by one user at a time.

        Episodes of `group` neighbours that have the same number begin from the same seed, but for environments that
        seed themselves, as a vector environment's do.

        Raises:
            WorldError: when they cannot be made, or are not as many as are asked for.
        """
        if self.num_envs not in (None, num_envs):
            raise WorldError(f"{self.name} has {self.num_envs} environments, {num_envs} were asked for")
        if num_envs < 1:
            raise WorldError(f"num_envs must be positive, got {num_envs}")
        asked = self.info_keywords
        match self.source:
            case VectorEnv() as lent:
                return _borrow(lent, lambda: Vector(lent, seed, self.name, False, asked))
            case gym.Env() as lent:
                return _borrow(
                    lent, lambda: Keepers([lent], [0], seed, self.name, False, told_by_a_step(lent), 1, asked)
                )
        if self.native:
            return Vector(self._make_vector(num_envs), seed, self.name, True, asked)
        late = self._described[3]
        if self.parallel:
            processes = None if self.parallel is True else int(self.parallel)
            return Processes(self._makers(num_envs), seed, self.name, processes, late, group, asked)
        envs = [make() for make in self._makers(num_envs)]
        kind = Bodies if together(envs) and not asked else Keepers  # Of bodies together no info is made.
        return kind(envs, range(num_envs), seed, self.name, True, late, group, asked)

    def drawn(self) -> GymnasiumWorld:
        """The same, of environments that draw themselves, by their `render()`: where there is no graphics card, what
        takes it long is left out.
        """
        body = isinstance(self.source, str) and made_here(find(self.source))
        plainly = body and not graphics_card()
        return replace(
            self,
            kwargs={**(SMALL if plainly else {}), **self.kwargs, "render_mode": "rgb_array"},
            wrappers=(*([draw_plainly] if plainly else []), *self.wrappers),
        )

    def drawing(self) -> gym.Env:
        """One environment that draws itself.

        Raises:
            WorldError: when it cannot be made so.
        """
        return self.drawn()._makers(1)[0]()

    def why_not_repeated(self, seed: int) -> str | None:
        """What differed when a stretch of an episode was lived again, in an environment made for that; None if nothing.

        What is open already is not touched: of it nothing is known.
        """
        if isinstance(self.source, gym.Env | VectorEnv) or self.native:
            return None
        env = self._makers(1)[0]()
        try:
            return why_not_repeated(env, int(episode_seed(seed, 0, 0)), self._described[3])
        except Exception:  # It will be said where the run meets it.
            return None
        finally:
            env.close()

    @cached_property
    def _described(self) -> tuple[spaces.Space[Any], spaces.Space[Any], bool, str]:
        """Both spaces, whether two play, and what is told of legal actions with steps alone.

        An environment that is made for that takes a step; one that is open already does when it is lent.
        """
        if isinstance(self.source, gym.Env | VectorEnv):
            return *_told_by(self.source), ""
        made = self._make_vector(1) if self.native else self._makers(1)[0]()
        told = _told_by(made)
        late = "" if isinstance(made, VectorEnv) else told_by_a_step(made)
        made.close()
        return *told, late

    def _makers(self, num_envs: int) -> list[Callable[[], gym.Env]]:
        if isinstance(self.source, tuple):
            return list(self.source)
        make: Any = self.source
        if isinstance(self.source, str):
            # Our own checks replace Gymnasium's. The spec, not the id: a fresh process has other registrations.
            spec = find(self.source)
            shown = self.source.startswith(PREFIX)
            make = (
                partial(atari, self.source)
                if shown
                else partial(make_body if made_here(spec) else gym.make, spec, disable_env_checker=True)
            )
        wraps = tuple(wrapper(each) if isinstance(each, str) else each for each in self.wrappers)
        return [partial(_make, self.name, make, self.kwargs, wraps)] * num_envs

    def _make_vector(self, num_envs: int) -> VectorEnv:
        spec = find(str(self.source))
        if not self.name.startswith(PREFIX):
            make = partial(gym.make_vec, spec, num_envs, vectorization_mode="vector_entry_point")
            return _make(self.name, make, self.kwargs)
        return _make(self.name, partial(Consoles, self.name, num_envs), self.kwargs)


def gymnasium(
    source: str | Maker | gym.Env | VectorEnv,
    num_envs: int | None = None,
    parallel: bool | int = False,
    native: bool = False,
    wrappers: Sequence[str | Wrap] = (),
    info_keywords: Sequence[str] = (),
    **kwargs: Any,
) -> GymnasiumWorld:
    """Any Gymnasium environment as a hosted world.

    Each environment is seeded episode by episode, from (run's seed, environment, episode). One after
    another in this process they are stepped by a plain loop; with `parallel` they are spread over
    processes, one for each core. Both return the same rows.

    Args:
        source: an id ("LunarLander-v3"), a function that makes one environment, an environment, or
            a vector environment. Of a SyncVectorEnv or AsyncVectorEnv the functions that it was made
            from are taken, and make new environments (it stays yours to close): rows are exact, whatever
            its autoreset mode. Any other vector environment is driven through its own step, and is
            exact but for SAME_STEP (see `vectors.Vector`).
        num_envs: how many; None leaves it to the algorithm.
        parallel: whether environments live in processes of their own: one for each core, or so many (environments
            that wait gain from more processes than cores).
        native: whether an id's own vector environment is used; of Atari's games the emulator's, which has threads.
        wrappers: what each environment is wrapped in, the innermost first: functions of an environment, or by name, as
            `wrapper` reads them.
        info_keywords: numbers in the info of an episode's last step, as `info["crashed"]`, by their names: their means
            stand in the run's figures as `info/crashed`, and with intervals in evaluations.
        **kwargs: what an id or a function is called with, for instance max_episode_steps; for a game of Atari ("ALE/…")
            `preset` and its choices (see `atari`).

    Raises:
        WorldError: when there is no such id (near names are given), or it needs a package that is missing.

    >>> gymnasium("CartPole-v1", num_envs=4).action_space
    Discrete(2)
    """
    asked = (info_keywords,) if isinstance(info_keywords, str) else tuple(info_keywords)
    if isinstance(source, str):
        spec = find(source)
        if native and spec.vector_entry_point is None:
            raise WorldError(f"{source} has no vector environment of its own: leave out native=True")
        if native and wrappers:
            raise WorldError(f"{source}'s own vector environment takes no wrappers: leave one of them out")
        if source.startswith(PREFIX):
            try:
                kwargs = choices(**kwargs)
            except ValueError as error:
                raise WorldError(f"{source}: {error}") from error
            if native and kwargs.get("preset") == RAW:
                raise WorldError(f"{source}'s own vector environment prepares what it shows: leave out preset={RAW!r}")
        return GymnasiumWorld(source, num_envs, parallel, native, kwargs, _checked(wrappers), asked)
    if native:
        raise WorldError("native=True asks for an id's own vector environment: give an id, or the vector environment")
    if isinstance(source, gym.Env | VectorEnv) and (kwargs or wrappers):
        given = ", ".join(kwargs) or "wrappers"
        raise WorldError(f"{given}: an environment that is made already takes no arguments, and wraps itself")
    if isinstance(source, VectorEnv):
        if num_envs not in (None, source.num_envs):
            raise WorldError(f"the vector environment has {source.num_envs} environments, num_envs is {num_envs}")
        # Exactly these classes: a wrapper or a worker of the user's own would be lost with the functions alone.
        plain = type(source) is SyncVectorEnv or (type(source) is AsyncVectorEnv and source.worker is None)
        if not plain or getattr(source, "observation_mode", None) != "same":
            return GymnasiumWorld(source, source.num_envs, info_keywords=asked)
        makers = tuple(getattr(source, "env_fns", ()))
        parallel = parallel or (type(source) is AsyncVectorEnv and source.num_envs)
        return GymnasiumWorld(makers, source.num_envs, parallel, info_keywords=asked)
    if isinstance(source, gym.Env):
        if num_envs not in (None, 1) or parallel:
            raise WorldError(
                "one environment was given, for more (or in parallel) give its id or a function that makes it"
            )
        return GymnasiumWorld(source, 1, info_keywords=asked)
    if not callable(source):
        raise WorldError(f"an id, a function, an environment or a vector environment is expected, got {source!r}")
    return GymnasiumWorld(source, num_envs, parallel, False, kwargs, _checked(wrappers), asked)


def _checked(wrappers: Sequence[str | Wrap]) -> tuple[str | Wrap, ...]:
    """What environments are wrapped in; a name that nothing answers to is refused now."""
    for each in (wrappers := (wrappers,) if isinstance(wrappers, str) else tuple(wrappers)):
        if isinstance(each, str):
            wrapper(each)
        elif not callable(each):
            raise WorldError(f"a wrapper is a function of an environment, or its name, got {each!r}")
    return tuple(wrappers)


def wrapper(told: str) -> Wrap:
    """What wraps an environment, by its name and arguments: of `gymnasium.wrappers`, or code of one's own.

    Raises:
        WorldError: when there is none of that name, or it cannot be read.
        OwnCodeError: when code of one's own is not there, or fails.

    Args:
        told: as "FlattenObservation", "TimeLimit(200)", "shop.py:Discounted(share=0.5)".

    >>> wrapper("TimeLimit(max_episode_steps=7)")(gym.make("CartPole-v1")).spec.max_episode_steps
    7
    """
    name, bracket, inside = told.partition("(")
    try:
        call = ast.parse(f"f({inside}" if bracket else "f()", mode="eval").body
        assert isinstance(call, ast.Call)
        given = [ast.literal_eval(each) for each in call.args]
        named = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (SyntaxError, ValueError, AssertionError) as error:
        raise WorldError(f"the wrapper {told!r} cannot be read: write it as in TimeLimit(200)") from error
    if ":" in name:
        kind = attribute(name, "wrapper")
    else:
        kind = getattr(gym.wrappers, name, None)
        if kind is None:
            raise WorldError(f"gymnasium.wrappers has no {name!r}{did_you_mean(name, gym.wrappers.__all__)}")
    return lambda env: kind(env, *given, **named)


def find(source: str) -> EnvSpec:
    """The registration of an id, "module:Id" and "ALE/…" included.

    Raises:
        WorldError: when there is none; near names are given.

    Args:
        source: the id.

    >>> find("CartPole-v1").max_episode_steps
    500
    """
    module, _, name = source.rpartition(":")
    if source.startswith("ALE/"):
        module = "ale_py"
    try:
        if module:
            importlib.import_module(module)
        return gym.spec(name)
    except ImportError as error:
        hint = ": pip install 'retorno[atari]'" if module == "ale_py" else ""
        raise WorldError(f"{source} needs the module {module}, which cannot be imported ({error}){hint}") from error
    except gym.error.Error as error:
        own = defined_by_a_named_file(source)
        close = [own] if own else _near(name)
        hint = f"did you mean {' or '.join(close)}?" if close else "gymnasium.pprint_registry() lists all"
        hint += "" if module or own else f" What another package registers is called PACKAGE:{name}"
        raise WorldError(f"there is no Gymnasium environment {source!r}: {hint}") from error


def _told_by(env: gym.Env | VectorEnv) -> tuple[spaces.Space[Any], spaces.Space[Any], bool]:
    if isinstance(env, VectorEnv):
        return env.single_observation_space, env.single_action_space, two_players(env)
    return env.observation_space, env.action_space, two_players(env)


def _near(name: str) -> list[str]:
    """Up to four ids like a name: a game of Atari, or the same one in other versions first, the newest before."""
    stem = name.lower().split("-v")[0]
    versions = [known for known in gym.registry if known.lower().split("-v")[0] == stem]
    return list(dict.fromkeys([*games_like(name), *reversed(versions), *near(name, gym.registry.keys() - {name}, 4)]))[
        :4
    ]


def _make(name: str, make: Callable[..., Any], kwargs: dict[str, Any], wrappers: Sequence[Wrap] = ()) -> Any:
    try:
        made = make(**kwargs)
        for wrap in wrappers:
            made = wrap(made)
        return made
    except (gym.error.DependencyNotInstalled, ImportError) as error:
        extras = {"box2d": "box2d", "imageio": "mujoco", "mujoco": "mujoco", "opencv": "atari"}
        known = next((extra for word, extra in extras.items() if word in str(error).lower()), None)
        hint = str(error) if known is None else f"pip install 'retorno[{known}]'"
        raise WorldError(f"{name} needs a package that is missing: {hint}") from error
    except Exception as error:
        told = ", ".join(f"{key}={value!r}" for key, value in kwargs.items()) or "no arguments"
        raise WorldError(f"{name} could not be made with {told}: {type(error).__name__}: {error}") from error


_BORROWERS: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()


def _borrow(lent: Any, borrow: Callable[[], Keepers | Vector]) -> Keepers | Vector:
    held = _BORROWERS.get(lent)
    holder = held() if held else None
    if holder is not None and not holder.closed:
        raise WorldError(
            f"{holder.name} is in use already: close the environments that were opened from it, or give an id or a "
            "function, from which any number can be made"
        )
    borrower = borrow()
    _BORROWERS[lent] = weakref.ref(borrower)
    return borrower
