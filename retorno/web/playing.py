"""The game page: one plays against somebody, sees what is thought of each move, takes moves back, keeps games as files.

A game is its moves, and they stand in the page's address: a page that is opened anew, or whose server was killed, goes
on where it was, and an address can be sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import groupby
from operator import itemgetter
from typing import Any
from urllib.parse import urlencode

import jax
import numpy as np
from nicegui import ui

from retorno.core.errors import RetornoError
from retorno.core.policy import Policy
from retorno.environments.games.chance import by_chance
from retorno.environments.games.game import Game
from retorno.run.engines import Engine, Resigned
from retorno.run.played import Mover, Played
from retorno.run.thinking import Thought, think
from retorno.search.perfect import Perfect, Solver
from retorno.search.stopping import Stop, Stopped
from retorno.web.aside import aside
from retorno.web.boards import Cell, Drawing, Preference, curve, drawn, kind_of
from retorno.web.shown import harmless
from retorno.web.site import Status, Visit, frame, on_key

KEYS = (("u", "key_take_back"), ("h", "key_hint"), ("t", "key_thoughts"), ("n", "key_new_game"))
LONGEST = 2_000
"""Moves of an address that are looked at."""
CONSIDERED = 5
"""Moves that are listed with what is thought of them."""
EMIT = "(e) => { const at = e.target.closest('[data-cell]'); if (at) { %s emit(at.dataset.cell); } }"
CLICKED = EMIT % "window.retornoCell = null;"
PRESSED = EMIT % (
    "if (!['Enter', ' '].includes(e.key)) return; e.preventDefault(); window.retornoCell = at.dataset.cell;"
)
FOCUS = "window.retornoCell && document.querySelector(`[data-cell='${window.retornoCell}']`)?.focus()"


@dataclass(frozen=True)
class Table:
    """What is played, and who may be played against."""

    world: Game
    players: Mapping[str, Policy | Engine]
    """By the names that they are shown under; the first is played against at first."""
    analyst: Policy
    """Who says what is thought of a position: a search."""
    solver: Solver | None = None
    """Who knows what each move is worth, where somebody does."""


def page(visit: Visit) -> None:
    """Build it."""
    table = visit.site.table
    assert table is not None
    with frame(visit, "play", KEYS):
        playing = Playing(visit, table, dict(ui.context.client.request.query_params))
    on_key(playing.key)
    ui.context.client.on_delete(playing.leave)
    ui.timer(0.05, playing.begin, once=True)


class Playing:
    """One visitor's game."""

    def __init__(self, visit: Visit, table: Table, asked: Mapping[str, str]) -> None:
        """Place it here; `begin` begins it."""
        self.visit, self.table = visit, table
        self.asked = asked
        given = asked.get("chance", "")
        self.game = self._anew_begun(int(given) if given.isdecimal() and int(given) < 2**32 else None)
        self.second = asked.get("second") == "1"
        self.against = asked.get("against", "")
        if self.against not in table.players:
            self.against = next(iter(table.players))
        self.thoughts: dict[int, Thought] = {}
        """After so many moves."""
        self.verdicts: dict[int, np.ndarray] = {}
        self.version = 0
        """How often the game was another one: what was thought of the one before is dropped."""
        self.busy = True
        """No move can be made: until those of the address were, and while the opponent moves."""
        self.asked_of_opponent, self.asked_of_solver = Stop(), Stop()
        """By which what they are asked is taken back."""
        self.considering = self.judging = self.gone = False
        self.picked: list[Cell] = []
        self.hinted = False
        self.begun = False
        """Whether the moves of the address were made: until then it stays as it is, and there is nothing to save."""
        self._place()

    def _anew_begun(self, number: int | None = None) -> Played:
        """A game in which chance does what it likes, or what follows from a number."""
        world = self.table.world
        if not by_chance(world):
            return Played(world)
        return Played(world, 0, int(np.random.default_rng().integers(2**32)) if number is None else number)

    def _place(self) -> None:
        say = self.visit.say
        with ui.element("div").classes(f"table of-{kind_of(self.table.world)}"):
            with ui.element("section").classes("left"):
                with ui.element("div").classes("sides"):
                    self.sides = ui.html("", sanitize=False)
                self.board = ui.html("", sanitize=False).classes("boardbox")
                self.board.on("click", self.clicked, js_handler=CLICKED)
                self.board.on("keydown", self.clicked, js_handler=PRESSED)
                self.more = ui.element("div").classes("actions others")
                self.status = Status(self.visit)
                with ui.element("div").classes("actions"):
                    for what, icon, act in (
                        ("take_back", "undo", self.undo),
                        ("hint", "lightbulb", self.hint),
                    ):
                        ui.button(say(what), icon=icon, on_click=act).props("outline dense no-caps")
                    ui.button(say("new_first"), icon="replay", on_click=lambda: self.new(False)).props(
                        "outline dense no-caps"
                    )
                    ui.button(say("new_second"), on_click=lambda: self.new(True)).props("outline dense no-caps")
            with ui.element("section").classes("right"):
                self.opponent = ui.select(list(self.table.players), value=self.against, label=say("against"))
                self.opponent.props("outlined dense").classes("wide")
                self.opponent.on_value_change(self.other)
                with ui.element("div").classes("head curvehead"):
                    ui.label(say("chance"))
                    self.chance = ui.label().classes("figure")
                self.curve = ui.html("", sanitize=False)
                self.shown = ui.switch(say("thoughts"), value=False, on_change=self.look)
                self.legend = ui.html("", sanitize=False).classes("legend muted")
                self.considered = ui.html("", sanitize=False).classes("considered")
                ui.label(say("moves")).classes("head")
                self.moves = ui.label().classes("moves")
                with ui.element("div").classes("actions"):
                    ui.button(say("save_sgf"), icon="download", on_click=self.save).props("flat dense no-caps")
                    self.loader = ui.upload(on_upload=self.load, auto_upload=True, max_files=1, max_file_size=200_000)
                    self.loader.props('accept=".sgf"').classes("hidden")
                    ui.button(
                        say("load_sgf"), icon="upload", on_click=lambda: self.loader.run_method("pickFiles")
                    ).props("flat dense no-caps")
        self.refresh()

    async def begin(self) -> None:
        """Make the moves of the address, and the opponent's where it is their turn."""
        said = [each for each in self.asked.get("moves", "").split("-") if each][:LONGEST]
        if said:
            try:
                await aside(self.game.follow, said)
            except RetornoError as error:
                self.status.say("bad_moves", why=error)
        self.begun, self.busy = True, False
        await self.go_on()

    async def clicked(self, event: Any) -> None:
        """A cell was chosen."""
        row, _, column = str(event.args).partition(",")
        if self.busy or not (row.isdigit() and column.isdigit()):
            return
        picked = [*self.picked, (int(row), int(column))]
        meant = self._meant(picked)
        if not meant:  # Another beginning of a move, perhaps.
            picked = picked[-1:]
            meant = self._meant(picked)
        whole = [action for action in meant if len(self._cells(action)) == len(picked)]
        self.picked = picked if meant and not whole else []
        if whole:
            await self.play(whole[0])
        else:
            self.refresh()

    def _cells(self, action: int) -> tuple[Cell, ...]:
        return self.table.world.cells(action, self.game.second)

    def _meant(self, picked: Sequence[Cell]) -> list[int]:
        """The legal actions that begin with these cells, of whoever sits here."""
        if self.game.over or self.game.second != self.second:
            return []
        legal = np.flatnonzero(self.game.legal).tolist()
        return [action for action in legal if list(self._cells(action)[: len(picked)]) == list(picked)]

    async def play(self, action: int) -> None:
        """One's own move."""
        if self.busy or self.game.over or self.game.second != self.second:
            return
        self.picked, self.hinted = [], False
        self.status.hint("")
        self.asked_of_solver.ask()
        self.game.play(action)
        self.refresh()
        await self.go_on()

    async def go_on(self) -> None:
        """Let the opponent move as long as it is their turn; meanwhile positions are thought about."""
        version = self.version
        if not self.busy and not self.game.over and self.game.second != self.second:
            self.busy = True
            self.refresh()
            try:
                while version == self.version and not self.game.over and self.game.second != self.second:
                    action = await self._answer()
                    if version == self.version:
                        self.game.play(action)
            except Resigned:
                if version == self.version:
                    self.game.give_up()
            except RetornoError as error:
                if version == self.version:
                    self.status.say("failed", why=error)
            finally:
                if version == self.version:  # Else who changed the game goes on with it.
                    self.busy = False
        self.refresh()
        if self.busy or version != self.version:
            return
        await self.consider()

    async def _answer(self) -> int:
        """The opponent's move. One with a memory is shown the whole game."""
        player, world, rows = self.table.players[self.against], self.table.world, self.game.rows
        said = self.game.said()
        if player is self.table.analyst:
            return (await self._thought(len(self.game.moves))).action
        if isinstance(player, Perfect):
            return await aside(player.move, rows[-1].obs, self.asked_of_opponent)

        def moved() -> int:
            if isinstance(player, Engine):
                game = Played(world)
                game.follow(said)
                return player.move(game)
            mover = Mover(player, world, np.random.default_rng())
            for row in rows[:-1]:
                mover.watch(row)
            return mover.move(rows[-1])

        return await aside(moved)

    async def _thought(self, ply: int) -> Thought:
        """What is thought of the position after so many moves."""
        version, found = self.version, self.thoughts.get(ply)
        if found is None:
            found = await aside(think, self.table.analyst, self.game.rows[ply])
            if version == self.version:
                self.thoughts[ply] = found
        return found

    async def consider(self) -> None:
        """What is thought of the game, and what the solver says of it: neither waits for the other."""
        await asyncio.gather(self._consider(), self._judge())

    async def _consider(self) -> None:
        """Think about each position of the game that was not thought about, the newest first."""
        if self.considering:
            return
        self.considering = True
        try:
            while not self.busy and not self.gone:  # Whatever the game is by then.
                plies = range(len(self.game.moves) - bool(self.game.row.last), -1, -1)
                left = [ply for ply in plies if ply not in self.thoughts]
                if not left:
                    break
                await self._thought(left[0])
                with self.board:
                    self.refresh()
        finally:
            self.considering = False

    async def _judge(self) -> None:
        """Ask the solver about the newest position, which may take it minutes."""
        if self.judging:
            return
        self.judging = True
        try:
            while not self.busy and not self.gone and await self._solved(len(self.game.moves)):
                with self.board:
                    self.refresh()
        finally:
            self.judging = False

    async def _solved(self, ply: int) -> bool:
        """Whether the solver was asked, who may have to be asked again: of a position that came meanwhile."""
        if self.table.solver is None or self.game.over or not self.shown.value or ply in self.verdicts:
            return False
        version, obs = self.version, jax.tree.map(np.asarray, self.game.rows[ply].obs)
        self.asked_of_solver = Stop()
        with contextlib.suppress(Stopped):
            found = await aside(self.table.solver.values, obs, self.asked_of_solver)
            if version == self.version:
                self.verdicts[ply] = found
        return True

    def leave(self) -> None:
        """The page was closed: nothing is thought about any more."""
        self.gone = True
        self._take_back_questions()

    def _take_back_questions(self) -> None:
        """The game is another one: nobody waits for what is thought of the one before, the opponent's move too."""
        self.version += 1
        for asked in (self.asked_of_opponent, self.asked_of_solver):
            asked.ask()
        self.asked_of_opponent, self.busy = Stop(), False

    async def undo(self) -> None:
        """Back to one's own move before."""
        if not self.begun or not self.game.moves:
            return
        self._take_back_questions()
        self.game.undo()
        while self.game.moves and self.game.second != self.second:
            self.game.undo()
        await self._anew()

    async def new(self, second: bool) -> None:
        """Another game, in which one moves first or second."""
        if not self.begun:
            return
        self._take_back_questions()
        self.game, self.second = self._anew_begun(), second
        self.thoughts = {}
        await self._anew()

    async def look(self) -> None:
        """What is thought is shown, or no more."""
        self.refresh()
        await self.consider()

    async def other(self) -> None:
        """Somebody else goes on."""
        if not self.begun:
            return
        if self.opponent.value in self.table.players:
            self._take_back_questions()
            self.against = self.opponent.value
        self.refresh()
        await self.go_on()

    async def _anew(self) -> None:
        plies = len(self.game.moves)
        self.thoughts = {ply: found for ply, found in self.thoughts.items() if ply <= plies}
        self.verdicts = {ply: found for ply, found in self.verdicts.items() if ply <= plies}
        self.picked, self.hinted = [], False
        self.status.hint("")
        self.refresh()
        await self.go_on()

    async def hint(self) -> None:
        """Show the best move."""
        if self.busy or self.game.over:
            return
        version, game, ply = self.version, self.game, len(self.game.moves)
        thought = await self._thought(ply)
        if version != self.version or ply != len(game.moves):
            return
        self.hinted = True
        self.status.hint("hinted", move=game.world.say(thought.action, game.second))
        self.refresh()

    def save(self) -> None:
        """The game as a file."""
        if not self.begun:
            return
        you = self.visit.labeller
        names = (self.against, you) if self.second else (you, self.against)
        ui.download(self.game.sgf(names).encode(), "game.sgf", "application/x-go-sgf")

    async def load(self, event: Any) -> None:
        """A game from a file."""
        self.loader.reset()
        if not self.begun:
            return
        game = Played(self.table.world)
        try:
            text = (await event.file.read()).decode("utf-8", errors="replace")
            await aside(game.follow_sgf, text)
        except RetornoError as error:
            self.status.say("bad_file", why=error)
            return
        self._take_back_questions()
        self.game, self.thoughts = game, {}
        # Whoever is to move is the visitor: nothing is answered before they have looked at it.
        self.second = game.second
        await self._anew()

    async def key(self, key: str) -> None:
        """What a key does."""
        if key in ("u", "Backspace"):
            await self.undo()
        elif key == "h":
            await self.hint()
        elif key == "t":
            self.shown.set_value(not self.shown.value)
        elif key == "n":
            await self.new(self.second)

    def refresh(self) -> None:
        """Show everything as it is."""
        game, world, say = self.game, self.table.world, self.visit.say
        ply, mine = len(game.moves), game.second == self.second and not game.over
        movers = game.movers()
        last = world.cells(game.moves[-1], movers[-1]) if game.moves else ()
        free: dict[Cell, str] = {}
        others: list[int] = []
        if mine and not self.busy:
            for action in self._meant(self.picked):
                cells = self._cells(action)
                if cells:
                    free[cells[len(self.picked)] if len(cells) > len(self.picked) else cells[-1]] = world.say(
                        action, game.second
                    )
                else:
                    others.append(action)
            for action in self._meant([]) if self.picked else []:
                free.setdefault(self._cells(action)[0], world.say(action, game.second))
        drawing = Drawing(
            marks=game.marks() if world.board is not None else np.zeros((1, 1), int),
            last=last[-1:],
            free=free,
            picked=self.picked[0] if self.picked else None,
            preferences=self._preferences(ply),
        )
        if world.board is not None:
            self.board.set_content(drawn(world, drawing, say("board")))
            ui.run_javascript(FOCUS)
        else:
            self.board.set_content(f'<p class="words">{game.text()}</p>')
        self.more.clear()
        with self.more:
            best = self.thoughts[ply].action if self.hinted and ply in self.thoughts else None
            for action in others:
                name, icon = world.say(action, game.second), "lightbulb" if action == best else None
                ui.button(name, icon=icon, on_click=partial(self.play, action)).props("unelevated no-caps dense")
        self._tell(mine)
        self._considered(ply)
        if not self.begun:
            return
        address = {"moves": "-".join(game.said()), "second": str(int(self.second)), "against": self.against}
        if by_chance(world):
            address["chance"] = str(game.chance[1])
        ui.run_javascript(f"history.replaceState(null, '', '/play?{urlencode(address)}')")

    def _tell(self, mine: bool) -> None:
        game, say = self.game, self.visit.say
        won = -game.result if self.second else game.result
        ended = "won" if won > 0 else "lost_game" if won < 0 else "drawn"
        turn = say(ended) if game.over else say("your_move" if mine and self.begun else "thinking")
        you, other = ("second", "first") if self.second else ("first", "second")
        kind = "" if not game.over else " ended"
        self.sides.set_content(
            f'<span class="who {you}"></span>{say("you")} · <span class="who {other}"></span>{_safe(self.against)}'
            f'<strong class="turn{kind}" role="status">{turn}</strong>'
        )
        chances = self._chances()
        now = chances[-1]
        own = None if now is None else 1 - now if self.second else now
        self.chance.set_text("" if own is None else f"{own:.0%}")
        mine_first = [None if x is None else 1 - x if self.second else x for x in chances]
        self.curve.set_content(curve(mine_first, say("chance")))
        self.moves.set_text(numbered(game.said(), game.movers()) or "–")

    def _chances(self) -> list[float | None]:
        """The first player's, after each move."""
        found: list[float | None] = []
        movers = [*self.game.movers(), self.game.second]
        for ply, second in enumerate(movers):
            thought = self.thoughts.get(ply)
            value = None if thought is None else thought.value
            found.append(None if value is None else (1 + (-value if second else value)) / 2)
        if self.game.over:
            found[-1] = (1 + self.game.result) / 2
        return [None if x is None else min(max(x, 0.0), 1.0) for x in found]

    def _preferences(self, ply: int) -> dict[Cell, Preference]:
        """What is drawn on the board of what is thought."""
        thought = self.thoughts.get(ply)
        if self.game.over or not (self.shown.value or self.hinted):
            return {}
        found: dict[Cell, Preference] = {}
        verdicts = self.verdicts.get(ply)
        for action in np.flatnonzero(self.game.legal).tolist():
            cells = self._cells(action)
            if not cells:
                continue
            if not self.shown.value:
                if thought is not None and action == thought.action:
                    found[cells[-1]] = Preference(1.0, best=True)
                continue
            share = 0.0 if thought is None else float(thought.policy[action])
            prior = None if thought is None or thought.prior is None else float(thought.prior[action])
            best = thought is not None and action == thought.action
            verdict = None if verdicts is None or np.isnan(verdicts[action]) else int(verdicts[action])
            before = found.get(cells[-1], Preference())
            if share >= before.share or before == Preference():
                found[cells[-1]] = Preference(share, prior, best, verdict)
        return found

    def _considered(self, ply: int) -> None:
        """The best moves with what is thought of them, and how each would go on."""
        say, world, thought = self.visit.say, self.table.world, self.thoughts.get(ply)
        if not self.shown.value or thought is None or self.game.over:
            self.legend.set_content("")
            self.considered.set_content("")
            return
        known = thought.prior is not None
        signs = [f'<span class="swatch share"></span>{say("legend_search")}']
        signs += [f'<span class="swatch prior"></span>{say("legend_network")}'] if known else []
        signs += [f"<b>+ = –</b> {say('legend_solver')}"] if self.table.solver is not None else []
        self.legend.set_content(" · ".join(signs))
        legal = np.flatnonzero(self.game.legal)
        order = legal[np.argsort(-thought.policy[legal], kind="stable")][:CONSIDERED].tolist()
        rows = []
        for action in order:
            q = None if thought.q is None else thought.q[action]
            chance = "" if q is None or np.isnan(q) else f"{min(max((1 + float(q)) / 2, 0), 1):.0%}"
            prior = f"<td>{thought.prior[action]:.0%}</td>" if thought.prior is not None else ""
            line = _line(world, thought.lines[action].tolist(), not self.game.second)
            rows.append(
                f"<tr><th>{_safe(world.say(action, self.game.second))}</th><td>{thought.policy[action]:.0%}</td>"
                f"{prior}<td>{chance}</td><td class='line'>{_safe(line)}</td></tr>"
            )
        columns = ("move", "search", *(["network"] if known else []), "wins_by", "line")
        names = "".join(f"<th>{say(name)}</th>" for name in columns)
        self.considered.set_content(f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(rows)}</tbody></table>")


def numbered(said: Sequence[str], movers: Sequence[bool]) -> str:
    """Moves with the numbers of the first player's turns; those of one turn are joined, where who moved moves again.

    Args:
        said: the moves.
        movers: of each whether the second player made it.

    >>> numbered(["a", "b", "c", "d"], [False, True, True, False])
    '1. a b+c 2. d'
    """
    turns, number = [], 0
    for second, moves in groupby(zip(movers, said, strict=True), key=itemgetter(0)):
        number += not second
        turns.append(("" if second else f"{number}. ") + "+".join(move for _, move in moves))
    return " ".join(turns)


def _line(world: Game, line: Sequence[int], second: bool) -> str:
    """Moves that would follow, by turns."""
    said = []
    for action in line:
        if action < 0:
            break
        said.append(world.say(action, second))
        second = not second
    return " ".join(said)


def _safe(text: str) -> str:
    return escape(harmless(text))
