"""How often a policy is where: the discounted occupancy of states and pairs, the dual of its value.

    d = μ + Mᵀ d,   value = Σ_s μ(s) v(s) = Σ_p d(p) r(p).

Puterman 1994, section 6.9.2 (the variables of the dual linear program).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from retorno.bellman.backup import backup_of
from retorno.bellman.control import evaluate
from retorno.bellman.evaluation import Policy, closed_form, probabilities, suited
from retorno.bellman.proper_policies import never_ends
from retorno.core.graph import reached
from retorno.core.mdp import MDP
from retorno.core.numerals import Number

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Initial = str | int | Sequence[float] | Float[np.ndarray, " S"] | None
"""Where it starts: a state by name or number, a distribution [S], or None for the model's own."""


@dataclass(frozen=True, eq=False)
class Occupancy:
    """Expected discounted visits: Σ_t γᵗ Pr(S_t = s), and Pr(S_t = s, A_t = a) for pairs.

    A visit is a time at which an action is taken, so terminal states have none. At discount 1 these
    are the expected numbers of visits in an episode.
    """

    model: MDP = field(repr=False)
    discount: float
    initial: Float[np.ndarray, " S"]
    """The distribution μ of the first state."""
    state: Float[np.ndarray, " S"]
    pair: Float[np.ndarray, " P"]
    error: float
    """The errors of all states' visits sum to no more than this, rounding counted."""

    @property
    def total(self) -> float:
        """All visits: 1/(1 − γ) where nothing terminates, the expected length of an episode at γ = 1."""
        return float(self.state.sum())

    @property
    def state_distribution(self) -> Float[np.ndarray, " S"]:
        """Visits as shares of all; a distribution over states."""
        return self.state / self._some()

    @property
    def pair_distribution(self) -> Float[np.ndarray, " P"]:
        """Visits as shares of all; a distribution over pairs."""
        return self.pair / self._some()

    @property
    def start_value(self) -> float:
        """Σ occupancy · reward, which is the value at μ: the identity of primal and dual."""
        transitions = self.pair[self.model.transition_pair]
        return float(transitions @ (self.model.probability * self.model.reward))

    @property
    def ending(self) -> Float[np.ndarray, " S"]:
        """Σ_t γᵗ Pr(the episode ends on entering s at t + 1): at γ = 1, where it ends and how probably."""
        leaving = self.pair[self.model.transition_pair] * self.model.probability * (1 - self.model.discount)
        return np.bincount(self.model.next_state, leaving, minlength=self.model.num_states)

    def _some(self) -> float:
        if not self.total:
            raise ValueError("no action is ever taken from this start, so visits have no shares: start elsewhere")
        return self.total


def occupancy(model: MDP, policy: Policy, discount: Number, initial: Initial = None) -> Occupancy:
    r"""Expected discounted visits of states [S] and pairs [P] under a policy, by one transposed linear solve.

    .. math:: d(s) = \mu(s) + \gamma \sum_{s'} d(s') \sum_a \pi(a \mid s')\, p(s \mid s', a)

    Args:
        model: with S states and P state–action pairs.
        policy: as in `evaluate`.
        discount: γ in [0, 1]; at 1 the policy has to end from every state that it can reach.
        initial: a state, a distribution [S], or None for the model's own.

    Raises:
        ValueError: as `evaluate`, and when there are infinitely many visits or too many for float64; of
            states that cannot be reached nothing is asked.
        KeyError: when there is no such state.

    >>> import retorno as rt
    >>> ring = rt.mdp({"a": {"on": [(1.0, "b", 0.0)]}, "b": {"on": [(1.0, "a", 4.0)]}}, initial="a")
    >>> occupancy(ring, rt.bellman.uniform, discount=0.5).state.round(6)
    array([1.333333, 0.666667])
    """
    chances = probabilities(model, policy)
    start = start_distribution(model, initial)
    state, error = visits(model, chances, discount, start)
    return Occupancy(model, float(discount), start, state, state[model.pair_state] * chances, error)


def start_distribution(model: MDP, initial: Initial) -> Float[np.ndarray, " S"]:
    """Any start that `occupancy` takes, as a distribution.

    Raises:
        ValueError: when it is not a distribution over the model's states.
        KeyError: when there is no such state.
    """
    if initial is None:
        return np.asarray(model.initial, float)
    if isinstance(initial, str | int | np.integer):
        return np.eye(1, model.num_states, model.state(initial))[0]
    given = np.asarray(initial, float)
    if given.shape != (model.num_states,) or not (given >= 0).all() or not abs(given.sum() - 1) <= 1e-9:
        raise ValueError(
            f"initial must be a state or a distribution over the {model.num_states} states, got an array of shape "
            f"{given.shape} that sums to {given.sum():.12g}"
        )
    return given


