"""A finite number of steps: backward induction, whose policies depend on the time. Puterman 1994, chapter 4.

v_T = final, v_t(s) = max_a Σ p (r + γ v_{t+1}(s′)). Each step adds its rounding to the bounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.bellman.backup import Backup, backup_of
from retorno.bellman.evaluation import Policy, probabilities
from retorno.bellman.explanation import Explanation, Onward, backups, ranked
from retorno.core.mdp import MDP, Modelled, model_of
from retorno.core.memory import available, readable
from retorno.core.numerals import Number, plain
from retorno.core.solution import names_of, told_actions

COLUMNS, ROWS = 8, 50
"""A printed table shows so many times and states, and says what it leaves out."""


@dataclass(frozen=True, eq=False)
class HorizonSolution:
    """Values and policy of each time t = 0 … T, with T − t steps to go.

    `lower ≤ v* ≤ upper` holds for the value asked for, and `policy` earns at least `lower` (at
    most `upper` when minimising).
    """

    model: MDP = field(repr=False)
    question_discount: float
    """γ of the question."""
    value: Float[np.ndarray, "T+1 S"]
    error: Float[np.ndarray, " T+1"]
    """How far rounding may have moved the values of each time."""
    policy: Int[np.ndarray, "T S"]
    """The pair chosen at each time, −1 in terminal states; of a policy that was evaluated, its most probable one."""
    optimal: Bool[np.ndarray, "T P"]
    """*All* pairs that tie for the best within the bounds (against the values of a policy that was evaluated)."""
    minimise: bool = False
    """Whether the least return is the best."""
    chances: Float[np.ndarray, "1 P"] | Float[np.ndarray, "T P"] | None = field(default=None, repr=False)
    """The probability of each pair under a policy that was evaluated, for all times or for each."""
    evaluated: bool = False
    """Whether the policy was given, and the values are that policy's."""

    @property
    def horizon(self) -> int:
        return len(self.policy)

    @property
    def lower(self) -> Float[np.ndarray, "times S"]:
        return np.where(self.model.terminal, 0.0, np.nextafter(self.value - self.error[:, None], -np.inf))

    @property
    def upper(self) -> Float[np.ndarray, "times S"]:
        return np.where(self.model.terminal, 0.0, np.nextafter(self.value + self.error[:, None], np.inf))

    @cached_property
    def action(self) -> Int[np.ndarray, "T S"]:
        """The action's number at each time, −1 in terminal states; `evaluate_horizon` takes it as a policy."""
        return np.where(self.policy >= 0, self.model.action[self.policy], -1)

    @property
    def start_value(self) -> float:
        """The mean of the value with all steps to go over the model's initial distribution."""
        return float(self.model.initial @ self.value[0])

    def actions(self, time: int, state: str | int) -> tuple[str, ...]:
        """The names of *all* optimal actions of a state at a time."""
        if not 0 <= time < self.horizon:
            raise IndexError(f"there are actions at times 0 to {self.horizon - 1}, got {time}")
        return names_of(self.model, self.model.state(state), self.optimal[time])

    def told(self, time: int, state: str | int) -> str:
        """What a table says of a state's actions at a time: what the evaluated policy does, or all that tie."""
        s = self.model.state(state)
        return told_actions(self.model, s, self.taken(time) if self.evaluated else self.optimal[time])

    def taken(self, time: int) -> Float[np.ndarray, " P"]:
        """The probability of each pair under the policy at a time."""
        if self.chances is not None:
            return self.chances[time if len(self.chances) > 1 else 0]
        own = self.policy[time]
        return np.bincount(own[own >= 0], minlength=self.model.num_pairs).astype(float)

    def explain(self, state: str | int, time: int = 0) -> Explanation:
        """Each action's backup in a state at a time, term by term.

        Raises:
            KeyError: when there is no such state.
            IndexError: when nothing is done at that time.
        """
        if not 0 <= time < self.horizon:
            raise IndexError(f"there are actions at times 0 to {self.horizon - 1}, got {time}")
        s = self.model.state(state)
        lower, upper = self.lower, self.upper
        onward = Onward(self.value[time + 1], lower[time + 1], upper[time + 1], self.question_discount)
        return Explanation(
            state=self.model.state_names[s],
            value=float(self.value[time, s]),
            lower=float(lower[time, s]),
            upper=float(upper[time, s]),
            discount=self.question_discount,
            choices=ranked(backups(self.model, s, onward, self.optimal[time], self.taken(time)), self.minimise),
            time=(time, self.horizon),
        )

    def __str__(self) -> str:
        times = list(range(self.horizon + 1))
        if len(times) > COLUMNS:
            times = times[: COLUMNS - 2] + times[-2:]
        states = range(min(self.model.num_states, ROWS))
        table = [["state", *(f"t={t}" for t in times)]]
        for s in states:
            cells = [f"{self.value[t, s]:z.6f}" for t in times]
            for i, t in enumerate(times):
                if t < self.horizon and self.policy[t, s] >= 0:
                    cells[i] += " " + self.told(t, s)
            table.append([str(self.model.state_names[s]), *cells])
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        lines = ["  ".join(x.ljust(w) for x, w in zip(row, widths, strict=True)).rstrip() for row in table]
        if len(states) < self.model.num_states:
            lines.append(f"… ({self.model.num_states} states in all)")
        lines.append(
            f"{self.horizon} steps, discount {plain(self.question_discount)}, backward induction; "
            f"start value {self.start_value:z.6f}, values within {self.error.max():.1e}"
        )
        return "\n".join(lines)


