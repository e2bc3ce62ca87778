"""Why a state is worth what it is: the backup of each of its actions, term by term.

q(s, a) = Σ_s′ probability · (reward + γ · discount · v(s′)).   Sutton & Barto 2018, eq. 4.6.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from retorno.core.solution import Solution, Sweep

MOST = 12
"""Terms of one action that are printed; of more, those that count most."""


class Term(NamedTuple):
    """One next state's part of an action's backup."""

    next_state: str
    probability: float
    reward: float
    discount: float
    """γ times the transition's own discount: 0 where it terminates."""
    next_value: float
    total: float
    """probability · (reward + discount · next_value)."""


@dataclass(frozen=True)
class Choice:
    """One action of a state: its terms and their sum."""

    action: str
    terms: tuple[Term, ...]
    value: float
    """q, the sum of the terms."""
    lower: float
    upper: float
    """Bounds of q that follow from those of the next states' values."""
    loss: float
    """How much worse than the state's best action."""
    best: bool
    """Whether it is the best, or ties with it within the bounds."""
    probability: float
    """How often the solution's policy takes it."""


@dataclass(frozen=True)
class Explanation:
    """The value of one state and the backup of each of its actions, the best first."""

    state: str
    value: float
    lower: float
    upper: float
    discount: float
    """γ of the question."""
    choices: tuple[Choice, ...]
    """None in a terminal state, whose value is 0."""

    @property
    def best(self) -> tuple[str, ...]:
        """All actions that tie for the best."""
        return tuple(choice.action for choice in self.choices if choice.best)

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        told = asdict(self)
        told["choices"] = [
            {**asdict(choice), "terms": [term._asdict() for term in choice.terms]} for choice in self.choices
        ]
        return told

    def __str__(self) -> str:
        width = self.upper - self.lower
        within = f", within {width:.1e}" if np.isfinite(self.value) else ""
        lines = [f"{self.state} is worth {_text(self.value)}{within}, at discount {self.discount:g}"]
        if not self.choices:
            return f"{lines[0]}: it is terminal"
        for choice in self.choices:
            lines += ["", _headline(choice, self.best), *_table(choice)]
        return "\n".join([*lines, "", self._sum()])

    def _sum(self) -> str:
        """How the actions' values make up the state's."""
        taken = [choice for choice in self.choices if choice.probability > 0]
        if len(taken) == 1:
            kind = "best" if taken[0].best else "policy's"
            return f"value = {_text(self.value)}, that of the {kind} action {taken[0].action}"
        terms = " + ".join(f"{_text(c.probability)} × {_text(c.value, True)}" for c in taken)
        return f"value = {terms} = {_text(self.value)}, the policy's mean over its actions"


def explain(solution: Solution, state: str | int) -> Explanation:
    """Each action's backup of a state, term by term, with what it loses against the best.

    Of an evaluation as of an optimum: the terms use the solution's own values of the next states.

    Args:
        solution: of any method for a discounted or undiscounted model.
        state: its name or number.

    Raises:
        KeyError: when there is no such state.
    """
    model, s = solution.model, solution.model.state(state)
    pairs = range(int(model.state_ptr[s]), int(model.state_ptr[s + 1]))
    terms = {p: _terms(solution, p) for p in pairs}
    value = {p: sum(term.total for term in terms[p]) for p in pairs}
    best = (min if solution.minimise else max)(value.values(), default=0.0)
    choices = [
        Choice(
            action=model.action_names[int(model.action[p])],
            terms=terms[p],
            value=value[p],
            lower=_bound(solution, p, solution.lower),
            upper=_bound(solution, p, solution.upper),
            loss=0.0 if value[p] == best else abs(best - value[p]),
            best=bool(solution.optimal[p]),
            probability=float(solution.policy[p]),
        )
        for p in pairs
    ]
    return Explanation(
        state=model.state_names[s],
        value=float(solution.value[s]),
        lower=float(solution.lower[s]),
        upper=float(solution.upper[s]),
        discount=solution.question_discount,
        choices=tuple(sorted(choices, key=lambda choice: choice.loss)),
    )


