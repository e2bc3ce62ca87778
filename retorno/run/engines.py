"""Programs that play by a protocol on their standard input and output: GTP, as Go's do, and UCI, as chess's do.

GTP (Farnebäck 2002): `boardsize`, `komi`, `clear_board`, `play COLOUR MOVE`, `genmove COLOUR`. UCI (Huber &
Meyer-Kahlen 2006), of which any game can make use: `position startpos moves …`, `go movetime …`, `bestmove MOVE`. Moves
are in the words of the world. A program that hangs, dies, talks nonsense or moves illegally is an `EngineError`: its
opponent has won, and it begins anew.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from retorno.core.errors import RetornoError
from retorno.environments.games.chance import by_chance
from retorno.environments.games.game import Game
from retorno.environments.games.go import Go
from retorno.run.played import Played

PATIENCE = 30.0
"""Seconds that an answer may take."""
LONGEST_ANSWER = 10_000
"""Characters of what a program says that are listened to before it is taken for nonsense."""


class EngineError(RetornoError):
    """What a program did wrong."""


class Resigned(EngineError):
    """A program gives its game up."""


class Engine(ABC):
    """A program that plays one game after another. It is started when it is needed."""

    def __init__(self, command: Sequence[str] | str, world: Game, patience: float = PATIENCE) -> None:
        """See that there is such a program.

        Args:
            command: its name and arguments.
            world: the game that it plays.
            patience: seconds that an answer may take.

        Raises:
            EngineError: when there is no such program, or chance has a say in the game.
        """
        if by_chance(world):
            raise EngineError(f"{world!r} draws, and no program is told what chance does: give a player of ours")
        self.command = shlex.split(command) if isinstance(command, str) else list(command)
        # Debian keeps its games apart, where not everybody looks.
        found = [shutil.which(self.command[0], path=path) for path in (None, "/usr/games")] if self.command else []
        if not any(found):
            what = self.command[0] if self.command else ""
            raise EngineError(
                f"there is no program {what!r}: give one that is installed, for instance 'gtp:gnugo --mode gtp'"
            )
        self.command[0] = next(filter(None, found))
        self.world, self.patience = world, patience
        self.process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._turn = threading.Lock()

    def move(self, game: Played) -> int:
        """Its move where a game stands. It is told the whole game, since moves may have been taken back.

        Raises:
            Resigned: when it gives up.
            EngineError: when it hangs, dies, or answers with what is no legal move.
        """
        name = Path(self.command[0]).name
        with self._turn:
            try:
                self.begin()
                for said, second in zip(game.said(), game.movers(), strict=True):
                    self.told(said, second)
                said = self.asked(game)
                if said.lower() == "resign":
                    raise Resigned(f"{name} resigns")
                return game.world.action(said, game.legal, game.second)
            except Resigned:
                raise
            except (EngineError, ValueError) as error:
                self.end()
                raise EngineError(f"{name} does not play on: {error}") from None

    def begin(self) -> None:
        """Another game.

        Raises:
            EngineError: when it does not want to.
        """
        if self.process is None or self.process.poll() is not None:
            self._start()
        self.set_up()

    @abstractmethod
    def greet(self) -> None:
        """What is said to a program that was just started."""

    @abstractmethod
    def set_up(self) -> None:
        """An empty board."""

    @abstractmethod
    def told(self, said: str, second: bool) -> None:
        """A move that was made by somebody else."""

    @abstractmethod
    def asked(self, game: Played) -> str:
        """Its move, in words."""

    @abstractmethod
    def farewell(self) -> None:
        """Ask it to end."""

    def _start(self) -> None:
        self.end()
        try:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                errors="replace",
                bufsize=1,
                start_new_session=True,  # So that what it starts itself can be ended with it.
            )
        except OSError as error:
            raise EngineError(f"{self.command[0]} cannot be started: {error.strerror}") from error
        _started.add(self)
        self._lines = queue.Queue()
        threading.Thread(target=_listen, args=(self.process, self._lines), daemon=True).start()
        self.greet()

    def say(self, line: str) -> None:
        """One line to the program."""
        assert self.process is not None and self.process.stdin is not None
        try:
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
        except (OSError, ValueError):
            raise EngineError(f"it died{self._status()} before {line!r}") from None

    def hear(self, until: float, to: str) -> str:
        """The next line that it says, until a time.

        Raises:
            EngineError: when there is none.
        """
        try:
            line = self._lines.get(timeout=max(until - time.monotonic(), 0))
        except queue.Empty:
            raise EngineError(f"it said nothing for {self.patience:g} s to {to!r}") from None
        if line is None:
            raise EngineError(f"it died{self._status()} at {to!r}")
        return line

    def _status(self) -> str:
        if self.process is None:
            return ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=1)
        return "" if self.process.returncode is None else f" (exit status {self.process.returncode})"

    def end(self) -> None:
        """Stop the program, whatever it does, and all that it started."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            with contextlib.suppress(EngineError, OSError, ValueError, AssertionError):
                self.process = process
                self.farewell()
            self.process = None
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError, ValueError):
                if pipe is not None:
                    pipe.close()


