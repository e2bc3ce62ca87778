"""What an exact solver answers about a model, with its certificate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from retorno.core.mdp import MDP


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
    question_discount: float
    """γ of the question."""
    value: Float[np.ndarray, " S"]
    lower: Float[np.ndarray, " S"]
    upper: Float[np.ndarray, " S"]
    q: Float[np.ndarray, " P"]
    """The action value of each pair of the model."""
    policy: Float[np.ndarray, " P"]
    """The probability of each pair in its state: for a control method one optimal choice a state."""
    optimal: Bool[np.ndarray, " P"]
    """*All* pairs that tie for the best within the bounds."""
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
    stopped: str = ""
    """What ended it early, beside the limits that were asked for: a trace that filled the memory."""
    trace: tuple[Sweep, ...] = field(default=(), repr=False)
    """Every sweep, where that was asked for."""

    @property
    def start_value(self) -> float:
        """The value's mean over the model's initial distribution."""
        possible = self.model.initial > 0
        return float(self.model.initial[possible] @ self.value[possible])

    def actions(self, state: str | int) -> tuple[str, ...]:
        """The names of *all* optimal actions of a state."""
        s = self.model.state(state)
        pairs = range(self.model.state_ptr[s], self.model.state_ptr[s + 1])
        return tuple(str(self.model.action_names[self.model.action[p]]) for p in pairs if self.optimal[p])

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("state", "value", "lower", "upper", "policy")]
        for s, name in enumerate(self.model.state_names):
            numbers = (f"{x[s]:.6f}" for x in (self.value, self.lower, self.upper))
            rows.append((name, *numbers, " or ".join(self.actions(s)) or "(terminal)"))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            "  ".join(c.ljust(w) if i in (0, 4) else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths)))  # noqa: B905
            for row in rows
        ]
        state = "converged" if self.converged else "NOT converged"
        lines.append(
            f"discount {self.question_discount:g}, {self.method}, {state} after {self.sweeps} sweeps; "
            f"start value {self.start_value:.6f}, policy loses at most {self.policy_loss_bound:.1e}"
        )
        return "\n".join(line.rstrip() for line in lines)
