"""What prediction has learnt: the values of a policy, beside the exact ones where the world has an exact model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from retorno import bellman
from retorno.core import constants
from retorno.core.mdp import MDP
from retorno.core.policy import Policy
from retorno.core.runtime import IN_HASTE
from retorno.ops.intervals import interval95
from retorno.policies import Judged
from retorno.run.oracle import entered, policy_value

SHOWN = 20
"""States whose values are printed; of more, those that are furthest off."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The learnt values of a policy beside its exact ones."""

    model: MDP = field(repr=False)
    discount: float
    """γ of the question."""
    learnt: Float[np.ndarray, "K S"]
    """By each of K seeds."""
    exact: Float[np.ndarray, " S"]
    asked: Bool[np.ndarray, " S"]
    """The states in which the policy acts, sooner or later: the others are not asked about."""

    @property
    def errors(self) -> Float[np.ndarray, " K"]:
        """The root of the mean squared error over the states that are asked about, of each seed."""
        return np.sqrt(((self.learnt - self.exact)[:, self.asked] ** 2).mean(axis=1))

    @property
    def mean(self) -> float:
        """The errors' mean."""
        return float(self.errors.mean())

    @property
    def ci95(self) -> tuple[float, float]:
        """The mean's interval, over seeds; NaN for one."""
        return interval95(self.errors)

    @property
    def start(self) -> tuple[float, float]:
        """The value of the start as it was learnt, the seeds' mean, and as it is."""
        possible = self.model.initial > 0
        weight = self.model.initial[possible]
        return float(self.learnt[:, possible].mean(axis=0) @ weight), float(self.exact[possible] @ weight)

    def as_row(self) -> dict[str, Any]:
        """What `--json` holds; states by their names."""
        names = [str(self.model.state_names[int(s)]) for s in np.flatnonzero(self.asked)]
        mean = self.learnt.mean(axis=0)[self.asked]
        return {
            "mean": self.mean,
            "ci95": list(self.ci95),
            "errors": self.errors.tolist(),
            "start": dict(zip(("learnt", "exact"), self.start, strict=True)),
            "learnt": dict(zip(names, mean.tolist(), strict=True)),
            "exact": dict(zip(names, self.exact[self.asked].tolist(), strict=True)),
            "discount": self.discount,
        }

    def __str__(self) -> str:
        mean, states = self.learnt.mean(axis=0), np.flatnonzero(self.asked)
        off = mean - self.exact
        shown = states
        if len(states) > SHOWN:
            shown = states[np.argsort(-np.abs(off[states]), kind="stable")[:SHOWN]]
        names = [str(self.model.state_names[int(s)]) for s in shown]
        wide = max(map(len, ["state", *names]))
        lines = [f"{'state':<{wide}}  {'learnt':>12}  {'exact':>12}  {'off by':>12}"]
        lines += [
            f"{name:<{wide}}  {mean[s]:z12.6f}  {self.exact[s]:z12.6f}  {off[s]:z12.6f}"
            for name, s in zip(names, shown, strict=True)
        ]
        if len(states) > SHOWN:
            lines.append(f"… and {len(states) - SHOWN:,} more states that are nearer")
        (low, high), count = self.ci95, len(self.learnt)
        interval = f", 95% interval {low:z.6f} to {high:z.6f} over {count} seeds" if count > 1 else ""
        learnt, exact = self.start
        lines.append(
            f"value error {self.mean:.6f} (root mean square over {len(states):,} states{interval}); "
            f"the start is worth {exact:z.6f}, learnt {learnt:z.6f}, at γ = {self.discount:g}"
        )
        return "\n".join(lines)


def predicts(policies: Sequence[Policy]) -> bool:
    """Whether these were not learnt themselves: their values were."""
    return all(isinstance(policy, Judged) for policy in policies)


def prediction(policies: Sequence[Policy], model: MDP, discount: float) -> Prediction:
    """What each seed has learnt of one policy's values, beside the exact ones.

    Args:
        policies: one for each seed, which see the model's states: what an algorithm of prediction gives.
        model: of the world.
        discount: γ of the question.

    Raises:
        ValueError: at discount 1 for a policy that need not end.
    """
    exact = policy_value(policies[0], bellman.solve(model, discount), greedy=False)
    asked = entered(model, exact.policy) & ~model.terminal
    learnt = np.stack([np.asarray(_values(policy, model.num_states), np.float64) for policy in policies])
    return Prediction(model, discount, np.where(model.terminal, 0.0, learnt), exact.value, asked)


@partial(constants.jit, static_argnames="states", compiler_options=IN_HASTE)
def _values(policy: Policy, states: int) -> Float[jax.Array, " S"]:
    value = lambda state: policy.step(state, jnp.array(False), policy.initial_carry())[0]["value"]  # noqa: E731
    return jax.vmap(value)(jnp.arange(states))
