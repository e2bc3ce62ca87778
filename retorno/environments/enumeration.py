"""A model from a function that says what an action may lead to, explored from where it begins."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from retorno.core.mdp import MDP, ModelError, Outcome, check_hashable, checked_outcome, mdp

State = TypeVar("State", bound=Hashable)
Action = TypeVar("Action", bound=Hashable)


def enumerated(
    step: Callable[[State, Action], Iterable[Outcome]],
    actions: Callable[[State], Iterable[Action]],
    initial: Mapping[State, float] | State,
    *,
    limit: int = 1_000_000,
    place: Callable[[State], tuple[int, int] | None] | None = None,
) -> MDP:
    """The model of every state that can be come to, breadth first.

    ```python
    def step(money, stake):  # The gambler's problem: Sutton & Barto 2018, example 4.3.
        return [(0.4, money + stake, money + stake == 100), (0.6, money - stake, 0.0)]

    def actions(money):
        return range(1, min(money, 100 - money) + 1)

    gambler = enumerated(step, actions, initial=50)
    ```

    Args:
        step: (state, action) → outcomes (probability, next state, reward[, terminated]). A state that is
            only entered by outcomes that are terminated or have no chance is not explored.
        actions: state → its actions; none where an episode has ended.
        initial: a first state, or a distribution over first states.
        limit: more states than this are refused.
        place: state → (row, column), where it lies on a map.

    Raises:
        ModelError: as `MDP`; when `step` returns something else; and when there are more states than `limit`.
    """
    starts = list(initial) if isinstance(initial, Mapping) else [initial]
    known: dict[Any, None] = {}
    ended: dict[Any, None] = {}
    waiting: deque[Any] = deque()

    def meet(state: Any, origin: str) -> None:
        if state in known:
            return
        if len(known) >= limit:
            raise ModelError(
                f"more than {limit:,} states: {len(known):,} found, {len(known) - len(waiting):,} of them explored, "
                f"and {origin} a further one, {state!r}; raise `limit`, or make the state space finite"
            )
        known[state] = None
        waiting.append(state)

    for state in starts:
        check_hashable(state, "the beginning")
        meet(state, "the beginning is")
    table: dict[Any, dict[Any, Sequence[Outcome]]] = {}
    while waiting:
        state = waiting.popleft()
        table[state] = {}
        for action in actions(state):
            where = f"state {state!r}, action {action!r}"
            if action in table[state]:
                raise ModelError(f"{where}: listed twice")
            outcomes = [made for given in step(state, action) if (made := checked_outcome(given, where))[0] != 0]
            table[state][action] = outcomes
            for _, target, _, terminated in outcomes:
                if terminated:
                    ended[target] = None
                else:
                    meet(target, f"{where}: leads to")
    grid = None
    if place is not None:
        grid = {state: where for state in table | ended if (where := place(state)) is not None}
    return mdp(table, initial, grid)
