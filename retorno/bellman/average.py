"""The average reward of a step, for ever: gain and bias. Puterman 1994, chapters 8, 9 and (by time) 11.

A policy's gain g and bias h solve g = Pg, h + τg = r + Ph, where τ is the time that a step takes. What
ends earns nothing for ever after: its gain is 0, and counts in the mean of the states that may end.

A method proposes a policy and a bias; the certificate is made of the two, whatever method they came from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.bellman.average_problem import (
    AverageProblem,
    advantage,
    extremes,
    question_about,
    question_of,
    staying_pairs,
    without_zeros,
)
from retorno.bellman.chains import Chain, follow
from retorno.bellman.end_component_quotient import go_and_stay, upper_bound
from retorno.bellman.evaluation import SMALL, Policy, closed_form, probabilities, suited
from retorno.bellman.explanation import Explanation, Onward, backups, ranked
from retorno.bellman.semi_markov import Duration
from retorno.bellman.solve_monitor import RELATIVE, Progress, SolveMonitor
from retorno.core.mdp import MDP, Modelled, model_of
from retorno.core.solution import names_of, told_actions


@dataclass(frozen=True, eq=False)
class AverageSolution:
    """Gain and bias, with a certificate: `lower ≤ gain* ≤ upper` for the gain asked for.

    That is the best one for `average_reward`, whose `policy` earns it to within
    `policy_loss_bound`; the policy's own for `evaluate_average`.
    """

    model: MDP = field(repr=False)
    gain: Float[np.ndarray, " S"]
    """The reward per step (per unit of time where durations are given), for ever; 0 in terminal states."""
    lower: Float[np.ndarray, " S"]
    upper: Float[np.ndarray, " S"]
    bias: Float[np.ndarray, " S"]
    """What starting here earns beyond the gain, under `policy`: 0 in the mean over each recurrent class's steps."""
    policy: Float[np.ndarray, " P"]
    """The probability of each pair in its state."""
    optimal: Bool[np.ndarray, " P"]
    """Pairs that solve both optimality equations with this gain and bias, within the bounds, and the policy's."""
    classes: Int[np.ndarray, " S"]
    """The recurrent class of each state under `policy`, −1 where it is left for ever."""
    stationary: Float[np.ndarray, " S"]
    """The share of steps that each class spends in each of its states: sums to 1 over each class."""
    ends: bool
    """Whether some state may end under `policy`."""
    converged: bool
    """Whether the bounds are as close as the accuracy asked for."""
    sweeps: int
    residuals: tuple[float, ...]
    """How far apart the bounds of the components were after each sweep, or how much each improvement gained."""
    method: str
    time: Float[np.ndarray, " P"] = field(repr=False)
    """The expected time that each pair takes: 1 unless durations are given."""
    minimise: bool = False
    """Whether the least reward is the best."""
    evaluated: bool = False
    """Whether `policy` was given, and the gain is that policy's."""

    @property
    def policy_loss_bound(self) -> float:
        """No state loses more than this of the best gain by following `policy`."""
        return float((self.upper - self.lower).max(initial=0.0))

    @property
    def unichain(self) -> bool:
        """Whether all of `policy`'s ways lead to one recurrent class, or all to an end; else it is multichain."""
        return int(self.classes.max(initial=-1)) + 1 + self.ends == 1

    @property
    def start_gain(self) -> float:
        """The gain's mean over the model's initial distribution."""
        return float(self.model.initial @ self.gain)

    def actions(self, state: str | int) -> tuple[str, ...]:
        """The names of the actions of a state that are `optimal`."""
        return names_of(self.model, self.model.state(state), self.optimal)

    def told(self, state: str | int) -> str:
        """What a table says of a state's actions: what the evaluated policy does, or all that are optimal."""
        return told_actions(self.model, self.model.state(state), self.policy if self.evaluated else self.optimal)

    def explain(self, state: str | int) -> Explanation:
        """Each action's backup of a state, r + Ph − τg, term by term, and the gain that it leads to.

        Raises:
            KeyError: when there is no such state.
        """
        s = self.model.state(state)
        keeping, losing = [], []
        choices = backups(self.model, s, Onward(self.bias, self.bias, self.bias, 1.0), self.optimal, self.policy)
        for p, choice in enumerate(choices, start=int(self.model.state_ptr[s])):
            rows = slice(self.model.row_ptr[p], self.model.row_ptr[p + 1])
            chances = self.model.probability[rows] * self.model.discount[rows]
            gain = float(chances @ self.gain[self.model.next_state[rows]])
            value = choice.value - float(self.time[p] * self.gain[s])
            choice = replace(choice, value=value, lower=value, upper=value, gain=gain)
            worse = float(gain - self.gain[s] if self.minimise else self.gain[s] - gain)
            if worse > self.policy_loss_bound + 1e-9 * abs(float(self.gain[s])):
                losing.append(replace(choice, loss=worse))
            else:
                keeping.append(choice)
        return Explanation(
            state=self.model.state_names[s],
            value=float(self.bias[s]),
            lower=float(self.lower[s]),
            upper=float(self.upper[s]),
            discount=1.0,
            choices=(*ranked(keeping, self.minimise), *sorted(losing, key=lambda choice: choice.loss)),
            gain=float(self.gain[s]),
        )

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("state", "gain", "lower", "upper", "bias", "class", "policy")]
        for s, name in enumerate(self.model.state_names):
            numbers = (f"{x[s]:z.6f}" for x in (self.gain, self.lower, self.upper, self.bias))
            at = str(self.classes[s]) if self.classes[s] >= 0 else "-"
            rows.append((str(name), *numbers, at, self.told(s)))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = []
        for row in rows:
            cells = zip(row, widths, range(len(row)), strict=True)
            lines.append("  ".join(c.ljust(w) if i in (0, 6) else c.rjust(w) for c, w, i in cells).rstrip())
        chains = int(self.classes.max(initial=-1)) + 1
        kind = "unichain" if self.unichain else f"multichain ({chains} recurrent classes{', or it ends' * self.ends})"
        state = "converged" if self.converged else "NOT converged"
        lines.append(
            f"average reward, {kind}, {self.method}, {state} after {self.sweeps} sweeps; "
            f"start gain {self.start_gain:z.6f}, bounds at most {self.policy_loss_bound:.1e} apart"
        )
        return "\n".join(lines)


