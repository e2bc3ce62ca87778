"""The chat page: an answer streams in and gets a thumb; or two models answer, and one says blindly which is better."""

from __future__ import annotations

import asyncio
import functools
import random
import secrets
from collections import Counter
from collections.abc import Mapping
from typing import Any

from nicegui import run, ui

from retorno.labels import Labels, LabelsError
from retorno.web.answering import Answering, Said, streamed
from retorno.web.shown import AT_FIRST, show_text
from retorno.web.site import Status, Visit, frame, on_key

ONE = (("Enter", "key_send"), ("Esc", "key_leave"), ("+ -", "key_good"), ("r", "key_again"))
TWO = (("Enter", "key_send"), ("Esc", "key_leave"), ("← → ↑", "key_choose"))


def page(visit: Visit) -> None:
    """Build it."""
    blind = len(visit.site.models) > 1
    with frame(visit, "chat", TWO if blind else ONE):
        chat = Blind(visit) if blind else Chat(visit)
    on_key(chat.key)
    ui.context.client.on_delete(chat.stop)


class Conversation:
    """What was said so far, and the field in which one goes on."""

    def __init__(self, visit: Visit, task: str) -> None:
        """Place it here."""
        self.visit, self.labels = visit, visit.site.labels
        self.messages: list[dict[str, str]] = []
        self.under_way: list[Said] = []
        say = visit.say
        ui.label(say(task)).classes("task")
        self.log = ui.element("div").classes("log").props('role="log"')
        self.dock = ui.element("footer").classes("dock")
        with self.dock:
            self.status = Status(visit)
        with self.dock, ui.element("div").classes("asking"):
            self.field = ui.textarea(placeholder=say("ask")).props('outlined autogrow dense dir="auto" rows="1"')
            self.field.classes("wide").props(f'aria-label="{say("ask")}" autofocus')
            # Shift and Enter is a new line.
            self.field.on(
                "keydown",
                self.send,
                args=[],
                js_handler="(e) => { if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) {"
                " e.preventDefault(); emit(); } if (e.key === 'Escape') e.target.blur(); }",
            )
            self.sender = ui.button(icon="send", on_click=self.send).props(
                f'round unelevated aria-label="{say("send")}"'
            )
            self.stopper = ui.button(icon="stop", on_click=self.stop).props(f'round outline aria-label="{say("stop")}"')
            ui.button(icon="add_comment", on_click=self.new).props(f'round flat title="{say("new")}"').props(
                f'aria-label="{say("new")}"'
            )
        self._going(False)

    def _round(self, icon: str, what: str, act: Any) -> ui.button:
        said = self.visit.say(what)
        return ui.button(icon=icon, on_click=act).props(f'round aria-label="{said}" title="{said}"')

    def stop(self) -> None:
        """End what is being written."""
        for each in self.under_way:
            each.stop.set()

    def new(self) -> None:
        """Begin anew."""
        self.stop()
        self.messages = []
        self.log.clear()
        self.field.run_method("focus")

    async def send(self) -> None:
        """Say what stands in the field."""
        text = (self.field.value or "").strip()
        if not text or self.under_way or not self.may_send():
            return
        self.field.set_value("")
        self.messages.append({"role": "user", "content": text})
        with self.log, ui.element("div").classes("turn mine"):
            show_text(text, self.visit.language)
        await self.answer()

    def may_send(self) -> bool:
        """Whether the turn before is over."""
        return True

    async def answer(self) -> None:
        """Have it answered."""
        raise NotImplementedError

    def _going(self, on: bool) -> None:
        self.sender.set_visibility(not on)
        self.stopper.set_visibility(on)

    def bubble(self, letter: str = "") -> tuple[ui.element, ui.label]:
        """Where an answer streams in, under a letter where there are several."""
        with ui.element("div").classes("turn theirs"):
            if letter:
                ui.label(letter).classes("letter")
            turn = ui.element("div").classes("writing")
        with turn:
            label = ui.label().classes("words").props('dir="auto"')
        return turn, label

    async def write(self, model: Answering, turn: ui.element, label: ui.label) -> Said:
        """Let a model answer in a bubble; at last the whole of it stands there."""
        said = Said()
        self.under_way.append(said)
        self._going(True)
        scroll = "requestAnimationFrame(() => window.scrollTo(0, document.body.scrollHeight))"

        def show(text: str) -> None:
            label.set_text(text if len(text) <= AT_FIRST else text[:AT_FIRST] + " …")
            ui.run_javascript(scroll)

        prompt = list(self.messages)
        with turn:
            await streamed(model, prompt, secrets.randbits(31), show, said)
        self.under_way.remove(said)
        self._going(bool(self.under_way))
        turn.classes(remove="writing")
        if said.failure:
            self.status.say("failed", why=said.failure)
        turn.clear()
        with turn:
            show_text(said.text or "…", self.visit.language)
        return said

    async def keep(self, kind: str, asked: Mapping[str, Any], label: Mapping[str, Any] | None) -> bool:
        """Write a label, or take it back; whether it is in the database."""
        self.status.hint("")  # What was said of the one before.
        try:
            await run.io_bound(_keep, self.labels, kind, asked, self.visit.labeller, label)
        except LabelsError as error:
            self.status.failed(error)
            return False
        self.status.saved()
        return True


