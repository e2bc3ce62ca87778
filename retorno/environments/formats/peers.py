"""Models as other libraries hold them: QuantEcon's DiscreteDP, mdpsolver's lists, Gymnasium's `P`.

(pymdptoolbox's matrices are `from_matrices` and `to_matrices`.) A discount γ that such a library
keeps with the model is not read here: γ belongs to the question.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy.typing import ArrayLike

from retorno.core.mdp import MDP, ModelError, from_table, model_of
from retorno.core.numerals import Number, as_floats
from retorno.environments.checked_arrays import floats, integers
from retorno.environments.formats.arrays import from_rows, one_reward, to_pairs


def from_quantecon(
    R: ArrayLike,
    Q: Any,
    s_indices: ArrayLike | None = None,
    a_indices: ArrayLike | None = None,
    **more: Any,
) -> MDP:
    """A model from the arrays of QuantEcon's `DiscreteDP(R, Q, beta, s_indices, a_indices)`.

    A reward of −∞ marks an illegal action. Pairs that are in order already, with Q in CSR, are not copied.

    Args:
        R: [n, m] rewards of states and actions, or [L] of pairs.
        Q: [n, m, n] probabilities, or [L, n], dense or SciPy sparse.
        s_indices: [L], the state of each pair, if given by pairs.
        a_indices: [L], its action.
        more: `initial`, `state_names`, `action_names`, `grid` as in `from_rows`.

    Raises:
        ModelError: as `MDP`, for wrong shapes, and for a state without a legal action, which
            QuantEcon does not allow (its states never end).
    """
    from scipy import sparse

    fractions = dict[float, Fraction]()
    if (s_indices is None) != (a_indices is None):
        raise ModelError("s_indices and a_indices come together: give both or neither")
    if s_indices is None or a_indices is None:
        shape = np.shape(R)
        if len(shape) != 2:
            raise ModelError(f"R has the shape {list(shape)}, expected [n, m]; for pairs give s_indices and a_indices")
        states, actions = shape
        reward = floats(R, "R", shape, fractions).reshape(-1)
        matrix: Any = sparse.csr_array(floats(Q, "Q", (states, actions, states), fractions).reshape(-1, states))
        state, action = np.divmod(np.arange(states * actions), max(actions, 1))
    else:
        state, action = integers(s_indices, "s_indices"), integers(a_indices, "a_indices")
        reward = floats(R, "R", (len(state),), fractions)
        matrix: Any = Q.tocsr() if sparse.issparse(Q) else sparse.csr_array(as_floats(Q, fractions))
        states = matrix.shape[1]
        for name, index, below in [("s_indices", state, states), ("a_indices", action, None)]:
            if len(index) != len(reward):
                raise ModelError(f"{name} has {len(index)} entries, expected {len(reward)}, one for each of R")
            if len(index) and (index.min() < 0 or (below is not None and index.max() >= below)):
                raise ModelError(f"{name} must lie in [0, {below or '∞'}), got {index.min()} to {index.max()}")
        if matrix.shape[0] != len(reward):
            raise ModelError(f"Q has {matrix.shape[0]} rows, expected {len(reward)}, one for each of R")

    order = np.lexsort((action, state))
    kept = order[reward[order] != -np.inf]
    if not np.array_equal(kept, np.arange(len(reward))):
        state, action, reward, matrix = state[kept], action[kept], reward[kept], matrix[kept]
    counts = np.bincount(state, minlength=states)
    if (counts == 0).any():
        raise ModelError(f"state {int(np.argmin(counts))} has no legal action: give one a reward above -inf")
    return from_rows(
        np.append(0, np.cumsum(counts)),
        matrix.indptr,
        matrix.indices,
        matrix.data,
        action=action,
        pair_reward=reward,
        fractions=fractions,
        **more,
    )


def to_quantecon(model: MDP) -> tuple[Float[np.ndarray, " L"], Any, Int[np.ndarray, " L"], Int[np.ndarray, " L"]]:
    """(R [L], Q [L, n] CSR, s_indices [L], a_indices [L]) for `DiscreteDP(R, Q, beta, s_indices, a_indices)`.

    QuantEcon knows no end of an episode: an ended state stays where it is for no reward (see
    `absorbing`, which may add one). Rewards are expectations over the next state.

    Raises:
        ModelError: for a discount below 0.
    """
    return to_pairs(model)


def from_mdpsolver(
    *,
    rewards: Sequence[Sequence[Number]] | Shaped[np.ndarray, "S A"] | None = None,
    rewardsElementwise: Sequence[Sequence[Number]] | Shaped[np.ndarray, "_ 3"] | None = None,
    tranMatWithZeros: Sequence[Any] | Shaped[np.ndarray, "S A S"] | None = None,
    tranMatElementwise: Sequence[Sequence[Number]] | Shaped[np.ndarray, "_ 4"] | None = None,
    tranMatProbs: Sequence[Any] | None = None,
    tranMatColumns: Sequence[Any] | None = None,
    **more: Any,
) -> MDP:
    """A model from the lists of mdpsolver's `model().mdp(…)`, under the names that they have there.

    Args:
        rewards: [state][action], r(s, a).
        rewardsElementwise: rows (state, action, reward); what is not listed is 0.
        tranMatWithZeros: [state][action][next state].
        tranMatElementwise: rows (state, action, next state, probability).
        tranMatProbs: [state][action][·], the probabilities above 0, with `tranMatColumns`.
        tranMatColumns: [state][action][·], their next states.
        more: `initial`, `state_names`, `action_names`, `grid` as in `from_rows`.

    Raises:
        ModelError: as `MDP`, when not exactly one of each is given, or lengths differ.
    """
    if (tranMatProbs is None) != (tranMatColumns is None):
        raise ModelError("tranMatProbs and tranMatColumns come together: give both or neither")
    which, _ = one_reward(
        tranMatWithZeros=tranMatWithZeros, tranMatElementwise=tranMatElementwise, tranMatProbs=tranMatProbs
    )
    fractions = dict[float, Fraction]()
    if which == "tranMatElementwise":
        table = _table(tranMatElementwise, which, 4, fractions)
        places, (to, chance) = _places(table[:, :2], which), table[:, 2:].T
    else:
        places, to, chance = _listed(
            tranMatProbs if tranMatWithZeros is None else tranMatWithZeros, tranMatColumns, which, fractions
        )
    order = np.lexsort((places[:, 1], places[:, 0]))
    order = order[chance[order] != 0]
    places, to, chance = places[order], integers(to, "next state")[order], chance[order]

    new = np.append(True, (np.diff(places, axis=0) != 0).any(axis=1))[: len(places)]
    pairs, first = places[new], np.flatnonzero(new)
    states = int(pairs[:, 0].max(initial=-1)) + 1
    name, _ = one_reward(rewards=rewards, rewardsElementwise=rewardsElementwise)
    paid: dict[tuple[int, int], Any] = {}
    if rewards is not None:
        if len(rewards) != states:
            raise ModelError(f"rewards has {len(rewards)} states, and the transitions {states}")
        paid = {(s, a): r for s, row in enumerate(rewards) for a, r in enumerate(row)}
    elif rewardsElementwise is not None:
        listed = _table(rewardsElementwise, name, 3, fractions)
        of = list(map(tuple, _places(listed[:, :2], name)))
        if twice := next((pair for pair, count in Counter(of).items() if count > 1), None):
            raise ModelError(f"state {twice[0]}, action {twice[1]}: rewardsElementwise lists it twice")
        paid = dict(zip(of, listed[:, 2], strict=True))
    known = set(map(tuple, pairs.tolist()))
    if strange := next((pair for pair in paid if pair not in known), None):
        raise ModelError(f"state {strange[0]}, action {strange[1]}: has a reward and no transition")
    if rewards is not None and (lost := next((pair for pair in known if pair not in paid), None)):
        raise ModelError(f"state {lost[0]}, action {lost[1]}: has transitions and no reward")
    return from_rows(
        np.searchsorted(pairs[:, 0], np.arange(states + 1)),
        np.append(first, len(to)),
        to,
        chance,
        action=pairs[:, 1],
        pair_reward=np.array([paid.get(tuple(pair), 0.0) for pair in pairs.tolist()]),
        fractions=fractions,
        **more,
    )


def to_mdpsolver(model: MDP) -> dict[str, Any]:
    """`rewards`, `tranMatProbs` and `tranMatColumns` for mdpsolver's `model().mdp(discount=…, **lists)`.

    Action j of a state is its j-th pair here. An ended state stays where it is for no reward (see
    `absorbing`, which may add one).

    Raises:
        ModelError: for a discount below 0.
    """
    reward, transition, state, _ = to_pairs(model)
    first = np.searchsorted(state, np.arange(transition.shape[1] + 1))
    rows = list(itertools.pairwise(transition.indptr.tolist()))
    cut = lambda flat, begin, end: [flat[a:b] for a, b in rows[begin:end]]  # noqa: E731
    probabilities, columns, rewards = transition.data.tolist(), transition.indices.tolist(), reward.tolist()
    states = list(itertools.pairwise(first.tolist()))
    return {
        "rewards": [rewards[begin:end] for begin, end in states],
        "tranMatProbs": [cut(probabilities, *ends) for ends in states],
        "tranMatColumns": [cut(columns, *ends) for ends in states],
    }


def from_gymnasium(
    P: Any,
    initial: Mapping[Any, float] | Any = None,
    grid: Mapping[Any, tuple[int, int]] | None = None,
) -> MDP:
    """A model from the table that Gymnasium's toy texts carry: state → action → (p, next state, reward, terminated).

    A transition flagged `terminated` has discount 0 even where `P` leads on from the state it
    enters: Gymnasium's goals are not absorbing. A state that is only ever entered by such
    transitions becomes terminal; `P`'s other states all stay, those that no episode reaches too.

    Args:
        P: the table; or an environment that carries one, whose first states are then its own.
        initial: a first state, a distribution over first states, or None for uniform.
        grid: (row, column) of each state that lies on a map.

    Raises:
        ModelError: as `retorno.core.mdp.mdp`.
        TypeError: for an environment without a table.
    """
    if isinstance(P, Mapping):
        return from_table(P, initial, grid)
    inside = getattr(P, "unwrapped", P)
    if not isinstance(getattr(inside, "P", None), Mapping):
        raise TypeError(
            f"{type(inside).__name__} carries no table P: of Gymnasium's own FrozenLake, CliffWalking and Taxi "
            "do; a model of another can be made by `rt.environments.enumerated`"
        )
    if initial is None and grid is None:
        return model_of(P)
    return from_table(inside.P, initial, grid)


def to_gymnasium(model: MDP) -> dict[int, dict[int, list[tuple[float, int, float, bool]]]]:
    """`P` as Gymnasium's toy texts carry it. In a terminal state every action stays, flagged `terminated`.

    Raises:
        ModelError: when a discount is neither 0 nor 1, which `P` cannot say.
    """
    ended = model.discount == 0
    odd = ~ended & (model.discount != 1)
    if odd.any():
        t = int(np.argmax(odd))
        raise ModelError(
            f"{model.describe(int(model.transition_pair[t]))}: Gymnasium's P has no room for the discount "
            f"{model.discount[t]}, only for `terminated`"
        )
    columns = (model.probability.tolist(), model.next_state.tolist(), model.reward.tolist(), ended.tolist())
    outcomes = list(zip(*columns, strict=True))
    rows = list(itertools.pairwise(model.row_ptr.tolist()))
    actions = model.action.tolist()
    table: dict[int, dict[int, list[tuple[float, int, float, bool]]]] = {}
    for s, (begin, end) in enumerate(itertools.pairwise(model.state_ptr.tolist())):
        table[s] = {actions[p]: outcomes[slice(*rows[p])] for p in range(begin, end)}
        if begin == end:
            table[s] = {a: [(1.0, s, 0.0, True)] for a in range(model.num_actions)}
    return table


def _table(rows: Any, name: str, width: int, fractions: dict[float, Fraction]) -> np.ndarray:
    """Rows of numbers [·, width]."""
    return floats(rows, name, (len(rows), width), fractions) if len(rows) else np.zeros((0, width))


def _places(columns: np.ndarray, name: str) -> np.ndarray:
    """State and action [·, 2] as whole numbers."""
    whole = columns.astype(np.int64)
    if not np.array_equal(whole, columns) or (whole < 0).any():
        raise ModelError(f"{name}: states and actions must be whole numbers from 0")
    return whole


def _listed(
    chances: Any, columns: Any, name: str, fractions: dict[float, Fraction]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(state and action [·, 2], next state [·], probability [·]) of lists [state][action][·]."""
    places, to, chance = [], [], []
    if columns is not None and list(map(len, columns)) != list(map(len, chances)):
        raise ModelError(f"tranMatColumns has not as many states and actions as {name}")
    for s, choices in enumerate(chances):
        for a, row in enumerate(choices):
            targets = range(len(chances)) if columns is None else columns[s][a]
            if len(targets) != len(row):
                raise ModelError(f"state {s}, action {a}: {name} has {len(row)} probabilities, expected {len(targets)}")
            places += [(s, a)] * len(row)
            to.extend(targets)
            chance.extend(row)
    return _places(np.array(places, float).reshape(-1, 2), name), np.array(to), as_floats(chance, fractions)
