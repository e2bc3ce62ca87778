"""Models from arrays and to arrays: our own rows, and a matrix for each action.

What a reward depends on is said by the argument's name, r(s), r(s, a) or r(s, a, s′), and never
guessed from a shape: with as many actions as states an [S, A] array fits two of them.
Numbers may be `Fraction` and `Decimal`, in lists or in arrays of objects: exact answers take them as they are.

Nothing is copied where the caller's layout is the model's: our own rows, or one CSR matrix for one
action. Several actions have to be interleaved, because a state's actions lie side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from retorno.core.mdp import MDP, ModelError, Numbered
from retorno.core.memory import ensure_fits, model_bytes
from retorno.core.numerals import as_floats
from retorno.environments.checked_arrays import are_numbers, check_pointer, floats, integers, uniform

Grid = Sequence[tuple[int, int] | None]


def from_rows(
    state_ptr: ArrayLike,
    row_ptr: ArrayLike,
    next_state: ArrayLike,
    probability: ArrayLike,
    *,
    state_reward: ArrayLike | None = None,
    pair_reward: ArrayLike | None = None,
    transition_reward: ArrayLike | None = None,
    action: ArrayLike | None = None,
    discount: ArrayLike | None = None,
    initial: ArrayLike | None = None,
    state_names: Sequence[str] | None = None,
    action_names: Sequence[str] | None = None,
    grid: Grid | None = None,
    labels: Mapping[str, Int[np.ndarray, " _"]] | None = None,
    fractions: Mapping[float, Fraction] | None = None,
) -> MDP:
    """A model from the compressed rows that it is stored in (see `MDP`). Float64 and integer arrays are not copied.

    Exactly one reward is given.

    Args:
        state_ptr: [S+1], the first pair of each state; a state without pairs is terminal.
        row_ptr: [P+1], the first transition of each pair.
        next_state: [N]
        probability: [N]
        state_reward: [S], r(s), earned whenever s is left; 0 where nothing leads on.
        pair_reward: [P], r(s, a).
        transition_reward: [N], r(s, a, s′).
        action: [P], each pair's action; by default 0, 1, … in each state.
        discount: [N] or one number; by default 1, and 0 on the way to a terminal state.
        initial: [S], the first state's distribution; by default uniform over the states with actions.
        state_names: S of them; by default the numbers.
        action_names: by default the numbers.
        grid: where each state lies on a map, as (row, column) or None.
        labels: the states that carry each label.
        fractions: what some of the numbers stand for, where that is not their shortest decimal.

    Raises:
        ModelError: as `MDP`, and when not exactly one reward is given or it has the wrong length.
    """
    state_ptr, row_ptr, next_state = (
        integers(x, name) for x, name in [(state_ptr, "state_ptr"), (row_ptr, "row_ptr"), (next_state, "next_state")]
    )
    known = dict(fractions or {})
    check_pointer(state_ptr, "state_ptr", None)
    check_pointer(row_ptr, "row_ptr", len(next_state))
    states, pairs, transitions = len(state_ptr) - 1, len(row_ptr) - 1, len(next_state)
    if state_ptr[-1] != pairs:
        raise ModelError(f"state_ptr ends at {state_ptr[-1]}, expected {pairs}, the number of rows in row_ptr")
    counts = np.diff(state_ptr)
    if action is None:
        numbers = np.arange(pairs, dtype=np.int32 if pairs < 2**31 else np.int64)
        numbers -= np.repeat(state_ptr[:-1].astype(numbers.dtype, copy=False), counts)
    else:
        numbers = integers(action, "action")
    if action_names is None:
        action_names = Numbered(int(numbers.max(initial=-1)) + 1)

    name, given = one_reward(state_reward=state_reward, pair_reward=pair_reward, transition_reward=transition_reward)
    length = {"state_reward": states, "pair_reward": pairs, "transition_reward": transitions}[name]
    reward = floats(given, name, (length,), known)
    if name == "state_reward":
        _refuse_unearned(name, reward, counts == 0, state_names)
        reward = np.repeat(reward, counts)
    if name != "transition_reward":
        reward = np.repeat(reward, np.diff(row_ptr))
    return MDP(
        state_ptr=state_ptr,
        action=numbers,
        row_ptr=row_ptr,
        next_state=next_state,
        probability=floats(probability, "probability", (transitions,), known),
        reward=reward,
        discount=_discount(discount, counts == 0, next_state, known),
        initial=uniform(counts > 0) if initial is None else floats(initial, "initial", (states,), known),
        state_names=Numbered(states) if state_names is None else state_names,
        action_names=action_names,
        grid=None if grid is None else tuple(grid),
        labels=labels or {},
        fractions=known,
    )


def from_matrices(
    transition: Any,
    *,
    state_reward: ArrayLike | None = None,
    next_state_reward: ArrayLike | None = None,
    action_reward: ArrayLike | None = None,
    reward_by_action: ArrayLike | None = None,
    transition_reward: Any = None,
    legal: ArrayLike | None = None,
    terminal: Sequence[int] = (),
    exits: bool = False,
    initial: ArrayLike | None = None,
    state_names: Sequence[str] | None = None,
    action_names: Sequence[str] | None = None,
    grid: Grid | None = None,
) -> MDP:
    """A model from a matrix P(s′ | s) for each action, dense or SciPy sparse: pymdptoolbox's layout.

    Exactly one reward is given. Rows of illegal actions and of terminal states are not looked at, so a terminal
    state's rewards are 0. Where it has one, books and tools differ in when it is earned:

    - on entering it, as in Sutton & Barto and Gymnasium: `next_state_reward`;
    - on leaving it by one more action, undiscounted in the state itself (Russell & Norvig's U(s) = R(s) + γ max …;
      Berkeley's `exit`; POMDPs.jl's grid worlds): `state_reward` with `exits=True`.

    Args:
        transition: [A, S, S], or a sequence of A matrices [S, S].
        state_reward: [S], r(s), earned whenever s is left.
        next_state_reward: [S], r(s′), earned whenever s′ is entered.
        action_reward: [S, A], r(s, a).
        reward_by_action: [A, S], r(s, a) with the action first.
        transition_reward: [A, S, S] or a sequence of A matrices [S, S], r(s, a, s′).
        legal: [S, A], which actions each state has; by default all.
        terminal: the numbers of the states in which an episode has ended; by default none.
        exits: whether these have one action left, `exit`, which pays their state_reward and leads to one more state,
            "end", in which the episode has ended.
        initial: [S], the first state's distribution; by default uniform over the states with actions.
        state_names: S of them; by default the numbers.
        action_names: A of them; by default the numbers.
        grid: where each state lies on a map, as (row, column) or None.

    Raises:
        ModelError: as `MDP`, and when not exactly one reward is given or a shape is wrong.
    """
    from scipy import sparse

    fractions = dict[float, Fraction]()
    matrices = _matrices(transition, "transition", fractions)
    actions, states = len(matrices), matrices[0].shape[0]
    allowed = np.ones((states, actions), bool) if legal is None else np.asarray(legal, bool)
    if allowed.shape != (states, actions):
        raise ModelError(f"legal has the shape {allowed.shape}, expected [S, A] = {(states, actions)}")
    ended = np.unique(np.asarray(terminal, np.int64))
    if len(ended) and not (0 <= ended.min() and ended.max() < states):
        raise ModelError(f"terminal states must lie in [0, {states}), got {ended.min()} to {ended.max()}")
    if exits:
        matrices, allowed, more = _with_exits(matrices, allowed, ended, state_reward, action_names, fractions)
        given = {"state_names": state_names, "grid": grid, "initial": initial}
        longer = _longer(given, states, fractions)
        made = from_matrices(matrices, legal=allowed, terminal=[states], **more, **longer)
        return replace(made, fractions=fractions)
    if len(ended):
        allowed = allowed.copy()
        allowed[ended] = False

    nonzeros = sum(m.nnz if sparse.issparse(m) else int(np.count_nonzero(m)) for m in matrices)
    ensure_fits(model_bytes(states, int(allowed.sum()), nonzeros), f"a model of {states:,} states")
    rows = [m if sparse.issparse(m) else sparse.csr_array(m) for m in matrices]
    stacked = interleave(rows, allowed)

    name, given = one_reward(
        state_reward=state_reward,
        next_state_reward=next_state_reward,
        action_reward=action_reward,
        reward_by_action=reward_by_action,
        transition_reward=transition_reward,
    )
    rewards: dict[str, Any] = {}
    gone = np.zeros(states, bool)
    gone[ended] = True
    if name == "state_reward":
        rewards["state_reward"] = floats(given, name, (states,), fractions)
        _refuse_unearned(name, rewards["state_reward"], gone, state_names)
    elif name == "next_state_reward":
        rewards["transition_reward"] = floats(given, name, (states,), fractions)[stacked.indices]
    elif name in ("action_reward", "reward_by_action"):
        shape = (states, actions) if name == "action_reward" else (actions, states)
        table = floats(given, name, shape, fractions)
        table = table if name == "action_reward" else table.T
        _refuse_unearned(name, np.abs(table).max(axis=1, initial=0), gone, state_names)
        rewards["pair_reward"] = table[allowed]
    else:
        looked_up = [
            _at(reward, row) for reward, row in zip(_matrices(given, name, fractions, matrices), rows, strict=True)
        ]
        unearned = sum(np.asarray(abs(row).sum(axis=1), float).reshape(-1) for row in looked_up)
        _refuse_unearned(name, np.where(gone, unearned, 0.0), gone, state_names)
        rewards["transition_reward"] = interleave(looked_up, allowed).data
    return from_rows(
        np.append(0, np.cumsum(allowed.sum(1))),
        stacked.indptr,
        stacked.indices,
        stacked.data,
        action=np.nonzero(allowed)[1],
        initial=initial,
        state_names=state_names,
        action_names=Numbered(actions) if action_names is None else action_names,
        grid=grid,
        fractions=fractions,
        **rewards,
    )


def _refuse_unearned(
    name: str, reward: Float[np.ndarray, " S"], ended: Bool[np.ndarray, " S"], names: Sequence[str] | None
) -> None:
    """Raise where a state in which an episode has ended is to be paid: nothing would read it."""
    if (found := np.flatnonzero((reward != 0) & ended)).size:
        s = int(found[0])
        called = str(s) if names is None else names[s]
        raise ModelError(
            f"{name}: state {called!r} is terminal, so its reward {reward[s]:g} would never be earned. Pay it on the "
            "way in (from_matrices: next_state_reward; else on the transitions), or by an action that leaves it "
            "(from_matrices: exits=True), or give 0"
        )


def _with_exits(
    matrices: list[Any],
    allowed: Bool[np.ndarray, "S A"],
    ended: Int[np.ndarray, " _"],
    state_reward: Any,
    action_names: Sequence[str] | None,
    fractions: dict[float, Fraction],
) -> tuple[list[Any], Bool[np.ndarray, "S+1 A+1"], dict[str, Any]]:
    """The matrices with one more state and action, which action each state has, and the rewards and actions' names."""
    from scipy import sparse

    if state_reward is None:
        raise ModelError("exits=True pays the state_reward of terminal states: give that reward, no other")
    states, actions = allowed.shape
    wider = np.zeros((states + 1, actions + 1), bool)
    wider[:states, :actions] = allowed
    wider[ended] = False
    wider[ended, actions] = True
    leaving = sparse.csr_array((np.ones(len(ended)), (ended, np.full(len(ended), states))), shape=wider[:, 0].shape * 2)
    grown = [sparse.block_diag((matrix, sparse.csr_array((1, 1))), format="csr") for matrix in matrices]
    named = [str(a) for a in range(actions)] if action_names is None else list(action_names)
    reward = np.append(floats(state_reward, "state_reward", (states,), fractions), 0.0)
    return [*grown, leaving], wider, {"state_reward": reward, "action_names": [*named, "exit"]}


