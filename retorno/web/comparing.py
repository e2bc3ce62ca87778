"""The page on which short clips are judged: two with the keys of Christiano et al. 2017; more in order; one rated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nicegui import run, ui

from retorno.labels import Draft, Order, Query, shown_order
from retorno.preferences.clips import as_addresses
from retorno.preferences.given import shares_of
from retorno.preferences.habits import SAME, Habits, in_a_word
from retorno.preferences.judges import QUERY
from retorno.web.desk import AGAIN, Desk
from retorno.web.site import Status, Visit, frame, key_button, on_key, progress_line

CLIP = (Path(__file__).parent / "clip.js").read_text(encoding="utf-8")
CANNOT_TELL = "ArrowDown"
SHARES = {"ArrowLeft": 0, "ArrowRight": 1, "ArrowUp": 0.5, CANNOT_TELL: None}
"""How much of the preference goes to the clip on the right, by the keys of the paper; None: cannot tell."""
PAIR_KEYS = (("← →", "key_better"), ("↑", "key_alike"))
RATE_KEYS = (("1 … {levels}", "key_how_good"),)
ORDER_KEYS = (("1 … 9", "key_clip"), ("=", "key_tie"), ("r", "key_rest"), ("Enter", "key_save"))
MOST_IN_A_ROW = 4


def page(visit: Visit) -> None:
    """Build it."""
    ui.add_head_html(f"<script>{CLIP}</script>")
    own = {1: RATE_KEYS, 2: PAIR_KEYS}.get(visit.site.at_once, ORDER_KEYS)
    own = [(key.format(levels=visit.site.levels), what) for key, what in own]
    undo = "key_undo" if visit.site.at_once > 2 else "key_write_undo"
    with frame(visit, "compare", (*own, ("↓", "key_cannot_tell"), ("⌫ z", undo), ("s", "key_skip"))):
        comparing = Comparing(visit)
    on_key(comparing.key)
    ui.timer(0, comparing.desk.next, once=True)
    ui.timer(AGAIN, comparing.desk.wait)


class Comparing:
    """One person's comparisons and ratings."""

    def __init__(self, visit: Visit) -> None:
        """Place it here."""
        self.visit = visit
        self.shown: list[int] = []
        """The segments in the order in which they are shown: the first is the left one, or has key 1."""
        self.draft = Draft(Order(0))
        self.clips: list[Clip] = []
        self.habits = Habits()
        say = visit.say
        usual = {1: "rate_task", 2: "compare_task"}.get(visit.site.at_once, "order_task")
        ui.label(visit.site.task or say(usual)).classes("task")
        refresh = progress_line(visit, QUERY)
        with ui.element("div").classes("empty") as self.empty:
            ui.label(say("agent_acts"))
            ui.label(say("comes")).classes("muted")
        self.work = ui.element("div").classes("work clips")
        with ui.element("footer").classes("dock") as self.dock:
            self.status = Status(visit)
            with ui.element("div").classes("actions middle"):
                button = lambda key, sign, what: key_button(visit, what, sign, lambda: self.key(key))  # noqa: E731
                self.of_ratings = [self._level(level) for level in range(1, visit.site.levels + 1)]
                self.of_pairs = [
                    button("ArrowLeft", "←", "left_clip").props("outline"),
                    button("ArrowUp", "↑", "alike").props("outline"),
                ]
                self.of_orders = [
                    button("Enter", "Enter", "save").props("unelevated"),
                    button("=", "=", "tie").props("outline"),
                    button("r", "r", "rest_worse").props("outline"),
                ]
                button(CANNOT_TELL, "↓", "cannot_tell").props("outline")
                self.of_pairs.append(button("ArrowRight", "→", "right_clip").props("outline"))
                button("Backspace", "⌫", "undo").props("flat").classes("undo")
                button("s", "s", "skip").props("flat")
        self.desk = Desk(visit, QUERY, self.status, self._ask, refresh, again=True)  # A run waits for all of them.
        self._ask(None, None)

    async def key(self, key: str) -> None:
        """What a key does."""
        match key:
            case "s":
                await self.desk.skip()
            case "Backspace" | "z":
                if not self.draft.back():
                    return await self.desk.undo()
                self._show()
            case _ if self.desk.query is None or self.desk.busy:
                return
            case _ if len(self.shown) == 2:
                if key in SHARES:
                    right = SHARES[key]
                    await self._save({"share": right if right is None or self.shown[0] == 1 else 1 - right})
            case _ if len(self.shown) == 1:
                levels = self.visit.site.levels
                if key == CANNOT_TELL or (key.isdecimal() and 1 <= int(key) <= levels):
                    await self._save({"ratings": [None if key == CANNOT_TELL else int(key)], "of": levels})
            case _ if key == CANNOT_TELL:
                await self._save({"ranks": [None for _ in self.shown]})
            case "Enter":
                if not self.draft.order.says_something:
                    return self.status.hint("order_first")
                await self._save({"ranks": self.draft.order.ranks})
            case _ if key != "0":  # None of them is good or bad by itself.
                self.becomes(self.draft.order.pressed(key, self.shown))

    def _level(self, level: int) -> ui.button:
        """A button that rates what is shown; those at the ends say what they mean."""
        levels, say = self.visit.site.levels, self.visit.say
        meant = {1: f" · {say('rated_worst')}", levels: f" · {say('rated_best')}"}.get(level, "")
        button = ui.button(f"{level}{meant}", on_click=lambda: self.key(str(level))).props("no-caps dense outline")
        return button.props(f'aria-label="{say("rate_it", level=level, levels=levels)}"')

    def becomes(self, order: Order) -> None:
        """The clips are in another order."""
        self.draft.becomes(order)
        self._show()

    async def _save(self, said: Mapping[str, Any]) -> None:
        seen = shares_of(said, self.shown)
        same = "same_rating" if len(seen) == 1 else "same_again"
        if await self.desk.save(said):
            if (count := self.habits.again(self.visit.labeller, in_a_word(seen, ("left", "right")))) >= SAME:
                self.status.saved(same, count=count)

    def _ask(self, query: Query | None, said: Mapping[str, Any] | None) -> None:
        """Show a query, and what was said of it; or that there is none."""
        self.empty.set_visibility(query is None)
        self.work.set_visibility(query is not None)
        self.dock.classes(**{"add" if query is None else "remove": "idle"})
        self.work.clear()
        segments = [] if query is None else query.content["segments"]
        count = len(segments)
        self.shown = [] if query is None else shown_order(query.id, self.visit.labeller, count)
        self.draft = Draft(Order.of(said["ranks"]) if said is not None and "ranks" in said else Order(count))
        at_once = count or self.visit.site.at_once
        of_all = ((self.of_ratings, at_once == 1), (self.of_pairs, at_once == 2), (self.of_orders, at_once > 2))
        for buttons, wanted in of_all:
            for each in buttons:
                each.set_visibility(wanted)
        columns = count if count <= MOST_IN_A_ROW else (count + 1) // 2
        self.work.style(f"--columns: {min(columns, MOST_IN_A_ROW)}")
        with self.work:
            self.clips = [Clip(self, which, key) for key, which in enumerate(self.shown, start=1)]
        self._show()
        if query is not None:
            ui.timer(0, lambda: self._draw(query, [segments[i] for i in self.shown]), once=True)

    def _show(self) -> None:
        """Where each clip stands."""
        order = self.draft.order
        for clip in self.clips:
            clip.show(order)
        if order.tiers:
            self.status.hint("left_out" if order.rest and order.says_something else "")

    async def _draw(self, query: Query, segments: Sequence[Mapping[str, Any]]) -> None:
        drawer = self.visit.site.clips
        assert drawer is not None

        def draw() -> list[tuple[list[str], float]]:
            films = [drawer.film(each) for each in segments]
            return [(as_addresses(film.frames), film.milliseconds) for film in films]

        drawn = await run.io_bound(draw)
        if drawn is None or self.desk.query is not query:
            return
        for clip, (frames, milliseconds) in zip(self.clips, drawn, strict=True):
            ui.run_javascript(f"retornoClip({clip.film.id}, {json.dumps(frames)}, {milliseconds})")


class Clip:
    """One of them; of several with its number, and where it stands so far."""

    def __init__(self, comparing: Comparing, which: int, key: int) -> None:
        """Place it here."""
        self.which = which
        self.rank: ui.label | None = None
        with ui.element("figure").classes("clip") as self.element:
            if len(comparing.shown) > 2:
                self.element.on("click", lambda: comparing.becomes(comparing.draft.order.choose(which)))
                with ui.element("figcaption").classes("top"):
                    ui.label(str(key)).classes("key")
                    self.rank = ui.label().classes("rank").props('aria-live="polite"')
            self.film = ui.element("div")

    def show(self, order: Order) -> None:
        """By the order of all."""
        if self.rank is not None:
            rank = order.ranks[self.which]
            tied = rank is not None and order.ranks.count(rank) > 1
            self.rank.set_text("" if rank is None else f"{rank + 1}.{' =' if tied else ''}")
            self.element.classes(**{"remove" if rank is None else "add": "placed"})
