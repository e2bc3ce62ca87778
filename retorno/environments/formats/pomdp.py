"""Cassandra's files of partially observed processes, .POMDP (and .MDP): the decision process of their states.

```
discount: 0.95
values: reward
states: left right
actions: listen open
observations: hear-left hear-right
start: uniform
T: listen identity
T: open uniform
O: * uniform
R: listen : * : * : * -1
```

Names may be numbers from 0, `*` is every one, and a later entry stands in for an earlier one. What is observed is left
out, which is told, but where a reward depends on it, its mean is taken. Costs become rewards below 0. The discount is
the question's: `retorno solve` asks with it. No episode ends.

Source: Cassandra, "POMDP file format", pomdp.org.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from retorno.core.mdp import MDP, ModelError, Numbered
from retorno.core.memory import ensure_fits, model_bytes
from retorno.core.names import did_you_mean
from retorno.core.numerals import Number, as_float, exactly
from retorno.environments.formats.arrays import from_rows
from retorno.environments.formats.files import naming, read_text
from retorno.environments.formats.lines import value_of, wrong
from retorno.environments.formats.numbers import NUMBER, shown
from retorno.environments.formats.reading import OBSERVED, USUAL, Loaded, Reading, normalised

HEADS = ("discount", "values", "states", "actions", "observations", "start")
TOKEN = re.compile(r":|[^\s:]+")
Row = dict[int, float]


def read(path: Path, how: Reading = USUAL) -> Loaded:
    """Read the decision process of the states.

    Raises:
        ModelError: with the file and the line, or the state and the action.
        OSError: when it cannot be read.
    """
    file = _File(path)
    file.parse()
    with naming(path):
        return file.loaded(how)


class _File:
    """A file while it is read: its words, and what they have said so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.words = list[tuple[int, str]]()
        for i, text in enumerate(read_text(path).split("\n"), 1):
            self.words += [(i, word) for word in TOKEN.findall(text.split("#")[0])]
        self.at = 0
        self.names: dict[str, Sequence[str]] = {}
        self.discount: Number | None = None
        self.costs = False
        self.start: np.ndarray | None = None
        self.moves = dict[tuple[int, int], Row]()
        self.seen = dict[tuple[int, int], Row]()
        """The chance of each observation, of (action, next state)."""
        self.paid = dict[tuple[int | None, ...], tuple[int, float]]()
        """(when it was said, reward) of (action, state, next state, observation), None for every one."""
        self.rewards_observed = False
        self.fractions = dict[float, Fraction]()

    # Words

    @property
    def line(self) -> int:
        return self.words[min(self.at, len(self.words) - 1)][0] if self.words else 1

    def peek(self, ahead: int = 0) -> str:
        place = self.at + ahead
        return self.words[place][1] if place < len(self.words) else ""

    def take(self, expected: str = "") -> str:
        word = self.peek()
        if not word or (expected and word != expected):
            raise wrong(self.path, self.line, f"expected {shown(expected) if expected else 'more'}, got {shown(word)}")
        self.at += 1
        return word

    def number(self) -> float:
        return value_of(self.path, self.line, self.take(), self.fractions)

    def begins(self) -> bool:
        """Whether an entry of the file begins here."""
        if self.peek() == "start" and self.peek(1) in ("include", "exclude"):
            return True
        return self.peek(1) == ":" and self.peek() in (*HEADS, "T", "O", "R")

    def index(self, kind: str, word: str) -> int:
        self.all_of(kind)
        names = self.names[kind]
        if word in names:
            return names.index(word)
        if word.isascii() and word.isdigit() and int(word) < len(names):
            return int(word)
        raise wrong(self.path, self.line, f"{shown(word)} is not among the {kind}{did_you_mean(word, names)}")

    def some(self, kind: str) -> list[int] | None:
        """The next word's number among the states, actions or observations; None for every one."""
        word = self.take()
        return None if word == "*" else [self.index(kind, word)]

    def all_of(self, kind: str) -> range:
        if kind not in self.names:
            raise wrong(self.path, self.line, f"expected `{kind}:` before this")
        return range(len(self.names[kind]))

    def every(self, kind: str, given: list[int] | None) -> list[int]:
        return list(self.all_of(kind)) if given is None else given

    # Entries

    def parse(self) -> None:
        """Take the file entry by entry."""
        while self.at < len(self.words):
            if not self.begins():
                raise self.unknown(self.peek())
            head = self.take()
            if head != "start":
                self.take(":")
            match head:
                case "discount":
                    said = self.number()
                    if not 0 <= said <= 1:
                        raise wrong(self.path, self.line, f"expected a discount in [0, 1], got {said:g}")
                    self.discount = self.fractions.get(said, said)
                case "values":
                    said = self.take()
                    if said not in ("reward", "cost"):
                        raise wrong(self.path, self.line, f"values are reward or cost, got {shown(said)}")
                    self.costs = said == "cost"
                case "states" | "actions" | "observations":
                    self.names[head] = self.listed(head)
                case "start":
                    self.start = self.first()
                case "T":
                    self.transition()
                case "O":
                    self.observation()
                case "R":
                    self.reward()

    def unknown(self, word: str) -> ModelError:
        known = ", ".join(f"{head}:" for head in (*HEADS, "T", "O", "R"))
        return wrong(self.path, self.line, f"expected one of {known}, got {shown(word)}")

    def listed(self, kind: str) -> Sequence[str]:
        words = list[str]()
        while self.at < len(self.words) and not self.begins():
            if self.peek() == ":":
                raise self.unknown(self.peek(-1))
            words.append(self.take())
        if len(words) == 1 and words[0].isdigit():
            with naming(self.path):
                ensure_fits(model_bytes(int(words[0]), 0, 0), f"a model of {words[0]} {kind}")
            return Numbered(int(words[0]))
        if not words or len(set(words)) < len(words):
            raise wrong(self.path, self.line, f"{kind}: expected a number or different names, got {shown(words)}")
        return words

    def first(self) -> np.ndarray:
        """The distribution of the first state."""
        kind = "states"
        count = len(self.all_of(kind))
        mode = self.take() if self.peek() in ("include", "exclude") else ""
        self.take(":")
        words = list[str]()
        while self.at < len(self.words) and not self.begins():
            words.append(self.take())
        made = np.zeros(count)
        if mode:
            made[[self.index(kind, word) for word in words]] = 1
            made = 1 - made if mode == "exclude" else made
            return made * self.share(int(made.sum()))
        if words == ["uniform"]:
            return np.full(count, self.share(count))
        if len(words) == 1 and (count != 1 or not NUMBER.fullmatch(words[0]) or words[0] == "0"):
            made[self.index(kind, words[0])] = 1
            return made
        if len(words) != count:
            raise wrong(self.path, self.line, f"start: expected {count} probabilities, got {len(words)}")
        return np.array([value_of(self.path, self.line, word, self.fractions) for word in words])

    def chances(self, size: int) -> Row:
        """Probabilities of one pair, as `uniform` or number by number."""
        if self.peek() == "uniform":
            self.take()
            return dict.fromkeys(range(size), self.share(size))
        row = [self.number() for _ in range(size)]
        return {i: p for i, p in enumerate(row) if p}

    def share(self, count: int) -> float:
        """One of so many equal parts."""
        return as_float(Fraction(1, max(count, 1)), self.fractions)

    def transition(self) -> None:
        actions = self.every("actions", self.some("actions"))
        states = self.all_of("states")
        if self.peek() != ":":
            identity = self.peek() == "identity"
            if identity:
                self.take()
            uniform = self.peek() == "uniform"
            each = self.chances(len(states)) if uniform else {}
            for s in states:
                row = {s: 1.0} if identity else each if uniform else self.chances(len(states))
                self.moves |= {(a, s): dict(row) for a in actions}
            return
        self.take(":")
        sources = self.every("states", self.some("states"))
        if self.peek() != ":":
            if self.peek() == "reset":  # It starts anew.
                self.take()
                start = self.start if self.start is not None else np.full(len(states), self.share(len(states)))
                row = {int(s): float(start[s]) for s in np.flatnonzero(start)}
            else:
                row = self.chances(len(states))
            self.moves |= {(a, s): dict(row) for a in actions for s in sources}
            return
        self.take(":")
        targets = self.every("states", self.some("states"))
        p = self.number()
        for a, s, to in itertools.product(actions, sources, targets):
            self.moves.setdefault((a, s), {})[to] = p

    def observation(self) -> None:
        actions = self.every("actions", self.some("actions"))
        states, size = self.all_of("states"), len(self.all_of("observations"))
        if self.peek() != ":":
            uniform = self.peek() == "uniform"
            each = self.chances(size) if uniform else {}
            for s in states:
                row = each if uniform else self.chances(size)
                self.seen |= {(a, s): row for a in actions}
            return
        self.take(":")
        entered = self.every("states", self.some("states"))
        if self.peek() != ":":
            row = self.chances(size)
            self.seen |= {(a, s): dict(row) for a in actions for s in entered}
            return
        self.take(":")
        seen = self.every("observations", self.some("observations"))
        p = self.number()
        for a, s, o in itertools.product(actions, entered, seen):
            self.seen.setdefault((a, s), {})[o] = p

    def reward(self) -> None:
        """Rewards of action, state, next state and observation; the last ones may be whole rows."""
        observed = "observations" in self.names
        kinds = ("actions", "states", "states", "observations") if observed else ("actions", "states", "states")
        given: list[int | None] = []
        for kind in kinds:
            if given:
                if self.peek() != ":":
                    break
                self.take(":")
            one = self.some(kind)
            given.append(None if one is None else one[0])
        sizes = [self.all_of(kind) for kind in kinds[len(given) :]]
        if len(sizes) > 2:
            raise wrong(self.path, self.line, "R: expected a state after the action")
        for rest in itertools.product(*sizes):
            key = (*given, *rest, *([] if observed else [None]))
            self.rewards_observed |= key[3] is not None
            self.paid[key] = (len(self.paid) + self.at, self.number())

    # What it makes

    def loaded(self, how: Reading) -> Loaded:
        """The model, its notes and its discount."""
        for kind in ("states", "actions"):
            if kind not in self.names:
                raise ModelError(f"has no `{kind}:`")
        states, actions = len(self.names["states"]), len(self.names["actions"])
        pairs = list(itertools.product(range(states), range(actions)))
        for s, a in pairs:
            if (a, s) not in self.moves:
                action, state = self.names["actions"][a], self.names["states"][s]
                raise ModelError(f"state {state!r}, action {action!r}: no transitions (T:) are given")
        rows = [[(to, p) for to, p in sorted(self.moves[a, s].items()) if p] for s, a in pairs]
        row_ptr = np.append(0, np.cumsum([len(row) for row in rows]))
        flat = [entry for row in rows for entry in row]
        chances = np.array([p for _, p in flat], np.float64)
        probability, notes = normalised(chances, row_ptr, how.normalise, self.fractions)
        sign = -1.0 if self.costs else 1.0
        paid = [self.mean(a, s, to) for (s, a), row in zip(pairs, rows, strict=True) for to, _ in row]
        if self.costs:
            self.fractions |= {-x: -exact for x, exact in self.fractions.items()}
        model: MDP = from_rows(
            np.arange(states + 1) * actions,
            row_ptr,
            np.array([to for to, _ in flat], np.int64),
            probability,
            transition_reward=sign * np.array(paid) + 0.0,
            action=np.tile(np.arange(actions), states),
            initial=self.start,
            state_names=self.names["states"],
            action_names=self.names["actions"],
            fractions=self.fractions,
        )
        if "observations" in self.names:
            notes += (OBSERVED,)
        if self.costs:
            notes += ("its values are costs: they are read as rewards below 0",)
        return Loaded(model, notes, self.discount)

    def mean(self, a: int, s: int, to: int) -> float:
        """The reward of a transition, over what is observed after it where that matters."""
        if not self.rewards_observed:
            return self.told(a, s, to, None)
        seen = self.seen.get((a, to))
        if not seen:
            raise ModelError(
                f"state {self.names['states'][to]!r}, action {self.names['actions'][a]!r}: rewards depend on what is "
                "observed, and no observations (O:) are given"
            )
        parts = [exactly([p, self.told(a, s, to, o)], self.fractions) for o, p in seen.items()]
        return as_float(sum((p * r for p, r in parts), Fraction(0)), self.fractions)

    def told(self, a: int, s: int, to: int, o: int | None) -> float:
        """The last reward that was said of these; 0 where none was."""
        options = itertools.product((a, None), (s, None), (to, None), (o, None) if o is not None else (None,))
        said = [self.paid[key] for key in options if key in self.paid]
        return max(said)[1] if said else 0.0
