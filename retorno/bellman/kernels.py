"""Compiled passes over a model: the Bellman backup, state by state, in every order that a method asks for.

Each is written once. What a model is to them is a named tuple, `StoredModel` for a stored one and `Generated`
for one whose transitions are computed when they are needed; `pairs_of`, `action_value` and `leads_to`
say how each is read, and Numba compiles a pass for the kind that it is given. They release the lock
of the interpreter, so threads may share the states of a pass.

This module imports Numba: import it where it is used.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.extending import overload

compiled = numba.njit(nogil=True, cache=True, error_model="numpy")
"""A pass: kept on disk, so that a later process need not compile it again."""
inner = numba.njit(nogil=True, error_model="numpy")
"""A part of passes, compiled into each."""
place = np.uint64
"""An index that is never negative: asking each whether it counts from the end would take as long as the backup."""
inlined = numba.njit(nogil=True, inline="always", error_model="numpy")
"""One that is written into them: a call for every state would cost half as much again."""


@functools.cache
def compiled_anew(one_pass: Any) -> Any:
    """The same pass for a function of the user's: no cache on disk can tell one such function from another."""
    return inner(one_pass.py_func)


class StoredModel(NamedTuple):
    """A `Backup`: pairs `ptr[s]:ptr[s + 1]` of state s, transitions `begin[p]:begin[p + 1]` of pair p."""

    ptr: Any
    begin: Any
    column: Any
    weight: Any
    scale: Any
    reward: Any


class Generated(NamedTuple):
    """State s has the pairs s · num_actions + action; `transition(s, action, k)` is outcome k of num_outcomes.

    It returns (next state, probability, reward, discount). An action whose probabilities are all 0 is not there.
    """

    transition: Any
    num_actions: Any
    num_outcomes: Any
    scale: Any
    sign: Any
    """−1 where rewards are costs."""


def pairs_of(model: StoredModel | Generated, state: int) -> tuple[int, int]:
    """The first pair of a state, and the one after its last."""
    raise NotImplementedError


def action_value(model: StoredModel | Generated, state: int, pair: int, value: Any) -> float:
    """Q = r + M v for one pair; −∞ where the action is not there."""
    raise NotImplementedError


def mark_blocks(model: StoredModel | Generated, state: int, block: int, size: int, leads: Any) -> None:
    """Set `leads[c, block]` for every block c of `size` states that a transition of the state leads to."""
    raise NotImplementedError


def _stored(model: Any) -> bool:
    return "ptr" in model.fields


@overload(pairs_of, inline="always")
def _pairs_of(model, state):
    if _stored(model):
        return lambda model, state: (model.ptr[place(state)], model.ptr[place(state + 1)])
    return lambda model, state: (state * model.num_actions, (state + 1) * model.num_actions)


@overload(action_value, inline="always")
def _action_value(model, state, pair, value):
    def stored(model, state, pair, value):
        total = 0.0
        for t in range(place(model.begin[place(pair)]), place(model.begin[place(pair + 1)])):
            total += model.weight[t] * value[place(model.column[t])]
        return model.reward[place(pair)] + model.scale * total

    def generated(model, state, pair, value):
        total, there = 0.0, False
        for k in range(model.num_outcomes):
            target, probability, reward, discount = model.transition(state, pair - state * model.num_actions, k)
            if probability > 0:
                there = True
                total += probability * (model.sign * reward + model.scale * discount * value[target])
        return total if there else -np.inf

    return stored if _stored(model) else generated


