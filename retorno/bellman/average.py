"""The average reward of a step, for ever: gain and bias. Puterman 1994, chapters 8, 9 and (by time) 11.

A policy's gain g and bias h solve g = Pg, h + τg = r + Ph, where τ is the time that a step takes. What
ends earns nothing for ever after: its gain is 0, and counts in the mean of the states that may end.

The bounds rest on where a process can stay (Ashok et al. 2017, "Value iteration for long-run average
reward in Markov decision processes"). In a maximal end component no policy earns more than
max (r + Ph − h)/τ over its pairs, and a policy's own loop no less than the min over its pairs,
*whatever h is*. So h may come from any method, rounded as it is. Where to stay is then a problem that
ends, with the components' bounds as its rewards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.bellman.backup import Backup, backup_of
from retorno.bellman.endings import end_components
from retorno.bellman.evaluation import SMALL, Policy, probabilities, suited
from retorno.bellman.journal import Evaluated, Journal, Progress
from retorno.core.mdp import MDP, Numbered

MOST_SWEEPS = 20_000
"""Where the states that are left for ever are too many for elimination, their bounds are those of so many sweeps."""


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
        s = self.model.state(state)
        pairs = range(self.model.state_ptr[s], self.model.state_ptr[s + 1])
        return tuple(str(self.model.action_names[self.model.action[p]]) for p in pairs if self.optimal[p])

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("state", "gain", "lower", "upper", "bias", "class", "policy")]
        for s, name in enumerate(self.model.state_names):
            numbers = (f"{x[s]:.6f}" for x in (self.gain, self.lower, self.upper, self.bias))
            at = str(self.classes[s]) if self.classes[s] >= 0 else "-"
            rows.append((str(name), *numbers, at, " or ".join(self.actions(s)) or "(terminal)"))
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
            f"start gain {self.start_gain:.6f}, bounds at most {self.policy_loss_bound:.1e} apart"
        )
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Question:
    """What a method is asked: the best average reward of n states that act, with P pairs."""

    backup: Backup
    """At discount 1, rewards to be made large, no entry of probability 0."""
    time: Float[np.ndarray, " P"]
    """Expected time that each pair takes."""
    label: Int[np.ndarray, " n"]
    """The maximal end component of each state, −1 where it can stay in none."""
    inner: Bool[np.ndarray, " P"]
    """The pairs that stay in their state's component."""

    @cached_property
    def components(self) -> int:
        return int(self.label.max(initial=-1)) + 1

    @property
    def communicating(self) -> bool:
        """Whether there is nothing but one component: everywhere can be reached from everywhere."""
        return self.components == 1 and bool(self.inner.all())


class Proposal(NamedTuple):
    """What a method found, to be checked: nothing about it is trusted."""

    choice: Int[np.ndarray, " n"]
    """A pair for each state."""
    bias: Float[np.ndarray, " n"]


Method = Callable[[Question, Journal], Proposal]
"""Proposes a policy and a bias, to the journal's accuracy of the gain."""


def average_reward(
    model: MDP,
    *,
    minimise: bool = False,
    accuracy: float = 1e-6,
    duration: Float[np.ndarray, " N|P"] | None = None,
    method: Method | None = None,
    sweeps: int = 100_000,
    seconds: float | None = None,
    watch: Callable[[Progress], object] | None = None,
) -> AverageSolution:
    """The best average reward from each state, and a policy that earns it from all of them.

    Args:
        model: with S states, P pairs and N transitions; of any structure: periodic, multichain, with
            states that end (a transition's discount is the probability that it goes on).
        minimise: whether rewards are costs.
        accuracy: how close the bounds must be for the answer to count as `converged`.
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
    """
    question = _question(model, minimise, duration)
    small = question.backup.num_states <= SMALL
    methods = [method] if method else [multichain_policy_iteration, relative_value_iteration][0 if small else 1 :]
    best: tuple[_Chain, Proposal, str] | None = None
    upper = np.full(question.backup.num_states, np.inf)
    journal = Journal(accuracy, sweeps, np.inf if seconds is None else seconds, watch=watch)
    for each in methods:
        proposal = each(question, journal)
        upper = np.minimum(upper, _upper_bound(question, proposal.bias))
        chain = _follow(
            question.backup.choose(proposal.choice), question.time[proposal.choice], proposal.bias, accuracy
        )
        if best is None or (upper - chain.lower).max() < (upper - best[0].lower).max():
            name = getattr(each, "func", each).__name__.replace("_", " ")
            best = chain, proposal, name
        if (upper - best[0].lower).max() <= accuracy or journal.stopped:
            break
    assert best is not None
    chain, proposal, name = best
    backup = question.backup
    policy = np.zeros(backup.num_pairs)
    policy[proposal.choice] = 1.0
    width = float((upper - chain.lower).max())
    onwards = backup.rows @ upper + backup.rounding * float(np.abs(upper).max())
    left = _advantage(question, chain.gain, chain.bias)
    tolerance = 2 * question.time * width + np.abs(left[proposal.choice]).max() + 4 * backup.noise(chain.bias)
    optimal = (onwards >= chain.lower[backup.owner]) & (left >= -tolerance)
    optimal[proposal.choice] = True
    return _solution(model, minimise, chain._replace(upper=upper), policy, optimal, journal, name)