class Proposal(NamedTuple):
    """What a method found, to be checked: nothing about it is trusted."""

    choice: Int[np.ndarray, " n"]
    """A pair for each state."""
    bias: Float[np.ndarray, " n"]


Method = Callable[[AverageProblem, SolveMonitor], Proposal]
"""Proposes a policy and a bias, to the monitor's accuracy of the gain."""


def average_reward(
    model: Modelled,
    *,
    minimise: bool = False,
    accuracy: float = 1e-6,
    duration: Duration | None = None,
    method: Method | None = None,
    sweeps: int = 100_000,
    seconds: float | None = None,
    watch: Callable[[Progress], object] | None = None,
) -> AverageSolution:
    r"""The best average reward from each state, and a policy that earns it from all of them.

    .. math:: g(s) = \max_a \sum_{s'} p(s' \mid s, a)\, g(s'), \qquad
              h(s) = \max_a \Bigl[r(s, a) - \tau(s, a)\, g(s) + \sum_{s'} p(s' \mid s, a)\, h(s')\Bigr]

    Args:
        model: with S states, P pairs and N transitions; of any structure: periodic, multichain, with
            states that end (a transition's discount is the probability that it goes on).
        minimise: whether rewards are costs.
        accuracy: how close the bounds must be for the answer to count as `converged`; or nine digits of the largest
            gain, whichever is more.
        duration: expected time that each transition [N] or each pair [P] takes, positive: a
            semi-Markov model, whose gain is per unit of time. One unit each without.
        method: `relative_value_iteration` or `multichain_policy_iteration`. Without one: up to 1,000
            states the latter, and the former where rounding left its bounds too wide; above, the former.
        sweeps: stop after so many sweeps or improvements, with the bounds reached and `converged=False`.
        seconds: stop after this time, likewise.
        watch: called about ten times a second with (sweeps, width of the bounds, seconds); the solve
            stops, with the bounds reached, where it returns True.

    Raises:
        ValueError: when `duration` has another length, or is not positive and finite.
        ModelError: when a transition has a negative discount.

    >>> import retorno as rt
    >>> hold = rt.mdp({"low": {"wait": [(1.0, "high", 0.0)]}, "high": {"work": [(1.0, "low", 3.0)]}}, initial="low")
    >>> rt.bellman.average_reward(hold).gain.round(6)
    array([1.5, 1.5])
    """
    model = model_of(model)
    question = question_of(model, minimise, duration)
    small = question.backup.num_states <= SMALL
    methods = [method] if method else [multichain_policy_iteration, relative_value_iteration][0 if small else 1 :]
    best: tuple[Chain, Proposal, str] | None = None
    upper = np.full(question.backup.num_states, np.inf)
    monitor = SolveMonitor(accuracy, RELATIVE, sweeps, np.inf if seconds is None else seconds, watch=watch)
    for each in methods:
        proposal = each(question, monitor)
        upper = np.minimum(upper, upper_bound(question, proposal.bias))
        chain = follow(question.backup.choose(proposal.choice), question.time[proposal.choice], proposal.bias, monitor)
        if best is None or (upper - chain.lower).max() < (upper - best[0].lower).max():
            name = getattr(each, "func", each).__name__.replace("_", " ")
            best = chain, proposal, name
        if (upper - best[0].lower).max() <= monitor.enough(best[0].gain) or monitor.stopped:
            break
    assert best is not None
    chain, proposal, name = best
    backup = question.backup
    policy = np.zeros(backup.num_pairs)
    policy[proposal.choice] = 1.0
    width = float((upper - chain.lower).max())
    onwards = backup.rows @ upper + backup.rounding * float(np.abs(upper).max())
    left = advantage(question, chain.gain, chain.bias)
    tolerance = 2 * question.time * width + np.abs(left[proposal.choice]).max() + 4 * backup.noise(chain.bias)
    optimal = (onwards >= chain.lower[backup.owner]) & (left >= -tolerance)
    optimal[proposal.choice] = True
    return _solution(model, minimise, chain._replace(upper=upper), policy, optimal, monitor, name, question.time)


