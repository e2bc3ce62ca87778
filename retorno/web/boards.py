"""Boards as drawings (SVG): what stands on them, where one may go, and what is thought of each move."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from jaxtyping import Integer

from retorno.environments.games.breakthrough import Breakthrough
from retorno.environments.games.connect_four import ConnectFour
from retorno.environments.games.game import Game
from retorno.environments.games.go import Go
from retorno.environments.games.gomoku import Gomoku
from retorno.environments.games.hex import Hex
from retorno.environments.games.othello import Othello
from retorno.environments.games.tic_tac_toe_for_two import TicTacToe

Cell = tuple[int, int]
"""Row and column of the upright board."""
EDGE = 0.55
"""Around a board, in cells: room for its coordinates."""


@dataclass(frozen=True)
class Preference:
    """What is thought of a move to a cell."""

    share: float = 0.0
    """Of the search's policy."""
    prior: float | None = None
    """Of the network's."""
    best: bool = False
    verdict: int | None = None
    """A perfect judge's: 1 it wins, 0 it draws, −1 it loses."""


@dataclass(frozen=True)
class Drawing:
    """What there is to draw."""

    marks: Integer[np.ndarray, "R C"]
    """Upright: 1 the first player's, 2 the second's."""
    last: Sequence[Cell] = ()
    """What the last move was about."""
    free: Mapping[Cell, str] = field(default_factory=dict)
    """Cells that may be chosen, with what is said of them to who does not see the board."""
    picked: Cell | None = None
    """The cell from which a move begins."""
    preferences: Mapping[Cell, Preference] = field(default_factory=dict)


def drawn(game: Game, board: Drawing, said: str) -> str:
    """A board as SVG.

    Args:
        game: whose.
        board: what stands on it.
        said: what the picture is, in words.
    """
    rows, columns = board.marks.shape
    slant = 0.5 * (rows - 1) if isinstance(game, Hex) else 0.0
    top = 1.15 if isinstance(game, ConnectFour) else EDGE
    width, height = columns + slant + 2 * EDGE, rows * (0.866 if slant else 1) + top + EDGE
    parts = [
        f'<svg class="board {kind_of(game)}" viewBox="{-EDGE} {-top} {width:.3f} {height:.3f}" role="group" '
        f'aria-label="{escape(said)}" xmlns="http://www.w3.org/2000/svg">'
    ]
    parts += _ground(game, rows, columns)
    parts += [_piece(game, (int(r), int(c)), int(board.marks[r, c])) for r, c in np.argwhere(board.marks)]
    for cell in board.last if not isinstance(game, ConnectFour) else _landed(board):
        x, y = centre(game, cell)
        parts.append(f'<circle class="last" cx="{x:.3f}" cy="{y:.3f}" r=".13"/>')
    parts += [_preference(game, cell, what) for cell, what in board.preferences.items()]
    parts += [_choice(game, board, cell, what, rows) for cell, what in board.free.items()]
    return "".join([*parts, "</svg>"])


def kind_of(game: Game) -> str:
    """How it is drawn: as discs in holes, as stones on lines, on cells of six sides, as signs, or as pieces."""
    for kind, name in KINDS.items():
        if isinstance(game, kind):
            return name
    return "pieces"


KINDS: dict[type[Game], str] = {
    ConnectFour: "holes",
    TicTacToe: "signs",
    Gomoku: "stones",
    Go: "stones",
    Hex: "hexes",
    Othello: "green",
    Breakthrough: "pieces",
}


def centre(game: Game, cell: Cell) -> tuple[float, float]:
    """Where a cell is drawn."""
    row, column = cell
    if isinstance(game, Hex):
        return column + 0.5 + 0.5 * row, 0.866 * (row + 0.5)
    return column + 0.5, row + 0.5