def _longer(given: dict[str, Any], states: int, fractions: dict[float, Fraction]) -> dict[str, Any]:
    """What is told of each state, with one more, the end."""
    names = given["state_names"] or [str(s) for s in range(states)]
    longer: dict[str, Any] = {"state_names": [*names, next(name for name in _ENDS if name not in names)]}
    if given["initial"] is not None:
        longer["initial"] = np.append(floats(given["initial"], "initial", (states,), fractions), 0.0)
    if given["grid"] is not None:
        longer["grid"] = (*given["grid"], None)
    return longer


def interleave(rows: Sequence[Any], allowed: np.ndarray) -> Any:
    """CSR matrices [S, S], one for each action, as one whose rows are the pairs (s, a) that are allowed [S, A]."""
    from scipy import sparse

    if len(rows) == 1 and allowed.all():
        return rows[0]
    states, actions = allowed.shape
    order = (np.arange(states)[:, None] + states * np.arange(actions))[allowed]
    stacked: Any = sparse.vstack(rows, format="csr")
    return stacked[order]


def to_matrices(model: MDP) -> tuple[list[Any], Float[np.ndarray, "S A"]]:
    """Transition matrices [S, S] (CSR, one for each action) and expected rewards [S, A]: pymdptoolbox's (P, R).

    That layout has no end of an episode: a terminal state stays where it is for no reward, under
    every action (see `absorbing`, which may add one).

    Raises:
        ModelError: when a state lacks an action that others have, which the layout cannot say.
    """
    closed = absorbing(model)
    reward, transition, state, action = to_pairs(closed)
    table = np.full((closed.num_states, max(closed.num_actions, 1)), -1)
    table[state, action] = np.arange(len(state))
    table[closed.terminal] = table[closed.terminal].max(axis=1, keepdims=True)
    if (table < 0).any():
        s, a = (int(x[0]) for x in np.nonzero(table < 0))
        raise ModelError(
            f"state {closed.state_names[s]!r} has no action {closed.action_names[a]!r}: a matrix for each action "
            "needs every action in every state; use to_quantecon, or save to a file"
        )
    return [transition[rows] for rows in table.T], reward[table]


