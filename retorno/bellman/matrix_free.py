"""Models that are never stored: transitions are computed where they are needed, by a compiled function.

A lake of ten million states takes gigabytes as a table and none as the few lines that say where a step
leads. The sweeps are those of `partitioned` and its bounds the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from retorno.bellman.backup import UNDERFLOW, require_float64
from retorno.bellman.bounds import tails
from retorno.bellman.solve_monitor import MOST_SWEEPS, RELATIVE, Progress, SolveMonitor
from retorno.bellman.sweeping import BLOCK, MOST_PASSES, shared
from retorno.core.mdp import ModelError, Numbered
from retorno.core.memory import ensure_fits
from retorno.core.numerals import Number, as_fraction, plain

BYTES_A_STATE = 36
"""Three values, a choice and what is computed from them."""
FAULTS = (
    "",
    "a probability that is negative or not a number",
    "probabilities that do not sum to one",
    "a next state that is not one of the model's",
    "a reward that is not finite",
    "a discount outside [0, 1]",
)


@dataclass(frozen=True, eq=False)
class MatrixFree:
    """A model as a function, with S states, A actions and at most K outcomes of each.

    `transition(state, action, k)` returns outcome k as (next state, probability, reward, discount):
    discount 0 where it terminates. Outcomes of probability 0 are not there, and an action without any
    outcome is not one of the state's; a state without actions is terminal. The function is compiled
    with Numba, so it may use numbers and NumPy arrays, and has no side effects.
    """

    transition: Callable[[int, int, int], tuple[int, float, float, float]]
    num_states: int
    num_actions: int
    num_outcomes: int
    start: int = 0
    """The state in which an episode begins."""

    @property
    def state_names(self) -> Sequence[str]:
        return Numbered(self.num_states)

    @property
    def action_names(self) -> Sequence[str]:
        return Numbered(self.num_actions)


@dataclass(frozen=True, eq=False)
class MatrixFreeSolution:
    """The exact answer about a model that is not stored."""

    model: MatrixFree = field(repr=False)
    question_discount: float
    value: Float[np.ndarray, " S"]
    lower: Float[np.ndarray, " S"]
    upper: Float[np.ndarray, " S"]
    action: Int[np.ndarray, " S"]
    """A best action of each state; −1 where it is terminal."""
    policy_loss_bound: float
    converged: bool
    sweeps: int
    residuals: tuple[float, ...]
    minimise: bool = False
    """Whether the least return is the best."""
    rounding: float = 0.0
    """How far rounding may move one backup of the value."""

    @property
    def start_value(self) -> float:
        return float(self.value[self.model.start])

    def actions(self, state: int) -> tuple[int, ...]:
        """*All* actions of a state that tie for the best within the bounds."""
        better, worse = (self.lower, self.upper) if self.minimise else (self.upper, self.lower)
        sign = -1.0 if self.minimise else 1.0
        most = {a: sign * q for a in range(self.model.num_actions) if (q := self._q(state, a, better)) is not None}
        least = max((sign * q for a in most if (q := self._q(state, a, worse)) is not None), default=0.0)
        return tuple(a for a, q in most.items() if q + 4 * self.rounding >= least)

    def _q(self, state: int, action: int, value: Float[np.ndarray, " S"]) -> float | None:
        """An action's value, None where the state has no such action."""
        outcomes = (self.model.transition(state, action, k) for k in range(self.model.num_outcomes))
        possible = [
            p * (reward + self.question_discount * discount * value[target])
            for target, p, reward, discount in outcomes
            if p > 0
        ]
        return float(sum(possible)) if possible else None