def _ground(game: Game, rows: int, columns: int) -> list[str]:
    kind, parts = kind_of(game), []
    if kind == "hexes":
        corners = lambda x, y: " ".join(  # noqa: E731
            f"{x + 0.577 * math.sin(k * math.pi / 3):.3f},{y + 0.577 * math.cos(k * math.pi / 3):.3f}" for k in range(6)
        )
        for row in range(rows):
            for column in range(columns):
                x, y = centre(game, (row, column))
                parts.append(f'<polygon class="cell" points="{corners(x, y)}"/>')
        # The sides that each player joins.
        for side, ends in enumerate((((0, 0), (0, columns - 1)), ((rows - 1, 0), (rows - 1, columns - 1)))):
            (x, y), (u, v) = centre(game, ends[0]), centre(game, ends[1])
            off = 0.52 if side else -0.52
            parts.append(f'<line class="side first" x1="{x:.2f}" y1="{y + off:.2f}" x2="{u:.2f}" y2="{v + off:.2f}"/>')
        for side, ends in enumerate((((0, 0), (rows - 1, 0)), ((0, columns - 1), (rows - 1, columns - 1)))):
            (x, y), (u, v) = centre(game, ends[0]), centre(game, ends[1])
            off = 0.6 if side else -0.6
            parts.append(f'<line class="side second" x1="{x + off:.2f}" y1="{y:.2f}" x2="{u + off:.2f}" y2="{v:.2f}"/>')
    elif kind == "stones":
        parts.append(f'<rect class="ground" x="0" y="0" width="{columns}" height="{rows}" rx=".1"/>')
        for row in range(rows):
            parts.append(f'<line class="rule" x1=".5" y1="{row + 0.5}" x2="{columns - 0.5}" y2="{row + 0.5}"/>')
        for column in range(columns):
            parts.append(f'<line class="rule" x1="{column + 0.5}" y1=".5" x2="{column + 0.5}" y2="{rows - 0.5}"/>')
        parts += [f'<circle class="dot" cx="{c + 0.5}" cy="{r + 0.5}" r=".09"/>' for r, c in _dots(rows, columns)]
    else:
        parts.append(f'<rect class="ground" x="0" y="0" width="{columns}" height="{rows}" rx=".12"/>')
        if kind == "holes":
            holes = ((r, c) for r in range(rows) for c in range(columns))
            parts += [f'<circle class="hole" cx="{c + 0.5}" cy="{r + 0.5}" r=".4"/>' for r, c in holes]
        else:
            for row in range(rows):
                for column in range(columns):
                    shade = " odd" if kind == "pieces" and (row + column) % 2 else ""
                    parts.append(f'<rect class="cell{shade}" x="{column}" y="{row}" width="1" height="1"/>')
    return parts + _coordinates(game, rows, columns)


