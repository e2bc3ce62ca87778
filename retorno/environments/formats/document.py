"""Models written by hand, in JSON or YAML.

```yaml
initial: home                # a state, or a table of states and probabilities; else uniform
states:
  home:
    walk:
      - {to: office, probability: 2/3, reward: -1}
      - {to: home, probability: 1/3}          # rewards are 0 unless said otherwise
    ride: {to: office, reward: -3}            # one outcome needs no list and no probability
  office: {}                 # no actions: the episode ends on the way here
grid: {home: [0, 0], office: [0, 1]}          # row and column on a map, if there is one
map: {rows: "the floor"}     # how the map is read, where its rows and columns are no places (`MapKey`)
labels: {work: [office]}     # the states that carry each label, if there are any
actions: [walk, ride]        # their order, if it matters
```

An outcome may say `terminated: true` (the episode ends on it) or `discount: 0.5` (besides γ, for
decisions that take longer). Names are the text that stands there: in YAML too, `no` is "no" and 1 is "1".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from retorno.core.mdp import MDP, MapKey, ModelError
from retorno.core.names import did_you_mean
from retorno.environments.checked_arrays import uniform
from retorno.environments.formats import map_keys
from retorno.environments.formats.files import lines_to, naming, read_text, write_whole
from retorno.environments.formats.numbers import number, shown
from retorno.environments.formats.reading import USUAL, Loaded, Reading, normalised

SECTIONS = ("initial", "actions", "states", "grid", "map", "labels")
LONGEST_YAML_NAME = 1000
"""YAML takes no more than 1024 characters before a colon."""
OUTCOME = ("to", "probability", "reward", "terminated", "discount")


def read_json(path: Path, how: Reading = USUAL) -> Loaded:
    """Read a model from JSON.

    Raises:
        ModelError: with the file, and the line or the state and action.
        OSError: when it cannot be read.
    """
    with naming(path):
        try:
            tree = json.loads(read_text(path), object_pairs_hook=distinct, parse_constant=float, parse_float=Decimal)
        except json.JSONDecodeError as error:
            raise ModelError(f"line {error.lineno}: {error.msg}") from None
        except ModelError:
            raise
        except RecursionError:
            raise ModelError("nested too deeply") from None
        except ValueError as error:
            raise ModelError(f"not JSON: {error}") from None
        return from_tree(tree, how)


def read_yaml(path: Path, how: Reading = USUAL) -> Loaded:
    """Read a model from YAML, which is only ever taken as lists, tables and text.

    Raises:
        ModelError: with the file, and the line or the state and action.
        OSError: when it cannot be read.
    """
    import yaml

    class Loader(yaml.BaseLoader):
        """No tags, no references (few bytes could stand for very many), no name twice."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                line = self.peek_event().start_mark.line + 1
                raise ModelError(f"line {line}: write it out, references (*name) are not read")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            names = set[str]()
            for key, _ in node.value:
                line = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    raise ModelError(f"line {line}: expected a name before the colon")
                if key.value in names:
                    raise ModelError(f"line {line}: {key.value!r} stands here twice")
                names.add(key.value)
            return super().construct_mapping(node, deep)

    with naming(path):
        try:
            tree = yaml.load(read_text(path), Loader)  # A BaseLoader: lists, tables, text.
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = "" if mark is None else f"line {mark.line + 1}: "
            raise ModelError(f"{where}{error.problem or error.context}") from None
        except ModelError:
            raise
        except RecursionError:
            raise ModelError("nested too deeply") from None
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            raise ModelError(f"not YAML: {' '.join(str(error).split())}") from None
        return from_tree(tree, how)


def write_json(model: MDP, path: Path) -> None:
    """Write a model as JSON that people can read: one outcome a line.

    Raises:
        ModelError: when two states or two actions share a name.
    """
    _check_names(model)
    write_whole({path: lines_to(_json_lines(model))})


def write_yaml(model: MDP, path: Path) -> None:
    """Write a model as YAML.

    Raises:
        ModelError: when two states or two actions share a name.
    """
    _check_names(model)
    write_whole({path: lines_to(_yaml_lines(model))})


# Reading


