"""The return as a random variable: its variance and its distribution under a policy.

The return obeys a Bellman equation of its own, G(s) = R + γ D G(S′) in distribution. Of it follow
the variance (Sobel 1982) and a dynamic programme over distributions on a fixed set of atoms, where
what falls between two atoms is shared between them such that the mean stays (Bellemare, Dabney &
Rowland 2023, *Distributional Reinforcement Learning*, sections 5.2–5.5). What differs here is the bound. The book's
grows with 1/(1 − γ); since the sharing is noise of mean zero that is independent of the trajectory,
its *variances* add up instead, discounted by γ², and each is known exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.bellman.control import evaluate
from retorno.bellman.evaluation import Policy, probabilities
from retorno.bellman.occupancy_measure import Initial, start_distribution
from retorno.bellman.proper_policies import endless_sum
from retorno.core.mdp import MDP
from retorno.core.numerals import Number, as_fraction
from retorno.core.solution import Solution


@dataclass(frozen=True, eq=False)
class ReturnVariance:
    """Mean and variance of the return from each state, with `lower ≤ variance ≤ upper` [S]."""

    model: MDP = field(repr=False)
    mean: Float[np.ndarray, " S"]
    """The policy's value."""
    mean_error: float
    """No mean is further than this from the true one."""
    variance: Float[np.ndarray, " S"]
    lower: Float[np.ndarray, " S"]
    upper: Float[np.ndarray, " S"]

    @property
    def standard_deviation(self) -> Float[np.ndarray, " S"]:
        return np.sqrt(self.variance)

    @property
    def start_mean(self) -> float:
        return float(self.model.initial @ self.mean)

    @property
    def start_variance(self) -> float:
        """The variance over the model's initial distribution: the mean variance plus the variance of the means."""
        return float(self.model.initial @ (self.variance + (self.mean - self.start_mean) ** 2))


def return_variance(model: MDP, policy: Policy, discount: Number) -> ReturnVariance:
    """The variance of the return: var(s) = E[δ² + (γ D)² var(S′)], with δ = R + γ D v(S′) − v(s).

    Sobel 1982, theorem 1, in central moments, which do not cancel as E G² − (E G)² would. The
    expectation is over the action, the next state and the reward of the transition.

    Arguments and errors as in `evaluate`; at discount 1 it is an error as well where one of the values is infinite.

    >>> import retorno as rt
    >>> coin = rt.mdp({"s": {"toss": [(0.5, "end", 1.0), (0.5, "end", 0.0)]}, "end": {}}, initial="s")
    >>> return_variance(coin, rt.bellman.uniform, discount=1.0).variance[0]
    np.float64(0.25)
    """
    chances = probabilities(model, policy)
    # Rewards that are never paid would only widen the bounds.
    paid = model.probability * chances[model.transition_pair] > 0
    answer = evaluate(replace(model, reward=np.where(paid, model.reward, 0.0)), chances, discount)
    if not np.isfinite(answer.value).all():
        endless = np.flatnonzero(~np.isfinite(answer.value))
        raise ValueError(endless_sum([model.state_names[int(s)] for s in endless], float(answer.value[endless[0]])))
    value, owner = answer.value, model.pair_state[model.transition_pair]
    change = np.abs(model.reward + float(discount) * model.discount * value[model.next_state] - value[owner])
    # δ is off by the errors of two values and by the rounding of its own sum.
    size = np.abs(model.reward) + np.abs(value[model.next_state]) + np.abs(value[owner])
    width = float((answer.upper - answer.lower).max())
    slack = 2 * width + 4 * 2.0**-53 * size

    def squared(deviation: Float[np.ndarray, " N"]) -> Solution:
        reward = np.where(paid, deviation**2, 0.0)
        return evaluate(replace(model, reward=reward, discount=model.discount**2), chances, as_fraction(discount) ** 2)

    middle = squared(change).value
    if not np.isfinite(width):
        none = np.where(model.terminal, 0.0, np.inf)
        return ReturnVariance(model, value, width, np.maximum(middle, 0), np.zeros_like(value), none)
    low, high = squared(np.maximum(change - slack, 0)), squared(change + slack)
    lower = np.maximum(low.lower, 0)
    return ReturnVariance(model, value, width, np.clip(middle, lower, high.upper), lower, high.upper)


