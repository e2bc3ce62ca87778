"""Hex searched exactly, compiled by Numba: who wins, with a table of what was seen.

A set of stones is a word in which each row has a bit more than the board, which stays free. One player joins the first
row to the last, the other the first column to the last. Where a player could join theirs with one stone more, that
stone is laid, or the other has to lie there; else moves that open most such chances come first.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

from retorno.search.kernels import EMPTY, ONE, Word, popcount
from retorno.search.stopping import Stopped

WON = np.uint64(1 << 63)
"""Beside the cells of a position: its mover wins."""


@njit(cache=True)
def neighbours(cells: Word, size: int) -> Word:
    """The cells beside these, and bits that are none."""
    row, slant = uint64(size + 1), uint64(size)
    return (cells << ONE) | (cells >> ONE) | (cells << row) | (cells >> row) | (cells << slant) | (cells >> slant)


@njit(cache=True)
def joined(side: Word, stones: Word, size: int) -> Word:
    """The stones that hang together with those on a side."""
    found, before = stones & side, EMPTY
    while found != before:
        before = found
        found |= neighbours(found, size) & stones
    return found


@njit(cache=True)
def decisive(mine: Word, free: Word, sides: np.ndarray, size: int) -> Word:
    """The free cells that would join a player's two sides."""
    near = neighbours(joined(sides[0], mine, size), size) | sides[0]
    return near & (neighbours(joined(sides[1], mine, size), size) | sides[1]) & free


@njit(cache=True)
def lacking(mine: Word, free: Word, sides: np.ndarray, size: int) -> int:
    """The stones that a player lacks to join their sides, if the other did not move."""
    reached, count = EMPTY, 0
    while True:
        before, inside = EMPTY, mine | reached
        while reached != before:
            before = reached
            reached |= (neighbours(reached, size) | sides[0]) & inside
        if reached & sides[1] or count > size * size:
            return count
        reached |= (neighbours(reached, size) | sides[0]) & free
        count += 1


@njit(
    "uint64(uint64, uint64, int64, int64, uint64, uint64[::1], uint64[::1], uint64[::1], uint64[:, ::1], uint8[::1])",
    cache=True,
)
def solved(
    mine: Word,
    theirs: Word,
    mover: int,
    size: int,
    board: Word,
    sides: np.ndarray,
    keys: np.ndarray,
    known: np.ndarray,
    orders: np.ndarray,
    stop: np.ndarray,
) -> Word:
    """Free cells within which the winner of a position wins, whatever lies elsewhere; with `WON` where it is the mover.

    Args:
        mine: the mover's stones. Nobody has joined their sides.
        theirs: the other's.
        mover: whose turn it is: 0 joins the first row to the last, 1 the columns.
        size: rows of the board.
        board: all cells.
        sides: the first and the last row, the first and the last column. Shape [4].
        keys: positions that were seen.
        known: what was found of them.
        orders: two lines for each depth, of moves and of what they promise.
        stop: not 0 once nobody waits for the answer any more.
    """
    if stop[0]:
        raise Stopped
    free = board & ~(mine | theirs)
    own, other = sides[2 * mover : 2 * mover + 2], sides[2 - 2 * mover : 4 - 2 * mover]
    at_once = decisive(mine, free, own, size)
    if at_once:
        return WON | (at_once & (~at_once + ONE))
    threats = decisive(theirs, free, other, size)
    if threats & (threats - ONE):
        return threats
    rows, columns = (theirs, mine) if mover else (mine, theirs)
    key = rows | (columns << uint64(31)) | (uint64(mover) << uint64(62))
    place = int((key * uint64(0x9E3779B97F4A7C15)) % uint64(len(keys)))
    if keys[place] == key:
        return known[place]
    # Where the other wins without some cell, laying a stone there does not help.
    needed, within = threats if threats else free, threats
    depth = popcount(mine | theirs)
    order, promise = orders[2 * depth], orders[2 * depth + 1]
    count, left = 0, needed
    while left:
        move = left & (~left + ONE)
        left ^= move
        ahead = lacking(theirs, free ^ move, other, size) - lacking(mine | move, free ^ move, own, size)
        worth = uint64(64 * (ahead + 32) + popcount(neighbours(move, size) & board))
        at = count
        while at > 0 and promise[at - 1] < worth:
            order[at], promise[at] = order[at - 1], promise[at - 1]
            at -= 1
        order[at], promise[at] = move, worth
        count += 1
    found = EMPTY
    for k in range(count):
        if order[k] & needed:
            answer = solved(theirs, mine | order[k], 1 - mover, size, board, sides, keys, known, orders, stop)
            if not answer & WON:
                found = WON | answer | order[k]
                break
            needed &= answer
            within |= answer
    if not found:
        found = within & board
    keys[place], known[place] = key, found
    return found


@njit(cache=True)
def loses(
    mine: Word,
    theirs: Word,
    mover: int,
    size: int,
    board: Word,
    sides: np.ndarray,
    keys: np.ndarray,
    known: np.ndarray,
    orders: np.ndarray,
    stop: np.ndarray,
) -> bool:
    """Whether the mover loses a position; the other may have joined their sides already."""
    other = sides[2 - 2 * mover : 4 - 2 * mover]
    if joined(other[0], theirs, size) & other[1]:
        return True
    return not solved(mine, theirs, mover, size, board, sides, keys, known, orders, stop) & WON


@njit(cache=True, nogil=True)
def answered(
    mine: Word, theirs: Word, size: int, keys: np.ndarray, known: np.ndarray, stop: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of each cell whether the mover, who joins the rows, wins there (1) or loses (−1), and how many stones fewer than
    the other they lack then. What is said of cells that are taken means nothing.
    """
    sides = np.zeros(4, np.uint64)
    board = EMPTY
    for row in range(size):
        for column in range(size):
            cell = ONE << uint64(row * (size + 1) + column)
            board |= cell
            for k, at in enumerate((row, size - 1 - row, column, size - 1 - column)):
                if at == 0:
                    sides[k] |= cell
    orders = np.empty((2 * size * size, size * size), np.uint64)
    values, ahead = -np.ones(size * size), np.zeros(size * size)
    free = board & ~(mine | theirs)
    for action in range(size * size):
        move = ONE << uint64(action // size * (size + 1) + action % size)
        if free & move:
            if loses(theirs, mine | move, 1, size, board, sides, keys, known, orders, stop):
                values[action] = 1.0
            left = free ^ move
            ahead[action] = lacking(theirs, left, sides[2:], size) - lacking(mine | move, left, sides[:2], size)
    return values, ahead
