"""Who is judged where: a policy, one that was loaded, a run or its folder; a world or its name."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from gymnasium import spaces

from retorno.core.environment import World
from retorno.core.policy import Policy
from retorno.core.spaces import in_short
from retorno.environments.registry import WorldName, as_world
from retorno.run.actor import Actor, load_all


@runtime_checkable
class Trained(Protocol):
    """A run: it has a policy for each seed, and a world."""

    @property
    def policies(self) -> Sequence[Policy]: ...
    @property
    def world(self) -> World: ...


Learnt = Policy | Actor | Trained | str | Path
"""What can be evaluated: a policy, one that was loaded, a run, or the folder of one."""


def read(learnt: Any) -> list[Any]:
    """What a run's folder holds, for each seed what `load` gives; anything else by itself."""
    return list(load_all(learnt)) if isinstance(learnt, str | Path) else [learnt]


def policies_of(learnt: Any) -> list[Policy]:
    """The policies of what was learnt, one for each seed.

    Raises:
        ValueError: when it is nothing that was learnt.

    Args:
        learnt: a policy, a run, or what `load` gives.

    >>> from retorno.environments.registry import native
    >>> from retorno.policies import Uniform
    >>> world = native("student")
    >>> len(policies_of(Uniform().build(world.observation_space, world.action_space)))
    1
    """
    match learnt:
        case Policy():
            return [learnt]
        case Actor():
            return [learnt.policy]
        case Trained():
            if getattr(learnt, "step", None) == 0:
                told = "it begins with: `train` lives while it is iterated, as by run.run_to_end()"
                warnings.warn(f"{learnt!r} has taken no step, and what is judged is what {told}", stacklevel=3)
            return list(learnt.policies)
    raise ValueError(
        f"{learnt!r} is nothing that was learnt: pass a policy, a run (train(...), iterated to its end), what "
        "load(...) gives, or the folder of a run"
    )


def require_fitting(learnt: Any, world: World) -> None:
    """Refuse a world whose observations or actions are not those that a run, or what was loaded, has learnt with.

    Raises:
        ValueError: with both.

    Args:
        learnt: a policy alone does not know.
        world: where it is to act.
    """
    known = learnt.world if isinstance(learnt, Trained) else learnt if isinstance(learnt, Actor) else None
    if known is None:
        return
    require_same_spaces(known, world)


def require_same_spaces(known: Any, world: World) -> None:
    """Refuse a world that shows or takes other things than were learnt with; boxes may have other bounds.

    Raises:
        ValueError: with both.

    Args:
        known: has the two spaces.
        world: where it is to act.

    >>> require_same_spaces(given_world("student"), given_world("cliff"))
    Traceback (most recent call last):
    ValueError: the observations that this was learnt with are Discrete(5), those of this world are Discrete(38)
    """
    for kind in ("observation_space", "action_space"):
        there, here = getattr(known, kind), getattr(world, kind)
        if not _alike(there, here):
            what = kind.replace("_space", "s")
            raise ValueError(
                f"the {what} that this was learnt with are {in_short(there)}, those of this world are {in_short(here)}"
            )


def _alike(there: Any, here: Any) -> bool:
    """Whether what was learnt with one space can be used with another: the same, but for the bounds of boxes."""
    match there, here:
        case spaces.Box(), spaces.Box():
            return there.shape == here.shape and there.dtype == here.dtype
        case spaces.Dict(), spaces.Dict():
            same = there.spaces.keys() == here.spaces.keys()
            return same and all(_alike(part, here.spaces[name]) for name, part in there.spaces.items())
        case spaces.Tuple(), spaces.Tuple():
            return len(there) == len(here) and all(map(_alike, there, here))
        case spaces.MultiBinary(), spaces.MultiBinary():  # Gymnasium tells MultiBinary(2) from MultiBinary((2,)).
            return there.shape == here.shape
    return bool(there == here)


def given_world(world: Any) -> World:
    """The world that was given: itself, or what `as_world` makes of it.

    Raises:
        ValueError: when something that was learnt stands there, or what is no world.

    Args:
        world: what `as_world` takes.

    >>> given_world("student").action_space
    Discrete(5)
    """
    if isinstance(world, Policy | Actor | Trained):
        raise ValueError("what was learnt comes first, then the world: evaluate(run, world)")
    return as_world(world)


def learnt_and_world(given: Any, world: Any) -> tuple[list[Any], World]:
    """What was learnt, one for each that was given or of each seed in a folder, and the world in which it is to act.

    Raises:
        ValueError: when it is not clear who is to live where.

    Args:
        given: a policy, a run, what `load` gives, or a run's folder; or several of them.
        world: where; None for that of the first.
    """
    named = None if world is None else given_world(world)
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    learnt = [one for each in several for one in read(each)]
    return learnt, world_of(learnt[0]) if named is None else named


def world_of(learnt: Any) -> World:
    """The world in which something was learnt.

    Raises:
        ValueError: when there is no telling.

    Args:
        learnt: a run or what `load` gives knows; a policy does not.
    """
    match learnt:
        case Trained():
            return learnt.world
        case Actor():
            recorded = learnt.world
            if recorded.get("name"):
                return WorldName.recorded(recorded).make()
            raise ValueError(f"the world was made in Python ({recorded.get('description')}): pass it as world=")
    raise ValueError("in which world? A policy does not know: pass it, or its name, as world=")