@dataclass(frozen=True, eq=False)
class ReturnDistribution:
    """The distribution of the return on K atoms, and how far from the true one it may be."""

    atom: Float[np.ndarray, " K"]
    """In rising order."""
    probability: Float[np.ndarray, " K"]
    error: float
    """The Wasserstein-1 distance to the true distribution, ∫ |F − F̂|, is no more than this."""
    sweeps: int
    method: str

    @property
    def mean(self) -> float:
        return float(self.atom @ self.probability)

    @property
    def variance(self) -> float:
        return float((self.atom - self.mean) ** 2 @ self.probability)

    def cdf(self, x: float | Float[np.ndarray, "*N"]) -> Float[np.ndarray, "*N"] | np.float64:
        """F̂(x) = Pr(return ≤ x), as the atoms have it."""
        below = np.append(0.0, np.cumsum(self.probability))
        return np.minimum(below[np.searchsorted(self.atom, x, side="right")], 1.0)

    def quantile(self, share: float) -> float:
        """The least atom x with F̂(x) ≥ share."""
        total = np.minimum(np.cumsum(self.probability), 1.0)
        return float(self.atom[min(int(np.searchsorted(total, share - 1e-12)), len(self.atom) - 1)])

    def cdf_bounds(self, x: float) -> tuple[float, float]:
        """Bounds of the true F(x).

        Where F̂(x − δ) − F(x) = a, the distance is at least a δ (Markov's inequality); so
        F̂(x − δ) − error/δ ≤ F(x) ≤ F̂(x + δ) + error/δ, and here the best of many δ is taken.
        """
        exact = float(self.cdf(x))
        if self.error == 0:
            return exact, exact
        span = max(float(np.ptp(self.atom)), self.error)
        shift = np.geomspace(self.error, 2 * span + self.error, 400)
        low = np.max(self.cdf(x - shift) - self.error / shift)
        high = np.min(self.cdf(x + shift) + self.error / shift)
        return max(float(low), 0.0), min(float(high), 1.0)


MOST_TRAJECTORIES = 20_000
"""More partial trajectories than this are not followed one by one."""
MOST_STEPS = 50_000
"""Nor are they for more steps than this: what is left then counts into the error."""
MOST_WEIGHTS = 20_000_000
"""More entries than this in the dynamic programme's matrix are refused."""
SPREAD = 10.0
"""The atoms reach this many standard deviations to either side of every mean."""


def return_distribution(
    model: MDP,
    policy: Policy,
    discount: Number,
    initial: Initial = None,
    *,
    accuracy: float = 1e-9,
    atoms: int = 1001,
) -> ReturnDistribution:
    """The distribution of the return from a start.

    First by following every trajectory (those that meet again with the same return so far are one):
    exact but for rounding where all end, within `accuracy` where what is left soon counts for
    nothing. Where they are too many, by dynamic programming on evenly spaced atoms; the answer says
    what error that leaves, which falls with the number of atoms. At discounts 0 and 1 with rewards
    that are multiples of one number the atoms are too, and there is no such error.

    Args:
        model: with S states.
        policy: as in `evaluate`.
        discount: γ in [0, 1]; at 1 the policy has to end.
        initial: a state, a distribution [S], or None for the model's own.
        accuracy: the Wasserstein-1 distance at which following trajectories stops.
        atoms: of the dynamic programme, at most.

    Raises:
        ValueError: as `evaluate`, and when the dynamic programme would be too large.
        KeyError: when there is no such state.

    >>> import retorno as rt
    >>> coin = rt.mdp({"s": {"toss": [(0.5, "end", 1.0), (0.5, "end", 0.0)]}, "end": {}}, initial="s")
    >>> found = return_distribution(coin, rt.bellman.uniform, discount=1.0)
    >>> found.atom, found.probability
    (array([0., 1.]), array([0.5, 0.5]))
    """
    if atoms < 2:
        raise ValueError(f"atoms must be at least 2, got {atoms}")
    moments = return_variance(model, policy, discount)
    if not np.isfinite(moments.upper).all():
        raise ValueError("no bound of the return's variance could be proved: ask with a smaller discount")
    start = start_distribution(model, initial)
    chain = _chain(model, probabilities(model, policy), float(discount))
    return _follow(chain, start, moments, accuracy) or _programme(chain, start, moments, atoms)


class _Chain(NamedTuple):
    """The K transitions that a policy may take, by the state that they leave."""

    first: Int[np.ndarray, " S+1"]
    """First transition of each state; a terminal one has none."""
    owner: Int[np.ndarray, " K"]
    next_state: Int[np.ndarray, " K"]
    chance: Float[np.ndarray, " K"]
    reward: Float[np.ndarray, " K"]
    factor: Float[np.ndarray, " K"]
    """γ times the transition's discount."""

    @property
    def num_states(self) -> int:
        return len(self.first) - 1

    @property
    def terminal(self) -> Bool[np.ndarray, " S"]:
        return np.diff(self.first) == 0


