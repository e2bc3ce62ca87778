"""What may follow what, as a graph in compressed rows: its components, end components, what is reached."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int

LARGE = 20_000
"""From so many nodes on a loop over them is worth a compiler."""

ROUNDS = 16
"""So many rounds cost as much as one search. On a long row of states each round finds one, and a search all of them."""

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def graph_of(sources: Int[np.ndarray, " E"], targets: Int[np.ndarray, " E"], nodes: int) -> csr_array:
    """The graph of these edges; one that is given several times stands once."""
    from scipy.sparse import coo_array, csr_array

    ones = np.ones(len(sources))
    if (np.diff(sources) < 0).any():
        return csr_array(coo_array((ones, (sources, targets)), shape=(nodes, nodes)))
    first = np.append(0, np.cumsum(np.bincount(sources, minlength=nodes)))
    graph = csr_array((ones, targets, first), shape=(nodes, nodes), copy=True)
    graph.sum_duplicates()
    return graph


def strong_components(graph: csr_array) -> tuple[int, Int[np.ndarray, " n"]]:
    """How many strongly connected components there are, and the one of each node.

    SciPy finds them by depth first (Pearce 2005), and so numbers each after all that it leads to.

    Args:
        graph: each edge once: SciPy's search may never end where one is stored twice.

    >>> strong_components(graph_of(np.array([0, 1, 1]), np.array([1, 0, 2]), 3))
    (2, array([1, 1, 0], dtype=int32))
    """
    from scipy.sparse.csgraph import connected_components

    return connected_components(graph, directed=True, connection="strong")


def end_components(
    owner: Int[np.ndarray, " P"],
    pair: Int[np.ndarray, " N"],
    target: Int[np.ndarray, " N"],
    inner: Bool[np.ndarray, " P"],
    states: int,
) -> tuple[Int[np.ndarray, " S"], Bool[np.ndarray, " P"]]:
    """Maximal end components: sets of states within which some pairs can stay for ever.

    Pairs that may leave their strongly connected component are dropped until none is left
    (de Alfaro 1997, section 3.3).

    Args:
        owner: the state of each pair. Shape [P].
        pair: the pair of each possible transition. Shape [N].
        target: where it leads. Shape [N].
        inner: the pairs that may be used; none of them may end. Shape [P].
        states: S, how many there are.

    Returns:
        The component of each state by the pairs that stay, and those pairs. A state without one is in none.
    """
    while True:
        for _ in range(ROUNDS):  # What leads to where nothing can stay leaves, and that is seen without any search.
            stays = np.zeros(states, bool)
            stays[owner[inner]] = True
            lost = np.zeros(len(inner), bool)
            lost[pair[~stays[target]]] = True
            if not (inner & lost).any():
                break
            inner = inner & ~lost
        kept = inner[pair]
        label = strong_components(graph_of(owner[pair[kept]], target[kept], states))[1]
        leaves = np.zeros(len(inner), bool)
        leaves[pair[label[owner[pair]] != label[target]]] = True
        if not (inner & leaves).any():
            return label.astype(np.int64), inner
        inner = inner & ~leaves


def led_to(
    owner: Int[np.ndarray, " P"],
    pair: Int[np.ndarray, " N"],
    target: Int[np.ndarray, " N"],
    begin: Bool[np.ndarray, " S"],
    usable: Bool[np.ndarray, " P"],
) -> tuple[Bool[np.ndarray, " S"], Int[np.ndarray, " S"]]:
    """The states from which usable pairs may lead to where one begins, these among them, and the pairs that do.

    Args:
        owner: the state of each pair. Shape [P].
        pair: the pair of each possible transition. Shape [N].
        target: where it leads. Shape [N].
        begin: where one begins. Shape [S].
        usable: the pairs that count. Shape [P].

    Returns:
        The states, and of each a pair on a shortest way; −1 where one begins, and where no way leads.

    >>> led_to(np.array([0, 1, 2]), np.array([0, 1]), np.array([1, 2]), np.arange(3) == 2, np.ones(3, bool))
    (array([ True,  True,  True]), array([ 0,  1, -1]))
    """
    return _outwards(owner, pair, target, begin, usable, np.ones(len(begin), np.int64))


def drawn(
    owner: Int[np.ndarray, " P"],
    pair: Int[np.ndarray, " N"],
    target: Int[np.ndarray, " N"],
    begin: Bool[np.ndarray, " S"],
    usable: Bool[np.ndarray, " P"],
) -> Bool[np.ndarray, " S"]:
    """The states that have usable pairs, all of which may lead to such states or to where one begins; these too.

    Arguments as in `led_to`.

    >>> own, to = np.array([0, 0, 1]), np.array([1, 2, 2])
    >>> drawn(own, np.arange(3), to, np.arange(4) == 2, np.ones(3, bool))
    array([ True,  True,  True, False])
    """
    return _outwards(owner, pair, target, begin, usable, np.bincount(owner[usable], minlength=len(begin)))[0]


def _outwards(
    owner: Int[np.ndarray, " P"],
    pair: Int[np.ndarray, " N"],
    target: Int[np.ndarray, " N"],
    begin: Bool[np.ndarray, " S"],
    usable: Bool[np.ndarray, " P"],
    needed: Int[np.ndarray, " S"],
) -> tuple[Bool[np.ndarray, " S"], Int[np.ndarray, " S"]]:
    """The states of which so many pairs as are needed may lead to states that were found before, and the last of these.

    A state is looked at once, and a transition once: on a long row of states rounds would take as many as there are.
    """
    states = len(begin)
    kept = usable[pair]
    order = np.argsort(target[kept], kind="stable")
    into = pair[kept][order]
    first = np.append(0, np.cumsum(np.bincount(target[kept], minlength=states)))
    found, last, queue = begin.copy(), np.full(states, -1, np.int64), np.empty(states, np.int64)
    start = np.flatnonzero(begin)
    queue[: len(start)] = start
    work = _compiled(_worklist) if states > LARGE else _worklist
    into, owner = into.astype(np.int64, copy=False), owner.astype(np.int64, copy=False)  # One program for all.
    work(first, into, owner, needed.copy(), np.zeros(len(usable), bool), found, last, queue, len(start))
    return found, last


def _worklist(first, into, owner, needed, seen, found, last, queue, end):
    """Find state after state; `queue[:end]` were found before."""
    head = 0
    while head < end:
        state, head = queue[head], head + 1
        for k in range(first[state], first[state + 1]):
            pair = into[k]
            owning = owner[pair]
            if seen[pair] or found[owning]:
                continue
            seen[pair] = True
            needed[owning] -= 1
            if needed[owning] == 0:
                found[owning], last[owning], queue[end] = True, pair, owning
                end += 1


def rooted(
    sources: Int[np.ndarray, " E"], targets: Int[np.ndarray, " E"], begin: Int[np.ndarray, " B"], nodes: int
) -> csr_array:
    """The graph of these edges with one more node, whose number is `nodes` and which leads to where one begins."""
    return graph_of(np.append(sources, np.full(len(begin), nodes)), np.append(targets, begin), nodes + 1)


def reached(
    sources: Int[np.ndarray, " E"], targets: Int[np.ndarray, " E"], begin: Int[np.ndarray, " B"], nodes: int
) -> Bool[np.ndarray, " n"]:
    """The nodes to which edges lead from those where one begins, these among them.

    Args:
        sources: of each edge.
        targets: of each edge.
        begin: where one begins.
        nodes: how many there are.

    >>> reached(np.array([0, 2]), np.array([1, 3]), np.array([2]), 4)
    array([False, False,  True,  True])
    """
    from scipy.sparse.csgraph import breadth_first_order

    found = np.zeros(nodes + 1, bool)
    found[breadth_first_order(rooted(sources, targets, begin, nodes), nodes, return_predecessors=False)] = True
    return found[:nodes]


def predecessors(graph: csr_array, begin: int) -> Int[np.ndarray, " n"]:
    """The node before each one on a shortest way from `begin`; negative where there is none."""
    from scipy.sparse.csgraph import breadth_first_order

    return breadth_first_order(graph, begin, return_predecessors=True)[1].astype(np.int64)


def under(graph: csr_array, root: int) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Which nodes every way from the root passes on the way to which: the dominator tree, as nested intervals.

    Node a stands on every way to b, or is b, iff begin[a] ≤ begin[b] < end[a]. Cooper, Harvey & Kennedy 2001, with
    nodes numbered breadth first: a dominator comes before what it dominates in that order too.

    Args:
        graph: each edge once.
        root: where the ways begin.

    Returns:
        (begin, end) of each node; −1 and −1 where no way leads.

    >>> begin, end = under(graph_of(np.array([0, 1, 1, 2, 3]), np.array([1, 2, 3, 4, 4]), 5), 0)
    >>> [a for a in range(5) if begin[a] <= begin[4] < end[a]]
    [0, 1, 4]
    """
    from scipy.sparse.csgraph import breadth_first_order

    nodes = len(graph.indptr) - 1
    order = breadth_first_order(graph, root, return_predecessors=False)
    number = np.full(nodes, -1, np.int64)
    number[order] = np.arange(len(order))
    back = graph.T.tocsr()
    climb = _compiled(_dominators) if nodes > LARGE else _dominators
    begin, end = climb(order, number, back.indptr, back.indices)
    first, last = np.full((2, nodes), -1, np.int64)
    first[order], last[order] = begin, end
    return first, last


@cache
def _compiled(loop: Any) -> Any:
    import numba

    return numba.njit(cache=True)(loop)


def _dominators(order: np.ndarray, number: np.ndarray, ptr: np.ndarray, before: np.ndarray) -> tuple[Any, Any]:
    """The intervals of nodes in their breadth-first order; `before` are the predecessors of each node."""
    count = len(order)
    parent = np.full(count, -1, np.int64)
    parent[0] = 0
    changed = True
    while changed:
        changed = False
        for i in range(1, count):
            node, new = order[i], -1
            for k in range(ptr[node], ptr[node + 1]):
                other = number[before[k]]
                if other < 0 or parent[other] < 0:
                    continue
                if new < 0:
                    new = other
                while new != other:
                    while new > other:
                        new = parent[new]
                    while other > new:
                        other = parent[other]
            if parent[i] != new:
                parent[i], changed = new, True
    size = np.ones(count, np.int64)
    for i in range(count - 1, 0, -1):
        size[parent[i]] += size[i]
    begin, free = np.zeros(count, np.int64), np.ones(count, np.int64)
    for i in range(1, count):
        begin[i] = free[parent[i]]
        free[parent[i]] += size[i]
        free[i] = begin[i] + 1
    return begin, begin + size