def to_pairs(model: MDP) -> tuple[Float[np.ndarray, " L"], Any, Int[np.ndarray, " L"], Int[np.ndarray, " L"]]:
    """(R [L], Q [L, S] in CSR, s_indices [L], a_indices [L]) of `absorbing(model)`, ended states staying for 0."""
    from scipy import sparse

    closed = absorbing(model)
    states = closed.num_states
    stay = np.flatnonzero(closed.terminal)
    state = np.append(closed.pair_state, stay)
    action = np.append(closed.action, np.zeros(len(stay), closed.action.dtype))
    expected = np.bincount(closed.transition_pair, closed.probability * closed.reward, minlength=closed.num_pairs)
    acting = sparse.csr_array((closed.probability, closed.next_state, closed.row_ptr), shape=(closed.num_pairs, states))
    staying = sparse.csr_array((np.ones(len(stay)), stay, np.arange(len(stay) + 1)), shape=(len(stay), states))
    order = np.argsort(state, kind="stable")
    stacked: Any = sparse.vstack([acting, staying], format="csr")
    transition = stacked[order]
    transition.sum_duplicates()
    return np.append(expected, np.zeros(len(stay)))[order], transition, state[order], action[order]


_ENDS = ("end", *(f"end{i}" for i in range(1000)))


