"""Games as SGF, the Smart Game Format that Go programs share (Hollosi 1997, FF[4]): one game, its main line.

Go's moves stand as its format wants them, two letters from the upper left corner; those of other games as their world
says them, which for Hex is the format's own way too. For Othello and Gomoku it has none: programs write letters
as Go's do, or names of cells, and both are read. A game without a number is told by its name in `GN`.
https://www.red-bean.com/sgf/
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from retorno.core.errors import RetornoError
from retorno.environments.games.chance import by_chance
from retorno.environments.games.connect_four import ConnectFour
from retorno.environments.games.game import LETTERS, Game
from retorno.environments.games.go import Go
from retorno.environments.games.gomoku import Gomoku
from retorno.environments.games.hex import Hex
from retorno.environments.games.othello import Othello

NUMBERS: dict[type[Game], int] = {Go: 1, Othello: 2, Gomoku: 4, Hex: 11, ConnectFour: 0}
"""The format's numbers of games; 0 is none of them."""
TOKEN = re.compile(r"\s*(?:(?P<mark>[();])|(?P<name>[A-Za-z]+)\s*(?P<values>(?:\[(?:\\.|[^\]\\])*\]\s*)+))", re.DOTALL)
VALUE = re.compile(r"\[((?:\\.|[^\]\\])*)\]", re.DOTALL)
CHANCE = "XCHANCE"
"""A property of our own: what all that chance did follows from."""
PASSES = ("", "pass", "tt", "pa")
"""How files write one, where it is no place on the board."""
COLOURS = ("B", "W")
"""Of the first and the second player."""


class SGFError(RetornoError):
    """A file that is no game of ours."""


class Recorded(NamedTuple):
    """A game as a file holds it."""

    moves: tuple[tuple[bool, str], ...]
    """Whether the second player moved, and the move as the world says it."""
    properties: dict[str, str]
    """Of its first node: `SZ`, `KM`, `RE`, `PB`, …"""
    chance: tuple[int, int] | None
    """What all that chance did follows from, where it has a say."""


def write_sgf(
    world: Game,
    moves: Iterable[tuple[bool, str]],
    result: float | None = None,
    players: Sequence[str] = ("", ""),
    comments: Sequence[str] = (),
    chance: tuple[int, int] | None = None,
) -> str:
    r"""A game as SGF.

    Args:
        world: which game.
        moves: whether the second player moved, and the move as the world says it.
        result: what the first player got; None where the game is not over.
        players: the names of the first and the second.
        comments: of each move.
        chance: what all that chance did follows from, where it has a say.

    >>> write_sgf(ConnectFour(), [(False, "4"), (True, "3")])
    '(;FF[4]GM[0]CA[UTF-8]AP[retorno]GN[ConnectFour]SZ[7:6]\n;B[4]\n;W[3])\n'
    """
    head = {"FF": "4", "GM": str(NUMBERS.get(type(world), 0)), "CA": "UTF-8", "AP": "retorno"}
    head["GN"] = type(world).__name__
    if world.board is not None:
        rows, columns = world.board
        head["SZ"] = str(rows) if rows == columns else f"{columns}:{rows}"
    if isinstance(world, Go):
        head |= {"KM": world.komi_name, "RU": "Tromp-Taylor"}
    head |= {name: said for name, said in zip(("PB", "PW"), players, strict=True) if said}
    if result is not None:
        head["RE"] = "0" if result == 0 else "B+" if result > 0 else "W+"
    if chance is not None:
        head[CHANCE] = "{} {}".format(*chance)
    nodes = ["".join(f"{name}[{_escaped(said)}]" for name, said in head.items())]
    for i, (second, said) in enumerate(moves):
        remark = comments[i] if i < len(comments) else ""
        where = _go_point(world, said) if isinstance(world, Go) else said
        nodes.append(f"{COLOURS[second]}[{_escaped(where)}]" + (f"C[{_escaped(remark)}]" if remark else ""))
    return f"(;{_LINE.join(nodes)})\n"


_LINE = "\n;"


