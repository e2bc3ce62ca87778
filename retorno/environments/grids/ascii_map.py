"""Worlds drawn by hand: a map of letters, in a text file or a string, becomes a model.

    about: four rooms for a hurried mouse
    slip: 0.1
    step: -1
    A: 5

    S..#...
    ...#.A.
    .......
    #.##.##
    ...#..X
    .......
    ...#..G

| on the map | |
|---|---|
| `.` | a free cell |
| `#` | a wall; beyond the edge is wall, too |
| `S` | a free cell in which episodes start |
| `G` | a goal: ends the episode |
| `X` | a pit: ends the episode |
| `C` | a cliff: leads back to the start, and the episode goes on |
| any other letter or digit | an end that pays what its line says (`A: 5`), a digit by itself what it says |

| a line | | without it |
|---|---|---|
| `step: -1` | the reward of every move | 0 |
| `goal: 1`, `pit: -1`, `cliff: -100` | the reward of entering one, on top of the step's | these |
| `slip: 0.2` | the probability of moving at a right angle to the action, half to either side | 0 |
| `wind: 0 0 1 2` | how many cells each column blows upward whoever leaves it (downward if negative) | 0 |
| `gusts: 2/3` | the probability that a wind blows one cell more or one less, half each | 0 |
| `moves: 4` | 4, the king's 8, or 9 with staying | 4 |
| `start: any` | any `S`, equally; any free cell where there is none | the one `S` |
| `ends: none` | a map on which nothing ends an episode is meant so | |
| `about: …` | for the reader | |

A move goes sideways, then up or down, cell by cell as far as it is free. Only the cell where it ends counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from retorno.core.mdp import MDP, ModelError, mdp
from retorno.environments.formats.files import naming, read_text
from retorno.environments.formats.numbers import number
from retorno.environments.grids.gridworlds import MOVES, Cell

KINGS_MOVES = MOVES | {"down-left": (1, -1), "down-right": (1, 1), "up-right": (-1, 1), "up-left": (-1, -1)}
"""Left, right, up, down and the diagonals."""

CHOICES = {"4": MOVES, "8": KINGS_MOVES, "9": KINGS_MOVES | {"stay": (0, 0)}}
ENTERED = {"G": ("goal", 1.0), "X": ("pit", -1.0), "C": ("cliff", -100.0)}
"""Letters with a word of their own, and what entering them pays on top of the step."""
RULES = ("about", "step", *(word for word, _ in ENTERED.values()), "slip", "wind", "gusts", "moves", "start", "ends")
HEADER = re.compile(r"\s*(\w+)\s*:\s*(.*?)\s*")


class Header(dict[str, tuple[int, str]]):
    """The lines `key: text` with their numbers."""

    def number(self, key: str, default: float, least: float = -float("inf"), most: float = float("inf")) -> float:
        line, text = self.get(key, (0, ""))
        if not line:
            return default
        value = _number(line, key, text)
        if not least <= value <= most:
            raise ModelError(f"line {line}: {key} must lie in [{least:g}, {most:g}], got {text}")
        return value

    def one_of(self, key: str, *choices: str) -> str | None:
        line, text = self.get(key, (0, ""))
        if line and text not in choices:
            raise ModelError(f"line {line}: {key} is {' or '.join(choices)}, got {text!r}")
        return text if line else None


@dataclass(frozen=True)
class Drawing:
    """A map and its rules."""

    cells: Mapping[Cell, str]
    starts: tuple[Cell, ...]
    entered: Mapping[str, float]
    """What entering a letter pays on top of the step; all but `C` end the episode."""
    moves: Mapping[str, Cell]
    wind: tuple[int, ...]
    """Cells upward, of each column."""
    step: float
    slip: float
    gusts: float

    def model(self) -> MDP:
        free = [at for at, letter in self.cells.items() if letter in ".S"]
        transitions = {at: {name: self._outcomes(at, move) for name, move in self.moves.items()} for at in free}
        made = {
            _name(at): {a: [(p, _name(to), r) for (to, r), p in row.items()] for a, row in choices.items()}
            for at, choices in transitions.items()
        }
        start = {_name(at): 1 / len(self.starts) for at in self.starts}
        labels = {
            word: {_name(at) for at, letter in self.cells.items() if letter == mark}
            for mark, word in (("G", "goal"), ("X", "pit"))
        }
        said = {word: cells for word, cells in labels.items() if cells}
        return mdp(made, initial=start, grid={_name(at): at for at in self.cells}, labels=said)

    def _outcomes(self, at: Cell, move: Cell) -> dict[tuple[Cell, float], float]:
        """{(cell, reward): probability}."""
        outcomes: dict[tuple[Cell, float], float] = {}
        for chance, to in self._landings(at, move):
            letter = self.cells[to]
            reward = self.step + self.entered.get(letter, 0.0)
            ends = self.starts if letter == "C" else (to,)
            for end in ends if chance else ():
                outcomes[end, reward] = outcomes.get((end, reward), 0.0) + chance / len(ends)
        return outcomes

    def _landings(self, at: Cell, move: Cell) -> Iterator[tuple[float, Cell]]:
        (down, right), wind = move, self.wind[at[1]]
        turns = [(1 - self.slip, down, right), (self.slip / 2, right, -down), (self.slip / 2, -right, down)]
        gusts = [(1 - self.gusts, 0), (self.gusts / 2, 1), (self.gusts / 2, -1)] if wind else [(1.0, 0)]
        for turned, down, right in turns:
            for blown, more in gusts:
                yield turned * blown, self._travel(at, down - wind - more, right)

    def _travel(self, at: Cell, down: int, right: int) -> Cell:
        for d, r in [(0, right), *[(1 if down > 0 else -1, 0)] * abs(down)]:
            to = at[0] + d, at[1] + r
            at = to if self.cells.get(to, "#") != "#" else at
        return at


def ascii_map(text: str) -> MDP:
    """The model of a map: see the module for letters and rules.

    State names are "row,column" from the top left; `grid` has their places, so that values are drawn as a map.

    Raises:
        ModelError: for rows that differ in length, an unknown letter or rule, numbers out of their range,
            no start or more than one, and nothing that ends an episode, with the line and the column.

    Args:
        text: the map, a line for each row, and its rules below.
    """
    return _parsed(text).model()


def read(path: Path) -> MDP:
    """The model of a map in a file.

    Raises:
        ModelError: as `drawn`, with the file.
        OSError: when the file cannot be read.

    Args:
        path: of the file.
    """
    with naming(path):
        return ascii_map(read_text(path))


def _parsed(text: str) -> Drawing:
    header, rows = Header(), dict[int, str]()
    for line, content in enumerate(text.splitlines(), start=1):
        if found := HEADER.fullmatch(content):
            key, value = found.groups()
            if key in header:
                raise ModelError(f"line {line}: {key!r} again; line {header[key][0]} has it already")
            header[key] = line, value
        elif content.strip():
            rows[line] = content.rstrip()
    letters = _rewards(header)
    cells, written = _cells(rows, letters)
    used = set(cells.values())
    for letter in set(header) - set(RULES) - used:
        raise ModelError(
            f"line {header[letter][0]}: there is no {letter} on the map that could pay {letters[letter]:g}"
        )
    free = [at for at, letter in cells.items() if letter in ".S"]
    if not free:
        raise ModelError("the map has no free cell (. or S) to act in")
    if not used - set(".#SC") and header.one_of("ends", "none") is None:
        raise ModelError("no goal: write G where the episode ends, or `ends: none` if it never does")
    return Drawing(
        cells=cells,
        starts=_starts(cells, written, header),
        entered=letters,
        moves=CHOICES[header.one_of("moves", *CHOICES) or "4"],
        wind=_wind(header, 1 + max(column for _, column in cells)),
        step=header.number("step", 0.0),
        slip=header.number("slip", 0.0, 0, 1),
        gusts=header.number("gusts", 0.0, 0, 1),
    )


def _rewards(header: Header) -> dict[str, float]:
    """What entering each letter pays, of those that have a line or need none."""
    rewards = {str(digit): float(digit) for digit in range(10)}
    rewards |= {letter: header.number(word, default) for letter, (word, default) in ENTERED.items()}
    for key, (line, text) in header.items():
        if key in RULES:
            continue
        if key in ENTERED:
            raise ModelError(f"line {line}: what {key} pays is written `{ENTERED[key][0]}: {text}`")
        if len(key) > 1 or key == "S":
            raise ModelError(
                f"line {line}: no rule {key!r}; there are {', '.join(RULES)}, and letters that end episodes"
            )
        rewards[key] = _number(line, key, text)
    return rewards


def _cells(rows: Mapping[int, str], letters: Mapping[str, float]) -> tuple[dict[Cell, str], dict[Cell, str]]:
    """The letter of each cell, and where it is written."""
    if not rows:
        raise ModelError("there is no map: write rows of . (free), # (wall), S (start), G (goal)")
    first, width = next((line, len(content.strip())) for line, content in rows.items())
    cells, written = {}, {}
    for r, (line, content) in enumerate(rows.items()):
        indent = len(content) - len(content.lstrip())
        for c, letter in enumerate(content.strip()):
            written[r, c] = f"line {line}, column {indent + c + 1}"
            if letter not in letters and letter not in ".#S":
                pays = f", and others after a line such as `{letter}: 10`" if letter.isalnum() else ""
                raise ModelError(f"{written[r, c]}: {letter!r} is unknown; a map has . # S G X C and digits{pays}")
            cells[r, c] = letter
        if len(content.strip()) != width:
            raise ModelError(f"line {line}: {len(content.strip())} cells, where line {first} has {width}")
    return cells, written


def _starts(cells: Mapping[Cell, str], written: Mapping[Cell, str], header: Header) -> tuple[Cell, ...]:
    marked = tuple(at for at, letter in cells.items() if letter == "S")
    if header.one_of("start", "any"):
        return marked or tuple(at for at, letter in cells.items() if letter == ".")
    if len(marked) > 1:
        raise ModelError(
            f"{written[marked[1]]}: a second S, after {written[marked[0]]}; leave one, or write `start: any` to "
            "begin in any of them"
        )
    if not marked:
        raise ModelError("no start: write S in one cell, or `start: any` to begin in any free cell")
    return marked


def _wind(header: Header, columns: int) -> tuple[int, ...]:
    line, text = header.get("wind", (0, ""))
    blows = [_number(line, "wind", word) for word in text.split()] if line else [0.0] * columns
    if len(blows) != columns:
        raise ModelError(f"line {line}: wind has {len(blows)} numbers, expected {columns}, one for each column")
    if any(strength != int(strength) for strength in blows):
        raise ModelError(f"line {line}: wind blows whole cells, got {text}")
    return tuple(int(strength) for strength in blows)


def _number(line: int, key: str, text: str) -> float:
    try:
        return number(text)
    except ValueError as error:
        raise ModelError(f"line {line}: {key}: {error}") from None


def _name(at: Cell) -> str:
    return f"{at[0]},{at[1]}"
