"""Players of a game meet: ratings by hand, players by name, what is refused, and a game in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retorno.cli.against import play_against
from retorno.cli.arena import run as arena_command
from retorno.cli.options import UsageError
from retorno.environments.games.tic_tac_toe_for_two import TicTacToe
from retorno.environments.registry import native
from retorno.ops.ratings import POINTS, bradley_terry
from retorno.policies import Uniform
from retorno.run import thinking
from retorno.run.actor import Actor
from retorno.run.arena import ArenaError, arena, known_player
from retorno.run.duel import duel
from retorno.run.match import meet
from retorno.run.played import GameError
from retorno.search.uct import UCTPolicy

WORLD = TicTacToe()


def test_two_players_ratings_are_their_odds() -> None:
    ratings = bradley_terry(np.array([[0.0, 30.0], [10.0, 0.0]]), prior=1e-9)
    assert ratings.points[0] - ratings.points[1] == pytest.approx(POINTS * np.log(3), abs=1e-3)
    # Each is half the difference from the mean, whose variance is 1 / (n p (1 − p)).
    assert ratings.reach[0] == pytest.approx(1.96 * POINTS / np.sqrt(40 * 0.75 * 0.25) / 2, rel=1e-3)
    always = bradley_terry(np.array([[0.0, 10.0], [0.0, 0.0]]))
    assert np.isfinite(always.points).all() and np.isfinite(always.reach).all()


def test_perfect_play_is_rated_above_random_play() -> None:
    players = {name: known_player(name, WORLD) for name in ("random", "exact")}
    told: list[str] = []
    found = arena(players, WORLD, games=20, openings=1, told=lambda one, other, match: told.append(one))  # type: ignore[arg-type]
    assert told == ["random"] and [row["player"] for row in found.as_row()] == ["exact", "random"]
    assert found.scores.sum() == 20 and found.as_row()[0]["games"] == 20
    low, high = found.as_row()[0]["ci95"]
    assert low < found.as_row()[0]["rating"] < high


def test_who_plays_at_random_draws_and_is_not_first_to_hand() -> None:
    """All games at once, and one by one."""
    anyone: Any = known_player("random", WORLD)
    games: list[Any] = []
    duel(anyone, anyone, WORLD, 8, over=lambda game, _: games.append(game.moves))
    assert len({tuple(moves) for moves in games}) == 8 and len({moves[0] for moves in games}) > 3
    assert len(set(meet(anyone, anyone, WORLD, 64).lengths)) > 3


def test_what_would_say_nothing_is_refused() -> None:
    given = ["random", "exact", "--world", "tic_tac_toe_for_two"]
    for more, why in (
        (["--most", "40"], "give --within as well"),
        (["--most", "4", "--within", "10"], "less than the --games 20"),
        (["--patience", "3"], "for programs, and none plays"),
        (["--seed", "-1"], "from 0 to 4,294,967,295"),
    ):
        with pytest.raises(UsageError, match=why):
            arena_command([*given, *more])


def test_a_move_takes_as_long_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which a simulation takes a thousandth of a second, and half as long where there are many."""
    clock, thought = [0.0], []

    def think(player: Any, row: Any) -> None:
        thought.append(player.config.simulations)
        clock[0] += thought[-1] * (1e-3 if thought[-1] < 1000 else 5e-4)

    monkeypatch.setattr(thinking, "think", think)
    monkeypatch.setattr(thinking.time, "perf_counter", lambda: clock[0])
    player = known_player("uct:1.5s", WORLD)
    assert isinstance(player, UCTPolicy) and player.config.simulations == pytest.approx(3000, abs=2)
    assert thought[:2] == [64, 64] and len(thought) == 4
    with pytest.raises(ArenaError, match="needs a positive number, as in uct:100"):
        known_player("uct:0s", WORLD)


def test_a_player_looks_as_far_ahead_on_the_second_day(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its simulations are the first day's, however quick the machine is by then; the games are no other player's."""
    given = ["uct:2s", "random", "--world", "tic_tac_toe_for_two", "--games", "2", "--folder", str(tmp_path)]
    for measured in (3, 5):
        monkeypatch.setattr("retorno.run.arena.in_time", lambda policy, *_, n=measured: thinking._with(policy, n))
        assert arena_command(given) == 0
    first, second = capsys.readouterr().err.split("looks ahead by")[1:]
    assert first.startswith(" 3 simulations") and second.startswith(" 3 simulations")


def test_what_cannot_meet_is_refused() -> None:
    uniform = Uniform().build(WORLD.observation_space, WORLD.action_space)
    with pytest.raises(ArenaError, match="two players or more"):
        arena({"one": uniform}, WORLD)
    with pytest.raises(ArenaError, match="for one player"):
        arena({"one": uniform, "other": uniform}, native("2048"))
    with pytest.raises(ArenaError, match="exact cannot play this game: Twenty48 draws"):
        known_player("exact", native("2048"))
    with pytest.raises(ArenaError, match="needs a positive number, as in uct:100"):
        known_player("uct", WORLD)
    with pytest.raises(ArenaError, match="alpha_beta plays ConnectFour and Othello alone"):
        known_player("alpha_beta:3", WORLD)
    with pytest.raises(UsageError, match="say which game is played"):
        arena_command(["random", "exact"])
    with pytest.raises(UsageError, match="say which game is played"):  # No run at a step called host.
        arena_command(["random", "gtp:ssh me@host:22 gnugo"])
    with pytest.raises(UsageError, match="no player 'nobody'"):
        arena_command(["random", "nobody", "--world", "tic_tac_toe_for_two"])


def test_a_run_of_another_game_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Among several it has to be said which one does not play."""
    uniform = Uniform().build(WORLD.observation_space, WORLD.action_space)
    actor = Actor(uniform, WORLD.observation_space, WORLD.action_space)
    monkeypatch.setattr("retorno.cli.arena.of_first_seed", lambda folder, step: actor)
    with pytest.raises(UsageError, match=f"{tmp_path.name} does not play this game: the observations"):
        arena_command(["random", str(tmp_path), "--world", "hex"])


def test_a_game_in_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = iter(["z9", "b2", "quit"])
    monkeypatch.setattr("builtins.input", lambda _: next(said))
    perfect: Any = known_player("exact", WORLD)
    assert play_against(perfect, WORLD, seed=0, second=False) == 0
    out = capsys.readouterr().out
    assert "'z9' is no legal move here; legal are a3, b3" in out
    assert " 2 . X ." in out and "I play" in out and out.endswith("left\n")
    with pytest.raises(GameError, match="only a game of two"):
        play_against(perfect, native("cliff"), 0, False)
