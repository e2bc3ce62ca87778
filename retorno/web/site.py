"""The frame of all pages: what they are about, who looks at them, and what stands around each."""

from __future__ import annotations

import contextlib
import getpass
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from nicegui import run, ui
from starlette.requests import Request

from retorno.labels import Agreement, Labels, LabelsError, between_labellers, with_scores
from retorno.labels.database import LONGEST_NAME, checked_name
from retorno.preferences.clips import Clips
from retorno.preferences.given import LEVELS
from retorno.web.answering import Answering, Questions
from retorno.web.words import LANGUAGES, language_of, say

if TYPE_CHECKING:
    from retorno.web.playing import Table
    from retorno.web.watched import Watched

STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
KEYS = (Path(__file__).parent / "keys.js").read_text(encoding="utf-8")
PAGES = ("rank", "write", "chat")


@dataclass
class Site:
    """What a set of pages is about, and what they work with."""

    name: str
    """Of the run or file, as people know it."""
    kept: Labels | None = None
    """What people said, where pages ask them anything."""
    models: Sequence[Answering] = ()
    """Those to chat with; where there are two, blind."""
    questions: Questions | None = None
    """What makes more rankings to ask, if anything does."""
    pages: Sequence[str] = PAGES
    """Those that there are; the first is shown at `/`."""
    news: Callable[[], Mapping[str, float]] | None = None
    """How training goes: `step`, and `accuracy` of the reward model."""
    clips: Clips | None = None
    """What draws segments of behaviour, where these are compared."""
    at_once: int = 2
    """How many of them are compared at a time; one is rated by itself."""
    levels: int = LEVELS
    """From 1 to which one is rated."""
    task: str = ""
    """What is wanted of the agent, in words, for those who compare."""
    table: Table | None = None
    """What is played on the game page."""
    watched: Watched | None = None
    """Runs that are looked at."""
    _agreement: tuple[int, float, Agreement, Agreement] | None = field(default=None, init=False, repr=False)

    @property
    def labels(self) -> Labels:
        """What people said.

        Raises:
            LabelsError: when these pages ask nobody anything.
        """
        if self.kept is None:
            raise LabelsError(f"no labels are kept of {self.name}: its pages ask for none")
        return self.kept

    def agreement(self) -> tuple[Agreement, Agreement]:
        """Between labellers, and with the reward model; all labels are read only where there are new ones.

        Of many labels not at each new one: reading them takes a tenth of the time, or less.
        """
        count, now = self.labels.progress("ranking", "").labels, time.monotonic()
        if self._agreement is None or (self._agreement[0] != count and now > self._agreement[1]):
            said = list(self.labels.labelled("ranking"))
            both = between_labellers(said), with_scores(said)
            took = time.monotonic() - now
            self._agreement = (count, time.monotonic() + 10 * took, *both)
        return self._agreement[2:]


@dataclass(frozen=True)
class Visit:
    """Who looks at a page, and how they like it."""

    site: Site
    labeller: str
    language: str
    dark: bool | None
    """None is as the browser has it."""

    @classmethod
    def of(cls, request: Request) -> Visit:
        """The visit that a request belongs to."""
        kept: Mapping[str, str] = request.scope["retorno_visit"]
        language = kept.get("retorno_language", "")
        if language not in LANGUAGES:
            language = language_of(request.headers.get("accept-language", ""))
        dark = {"0": False, "1": True}.get(kept.get("retorno_dark", ""))
        try:
            who = checked_name(kept.get("retorno_name", "") or _user())
        except ValueError:
            who = _user()
        return cls(request.scope["retorno"], who, language, dark)

    def say(self, what: str, **values: object) -> str:
        """A sentence in the visitor's language."""
        return say(self.language, what, **values)

    def share(self, agreement: Agreement) -> Mapping[str, str]:
        """An agreement as the sentences want it."""
        return {"share": f"{agreement.share or 0:.0%}", "pairs": f"{agreement.pairs:,}"}


def _user() -> str:
    """Who works at this machine."""
    try:
        return checked_name(getpass.getuser()[:LONGEST_NAME])
    except Exception:
        return "me"


@contextlib.contextmanager
def frame(visit: Visit, here: str, keys: Sequence[tuple[str, str]] = ()) -> Iterator[None]:
    """A page: what is made inside stands between the head that all pages share and the edge.

    Args:
        visit: whose page it is.
        here: which page.
        keys: what its keys do: how they are written, and the name of the sentence that says it.
    """
    title = f"{visit.say(here)} · {visit.site.name}"
    ui.page_title(title)
    ui.dark_mode(visit.dark)
    ui.add_head_html(f"<style>{STYLE}</style><script>{KEYS}</script>")
    lost = json.dumps(visit.say("lost"))
    ui.add_head_html(
        f"<script>document.documentElement.lang = {json.dumps(visit.language)}; retornoLost({lost});</script>"
    )
    if visit.dark:
        ui.add_head_html("<style>html { background: #15181d; }</style>")
    with ui.element("header").classes("bar"):
        ui.label(visit.site.name).classes("site")
        with ui.element("nav"):
            for page in visit.site.pages:
                link = ui.link(visit.say(page), f"/{page}")
                if page == here:
                    link.classes("here").props('aria-current="page"')
        ui.element("div").classes("space")
        _name(visit, here)
        for code in LANGUAGES:
            if code != visit.language:
                address = f"/{here}?{urlencode({'language': code})}"
                ui.link(code.upper(), address).props(
                    f'title="{visit.say("language")}: {LANGUAGES[code]}" lang="{code}"'
                )
        _dark(visit, here)
        if keys:
            _keys(visit, keys)
    with ui.element("main").classes(f"page {here}"):
        yield