def finite_horizon(
    model: Modelled,
    horizon: int,
    discount: Number = 1.0,
    *,
    minimise: bool = False,
    final: Float[np.ndarray, " S"] | Sequence[float] | None = None,
) -> HorizonSolution:
    r"""The best values of a given number of steps, and what to do at each of them.

    .. math:: v_t(s) = \max_a \sum_{s'} p(s' \mid s, a) \bigl[r + \gamma v_{t+1}(s')\bigr], \qquad v_T = \text{final}

    Args:
        model: with S states and P state–action pairs.
        horizon: T, the number of steps; 0 leaves the final values.
        discount: γ in [0, 1].
        minimise: whether rewards are costs.
        final: what each state is worth when the steps are over [S]; nothing without. What has
            terminated is worth nothing, so terminal states' entries are 0.

    Raises:
        ValueError: when the horizon is negative, the discount outside [0, 1] or `final` not finite, not [S], or
            not 0 in a terminal state.
        MemoryError: with the size, when the tables would not fit.

    >>> import retorno as rt
    >>> finite_horizon(rt.environments.student(), horizon=1).value[0]
    array([ 0., -1.,  0., 10.,  0.])
    """
    model = model_of(model)
    backup = backup_of(model, discount, minimise)
    sign = -1.0 if minimise else 1.0
    tables = _tables(model, horizon, final)
    value = sign * tables.value[horizon][~model.terminal]
    for t in reversed(range(horizon)):
        q = backup.q(value)
        error = tables.error[t] = _grown(backup, value, tables.error[t + 1])
        value = backup.best(q)
        tables.store(t, sign * value, backup.greedy(q), q + 2 * error >= value[backup.owner])
    return tables.answer(discount, minimise=minimise)