_started: weakref.WeakSet[Engine] = weakref.WeakSet()


def kill_all() -> None:
    """End the programs that run, at once: for a process that ends without clearing up."""
    for engine in list(_started):
        if (process := engine.process) is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _listen(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    """Put what a program says into a queue, and None at its end."""
    assert process.stdout is not None
    with contextlib.suppress(ValueError, OSError):
        while line := process.stdout.readline(LONGEST_ANSWER):
            lines.put(line.rstrip("\r\n"))
    lines.put(None)


class GTP(Engine):
    """A program that speaks the Go Text Protocol, of Go or of another game on a board."""

    def ask(self, command: str) -> str:
        """What it answers.

        Raises:
            EngineError: when it refuses, or answers nothing that is an answer.
        """
        self.say(command)
        until, heard, length = time.monotonic() + self.patience, [], 0
        while True:
            line = self.hear(until, command)
            length += len(line) + 1
            if length > LONGEST_ANSWER:
                raise EngineError(f"its answer to {command!r} does not end: {heard[:1]}")
            if line.strip():
                heard.append(line)
            elif heard:  # An empty line ends an answer.
                break
        if heard[0].startswith("?"):
            raise EngineError(f"it refused {command!r}: {heard[0][1:].strip()}")
        if not heard[0].startswith("="):
            raise EngineError(f"it answered nonsense to {command!r}: {heard[0][:80]!r}")
        return re.sub(r"^=\d*\s*", "", "\n".join(heard)).strip()

    def greet(self) -> None:
        """Nothing: the board's size is said at each game."""

    def set_up(self) -> None:
        rows, columns = self.world.board or (0, 1)
        if rows == columns:
            self.ask(f"boardsize {rows}")
        self.ask("clear_board")
        if isinstance(self.world, Go):
            self.ask(f"komi {self.world.komi_name}")

    def told(self, said: str, second: bool) -> None:
        self.ask(f"play {'white' if second else 'black'} {said}")

    def asked(self, game: Played) -> str:
        return self.ask(f"genmove {'white' if game.second else 'black'}")

    def farewell(self) -> None:
        self.say("quit")


class UCI(Engine):
    """A program that speaks as chess programs do: it is told all moves, and says its best one."""

    @property
    def seconds(self) -> float:
        """That it may think about a move."""
        return min(1.0, self.patience / 2)

    def until(self, command: str, word: str) -> str:
        """Say a command, and listen until a line begins with a word."""
        self.say(command)
        until, length = time.monotonic() + self.patience, 0
        while True:
            line = self.hear(until, command)
            length += len(line)
            if line.split()[:1] == [word]:
                return line
            if length > 100 * LONGEST_ANSWER:
                raise EngineError(f"it says no {word!r} to {command!r}, but much else")

    def greet(self) -> None:
        self.until("uci", "uciok")

    def set_up(self) -> None:
        self.say("ucinewgame")
        self.until("isready", "readyok")

    def told(self, said: str, second: bool) -> None:
        """It is told all moves when it is asked."""

    def asked(self, game: Played) -> str:
        said = game.said()
        self.say("position startpos" + (f" moves {' '.join(said)}" if said else ""))
        answer = self.until(f"go movetime {round(1000 * self.seconds)}", "bestmove").split()
        if len(answer) < 2:
            raise EngineError("it said bestmove, and no move")
        return answer[1]

    def farewell(self) -> None:
        self.say("quit")


GNUGO = ("gnugo", "--mode", "gtp", "--chinese-rules", "--positional-superko", "--capture-all-dead")
"""GNU Go by the rules of our `Go`: areas are counted, and what is dead has to be taken before they are."""


def engine(name: str, world: Game, patience: float = PATIENCE) -> Engine | None:
    """A program by what was given for it: `gtp:COMMAND`, `uci:COMMAND`, `gnugo` or `gnugo:LEVEL`; None for others.

    Raises:
        EngineError: when there is no such program, or it does not play this game.
    """
    kind, _, rest = name.partition(":")
    match kind:
        case "gtp":
            return GTP(rest, world, patience)
        case "uci":
            return UCI(rest, world, patience)
        case "gnugo":
            if not isinstance(world, Go):
                raise EngineError(f"GNU Go plays Go, got {world!r}: --world go")
            if rest and not (rest.isdigit() and int(rest) <= 10):
                raise EngineError(f"GNU Go has the levels 0 to 10, got {name!r}: give gnugo:10")
            return GTP([*GNUGO, "--level", rest or "10"], world, patience)
    return None