def absorbing(model: MDP) -> MDP:
    """The same values, with ends only in terminal states: for layouts that know no end of an episode.

    A transition that is discounted by d besides γ goes on with probability p·d and ends with
    p·(1 − d) (Puterman 1994, section 5.3); its end is one more state, "end". A model that ends in
    terminal states alone is returned as it is.

    Raises:
        ModelError: for a discount below 0, which no chance of ending can stand for.
    """
    ends = (model.discount != 1) & ~model.terminal[model.next_state]
    if not ends.any():
        return model
    if (model.discount < 0).any():
        t = int(np.argmax(model.discount < 0))
        raise ModelError(
            f"{model.describe(int(model.transition_pair[t]))}: the discount {model.discount[t]} of a game's turn "
            "cannot be written as a chance of ending"
        )
    end = model.num_states
    pair, pieces = model.transition_pair, []
    for chance, target in [(model.discount, model.next_state), (1 - model.discount, None)]:
        # A way into a terminal state is an end already; it stays whole.
        chance = np.where(ends, chance, 1.0 if target is not None else 0.0)
        kept = np.flatnonzero(chance > 0)
        to = np.full(len(kept), end) if target is None else target[kept]
        pieces.append((pair[kept], to, model.probability[kept] * chance[kept], model.reward[kept]))
    pairs, to, probability, reward = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    order = np.argsort(pairs, kind="stable")
    names: Sequence[str] = Numbered(end + 1)
    if not are_numbers(model.state_names):
        names = (*model.state_names, next(name for name in _ENDS if name not in model.state_names))
    return MDP(
        state_ptr=np.append(model.state_ptr, model.state_ptr[-1]),
        action=model.action,
        row_ptr=np.append(0, np.cumsum(np.bincount(pairs, minlength=model.num_pairs))),
        next_state=to[order],
        probability=probability[order],
        reward=reward[order],
        discount=_discount(None, np.append(model.terminal, True), to[order], {}),
        initial=np.append(model.initial, 0.0),
        state_names=names,
        action_names=model.action_names,
        grid=None if model.grid is None else (*model.grid, None),
        labels=model.labels,
    )


