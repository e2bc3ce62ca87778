"""Settings to compare: the values of named hyperparameters, in all their combinations."""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from retorno.core.errors import RetornoError
from retorno.core.names import did_you_mean, meant, named
from retorno.core.policy import Algorithm

MOST_SETTINGS = 10_000


class GridError(RetornoError):
    """Settings that cannot be compared: the message says what was given and what there is."""


class UnknownHyperparameter(GridError):
    """A name that no hyperparameter has."""

    def __init__(self, algorithms: Mapping[str, Any], name: str) -> None:
        known = list(dict.fromkeys(field for algorithm in algorithms.values() for field in _fields(algorithm)))
        near = did_you_mean(name, known) or f"; there is {', '.join(known)}"
        super().__init__(f"{' and '.join(algorithms)}: no hyperparameter {name!r}{near}")
        self.name, self.known, self.algorithms = name, known, [*algorithms.values()]


@dataclasses.dataclass(frozen=True)
class Setting:
    """One of the things that are compared."""

    name: str
    """Of the algorithm."""
    values: dict[str, Any]
    """Of the hyperparameters that are swept, by their names, where the algorithm has them."""
    algorithm: Algorithm

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{name}={shown(value)}" for name, value in self.values.items())])


def grid(
    algorithms: Mapping[str, Algorithm], over: Mapping[str, Sequence[Any]], parts: Iterable[Mapping[str, Any]] = ()
) -> list[Setting]:
    """Every combination of values for every algorithm. One that lacks a hyperparameter goes without it, as with a part
    that lacks it.

    Args:
        algorithms: by name.
        over: values by the hyperparameter's name: as of the dataclass's field, `exploration.epsilon` or, where one
            part alone has it, `epsilon`; other libraries' names (`lr`, `gamma`) are understood.
        parts: registries, by whose names parts are chosen, as in `{"exploration": ["epsilon", "softmax"]}`.

    Raises:
        GridError: for a name that no algorithm has, for no values, or for the same ones twice.
        ValueError: when an algorithm refuses a value.

    >>> from retorno.algorithms import SARSA, QLearning
    >>> made = grid({"q": QLearning(), "s": SARSA()}, {"epsilon": [0.1, 0.2], "alpha": [0.5]})
    >>> [str(setting) for setting in made[:2]]
    ['q exploration.epsilon=0.1 step_size=0.5', 'q exploration.epsilon=0.2 step_size=0.5']
    """
    held = {name: {key: path(algorithm, key) for key in over} for name, algorithm in algorithms.items()}
    for key, values in over.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise GridError(f"{key}: the values to compare are a list, got {values!r}: for instance {key}=[0.1, 0.2]")
        if not list(values):
            raise GridError(f"{key}: no values to compare; give some, as in {key}=.1,.2")
        if twice := {shown(x) for x in values if [*map(shown, values)].count(shown(x)) > 1}:
            raise GridError(f"{key}: {', '.join(sorted(twice))} is given twice")
        if not any(paths[key] for paths in held.values()):
            raise UnknownHyperparameter(algorithms, key)
    found: dict[tuple[str, str], Setting] = {}
    for name, algorithm in algorithms.items():
        swept = {key: where for key, where in held[name].items() if where}
        for values in itertools.product(*(over[key] for key in swept)):
            taken = dict(zip(swept.values(), values, strict=True))
            made = replaced(algorithm, taken, tuple(parts))
            names = {".".join(where): value for where, value in taken.items()}
            told = {each.strip("_"): value for each, value in names.items() if path(made, each) is not None}
            found.setdefault((name, repr(told)), Setting(name, told, made))
            if len(found) > MOST_SETTINGS:
                raise GridError(f"more than {MOST_SETTINGS:,} combinations: sweep fewer values, or several studies")
    return [*found.values()]