def from_tree(tree: Any, how: Reading = USUAL) -> Loaded:
    """A model from the tables and lists of a document (see this file's first lines).

    Raises:
        ModelError: with the state and the action.
    """
    tree = _table(tree, "the document", SECTIONS)
    states = _table(tree.get("states"), "states")
    if not states:
        raise ModelError("has no states: expected `states`, a table of each state's actions")
    number_of = {name: i for i, name in enumerate(states)}
    choices = {state: _table(given, f"state {shown(state)}") for state, given in states.items()}
    used = dict.fromkeys(action for table in choices.values() for action in table)
    actions = _actions(tree["actions"], used) if "actions" in tree else list(used)
    action_of = {name: i for i, name in enumerate(actions)}

    state_ptr, action, row_ptr = [0], [], [0]
    next_state, probability, reward, discount = [], [], [], []
    fractions: dict[float, Fraction] = {}
    for state, table in choices.items():
        for name, outcomes in table.items():
            where = f"state {shown(state)}, action {shown(name)}"
            outcomes = outcomes if isinstance(outcomes, list) else [outcomes]
            for outcome in outcomes:
                outcome = _table(outcome, f"{where}: an outcome", OUTCOME)
                to = _name(outcome.get("to"), f"{where}: `to`")
                if to not in number_of:
                    raise ModelError(
                        f"{where}: leads to {shown(to)}, which is not among the states{did_you_mean(to, states)}"
                    )
                if len(outcomes) > 1 and "probability" not in outcome:
                    raise ModelError(f"{where}: the outcome {shown(to)} has no probability, and there are several")
                next_state.append(number_of[to])
                probability.append(_number(outcome, "probability", 1.0, where, fractions))
                reward.append(_number(outcome, "reward", 0.0, where, fractions))
                discount.append(_discount(outcome, 1.0 if choices[to] else 0.0, where, fractions))
            action.append(action_of[name])
            row_ptr.append(len(next_state))
        state_ptr.append(len(action))

    acting = np.diff(state_ptr) > 0
    ends = np.array(row_ptr, np.int64)
    chances, notes = normalised(np.array(probability, np.float64), ends, how.normalise, fractions)
    model = MDP(
        state_ptr=np.array(state_ptr, np.int64),
        action=np.array(action, np.int64),
        row_ptr=ends,
        next_state=np.array(next_state, np.int64),
        probability=chances,
        reward=np.array(reward, np.float64),
        discount=np.array(discount, np.float64),
        initial=_initial(tree.get("initial"), number_of, acting, fractions),
        state_names=tuple(states),
        action_names=tuple(actions),
        grid=_grid(tree["grid"], number_of) if "grid" in tree else None,
        labels=_labels(tree.get("labels"), number_of),
        fractions=fractions,
        map_key=map_keys.read(tree["map"]) if "map" in tree else None,
    )
    return Loaded(model, notes)


def _table(given: Any, what: str, known: Iterable[str] = ()) -> dict[str, Any]:
    """A table, empty where nothing stands, with no names but the known ones."""
    if given is None or given == "":
        return {}
    if not isinstance(given, dict):
        raise ModelError(f"{what}: expected a table, got {shown(given)}")
    known = tuple(known)
    for name in given:
        if known and name not in known:
            meant = did_you_mean(name, known) or f"; expected {', '.join(known)}"
            raise ModelError(f"{what} has {shown(name)}, which means nothing here{meant}")
    return given


def _name(given: Any, what: str) -> str:
    """A name; JSON's numbers are taken as their text."""
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise ModelError(f"{what}: expected a name, got {'nothing' if given is None else shown(given)}")
    return str(given)


def _number(table: dict[str, Any], name: str, usual: float, where: str, fractions: dict[float, Fraction]) -> float:
    try:
        return number(table[name], fractions) if name in table else usual
    except ValueError as error:
        raise ModelError(f"{where}: {name} {error}") from None


def _discount(outcome: dict[str, Any], usual: float, where: str, fractions: dict[float, Fraction]) -> float:
    terminated = outcome.get("terminated", False)
    if terminated not in (True, False, "true", "false"):
        raise ModelError(f"{where}: terminated is true or false, got {shown(terminated)}")
    if terminated in (True, "true"):
        usual = 0.0
        if _number(outcome, "discount", 0.0, where, fractions):
            raise ModelError(f"{where}: an outcome that terminates has the discount 0; leave `discount` out")
    return _number(outcome, "discount", usual, where, fractions)