def evaluate_average(
    model: Modelled,
    policy: Policy,
    *,
    accuracy: float = 1e-6,
    duration: Duration | None = None,
) -> AverageSolution:
    """A policy's gain, bias, recurrent classes and stationary distributions. Arguments as in `average_reward`.

    `policy` is as in `evaluate`. `optimal` marks the pairs that an improvement of it may choose.

    Raises:
        ValueError: as `average_reward`, and when the policy is not one of this model.

    >>> import retorno as rt
    >>> ring = rt.mdp({"a": {"on": [(1.0, "b", 0.0)]}, "b": {"on": [(1.0, "a", 4.0)]}}, initial="a")
    >>> rt.bellman.evaluate_average(ring, rt.bellman.uniform).gain.round(6)
    array([2., 2.])
    """
    model = model_of(model)
    question = question_of(model, False, duration)
    backup, chances = question.backup, probabilities(model, policy)
    time = np.add.reduceat(chances * question.time, backup.ptr[:-1])
    chosen = without_zeros(backup.under(chances))
    guess, monitor = None, SolveMonitor(accuracy, RELATIVE)
    if suited(chosen, precise=True) is not closed_form:
        guess = relative_value_iteration(question_about(chosen, time), monitor).bias
    chain = follow(chosen, time, guess, monitor)
    onwards = backup.rows @ chain.gain
    keeps = onwards >= backup.best(onwards)[backup.owner] - accuracy
    left = np.where(keeps, advantage(question, chain.gain, chain.bias), -np.inf)
    optimal = left >= backup.best(left)[backup.owner] - accuracy
    return _solution(model, False, chain, chances, optimal, monitor, "policy evaluation", question.time, evaluated=True)


