"""Connect Four searched exactly, compiled by Numba: alpha–beta with a table of what was seen.

A position is two words: the mover's discs, and all discs; each column has a bit more than it has cells, which stays
free, so that lines never run over a column's end. The search is Pascal Pons's ("Solving Connect 4", 2015): moves that
do not lose at once, those first that make most threats, and bounds on the score kept in a table. A score counts how
long before the board is full the mover wins; it is negative where they lose.

Beside it stands what is known of a position without a search, since whoever answers each disc with one on top of it
gets every second cell (Victor Allis, "A knowledge-based approach of Connect-Four", 1988): `proven`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types, uint64
from numba.extending import intrinsic

from retorno.search.stopping import Stopped

Word = Any
"""64 bits, which Numba alone tells from other numbers."""
ONE = np.uint64(1)
EMPTY = np.uint64(0)
LOST = -64
UNKNOWN = 64
"""More than any score."""
LOW = np.uint64((1 << 56) - 1)
"""What a table's entry keeps of a position; its place says the rest. Above lies a bound with one of these two:"""
AT_MOST, AT_LEAST = 64, 192


@intrinsic
def _ctpop(typing: Any, x: Any) -> Any:
    return types.int64(types.uint64), lambda context, builder, signature, arguments: builder.ctpop(arguments[0])


popcount: Any = _ctpop
"""Bits that are set in a word: one instruction."""


@njit(cache=True)
def winning_cells(mine: Word, taken: Word, rows: int, board: Word) -> Word:
    """The free cells that would make four of the mover's in a row, reachable or not."""
    found = (mine << ONE) & (mine << uint64(2)) & (mine << uint64(3))
    for k in range(3):
        step = uint64(rows + k)
        pair = (mine << step) & (mine << (step + step))
        found |= pair & (mine << (step + step + step))
        found |= pair & (mine >> step)
        pair = (mine >> step) & (mine >> (step + step))
        found |= pair & (mine << step)
        found |= pair & (mine >> (step + step + step))
    return found & (board ^ taken)


@njit(cache=True)
def not_losing(mine: Word, taken: Word, rows: int, bottom: Word, board: Word) -> Word:
    """The moves after which the opponent cannot win at once."""
    moves = (taken + bottom) & board
    threats = winning_cells(mine ^ taken, taken, rows, board)
    forced = moves & threats
    if forced:
        if forced & (forced - ONE):
            return EMPTY
        moves = forced
    return moves & ~(threats >> ONE)


@njit(cache=True)
def has_four(cells: Word, rows: int) -> bool:
    """Whether four of some cells lie in a row."""
    pair = cells & (cells >> ONE)
    if pair & (pair >> uint64(2)):
        return True
    for k in range(3):
        step = uint64(rows + k)
        pair = cells & (cells >> step)
        if pair & (pair >> (step + step)):
            return True
    return False


@njit(cache=True)
def run_from(cell: Word, free: Word) -> Word:
    """A free cell and all above it."""
    return (free ^ (free + cell)) & free


@njit(cache=True)
def proven(mine: Word, taken: Word, fours: Word, rows: int, bottom: Word, board: Word, upper: Word) -> int:
    """What a position in which nobody can win at once is worth for its mover at most; `UNKNOWN` where nothing is known.

    Where an even number of columns has an odd number of free cells, the other has an answer to every move: on top of
    it, or at the bottom of another such column. They get each second cell from the top, but perhaps not the lowest one
    of such a column; where one of these makes a four the game ends there, and nobody lays a disc above. If nothing that
    is left to the mover makes a four, the mover does not win; if what is the other's does, the mover loses.

    Where the number is odd, the other may leave one such column to the mover and answer there on top as well. If a cell
    there that they get so makes a four, the mover has to lay the disc under it at last, and loses if nothing that is
    left to them until then makes one.

    Args:
        mine: the mover's discs.
        taken: all discs.
        fours: the free cells that would make four of the other's in a row.
        rows: of the board.
        bottom: the lowest cells.
        board: all cells.
        upper: each second cell of a column, from the top.
    """
    free, odd = board & ~taken, (taken + bottom) & upper
    theirs = upper & free & ~odd
    left, ends = free & ~theirs, fours & theirs
    threatened = ends != EMPTY
    while ends:
        above = run_from(ends & (~ends + ONE), free)
        left &= ~above
        ends &= ~above
    if popcount(odd) % 2 == 0:
        if has_four(mine | left, rows):
            return UNKNOWN
        return -1 if threatened or has_four((mine ^ taken) | theirs, rows) else 0
    while odd:
        column = run_from(odd & (~odd + ONE), free)
        ends = fours & column & ~upper
        if ends:
            under = (ends & (~ends + ONE)) - ONE
            if not has_four(mine | (left & ~column) | (column & upper & under), rows):
                return -1
        odd &= ~column
    return UNKNOWN


