"""What may follow what, as a graph in compressed rows: its components, end components, what is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int

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
        kept = inner[pair]
        label = strong_components(graph_of(owner[pair[kept]], target[kept], states))[1]
        leaves = np.zeros(len(inner), bool)
        leaves[pair[label[owner[pair]] != label[target]]] = True
        if not (inner & leaves).any():
            return label.astype(np.int64), inner
        inner = inner & ~leaves


def reached(graph: csr_array, begin: int) -> Bool[np.ndarray, " n"]:
    """The nodes to which edges lead from one, itself among them."""
    from scipy.sparse.csgraph import breadth_first_order

    nodes = len(graph.indptr) - 1
    found = np.zeros(nodes, bool)
    found[breadth_first_order(graph, begin, return_predecessors=False)] = True
    return found


def predecessors(graph: csr_array, begin: int) -> Int[np.ndarray, " n"]:
    """The node before each one on a shortest way from `begin`; negative where there is none."""
    from scipy.sparse.csgraph import breadth_first_order

    return breadth_first_order(graph, begin, return_predecessors=True)[1].astype(np.int64)