def settled(
    algorithms: Mapping[str, Any], values: Mapping[str, Any], parts: Iterable[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """The algorithms with one value of each hyperparameter. One that lacks a hyperparameter goes without it.

    Parts are chosen first, in whatever order all is said: which other hyperparameters there are depends on them.

    Args:
        algorithms: by name.
        values: by the hyperparameter's name, as for `grid`.
        parts: registries, by whose names parts are chosen.

    Raises:
        UnknownHyperparameter: for a name that no algorithm has, with its parts as they were chosen.
        GridError: for a part that is not registered.
        ValueError: when an algorithm refuses a value.

    >>> from retorno.algorithms import QLearning
    >>> from retorno.policies import EXPLORATIONS
    >>> asked = {"exploration.temperature": 2.0, "exploration": "softmax"}
    >>> settled({"q": QLearning()}, asked, [EXPLORATIONS])["q"].exploration.temperature
    2.0
    """
    made, left, kinds = dict(algorithms), dict(values), tuple(parts)

    def places(key: str) -> dict[str, tuple[str, ...]]:
        return {name: where for name, each in made.items() if (where := path(each, key)) is not None}

    def is_part(key: str) -> bool:
        return any(dataclasses.is_dataclass(at(made[name], where)) for name, where in places(key).items())

    while (key := next(filter(is_part, left), None)) is not None:
        value = left.pop(key)
        made |= {name: replaced(made[name], {where: value}, kinds) for name, where in places(key).items()}
    if strange := [key for key in left if not places(key)]:
        raise UnknownHyperparameter(made, strange[0])
    return {
        name: replaced(each, {where: value for key, value in left.items() if (where := path(each, key))}, kinds)
        for name, each in made.items()
    }


def at(made: Any, place: Sequence[str]) -> Any:
    """What stands at a place in a dataclass of dataclasses.

    Args:
        made: the dataclass.
        place: as `path` gives it.
    """
    for name in place:
        made = getattr(made, name)
    return made


def path(algorithm: Any, name: str) -> tuple[str, ...] | None:
    """Where a hyperparameter lies in an algorithm and its parts; None where it has none of that name.

    Args:
        algorithm: a dataclass of dataclasses.
        name: with or without the part's, in anybody's spelling.

    >>> from retorno.algorithms import PPO, QLearning
    >>> path(QLearning(), "epsilon"), path(PPO(), "lr"), path(PPO(), "optimiser.lr"), path(PPO(), "epsilon")
    (('exploration', 'epsilon'), ('optimiser', 'learning_rate'), ('optimiser', 'learning_rate'), None)
    """
    plain = name.strip().lstrip("-").replace("-", "_")
    head, dot, rest = plain.partition(".")
    own = [field.name for field in dataclasses.fields(algorithm)]
    if dot:
        head = meant(head, own)
        part = getattr(algorithm, head, None) if head in own else None
        inside = path(part, rest) if dataclasses.is_dataclass(part) else None
        return None if inside is None else (head, *inside)
    inner = [(part, field) for part in own for field in _own_fields(getattr(algorithm, part))]
    found = meant(plain, {*own, *(field for _, field in inner)})
    if found in own:
        return (found,)
    lies = [part for part, field in inner if field == found]
    return (lies[0], found) if len(lies) == 1 else None


def replaced(made: Any, values: Mapping[tuple[str, ...], Any], parts: Sequence[Mapping[str, Any]] = ()) -> Any:
    """A dataclass of dataclasses with other values, all of them at once, since one may need another.

    Args:
        made: the dataclass.
        values: by their places, as `path` gives them; what a part that is chosen here has not, it goes without.
        parts: registries, by whose names parts are chosen.

    Raises:
        GridError: for a part that is not registered.
        ValueError: when a dataclass refuses the values.
    """
    changes: dict[str, Any] = {}
    inside: dict[str, dict[tuple[str, ...], Any]] = {}
    for (head, *rest), value in values.items():
        if rest:
            inside.setdefault(head, {})[tuple(rest)] = value
        else:
            changes[head] = _chosen(head, value, getattr(made, head), parts)
    for head, those in inside.items():
        part = changes.get(head, getattr(made, head))
        changes[head] = replaced(part, {at: x for at, x in those.items() if at[0] in _own_fields(part)}, parts)
    return dataclasses.replace(made, **changes)


def _chosen(name: str, value: Any, now: Any, parts: Sequence[Mapping[str, Any]]) -> Any:
    """What a name stands for, where another of the parts or choices stood; any other value itself."""
    if not isinstance(value, str):
        return value
    kinds: Mapping[str, Any] | None
    if isinstance(now, enum.Enum):
        kinds = type(now).__members__
    else:
        kinds = next((kinds for kinds in parts if type(now) in kinds.values()), None)
    if kinds is None:
        raise GridError(f"{name} is {now!r}, and {value!r} is no value of its kind")
    found = named(value, kinds)
    if found not in kinds:
        raise GridError(f"{name}: no {value!r}{did_you_mean(value, kinds)}; there is {', '.join(kinds)}")
    kind: Any = kinds[found]
    return kind if isinstance(now, enum.Enum) else kind()


def shown(value: Any) -> str:
    """A value as people write it.

    >>> shown(0.1), shown(1.0), shown(True), shown((64, 64))
    ('0.1', '1', 'True', '(64, 64)')
    """
    return f"{value:g}" if isinstance(value, float) else str(value)


def _own_fields(part: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(part)] if dataclasses.is_dataclass(part) else []


def _fields(algorithm: Any) -> Iterator[str]:
    for name in _own_fields(algorithm):
        inside = _own_fields(getattr(algorithm, name))
        yield from (f"{name}.{field}" for field in inside) if inside else (name.strip("_"),)
