"""Programs that play: what they say and fail to say, games as files, and an arena that goes on."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retorno.cli.against import play_against
from retorno.cli.arena import run as arena_command
from retorno.environments.games.connect_four import ConnectFour
from retorno.environments.games.go import Go
from retorno.environments.games.gomoku import Gomoku
from retorno.environments.games.othello import Othello
from retorno.environments.games.pig import Pig
from retorno.environments.games.sgf import SGFError, read_sgf, write_sgf
from retorno.environments.games.tic_tac_toe_for_two import TicTacToe
from retorno.policies import Uniform
from retorno.run.arena import arena, known_player
from retorno.run.duel import Forfeit, duel
from retorno.run.engines import GTP, UCI, EngineError, engine
from retorno.run.folder import FolderError
from retorno.run.played import GameError, Played

WORLD = TicTacToe()
UNIFORM = Uniform().build(WORLD.observation_space, WORLD.action_space)
PROGRAM = """
import sys, time
fault, taken = sys.argv[1], []
cells = [letter + digit for digit in "321" for letter in "abc"]
for line in sys.stdin:
    word, *rest = line.split()
    if word == "clear_board":
        taken.clear()
    elif word == "play":
        taken.append(rest[1])
    if word == "genmove" and len(taken) >= 2 and fault != "none":
        if fault == "hangs":
            time.sleep(60)
        if fault == "dies":
            sys.exit(3)
        said = {"nonsense": "what?", "illegal": "= " + taken[0], "resigns": "= resign", "endless": "= " + "y" * 20000}
        print(said[fault])
    elif word == "genmove":
        free = [cell for cell in cells if cell not in taken]
        taken.append(free[0])
        print("=", free[0])
    elif word in ("uci", "isready"):
        print("id name first\\n" + {"uci": "uciok", "isready": "readyok"}[word])
    elif word == "position":
        taken = rest[2:]
    elif word == "go":
        print("info depth 1\\nbestmove", [cell for cell in cells if cell not in taken][0])
    elif word == "quit":
        sys.exit()
    else:
        print("=")
    if word not in ("uci", "isready", "position", "go"):
        print()
    sys.stdout.flush()
"""


@pytest.fixture
def program(tmp_path: Path) -> Any:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)

    def made(fault: str, kind: Any = GTP, patience: float = 20) -> Any:
        return kind([sys.executable, "-S", str(file), fault], WORLD, patience)

    return made


def test_a_program_plays_whole_games(program: Any) -> None:
    games: list[Played] = []
    both = program("none"), program("none", UCI)
    match = duel(*both, WORLD, games=3, seed=1, openings=1, over=lambda game, _: games.append(game))
    assert match.episodes == 4 and not [player.process for player in both if player.process]
    # What comes after the opening is the first free cell.
    for game in games:
        taken = {game.moves[0]}
        for move in game.moves[1:]:
            assert move == min(set(range(9)) - taken)
            taken.add(move)
    assert [game.moves[0] for game in games[::2]] == [game.moves[0] for game in games[1::2]]
    # The same moves, with the sides exchanged: what one wins the other loses.
    np.testing.assert_array_equal(match.returns[::2], -match.returns[1::2])


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("hangs", "said nothing for 0.5 s to 'genmove"),
        ("dies", r"died \(exit status 3\)"),
        ("nonsense", "answered nonsense to 'genmove"),
        ("illegal", "no legal move"),
        ("endless", "does not end"),
    ],
)
def test_a_fault_costs_the_game_and_the_next_one_is_played(program: Any, fault: str, why: str) -> None:
    faults: list[Forfeit] = []
    match = duel(program(fault, patience=0.5 if fault == "hangs" else 20), UNIFORM, WORLD, 2, forfeited=faults.append)
    assert match.losses == 2 and [each.second for each in faults] == [False, True]
    assert all(re.search(why, each.why) for each in faults), faults


def test_a_program_moves_where_a_game_stands(program: Any) -> None:
    """Also after moves were taken back; one that does not play on is told, and may be asked again."""
    player, game = program("none"), Played(WORLD)
    game.follow(["b2"])
    first = player.move(game)
    game.undo()
    game.follow(["a3"])  # The first cell, which the program would have taken.
    assert (first, player.move(game)) == (0, 1) and player.process is not None
    player.end()
    game.follow(["c1"])
    for fault, why in (("illegal", "no legal move"), ("dies", "it died")):
        player = program(fault)
        for _ in range(2):
            with pytest.raises(EngineError, match=f"does not play on: .*{why}"):
                player.move(game)
        assert player.process is None


def test_what_a_program_started_ends_with_it(program: Any) -> None:
    """A shell's child that hangs, also where the shell itself is gone."""
    for shell in ("{} & echo $! ; wait", "{} & echo $!"):
        player = GTP(["sh", "-c", shell.format("sleep 100")], WORLD, patience=20)
        player._start()
        child = int(player.hear(time.monotonic() + 20, "start"))
        os.kill(child, 0)
        player.end()
        with pytest.raises(ProcessLookupError):  # Whoever adopts it buries it.
            for _ in range(200):
                os.kill(child, 0)
                time.sleep(0.02)