def _actions(given: Any, used: dict[str, None]) -> list[str]:
    if not isinstance(given, list):
        raise ModelError(f"actions: expected a list of names, got {shown(given)}")
    actions = [_name(name, "actions") for name in given]
    if len(set(actions)) < len(actions):
        raise ModelError("actions: a name stands here twice")
    if strange := next((name for name in used if name not in set(actions)), None):
        raise ModelError(f"actions: {shown(strange)} is missing, which a state has{did_you_mean(strange, actions)}")
    return actions


def _initial(given: Any, number_of: dict[str, int], acting: np.ndarray, fractions: dict[float, Fraction]) -> np.ndarray:
    if given is None or given == "":
        return uniform(acting)
    weights = np.zeros(len(number_of))
    table = given if isinstance(given, dict) else {_name(given, "initial"): 1.0}
    for state in table:
        if state not in number_of:
            raise ModelError(f"initial: {shown(state)} is not among the states{did_you_mean(state, number_of)}")
        weights[number_of[state]] = _number(table, state, 0.0, "initial", fractions)
    return weights


def _grid(given: Any, number_of: dict[str, int]) -> tuple[tuple[int, int] | None, ...]:
    places: list[tuple[int, int] | None] = [None] * len(number_of)
    for state, place in _table(given, "grid").items():
        if state not in number_of:
            raise ModelError(f"grid: {shown(state)} is not among the states{did_you_mean(state, number_of)}")
        try:
            row, column = (number(x) for x in place)
            if row % 1 or column % 1 or abs(row) > 1e9 or abs(column) > 1e9:
                raise ValueError
        except (TypeError, ValueError):
            raise ModelError(f"grid: {shown(state)} lies at [row, column], got {shown(place)}") from None
        places[number_of[state]] = (int(row), int(column))
    return tuple(places)


