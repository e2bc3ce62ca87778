"""What a model is made of: its size, which states are reached, and whether it ends.

The graph has the states as nodes and, as edges, what may follow what: transitions with a chance
above 0 that go on (discount not 0). All of it is linear in the transitions but the two searches
that drop pairs and look again until nothing changes (in practice a few times).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from retorno.core.graph import end_components, graph_of, reached, strong_components
from retorno.core.mdp import MDP
from retorno.core.memory import NAME_BYTES, readable
from retorno.environments.checked_arrays import are_numbers

EXAMPLES = 8
"""How many states a list names before it is cut."""
LONG_LIST = 100
"""The same in `as_row`."""


@dataclass(frozen=True, eq=False)
class Summary:
    """What `summarise` finds. Lists of states are sorted numbers."""

    model: MDP = field(repr=False)
    terminal: Int[np.ndarray, " _"]
    """States without actions, in which an episode has ended."""
    unreachable: Int[np.ndarray, " _"]
    """States that no episode comes to from the initial ones."""
    components: int
    """Strongly connected components of the states that act."""
    largest_component: int
    """States in the largest of them."""
    endless: Int[np.ndarray, " _"]
    """States in which a policy can stay for ever, in some end component. None: every policy ends for certain."""
    end_components: int
    """Maximal sets of states that a policy can keep to for ever, going through all of them."""
    unending: Int[np.ndarray, " _"]
    """States from which no policy ends for certain. None: from every state some policy does."""
    hopeless: Int[np.ndarray, " _"]
    """Those of them from which no policy can end at all."""
    recurrent_classes: int
    """Closed classes among the hopeless: sets of states that, once entered, are never left, whatever is done."""
    terminating: int
    """Transitions that end the episode (discount 0)."""
    other_discounts: tuple[float, float] | None
    """The least and the largest discount that is neither 0 nor 1, if there is one."""
    rewards: tuple[float, float]
    """The least and the largest reward that a transition can pay; NaN where there is none."""
    most_actions: int
    """Most actions of a state."""
    most_outcomes: int
    """Most transitions of a pair."""
    memory: int
    """Bytes of the arrays and names."""

    @property
    def every_policy_ends(self) -> bool:
        """Whether every policy ends for certain, from every state."""
        return not len(self.endless)

    @property
    def some_policy_ends(self) -> bool:
        """Whether from every state some policy ends for certain."""
        return not len(self.unending)

    def as_row(self) -> dict[str, Any]:
        """What `--json` holds; lists of states are their first names."""
        model = self.model
        row: dict[str, Any] = {
            "states": model.num_states,
            "actions": model.num_actions,
            "pairs": model.num_pairs,
            "transitions": model.num_transitions,
            "action_names": list(model.action_names[:LONG_LIST]),
            "initial": int(np.count_nonzero(model.initial)),
            "labels": {name: _names(model, np.asarray(own), LONG_LIST) for name, own in model.labels.items()},
            "initial_states": _names(model, np.flatnonzero(model.initial), LONG_LIST),
            "every_policy_ends": self.every_policy_ends,
            "some_policy_ends": self.some_policy_ends,
        }
        for entry in fields(self)[1:]:
            value = getattr(self, entry.name)
            if isinstance(value, np.ndarray):
                row[entry.name] = len(value)
                row[f"{entry.name}_states"] = _names(model, value, LONG_LIST)
            else:
                row[entry.name] = value
        return row

    def __str__(self) -> str:
        model = self.model
        numbers = are_numbers(model.state_names[: EXAMPLES + 1])
        rows = {
            "states": f"{model.num_states:,}" + ("" if numbers else f": {_cut(model.state_names)}"),
            "  initial": _counted(model, np.flatnonzero(model.initial)),
            "  terminal": _counted(model, self.terminal),
            "  unreachable": _counted(model, self.unreachable),
            "actions": f"{model.num_actions:,}: {_cut(model.action_names)}; at most {self.most_actions} a state",
            "pairs": f"{model.num_pairs:,}",
            "transitions": f"{model.num_transitions:,}, {self._ending()}; at most {self.most_outcomes} a pair",
            "rewards": self._rewards(),
            "discounts": self._discounts(),
            "components": f"{self.components:,} strongly connected, the largest of {_plural(self.largest_component)}",
            "every policy ends": self._every_policy(),
            "some policy ends": self._some_policy(),
            "memory": readable(self.memory),
        }
        if model.labels:
            rows["labels"] = ", ".join(f"{name} ({_plural(len(own))})" for name, own in model.labels.items())
        width = max(map(len, rows))
        return "\n".join(f"{name:<{width}}  {told}" for name, told in rows.items())

    def _ending(self) -> str:
        if self.terminating < 2:
            return ("none of them ends", "one of them ends")[self.terminating] + " the episode"
        return f"{self.terminating:,} of them end the episode"

    def _rewards(self) -> str:
        if not self.model.num_transitions or self.rewards == (0, 0):
            return "none: nothing is ever paid"
        return f"{self.rewards[0]:g} to {self.rewards[1]:g}"

    def _discounts(self) -> str:
        kinds = []
        if self.other_discounts is not None:
            kinds.append("{:g} to {:g} in places".format(*self.other_discounts))
        if self.model.num_transitions > self.terminating:
            kinds.append("1 where it goes on")
        if self.terminating:
            kinds.append("0 where it ends")
        return ", ".join(kinds) + " (besides the question's own)"

    def _every_policy(self) -> str:
        if self.every_policy_ends:
            return "yes, for certain, from every state"
        many = "end component" if self.end_components == 1 else "end components"
        told = f"no: a policy can stay for ever in {_counted(self.model, self.endless)}, {self.end_components:,} {many}"
        return told + self._far(self.endless)

    def _some_policy(self) -> str:
        if self.some_policy_ends:
            return "yes, for certain, from every state"
        told = f"no: none ends for certain from {_counted(self.model, self.unending)}"
        if len(self.hopeless) == len(self.unending):
            told += ", and none can end at all"
        elif len(self.hopeless):
            told += f"; none can end at all from {_counted(self.model, self.hopeless)}"
        if self.recurrent_classes:
            classes = "class" if self.recurrent_classes == 1 else "classes"
            told += f", {self.recurrent_classes:,} recurrent {classes}"
        return told + self._far(self.unending)

    def _far(self, states: Int[np.ndarray, " _"]) -> str:
        """Whether it need not matter."""
        return "; none of them is reachable" if np.isin(states, self.unreachable).all() else ""


def summarise(model: MDP) -> Summary:
    """What a model is made of. Seconds for a million states.

    Args:
        model: of any size.

    >>> from retorno.environments.textbook.lecture import student
    >>> summarise(student()).end_components
    1
    """
    graph = _Graph(model)
    acting = ~model.terminal
    sizes = np.bincount(graph.components()[acting])
    endless, end_components = graph.end_components()
    able = graph.can_end()
    hopeless = acting & ~able
    paid = model.reward[model.probability > 0]
    zero = model.discount == 0
    other = model.discount[~zero & (model.discount != 1)]
    return Summary(
        model=model,
        terminal=np.flatnonzero(model.terminal),
        unreachable=np.flatnonzero(~graph.reached()),
        components=int(np.count_nonzero(sizes)),
        largest_component=int(sizes.max(initial=0)),
        endless=np.flatnonzero(endless),
        end_components=end_components,
        unending=np.flatnonzero(acting & ~graph.ends_for_certain(able)),
        hopeless=np.flatnonzero(hopeless),
        recurrent_classes=graph.recurrent_classes(hopeless),
        terminating=int(np.count_nonzero(zero)),
        other_discounts=(float(other.min()), float(other.max())) if len(other) else None,
        rewards=(float(paid.min()), float(paid.max())) if len(paid) else (np.nan, np.nan),
        most_actions=int(np.diff(model.state_ptr).max(initial=0)),
        most_outcomes=int(np.diff(model.row_ptr).max(initial=0)),
        memory=memory(model),
    )


def memory(model: MDP) -> int:
    """Bytes of a model's arrays and names; what is stored once for all counts once.

    Args:
        model: of any size.

    >>> from retorno.environments.textbook.lecture import student
    >>> memory(student()) < 2000
    True
    """
    names = ("state_ptr", "action", "row_ptr", "next_state", "probability", "reward", "discount", "initial")
    total = 0
    for name in names:
        array = getattr(model, name)
        total += array.itemsize if array.strides == (0,) else array.nbytes
    for kept in (model.state_names, model.action_names, model.grid):
        total += NAME_BYTES * len(kept) if isinstance(kept, tuple | list) else 0
    return total


class _Graph:
    """What may follow what: from pairs to the states that they may go on to."""

    def __init__(self, model: MDP) -> None:
        goes_on = (model.probability > 0) & (model.discount != 0)
        pair = model.transition_pair
        self.model, self.states, self.pairs = model, model.num_states, model.num_pairs
        self.owner = model.pair_state
        self.pair, self.next_state = pair[goes_on], model.next_state[goes_on]
        # A discount between 0 and 1 is a chance to end as well (see `formats.arrays.absorbing`).
        ending = (model.probability > 0) & (np.abs(model.discount) < 1)
        self.may_end = np.zeros(self.pairs, bool)
        self.may_end[pair[ending]] = True
        self._components: np.ndarray | None = None

    def components(self, active: Bool[np.ndarray, " P"] | None = None) -> Int[np.ndarray, " S"]:
        """The strongly connected component of each state, by the edges of active pairs (by default all)."""
        everything = active is None or bool(active.all())
        if everything and self._components is not None:
            return self._components
        labels = strong_components(graph_of(*self._active(None if everything else active), self.states))[1]
        if everything:
            self._components = labels
        return labels

    def end_components(self) -> tuple[Bool[np.ndarray, " S"], int]:
        """The states of maximal end components, and how many these are."""
        labels, active = end_components(self.owner, self.pair, self.next_state, ~self.may_end, self.states)
        stays = np.zeros(self.states, bool)
        stays[self.owner[active]] = True
        return stays, len(np.unique(labels[stays]))

    def can_end(self, active: Bool[np.ndarray, " P"] | None = None) -> Bool[np.ndarray, " S"]:
        """From which states an end can be come to through active pairs (by default all)."""
        sources, targets = self._active(active)
        ends = self.owner[self.may_end if active is None else active & self.may_end]
        return reached(targets, sources, ends, self.states)

    def ends_for_certain(self, can_end: Bool[np.ndarray, " S"]) -> Bool[np.ndarray, " S"]:
        """From which states some policy ends with probability one: it never leaves the states that can."""
        active, certain = np.ones(self.pairs, bool), can_end
        while True:
            lost = np.zeros(self.pairs, bool)
            lost[self.pair[~certain[self.next_state]]] = True
            lost |= ~certain[self.owner]
            if not (active & lost).any():
                return certain
            active &= ~lost
            certain = self.can_end(active)

    def recurrent_classes(self, hopeless: Bool[np.ndarray, " S"]) -> int:
        """Closed components of states from which nothing ends."""
        if not hopeless.any():
            return 0
        inside = hopeless[self.owner]
        labels = self.components(inside)
        source, target = labels[self.owner[self.pair]], labels[self.next_state]
        leaving = source[inside[self.pair] & (source != target)]
        return len(np.setdiff1d(labels[hopeless], leaving))

    def reached(self) -> Bool[np.ndarray, " S"]:
        """States that an episode can come to, those it ends in among them."""
        model = self.model
        found = reached(*self._active(None), np.flatnonzero(model.initial > 0), self.states)
        ends = (model.probability > 0) & (model.discount == 0) & model.terminal[model.next_state]
        found[model.next_state[ends & found[self.owner[model.transition_pair]]]] = True
        return found

    def _active(self, active: Bool[np.ndarray, " P"] | None) -> tuple[np.ndarray, np.ndarray]:
        """The edges of active pairs, ordered by source: (source, target)."""
        if active is None:
            return self.owner[self.pair], self.next_state
        kept = active[self.pair]
        return self.owner[self.pair[kept]], self.next_state[kept]


def _names(model: MDP, states: Int[np.ndarray, " _"], most: int) -> list[str]:
    return [str(model.state_names[s]) for s in states[:most].tolist()]


def _plural(count: int) -> str:
    return f"{count:,} state{'' if count == 1 else 's'}"


def _counted(model: MDP, states: Int[np.ndarray, " _"]) -> str:
    """'3 states (a, b, c)'."""
    if not len(states):
        return "none"
    if len(states) == model.num_states > 1:
        return f"all {model.num_states:,} states"
    return f"{_plural(len(states))} ({_cut(_names(model, states, EXAMPLES + 1))})"


def _cut(names: Any) -> str:
    shown = (repr(name) if "," in name or name != name.strip() or not name else name for name in names[:EXAMPLES])
    return ", ".join(shown) + (", …" if len(names) > EXAMPLES else "")