def visits(
    model: MDP, chances: Float[np.ndarray, " P"], discount: Number, start: Float[np.ndarray, " S"]
) -> tuple[Float[np.ndarray, " S"], float]:
    """Solve d = μ + Mᵀ d over the states that μ can reach, with a bound of Σ |error|.

    Since (I − Mᵀ)⁻¹ is not negative, Σ |error| ≤ Σ |residual| · max (I − M)⁻¹ 1: the longest expected
    discounted time, whose upper bound is that of a value, with the reward 1 for each step.
    """
    full = np.zeros(model.num_states)
    reached = _reached(model, chances, discount, start)
    if not len(reached):
        return full, 0.0
    clock, policy = _clock(model, chances, reached)
    time = evaluate(clock, policy, discount, accuracy=0.5, must_end=True).upper
    if not np.isfinite(time).all():
        endless = np.flatnonzero(np.isneginf(time))
        raise ValueError(never_ends([clock.state_names[int(s)] for s in endless], "under this policy"))
    chosen = backup_of(clock, discount).under(policy)
    transposed = chosen.matrix.T.tocsr()
    weight = start[reached]
    state = _solve(transposed, weight, suited(chosen, precise=True) is closed_form)
    residual = weight + transposed @ state - state
    ulps = chosen.rounding + (float(np.diff(transposed.indptr).max()) + 4) * 2.0**-53
    noise = ulps * float(weight.sum() + 2 * state.sum())
    full[reached] = state
    return full, (float(np.abs(residual).sum()) + noise) * float(time.max())


def _solve(transposed: csr_array, weight: Float[np.ndarray, " n"], eliminate: bool) -> Float[np.ndarray, " n"]:
    """D = w + Mᵀ d: by elimination, or the sum of w, Mᵀ w, …, up to rounding."""
    from scipy.sparse import csc_array, eye_array
    from scipy.sparse.linalg import splu

    if eliminate:
        try:
            factors = splu(csc_array(eye_array(len(weight)) - transposed))
        except RuntimeError:  # I − Mᵀ is singular once rounded.
            raise ValueError(
                "it ends so rarely that float64 cannot hold the visits: ask with a discount below 1"
            ) from None
        return np.maximum(factors.solve(weight), 0)
    state, passed = weight.copy(), weight
    while passed.sum() > 2.0**-53 * state.sum():
        passed = transposed @ passed
        state += passed
    return state


def _reached(
    model: MDP, chances: Float[np.ndarray, " P"], discount: Number, start: Float[np.ndarray, " S"]
) -> Int[np.ndarray, " k"]:
    """The acting states that are visited with some chance, in rising order."""
    pair = model.transition_pair
    going = (float(discount) * model.discount * model.probability * chances[pair]) > 0
    visited = reached(model.pair_state[pair[going]], model.next_state[going], np.flatnonzero(start), model.num_states)
    return np.flatnonzero(visited & ~model.terminal)


def _clock(
    model: MDP, chances: Float[np.ndarray, " P"], reached: Int[np.ndarray, " k"]
) -> tuple[MDP, Float[np.ndarray, " Q"]]:
    """The model of the reached states alone, where each step pays 1, and its policy; all ends are one state."""
    owner = model.pair_state
    kept = np.zeros(model.num_states, bool)
    kept[reached] = True
    pairs = np.flatnonzero(kept[owner] & (chances > 0))
    counts = np.diff(model.row_ptr)[pairs]
    row = np.arange(counts.sum()) + np.repeat(model.row_ptr[pairs] - np.cumsum(counts) + counts, counts)
    number = np.full(model.num_states, len(reached))
    number[reached] = np.arange(len(reached))
    next_state = number[model.next_state[row]]
    clock = MDP(
        state_ptr=np.append(np.searchsorted(owner[pairs], reached), [len(pairs)] * 2),
        action=model.action[pairs],
        row_ptr=np.append(0, np.cumsum(counts)),
        next_state=next_state,
        probability=model.probability[row],
        reward=np.ones(len(row)),
        discount=np.where(next_state < len(reached), model.discount[row], 0.0),
        initial=np.eye(1, len(reached) + 1)[0],
        state_names=(*(model.state_names[int(s)] for s in reached), "the end"),
        action_names=model.action_names,
    )
    return clock, chances[pairs]
