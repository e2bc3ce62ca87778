"""The Bellman backup of one question about a model: q = r + M v, over the states that have actions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.core.mdp import MDP, ModelError, Selected
from retorno.core.numerals import Number, as_fraction, plain

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CHUNK = 1 << 20
"""Transitions whose sums are taken at once: temporary arrays stay small beside a large model."""
LARGEST = 1e290
"""Values beyond this are refused: with room for what methods add up on the way, float64 ends at 1.8e308."""
NEAR = 0.25
"""How near to 1 a transition's own discount is taken for what it stands for: below, rounding is within the bounds."""
UNDERFLOW = 1e-300
"""More than a backup loses where numbers fall below 2.2e-308, the least that float64 holds in full precision."""


@dataclass(frozen=True, eq=False)
class Backup:
    """q[p] = reward[p] + scale · Σ_n rows[p, n] v[n], with n states that act and P pairs.

    `scale · rows` holds Σ γ · discount · probability: what ends leaves no entry, so terminal states,
    whose value is 0, do not appear at all. Where every transition goes on, `rows` is the model's own
    memory and `scale` is γ.
    """

    rows: csr_array
    reward: Float[np.ndarray, " P"]
    leak: Float[np.ndarray, " P"]
    """1 − γ · discount, in the mean over each pair's transitions: what a row of M lacks to 1, to full precision."""
    ptr: Int[np.ndarray, " ends"]
    """The first pair of each of the n states, and behind them P: n + 1 places. No state is empty."""
    names: Sequence[str]
    """Names of the n states, for messages."""
    rounding: float
    """Relative error of one backup in float64, and of its leak: half an ulp for each operation, and as
    many for rows that sum to one only up to rounding (Higham 2002, section 3.1)."""
    largest_reward: float
    """max over pairs of Σ probability · |reward|, which bounds the terms that `reward` was summed from."""
    scale: float = 1.0
    model: MDP | None = None
    """Whose pairs these are, where they are single ones of a model and not mixtures."""
    pairs: Int[np.ndarray, " P"] | None = None
    """Their numbers in it; None where they are all of them."""
    minimise: bool = False
    """Whether rewards are the model's, negated."""

    @property
    def traceable(self) -> bool:
        """Whether the model's own numbers can be looked up."""
        return self.model is not None

    @property
    def origin(self) -> tuple[MDP, Int[np.ndarray, " P"]]:
        """The model and each pair's number in it."""
        assert self.model is not None
        return self.model, np.arange(self.num_pairs) if self.pairs is None else self.pairs

    def _origin_of(self, kept: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
        return kept if self.pairs is None else self.pairs[kept]

    @property
    def num_states(self) -> int:
        return len(self.ptr) - 1

    @property
    def num_pairs(self) -> int:
        return len(self.reward)

    @cached_property
    def matrix(self) -> csr_array:
        """M = scale · rows."""
        return self.rows if self.scale == 1 else self.rows * self.scale

    @cached_property
    def owner(self) -> Int[np.ndarray, " P"]:
        """The state that owns each pair."""
        return np.repeat(np.arange(self.num_states), np.diff(self.ptr))

    @property
    def contracts(self) -> bool:
        """Whether the backup is a contraction in the maximum norm, as it is for γ < 1."""
        return bool(self.least_leak > 0)

    @cached_property
    def least_leak(self) -> float:
        return float(self.leak.min()) * (1 - self.rounding)

    @cached_property
    def most_leak(self) -> float:
        return min(float(self.leak.max()) * (1 + self.rounding), 1.0)

    def q(self, value: Float[np.ndarray, " n"]) -> Float[np.ndarray, " P"]:
        q = self.rows @ value
        if self.scale != 1:
            q *= self.scale
        q += self.reward
        return q

    def best(self, q: Float[np.ndarray, " P"]) -> Float[np.ndarray, " n"]:
        """The largest action value of each state."""
        return np.maximum.reduceat(q, self.ptr[:-1])

    def greedy(self, q: Float[np.ndarray, " P"]) -> Int[np.ndarray, " n"]:
        """The first pair of each state that has its largest action value."""
        hits = np.flatnonzero(q == self.best(q)[self.owner])
        return hits[np.flatnonzero(np.diff(self.owner[hits], prepend=-1))]

    def noise(self, value: Float[np.ndarray, " n"]) -> float:
        """How far rounding may move one backup of `value`."""
        size = self.largest_reward + 2 * float(max(value.max(), -value.min()))
        return self.rounding * size + (UNDERFLOW if size else 0.0)

    def change(self, value: Float[np.ndarray, " n"]) -> tuple[Float[np.ndarray, " P"], float]:
        """What a backup adds to each pair's state, q − v, and how far rounding may have moved it.

        Around the middle c of the values, w = v − c: r + M w − w − leak · c. Near γ = 1 values are much
        larger than they differ, and so rounding counts for as much less. What w and v differ by, rounded, is
        for the caller to count (`rounding_of`).
        """
        low, high = float(value.min()), float(value.max())
        middle = (low + high) / 2
        if self.most_leak * abs(middle) + high - low >= 2 * max(high, -low):
            return self.q(value) - value[self.owner], self.noise(value)
        w = value - middle
        size = self.largest_reward + 2 * (high - low) + 2 * self.most_leak * abs(middle)
        return self.q(w) - w[self.owner] - self.leak * middle, self.rounding * size + UNDERFLOW

    def part(
        self, states: Bool[np.ndarray, " n"], pairs: Bool[np.ndarray, " P"], ended: Bool[np.ndarray, " n"]
    ) -> Backup:
        """The backup of some states with some of their pairs, at least one each.

        The pairs lead to these states and to those that count as ended, nowhere else.
        """
        kept, numbers = np.flatnonzero(pairs), np.flatnonzero(states)
        rows = self.rows[kept]
        return Backup(
            rows[:, numbers],
            self.reward[kept],
            self.leak[kept] + self.scale * (rows @ ended.astype(float)),
            np.append(0, np.cumsum(np.bincount(self.owner[kept], minlength=self.num_states)[states])),
            Selected(self.names, numbers),
            self.rounding,
            self.largest_reward,
            self.scale,
            self.model,
            self._origin_of(kept),
            self.minimise,
        )

    def choose(self, choice: Int[np.ndarray, " n"]) -> Backup:
        """The backup of a deterministic policy, one pair a state."""
        return self._one_pair_each(self.rows[choice], self.reward[choice], self.leak[choice], self.rounding)

    def under(self, policy: Float[np.ndarray, " P"]) -> Backup:
        """The backup of a stochastic policy: its mean over the pairs of each state."""
        from scipy.sparse import csr_array

        mean = csr_array((policy, np.arange(len(policy)), self.ptr), shape=(self.num_states, len(policy)))
        rounding = self.rounding * (1 + np.diff(self.ptr).max())
        return self._one_pair_each(csr_array(mean @ self.rows), mean @ self.reward, mean @ self.leak, rounding)

    def soft(self, epsilon: float) -> Backup:
        """The backup in which choosing a pair means: that one with 1 − ε, any of the state's with ε."""
        counts = np.diff(self.ptr)
        uniform = self.under(np.repeat(1 / counts, counts))

        def mix(own: Any, mean: Any) -> Any:
            return (1 - epsilon) * own + epsilon * mean[self.owner]

        return Backup(
            mix(self.rows, uniform.rows),
            mix(self.reward, uniform.reward),
            mix(self.leak, uniform.leak),
            self.ptr,
            self.names,
            2 * self.rounding * counts.max(),
            self.largest_reward,
            self.scale,
        )

    def _one_pair_each(self, rows: Any, reward: Any, leak: Any, rounding: float) -> Backup:
        ptr = np.arange(self.num_states + 1)
        return Backup(rows, reward, leak, ptr, self.names, rounding, self.largest_reward, self.scale)


def backup_of(model: MDP, discount: Number, minimise: bool = False) -> Backup:
    """The backup of `model` under the discount γ; with all rewards negated where the least return is asked for.

    A γ in floating point stands for its shortest decimal: 1 − γ of .9999999 is 1e-7, to full precision.

    Raises:
        ValueError: when γ is outside [0, 1].
        ModelError: when a transition has a negative discount (a game of two players), when no state acts, or
            when rewards are so large that values would not fit into float64.
    """
    from scipy.sparse import csr_array

    if not 0 <= discount <= 1:
        raise ValueError(f"discount must lie in [0, 1], got {discount}")
    if not model.num_pairs:
        raise ModelError("the model has no state with an action: give at least one state an action")
    if model.discount.min() < 0:
        pair = int(model.transition_pair[np.argmax(model.discount < 0)])
        raise ModelError(
            f"{model.describe(pair)}: a transition has a negative discount, which stands for a game's other "
            "player: bellman.minimax solves such games"
        )
    lacking, discount = float(1 - as_fraction(discount)), float(discount)
    reward, leak, largest_reward = _expectations(model, discount, lacking)
    require_float64(largest_reward, float(leak.min()), discount)
    rounding = float(2 * np.diff(model.row_ptr).max() + 8) * 2.0**-53
    small = np.int32 if model.num_transitions < 2**31 - 1 else np.int64
    plain = model.discount.min() == 1 and discount > 0 and not model.terminal.any()
    if plain:
        acting, names = slice(None), model.state_names
        rows = csr_array(
            (model.probability, model.next_state.astype(small, copy=False), model.row_ptr.astype(small, copy=False)),
            shape=(model.num_pairs, model.num_states),
        )
    else:
        acting = np.flatnonzero(~model.terminal)
        names = model.state_names
        if len(acting) < model.num_states:
            names = Selected(model.state_names, acting)
        column = (np.cumsum(~model.terminal) - 1).astype(small)
        weight = discount * model.discount * model.probability
        going = weight > 0
        kept = np.append(0, np.cumsum(going))[model.row_ptr].astype(small)
        rows = csr_array((weight[going], column[model.next_state[going]], kept), shape=(model.num_pairs, len(acting)))
    return Backup(
        rows=rows,
        reward=-reward if minimise else reward,
        leak=leak,
        ptr=model.state_ptr if plain else np.append(model.state_ptr[:-1][acting], model.num_pairs),
        names=names,
        rounding=rounding,
        largest_reward=largest_reward,
        scale=discount if plain else 1.0,
        model=model,
        minimise=minimise,
    )


def require_float64(largest_reward: float, leak: float, discount: float) -> None:
    """Raise where values, at most the largest mean reward over the least leak, may not fit into float64."""
    if not largest_reward <= LARGEST * max(leak, 2.0**-53):
        raise ModelError(
            f"rewards of up to {largest_reward:.3g} at discount {plain(discount)} may add up to more than "
            "float64 can hold: divide all rewards by the same number"
        )


def _expectations(
    model: MDP, discount: float, lacking: float
) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"], float]:
    """The mean reward and the mean of 1 − γ · discount of each pair, and the largest mean of |reward|.

    `lacking` is 1 − γ.
    """
    plain, largest = model.discount.min() == 1, 0.0
    reward, leak = np.empty(model.num_pairs), np.broadcast_to(lacking, model.num_pairs)
    if not plain:
        leak, missing = np.empty(model.num_pairs), _missing(model)
    for pairs, transitions in _chunks(model):
        starts = model.row_ptr[pairs] - transitions.start
        weighted = model.probability[transitions] * model.reward[transitions]
        reward[pairs] = np.add.reduceat(weighted, starts)
        largest = max(largest, float(np.add.reduceat(np.abs(weighted, out=weighted), starts).max()))
        if not plain:
            lost = model.probability[transitions] * (lacking + discount * missing[transitions])
            leak[pairs] = np.add.reduceat(lost, starts)
    if largest < UNDERFLOW and model.reward.any():
        largest = UNDERFLOW  # The products may have come to nothing.
    return reward, leak, largest


def _missing(model: MDP) -> Float[np.ndarray, " N"]:
    """1 − each transition's own discount, of what it stands for: of a float near 1 the difference has lost digits."""
    missing = 1 - model.discount
    near = (missing > 0) & (missing < NEAR)
    if near.any():
        value, at = np.unique(model.discount[near], return_inverse=True)
        missing[near] = np.array([float(1 - exact) for exact in model.exactly(value)])[at]
    return missing


def _chunks(model: MDP) -> Iterator[tuple[slice, slice]]:
    """Successive pairs and their transitions, about `CHUNK` transitions at a time."""
    begin = 0
    while begin < model.num_pairs:
        end = int(np.searchsorted(model.row_ptr, model.row_ptr[begin] + CHUNK, side="right")) - 1
        end = min(max(end, begin + 1), model.num_pairs)
        yield slice(begin, end), slice(int(model.row_ptr[begin]), int(model.row_ptr[end]))
        begin = end