def evaluate_average(
    model: MDP,
    policy: Policy,
    *,
    accuracy: float = 1e-6,
    duration: Float[np.ndarray, " N|P"] | None = None,
) -> AverageSolution:
    """A policy's gain, bias, recurrent classes and stationary distributions. Arguments as in `average_reward`.

    `policy` is as in `evaluate`. `optimal` marks the pairs that an improvement of it may choose.

    Raises:
        ValueError: as `average_reward`, and when the policy is not one of this model.
    """
    question = _question(model, False, duration)
    backup, chances = question.backup, probabilities(model, policy)
    time = np.add.reduceat(chances * question.time, backup.ptr[:-1])
    chosen = _positive(backup.under(chances))
    guess, journal = None, Journal(accuracy)
    if backup.num_states > SMALL:
        guess = relative_value_iteration(_components(chosen, time), journal).bias
    chain = _follow(chosen, time, guess, accuracy)
    onwards = backup.rows @ chain.gain
    keeps = onwards >= backup.best(onwards)[backup.owner] - accuracy
    left = np.where(keeps, _advantage(question, chain.gain, chain.bias), -np.inf)
    optimal = left >= backup.best(left)[backup.owner] - accuracy
    return _solution(model, False, chain, chances, optimal, journal, "policy evaluation")


def relative_value_iteration(question: Question, journal: Journal, *, step: float = 0.9) -> Proposal:
    """Sweep h ← h + step · (max_a (r + Ph − h)/τ − its middle) in every component. Puterman 1994, section 8.5.

    A step below the shortest time leaves a chance of staying in every state, so that periodic
    models settle too (the aperiodicity transformation, section 8.5.4; for semi-Markov models the one of
    Schweitzer 1971, section 11.4.2). Stops when the bounds of each component are within the accuracy,
    or when rounding hides the rest.
    """
    backup, accuracy = question.backup, journal.accuracy
    states = np.flatnonzero(question.label >= 0)
    bias, choice = np.zeros(backup.num_states), np.zeros(backup.num_states, np.int64)
    worth = np.zeros(question.components)
    if len(states):
        pairs, staying = _staying(question)
        label, time, h = question.label[states], question.time[pairs], np.zeros(len(states))
        even = bool((time == 1).all())
        stride = step * float(time.min())
        while True:
            q = staying.q(h)
            q -= h[staying.owner]
            if not even:
                q /= time
            rise = staying.best(q)
            low, high = _extremes(rise, label, question.components)
            width, worth = float((high - low).max()), (low + high) / 2
            noise = 4 * staying.noise(h) / float(time.min())
            if journal.record(width, width=width) or width <= max(accuracy / 2 - 2 * noise, noise):
                break
            h += stride * (rise - worth[label])
        bias[states], choice[states] = h, pairs[staying.greedy(q)]
    return Proposal(_go_and_stay(question, worth, choice), bias)


def multichain_policy_iteration(question: Question, journal: Journal) -> Proposal:
    """Raise Pg where a pair can, else r + Ph − τg among those that keep g. Howard 1960; Puterman 1994, section 9.2.

    Each policy is evaluated by sparse elimination. A gain below rounding is no gain.
    """
    backup = question.backup
    choice = backup.greedy(backup.reward / question.time)
    tried: set[bytes] = set()
    while True:
        chain = _follow(backup.choose(choice), question.time[choice], None, journal.accuracy, bounded=False)
        scale = float(np.abs(chain.gain).max())
        onwards = backup.rows @ chain.gain - chain.gain[backup.owner]
        left = np.where(onwards >= -1e-10 * scale, _advantage(question, chain.gain, chain.bias), -np.inf)
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
            journal.record(0.0)
            return Proposal(choice, chain.bias)
        if journal.record(float(backup.best(gained).max())):
            return Proposal(choice, chain.bias)
        choice = improved


