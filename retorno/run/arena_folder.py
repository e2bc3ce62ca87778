"""The folder of an arena: its games as they come, so that the same arena goes on there after whatever stopped it.

`arena.json` says who meets whom and where. `games.jsonl` grows by a line for each game with a program in it, which lies
beside it as SGF, and by one for all games that two policies play at once.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from retorno.run.folder import FolderError, locked, read_question, write_atomic
from retorno.run.match import Match
from retorno.run.played import Played

ASKED, GAMES = "arena.json", "games.jsonl"
LOOKED_AHEAD = "looks_ahead"
"""By how many simulations who has so much time for a move."""
Meeting = tuple[str, str, int]
"""Who met whom, by their names, and the seed of it."""


def looked_ahead(path: Path) -> dict[str, int]:
    """The simulations of players that have a time for each move, in a folder's arena; none where it is a new one.

    Raises:
        FolderError: when it is damaged.
    """
    if not (path / ASKED).exists():
        return {}
    asked = read_question(path / ASKED, "arena")
    return asked.get(LOOKED_AHEAD, {}) if isinstance(asked, dict) else {}


class ArenaFolder:
    """What was played so far: a context manager, in which no other process writes there."""

    def __init__(self, path: Path, asked: dict[str, Any]) -> None:
        """Begin an arena's folder, or go on with it.

        Args:
            path: where.
            asked: what its games follow from, as a JSON value.

        Raises:
            FolderError: when another arena is there, is under way there, or it cannot be written or read.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FolderError(f"{path} cannot be made: {error.strerror}; choose another folder") from error
        self.path, self._file = path, path / GAMES
        self._lock = locked(path)
        try:
            if not (path / ASKED).exists():
                write_atomic(path / ASKED, json.dumps(asked, indent=2) + "\n")
            elif read_question(path / ASKED, "arena") != json.loads(json.dumps(asked)):
                raise FolderError(
                    f"{path} holds an arena of other players, or of other games: {ASKED} in it says which. Choose "
                    "another folder"
                )
            self._matches, self._games = self._read()
        except BaseException:
            self._lock.close()
            raise

    def _read(self) -> tuple[dict[Meeting, Match], int]:
        """What was played, without a last line that was torn, and how many games lie there as SGF."""
        matches: dict[Meeting, Match] = {}
        games = 0
        if not self._file.exists():
            return matches, games
        whole = self._file.read_bytes()
        whole = whole[: whole.rfind(b"\n") + 1]
        os.truncate(self._file, len(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                row = json.loads(line)
                one, other = row["players"]
                self._count(matches, (one, other, row["seed"]), row["returns"], row["lengths"])
                games += "sgf" in row
            except (ValueError, KeyError, TypeError) as error:
                raise FolderError(f"line {number} of {self._file} is damaged: {error}; remove it") from error
        return matches, games

    @staticmethod
    def _count(matches: dict[Meeting, Match], meeting: Meeting, returns: Any, lengths: Any) -> None:
        before = matches.get(meeting)
        begun = 0 if before is None else before.episodes
        first = np.arange(begun, begun + len(returns)) % 2 == 0
        more = Match(np.asarray(returns, float), first, np.asarray(lengths, float))
        matches[meeting] = more if before is None else before.and_then(more)

    def found(self, meeting: Meeting) -> Match | None:
        """What came of a meeting so far, for the first of the two."""
        return self._matches.get(meeting)

    def add(self, meeting: Meeting, match: Match, game: Played | None = None) -> None:
        """Games more.

        Args:
            meeting: whose.
            match: what came of them.
            game: the only one of them, where it is kept as SGF.

        Raises:
            FolderError: when the disk refuses.
        """
        one, other, seed = meeting
        row: dict[str, Any] = {"players": [one, other], "seed": seed}
        row |= {"returns": match.returns.tolist(), "lengths": match.lengths.tolist()}
        try:
            if game is not None:
                # Named by the games that count, so that one whose line is not there is written over.
                row["sgf"] = f"game-{self._games + 1:04}.sgf"
                names = (one, other) if match.first[0] else (other, one)
                (self.path / row["sgf"]).write_text(game.sgf(names), encoding="utf-8")
            with self._file.open("ab") as file:
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            raise FolderError(f"{self.path} cannot be written: {error.strerror}") from error
        self._games += game is not None
        self._count(self._matches, meeting, match.returns, match.lengths)

    def __enter__(self) -> ArenaFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._lock.close()
