"""Gymnasium's frozen lake of any size, built at once: a million cells take a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsIndex, overload

import numpy as np

from retorno.core.mdp import MDP
from retorno.core.memory import ensure_fits

LAKES = {
    "4x4": ("SFFF", "FHFH", "FFFH", "HFFG"),
    "8x8": ("SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF", "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG"),
}
ACTIONS = ("left", "down", "right", "up")
STEPS = np.array([(0, -1), (1, 0), (0, 1), (-1, 0)])
MOST_PLACED = 100_000
"""Cells up to which the model says where they lie on the map, for pictures."""
BYTES_A_CELL = 400


@dataclass(frozen=True)
class CellNames(Sequence[str]):
    """The names "row,column" of a map's cells; stores none."""

    rows: int
    columns: int

    def __len__(self) -> int:
        return self.rows * self.columns

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> str | tuple[str, ...]:
        cells = range(len(self))[index]
        if isinstance(cells, range):
            return tuple(map(self.__getitem__, cells))
        return f"{cells // self.columns},{cells % self.columns}"


def frozen_lake(lake: str | Sequence[str] = "4x4", is_slippery: bool = True) -> MDP:
    """Gymnasium's frozen lake: walk from S to G (reward 1), holes H end the episode.

    On slippery ice the move goes as meant or to either side, each with probability 1/3. The start's
    value on the slippery 4×4 lake at γ = 1 is 14/17.

    Args:
        lake: "4x4", "8x8", or the rows of a map of `S`, `F`, `H` and `G`.
        is_slippery: whether the ice is.

    Raises:
        ValueError: when the map is unknown, its rows differ in length or hold another letter, or it has no start.
        ModelError: when it would not fit into memory, with both numbers.

    >>> from retorno.bellman import solve
    >>> round(solve(frozen_lake(), 1.0).start_value, 3)
    0.824
    """
    if isinstance(lake, str):
        if lake not in LAKES:
            raise ValueError(f"no lake {lake!r}; there are {', '.join(LAKES)}, or give the rows of a map")
        lake = LAKES[lake]
    cells = _cells(lake)
    count = cells.size
    ensure_fits(BYTES_A_CELL * count, f"a lake of {count:,} cells")
    letter = cells.reshape(-1)
    acting = np.flatnonzero((letter == b"F") | (letter == b"S"))
    row, column = acting // cells.shape[1], acting % cells.shape[1]
    neighbour = [
        np.clip(row + down, 0, cells.shape[0] - 1) * cells.shape[1] + np.clip(column + right, 0, cells.shape[1] - 1)
        for down, right in STEPS
    ]
    turns = (0, -1, 1) if is_slippery else (0,)
    target = np.stack([neighbour[(a + turn) % 4] for a in range(4) for turn in turns], axis=1)
    next_state = target.reshape(-1).astype(np.int32 if count < 2**31 else np.int64)
    reached = letter[next_state]
    start = (letter == b"S").astype(float)
    placed = count <= MOST_PLACED
    return MDP(
        state_ptr=np.append(0, np.cumsum(np.where((letter == b"F") | (letter == b"S"), 4, 0))),
        action=np.tile(np.arange(4), len(acting)),
        row_ptr=np.arange(0, len(next_state) + 1, len(turns)),
        next_state=next_state,
        probability=np.full(len(next_state), 1 / len(turns)),
        reward=(reached == b"G").astype(float),
        discount=((reached == b"F") | (reached == b"S")).astype(float),
        initial=start / start.sum(),
        state_names=CellNames(*cells.shape),
        action_names=ACTIONS,
        grid=tuple((s // cells.shape[1], s % cells.shape[1]) for s in range(count)) if placed else None,
        labels={"goal": np.flatnonzero(letter == b"G"), "hole": np.flatnonzero(letter == b"H")},
    )


def random_lake(rows: int, columns: int, holes: float = 0.2, seed: int = 0) -> tuple[str, ...]:
    """A map with holes anywhere but at the start, top left, and the goal, bottom right.

    Raises:
        ValueError: when there is no room for both, or `holes` is not a probability.

    Args:
        rows: of the map.
        columns: of the map.
        holes: how probable a hole is in each cell.
        seed: what is drawn follows from it.

    Returns:
        The map's rows, for `frozen_lake`.

    >>> lake = random_lake(2, 3, holes=0.0)
    >>> lake
    ('SFF', 'FFG')
    """
    if rows < 1 or columns < 1 or rows * columns < 2:
        raise ValueError(f"a lake needs at least two cells, got {rows} × {columns}")
    if not 0 <= holes <= 1:
        raise ValueError(f"holes must be a probability in [0, 1], got {holes}")
    cells = np.where(np.random.default_rng(seed).random((rows, columns)) < holes, b"H", b"F")
    cells[0, 0], cells[-1, -1] = b"S", b"G"
    return tuple(row.tobytes().decode() for row in cells)


def _cells(lake: Sequence[str]) -> np.ndarray:
    if not lake or len({len(row) for row in lake}) > 1:
        raise ValueError(f"the rows of a lake need one length, got {[len(row) for row in lake][:8]}")
    cells = np.array([list(row) for row in lake]).astype("S1")
    strange = sorted(set(map(bytes.decode, np.unique(cells))) - set("SFHG"))
    if strange:
        raise ValueError(f"a lake's map holds S F H G, got {' '.join(strange)}")
    if not (cells == b"S").any():
        raise ValueError("the lake has no start: mark a cell S")
    return cells