class _Chain(NamedTuple):
    """A policy's average, over the n states that act."""

    gain: Float[np.ndarray, " n"]
    lower: Float[np.ndarray, " n"]
    upper: Float[np.ndarray, " n"]
    bias: Float[np.ndarray, " n"]
    classes: Int[np.ndarray, " n"]
    stationary: Float[np.ndarray, " n"]
    ends: bool


def _question(model: MDP, minimise: bool, duration: Float[np.ndarray, " N|P"] | None) -> Question:
    backup = _positive(backup_of(model, 1.0, minimise))
    return _components(backup, _durations(model, duration))


def _components(backup: Backup, time: Float[np.ndarray, " P"]) -> Question:
    sets, inner = end_components(backup, np.ones(backup.num_pairs, bool))
    label = np.full(backup.num_states, -1)
    stays = np.unique(backup.owner[inner])
    label[stays] = np.unique(sets[stays], return_inverse=True)[1]
    return Question(backup, time, label, inner)


def _positive(backup: Backup) -> Backup:
    """Without stored zeros, which would look like ways that can be taken."""
    if (backup.rows.data > 0).all():
        return backup
    rows = backup.rows.copy()
    rows.eliminate_zeros()
    return replace(backup, rows=rows)


def _durations(model: MDP, duration: Float[np.ndarray, " N|P"] | None) -> Float[np.ndarray, " P"]:
    """The expected time of each pair."""
    if duration is None:
        return np.ones(model.num_pairs)
    given = np.asarray(duration, float)
    if given.shape not in ((model.num_transitions,), (model.num_pairs,)):
        raise ValueError(
            f"duration needs one time per transition [{model.num_transitions}] or per pair [{model.num_pairs}], "
            f"got {given.shape}"
        )
    if not (np.isfinite(given) & (given > 0)).all():
        raise ValueError(f"durations must be positive and finite, got {given.min()} to {given.max()}")
    if len(given) == model.num_pairs:  # as many transitions as pairs means one each, so both readings agree
        return given
    return np.add.reduceat(model.probability * given, model.row_ptr[:-1])


def _advantage(
    question: Question, gain: Float[np.ndarray, " n"], bias: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " P"]:
    """What each pair gains: r + Ph − h − τg."""
    owner = question.backup.owner
    return question.backup.q(bias) - bias[owner] - question.time * gain[owner]


def _extremes(x: Float[np.ndarray, " m"], label: Int[np.ndarray, " m"], count: int) -> tuple[Any, Any]:
    """The least and the largest of x in each of `count` sets."""
    if count == 1:
        return np.array([x.min()]), np.array([x.max()])
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, label, x)
    np.maximum.at(high, label, x)
    return low, high


def _staying(question: Question) -> tuple[Int[np.ndarray, " K"], Backup]:
    """The pairs that stay in their component, and the backup of them alone."""
    pairs = np.flatnonzero(question.inner)
    if question.communicating:
        return pairs, question.backup
    return pairs, _part(question.backup, question.label >= 0, question.inner)


def _part(backup: Backup, states: Bool[np.ndarray, " n"], pairs: Bool[np.ndarray, " P"]) -> Backup:
    """Some states with some of their pairs, none of which leads elsewhere or ends."""
    kept = np.flatnonzero(pairs)
    counts = np.bincount(backup.owner[kept], minlength=backup.num_states)[states]
    return replace(
        backup,
        rows=backup.rows[kept][:, np.flatnonzero(states)],
        reward=backup.reward[kept],
        leak=np.zeros(len(kept)),
        ptr=np.append(0, np.cumsum(counts)),
        names=Numbered(len(counts)),
    )


def _rounded(
    backup: Backup,
    time: Float[np.ndarray, " P"],
    h: Float[np.ndarray, " n"],
    label: Int[np.ndarray, " n"],
    count: int,
) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]]:
    """(r + Ph − h)/τ of each pair with how far rounding may have moved it; each set's h is centred first."""
    low, high = _extremes(h, label, count)
    h = h - ((low + high) / 2)[label]
    size = ((high - low) / 2)[label][backup.owner] * (1 + 1e-12)
    x = backup.q(h) - h[backup.owner]
    error = backup.rounding * (backup.largest_reward + 4 * size + np.abs(x))
    return x / time, 2 * error / time