def _chain(model: MDP, chances: Float[np.ndarray, " P"], discount: float) -> _Chain:
    pair = model.transition_pair
    chance = model.probability * chances[pair]
    taken = np.flatnonzero(chance > 0)
    owner = model.pair_state[pair[taken]]
    return _Chain(
        first=np.append(0, np.cumsum(np.bincount(owner, minlength=model.num_states))),
        owner=owner,
        next_state=np.asarray(model.next_state[taken], np.int64),
        chance=chance[taken],
        reward=model.reward[taken],
        factor=discount * model.discount[taken],
    )


class _Paths(NamedTuple):
    """Partial trajectories that are alike."""

    state: Int[np.ndarray, " K"]
    total: Float[np.ndarray, " K"]
    """The return so far."""
    weight: Float[np.ndarray, " K"]
    """What the return from here on counts for."""
    mass: Float[np.ndarray, " K"]

    def where(self, which: np.ndarray) -> _Paths:
        return _Paths(*(x[which] for x in self))


def _follow(
    chain: _Chain, start: Float[np.ndarray, " S"], moments: ReturnVariance, accuracy: float
) -> ReturnDistribution | None:
    """Every trajectory, from the front; None where they become too many.

    What is left of a trajectory is put at its mean v, which moves it by E|G − v| ≤ its standard deviation.
    """
    deviation = np.sqrt(moments.upper) + moments.mean_error
    grain = 1e-12 * float(np.abs(chain.reward).max() + np.abs(moments.mean).max())
    first = np.flatnonzero(start)
    paths = _Paths(first, np.zeros(len(first)), np.ones(len(first)), start[first])
    ended, error, sweeps = [], 0.0, 0
    while True:
        over = chain.terminal[paths.state] | (paths.weight == 0)
        ended.append(paths.where(over))
        paths = paths.where(~over)
        left = float(paths.mass @ (paths.weight * deviation[paths.state]))
        counts = np.diff(chain.first)[paths.state]
        if left <= accuracy or sweeps == MOST_STEPS:
            break
        if counts.sum() > MOST_TRAJECTORIES:
            return None
        source = np.repeat(np.arange(len(counts)), counts)
        row = np.arange(len(source)) - np.repeat(np.cumsum(counts) - counts - chain.first[paths.state], counts)
        paths, moved = _joined(
            _Paths(
                chain.next_state[row],
                paths.total[source] + paths.weight[source] * chain.reward[row],
                paths.weight[source] * chain.factor[row],
                paths.mass[source] * chain.chance[row],
            ),
            grain,
        )
        error += moved
        sweeps += 1
    rest = paths._replace(total=paths.total + paths.weight * moments.mean[paths.state])
    total, mass = (np.concatenate(x) for x in zip(*((p.total, p.mass) for p in [*ended, rest]), strict=True))
    nowhere = np.zeros(len(total), np.int64)
    answer, moved = _joined(_Paths(nowhere, total, nowhere.astype(float), mass), grain)
    error += moved + left + (2 * sweeps + 2) * 2.0**-52 * (grain * 1e12 + float(np.abs(answer.total).max()))
    name = "all trajectories" if not len(rest.mass) else "trajectories, their ends at the mean"
    return ReturnDistribution(answer.total, answer.mass, error, sweeps, name)


def _joined(paths: _Paths, grain: float) -> tuple[_Paths, float]:
    """Join paths in the same state with the same weight whose returns differ by no more than rounding.

    Sorted by state and return; also how far that moved them, as a Wasserstein distance.
    """
    paths = paths.where(np.lexsort((paths.total, paths.weight, paths.state)))
    alike = (np.diff(paths.state) == 0) & (np.diff(paths.weight) == 0) & (np.diff(paths.total) <= grain)
    begin = np.flatnonzero(np.append(True, ~alike)[: len(paths.state)])
    moved = paths.mass @ (paths.total - np.repeat(paths.total[begin], np.diff(begin, append=len(paths.state))))
    mass = np.add.reduceat(paths.mass, begin) if len(begin) else paths.mass
    return paths.where(begin)._replace(mass=mass), float(moved)