def _labels(given: Any, number_of: dict[str, int]) -> dict[str, np.ndarray]:
    labels = dict[str, np.ndarray]()
    for label, carriers in _table(given, "labels").items():
        names = [_name(state, f"labels: {shown(label)}") for state in carriers] if isinstance(carriers, list) else None
        if names is None:
            raise ModelError(f"labels: {shown(label)}: expected a list of states, got {shown(carriers)}")
        if strange := next((state for state in names if state not in number_of), None):
            raise ModelError(
                f"labels: {shown(label)}: {shown(strange)} is not among the states{did_you_mean(strange, number_of)}"
            )
        labels[label] = np.unique(np.array([number_of[state] for state in names], np.int64))
    return labels


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs of a JSON object as a dictionary.

    Raises:
        ModelError: where a name stands twice, of which JSON's own reader would drop one.
    """
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for i, name in enumerate(names) if name in set(names[:i]))
        raise ModelError(f"{shown(twice)} stands in one table twice")
    return made


# Writing


def _check_names(model: MDP) -> None:
    for kind, names in [("states", model.state_names), ("actions", model.action_names)]:
        if len(set(names)) < len(names):
            seen = set[str]()
            twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise ModelError(f"two {kind} are called {twice!r}, which this format cannot tell apart: save as .npz")


def _json_lines(model: MDP) -> Iterator[str]:
    quoted = [_json_text(name) for name in model.state_names]
    yield "{"
    yield f'  "initial": {_row(_start(model, quoted))},'
    yield f'  "actions": [{", ".join(map(_json_text, model.action_names))}],'
    if model.grid is not None:
        yield f'  "grid": {_row(_places(model, quoted))},'
    if model.map_key is not None:
        yield f'  "map": {_key(model.map_key)},'
    if model.labels:
        yield f'  "labels": {_row(_carriers(model, quoted, _json_text))},'
    yield '  "states": {'
    actions = [_json_text(name) for name in model.action_names]
    last = model.num_states - 1
    for s, table in enumerate(_choices(model, quoted, '"')):
        comma = "," if s < last else ""
        if not table:
            yield f"    {quoted[s]}: {{}}{comma}"
            continue
        yield f"    {quoted[s]}: {{"
        for c, (a, outcomes) in enumerate(table):
            yield f"      {actions[a]}: ["
            yield ",\n".join(f"        {outcome}" for outcome in outcomes)
            yield f"      ]{',' if c < len(table) - 1 else ''}"
        yield f"    }}{comma}"
    yield "  }"
    yield "}"


def _yaml_lines(model: MDP) -> Iterator[str]:
    quoted = [_yaml_text(name) for name in model.state_names]
    actions = [_yaml_text(name) for name in model.action_names]
    yield f"initial: {_row(_start(model, quoted))}"
    yield f"actions: [{', '.join(actions)}]"
    if model.grid is not None:
        yield f"grid: {_row(_places(model, quoted))}"
    if model.map_key is not None:
        yield f"map: {_key(model.map_key)}"
    if model.labels:
        yield f"labels: {_row(_carriers(model, quoted, _yaml_text))}"
    yield "states:"
    for s, table in enumerate(_choices(model, quoted, "")):
        yield f"  {quoted[s]}:{'' if table else ' {}'}"
        for a, outcomes in table:
            yield f"    {actions[a]}:"
            yield from (f"      - {outcome}" for outcome in outcomes)


def _start(model: MDP, quoted: list[str]) -> Iterator[str]:
    for s in np.flatnonzero(model.initial).tolist():
        figure = _figure(model, float(model.initial[s]), '"')
        yield f"{quoted[s]}: {figure}"


def _places(model: MDP, quoted: list[str]) -> Iterator[str]:
    for name, place in zip(quoted, model.grid or (), strict=True):
        if place is not None:
            yield f"{name}: [{int(place[0])}, {int(place[1])}]"


def _key(key: MapKey) -> str:
    """How the map is read: JSON, which is YAML too."""
    return json.dumps(map_keys.written(key))


def _carriers(model: MDP, quoted: list[str], text: Callable[[str], str]) -> Iterator[str]:
    for label, own in model.labels.items():
        yield f"{text(label)}: [{', '.join(quoted[s] for s in own.tolist())}]"


def _figure(model: MDP, x: float, mark: str) -> str:
    """A number as it was written."""
    return repr(x) if x not in model.fractions else f"{mark}{model.fractions[x]}{mark}"


def _row(entries: Iterator[str]) -> str:
    return f"{{{', '.join(entries)}}}"


def _choices(model: MDP, quoted: list[str], mark: str) -> Iterator[list[tuple[int, list[str]]]]:
    """Each state's actions, by number, with the text of each outcome; its field names between marks."""
    rows, first, action = model.row_ptr.tolist(), model.state_ptr.tolist(), model.action.tolist()
    columns = (x.tolist() for x in (model.next_state, model.probability, model.reward, model.discount))
    usual = np.where(model.terminal, 0.0, 1.0).tolist()
    outcomes = []

    def figure(x: float) -> str:
        return _figure(model, x, mark)

    for to, p, r, d in zip(*columns, strict=True):
        text = f"{mark}to{mark}: {quoted[to]}, {mark}probability{mark}: {figure(p)}, {mark}reward{mark}: {figure(r)}"
        if d != usual[to]:
            text += f", {mark}terminated{mark}: true" if d == 0 else f", {mark}discount{mark}: {figure(d)}"
        outcomes.append(f"{{{text}}}")
    for s in range(model.num_states):
        yield [(action[p], outcomes[rows[p] : rows[p + 1]]) for p in range(first[s], first[s + 1])]


def _json_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _yaml_text(text: str) -> str:
    """A name as it is where it is simple, else in double quotes."""
    if len(text) <= LONGEST_YAML_NAME and re.fullmatch(r"\w[\w ]*\w|\w", text, re.ASCII):
        return text
    quoted = '"' + "".join(_yaml_character(c) for c in text) + '"'
    if len(quoted) > LONGEST_YAML_NAME:
        raise ModelError(f"the name {shown(text)} is too long for YAML: save as .json or .npz")
    return quoted


def _yaml_character(c: str) -> str:
    if c in '"\\':
        return "\\" + c
    return c if c.isprintable() else f"\\U{ord(c):08x}"