def _follow(
    chain: Backup,
    time: Float[np.ndarray, " n"],
    guess: Float[np.ndarray, " n"] | None,
    accuracy: float,
    bounded: bool = True,
) -> _Chain:
    """The average of a policy; `guess` is a bias to trust in its classes where these are too large to be solved."""
    n = chain.num_states
    classes, count = _recurrent(chain)
    gain, bias, visits = np.zeros(n), np.zeros(n), np.zeros(n)
    lower, upper = np.zeros(n), np.zeros(n)
    inside = np.flatnonzero(classes >= 0)
    if count:
        label, own_time = classes[inside], time[inside]
        own = _part(chain, classes >= 0, classes >= 0)
        solved = _solve_classes(own, own_time, label, count) if guess is None or len(inside) <= SMALL else None
        h = solved[0] if solved else (np.zeros(len(inside)) if guess is None else guess[inside])
        low, high = np.full(count, -np.inf), np.full(count, np.inf)
        for guessed in (h, np.zeros(len(inside))):
            x, error = _rounded(own, own_time, guessed, label, count)
            low = np.maximum(low, _extremes(x - error, label, count)[0])
            high = np.minimum(high, _extremes(x + error, label, count)[1])
        lower[inside], upper[inside] = low[label], high[label]
        if solved:
            visits[inside] = solved[1]
        elif bounded:
            visits[inside] = _settle(own, label, count)
        mean = np.bincount(label, visits[inside] * own.reward) if solved else (low + high) / 2
        if solved:
            mean = np.clip(mean / np.bincount(label, visits[inside] * own_time), low, high)
        gain[inside] = mean[label]
        centre = np.bincount(label, visits[inside] * h) if solved or bounded else np.zeros(count)
        bias[inside] = h - centre[label]
    ends = bool((chain.leak > 0).any())
    outside = np.flatnonzero(classes < 0)
    if len(outside):
        into = chain.rows[outside][:, inside]
        passing = _Passing(
            rows=chain.rows[outside][:, outside],
            leak=chain.leak[outside] + into.sum(axis=1),
            rounding=2 * chain.rounding,
            accuracy=accuracy / 4,
        )
        gain[outside] = passing.mean(into @ gain[inside]).value
        bias[outside] = passing.mean(chain.reward[outside] - time[outside] * gain[outside] + into @ bias[inside]).value
        if bounded:
            # No mean lies outside of what it is the mean of, however little could be computed.
            there = slice(None) if ends else inside
            lower[outside] = np.maximum(passing.mean(into @ lower[inside]).lower, lower[there].min())
            upper[outside] = np.minimum(passing.mean(into @ upper[inside]).upper, upper[there].max())
            gain[outside] = np.clip(gain[outside], lower[outside], upper[outside])
    return _Chain(gain, lower, upper, bias, classes, visits, ends)


class _Passing(NamedTuple):
    """The states that a policy leaves for ever, as a problem that ends where it comes to a class or an end."""

    rows: Any
    leak: Float[np.ndarray, " k"]
    rounding: float
    accuracy: float

    def mean(self, reward: Float[np.ndarray, " k"]) -> Evaluated:
        """What is earned on the way, with its bounds; nothing is known where elimination fails."""
        k = len(reward)
        largest = float(np.abs(reward).max())
        backup = Backup(self.rows, reward, self.leak, np.arange(k + 1), Numbered(k), self.rounding, largest)
        try:
            answer = suited(backup)(backup, Journal(self.accuracy))
        except (RuntimeError, np.linalg.LinAlgError):  # singular to the last digit
            return Evaluated(np.zeros(k), np.full(k, -np.inf), np.full(k, np.inf))
        low, high = (np.where(np.isnan(x), side, x) for x, side in ((answer.lower, -np.inf), (answer.upper, np.inf)))
        return Evaluated(np.nan_to_num(answer.value), low, high)


