"""The game page, in a real browser: moves by mouse and keyboard, what is thought of them, games as files."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.environments.games.breakthrough import Breakthrough
from retorno.environments.games.connect_four import ConnectFour
from retorno.environments.games.game import Game, Moved
from retorno.environments.games.go import Go
from retorno.environments.games.hex import Hex
from retorno.environments.games.othello import Othello
from retorno.environments.games.tic_tac_toe_for_two import TicTacToe
from retorno.models.tabular import WorldModel
from retorno.run.arena import known_player
from retorno.run.engines import GTP
from retorno.run.played import Played
from retorno.run.thinking import think
from retorno.search.perfect import Perfect
from retorno.search.stopping import Stop, Stopped
from retorno.search.uct import UCB, UCTPolicy
from retorno.web import Site
from retorno.web.boards import Drawing, Preference, drawn
from retorno.web.playing import Table

WORLD = TicTacToe()
FIRST_CELL = """
import sys
taken = []
for line in sys.stdin:
    word, *rest = line.split()
    taken = [] if word == "clear_board" else [*taken, rest[1]] if word == "play" else taken
    free = [*(cell for cell in ("a3", "b3", "c3") if cell not in taken), "resign" if len(taken) > 4 else "?"]
    print("=", free[0] if word == "genmove" else "", end="\\n\\n", flush=True)
"""
THINKER = UCTPolicy(WorldModel(WORLD), UCB(simulations=60))


class Slow:
    """A solver who does not answer before it has to."""

    actions = 9

    def __init__(self) -> None:
        self.asked, self.may = 0, threading.Event()

    def values(self, obs: Any, stop: Stop | None = None) -> np.ndarray:
        self.asked += 1
        self.may.wait(120)
        return np.zeros(9)

    scores = values


class Ages:
    """One who never answers: of an early position perfect play may not be known for hours."""

    actions = 9

    def __init__(self) -> None:
        self.taken_back = 0

    def scores(self, obs: Any, stop: Stop | None = None) -> np.ndarray:
        assert stop is not None, "who cannot be stopped is not asked"
        while not stop.asked[0]:
            time.sleep(0.01)
        self.taken_back += 1
        raise Stopped

    values = scores


class Nim(Game):
    """Without a board; who takes the last of three matches wins."""

    @property
    def observation_space(self) -> Any:
        return spaces.Discrete(4)

    @property
    def action_space(self) -> Any:
        return spaces.Discrete(3)

    def start(self, key: Any) -> Any:
        return jnp.int32(3)

    def legal(self, position: Any) -> Any:
        return jnp.arange(1, 4) <= position

    def move(self, position: Any, action: Any, key: Any) -> Moved:
        left = position - 1 - action
        return Moved(left, reward=left == 0, over=left == 0)

    def say(self, action: int, second: bool = False) -> str:
        return f"take {action + 1}"


@pytest.fixture(scope="module")
def table() -> Table:
    exact: Any = known_player("exact", WORLD)
    program = GTP([sys.executable, "-S", "-c", FIRST_CELL], WORLD)
    return Table(WORLD, {"exact": exact, "<b>uct</b>": THINKER, "program": program}, THINKER, Slow())


def moves(page: Any, count: int) -> list[str]:
    """The game's moves, when there are so many and nobody thinks about the next one."""
    page.wait_for_function(
        "n => (new URLSearchParams(location.search).get('moves') || '').split('-').filter(x => x).length === n"
        " && !document.querySelector('.turn').textContent.includes('…')",
        arg=count,
    )
    return page.evaluate("new URLSearchParams(location.search).get('moves')").split("-")


def test_a_game_on_the_page(visit: Callable[..., Any], table: Table, tmp_path: Path) -> None:
    page, solver = visit(Site("signs", pages=("play",), table=table), "play"), cast(Slow, table.solver)
    page.locator("[data-cell='1,1']").click()
    said = moves(page, 2)
    assert said[0] == "b2"
    # By the keyboard; what is taken is no choice any more.
    page.locator(".choice").first.press("Enter")
    assert len(moves(page, 4)) == 4 and page.locator(".choice").count() == 5
    page.get_by_text("Take back").click()
    assert moves(page, 2) == said
    page.keyboard.press("t")
    page.locator(".considered tbody tr").first.wait_for(timeout=120_000)  # The search is compiled.
    assert page.locator(".board .share").count() > 0
    # What is thought of the next position does not wait for what the solver says of this one.
    page.locator(".choice").first.press("Enter")
    assert len(moves(page, 4)) == 4
    page.locator(".considered tbody tr").first.wait_for()
    assert solver.asked == 1 and page.locator(".verdict").count() == 0
    solver.may.set()
    page.locator(".verdict").first.wait_for()
    assert solver.asked == 2
    page.get_by_text("Take back").click()
    assert moves(page, 2) == said
    # The address holds the game: another page goes on with it.
    address = page.evaluate("location.pathname + location.search")
    page.goto(page.evaluate("location.origin") + address)
    assert moves(page, 2) == said
    with page.expect_download() as saved:
        page.get_by_text("Save as SGF").click()
    text = Path(saved.value.path()).read_text()
    again = Played(WORLD)
    again.follow_sgf(text)
    assert again.said() == said and "PB[Ana]PW[exact]" in text
    won = tmp_path / "won.sgf"
    played = Played(WORLD)
    played.follow(["a3", "a1", "b3", "b1", "c3"])
    won.write_text(played.sgf())
    page.locator("input[type=file]").set_input_files(won)
    page.locator(".turn.ended").wait_for()
    assert moves(page, 5)[-1] == "c3"
    won.write_text("(;GM[1]SZ[19];B[aa])")
    page.locator("input[type=file]").set_input_files(won)
    page.get_by_text("This file was not opened: this is a file of another game").wait_for()
    assert len(moves(page, 5)) == 5


