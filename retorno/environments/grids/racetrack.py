"""The racetrack: the finish as fast as possible without leaving the track. Sutton & Barto 2018, exercise 5.12."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

from retorno.core.mdp import MDP, MapKey, ModelError

LEFT_TRACK = """
###.............F
##..............F
##..............F
#...............F
................F
................F
..........#######
.........########
.........########
.........########
.........########
.........########
.........########
.........########
#........########
#........########
#........########
#........########
#........########
#........########
#........########
#........########
##.......########
##.......########
##.......########
##.......########
##.......########
##.......########
##.......########
###......########
###......########
###SSSSSS########
"""
"""Figure 5.5, left: 32 × 17."""

RIGHT_TRACK = """
################...............F
#############..................F
############...................F
###########....................F
###########....................F
###########....................F
###########....................F
############...................F
#############..................F
##############................##
##############.............#####
##############............######
##############..........########
##############.........#########
#############..........#########
############...........#########
###########............#########
##########.............#########
#########..............#########
########...............#########
#######................#########
######.................#########
#####..................#########
####...................#########
###....................#########
##.....................#########
#......................#########
.......................#########
.......................#########
SSSSSSSSSSSSSSSSSSSSSSS#########
"""
"""Figure 5.5, right: 30 × 32."""

FASTEST = 4
INCREMENTS = [(up, right) for up in (-1, 0, 1) for right in (-1, 0, 1)]
"""Of the velocity: the nine actions."""
SPEEDS = FASTEST + 1


def racetrack(track: str = LEFT_TRACK, noise: float = 0.1) -> MDP:
    """States are "row,column,up,right": a place and how many cells the last step went up and right, 0 … 4 each.

    A state's actions "up,right" add −1, 0 or 1 to each, as far as both stay within 0 … 4 and do not
    both become 0 but on the starting line; with probability `noise` none is added. Then the car moves.
    Where its straight path first leaves the track it is put back to a random place of the starting
    line, at rest; where it meets the finish the episode ends. Every step costs 1.

    The path passes the cells nearest to its points at max(up, right) equal parts (halves away from
    where it came). Only states that can be reached are in the model. On the map (`grid`) lie those
    that move up by one cell, and those at rest on the starting line.

    Args:
        track: rows of `.` track, `#` off the track, `S` the starting line and `F` the finish.
        noise: the probability that an action does nothing.

    Raises:
        ModelError: when rows differ in length, or there is no start, no finish or another letter.
        ValueError: when the noise is outside [0, 1].
    """
    if not 0 <= noise <= 1:
        raise ValueError(f"noise is a probability, in [0, 1], got {noise}")
    cells = _cells(track)
    rows, columns = cells.shape
    start = np.flatnonzero(cells.reshape(-1) == "S")
    landing = _landings(cells)  # [cell, velocity]
    end, crash = rows * columns, -1

    # One number for place and velocity; the finish is the number after them.
    count = rows * columns * SPEEDS**2
    state = np.arange(count)
    cell, velocity = np.divmod(state, SPEEDS**2)
    after = np.stack([_changed(velocity, add) for add in INCREMENTS], axis=1)  # −1 where not allowed
    legal = (after >= 0) & ((after > 0) | (cells.reshape(-1)[cell] == "S")[:, None])

    def moved(velocity: Int[np.ndarray, "*n"], cell: Int[np.ndarray, "*c"]) -> Int[np.ndarray, "*n"]:
        to = landing[cell, velocity]
        return np.where(to == end, count, np.where(to == crash, crash, to * SPEEDS**2 + velocity))

    meant = moved(np.maximum(after, 0), cell[:, None])
    coasted = moved(velocity, cell)

    reached = _reached(start * SPEEDS**2, np.where(legal, meant, count), coasted if noise else None, count)
    number = np.cumsum(reached) - 1
    states = np.flatnonzero(reached)
    own, action = np.nonzero(legal[states])
    pairs = len(own)
    # Of each pair: what is meant, and what happens without the increment; a crash leads to all of the start.
    targets = np.stack([meant[states[own], action], coasted[states[own]]], axis=1).reshape(-1)
    chances = np.tile([1 - noise, noise], pairs)
    size = np.where(chances == 0, 0, np.where(targets == crash, len(start), 1))
    source = np.repeat(np.arange(2 * pairs), size)
    offset = np.arange(len(source)) - np.repeat(np.cumsum(size) - size, size)
    target = np.where(targets[source] == crash, start[offset % len(start)] * SPEEDS**2, targets[source])
    ended = target == count
    initial = np.zeros(len(states) + 1)
    initial[number[start * SPEEDS**2]] = 1 / len(start)
    row, column, up, right = _parts(states, columns)
    shown = (right == 0) & ((up == 1) | (up == 0))
    return MDP(
        state_ptr=np.append(np.append(0, np.cumsum(legal[states].sum(1))), pairs),
        action=action,
        row_ptr=np.append(0, np.cumsum(size.reshape(-1, 2).sum(1))),
        next_state=np.where(ended, len(states), number[np.minimum(target, count - 1)]).astype(np.int32),
        probability=chances[source] / np.where(targets[source] == crash, len(start), 1),
        reward=np.full(len(source), -1.0),
        discount=np.where(ended, 0.0, 1.0),
        initial=initial,
        state_names=(
            *(f"{r},{c},{u},{v}" for r, c, u, v in zip(row, column, up, right, strict=True)),
            "finish",
        ),
        action_names=tuple(f"{up:+d},{right:+d}" for up, right in INCREMENTS),
        grid=(*((int(r), int(c)) if on else None for r, c, on in zip(row, column, shown, strict=True)), None),
        map_key=MapKey(
            actions="acceleration",
            headings=tuple((-up, right) for up, right in INCREMENTS),
            note="cars that move up by one cell; on the starting line at rest",
        ),
    )


def _cells(track: str) -> np.ndarray:
    """The letters [rows, columns] of a track."""
    lines = track.split()
    if len({len(line) for line in lines}) > 1:
        raise ModelError(f"the rows of a track need one length, got {sorted({len(line) for line in lines})}")
    strange = sorted(set("".join(lines)) - set(".#SF"))
    if strange:
        raise ModelError(f"a track holds . # S F, got {' '.join(strange)}")
    if not {"S", "F"} <= set("".join(lines)):
        raise ModelError("a track needs a starting line (S) and a finish (F)")
    return np.array([list(line) for line in lines])


def _landings(cells: np.ndarray) -> Int[np.ndarray, "cells velocities"]:
    """Where a step from each cell ends: a cell, the number after them where it finishes, −1 off the track."""
    rows, columns = cells.shape
    row, column = np.divmod(np.arange(rows * columns), columns)
    landing = np.empty((rows * columns, SPEEDS**2), int)
    for velocity in range(SPEEDS**2):
        up, right = divmod(velocity, SPEEDS)
        open_way = np.ones(rows * columns, bool)  # neither crashed nor finished so far
        end = np.arange(rows * columns)
        parts = max(up, right)
        for part in range(1, parts + 1):
            r, c = row - (2 * up * part + parts) // (2 * parts), column + (2 * right * part + parts) // (2 * parts)
            inside = (r >= 0) & (c < columns)
            letter = np.where(inside, cells[np.maximum(r, 0), np.minimum(c, columns - 1)], "#")
            here = np.where(letter == "#", -1, np.where(letter == "F", rows * columns, r * columns + c))
            end = np.where(open_way, here, end)
            open_way &= (letter != "#") & (letter != "F")
        landing[:, velocity] = end
    return landing


def _changed(velocity: Int[np.ndarray, " n"], add: tuple[int, int]) -> Int[np.ndarray, " n"]:
    """The velocity after an increment, −1 where a component would leave 0 … 4."""
    up, right = velocity // SPEEDS + add[0], velocity % SPEEDS + add[1]
    within = (up >= 0) & (right >= 0) & (up <= FASTEST) & (right <= FASTEST)
    return np.where(within, up * SPEEDS + right, -1)


def _reached(
    start: Int[np.ndarray, " I"],
    meant: Int[np.ndarray, "N A"],
    coasted: Int[np.ndarray, " N"] | None,
    count: int,
) -> Bool[np.ndarray, " N"]:
    """The states that some episode visits."""
    reached = np.zeros(count, bool)
    fresh = start
    while len(fresh):
        reached[fresh] = True
        targets = meant[fresh].reshape(-1)
        if coasted is not None:
            targets = np.append(targets, coasted[fresh])
        targets = np.unique(targets[(targets >= 0) & (targets < count)])
        fresh = targets[~reached[targets]]
    return reached


def _parts(state: Int[np.ndarray, " n"], columns: int) -> tuple[Int[np.ndarray, " n"], ...]:
    cell, velocity = np.divmod(state, SPEEDS**2)
    return *np.divmod(cell, columns), *np.divmod(velocity, SPEEDS)