@overload(mark_blocks, inline="always")
def _mark_blocks(model, state, block, size, leads):
    def stored(model, state, block, size, leads):
        for t in range(model.begin[model.ptr[state]], model.begin[model.ptr[state + 1]]):
            leads[model.column[t] // size, block] = True

    def generated(model, state, block, size, leads):
        for action in range(model.num_actions):
            for k in range(model.num_outcomes):
                target, probability, _, discount = model.transition(state, action, k)
                if probability > 0 and discount > 0:
                    leads[target // size, block] = True

    return stored if _stored(model) else generated


@inlined
def best_pair(model, state, value):
    """The largest action value of a state and its first pair; 0 and no pair (−1) for a terminal state."""
    begin, end = pairs_of(model, state)
    best, chosen = -np.inf, -1
    for pair in range(begin, end):
        q = action_value(model, state, pair, value)
        if q > best:
            best, chosen = q, pair
    if chosen < 0:
        best = 0.0
    return best, chosen


@compiled
def sweep(model, value, new, choice, begin, end):
    """New = T value for the states begin:end, with the greedy pairs: the least and the largest change."""
    low, high = np.inf, -np.inf
    for state in range(begin, end):
        best, chosen = best_pair(model, state, value)
        new[state], choice[state] = best, chosen
        low, high = min(low, best - value[state]), max(high, best - value[state])
    return low, high


@compiled
def policy_sweep(model, value, new, choice, begin, end):
    """New = T_π value for the states begin:end: the least and the largest change."""
    low, high = np.inf, -np.inf
    for state in range(begin, end):
        q = action_value(model, state, choice[state], value) if choice[state] >= 0 else 0.0
        new[state] = q
        low, high = min(low, q - value[state]), max(high, q - value[state])
    return low, high


@compiled
def copy_rows(model, choice, column, weight, first, last, begin):
    """Copy the row of the chosen pair of each state first:last to `begin` of the state, side by side."""
    for state in range(first, last):
        to = place(begin[state])
        for t in range(place(model.begin[choice[state]]), place(model.begin[choice[state] + 1])):
            column[to], weight[to] = model.column[t], model.weight[t]
            to += place(1)
    return 0.0, 0.0


@compiled
def ties(model, value, q, optimal, begin, end, reach):
    """Q for the pairs of the states begin:end, and which are within `reach` of their state's best."""
    for state in range(begin, end):
        first, last = pairs_of(model, state)
        best = -np.inf
        for pair in range(first, last):
            q[pair] = action_value(model, state, pair, value)
            best = max(best, q[pair])
        for pair in range(first, last):
            optimal[pair] = q[pair] >= best - reach
    return 0.0, 0.0


@compiled
def survey(model, num_states, begin, end):
    """Read a generated model once: a fault and where it is, the least and most that ends, the largest mean |reward|.

    Faults: 1 a probability that is negative or no number, 2 probabilities that do not sum to one, 3 a next
    state out of range, 4 a reward that is not finite, 5 a discount outside [0, 1]; 0 is none.
    """
    least, most, largest = np.inf, 0.0, 0.0
    for state in range(begin, end):
        for action in range(model.num_actions):
            total, ending, mean = 0.0, 0.0, 0.0
            for k in range(model.num_outcomes):
                target, probability, reward, discount = model.transition(state, action, k)
                if not (probability >= 0):
                    return 1, state, action, least, most, largest
                if probability > 0:
                    if not (0 <= target < num_states):
                        return 3, state, action, least, most, largest
                    if not np.isfinite(reward):
                        return 4, state, action, least, most, largest
                    if not (0 <= discount <= 1):
                        return 5, state, action, least, most, largest
                total += probability
                ending += probability * (1 - discount)
                mean += probability * abs(reward)
            if total > 0:
                if abs(total - 1) > 1e-9:
                    return 2, state, action, least, most, largest
                least, most, largest = min(least, ending), max(most, ending), max(largest, mean)
    return 0, 0, 0, least, most, largest


@inlined
def update(model, value, choice, state, rise):
    """Back up one state in place; its change, 0 where it would rise by no more than `rise` (−∞: any change)."""
    best, chosen = best_pair(model, state, value)
    change = best - value[state]
    if change > rise:
        value[state], choice[state] = best, chosen
        return abs(change)
    return 0.0


@compiled
def pass_over(model, value, choice, order, rise):
    """Back up the states in the order given, each with the newest values: the largest change."""
    largest = 0.0
    for state in order:
        largest = max(largest, update(model, value, choice, state, rise))
    return largest


@inner
def pass_policy(model, value, choice, begin, end, step):
    """The same for the pairs already chosen, over the states begin, begin + step, … before end."""
    largest = 0.0
    for state in range(begin, end, step):
        if choice[state] >= 0:
            q = action_value(model, state, choice[state], value)
            largest = max(largest, abs(q - value[state]))
            value[state] = q
    return largest


@compiled
def by_component(model, value, choice, order, starts, alone, rise, target, most):
    """Components one after the other, each until its largest change is at most `target`: the passes made.

    `order` has the states component by component, `starts` where each begins, and `alone` those that are
    a single state which does not lead to itself: one backup makes it exact.
    """
    longest = 0
    for component in range(len(starts) - 1):
        states = order[starts[component] : starts[component + 1]]
        passes = 0
        while passes < most:
            passes += 1
            if pass_over(model, value, choice, states, rise) <= target or alone[component]:
                break
            states = states[::-1]
        longest = max(longest, passes)
    return longest


@compiled
def leading_blocks(model, num_states, size):
    """leads[c, b]: whether a state of block b may go on to one of block c."""
    blocks = (num_states + size - 1) // size
    leads = np.zeros((blocks, blocks), np.bool_)
    for state in range(num_states):
        mark_blocks(model, state, state // size, size, leads)
    return leads


@compiled
def pass_over_blocks(model, value, choice, size, leads, pending, rise, target, again, forward):
    """Back up the blocks of states whose inputs have moved by more than `target`: how many passes over a block.

    `pending[b]` bounds how far the inputs of block b have moved since it was last backed up. A block that
    moved is swept up to `again` times more for the pairs just chosen, in turn backward and forward.
    """
    num_states, work = len(value), 0
    before = np.empty(size)
    for i in range(len(pending)):
        block = i if forward else len(pending) - 1 - i
        if pending[block] <= target:
            continue
        begin, end = block * size, min(num_states, (block + 1) * size)
        before[: end - begin] = value[begin:end]
        pending[block], work = 0.0, work + 1
        first = 0.0
        for j in range(end - begin):
            state = begin + j if forward else end - 1 - j
            first = max(first, update(model, value, choice, state, rise))
        change, onward, sweeps = first, forward, 0
        while rise < 0 and sweeps < again and change > target and change > 0.1 * first:
            onward, sweeps = not onward, sweeps + 1
            if onward:
                change = pass_policy(model, value, choice, begin, end, 1)
            else:
                change = pass_policy(model, value, choice, end - 1, begin - 1, -1)
        work += sweeps
        moved = np.max(np.abs(value[begin:end] - before[: end - begin]))
        if moved > 0:
            for other in range(len(pending)):
                if leads[block, other]:
                    pending[other] += moved
    return work


@compiled
def bandwidth(ptr, begin, column):
    """How far below and above its own number a state's next states lie, at most."""
    below, above = 0, 0
    for state in range(len(ptr) - 1):
        for t in range(begin[ptr[state]], begin[ptr[state + 1]]):
            below, above = max(below, state - column[t]), max(above, column[t] - state)
    return below, above


@compiled
def predecessors(ptr, begin, column, weight, num_states):
    """For each state, the states that may go on to it, and the largest weight with which: (ptr, state, weight)."""
    counts = np.zeros(num_states + 1, np.int64)
    for t in range(len(column)):
        counts[column[t] + 1] += 1
    start = np.cumsum(counts)
    fill, before, share = start[:-1].copy(), np.empty(len(column), np.int64), np.empty(len(column))
    for state in range(num_states):
        for t in range(begin[ptr[state]], begin[ptr[state + 1]]):
            at = fill[column[t]]
            if at > start[column[t]] and before[at - 1] == state:
                share[at - 1] = max(share[at - 1], weight[t])
                continue
            before[at], share[at] = state, weight[t]
            fill[column[t]] += 1
    return start[:-1], fill, before, share


@inner
def swap(heap, rank, i, j):
    heap[i], heap[j] = heap[j], heap[i]
    rank[heap[i]], rank[heap[j]] = i, j


@inner
def sink(heap, rank, priority, root):
    while True:
        child = 2 * root + 1
        if child >= len(heap):
            return
        if child + 1 < len(heap) and priority[heap[child + 1]] > priority[heap[child]]:
            child += 1
        if priority[heap[child]] <= priority[heap[root]]:
            return
        swap(heap, rank, root, child)
        root = child


@inner
def climb(heap, rank, priority, at):
    while at > 0 and priority[heap[at]] > priority[heap[(at - 1) // 2]]:
        swap(heap, rank, at, (at - 1) // 2)
        at = (at - 1) // 2


@compiled
def prioritised(model, value, choice, first, last, before, share, priority, rise, target, most):
    """Back up the state with the highest priority, raise those of its predecessors, repeat: the backups made.

    A binary heap of states with the rank of each, so that a priority can be raised where it lies.
    """
    num_states = len(value)
    heap, rank = np.arange(num_states), np.arange(num_states)
    for root in range(num_states // 2 - 1, -1, -1):
        sink(heap, rank, priority, root)
    done = 0
    while done < most and priority[heap[0]] > target:
        state = heap[0]
        done += 1
        priority[state] = 0.0
        sink(heap, rank, priority, 0)
        change = update(model, value, choice, state, rise)
        if change == 0:
            continue
        for i in range(first[state], last[state]):
            other = before[i]
            priority[other] += model.scale * share[i] * change
            climb(heap, rank, priority, rank[other])
    return done