def solve_matrix_free(
    model: MatrixFree,
    discount: Number,
    accuracy: float = 1e-6,
    *,
    minimise: bool = False,
    sweeps: int = MOST_SWEEPS,
    seconds: float | None = None,
    watch: Callable[[Progress], object] | None = None,
) -> MatrixFreeSolution:
    """The best value of each state and an action that reaches it. Arguments as in `solve`.

    Every action has to be discounted, by γ below 1 or by outcomes with discounts of their own.
    Memory: about 36 bytes a state, estimated before it is allocated.

    Raises:
        ValueError: when the discount is not in [0, 1], or an action goes on undiscounted.
        ModelError: when the function returns what no model can hold, naming the state and the action.
    """
    from retorno.bellman import kernels

    if not 0 <= discount <= 1:
        raise ValueError(f"discount must lie in [0, 1], got {discount}")
    ensure_fits(BYTES_A_STATE * model.num_states, f"solving {model.num_states:,} states")
    transition = model.transition if hasattr(model.transition, "py_func") else kernels.inner(model.transition)
    sign = -1.0 if minimise else 1.0
    rows = kernels.Generated(transition, model.num_actions, model.num_outcomes, float(discount), sign)
    least_end, most_end, largest_reward = _survey(model, rows)
    lacking, discount = float(1 - as_fraction(discount)), float(discount)
    least_leak, most_leak = lacking + discount * least_end, lacking + discount * most_end
    if least_leak <= 0:
        raise ValueError(
            f"some action goes on for certain, undiscounted at discount {plain(discount)}: a model that is not stored "
            "needs a discount below 1; store it for discount 1"
        )
    require_float64(largest_reward, least_leak, discount)
    rounding = (2 * model.num_outcomes + 8) * 2.0**-53
    least_leak, most_leak = least_leak * (1 - rounding), min(most_leak * (1 + rounding), 1.0)
    sweep, pass_over_blocks = (kernels.compiled_anew(one) for one in (kernels.sweep, kernels.pass_over_blocks))

    size = max(BLOCK, model.num_states // 4096)
    leads = kernels.compiled_anew(kernels.leading_blocks)(rows, model.num_states, size)
    monitor = SolveMonitor(accuracy, RELATIVE, sweeps, np.inf if seconds is None else seconds, watch=watch)
    small = model.num_states * model.num_actions < 2**31
    value, choice = np.zeros(model.num_states), np.empty(model.num_states, np.int32 if small else np.int64)
    new = np.empty_like(value)
    while True:
        low, high = shared(sweep, rows, value, new, choice, model.num_states * model.num_actions)
        noise = rounding * (largest_reward + 2 * float(max(value.max(), -value.min()))) + UNDERFLOW
        residual = max(-low, high, 0.0)
        below, above = tails(least_leak, most_leak, low, high, noise)
        stop = monitor.record(residual, width=above - below)
        enough = monitor.enough(new)
        if stop or above - below <= enough or residual <= noise:
            break
        if len(monitor.residuals) == 1:
            # Far from all that pays, a state earns for ever what the median state earns now.
            new[choice >= 0] = float(np.median(new[:: max(1, model.num_states // 100_000)])) / least_leak
        value, new = new, value
        target = max(enough * least_leak / 4, 0.03 * residual, noise)
        pending = np.full(len(leads), np.inf)
        for k in range(16 * MOST_PASSES):
            pass_over_blocks(rows, value, choice, size, leads, pending, -np.inf, target, 4, k % 2 == 0)
            if (pending <= target).all() or monitor.pause():
                break
    action = np.where(choice >= 0, choice % model.num_actions, -1)
    np.add(new, below, out=value)
    upper = new + above
    new += (below + above) / 2
    if minimise:
        for each in (new, value, upper):
            np.negative(each, out=each)
        value, upper = upper, value
    return MatrixFreeSolution(
        model=model,
        question_discount=discount,
        value=new,
        lower=value,
        upper=upper,
        action=action,
        policy_loss_bound=above - below,
        converged=above - below <= enough,
        sweeps=len(monitor.residuals),
        residuals=tuple(monitor.residuals),
        minimise=minimise,
        rounding=noise,
    )


def _survey(model: MatrixFree, rows: Any) -> tuple[float, float, float]:
    """The least and the most mean of 1 − discount of any pair, and the largest mean of |reward|."""
    from retorno.bellman import kernels

    fault, state, action, least, most, largest = kernels.compiled_anew(kernels.survey)(
        rows, model.num_states, 0, model.num_states
    )
    if fault:
        raise ModelError(
            f"state {state}, action {action}: the transition function returns {FAULTS[fault]}; expected "
            f"(next state below {model.num_states}, probability, reward, discount)"
        )
    if not np.isfinite(least):
        raise ModelError("the model has no state with an action: some outcome needs a positive probability")
    return least, most, largest
