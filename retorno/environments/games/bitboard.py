"""Sets of cells as words of bits, one word for each line of a board: what the games share.

A board of L lines of W cells is an array of L 32-bit words, cell (l, w) the bit w of word l. A whole set moves, grows
or is searched in a few instructions for each line, of any board whose lines have at most 32 cells.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Int, Integer, Shaped, UInt32

Cells = UInt32[Array, " L"]
"""A set of cells."""

MOST = 32
"""Cells of a line that a word holds."""
ALONG = ((0, 1), (1, 0), (1, 1), (1, -1))
"""The four ways a straight line may go: (lines, cells)."""
AROUND = (*ALONG, *((-lines, -cells) for lines, cells in ALONG))
"""The eight neighbours of a cell."""


def empty(lines: int) -> Cells:
    """No cell."""
    return jnp.zeros(lines, jnp.uint32)


def full(lines: int, width: int) -> Cells:
    """All cells."""
    return jnp.full(lines, (1 << width) - 1, jnp.uint32)


def one(lines: int, line: Int[Array, ""], cell: Int[Array, ""]) -> Cells:
    """A single cell."""
    bit = jnp.left_shift(jnp.uint32(1), cell.astype(jnp.uint32))
    return jnp.where(jnp.arange(lines) == line, bit, jnp.uint32(0))


def moved(cells: Cells, lines: int, along: int, width: int) -> Cells:
    """Each cell moved by so many lines, and so many cells along its own; what leaves the board is gone."""
    if along > 0:
        cells = (cells << along) & jnp.uint32((1 << width) - 1)
    elif along < 0:
        cells = cells >> -along
    if lines == 0:
        return cells
    gone = jnp.zeros(min(abs(lines), len(cells)), jnp.uint32)
    return jnp.concatenate([gone, cells[:-lines]] if lines > 0 else [cells[-lines:], gone])


def has_line(cells: Cells, length: int, width: int) -> Bool[Array, ""]:
    """Whether so many cells lie in a straight line, also a slanting one.

    >>> bool(has_line(jnp.array([0b001, 0b010, 0b100], jnp.uint32), 3, 3))
    True
    """
    found = jnp.bool_(False)
    for lines, along in ALONG:
        run, reached = cells, 1
        while reached < length:
            step = min(reached, length - reached)
            run = run & moved(run, step * lines, step * along, width)
            reached += step
        found = found | (run != 0).any()
    return found


def beside(start: Cells, over: Cells, width: int) -> UInt32[Array, "8 L"]:
    """The cells of `over` that lie in unbroken rows beside `start`, in each of the directions `AROUND`."""

    def longer(_: Any, rows: UInt32[Array, "8 L"]) -> UInt32[Array, "8 L"]:
        return rows | (around(rows, width) & over)

    first = around(jnp.broadcast_to(start, (len(AROUND), *start.shape)), width) & over
    return jax.lax.fori_loop(0, max(len(start), width) - 3, longer, first)


def around(cells: UInt32[Array, "8 L"], width: int) -> UInt32[Array, "8 L"]:
    """Eight sets, each moved by one in another of the directions `AROUND`."""
    return jnp.stack([moved(each, *way, width) for each, way in zip(cells, AROUND, strict=True)])


def flood(start: Cells, within: Cells, steps: tuple[tuple[int, int], ...], width: int) -> Cells:
    """All cells of `within` that are reached from `start` by steps inside it."""

    def grown(state: tuple[Cells, Bool[Array, ""]]) -> tuple[Cells, Bool[Array, ""]]:
        cells, after = state[0], state[0]
        for lines, along in steps:
            after = after | (moved(after, lines, along, width) & within)
        return after, (after != cells).any()

    return jax.lax.while_loop(lambda state: state[1], grown, (start & within, jnp.bool_(True)))[0]


def count(cells: Cells) -> Int[Array, ""]:
    """How many cells there are."""
    return jax.lax.population_count(cells).sum().astype(jnp.int32)


def spread(cells: Cells, width: int) -> Bool[Array, "L W"]:
    """Whether each cell is there."""
    return (cells[:, None] >> jnp.arange(width, dtype=jnp.uint32) & 1) != 0


def gathered(mask: Shaped[Array, "L W"]) -> Cells:
    """The cells that are there: what `spread` shows."""
    bits = jnp.left_shift(jnp.uint32(1), jnp.arange(mask.shape[1], dtype=jnp.uint32))
    return jnp.where(mask, bits, jnp.uint32(0)).sum(1, dtype=jnp.uint32)


def marks(mine: Cells, theirs: Cells, width: int) -> Integer[Array, "L W"]:
    """A board of marks: 0 free, 1 the mover's, 2 the opponent's."""
    return spread(mine, width).astype(jnp.int8) + 2 * spread(theirs, width).astype(jnp.int8)
