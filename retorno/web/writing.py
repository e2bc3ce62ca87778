"""The demonstrations page: somebody writes the answer that they would like to be given, or mends one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from retorno.labels import Query
from retorno.web.answering import streamed
from retorno.web.desk import AGAIN, Desk
from retorno.web.shown import harmless, show_prompt
from retorno.web.site import Status, Visit, frame, key_button, on_key, progress_line

KEYS = (("Ctrl Enter", "key_write_save"), ("Esc s", "key_write_skip"), ("Esc z", "key_write_undo"))


def page(visit: Visit) -> None:
    """Build it."""
    with frame(visit, "write", KEYS):
        writing = Writing(visit)
    on_key(writing.key)
    ui.timer(0, writing.desk.next, once=True)
    ui.timer(AGAIN, writing.desk.wait)


class Writing:
    """One person's demonstrations page."""

    def __init__(self, visit: Visit) -> None:
        """Place it here."""
        self.visit = visit
        say = visit.say
        self.task = ui.label().classes("task")
        refresh = progress_line(visit, "demonstration")
        with ui.element("div").classes("empty") as self.empty:
            ui.label(say("nothing_asked"))
            ui.label(say("comes")).classes("muted")
        with ui.element("div").classes("work") as self.work:
            self.prompt = ui.element("div")
            self.answer = ui.textarea(label=say("answer")).props('outlined autogrow dir="auto"').classes("wide answer")
            self.answer.on("keydown.ctrl.enter", self.save)
            self.answer.on("keydown.esc", js_handler="(event) => event.target.blur()")
        with ui.element("footer").classes("dock") as self.dock:
            self.status = Status(visit)
            with ui.element("div").classes("actions"):
                key_button(visit, "save", "Ctrl Enter", self.save).props("unelevated")
                key_button(visit, "undo", "Esc z", lambda: self.desk.undo()).props("flat").classes("undo")
                key_button(visit, "skip", "Esc s", lambda: self.desk.skip()).props("flat")
                if visit.site.models:
                    ui.button(say("draft"), icon="edit_note", on_click=self.draft).props("flat no-caps dense")
        self.desk = Desk(visit, "demonstration", self.status, self._ask, refresh)
        self._ask(None, None)

    async def key(self, key: str) -> None:
        """What a key does outside of the field."""
        match key:
            case "s":
                await self.desk.skip()
            case "z" | "Backspace":
                await self.desk.undo()
            case "Enter" | "i":
                self.answer.run_method("focus")

    async def save(self) -> None:
        """Write what stands in the field."""
        text = (self.answer.value or "").strip()
        if not text:
            return self.status.hint("write_first")
        await self.desk.save({"answer": text})

    async def draft(self) -> None:
        """A model writes, a person mends."""
        query, model = self.desk.query, self.visit.site.models[0]
        if query is None:
            return
        said = await streamed(model, query.content["prompt"], query.id, self.answer.set_value)
        if said.failure:
            self.status.say("failed", why=said.failure)

    def _ask(self, query: Query | None, said: Mapping[str, Any] | None) -> None:
        """Show a prompt, and what was written or is to be mended; or that there is none."""
        self.prompt.clear()
        if query is not None:
            with self.prompt:
                show_prompt(query.content["prompt"], self.visit.language)
            self.answer.set_value(harmless(said["answer"] if said else query.content.get("draft", "")))
            self.answer.run_method("focus")
        self.empty.set_visibility(query is None)
        self.work.set_visibility(query is not None)
        self.dock.classes(**{"add" if query is None else "remove": "idle"})
        drafted = query is not None and query.content.get("draft")
        self.task.set_text(self.visit.say("edit_task" if drafted else "write_task"))