def _recurrent(chain: Backup) -> tuple[Int[np.ndarray, " n"], int]:
    """The recurrent class of each state, −1 where it is left for ever, and how many there are."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    source, target = chain.rows.tocoo().coords
    # Through a coordinate matrix, which adds up what a row lists twice: connected_components never ends on such rows.
    graph = coo_array((np.ones(len(source)), (source, target)), shape=chain.rows.shape).tocsr()
    count, label = connected_components(graph, directed=True, connection="strong")
    closed = np.ones(count, bool)
    closed[label[source[label[source] != label[target]]]] = False
    closed[label[chain.leak > 0]] = False
    number = np.where(closed, np.cumsum(closed) - 1, -1)
    return number[label], int(closed.sum())


def _solve_classes(
    chain: Backup, time: Float[np.ndarray, " n"], label: Int[np.ndarray, " n"], count: int
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]] | None:
    """(bias, share of the steps) of recurrent classes by one sparse elimination, or None where it is singular.

    The bias of each class's first state is taken as 0, and the gain put in its column:
    A (g, h) = r. The same factors give the visits: πᵀA = (πᵀτ) eᵀ.
    """
    from scipy.sparse import csc_array, eye_array
    from scipy.sparse.linalg import splu

    n = len(label)
    first = np.unique(label, return_index=True)[1]
    keep = np.ones(n)
    keep[first] = 0.0
    scale = csc_array((keep, (np.arange(n), np.arange(n))), shape=(n, n))
    clock = csc_array((time, (np.arange(n), first[label])), shape=(n, n))
    system = csc_array((eye_array(n) - chain.rows) @ scale + clock)
    try:
        factors = splu(system)
    except (RuntimeError, np.linalg.LinAlgError):
        return None
    h = factors.solve(chain.reward)
    h[first] = 0.0
    visits = np.maximum(factors.solve(1 - keep, trans="T"), 0.0)
    total = np.bincount(label, visits, minlength=count)
    if not (np.isfinite(h).all() and np.isfinite(total).all() and (total > 0).all()):
        return None
    return h, visits / total[label]


def _settle(chain: Backup, label: Int[np.ndarray, " n"], count: int, sweeps: int = 10_000) -> Float[np.ndarray, " n"]:
    """The stationary distributions by lazy steps until they no longer move."""
    visits = 1 / np.bincount(label)[label]
    back = chain.rows.T.tocsr()
    for _ in range(sweeps):
        new = 0.1 * visits + 0.9 * (back @ visits)
        moved = np.abs(new - visits).max()
        visits = new
        if moved <= 1e-15:
            break
    return visits / np.bincount(label, visits, minlength=count)[label]


def _upper_bound(question: Question, bias: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """No policy earns more than this: the bounds of the components, and where each state can get to."""
    backup = question.backup
    if not question.components:
        return np.zeros(backup.num_states)  # it ends, whatever is done
    pairs, staying = _staying(question)
    label = question.label[question.label >= 0]
    worth = np.full(question.components, np.inf)
    for guessed in (bias[question.label >= 0], np.zeros(len(label))):
        x, error = _rounded(staying, question.time[pairs], guessed, label, question.components)
        worth = np.minimum(worth, _extremes(staying.best(x + error), label, question.components)[1])
    if question.communicating:
        return np.full(backup.num_states, worth[0])
    quotient, _, group = _quotient(question, worth)
    most = float(np.append(worth, 0.0).max() if (backup.leak > 0).any() else worth.max())
    return np.minimum(_ending_bound(quotient), most)[group]


def _quotient(
    question: Question, worth: Float[np.ndarray, " C"]
) -> tuple[Backup, Int[np.ndarray, " Q"], Int[np.ndarray, " n"]]:
    """Where to stay: (the problem, the pair of the model that each of its pairs is or −1, the state each is part of).

    A component is one state, in which one may stay, ending with what it is worth, or leave by any pair
    that does. Nothing else can go on for ever, so every policy ends.
    """
    from scipy.sparse import csr_array, vstack

    backup, count = question.backup, question.components
    alone = question.label < 0
    group = np.where(alone, count + np.cumsum(alone) - 1, question.label)
    groups = count + int(alone.sum())
    member = csr_array((np.ones(len(group)), group, np.arange(len(group) + 1)), shape=(len(group), groups))
    outer = np.flatnonzero(~question.inner)
    owner = np.append(group[backup.owner[outer]], np.arange(count))
    order = np.argsort(owner, kind="stable")
    rows = csr_array(vstack([csr_array(backup.rows[outer] @ member), csr_array((count, groups))]))[order]
    problem = Backup(
        rows=rows,
        reward=np.append(np.zeros(len(outer)), worth)[order],
        leak=np.append(backup.leak[outer], np.ones(count))[order],
        ptr=np.append(0, np.cumsum(np.bincount(owner, minlength=groups))),
        names=Numbered(groups),
        rounding=2 * backup.rounding,
        largest_reward=float(np.abs(worth).max(initial=0.0)),
    )
    return problem, np.append(outer, np.full(count, -1))[order], group


def _go_and_stay(
    question: Question, worth: Float[np.ndarray, " C"], choice: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """The policy that goes where staying is worth most and there follows `choice`."""
    if question.communicating:
        return choice
    backup, choice = question.backup, choice.copy()
    problem, pair, group = _quotient(question, worth)
    taken = pair[_highest(problem)[0]]
    alone = question.label < 0
    choice[alone] = taken[group[alone]]
    leaving = taken[: question.components]
    leaving = leaving[leaving >= 0]
    arrived = np.ones(backup.num_states, bool)
    arrived[np.isin(group, group[backup.owner[leaving]])] = False
    choice[backup.owner[leaving]] = leaving
    reached = np.zeros(backup.num_states, bool)
    reached[backup.owner[leaving]] = True
    while not (arrived | reached).all():  # within a component every state can get to the one that leaves
        towards = question.inner & ~(arrived | reached)[backup.owner] & (backup.rows @ reached.astype(float) > 0)
        pairs = np.flatnonzero(towards)[::-1]
        choice[backup.owner[pairs]] = pairs
        reached[backup.owner[pairs]] = True
    return choice


def _highest(problem: Backup, residual: float = 0.0) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The best policy of a problem in which all of them end, and a value that a backup moves by `residual` at most.

    By policy iteration, above 1,000 states by sweeps; up to rounding.
    """
    choice = problem.greedy(problem.reward)
    value = np.zeros(problem.num_states)
    if problem.num_states > SMALL:
        for _ in range(MOST_SWEEPS):
            before, value = value, problem.best(problem.q(value))
            if np.abs(value - before).max() <= max(residual, 2 * problem.noise(value)):
                break
        return problem.greedy(problem.q(value)), value
    best = -np.inf
    while True:
        chain = problem.choose(choice)
        try:
            new = suited(chain)(chain, Journal(0.0)).value
        except (RuntimeError, np.linalg.LinAlgError):  # singular to the last digit
            return choice, value
        if not new.sum() > best:
            return choice, value
        value, best = new, new.sum()
        q = problem.q(value)
        rises = problem.best(q) - q[choice] > 4 * problem.noise(value)
        if not rises.any():
            return choice, value
        choice = np.where(rises, problem.greedy(q), choice)


