"""The Bellman backup of one question about a model: q = r + M v, over the states that have actions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.core.mdp import MDP, ModelError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LEAK = 1e-12
"""A row of M that sums to less than 1 − LEAK lets the process end; a smaller gap is rounding."""


@dataclass(frozen=True, eq=False)
class Backup:
    """q[p] = reward[p] + Σ_n matrix[p, n] v[n], with n states that act and P pairs.

    `matrix` holds Σ γ · discount · probability: what ends leaves no entry, so terminal states,
    whose value is 0, do not appear at all.
    """

    matrix: csr_array
    reward: Float[np.ndarray, " P"]
    ptr: Int[np.ndarray, " n+1"]
    """First pair of each state; none is empty."""
    names: tuple[str, ...]
    """Names of the n states, for messages."""
    rounding: float
    """Relative error of one backup in float64: half an ulp for each of its operations (Higham 2002, section 3.1)."""
    largest_reward: float
    """max over pairs of Σ probability · |reward|, which bounds the terms that `reward` was summed from."""

    @property
    def num_states(self) -> int:
        return len(self.ptr) - 1

    @cached_property
    def owner(self) -> Int[np.ndarray, " P"]:
        """The state that owns each pair."""
        return np.repeat(np.arange(self.num_states), np.diff(self.ptr))

    @cached_property
    def stay(self) -> Float[np.ndarray, " P"]:
        """The discounted probability of going on: the row sums of `matrix`."""
        return np.asarray(self.matrix.sum(axis=1)).reshape(-1)

    @cached_property
    def contracts(self) -> bool:
        """Whether the backup is a contraction in the maximum norm, as it is for γ < 1."""
        return bool((self.stay < 1 - LEAK).all())

    def q(self, value: Float[np.ndarray, " n"]) -> Float[np.ndarray, " P"]:
        return self.reward + self.matrix @ value

    def best(self, q: Float[np.ndarray, " P"]) -> Float[np.ndarray, " n"]:
        """The largest action value of each state."""
        return np.maximum.reduceat(q, self.ptr[:-1])

    def greedy(self, q: Float[np.ndarray, " P"]) -> Int[np.ndarray, " n"]:
        """The first pair of each state that has its largest action value."""
        hits = np.flatnonzero(q == self.best(q)[self.owner])
        return hits[np.flatnonzero(np.diff(self.owner[hits], prepend=-1))]

    def noise(self, value: Float[np.ndarray, " n"]) -> float:
        """How far rounding may move one backup of `value`."""
        return self.rounding * (self.largest_reward + 2 * float(np.abs(value).max()))

    def choose(self, choice: Int[np.ndarray, " n"]) -> Backup:
        """The backup of a deterministic policy, one pair a state."""
        return self._one_pair_each(self.matrix[choice], self.reward[choice], self.rounding)

    def under(self, policy: Float[np.ndarray, " P"]) -> Backup:
        """The backup of a stochastic policy: its mean over the pairs of each state."""
        from scipy.sparse import csr_array

        mean = csr_array((policy, np.arange(len(policy)), self.ptr), shape=(self.num_states, len(policy)))
        rounding = self.rounding * (1 + np.diff(self.ptr).max())
        return self._one_pair_each(csr_array(mean @ self.matrix), mean @ self.reward, rounding)

    def soft(self, epsilon: float) -> Backup:
        """The backup in which choosing a pair means: that one with 1 − ε, any of the state's with ε."""
        counts = np.diff(self.ptr)
        uniform = self.under(np.repeat(1 / counts, counts))
        matrix = (1 - epsilon) * self.matrix + epsilon * uniform.matrix[self.owner]
        reward = (1 - epsilon) * self.reward + epsilon * uniform.reward[self.owner]
        return Backup(matrix, reward, self.ptr, self.names, 2 * self.rounding * counts.max(), self.largest_reward)

    def _one_pair_each(self, matrix: Any, reward: Float[np.ndarray, " n"], rounding: float) -> Backup:
        return Backup(matrix, reward, np.arange(self.num_states + 1), self.names, rounding, self.largest_reward)


def backup_of(model: MDP, discount: float) -> Backup:
    """The backup of `model` under the discount γ.

    Raises:
        ValueError: when γ is outside [0, 1].
        ModelError: when a transition has a negative discount (a game of two players), or no state acts.
    """
    from scipy.sparse import coo_array, csr_array

    if not 0 <= discount <= 1:
        raise ValueError(f"discount must lie in [0, 1], got {discount}")
    if not model.num_pairs:
        raise ModelError("the model has no state with an action: give at least one state an action")
    if (model.discount < 0).any():
        pair = int(model.transition_pair[np.argmax(model.discount < 0)])
        raise ModelError(
            f"{model.describe(pair)}: a transition has a negative discount, which stands for a game's other "
            "player; only discounts in [0, 1] can be solved here"
        )
    acting = np.flatnonzero(~model.terminal)
    column = np.cumsum(~model.terminal) - 1
    weight = discount * model.discount * model.probability
    going = weight > 0
    matrix = coo_array(
        (weight[going], (model.transition_pair[going], column[model.next_state[going]])),
        shape=(model.num_pairs, len(acting)),
    )
    reward = model.probability * model.reward
    return Backup(
        matrix=csr_array(matrix),
        reward=np.add.reduceat(reward, model.row_ptr[:-1]),
        ptr=np.append(model.state_ptr[acting], model.num_pairs),
        names=tuple(model.state_names[s] for s in acting),
        rounding=float(np.diff(model.row_ptr).max() + 6) * 2.0**-53,
        largest_reward=float(np.add.reduceat(np.abs(reward), model.row_ptr[:-1]).max()),
    )


def ending_choice(backup: Backup) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """A policy that ends with probability one wherever one can, and the states where none can.

    Works outwards from the pairs that may end at once: each state in turn takes a pair that may
    lead to a state which already has one (Bertsekas & Tsitsiklis 1991, proper policies).
    """
    choice = np.zeros(backup.num_states, np.int64)
    ends = np.zeros(backup.num_states, bool)
    towards = backup.stay < 1 - LEAK
    while True:
        pairs = np.flatnonzero(towards & ~ends[backup.owner])
        if not len(pairs):
            return choice, ~ends
        choice[backup.owner[pairs[::-1]]] = pairs[::-1]
        ends[backup.owner[pairs]] = True
        towards = backup.matrix @ ends.astype(float) > 0