def _name(visit: Visit, here: str) -> None:
    """Who one is, and a way to be somebody else."""
    with ui.dialog() as dialog, ui.element("div").classes("sheet"):
        ui.label(visit.say("name")).classes("title")
        ui.label(visit.say("name_why")).classes("muted")
        good = lambda text: bool(text.strip()) and len(text.strip()) <= LONGEST_NAME and text.isprintable()  # noqa: E731
        given = ui.input(value=visit.labeller, validation={visit.say("name_wrong"): good}).classes("wide")
        given.props("outlined dense autofocus")

        def change() -> None:
            name = given.value or ""
            if good(name):
                ui.navigate.to(f"/{here}?{urlencode({'name': name.strip()})}")

        given.on("keydown.enter", change)
        with ui.element("div").classes("actions"):
            ui.button(visit.say("close"), on_click=dialog.close).props("flat no-caps")
            ui.button(visit.say("change"), on_click=change).props("unelevated no-caps")
    button = ui.button(visit.labeller, icon="person", on_click=dialog.open).props("flat dense no-caps").classes("who")
    button.props["aria-label"] = f"{visit.say('name')}: {visit.labeller}"


def _dark(visit: Visit, here: str) -> None:
    # Where the browser decides, it also knows what the other one is.
    script = f"location.href = '/{here}?dark=' + (document.body.classList.contains('body--dark') ? 0 : 1)"
    button = ui.button(icon="contrast").props(f'flat dense round aria-label="{visit.say("dark")}"')
    button.on("click", js_handler=f"() => {{ {script} }}")


def _keys(visit: Visit, keys: Sequence[tuple[str, str]]) -> None:
    with ui.dialog() as dialog, ui.element("div").classes("sheet"):
        ui.label(visit.say("keys")).classes("title")
        with ui.element("dl").classes("keys"):
            for key, what in keys:
                with ui.element("dt"):
                    for each in key.split():
                        ui.label(each).classes("key")
                with ui.element("dd"):
                    ui.label(visit.say(what))
        with ui.element("div").classes("actions"):
            ui.button(visit.say("close"), on_click=dialog.close).props("flat no-caps")
    button = ui.button(icon="keyboard", on_click=dialog.open).classes("help")
    button.props(f'flat dense round aria-label="{visit.say("keys")}"')
    on_key(lambda key: dialog.open() if key == "?" else None)


def on_key(handle: Callable[[str], Any]) -> None:
    """Call for each key that is pressed outside of fields; with Shift as `Shift+1`."""

    async def pressed(event: Any) -> None:
        done = handle(str(event.args))
        if done is not None and hasattr(done, "__await__"):
            await done

    ui.on("retorno_key", pressed)


def key_button(visit: Visit, what: str, key: str, act: Callable[..., Any]) -> ui.button:
    """A button, with the key that does the same."""
    with ui.button(on_click=act).props("no-caps dense") as button:
        ui.label(visit.say(what))
        ui.label(key).classes("key")
    return button


class Status:
    """One line that says what became of what somebody did; read aloud where pages are."""

    def __init__(self, visit: Visit) -> None:
        """Place it here."""
        self.visit = visit
        self.label = ui.label().classes("status").props('role="status" aria-live="polite"')

    def saved(self, what: str = "saved", **values: object) -> None:
        """It is in the database: a sentence that says so, by its name."""
        self._tell(self.visit.say(what, **values), "good")

    def failed(self, error: Exception) -> None:
        """It is not."""
        self._tell(self.visit.say("not_saved", why=error), "bad")

    def hint(self, what: str, **values: object) -> None:
        """A sentence by its name; none by an empty one."""
        self._tell(self.visit.say(what, **values) if what else "", "")

    def say(self, what: str, **values: object) -> None:
        """That something went wrong, by the name of its sentence."""
        self._tell(self.visit.say(what, **values), "bad")

    def _tell(self, text: str, kind: str) -> None:
        self.label.set_text(text)
        self.label.classes(remove="good bad", add=kind)


def progress_line(visit: Visit, kind: str) -> Callable[[], Any]:
    """A line on how far the labelling is, and how training goes; the function brings it up to date."""
    line = ui.label().classes("progress muted")

    async def refresh() -> None:
        line.set_text(" · ".join(await run.io_bound(told) or []))

    def told() -> list[str]:
        site = visit.site
        at = site.labels.progress(kind, visit.labeller)
        said = [
            visit.say("yours", count=f"{at.mine:,}"),
            visit.say("all_labels", count=f"{at.labels:,}"),
            visit.say("open", count=f"{at.open:,}"),
        ]
        if kind == "ranking":
            people, model = site.agreement()
            said += [visit.say("agree_people", **visit.share(people))] if people.pairs else []
            said += [visit.say("agree_model", **visit.share(model))] if model.pairs else []
        news = site.news() if site.news is not None else {}
        if "step" in news:
            said.append(visit.say("training", step=f"{int(news['step']):,}"))
        if "accuracy" in news:
            said.append(visit.say("accuracy", share=f"{news['accuracy']:.0%}"))
        return said

    return refresh
