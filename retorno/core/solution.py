"""What an exact solver answers about a model, with its certificate."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from retorno.core.mdp import MDP
from retorno.core.notebook import MOST_ROWS, as_table
from retorno.core.numerals import mixture, plain


class Sweep(NamedTuple):
    """What one sweep (or improvement) came to."""

    value: Float[np.ndarray, " S"]
    lower: Float[np.ndarray, " S"]
    upper: Float[np.ndarray, " S"]
    residual: float


@dataclass(frozen=True, eq=False)
class Solution:
    """The exact answer to one question about a model, with its certificate.

    `lower ≤ v* ≤ upper` holds for the value asked for (the optimum for a control method, the
    policy's value for an evaluation).
    """

    model: MDP = field(repr=False)
    given_discount: Fraction
    """γ of the question, as it was given: what is asked of the answer further on stands on it."""
    value: Float[np.ndarray, " S"]
    """At discount 1 it may be −inf, inf or nan (what is earned has no limit), as `solve` and `evaluate` say."""
    lower: Float[np.ndarray, " S"]
    upper: Float[np.ndarray, " S"]
    q: Float[np.ndarray, " P"]
    """The action value of each pair of the model."""
    policy: Float[np.ndarray, " P"]
    """The probability of each pair in its state: for a control method one optimal choice a state; any choice where
    the value is infinite."""
    optimal: Bool[np.ndarray, " P"]
    """*All* pairs that tie for the best within the bounds. Of a policy that was evaluated: those that an improvement
    may choose."""
    policy_loss_bound: float
    """No state loses more than this by following `policy` instead of an optimal one."""
    converged: bool
    """Whether the accuracy asked for was reached."""
    sweeps: int
    residuals: tuple[float, ...]
    """Largest change of a value in each sweep or improvement."""
    method: str
    reason: str = ""
    """Why this method, where the solver chose it."""
    minimise: bool = False
    """Whether the least return is the best."""
    evaluated: bool = False
    """Whether `policy` was given, and the value is that policy's."""
    must_end: bool = False
    """Whether, at discount 1, only policies count that end with probability one."""
    time_discount: float | None = None
    """γ of one unit of time in a semi-Markov model, whose own discounts hold it: `question_discount` is then 1."""
    stopped: str = ""
    """What ended it early, beside the limits that were asked for: a trace that filled the memory."""
    trace: tuple[Sweep, ...] = field(default=(), repr=False)
    """Every sweep, where that was asked for."""

    @property
    def start_value(self) -> float:
        """The value's mean over the model's initial distribution."""
        possible = self.model.initial > 0
        return float(self.model.initial[possible] @ self.value[possible])

    @property
    def question_discount(self) -> float:
        """γ of the question."""
        return float(self.given_discount)

    @property
    def discount(self) -> float:
        """γ as it was asked for: of a step, or of a unit of time."""
        return self.question_discount if self.time_discount is None else self.time_discount

    @property
    def shown(self) -> Bool[np.ndarray, " P"]:
        """The pairs that tables and pictures show: those of the policy that was evaluated, else all that tie."""
        return self.policy > 0 if self.evaluated else self.optimal

    def actions(self, state: str | int) -> tuple[str, ...]:
        """The names of *all* optimal actions of a state."""
        return names_of(self.model, self.model.state(state), self.optimal)

    def told(self, state: str | int) -> str:
        """What a table says of a state's actions: what the evaluated policy does, or all that tie for the best."""
        return told_actions(self.model, self.model.state(state), self.policy if self.evaluated else self.optimal)

    def __repr__(self) -> str:
        return f"<solution of {self.model.num_states:,} states: {self._gist()}>"

    def _repr_html_(self) -> str:
        shown = range(min(self.model.num_states, MOST_ROWS + 1))
        values = [[f"{x[s]:z.6f}" for x in (self.value, self.lower, self.upper)] for s in shown]
        rows = [(self.model.state_names[s], *values[s], self.told(s)) for s in shown]
        return as_table(("state", "value", "lower", "upper", "policy"), rows, self._gist())

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("state", "value", "lower", "upper", "policy")]
        for s, name in enumerate(self.model.state_names):
            numbers = (f"{x[s]:z.6f}" for x in (self.value, self.lower, self.upper))
            rows.append((name, *numbers, self.told(s)))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            "  ".join(c.ljust(w) if i in (0, 4) else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths)))  # noqa: B905
            for row in rows
        ]
        lines.append(self._gist())
        return "\n".join(line.rstrip() for line in lines)

    def _gist(self) -> str:
        state = "converged" if self.converged else "NOT converged"
        return (
            f"{asked(self.discount, self.must_end)}, {self.method}, {state} after {self.sweeps} sweeps; "
            f"start value {self.start_value:z.6f}, policy loses at most {self.policy_loss_bound:.1e}"
        )


def asked(discount: float, must_end: bool) -> str:
    """The question by its name; at discount 1 there are two.

    >>> asked(0.9, False), asked(1.0, False), asked(1.0, True)
    ('discount 0.9', 'discount 1 (total reward)', 'discount 1 (reaching the end)')
    """
    if discount < 1:
        return f"discount {plain(discount)}"
    return f"discount 1 ({'reaching the end' if must_end else 'total reward'})"


def names_of(model: MDP, state: int, pairs: Bool[np.ndarray, " P"]) -> tuple[str, ...]:
    """The names of the actions of a state that are marked.

    Args:
        model: with P pairs.
        state: its number.
        pairs: which ones. Shape [P].
    """
    own = range(int(model.state_ptr[state]), int(model.state_ptr[state + 1]))
    return tuple(str(model.action_names[int(model.action[p])]) for p in own if pairs[p])


def told_actions(model: MDP, state: int, pairs: Bool[np.ndarray, " P"] | Float[np.ndarray, " P"]) -> str:
    """What a table says of a state's actions.

    Args:
        model: with P pairs.
        state: its number.
        pairs: all that tie for the best (booleans), or a policy's probabilities. Shape [P].
    """
    if model.terminal[state]:
        return "(terminal)"
    own = slice(int(model.state_ptr[state]), int(model.state_ptr[state + 1]))
    if pairs.dtype == bool:
        return " or ".join(names_of(model, state, pairs)) or "-"
    return mixture([str(model.action_names[int(a)]) for a in model.action[own]], pairs[own].tolist())
