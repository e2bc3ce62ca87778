"""A model estimated from what was lived: counts, and how far the truth may be from them.

Sources: Weissman et al. 2003, "Inequalities for the L1 deviation of the empirical distribution";
Clopper & Pearson 1934 (exact binomial intervals); for pairs that were never tried Brafman &
Tennenholtz 2002 (R-max) and Kidambi et al. 2020 (MOReL).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from retorno.core.mdp import MDP, ModelError, Numbered
from retorno.core.memory import ensure_fits, model_bytes
from retorno.core.numerals import Number, as_float, as_fraction, summed
from retorno.environments.checked_arrays import floats, integers, uniform

if TYPE_CHECKING:
    from retorno.core.time_step import Trajectory


class Recorded(NamedTuple):
    """Transitions [K] side by side."""

    state: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_state: np.ndarray
    terminated: np.ndarray


@dataclass(frozen=True, eq=False)
class EmpiricalModel:
    """An estimated model, with what its P pairs and N transitions are known by.

    Each interval and radius holds with probability `confidence` *by itself*; for all of them at once
    ask for 1 − (1 − confidence) / P.
    """

    model: MDP
    """Probabilities: the most likely ones, or the posterior mean with a prior. Rewards: means of each transition. For
    exact answers both stand for the fractions that they come to."""
    visits: Int[np.ndarray, " P"]
    """How often each pair was tried; 0 for those that stand for what is not known."""
    counts: Int[np.ndarray, " N"]
    """How often each transition was seen."""
    lower: Float[np.ndarray, " N"]
    """Of each transition's probability, exact whatever it is (Clopper & Pearson)."""
    upper: Float[np.ndarray, " N"]
    l1_radius: Float[np.ndarray, " P"]
    """The true next-state distribution lies this near in Σ|p − p̂| to the frequencies; 2 is no knowledge."""
    reward_error: Float[np.ndarray, " P"]
    """The standard error of each pair's mean reward; infinite below two visits."""
    confidence: float = field(default=0.95)


def recorded(trajectory: Trajectory) -> Recorded:
    """The transitions of a trajectory of discrete observations and actions; resets are left out.

    Raises:
        ModelError: for observations or actions that are no single whole numbers, and in a game of two.

    Args:
        trajectory: what was lived. Shapes [T+1, B].

    Returns:
        K transitions, time after time.
    """
    steps = trajectory.steps
    if (np.asarray(steps.discount) < 0).any():
        raise ModelError("two move in turn here, and what was recorded does not say who: give the game's own model")
    kept = np.asarray(trajectory.transitions)
    obs, action = np.asarray(steps.obs), np.asarray(trajectory.action)
    if obs.shape != np.shape(steps.last) or action.shape != kept.shape:
        raise ModelError(
            f"observations {list(obs.shape)} and actions {list(action.shape)} must be one number a step: "
            "only discrete worlds can be counted"
        )
    terminated = np.asarray(steps.discount)[1:] == 0
    return Recorded(obs[:-1][kept], action[kept], np.asarray(steps.reward)[1:][kept], obs[1:][kept], terminated[kept])