@njit(
    "int64(uint64, uint64, int64, int64, int64, int64, int64, uint64, uint64, uint64, uint64[::1], uint64[:, ::1], "
    "uint8[::1])",
    cache=True,
)
def negamax(
    mine: Word,
    taken: Word,
    alpha: int,
    beta: int,
    rows: int,
    columns: int,
    depth: int,
    bottom: Word,
    board: Word,
    upper: Word,
    table: np.ndarray,
    orders: np.ndarray,
    stop: np.ndarray,
) -> int:
    """The score of a position in which nobody can win at once, within alpha and beta; 0 beyond the depth.

    Each depth has its own line of `orders`, moves and what they are worth: a place made anew for each position would
    cost as much as the rest.
    """
    if stop[0]:
        raise Stopped
    cells = rows * columns
    played = popcount(taken)
    moves = not_losing(mine, taken, rows, bottom, board)
    if not moves:
        return -((cells - played) // 2)
    if played >= cells - 2 or depth == 0:
        return 0
    least = -((cells - 2 - played) // 2)
    if alpha < least:
        alpha = least
        if alpha >= beta:
            return alpha
    most = (cells - 1 - played) // 2
    if beta > most:
        beta = most
        if alpha >= beta:
            return beta
    to_the_end = depth > cells
    key = mine + taken
    place = int(key % uint64(len(table)))
    entry = table[place]
    bound = int(entry >> uint64(56))
    if bound and not (entry ^ key) & LOW:
        if bound < AT_MOST + UNKNOWN:
            if bound - AT_MOST < beta:
                beta = bound - AT_MOST
                if alpha >= beta:
                    return beta
        elif bound - AT_LEAST > alpha:
            alpha = bound - AT_LEAST
            if alpha >= beta:
                return alpha
    order, worth = orders[2 * played], orders[2 * played + 1]
    count = 0
    for k in range(columns):
        # From the middle outwards; what makes more threats comes before.
        column = columns // 2 + ((k + 1) // 2 if k % 2 else -(k // 2))
        if columns % 2 == 0 and column >= columns:
            column = 0
        move = moves & (((ONE << uint64(rows)) - ONE) << uint64(column * (rows + 1)))
        if move:
            fours = winning_cells(mine | move, taken | move, rows, board)
            if to_the_end:
                gained = -proven(mine ^ taken, taken | move, fours, rows, bottom, board, upper)
                if gained > alpha:
                    alpha = gained
                    if alpha >= beta:
                        return alpha
            score = uint64(popcount(fours))
            at = count
            while at > 0 and worth[at - 1] < score:
                order[at], worth[at] = order[at - 1], worth[at - 1]
                at -= 1
            order[at], worth[at] = move, score
            count += 1
    for k in range(count):
        move = order[k]
        score = -negamax(
            mine ^ taken,
            taken | move,
            -beta,
            -alpha,
            rows,
            columns,
            depth - 1,
            bottom,
            board,
            upper,
            table,
            orders,
            stop,
        )
        if score >= beta:
            if to_the_end:
                table[place] = (key & LOW) | (uint64(AT_LEAST + score) << uint64(56))
            return score
        if score > alpha:
            alpha = score
    if to_the_end:
        table[place] = (key & LOW) | (uint64(AT_MOST + alpha) << uint64(56))
    return alpha


@njit(cache=True)
def masks(rows: int, columns: int) -> tuple[Word, Word, Word]:
    """The lowest cell of each column, all cells, and each second one from the top."""
    bottom, board, upper = EMPTY, EMPTY, EMPTY
    for column in range(columns):
        bottom |= ONE << uint64(column * (rows + 1))
        board |= ((ONE << uint64(rows)) - ONE) << uint64(column * (rows + 1))
        for row in range(rows - 1, -1, -2):
            upper |= ONE << uint64(column * (rows + 1) + row)
    return bottom, board, upper


@njit(cache=True)
def score(
    mine: Word,
    taken: Word,
    rows: int,
    columns: int,
    depth: int,
    weak: bool,
    table: np.ndarray,
    stop: np.ndarray,
) -> int:
    """The score of a position that is not over, or (weak) its sign alone."""
    bottom, board, upper = masks(rows, columns)
    cells, played = rows * columns, popcount(taken)
    if winning_cells(mine, taken, rows, board) & (taken + bottom):
        return 1 if weak else (cells + 1 - played) // 2
    orders = np.empty((2 * cells, columns), np.uint64)
    if weak:
        # Two questions whose answer is yes or no are settled sooner than one with three answers.
        found = negamax(mine, taken, -1, 0, rows, columns, depth, bottom, board, upper, table, orders, stop)
        if found < 0:
            return -1
        found = negamax(mine, taken, 0, 1, rows, columns, depth, bottom, board, upper, table, orders, stop)
        return 1 if found > 0 else 0
    if depth <= cells:
        return negamax(mine, taken, -cells, cells, rows, columns, depth, bottom, board, upper, table, orders, stop)
    low, high = -((cells - played) // 2), (cells + 1 - played) // 2
    while low < high:
        middle = low + (high - low) // 2
        if middle <= 0 and low // 2 < middle:
            middle = low // 2
        elif middle >= 0 and high // 2 > middle:
            middle = high // 2
        found = negamax(
            mine, taken, middle, middle + 1, rows, columns, depth, bottom, board, upper, table, orders, stop
        )
        if found <= middle:
            high = found
        else:
            low = found
    return low


@njit(cache=True, nogil=True)
def scores(
    mine: Word,
    taken: Word,
    rows: int,
    columns: int,
    depth: int,
    weak: bool,
    table: np.ndarray,
    stop: np.ndarray,
) -> np.ndarray:
    """The score of each column for the mover; `LOST` − 1 where it is full."""
    found = np.full(columns, LOST - 1)
    cells, played = rows * columns, popcount(taken)
    bottom, board, _ = masks(rows, columns)
    wins = winning_cells(mine, taken, rows, board)
    for column in range(columns):
        move = (taken + bottom) & (((ONE << uint64(rows)) - ONE) << uint64(column * (rows + 1)))
        if not move:
            continue
        if move & wins:
            found[column] = 1 if weak else (cells + 1 - played) // 2
        elif played + 1 == cells:
            found[column] = 0
        else:
            found[column] = -score(mine ^ taken, taken | move, rows, columns, depth - 1, weak, table, stop)
    return found