def relative_value_iteration(question: AverageProblem, monitor: SolveMonitor, *, step: float = 0.9) -> Proposal:
    """Sweep h ← h + step · (max_a (r + Ph − h)/τ − its middle) in every component. Puterman 1994, section 8.5.

    A step below the shortest time leaves a chance of staying in every state, so that periodic
    models settle too (the aperiodicity transformation, section 8.5.4; for semi-Markov models the one of
    Schweitzer 1971, section 11.4.2). Stops when the bounds of each component are within the accuracy,
    or when rounding hides the rest.
    """
    backup = question.backup
    states = np.flatnonzero(question.label >= 0)
    bias, choice = np.zeros(backup.num_states), np.zeros(backup.num_states, np.int64)
    worth = np.zeros(question.components)
    if len(states):
        pairs, staying = staying_pairs(question)
        label, time, h = question.label[states], question.time[pairs], np.zeros(len(states))
        even = bool((time == 1).all())
        stride = step * float(time.min())
        while True:
            q = staying.q(h)
            q -= h[staying.owner]
            if not even:
                q /= time
            rise = staying.best(q)
            low, high = extremes(rise, label, question.components)
            width, worth = float((high - low).max()), (low + high) / 2
            noise = 4 * staying.noise(h) / float(time.min())
            if monitor.record(width, width=width) or width <= max(monitor.enough(worth) / 2 - 2 * noise, noise):
                break
            h += stride * (rise - worth[label])
        bias[states], choice[states] = h, pairs[staying.greedy(q)]
    return Proposal(go_and_stay(question, worth, choice), bias)


def multichain_policy_iteration(question: AverageProblem, monitor: SolveMonitor) -> Proposal:
    """Raise Pg where a pair can, else r + Ph − τg among those that keep g. Howard 1960; Puterman 1994, section 9.2.

    Each policy is evaluated by sparse elimination. A gain below rounding is no gain.
    """
    backup = question.backup
    choice = backup.greedy(backup.reward / question.time)
    tried: set[bytes] = set()
    while True:
        chain = follow(backup.choose(choice), question.time[choice], None, monitor, bounded=False)
        scale = float(np.abs(chain.gain).max())
        onwards = backup.rows @ chain.gain - chain.gain[backup.owner]
        left = np.where(onwards >= -1e-10 * scale, advantage(question, chain.gain, chain.bias), -np.inf)
        tried.add(choice.tobytes())
        for gained, least in (
            (onwards, 1e-10 * scale),
            (left, 8 * backup.noise(chain.bias) + 1e-13 * scale * float(question.time.max())),
        ):
            rises = backup.best(gained) - np.maximum(gained[choice], 0.0) > least
            improved = np.where(rises, backup.greedy(gained), choice)
            if rises.any() and improved.tobytes() not in tried:
                break
        else:
            monitor.record(0.0)
            return Proposal(choice, chain.bias)
        if monitor.record(float(backup.best(gained).max())):
            return Proposal(choice, chain.bias)
        choice = improved


def _solution(
    model: MDP,
    minimise: bool,
    chain: Chain,
    policy: Float[np.ndarray, " P"],
    optimal: Bool[np.ndarray, " P"],
    monitor: SolveMonitor,
    method: str,
    time: Float[np.ndarray, " P"],
    evaluated: bool = False,
) -> AverageSolution:
    """Join an answer over the acting states to one over all, for costs with their sign."""

    def everywhere(x: Any, rest: float = 0.0) -> Any:
        full = np.full(model.num_states, rest, x.dtype)
        full[~model.terminal] = x
        return full

    lower, upper = (-chain.upper, -chain.lower) if minimise else (chain.lower, chain.upper)
    sign = -1.0 if minimise else 1.0
    return AverageSolution(
        model=model,
        gain=everywhere(np.clip(sign * chain.gain, lower, upper)),
        lower=everywhere(lower),
        upper=everywhere(upper),
        bias=everywhere(sign * chain.bias),
        policy=policy,
        optimal=optimal,
        classes=everywhere(chain.classes, -1),
        stationary=everywhere(chain.stationary),
        ends=chain.ends or bool(model.terminal.any()),
        converged=bool((upper - lower).max() <= monitor.enough(chain.gain)),
        sweeps=len(monitor.residuals),
        residuals=tuple(monitor.residuals),
        method=method,
        time=time,
        minimise=minimise,
        evaluated=evaluated,
    )
