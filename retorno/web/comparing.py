"""The page on which two short clips of behaviour are compared, with the keys of Christiano et al. 2017."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nicegui import run, ui

from retorno.labels import Query
from retorno.preferences.clips import as_addresses
from retorno.preferences.habits import SAME, Habits
from retorno.preferences.judges import QUERY, shown_swapped
from retorno.web.desk import AGAIN, Desk
from retorno.web.site import Status, Visit, frame, key_button, on_key, progress_line

CLIP = (Path(__file__).parent / "clip.js").read_text(encoding="utf-8")
KEYS = (
    ("← →", "key_better"),
    ("↑", "key_alike"),
    ("↓", "key_cannot_tell"),
    ("⌫ z", "key_write_undo"),
    ("s", "key_skip"),
)
SHARES = {"ArrowLeft": 0, "ArrowRight": 1, "ArrowUp": 0.5, "ArrowDown": None}
"""How much of the preference goes to the clip on the right, by the keys of the paper; None: cannot tell."""


def page(visit: Visit) -> None:
    """Build it."""
    ui.add_head_html(f"<script>{CLIP}</script>")
    with frame(visit, "compare", KEYS):
        comparing = Comparing(visit)
    on_key(comparing.key)
    ui.timer(0, comparing.desk.next, once=True)
    ui.timer(AGAIN, comparing.desk.wait)


class Comparing:
    """One person's comparisons."""

    def __init__(self, visit: Visit) -> None:
        """Place it here."""
        self.visit = visit
        self.swapped = False
        """Whether the first segment is on the right."""
        self.habits = Habits()
        say = visit.say
        ui.label(visit.site.task or say("compare_task")).classes("task")
        refresh = progress_line(visit, QUERY)
        with ui.element("div").classes("empty") as self.empty:
            ui.label(say("agent_acts"))
            ui.label(say("comes")).classes("muted")
        with ui.element("div").classes("work pair clips") as self.work:
            self.clips = [ui.element("figure").classes("clip") for _ in range(2)]
        with ui.element("footer").classes("dock") as self.dock:
            self.status = Status(visit)
            with ui.element("div").classes("actions middle"):
                for key, sign, what in (
                    ("ArrowLeft", "←", "left_clip"),
                    ("ArrowUp", "↑", "alike"),
                    ("ArrowDown", "↓", "cannot_tell"),
                    ("ArrowRight", "→", "right_clip"),
                ):
                    key_button(visit, what, sign, lambda key=key: self.key(key)).props("outline")
                key_button(visit, "undo", "⌫", lambda: self.desk.undo()).props("flat").classes("undo")
                key_button(visit, "skip", "s", lambda: self.desk.skip()).props("flat")
        self.desk = Desk(visit, QUERY, self.status, self._ask, refresh)
        self._ask(None, None)

    async def key(self, key: str) -> None:
        """What a key does."""
        if key in SHARES and self.desk.query is not None:
            share = SHARES[key]
            right = share if share is None or not self.swapped else 1 - share
            if await self.desk.save({"share": None if right is None else 1 - right}):
                if (count := self.habits.again(self.visit.labeller, key)) >= SAME:
                    self.status.saved("same_again", count=count)
        elif key in ("Backspace", "z"):
            await self.desk.undo()
        elif key == "s":
            await self.desk.skip()

    def _ask(self, query: Query | None, said: Mapping[str, Any] | None) -> None:
        """Show a query, or that there is none."""
        self.empty.set_visibility(query is None)
        self.work.set_visibility(query is not None)
        self.dock.classes(**{"add" if query is None else "remove": "idle"})
        for clip in self.clips:
            clip.clear()
        if query is None:
            return
        self.swapped = shown_swapped(query.id, self.visit.labeller)
        segments = query.content["segments"]
        ui.timer(0, lambda: self._draw(query, segments[::-1] if self.swapped else segments), once=True)

    async def _draw(self, query: Query, segments: list[Mapping[str, Any]]) -> None:
        clips = self.visit.site.clips
        assert clips is not None

        def draw() -> list[tuple[list[str], float]]:
            films = [clips.film(each) for each in segments]
            return [(as_addresses(film.frames), film.milliseconds) for film in films]

        drawn = await run.io_bound(draw)
        if drawn is None or self.desk.query is not query:
            return
        for clip, (frames, milliseconds) in zip(self.clips, drawn, strict=True):
            with clip:
                clip.clear()
            ui.run_javascript(f"retornoClip({clip.id}, {json.dumps(frames)}, {milliseconds})")