def test_who_resigns_has_lost_without_a_fault(
    program: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("builtins.input", lambda _="": "c1")
    assert play_against(program("resigns"), WORLD, seed=0, second=True) == 0
    assert capsys.readouterr().out.endswith(" resigns. You win.\n")
    faults: list[Forfeit] = []
    assert duel(program("resigns"), UNIFORM, WORLD, 2, forfeited=faults.append).losses == 2 and not faults


def test_the_arena_goes_on_until_it_knows(program: Any) -> None:
    players = {"dies": program("dies"), "exact": known_player("exact", WORLD)}
    told: list[str] = []
    found = arena(players, WORLD, 2, within=1e-3, most=6, forfeited=lambda name, _: told.append(name))  # type: ignore[arg-type]
    assert told == ["dies"] * 6 and found.scores.tolist() == [[0, 0], [6, 0]]
    known = arena(players, WORLD, 2, within=1e6, most=6)  # type: ignore[arg-type]
    assert known.scores.sum() == 2


def test_no_such_program() -> None:
    with pytest.raises(EngineError, match="no program 'nobodys_engine'"):
        engine("gtp:nobodys_engine --mode gtp", WORLD)
    with pytest.raises(EngineError, match="GNU Go plays Go"):
        engine("gnugo:3", WORLD)
    with pytest.raises(EngineError, match="levels 0 to 10"):
        engine("gnugo:11", Go(size=5))
    with pytest.raises(EngineError, match="no program is told what chance does"):
        GTP([sys.executable], Pig())
    assert engine("exact", WORLD) is None


def test_what_a_program_is_told_of_its_game() -> None:
    """No size where there is no board; a move in less time than it may take."""

    class Heard(GTP):
        def ask(self, command: str) -> str:
            heard.append(command)
            return ""

    class NoBoard(TicTacToe):
        board = None  # type: ignore[assignment]

    heard: list[str] = []
    for world in (NoBoard(), WORLD):
        Heard([sys.executable], world).set_up()
    assert heard == ["clear_board", "boardsize 3", "clear_board"]
    assert UCI([sys.executable], WORLD, patience=0.5).seconds == 0.25 and UCI([sys.executable], WORLD).seconds == 1


def test_a_program_in_the_command(program: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its games lie in a folder, in which the command goes on after whatever stopped it: no game is counted twice."""
    folder = tmp_path / "arena"
    command = " ".join(program("dies").command)
    given = [f"gtp:{command}", "random", "exact", "--world", "tic_tac_toe_for_two", "--games", "2"]
    assert arena_command([*given, "--folder", str(folder)]) == 0
    said = capsys.readouterr()
    assert said.err.count("has lost game 1 at move 3: it died (exit status 3)") == 2 and "0 of 4" in said.out
    written = sorted(folder.glob("*.sgf"))
    assert [file.name for file in written] == [f"game-000{number}.sgf" for number in (1, 2, 3, 4)]
    # Who was at fault has lost in the file too: the program moves first in the first game, second in the other.
    assert ["RE[W+]" in file.read_text() for file in written] == [True, False] * 2
    assert "RE[B+]" in written[1].read_text()
    game = Played(WORLD)
    game.follow_sgf(written[0].read_text())
    assert len(game.moves) == 2

    # Stopped while the line of its fourth game was written.
    kept = (folder / "games.jsonl").read_text()
    assert len(kept.splitlines()) == 5
    (folder / "games.jsonl").write_text("".join(kept.splitlines(keepends=True)[:3]) + kept.splitlines()[3][:40])
    assert arena_command([*given, "--folder", str(folder)]) == 0
    again = capsys.readouterr()
    assert again.out == said.out and again.err.count("has lost game") == 1
    assert (folder / "games.jsonl").read_text() == kept and sorted(folder.glob("*.sgf")) == written
    with pytest.raises(FolderError, match="holds an arena of other players, or of other games"):
        arena_command([*given, "--folder", str(folder), "--seed", "1"])


@pytest.mark.skipif(
    not (shutil.which("gnugo") or Path("/usr/games/gnugo").exists()), reason="no gnugo: apt install gnugo"
)
def test_gnu_go_plays_by_our_rules() -> None:
    """Every move of its games against random play is legal here, and it wins them."""
    world, faults, games = Go(size=5, komi=0.5), list[Forfeit](), list[Played]()
    anyone = Uniform().build(world.observation_space, world.action_space)
    gnugo: Any = known_player("gnugo:0", world)
    match = duel(gnugo, anyone, world, 2, forfeited=faults.append, over=lambda game, _: games.append(game))
    assert not faults and match.wins == 2
    again = Played(world)
    again.follow_sgf(games[0].sgf(("GNU Go", "random")))
    assert again.moves == games[0].moves and again.result == games[0].result


def test_games_as_files() -> None:
    world = Go(size=5, komi=0.5)
    text = "(;GM[1]FF[4]SZ[5]KM[0.5]PB[a\\]b];B[aa]C[well (played\\) ];W[cd];B[];W[tt])"
    found = read_sgf(text, world)
    assert found.moves == ((False, "a5"), (True, "c2"), (False, "pass"), (True, "pass"))
    assert found.properties["PB"] == "a]b"
    again = write_sgf(world, found.moves, 1.0, ("a]b", ""), ["well (played) "])
    assert read_sgf(again, world).moves == found.moves and "RE[B+]" in again and "PB[a\\]b]" in again
    fine = Go(size=5, komi=0.1234567)
    assert read_sgf(write_sgf(fine, found.moves), fine).properties["KM"] == "0.1234567"
    game = Played(ConnectFour())
    game.follow(["4", "4", "3"])
    assert read_sgf(game.sgf(), ConnectFour()).moves == ((False, "4"), (True, "4"), (False, "3"))


PASSING = ("c4", "d2", "a1", "a2", "c1", "d4", "a3", "b4", "d3", "b1", "d1", "a4")
"""Of Othello on 4×4, where the last but one has no answer."""


@pytest.mark.parametrize("passed", ["", "pass", "PA", "tt"])
def test_othello_of_others_says_that_somebody_passes(passed: str) -> None:
    """And some programs write letters for its cells."""
    world, game = Othello(size=4), Played(Othello(size=4))
    game.follow(PASSING)
    assert game.movers()[-1] == game.movers()[-2], "the last but one could not be answered"
    moves = [f"{'BW'[second]}[{said}]" for said, second in zip(game.said(), game.movers(), strict=True)]
    written = [*moves[:-1], f"{'WB'[game.movers()[-1]]}[{passed}]", moves[-1]]
    again = Played(world)
    again.follow_sgf(f"(;GM[2]SZ[4];{';'.join(written)})")
    assert again.moves == game.moves
    letters = {f"{column}{row}": f"{column}{'abcd'[row - 1]}" for column in "abcd" for row in range(1, 5)}
    again = Played(world)
    again.follow_sgf("(;GM[2]SZ[4]" + "".join(f";{each[:2]}{letters[each[2:4]]}]" for each in moves) + ")")
    assert again.moves == game.moves
    # Who passes though they can move is not followed.
    with pytest.raises(GameError, match="is to move, and in the file the other does"):
        Played(world).follow_sgf(f"(;GM[2]SZ[4];{moves[0]};W[{passed}];B[{game.said()[2]}])")


def test_gomoku_of_others_is_in_letters() -> None:
    world = Gomoku(rows=7, columns=9)
    assert read_sgf("(;GM[4]SZ[9:7];B[aa];W[ig];B[c3])", world).moves == ((False, "a7"), (True, "i1"), (False, "c3"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("(;SZ[5];B[aa](;W[bb])(;W[cc]))", "has variations of its move 2"),
        ("(;SZ[5];B[aa]) (;SZ[5])", "has a second game"),
        ("(;SZ[9];B[aa])", "size 9, and the game's 5:5"),
        ("(;SZ[5]KM[6.5];B[aa])", "komi is 6.5, and the game's 7.5: make"),
        ("(;GM[11]SZ[5];B[a1])", "of another game"),
        ("(;SZ[5]AB[aa][bb];W[cc])", "set up after 0 moves"),
        ("(;SZ[5];B[zz])", "move 1 is 'zz'"),
        ("(;SZ[5];b[aa];w[bb])", "'b' has no capital letter"),
        ("(;SZ[5];B[aa]", "ends too early"),
        ("hello", "no SGF"),
        ("", "no SGF"),
        ("(;SZ[5];B[aa)", "cannot be read at character"),
    ],
)
def test_what_is_no_file_of_this_game(text: str, why: str) -> None:
    with pytest.raises(SGFError, match=why):
        read_sgf(text, Go(size=5))


def test_moves_of_a_file_that_are_not_legal() -> None:
    game = Played(WORLD)
    with pytest.raises(GameError, match="after 1 moves 'a3' is no legal move here; legal are b3"):
        game.follow_sgf(write_sgf(WORLD, [(False, "a3"), (True, "a3")]))
    assert game.said() == ["a3"]
    with pytest.raises(GameError, match="the second player is to move"):
        Played(WORLD).follow_sgf(write_sgf(WORLD, [(False, "a3"), (False, "b3")]))
    game.follow(["a2", "b3", "b2", "c3"])
    assert game.over and game.result == 1 and not game.legal.any()
    with pytest.raises(GameError, match="the game is over"):
        game.play(8)
    game.undo()
    assert not game.over and game.said()[-1] == "b2"
    game.give_up()  # The first player, who is to move.
    assert game.over and game.result == -1 and not game.legal.any() and "RE[W+]" in game.sgf()
    with pytest.raises(GameError, match="the game is over"):
        game.play(8)
    game.undo()
    assert not game.over and game.said() == ["a3", "a2", "b3"]
