"""The ranking page: one prompt, its answers in random order, put in order by keys, taps or drags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from retorno.labels import Draft, Order, Query, shown_order
from retorno.web.desk import AGAIN, Desk
from retorno.web.shown import show_prompt, show_text
from retorno.web.site import Status, Visit, frame, key_button, on_key, progress_line

RATINGS = 7
"""From 1 to so many, as in Ouyang et al. 2022."""
KEYS = (
    ("1 … 9", "key_digit"),
    ("=", "key_tie"),
    ("r", "key_rest"),
    ("0", "key_bad"),
    ("Shift 1 … 7", "key_rate"),
    ("⌫ z", "key_undo"),
    ("Enter", "key_save"),
    ("s", "key_skip"),
)


def page(visit: Visit) -> None:
    """Build it."""
    with frame(visit, "rank", KEYS):
        ranking = Ranking(visit)
    on_key(ranking.key)
    ui.timer(0, ranking.desk.next, once=True)
    ui.timer(AGAIN, ranking.desk.wait)


class Ranking:
    """One person's ranking page."""

    def __init__(self, visit: Visit) -> None:
        """Place it here."""
        self.visit = visit
        self.draft = Draft(Order(0))
        self.ratings: list[int | None] = []
        self.shown: list[int] = []
        """The answers in the order in which they are shown: the first has key 1."""
        self.touched: int | None = None
        self.cards: list[Card] = []
        say = visit.say
        ui.label(say("rank_task")).classes("task")
        refresh = progress_line(visit, "ranking")
        self.empty = ui.element("div").classes("empty")
        with self.empty:
            self.why = ui.label()
            ui.label(say("comes")).classes("muted")
        self.work = ui.element("div").classes("work")
        with self.work:
            self.prompt = ui.element("div")
            with ui.element("div").classes("columns"):
                with ui.element("section").classes("ranked"):
                    ui.label(say("best_first")).classes("head")
                    self.ranked = ui.column().classes("cards").props(f'data-empty="{say("drag_here")}"')
                with ui.element("section").classes("rest"):
                    ui.label(say("not_ranked")).classes("head")
                    self.rest = ui.column().classes("cards").props(f'data-empty="{say("none_left")}"')
            for column in (self.ranked, self.rest):
                column.make_sortable(
                    {"filter": "button,.q-rating", "preventOnFilter": False, "delay": 150, "delayOnTouchOnly": True},
                    on_end=self.dropped,
                    group="answers",
                )
        with ui.element("footer").classes("dock") as self.dock:
            self.status = Status(visit)
            with ui.element("div").classes("actions"):
                key_button(visit, "save", "Enter", self.save).props("unelevated")
                key_button(visit, "tie", "=", self.tie).props("outline")
                key_button(visit, "rest_worse", "r", self.rest_worse).props("outline")
                key_button(visit, "all_bad", "0", self.all_bad).props("outline")
                key_button(visit, "undo", "⌫", self.undo).props("flat").classes("undo")
                key_button(visit, "skip", "s", lambda: self.desk.skip()).props("flat")
        self.desk = Desk(visit, "ranking", self.status, self._ask, refresh)
        self._show()

    @property
    def order(self) -> Order:
        """So far."""
        return self.draft.order

    async def key(self, key: str) -> None:
        """What a key does."""
        if self.desk.query is None and key not in ("Backspace", "z"):
            return
        match key:
            case "Backspace" | "z":
                await self.undo()
            case "Enter":
                await self.save()
            case "s":
                await self.desk.skip()
            case _ if key.startswith("Shift+"):
                if self.touched is not None and 1 <= int(key[6:]) <= RATINGS:
                    self.rate(self.touched, int(key[6:]))
            case _:
                if key.isdecimal() and 1 <= int(key) <= len(self.shown):
                    self.touched = self.shown[int(key) - 1]
                self._becomes(self.order.pressed(key, self.shown))

    def choose(self, answer: int) -> None:
        """The next best one, or out of the ranking."""
        self.touched = answer
        self._becomes(self.order.choose(answer))

    def tie(self, answer: int | None = None) -> None:
        """It is as good as the one above, or no longer."""
        self._becomes(self.order.tie(answer))

    def rest_worse(self) -> None:
        """All others are below."""
        self._becomes(self.order.rest_is_worse())

    def all_bad(self) -> None:
        """None of them will do."""
        self._becomes(self.order.bad())

    def dropped(self, event: Any) -> None:
        """A card was drawn to a place."""
        card = next(card for card in self.cards if card.element is event.item)
        self.touched = card.answer
        if event.target is not self.ranked:
            return self._becomes(self.order.drop(card.answer, None))
        self._becomes(self.order.drop(card.answer, event.new_index))

    def rate(self, answer: int, rating: int | None) -> None:
        """How good it is, by itself."""
        self.touched = answer
        self.ratings[answer] = rating or None
        self._show()

    def _becomes(self, order: Order) -> None:
        if self.desk.busy:
            return
        self.draft.becomes(order)
        self._show()

    async def undo(self) -> None:
        """Take back the last step; where there is none, the label before."""
        if not self.draft.back():
            return await self.desk.undo()
        self._show()

    async def save(self) -> None:
        """Write the ranking."""
        if not self.order.says_something:
            return self.status.hint("rank_first")
        said: dict[str, Any] = {"ranks": self.order.ranks, "shown": self.shown}
        if any(self.ratings):
            said["ratings"] = self.ratings
        if self.order.all_bad:
            said["all_bad"] = True
        await self.desk.save(said)

    def _ask(self, query: Query | None, said: Mapping[str, Any] | None) -> None:
        """Show a query, and what was said of it; or that there is none."""
        answers = [] if query is None else query.content["answers"]
        self.touched = None
        self.draft = Draft(Order(len(answers)))
        self.ratings = [None for _ in answers]
        if said is not None:
            self.draft = Draft(Order.of(said["ranks"], bool(said.get("all_bad"))))
            self.ratings = list(said.get("ratings") or self.ratings)
        self.shown = [] if query is None else shown_order(query.id, self.visit.labeller, len(answers))
        self.prompt.clear()
        self.ranked.clear()
        self.rest.clear()
        self.cards = []
        if query is not None:
            with self.prompt:
                show_prompt(query.content["prompt"], self.visit.language)
            with self.rest:
                self.cards = [
                    Card(self, answer, key, answers[answer]) for key, answer in enumerate(self.shown, start=1)
                ]
        self._show()

    def _show(self) -> None:
        """Every card where it belongs."""
        self.empty.set_visibility(self.desk.query is None)
        self.work.set_visibility(self.desk.query is not None)
        self.dock.classes(**{"add" if self.desk.query is None else "remove": "idle"})
        if self.desk.query is None:
            questions = self.visit.site.questions
            failure = questions.failure if questions is not None else None
            writing = questions is not None and not questions.used_up
            self.why.set_text(
                self.visit.say("failed", why=failure)
                if failure
                else self.visit.say("working" if writing else "nothing_asked")
            )
            return
        by_answer = {card.answer: card for card in self.cards}
        ranks, ranked = self.order.ranks, self.order.ranked
        for column, answers in ((self.ranked, ranked), (self.rest, [a for a in self.shown if a not in ranked])):
            wanted = [by_answer[answer].element for answer in answers]
            if list(column) != wanted:
                for element in wanted:
                    element.move(column)
        for card in self.cards:
            above = card.answer in ranked and card.answer != ranked[0]
            tied = above and ranks[card.answer] == ranks[ranked[ranked.index(card.answer) - 1]]
            card.show(ranks[card.answer], above, tied, self.ratings[card.answer], card.answer == self.touched)
        if self.order.all_bad:
            self.status.hint("is_all_bad")
        elif self.order.rest and self.order.says_something:
            self.status.hint("left_out")
        elif self.draft.begun or self.order.ranked:
            self.status.hint("")


