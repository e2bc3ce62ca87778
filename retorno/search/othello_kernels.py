"""Othello searched exactly, compiled by Numba: alpha–beta on the discs at the end, with a table of what was seen.

A set of cells is a word, row by row without gaps. Moves after which the other has the fewest come first (Buro 1997's
"fastest first"), corners before them. Beyond its depth a position is worth what its corners and moves promise.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

from retorno.search.kernels import EMPTY, ONE, Word, popcount
from retorno.search.stopping import Stopped

MOST = 500
"""More than any score."""
GUESS = 64
"""What separates scores of the end from those that are guessed: these are smaller than one disc, in its parts."""


@njit(cache=True)
def shifted(cells: Word, way: int, size: int, board: Word) -> Word:
    """Cells moved by one in one of eight directions; what leaves the board is gone.

    Args:
        cells: to move.
        way: 0 to 3 to higher bits, 4 to 7 back: along the row, down the column, and down both slants.
        size: cells of a row.
        board: all cells.
    """
    k = way % 4
    step = uint64(1 if k == 0 else size if k == 1 else size + 1 if k == 2 else size - 1)
    return (cells << step) & board if way < 4 else cells >> step


@njit(cache=True)
def moves_of(mine: Word, theirs: Word, size: int, board: Word, inner: Word) -> Word:
    """Where the mover may lay a disc."""
    free, found = board & ~(mine | theirs), EMPTY
    for way in range(8):
        over = theirs if way % 4 == 1 else theirs & inner
        row = shifted(mine, way, size, board) & over
        for _ in range(size - 3):
            row |= shifted(row, way, size, board) & over
        found |= shifted(row, way, size, board)
    return found & free


@njit(cache=True)
def turned_by(move: Word, mine: Word, theirs: Word, size: int, board: Word, inner: Word) -> Word:
    """The discs that a move encloses."""
    found = EMPTY
    for way in range(8):
        over = theirs if way % 4 == 1 else theirs & inner
        row, at = EMPTY, shifted(move, way, size, board)
        while at & over:
            row |= at
            at = shifted(at, way, size, board)
        if at & mine:
            found |= row
    return found


@njit(cache=True)
def promised(mine: Word, theirs: Word, size: int, board: Word, inner: Word, corners: Word) -> int:
    """What a position in the middle of the game seems to be worth, in parts of a disc: corners, and moves."""
    moves = popcount(moves_of(mine, theirs, size, board, inner)) - popcount(moves_of(theirs, mine, size, board, inner))
    held = popcount(mine & corners) - popcount(theirs & corners)
    return max(1 - GUESS, min(GUESS - 1, moves + 10 * held))


@njit(cache=True)
def key_of(mine: Word, theirs: Word, reach: Word) -> Word:
    """What tells a position that is looked ahead from, so many moves, from others."""
    mixed = mine * uint64(0x9E3779B97F4A7C15) ^ theirs * uint64(0xC2B2AE3D27D4EB4F)
    return mixed ^ reach * uint64(0xFF51AFD7ED558CCD)


@njit(
    "int64(uint64, uint64, int64, int64, int64, int64, uint64, uint64, uint64, uint64[::1], int16[:, ::1], "
    "uint64[:, ::1], uint8[::1])",
    cache=True,
)
def negamax(
    mine: Word,
    theirs: Word,
    alpha: int,
    beta: int,
    depth: int,
    size: int,
    board: Word,
    inner: Word,
    corners: Word,
    keys: np.ndarray,
    bounds: np.ndarray,
    orders: np.ndarray,
    stop: np.ndarray,
) -> int:
    """What a position is worth for its mover, within alpha and beta: the discs ahead at the end, `GUESS` for each.

    Args:
        mine: the mover's discs.
        theirs: the other's.
        alpha: what is known to be reached otherwise.
        beta: what the other will not let happen.
        depth: moves that are looked ahead; a pass counts for none.
        size: cells of a row.
        board: all cells.
        inner: those in no outermost column.
        corners: the four.
        keys: positions that were seen.
        bounds: what is known of them: at least, at most, and to which depth.
        orders: two lines for each number of discs, of moves and of what they promise.
        stop: not 0 once nobody waits for the answer any more.
    """
    if stop[0]:
        raise Stopped
    moves = moves_of(mine, theirs, size, board, inner)
    if not moves:
        if not moves_of(theirs, mine, size, board, inner):
            return GUESS * (popcount(mine) - popcount(theirs))
        return -negamax(theirs, mine, -beta, -alpha, depth, size, board, inner, corners, keys, bounds, orders, stop)
    if depth == 0:
        return promised(mine, theirs, size, board, inner, corners)
    discs = popcount(mine | theirs)
    left = size * size - discs
    reach = min(depth, left)
    remembered = reach > 3
    place = uint64(0)
    least, most = -MOST * GUESS, MOST * GUESS
    key = key_of(mine, theirs, uint64(reach))
    if remembered:
        place = key % uint64(len(keys))
        if keys[place] == key:
            least, most = int(bounds[place, 0]), int(bounds[place, 1])
            if least >= beta or least == most:
                return least
            if most <= alpha:
                return most
            alpha, beta = max(alpha, least), min(beta, most)
    order, promise = orders[2 * discs], orders[2 * discs + 1]
    count = 0
    while moves:
        move = moves & (~moves + ONE)
        moves ^= move
        worth = uint64(0)
        if left > 2:
            turned = turned_by(move, mine, theirs, size, board, inner)
            theirs_then = popcount(moves_of(theirs & ~turned, mine | move | turned, size, board, inner))
            worth = uint64(64 - theirs_then + (16 if move & corners else 0))
        at = count
        while at > 0 and promise[at - 1] < worth:
            order[at], promise[at] = order[at - 1], promise[at - 1]
            at -= 1
        order[at], promise[at] = move, worth
        count += 1
    best, begun = -MOST * GUESS, alpha
    for k in range(count):
        turned = turned_by(order[k], mine, theirs, size, board, inner)
        after, other = mine | order[k] | turned, theirs & ~turned
        score = -negamax(
            other, after, -beta, -alpha, depth - 1, size, board, inner, corners, keys, bounds, orders, stop
        )
        best = max(best, score)
        alpha = max(alpha, score)
        if alpha >= beta:
            break
    if remembered:
        keys[place] = key
        bounds[place, 0] = best if best > begun else least
        bounds[place, 1] = best if best < beta else most
    return best


@njit(cache=True, nogil=True)
def scores(
    mine: Word,
    theirs: Word,
    size: int,
    depth: int,
    window: int,
    keys: np.ndarray,
    bounds: np.ndarray,
    stop: np.ndarray,
) -> np.ndarray:
    """Of each cell what the mover gets who lays a disc there, within a window; −`MOST` · `GUESS` of others."""
    board, inner, corners = EMPTY, EMPTY, EMPTY
    for row in range(size):
        for column in range(size):
            cell = ONE << uint64(row * size + column)
            board |= cell
            if 0 < column < size - 1:
                inner |= cell
            elif row == 0 or row == size - 1:
                corners |= cell
    orders = np.empty((2 * size * size + 2, size * size), np.uint64)
    found = np.full(size * size, -MOST * GUESS)
    moves = moves_of(mine, theirs, size, board, inner)
    for action in range(size * size):
        move = ONE << uint64(action)
        if moves & move:
            turned = turned_by(move, mine, theirs, size, board, inner)
            after, other = mine | move | turned, theirs & ~turned
            found[action] = -negamax(
                other, after, -window, window, depth - 1, size, board, inner, corners, keys, bounds, orders, stop
            )
    return found