def _keep(labels: Labels, kind: str, asked: Mapping[str, Any], who: str, label: Mapping[str, Any] | None) -> None:
    [query] = labels.add(kind, [asked], wanted=0)
    if label is None:
        labels.withdraw(query, who)
    else:
        labels.save(query, who, label)


class Chat(Conversation):
    """With one model."""

    def __init__(self, visit: Visit) -> None:
        """Place it here."""
        super().__init__(visit, "chat_task")
        self.thumb = 0
        self.turn: ui.element | None = None
        self.thumbs: dict[int, ui.button] = {}

    async def key(self, key: str) -> None:
        """What a key does outside of the field."""
        match key:
            case "+" | "-":
                await self.give(1 if key == "+" else -1)
            case "r":
                await self.again()
            case "Escape":
                self.stop()
            case "Enter" | "i":
                self.field.run_method("focus")

    async def answer(self) -> None:
        """The model's answer, and below it the thumbs."""
        self.thumb = 0
        with self.log:
            self.turn, label = self.bubble()
        turn = self.turn
        said = await self.write(self.visit.site.models[0], turn, label)
        if turn is not self.turn or turn.is_deleted:  # Somebody began anew meanwhile.
            return
        self.messages.append({"role": "assistant", "content": said.text})
        with turn, ui.element("div").classes("thumbs"):
            for thumb, icon, what in ((1, "thumb_up", "good"), (-1, "thumb_down", "bad")):
                self.thumbs[thumb] = ui.button(icon=icon, on_click=functools.partial(self.give, thumb))
                self.thumbs[thumb].props(f'flat round dense aria-label="{self.visit.say(what)}"')
            again = ui.button(icon="refresh", on_click=self.again).props("flat round dense")
            again.props(f'aria-label="{self.visit.say("again")}" title="{self.visit.say("again")}"')
        self._show()

    async def give(self, thumb: int) -> None:
        """A thumb up or down; the same again takes it back."""
        if self.under_way or len(self.messages) < 2:
            return
        thumb = 0 if thumb == self.thumb else thumb
        asked = {
            "prompt": self.messages[:-1],
            "answer": self.messages[-1]["content"],
            "model": self.visit.site.models[0].name,
        }
        if await self.keep("chat", asked, {"thumb": thumb} if thumb else None):
            self.thumb = thumb
            self._show()

    async def again(self) -> None:
        """Another answer to the same: what was said of this one stays."""
        if self.under_way or len(self.messages) < 2 or self.turn is None:
            return
        self.messages.pop()
        assert self.turn.parent_slot is not None
        self.turn.parent_slot.parent.delete()
        await self.answer()

    def _show(self) -> None:
        for thumb, button in self.thumbs.items():
            button.props(remove="color").props(f"color={'primary' if thumb == self.thumb else 'grey'}")