class Card:
    """One answer."""

    def __init__(self, ranking: Ranking, answer: int, key: int, text: str) -> None:
        """Place it here."""
        self.answer = answer
        say = ranking.visit.say
        with ui.element("article").classes("card") as self.element:
            self.element.on("click", lambda: ranking.choose(answer))
            with ui.element("div").classes("top"):
                ui.label(str(key)).classes("key")
                self.rank = ui.label().classes("rank")
                self.link = ui.button("=", on_click=lambda: ranking.tie(answer)).props("flat dense round size=sm")
                self.link.props(f'aria-label="{say("tie_above")}" title="{say("tie_above")}"').classes("link")
                self.stars = ui.rating(max=RATINGS, size="1.1rem", icon="star_border", icon_selected="star").props(
                    f'aria-label="{say("rating")}"'
                )
                self.stars.on("click", js_handler="(event) => event.stopPropagation()")
                self.link.on("click", js_handler="(event) => event.stopPropagation()")
                self.stars.on_value_change(lambda event: self._rated(ranking, event.value))
            show_text(text, ranking.visit.language)

    def _rated(self, ranking: Ranking, value: float | None) -> None:
        rating = int(value) if value else None
        if ranking.ratings[self.answer] != rating:
            ranking.rate(self.answer, rating)

    def show(self, rank: int | None, above: bool, tied: bool, rating: int | None, touched: bool) -> None:
        """Where it stands."""
        self.rank.set_text("" if rank is None else f"{rank + 1}.")
        self.link.set_visibility(above)
        for name, on in (("placed", rank is not None), ("tied", tied), ("touched", touched)):
            self.element.classes(**({"add": name} if on else {"remove": name}))
        self.stars.set_value(rating or 0)