def _ending_bound(problem: Backup) -> Float[np.ndarray, " n"]:
    """An upper bound of the best value of a problem in which all policies end: any u ≥ Tu is one.

    u = v + 2εz, where v is nearly the best value, ε how much it may still rise and z the longest
    expected time to the end along pairs that nearly tie for the best; checked for every pair. Infinity
    where rounding leaves nothing that can be checked.
    """
    value = _highest(problem)[1]
    if not np.isfinite(value).all():
        return np.full(problem.num_states, np.inf)
    rise = problem.q(value) - value[problem.owner]
    noise = 2 * problem.noise(value)
    left = max(float(rise.max()), 0.0) + noise
    scale = problem.largest_reward + float(np.abs(value).max())
    for share in (1e-9, 1e-3, np.inf):
        tied = rise >= -max(share * scale, 4 * left)
        counts = np.bincount(problem.owner[tied], minlength=problem.num_states)
        clock = Backup(
            rows=problem.rows[np.flatnonzero(tied)],
            reward=np.ones(int(tied.sum())),
            leak=problem.leak[tied],
            ptr=np.append(0, np.cumsum(counts)),
            names=problem.names,
            rounding=problem.rounding,
            largest_reward=1.0,
        )
        if (counts == 0).any():
            continue
        time = _highest(clock, 0.25)[1]
        if not np.isfinite(time).all() or time.min() < 0:
            continue
        falls = time[problem.owner] - problem.rows @ time - 4 * problem.rounding * float(time.max())
        if (2 * left * falls >= rise + noise).all():
            return value + 2 * left * time * (1 + 1e-12) + noise
    return np.full(problem.num_states, np.inf)


def _solution(
    model: MDP,
    minimise: bool,
    chain: _Chain,
    policy: Float[np.ndarray, " P"],
    optimal: Bool[np.ndarray, " P"],
    journal: Journal,
    method: str,
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
        converged=bool((upper - lower).max() <= journal.accuracy),
        sweeps=len(journal.residuals),
        residuals=tuple(journal.residuals),
        method=method,
    )