def one_reward(**given: Any) -> tuple[str, Any]:
    """The one reward that is not None, with its name."""
    found = [(name, value) for name, value in given.items() if value is not None]
    if len(found) != 1:
        got = " and ".join(name for name, _ in found) or "none"
        raise ModelError(f"give exactly one of {', '.join(given)}: got {got}")
    return found[0]


def _discount(given: Any, terminal: np.ndarray, next_state: np.ndarray, fractions: dict[float, Fraction]) -> np.ndarray:
    """As given [N] or for all; by default 1, and 0 on the way to a terminal state. One number is stored once."""
    if given is not None and np.ndim(given):
        return floats(given, "discount", (len(next_state),), fractions)
    usual = floats(1.0 if given is None else given, "discount", (), fractions)
    if not terminal.any():
        return np.broadcast_to(usual, len(next_state))
    if len(next_state) and not (0 <= next_state.min() and next_state.max() < len(terminal)):
        raise ModelError(f"next_state must lie in [0, {len(terminal)}), got {next_state.min()} to {next_state.max()}")
    return np.where(terminal[next_state], 0.0, usual)


def _matrices(given: Any, name: str, fractions: dict[float, Fraction], like: Sequence[Any] | None = None) -> list[Any]:
    """A matrix [S, S] for each action, sparse ones as CSR."""
    from scipy import sparse

    if sparse.issparse(given):
        raise ModelError(f"{name} is one sparse matrix: give a sequence with a matrix [S, S] for each action")
    try:
        made = [m.tocsr() if sparse.issparse(m) else as_floats(m, fractions) for m in given]
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{name} is not a sequence of matrices of numbers: {error}") from None
    if not made or (like is not None and len(made) != len(like)):
        raise ModelError(f"{name} has {len(made)} matrices, expected {len(like) if like else 'one for each action'}")
    shape = (like or made)[0].shape
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ModelError(f"{name}: action 0 has a matrix of the shape {list(shape)}, expected a square one, [S, S]")
    for a, matrix in enumerate(made):
        if matrix.shape != shape:
            raise ModelError(f"{name}: action {a} has the shape {list(matrix.shape)}, expected {list(shape)}")
        if matrix.dtype != np.float64:
            made[a] = matrix.astype(np.float64)
    return made


def _at(reward: Any, row: Any) -> Any:
    """A matrix of rewards, read at the places that another one stores."""
    from scipy import sparse

    if sparse.issparse(reward) and np.array_equal(reward.indptr, row.indptr):
        if np.array_equal(reward.indices, row.indices):
            return reward
    owner = np.repeat(np.arange(row.shape[0]), np.diff(row.indptr))
    found: Any = reward[owner, row.indices] if len(owner) else np.zeros(0)
    found = found.toarray() if sparse.issparse(found) else np.asarray(found)
    return type(row)((found.reshape(-1), row.indices, row.indptr), shape=row.shape)
