"""Several policies side by side: what each is worth, where they differ, and what each loses against the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from retorno.bellman.control import evaluate, solve
from retorno.bellman.evaluation import Policy
from retorno.core.mdp import MDP, Modelled, model_of
from retorno.core.numerals import Number
from retorno.core.solution import Solution

MOST = 30
"""States that are printed: those in which the policies differ first."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """The values of several policies and the best value, each with its bounds."""

    model: MDP = field(repr=False)
    question_discount: float
    policies: dict[str, Solution]
    best: Solution

    @property
    def differs(self) -> Bool[np.ndarray, " S"]:
        """States in which not all policies choose alike."""
        first, *others = (solution.policy for solution in self.policies.values())
        unlike = np.zeros(self.model.num_pairs, bool)
        for policy in others:
            unlike |= np.abs(policy - first) > 1e-12
        return np.bincount(self.model.pair_state, unlike, minlength=self.model.num_states) > 0

    def unlike_best(self, name: str) -> Bool[np.ndarray, " S"]:
        """States in which a policy may take an action that is not among the best."""
        wrong = (self.policies[name].policy > 0) & ~self.best.optimal
        return np.bincount(self.model.pair_state, wrong, minlength=self.model.num_states) > 0

    def loss(self, name: str) -> Float[np.ndarray, " S"]:
        """The best value minus that of a policy; within rounding of 0 where it is optimal."""
        best, own = self.best.value, self.policies[name].value
        return np.subtract(best, own, out=np.zeros(len(best)), where=best != own)

    def most_lost(self, name: str) -> float:
        """No state loses more than this by the policy: the bound that both certificates prove."""
        upper, lower = self.best.upper, self.policies[name].lower
        return max(float((upper - lower).max(where=upper != lower, initial=0.0)), 0.0)

    def __str__(self) -> str:
        model, named = self.model, {**self.policies, "best": self.best}
        order = np.argsort(~self.differs, kind="stable")
        rows: list[tuple[str, ...]] = [("state", *named, "policies")]
        for s in map(int, order[:MOST]):
            said = "(terminal)" if model.terminal[s] else "differ" if self.differs[s] else ""
            rows.append((model.state_names[s], *(f"{x.value[s]:z.6f}" for x in named.values()), said))
        if len(order) > MOST:
            rows.append((f"… {len(order) - MOST} more", *[""] * len(named), ""))
        rows.append(("start", *(f"{x.start_value:z.6f}" for x in named.values()), ""))
        lost = [f"{self.best.start_value - x.start_value:z.6f}" for x in self.policies.values()]
        rows.append(("start loses", *lost, "", ""))
        rows.append(("any loses at most", *(f"{self.most_lost(name):z.6f}" for name in self.policies), "", ""))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = (
            "  ".join(cell.rjust(w) if 0 < i < len(row) - 1 else cell.ljust(w) for i, (cell, w) in enumerate(parts))
            for row in rows
            for parts in [list(zip(row, widths, strict=True))]
        )
        return "\n".join(line.rstrip() for line in lines)


def compare(model: Modelled, policies: Mapping[str, Policy], discount: Number, *, must_end: bool = False) -> Comparison:
    """Evaluate several policies of one model and hold them against the best.

    Args:
        model: with S states.
        policies: by name, each as in `evaluate`.
        discount: γ in [0, 1].
        must_end: at discount 1, the question that is asked: as in `solve`.

    Raises:
        ValueError: when none is given, or as `evaluate` and `solve`, with the policy's name.

    >>> import retorno as rt
    >>> found = rt.bellman.compare(rt.environments.student(), {"uniform": rt.bellman.uniform}, discount=0.9)
    >>> round(found.most_lost("uniform"), 3)
    5.994
    """
    if not policies:
        raise ValueError("there is no policy to compare: give at least one by name")
    model, solutions = model_of(model), {}
    for name, policy in policies.items():
        try:
            solutions[name] = evaluate(model, policy, discount, must_end=must_end)
        except ValueError as error:
            raise ValueError(f"policy {name!r}: {error}") from error
    return Comparison(model, float(discount), solutions, solve(model, discount, must_end=must_end))
