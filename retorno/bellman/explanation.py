"""Why a state is worth what it is: the backup of each of its actions, term by term.

q(s, a) = Σ_s′ probability · (reward + γ · discount · v(s′)).   Sutton & Barto 2018, eq. 4.6.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from retorno.core.mdp import MDP
from retorno.core.numerals import plain
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
class ActionBackup:
    """One action of a state: its terms and their sum."""

    action: str
    terms: tuple[Term, ...]
    value: float
    """q, the sum of the terms; under the average criterion less the gain of the time that the action takes."""
    lower: float
    upper: float
    """Bounds of q that follow from those of the next states' values; a bias has none, and they are its value."""
    loss: float
    """How much worse than the state's best action; of one that leads to a worse gain, by how much it is worse."""
    best: bool
    """Whether it is the best, or ties with it within the bounds."""
    probability: float
    """How often the solution's policy takes it."""
    gain: float | None = None
    """Under the average criterion what is earned per step, for ever, where it leads."""


@dataclass(frozen=True)
class Explanation:
    """The value of one state and the backup of each of its actions, the best first."""

    state: str
    value: float
    """Under the average criterion the bias."""
    lower: float
    upper: float
    discount: float
    """γ of the question; of a semi-Markov model that of a unit of time."""
    choices: tuple[ActionBackup, ...]
    """None in a terminal state, whose value is 0."""
    time: tuple[int, int] | None = None
    """Of a finite horizon: the time, and the horizon."""
    gain: float | None = None
    """Under the average criterion: the reward per step, for ever."""

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
        if not self.choices:
            return f"{self._head()}: it is terminal"
        lines = [self._head()]
        for choice in self.choices:
            lines += ["", _headline(choice, self), *_table(choice, self.gain)]
        return "\n".join([*lines, "", self._sum()])

    def _head(self) -> str:
        width = self.upper - self.lower
        within = f", within {width:.1e}" if np.isfinite(self.value) else ""
        if self.gain is not None:
            return f"{self.state} earns {_text(self.gain)} a step for ever{within}; its bias is {_text(self.value)}"
        when = "" if self.time is None else f" at time {self.time[0]} of {self.time[1]}"
        return f"{self.state} is worth {_text(self.value)}{within}{when}, at discount {plain(self.discount)}"

    def _sum(self) -> str:
        """How the actions' values make up the state's."""
        name = "value" if self.gain is None else "bias"
        taken = [choice for choice in self.choices if choice.probability > 0]
        if len(taken) == 1:
            kind = "best" if taken[0].best else "policy's"
            return f"{name} = {_text(self.value)}, that of the {kind} action {taken[0].action}"
        terms = " + ".join(f"{_text(c.probability)} × {_text(c.value, True)}" for c in taken)
        return f"{name} = {terms} = {_text(self.value)}, the policy's mean over its actions"


class Onward(NamedTuple):
    """What the next states are worth to a backup."""

    value: Float[np.ndarray, " S"]
    lower: Float[np.ndarray, " S"]
    upper: Float[np.ndarray, " S"]
    discount: float


def explain(solution: Solution, state: str | int) -> Explanation:
    """Each action's backup of a state, term by term, with what it loses against the best.

    Of an evaluation as of an optimum: the terms use the solution's own values of the next states.

    Args:
        solution: of any method for a discounted or undiscounted model.
        state: its name or number.

    Raises:
        KeyError: when there is no such state.

    >>> import retorno as rt
    >>> best = rt.bellman.solve(rt.environments.student(), discount=1.0)
    >>> [(choice.action, round(choice.value, 6)) for choice in explain(best, "C3").choices]
    [('study', 10.0), ('pub', 9.4)]
    """
    s = solution.model.state(state)
    onward = Onward(solution.value, solution.lower, solution.upper, solution.question_discount)
    return Explanation(
        state=solution.model.state_names[s],
        value=float(solution.value[s]),
        lower=float(solution.lower[s]),
        upper=float(solution.upper[s]),
        discount=solution.discount,
        choices=ranked(backups(solution.model, s, onward, solution.optimal, solution.policy), solution.minimise),
    )


def backups(
    model: MDP, state: int, onward: Onward, optimal: Bool[np.ndarray, " P"], policy: Float[np.ndarray, " P"]
) -> list[ActionBackup]:
    """A state's actions in the model's order, not compared yet."""
    choices = []
    for p in range(int(model.state_ptr[state]), int(model.state_ptr[state + 1])):
        terms = _terms(model, onward, p)
        choices.append(
            ActionBackup(
                action=model.action_names[int(model.action[p])],
                terms=terms,
                value=sum(term.total for term in terms),
                lower=_bound(model, onward, p, onward.lower),
                upper=_bound(model, onward, p, onward.upper),
                loss=0.0,
                best=bool(optimal[p]),
                probability=float(policy[p]),
            )
        )
    return choices


def ranked(choices: list[ActionBackup], minimise: bool) -> tuple[ActionBackup, ...]:
    """The same with what each loses, the best first."""
    best = (min if minimise else max)((choice.value for choice in choices), default=0.0)
    lost = [replace(c, loss=0.0 if c.value == best else abs(best - c.value)) for c in choices]
    return tuple(sorted(lost, key=lambda choice: choice.loss))


def _terms(model: MDP, onward: Onward, pair: int) -> tuple[Term, ...]:
    terms = []
    for n in range(int(model.row_ptr[pair]), int(model.row_ptr[pair + 1])):
        target = int(model.next_state[n])
        p, r, v = float(model.probability[n]), float(model.reward[n]), float(onward.value[target])
        discount = onward.discount * float(model.discount[n])
        # 0 · ∞ is 0 here: what does not go on has no next value.
        terms.append(Term(model.state_names[target], p, r, discount, v, p * (r + discount * v if discount else r)))
    return tuple(terms)


def _bound(model: MDP, onward: Onward, pair: int, values: np.ndarray) -> float:
    rows = slice(model.row_ptr[pair], model.row_ptr[pair + 1])
    going = onward.discount * model.discount[rows]
    after = np.where(going > 0, values[model.next_state[rows]], 0.0)
    return float((model.probability[rows] * (model.reward[rows] + np.where(going > 0, going, 1.0) * after)).sum())


def _headline(choice: ActionBackup, told: Explanation) -> str:
    if choice.best:
        verdict = "the best" if len(told.best) == 1 else "tied for the best"
    elif choice.gain is not None and told.gain is not None and abs(choice.gain - told.gain) == choice.loss > 0:
        verdict = f"leads to {_text(choice.gain)} a step only"
    else:
        verdict = f"loses {_text(choice.loss)}"
    return f"{choice.action} = {_text(choice.value)}, {verdict}"


def _table(choice: ActionBackup, gain: float | None) -> list[str]:
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
    whole = sum(t.total for t in choice.terms)
    if len(shown) < len(choice.terms):
        rest = whole - sum(t.total for t in shown)
        lines.append(f"  … and {len(choice.terms) - len(shown)} smaller terms, together {_text(rest)}")
    if gain is not None:
        lines.append(f"  less the gain of its time: {_text(whole)} − {_text(whole - choice.value, True)}")
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