def read_sgf(text: str, world: Game) -> Recorded:
    """The game that a file holds; whether its moves are legal is not looked at.

    Args:
        text: the file.
        world: which game it should be.

    Raises:
        SGFError: when it is no SGF, or of another game, size or komi, or has variations, or stones that were set up.
    """
    nodes = _nodes(text)
    head = {name: values[0] for name, values in nodes[0].items()}
    number, expected = head.get("GM", "1"), str(NUMBERS.get(type(world), 0))
    named = head.get("GN", type(world).__name__)
    if number != expected or (expected == "0" and named != type(world).__name__):
        raise SGFError(f"this is a file of another game (GM[{number}], GN[{named}]), and not of {type(world).__name__}")
    if world.board is not None:
        rows, columns = world.board
        size = head.get("SZ", "19" if isinstance(world, Go) else f"{columns}:{rows}")
        width, _, height = size.partition(":")
        if (height or width, width) != (str(rows), str(columns)):
            raise SGFError(
                f"this file's board has the size {size}, and the game's {columns}:{rows} (columns:rows): "
                "make the game with the file's size"
            )
    if isinstance(world, Go) and "KM" in head and _number(head["KM"]) != world.komi:
        raise SGFError(
            f"this file's komi is {head['KM']}, and the game's {world.komi_name}: make the game with the file's komi"
        )
    moves: list[tuple[bool, str]] = []
    for node in nodes:
        if set_up := {"AB", "AW", "AE"} & set(node):
            raise SGFError(
                f"stones are set up after {len(moves)} moves ({', '.join(sorted(set_up))}): moves alone are read"
            )
        for second, colour in enumerate(COLOURS):
            for said in node.get(colour, ()):
                if (meant := _meant(world, said, len(moves))) is not None:
                    moves.append((bool(second), meant))
    return Recorded(tuple(moves), head, _chance(world, head))


def _number(said: str) -> float:
    try:
        return float(said)
    except ValueError:
        return math.nan


def _chance(world: Game, head: dict[str, str]) -> tuple[int, int] | None:
    if not by_chance(world):
        return None
    seed, _, number = head.get(CHANCE, "").partition(" ")
    if not all(each.isdecimal() and int(each) < 2**32 for each in (seed, number)):
        raise SGFError(f"this file does not say what chance did, as in {CHANCE}[0 1]: give one that was saved here")
    return int(seed), int(number)


def _nodes(text: str) -> list[dict[str, list[str]]]:
    """The nodes of the one line that a file holds, each with its properties."""
    nodes: list[dict[str, list[str]]] = []
    at = max(text.find("("), 0)
    begun: list[int] = []
    """How many nodes stood before each line that is open."""
    ended: int | None = None
    """And before the one that was closed."""
    text = text.rstrip()
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None:
            raise SGFError(f"this is no SGF: it cannot be read at character {at}, {text[at : at + 20]!r}")
        at = found.end()
        match found["mark"]:
            case "(":
                if ended is not None:
                    moves = sum(any(colour in node for colour in COLOURS) for node in nodes[:ended])
                    what = f"variations of its move {moves + 1}" if ended else "a second game"
                    raise SGFError(f"this file has {what}: give one line alone")
                begun.append(len(nodes))
            case ")" if begun:
                ended = begun.pop()
            case ")":
                raise SGFError(f"this is no SGF: at character {at} more is closed than was opened")
            case ";":
                nodes.append({})
            case _:
                if not nodes:
                    raise SGFError(f"this is no SGF: {found['name']} stands before the first node")
                # Small letters count for nothing in the format's first three versions: `Black` is B, `GaMe` GM.
                name = "".join(letter for letter in found["name"] if letter.isupper())
                if not name:
                    raise SGFError(
                        f"this is no SGF: the property {found['name']!r} has no capital letter, by which it would be "
                        "known, as B in B[ee]"
                    )
                values = [
                    re.sub(r"\\(\r\n|\n|.)", _unescaped, each, flags=re.DOTALL)
                    for each in VALUE.findall(found["values"])
                ]
                nodes[-1].setdefault(name, []).extend(values)
    if not nodes or begun:
        raise SGFError(
            "this is no SGF: it holds no game, as in (;FF[4]GM[1]SZ[9];B[ee])"
            if not nodes
            else "this SGF ends too early"
        )
    return nodes


def _unescaped(found: re.Match[str]) -> str:
    return "" if found[1].strip() == "" and found[1] != " " else found[1]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("]", "\\]")


def _go_point(world: Go, said: str) -> str:
    """`e5` as `ee` of a board of 9; a pass is nothing."""
    if said == "pass":
        return ""
    column = LETTERS.index(said[0]) - (said[0] > "i")
    return LETTERS[column] + LETTERS[world.size - int(said[1:])]


def _meant(world: Game, said: str, moves: int) -> str | None:
    """A move of a file as the world says it; none of a pass in Othello, where who cannot move passes by themselves."""
    if not isinstance(world, Go | Othello | Gomoku):
        return said
    (rows, columns), point = world.board, said.strip().lower()
    if len(point) == 2 and point[0] in LETTERS[:columns] and point[1] in LETTERS[:rows]:
        column, row = (LETTERS.index(letter) for letter in point)
        return world.say(row * columns + column)
    if point in PASSES and not isinstance(world, Gomoku):
        return "pass" if isinstance(world, Go) else None
    if isinstance(world, Go):
        raise SGFError(f"move {moves + 1} is {said!r}, which is no place on a board of {world.size}")
    return said