def test_the_other_begins_and_addresses_may_be_wrong(visit: Callable[..., Any], table: Table) -> None:
    page = visit(Site("signs", pages=("play",), table=table), "play", locale="es")
    page.get_by_text("empieza el rival").click()
    assert len(moves(page, 1)) == 1
    page.goto(page.evaluate("location.origin") + "/play?moves=b2-b2-<i>&against=nobody")
    page.get_by_text("'b2' is no legal move here").wait_for()
    assert moves(page, 2)[0] == "b2"
    page.goto(page.evaluate("location.origin") + "/play?moves=a3&against=program")
    assert moves(page, 2) == ["a3", "b3"]
    page.goto(page.evaluate("location.origin") + "/play?moves=a3-b3-c3&against=program")
    page.get_by_text("does not play on: '?' is no legal move").wait_for()
    page.goto(page.evaluate("location.origin") + "/play?moves=a3-b3-c3-a2-b2&against=program")
    page.locator(".turn.ended").get_by_text("Ganas.").wait_for()


def test_a_hint_is_a_button_where_a_move_is_no_cell(visit: Callable[..., Any]) -> None:
    perfect: Any = known_player("exact", Nim())
    page = visit(Site("matches", pages=("play",), table=Table(Nim(), {"exact": perfect}, perfect)), "play")
    page.get_by_role("button", name="Hint").click()
    page.get_by_role("status").get_by_text("The search would play take 3.").wait_for()
    page.locator(".others button:has(.q-icon)").get_by_text("take 3").click()
    page.locator(".turn.ended").get_by_text("You win.").wait_for()


def test_who_thinks_for_ages_is_not_waited_for(visit: Callable[..., Any], table: Table) -> None:
    ages = Ages()
    players = {"ages": Perfect(ages), **table.players}
    page = visit(Site("signs", pages=("play",), table=dataclasses.replace(table, players=players)), "play")
    page.locator("[data-cell='1,1']").click()
    page.locator(".turn").get_by_text("Thinking").wait_for()
    page.get_by_text("Take back").click()
    page.locator(".turn").get_by_text("Your move").wait_for()
    assert ages.taken_back == 1 and page.locator(".choice").count() == 9
    page.locator("[data-cell='0,0']").click()
    page.locator(".turn").get_by_text("Thinking").wait_for()
    page.get_by_role("combobox").click()
    page.get_by_role("option", name="exact").click()  # Somebody else answers in their place.
    assert moves(page, 2)[0] == "a3" and ages.taken_back == 2


def test_what_a_search_thinks() -> None:
    """Whoever may win at once does, and nothing follows behind that."""
    game = Played(WORLD)
    game.follow(["a3", "a1", "b3", "b1"])
    thought = think(THINKER, game.row)
    assert game.world.say(thought.action) == "c3" and thought.value is not None and thought.value > 0.5
    assert (thought.lines[thought.action] == -1).all() and (thought.lines[3, :1] >= 0).all()
    assert thought.q is not None and thought.q[thought.action] == 1 and thought.prior is None
    plain = think(known_player("exact", WORLD), game.row)  # type: ignore[arg-type]
    assert plain.action == thought.action and plain.value is None


@pytest.mark.parametrize(
    "game", [ConnectFour(), Go(size=5), Hex(size=4), Othello(size=6), Breakthrough(rows=5, columns=4), WORLD], ids=repr
)
def test_every_board_is_drawn(game: Any) -> None:
    rows, columns = game.board
    marks = np.zeros((rows, columns), int)
    marks[-1, 0], marks[-1, 1] = 1, 2
    board = Drawing(marks, [(rows - 1, 0)], {(0, 0): "<a>"}, (0, 0), {(0, 0): Preference(0.5, 0.2, True, -1)})
    picture = drawn(game, board, "a <board>")
    assert "&lt;a&gt;" in picture and "<board>" not in picture and 'data-cell="0,0"' in picture
    assert picture.count("first") >= 1 and picture.count("second") >= 1 and "–" in picture


def test_cells_are_what_moves_say() -> None:
    """Of both players, by the names that stand beside the board."""
    for game in (Hex(size=4), Breakthrough(rows=5, columns=4), Othello(size=6)):
        for action in range(int(game.action_space.n)):
            for second in (False, True):
                said = "".join(game.column_name(c) + game.row_name(r) for r, c in game.cells(action, second))
                assert said == game.say(action, second)
    assert Go(size=5).cells(25) == ()