def _dots(rows: int, columns: int) -> list[Cell]:
    """The marked points of a board of lines."""
    if rows != columns or rows < 7:
        return []
    near = 3 if rows > 11 else 2
    places = [near, rows - 1 - near] + ([rows // 2] if rows % 2 else [])
    if rows < 13:
        return [(r, c) for r in (near, rows - 1 - near) for c in (near, rows - 1 - near)] + [(rows // 2, rows // 2)] * (
            rows % 2
        )
    return [(r, c) for r in places for c in places]


def _coordinates(game: Game, rows: int, columns: int) -> list[str]:
    """Letters below and numbers on the left, as moves are said."""
    parts, kind = [], kind_of(game)
    for column in range(columns):
        (x, y), name = centre(game, (rows - 1, column)), game.column_name(column)
        parts.append(f'<text class="name" x="{x:.3f}" y="{y + 0.5 + 0.3:.3f}">{escape(name)}</text>')
    for row in range(rows if kind != "holes" else 0):
        x, y = centre(game, (row, 0))
        parts.append(f'<text class="name" x="{x - 0.5 - 0.28:.3f}" y="{y:.3f}">{game.row_name(row)}</text>')
    return parts


def _piece(game: Game, cell: Cell, mark: int) -> str:
    x, y = centre(game, cell)
    who = "first" if mark == 1 else "second"
    if kind_of(game) == "signs":
        if mark == 1:
            a, b = 0.27, 0.73
            row, column = cell
            return (
                f'<path class="sign first" d="M{column + a} {row + a}L{column + b} {row + b}'
                f'M{column + b} {row + a}L{column + a} {row + b}"/>'
            )
        return f'<circle class="sign second" cx="{x}" cy="{y}" r=".25"/>'
    size = {"stones": 0.46, "hexes": 0.38, "holes": 0.4, "green": 0.41}.get(kind_of(game), 0.36)
    return f'<circle class="piece {who}" cx="{x:.3f}" cy="{y:.3f}" r="{size}"/>'


def _landed(board: Drawing) -> list[Cell]:
    """The uppermost discs of the columns that the last move was about."""
    tops = []
    for _, column in board.last:
        taken = np.flatnonzero(board.marks[:, column])
        tops += [(int(taken[0]), column)] if len(taken) else []
    return tops


def _preference(game: Game, cell: Cell, what: Preference) -> str:
    """A disc as large as the search's share, a ring as large as the network's, a judge's verdict."""
    x, y = centre(game, cell)
    if isinstance(game, ConnectFour):
        y = -0.5  # Above the columns.
    parts = []
    if what.share >= 0.005:
        best = " best" if what.best else ""
        parts.append(f'<circle class="share{best}" cx="{x:.3f}" cy="{y:.3f}" r="{0.42 * math.sqrt(what.share):.3f}"/>')
    if what.prior is not None and what.prior >= 0.005:
        parts.append(f'<circle class="prior" cx="{x:.3f}" cy="{y:.3f}" r="{0.42 * math.sqrt(what.prior):.3f}"/>')
    if what.verdict is not None:
        sign, kind = {1: ("+", "good"), 0: ("=", "even"), -1: ("–", "bad")}[what.verdict]
        parts.append(f'<text class="verdict {kind}" x="{x:.3f}" y="{y - 0.46:.3f}">{sign}</text>')
    elif what.share >= 0.1:
        parts.append(f'<text class="percent" x="{x:.3f}" y="{y:.3f}">{round(100 * what.share)}</text>')
    return "".join(parts)


def _choice(game: Game, board: Drawing, cell: Cell, said: str, rows: int) -> str:
    """Where one may go: it takes clicks and the keyboard."""
    (row, column), (x, y) = cell, centre(game, cell)
    picked = " picked" if cell == board.picked else ""
    attributes = (
        f'class="choice{picked}" data-cell="{row},{column}" tabindex="0" role="button" aria-label="{escape(said)}"'
    )
    if isinstance(game, ConnectFour):
        return f'<rect {attributes} x="{column + 0.03:.3f}" y="-1" width=".94" height="{rows + 1}" rx=".12"/>'
    return f'<circle {attributes} cx="{x:.3f}" cy="{y:.3f}" r=".44"/>'


def curve(chances: Sequence[float | None], said: str) -> str:
    """The first player's chance to win after each move: 1 above, 0 below."""
    known = [(i, chance) for i, chance in enumerate(chances) if chance is not None]
    last = max(len(chances) - 1, 10)
    at = lambda i, chance: (100 * i / last, 40 - 40 * chance)  # noqa: E731
    line = " ".join(f"{x:.2f},{y:.2f}" for x, y in (at(i, chance) for i, chance in known))
    parts = [
        f'<svg class="curve" viewBox="-1 -2 102 44" preserveAspectRatio="none" role="img" aria-label="{escape(said)}">',
        '<rect class="lower" x="0" y="20" width="100" height="20"/>',
        '<line class="half" x1="0" y1="20" x2="100" y2="20"/>',
    ]
    if known:
        parts.append(f'<polyline points="{line}"/>')
    return "".join([*parts, "</svg>"])