def _terms(solution: Solution, pair: int) -> tuple[Term, ...]:
    model = solution.model
    terms = []
    for n in range(int(model.row_ptr[pair]), int(model.row_ptr[pair + 1])):
        target = int(model.next_state[n])
        p, r, v = float(model.probability[n]), float(model.reward[n]), float(solution.value[target])
        discount = solution.question_discount * float(model.discount[n])
        # 0 · ∞ is 0 here: what does not go on has no next value.
        terms.append(Term(model.state_names[target], p, r, discount, v, p * (r + discount * v if discount else r)))
    return tuple(terms)


def _bound(solution: Solution, pair: int, values: np.ndarray) -> float:
    model = solution.model
    rows = slice(model.row_ptr[pair], model.row_ptr[pair + 1])
    going = solution.question_discount * model.discount[rows]
    after = np.where(going > 0, values[model.next_state[rows]], 0.0)
    return float((model.probability[rows] * (model.reward[rows] + np.where(going > 0, going, 1.0) * after)).sum())


def _headline(choice: Choice, best: tuple[str, ...]) -> str:
    if choice.best:
        verdict = "the best" if len(best) == 1 else "tied for the best"
    else:
        verdict = f"loses {_text(choice.loss)}"
    return f"{choice.action} = {_text(choice.value)}, {verdict}"


def _table(choice: Choice) -> list[str]:
    shown = sorted(choice.terms, key=lambda term: -abs(term.total))[:MOST] if len(choice.terms) > MOST else choice.terms
    rows = [
        (
            _text(term.probability),
            _text(term.reward),
            f"{_text(term.discount)} × {_text(term.next_value, True)}" if term.discount else "0",
            _text(term.total),
            term.next_state if term.discount else f"{term.next_state}, ends",
        )
        for term in shown
    ]
    width = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = [
        f"  {p:>{width[0]}} × ({r:>{width[1]}} + {after:>{width[2]}}) = {total:>{width[3]}}   → {name}"
        for p, r, after, total, name in rows
    ]
    if len(shown) < len(choice.terms):
        rest = choice.value - sum(t.total for t in shown)
        lines.append(f"  … and {len(choice.terms) - len(shown)} smaller terms, together {_text(rest)}")
    return lines


def _text(x: float, bracketed: bool = False) -> str:
    """Seven significant digits; a negative factor in brackets."""
    text = f"{x + 0.0:.7g}"
    return f"({text})" if bracketed and text.startswith("-") else text


def shown_sweeps(count: int, most: int = 24) -> list[int]:
    """Numbers, from 0, of the sweeps that tell how it went: all, or the first few, then ever fewer, and the last."""
    growth = 1.0
    while True:
        shown, k = [], 0
        while k < count - 1:
            shown.append(k)
            k = max(k + 1, int(k * growth))
        if len(shown) < most:
            return [*shown, *range(max(count - 1, 0), count)]
        growth += 0.01


def sweep_rows(solution: Solution, most: int = 24) -> tuple[list[str], list[list[Any]]]:
    """The table sweeps × states as lectures draw it, with each sweep's residual and width of the bounds.

    Of a large model the first twelve states that act.

    Raises:
        ValueError: when the solution has no trace.
    """
    trace = solution.trace
    if not trace:
        raise ValueError("the solution has no trace of its sweeps: solve it with trace=True")
    states = np.flatnonzero(~solution.model.terminal)[:MOST]
    rows = [
        [k + 1, *(float(trace[k].value[s]) for s in states), float(trace[k].residual), widest(trace[k])]
        for k in shown_sweeps(len(trace), most)
    ]
    return ["sweep", *(solution.model.state_names[int(s)] for s in states), "residual", "width"], rows


def widest(answer: Sweep | Solution) -> float:
    """The largest distance between two bounds, over the states whose value is finite."""
    finite = np.isfinite(answer.value)
    return float((answer.upper[finite] - answer.lower[finite]).max(initial=0.0))