def empirical_model(
    state: ArrayLike,
    action: ArrayLike,
    reward: ArrayLike,
    next_state: ArrayLike,
    terminated: ArrayLike,
    *,
    num_states: int | None = None,
    num_actions: int | None = None,
    prior: Number = 0.0,
    unseen: Number | None = None,
    confidence: float = 0.95,
    initial: ArrayLike | None = None,
    state_names: Sequence[str] | None = None,
    action_names: Sequence[str] | None = None,
) -> EmpiricalModel:
    """The model that K recorded transitions make most likely, and its uncertainty.

    A pair that was never tried is **left out**: the model's policies only do what was done. With
    `unseen`, every action that an acting state lacks stays there for ever and pays `unseen` a step:
    a large number makes a solver try it (R-max), a small one makes it keep away (pessimism).

    Args:
        state: [K], whole numbers.
        action: [K], whole numbers.
        reward: [K]
        next_state: [K]
        terminated: [K], whether the episode ended there.
        num_states: S; by default what occurs.
        num_actions: A; by default what occurs.
        prior: pseudo-count α of a Dirichlet prior on each of the S next states. 0 is maximum
            likelihood; above it every tried pair can lead everywhere, so the model has P·S transitions.
            A transition that was never seen pays its pair's mean reward, and ends where the state is terminal.
        unseen: the reward a step of pairs that were never tried; None leaves them out.
        confidence: of intervals and radii.
        initial: [S], the first state's distribution; by default uniform over the states that act.
        state_names: S of them; by default the numbers.
        action_names: A of them; by default the numbers.

    Raises:
        ModelError: when lengths differ, a number is out of range, or an episode went on from a
            state in which nothing was ever tried and `unseen` is not given.

    >>> found = empirical_model([0, 0, 0], [0, 0, 0], [1.0, 1.0, 4.0], [0, 0, 1], [False, False, True])
    >>> found.model.probability.round(3), found.model.reward
    (array([0.667, 0.333]), array([1., 4.]))
    """
    fractions = dict[float, Fraction]()
    record = _checked(state, action, reward, next_state, terminated, fractions)
    if not (0 < confidence < 1 and 0 <= prior < np.inf):
        raise ModelError(f"confidence must lie in (0, 1) and prior be at least 0, got {confidence} and {prior}")
    states = _size(num_states, np.append(record.state, record.next_state), "states")
    actions = _size(num_actions, record.action, "actions")

    pairs, outcomes = _seen(record, states, actions, fractions)
    acts = np.zeros(states, bool)
    acts[pairs.key // actions] = True
    if prior:
        means = _means(record.reward, np.searchsorted(pairs.key, record.state * actions + record.action), fractions)
        outcomes = _joined(outcomes, _possible(pairs._replace(mean=means), outcomes, acts))
    stranded = outcomes.next_state[~outcomes.ends & ~acts[outcomes.next_state]]
    if len(stranded) and unseen is None:
        name = stranded[0] if state_names is None else state_names[stranded[0]]
        raise ModelError(
            f"state {str(name)!r}: episodes went on from it, and nothing was ever tried in it, so it has no actions; "
            "give `unseen` (--unseen), the reward a step of what was never tried, or record more"
        )
    if unseen is not None:
        acts[stranded] = True
        more, loops = _untried(pairs, acts, actions, as_float(unseen, fractions))
        pairs, outcomes = _joined(pairs, more), _joined(outcomes, loops)

    pairs = _taken(pairs, np.argsort(pairs.key))
    outcomes = _taken(outcomes, np.lexsort((outcomes.ends, outcomes.next_state, outcomes.key)))
    owner = np.searchsorted(pairs.key, outcomes.key)
    visits = pairs.visits[owner]
    # A next state that was come to in both ways, going on and ending, shares its pseudo-count between them.
    same = np.unique(owner * states + outcomes.next_state, return_inverse=True)[1]
    probability = _probabilities(outcomes.count, visits, np.bincount(same)[same], as_fraction(prior), states, fractions)
    lower, upper = _binomial(outcomes.count, visits, 1 - confidence)
    model = MDP(
        state_ptr=np.searchsorted(pairs.key // actions, np.arange(states + 1)),
        action=pairs.key % actions,
        row_ptr=np.append(0, np.cumsum(np.bincount(owner))),
        next_state=outcomes.next_state,
        probability=probability,
        reward=outcomes.reward,
        discount=np.where(outcomes.ends, 0.0, 1.0),
        initial=uniform(acts) if initial is None else floats(initial, "initial", (states,), fractions),
        state_names=Numbered(states) if state_names is None else state_names,
        action_names=Numbered(actions) if action_names is None else action_names,
        fractions=fractions,
    )
    radius = l1_radius(pairs.visits, states, 1 - confidence)
    return EmpiricalModel(model, pairs.visits, outcomes.count, lower, upper, radius, pairs.error, confidence)


class _Pairs(NamedTuple):
    """Pairs [P], by their key: state · A + action."""

    key: Any
    visits: Any
    mean: Any
    error: Any


class _Outcomes(NamedTuple):
    """Transitions [N] of pairs."""

    key: Any
    next_state: Any
    ends: Any
    count: Any
    reward: Any


def _checked(
    state: ArrayLike,
    action: ArrayLike,
    reward: ArrayLike,
    next_state: ArrayLike,
    terminated: ArrayLike,
    fractions: dict[float, Fraction],
) -> Recorded:
    """What was recorded, each column of the same length."""
    numbers = {"state": state, "action": action, "next_state": next_state}
    whole = {name: integers(column, name).astype(np.int64) for name, column in numbers.items()}
    paid = floats(reward, "reward", whole["state"].shape, fractions)
    record = Recorded(reward=paid, terminated=np.asarray(terminated, bool), **whole)
    for name, array in record._asdict().items():
        if array.shape != record.state.shape:
            raise ModelError(f"{name} has {array.size:,} entries, expected {len(record.state):,}, one for each state")
    if not len(record.state):
        raise ModelError("no transitions were recorded: give at least one")
    if not np.isfinite(paid).all():
        i = int(np.argmin(np.isfinite(paid)))
        raise ModelError(f"state {record.state[i]}, action {record.action[i]}: reward {paid[i]} (entry {i})")
    return record


def _seen(record: Recorded, states: int, actions: int, fractions: dict[float, Fraction]) -> tuple[_Pairs, _Outcomes]:
    """The pairs that were tried and what they led to."""
    key, pair = np.unique(record.state * actions + record.action, return_inverse=True)
    visits = np.bincount(pair)
    mean = np.bincount(pair, record.reward) / visits
    squares = np.bincount(pair, (record.reward - mean[pair]) ** 2)
    error = np.where(visits > 1, np.sqrt(squares / np.maximum(visits - 1, 1) / visits), np.inf)
    code, place = np.unique((pair * states + record.next_state) * 2 + record.terminated, return_inverse=True)
    count = np.bincount(place)
    paid = _means(record.reward, place, fractions)
    outcomes = _Outcomes(key[code // 2 // states], code // 2 % states, code % 2 == 1, count, paid)
    return _Pairs(key, visits, mean, error), outcomes


def _means(
    value: Float[np.ndarray, " K"], group: Int[np.ndarray, " K"], fractions: dict[float, Fraction]
) -> Float[np.ndarray, " G"]:
    """The mean of each group's numbers as they were written: a tenth, three times, is a tenth."""
    count = np.bincount(group)
    order = np.argsort(group, kind="stable")
    begin, ordered = np.append(0, np.cumsum(count)), value[order]
    mean = np.minimum.reduceat(ordered, begin[:-1])
    for g in np.flatnonzero(mean < np.maximum.reduceat(ordered, begin[:-1])).tolist():
        own = ordered[begin[g] : begin[g + 1]].tolist()
        mean[g] = as_float(summed(own, fractions) / len(own), fractions)
    return mean


def _probabilities(
    count: Int[np.ndarray, " N"],
    visits: Int[np.ndarray, " N"],
    ways: Int[np.ndarray, " N"],
    prior: Fraction,
    states: int,
    fractions: dict[float, Fraction],
) -> Float[np.ndarray, " N"]:
    """(count + α / ways) / (visits + α S) of each transition; 1 of those of pairs that were never tried."""
    cases, place = np.unique(np.stack([count, visits, ways]), axis=1, return_inverse=True)
    exact = [
        (c + prior / w) / (n + prior * states) if n else Fraction(1, w) for c, n, w in zip(*cases.tolist(), strict=True)
    ]
    return np.array([as_float(p, fractions) for p in exact])[place.reshape(-1)]


def _possible(pairs: _Pairs, outcomes: _Outcomes, acts: np.ndarray) -> _Outcomes:
    """The next states that no pair was seen to lead to; they pay the pair's mean, and end where nothing acts."""
    states = len(acts)
    ensure_fits(model_bytes(states, len(pairs.key), len(pairs.key) * states), "a prior on every next state")
    missing = np.ones((len(pairs.key), states), bool)
    missing[np.searchsorted(pairs.key, outcomes.key), outcomes.next_state] = False
    pair, to = np.nonzero(missing)
    return _Outcomes(pairs.key[pair], to, ~acts[to], np.zeros(len(to), np.int64), pairs.mean[pair])


def _untried(pairs: _Pairs, acts: np.ndarray, actions: int, reward: float) -> tuple[_Pairs, _Outcomes]:
    """The pairs of acting states that were never tried; each stays where it is."""
    key = np.setdiff1d((np.flatnonzero(acts)[:, None] * actions + np.arange(actions)).reshape(-1), pairs.key)
    none, paid = np.zeros(len(key), np.int64), np.full(len(key), float(reward))
    loops = _Outcomes(key, key // actions, np.zeros(len(key), bool), none, paid)
    return _Pairs(key, none, paid, np.full(len(key), np.inf)), loops


def _joined(first: Any, more: Any) -> Any:
    return type(first)(*map(np.append, first, more))


def _taken(table: Any, order: np.ndarray) -> Any:
    return type(table)(*(column[order] for column in table))


def l1_radius(visits: Int[np.ndarray, " P"], states: int, risk: float) -> Float[np.ndarray, " P"]:
    r"""How far a next-state distribution may be from the frequencies seen (Weissman et al. 2003, theorem 2.1).

    .. math:: P \left( \textstyle\sum |p - \hat p| \ge \epsilon \right) \le (2^S - 2)\, e^{-n \epsilon^2 / 2}

    Args:
        visits: n of each pair. Shape [P].
        states: S.
        risk: the right side.

    Returns:
        ε of each pair, at most 2. Shape [P].

    >>> l1_radius(np.array([0, 100, 10_000]), states=2, risk=0.05).round(3)
    array([2.   , 0.272, 0.027])
    """
    if states < 2:
        return np.where(visits > 0, 0.0, 2.0)
    subsets = states * np.log(2) + np.log1p(-(2.0 ** (1 - states)))
    with np.errstate(divide="ignore"):
        return np.minimum(np.sqrt(2 * (subsets - np.log(risk)) / visits), 2.0)


def _binomial(
    counts: Int[np.ndarray, " N"], trials: Int[np.ndarray, " N"], risk: float
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Exact intervals of probabilities. Clopper & Pearson 1934, as quantiles of beta distributions."""
    from scipy.special import betaincinv

    lost = trials - counts
    lower = np.where(counts > 0, betaincinv(np.maximum(counts, 1), lost + 1, risk / 2), 0.0)
    upper = np.where(lost > 0, betaincinv(counts + 1, np.maximum(lost, 1), 1 - risk / 2), 1.0)
    return lower, upper


def _size(given: int | None, numbers: np.ndarray, what: str) -> int:
    """How many there are, when these occur."""
    if numbers.min() < 0 or (given is not None and numbers.max() >= given):
        raise ModelError(f"{what} must lie in [0, {given or '∞'}), got {numbers.min()} to {numbers.max()}")
    size = int(numbers.max()) + 1 if given is None else given
    ensure_fits(model_bytes(size, 0, 0), f"a model of {size:,} {what}")
    return size