def _programme(chain: _Chain, start: Float[np.ndarray, " S"], moments: ReturnVariance, most: int) -> ReturnDistribution:
    """Categorical dynamic programming from each state's mean, and the errors that it makes.

    Let Ĝ be its return, coupled with the true one along the same trajectory. Then Ĝ − G = B − A + C:
    A, that it began at the mean; B, the sharing between two atoms; C, what was beyond the outermost
    atoms. B has mean zero given the trajectory, so √E(Ĝ − G)² ≤ √(E A² + E B²) + √E C², and each of
    the three obeys a Bellman equation with the discount (γ D)². It bounds the Wasserstein-1
    distance, E|Ĝ − G|, as well.
    """
    from scipy.sparse import csr_array

    atom = _atoms(chain, moments, most)
    states, count = chain.num_states, len(atom)
    if 2 * len(chain.owner) * count > MOST_WEIGHTS:
        raise ValueError(
            f"{count} atoms for {len(chain.owner)} transitions are too many to hold: ask for at most "
            f"{MOST_WEIGHTS // (2 * len(chain.owner))} atoms"
        )
    column = (chain.next_state[:, None] * count + np.arange(count)).reshape(-1)
    target = (chain.reward[:, None] + chain.factor[:, None] * atom).reshape(-1)
    owner, chance = np.repeat(chain.owner, count), np.repeat(chain.chance, count)
    near, upper, variance, beyond = _share(atom, target)
    rows = np.concatenate([owner * count + near, owner * count + near + 1])
    shape = (states * count, states * count)
    step = csr_array((np.concatenate([chance * (1 - upper), chance * upper]), (rows, np.tile(column, 2))), shape=shape)
    spread = csr_array((chance * variance, (owner, column)), shape=(states, states * count))
    outside = csr_array((chance * beyond**2, (owner, column)), shape=(states, states * count))
    square = csr_array((chain.chance * chain.factor**2, (chain.owner, chain.next_state)), shape=(states, states))

    near, upper, begun, _ = _share(atom, moments.mean)
    mass = np.zeros((states, count))
    mass[np.arange(states), near] += 1 - upper
    mass[np.arange(states), near + 1] += upper
    ends = np.repeat(chain.terminal, count)
    held = mass.reshape(-1)
    left, noise, edge, sweeps = moments.upper, begun, np.zeros(states), 0
    while np.sqrt(left.max()) > max(1e-3 * (atom[1] - atom[0]), 0.05 * float((np.sqrt(noise) + edge).max())):
        noise = np.where(chain.terminal, begun, spread @ held + square @ noise)
        edge = np.sqrt(outside @ held) + np.sqrt(square @ edge**2)
        held = np.where(ends, held, step @ held)
        left = square @ left
        sweeps += 1
    reach = np.sqrt(left + noise) + edge
    ulps = (sweeps + 1) * (float(np.diff(step.indptr).max()) + 4) * 2.0**-53
    share = start @ held.reshape(states, count)
    kept = share > 0
    error = float(start @ reach) + moments.mean_error + ulps * float(np.ptp(atom))
    return ReturnDistribution(atom[kept], share[kept], error, sweeps, f"dynamic programming on {count} atoms")


def _share(
    atom: Float[np.ndarray, " m"], x: Float[np.ndarray, " k"]
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"], Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """The atom below each x, the share of the atom above it, the variance that this adds, and how far x lies outside.

    The categorical projection: Bellemare et al. 2023, eq. 5.27.
    """
    gap = atom[1] - atom[0]
    inside = np.clip(x, atom[0], atom[-1])
    near = np.minimum(((inside - atom[0]) / gap).astype(np.int64), len(atom) - 2)
    upper = np.clip((inside - atom[near]) / gap, 0, 1)
    return near, upper, gap**2 * upper * (1 - upper), x - inside


def _atoms(chain: _Chain, moments: ReturnVariance, most: int) -> Float[np.ndarray, " m"]:
    """Evenly spaced returns around all means; multiples of what all returns are a multiple of, where there is such."""
    whole = np.round(chain.reward * 1e4)
    exact = whole.any() and np.abs(whole).max() < 2**53 and np.abs(whole - chain.reward * 1e4).max() < 1e-9
    if exact and np.isin(chain.factor, (0, 1)).all():
        grain = float(np.gcd.reduce(whole.astype(np.int64))) / 1e4
        for reach in (4 * SPREAD, 2 * SPREAD, SPREAD):  # Room to spare costs nothing where the atoms are exact.
            low, high = _range(chain, moments, reach)
            gap = grain * np.ceil((high - low) / (grain * max(most - 2, 1)))
            if gap == grain:
                break
        first = np.floor(low / gap)
        return gap * np.arange(first, max(np.ceil(high / gap), first + 1) + 1)
    low, high = _range(chain, moments, SPREAD)
    return np.linspace(low, max(high, low + 1e-9), most)


def _range(chain: _Chain, moments: ReturnVariance, reach: float) -> tuple[float, float]:
    """So many standard deviations to either side of every mean, but no return that cannot be."""
    away = reach * np.sqrt(moments.upper)
    low, high = float((moments.mean - away).min()), float((moments.mean + away).max())
    largest = float(chain.factor.max())
    if largest < 1:
        low = max(low, min(float(chain.reward.min()), 0.0) / (1 - largest))
        high = min(high, max(float(chain.reward.max()), 0.0) / (1 - largest))
    return low, high