def evaluate_horizon(
    model: Modelled,
    policy: Policy | Float[np.ndarray, "T P"] | Int[np.ndarray, "T S"],
    horizon: int,
    discount: Number = 1.0,
    *,
    final: Float[np.ndarray, " S"] | Sequence[float] | None = None,
) -> HorizonSolution:
    """The value of a policy over a given number of steps.

    Args:
        model: with S states and P state–action pairs.
        policy: one for all times as `evaluate` takes it; or one for each time: probabilities [T, P]
            (floats) or action numbers [T, S] (integers), such as `HorizonSolution.action`.
        horizon: T, the number of steps.
        discount: γ in [0, 1].
        final: as in `finite_horizon`.

    Raises:
        ValueError: as `finite_horizon`, and when the policy is not one of this model.
        MemoryError: as `finite_horizon`.

    >>> import retorno as rt
    >>> evaluate_horizon(rt.environments.student(), rt.bellman.uniform, horizon=1).value[0]
    array([-0.5, -1.5, -1. ,  5.5,  0. ])
    """
    model = model_of(model)
    backup = backup_of(model, discount)
    tables = _tables(model, horizon, final)
    by_name = isinstance(policy, Mapping)
    given: Any = probabilities(model, policy) if by_name else np.asarray(policy(model) if callable(policy) else policy)
    if given.ndim == 2 and len(given) != horizon:
        raise ValueError(f"the policy is for {len(given)} steps, the horizon is {horizon}: give one row a step")
    value = tables.value[horizon][~model.terminal]
    chances, chosen = np.empty(0), backup
    for t in reversed(range(horizon)):
        if given.ndim == 2 or t == horizon - 1:
            chances = probabilities(model, given[t] if given.ndim == 2 else given)
            chosen = backup.under(chances)
        q = backup.q(value)
        error = tables.error[t] = _grown(chosen, value, tables.error[t + 1])
        value = chosen.q(value)
        tables.store(t, value, backup.greedy(chances), q + 2 * error >= backup.best(q)[backup.owner])
    shares = None if np.issubdtype(given.dtype, np.integer) else np.atleast_2d(given)
    return tables.answer(discount, shares, evaluated=True)


def _grown(backup: Backup, value: Float[np.ndarray, " n"], error: float) -> float:
    """The error of a backup of values with that error; the last factor is for the rounding of the error itself."""
    return ((1 - backup.least_leak) * error + backup.noise(value)) * (1 + 1e-12)


class _Tables(NamedTuple):
    """An answer while it is worked out, from the last time to the first."""

    model: MDP
    value: Float[np.ndarray, "T+1 S"]
    error: Float[np.ndarray, " T+1"]
    policy: Int[np.ndarray, "T S"]
    optimal: Bool[np.ndarray, "T P"]

    def store(
        self,
        t: int,
        value: Float[np.ndarray, " n"],
        choice: Int[np.ndarray, " n"],
        optimal: Bool[np.ndarray, " P"],
    ) -> None:
        """Write down what holds at a time, of the states that have actions."""
        acting = ~self.model.terminal
        self.value[t, acting] = value
        self.policy[t, acting] = choice
        self.optimal[t] = optimal

    def answer(
        self, discount: Number, chances: Any = None, minimise: bool = False, evaluated: bool = False
    ) -> HorizonSolution:
        """What is given back when all is written down."""
        return HorizonSolution(
            self.model, float(discount), self.value, self.error, self.policy, self.optimal, minimise, chances, evaluated
        )


def _tables(model: MDP, horizon: int, final: Any) -> _Tables:
    """The tables before the first step."""
    if horizon < 0:
        raise ValueError(f"the horizon must be a number of steps, 0 or more, got {horizon}")
    states, pairs = model.num_states, model.num_pairs
    need, have = (horizon + 1) * 8 * (states + 1) + horizon * (8 * states + pairs), available()
    if have is not None and need > have:
        raise MemoryError(
            f"{horizon:,} steps of {states:,} states and {pairs:,} pairs need {readable(need)} for the tables, "
            f"and {readable(have)} are free: ask for at most {int(horizon * have / need):,} steps at a time, "
            "each with the values of the one before as `final`"
        )
    value = np.zeros((horizon + 1, states))
    if final is not None:
        given = np.asarray(final, float)
        if given.shape != (states,):
            raise ValueError(f"final needs one value per state [{states}], got {given.shape}")
        if not np.isfinite(given).all():
            s = int(np.argmin(np.isfinite(given)))
            raise ValueError(f"final value of state {model.state_names[s]!r}: got {given[s]}, expected a finite number")
        if (given[model.terminal] != 0).any():
            s = int(np.argmax(model.terminal & (given != 0)))
            raise ValueError(
                f"final value of state {model.state_names[s]!r}: got {given[s]:g}, and an episode has ended there "
                "and earns no more: pay it as the reward of the transitions that lead there, and give 0"
            )
        value[horizon] = given
    return _Tables(
        model=model,
        value=value,
        error=np.zeros(horizon + 1),
        policy=np.full((horizon, states), -1),
        optimal=np.zeros((horizon, pairs), bool),
    )