class Blind(Conversation):
    """With two models side by side; who is who is told after the choice."""

    def __init__(self, visit: Visit) -> None:
        """Place it here."""
        super().__init__(visit, "blind_task")
        self.sides: list[tuple[Answering, str, ui.element]] = []
        """Left and right while there is a choice to make: model, answer, bubble."""
        self.choice: ui.element | None = None
        self.names = [model.name for model in visit.site.models[:2]]
        self.wins = wins(self.labels, *self.names)
        with self.dock:
            self.score = ui.label().classes("muted score")
        self._show()

    def may_send(self) -> bool:
        """Not while there is a choice to make."""
        return not self.sides

    async def key(self, key: str) -> None:
        """What a key does outside of the field."""
        ranks = {"ArrowLeft": [0, 1], "ArrowRight": [1, 0], "ArrowUp": [0, 0]}.get(key)
        if ranks is not None:
            await self.choose(ranks)
        elif key == "Escape":
            self.stop()
        elif key in ("Enter", "i"):
            self.field.run_method("focus")

    async def answer(self) -> None:
        """Both answers at once, then the choice."""
        models = list(self.visit.site.models[:2])
        random.shuffle(models)
        with self.log, ui.element("div").classes("pair") as pair:
            bubbles = [self.bubble(letter) for letter, _ in zip("AB", models, strict=True)]
        self.field.run_method("blur")
        both = [self.write(model, *bubble) for model, bubble in zip(models, bubbles, strict=True)]
        left, right = await asyncio.gather(*both)
        if pair.is_deleted:
            return
        said = [left.text, right.text]
        self.sides = [(m, text, turn) for m, text, (turn, _) in zip(models, said, bubbles, strict=True)]
        choices = (("left_better", "←", [0, 1]), ("equal", "↑", [0, 0]), ("right_better", "→", [1, 0]))
        with self.log, ui.element("div").classes("actions choice") as self.choice:
            for what, key, ranks in choices:
                with ui.button(on_click=functools.partial(self.choose, ranks)).props("outline no-caps dense"):
                    ui.label(key).classes("key")
                    ui.label(self.visit.say(what))
        ui.run_javascript("requestAnimationFrame(() => window.scrollTo(0, document.body.scrollHeight))")

    async def choose(self, ranks: list[int]) -> None:
        """Which was better; then it is told which model was which, and the better answer is gone on with."""
        if not self.sides or self.under_way or self.choice is None:
            return
        sides, choice = self.sides, self.choice
        asked = {
            "prompt": list(self.messages),
            "answers": [text for _, text, _ in sides],
            "models": [model.name for model, *_ in sides],
        }
        if not await self.keep("comparison", asked, {"ranks": ranks}):
            return
        self.sides = []
        better = ranks.index(0)
        self.wins[None if ranks == [0, 0] else sides[better][0].name] += 1
        self.messages.append({"role": "assistant", "content": sides[better][1]})
        for i, (_, _, turn) in enumerate(sides):
            assert turn.parent_slot is not None
            turn.parent_slot.parent.classes("better" if ranks[i] == 0 else "worse")
        choice.clear()
        with choice:
            names = {"left": sides[0][0].name, "right": sides[1][0].name}
            ui.label(self.visit.say("was", **names)).classes("muted")
        self._show()
        self.field.run_method("focus")

    def new(self) -> None:
        """Begin anew."""
        super().new()
        self.sides = []

    def _show(self) -> None:
        first, second = self.names
        if self.wins.total():
            counts = {"a": self.wins[first], "b": self.wins[second], "c": self.wins[None]}
            self.score.set_text(self.visit.say("wins", first=first, second=second, **counts))


def wins(labels: Labels, first: str, second: str) -> Counter[str | None]:
    """How often each of two models was found better in blind comparisons, by all people; None where neither was."""
    counts: Counter[str | None] = Counter()
    for one in labels.labelled("comparison"):
        models, ranks = one.query.content.get("models", []), one.label.content["ranks"]
        if sorted(models) == sorted((first, second)):
            counts[None if ranks[0] == ranks[1] else models[ranks.index(0)]] += 1
    return counts
