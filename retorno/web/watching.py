"""The page of runs: which there are, how they go, how they look side by side; it follows them as they grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from nicegui import run, ui
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from retorno.core.names import as_typed
from retorno.web.site import Visit, frame
from retorno.web.watched import SHOWN, Watched, file_of, files, open_pages, told, unfinished

if TYPE_CHECKING:
    from retorno.plots.records import Record

AGAIN = 2.0
"""Seconds between two looks at the files."""
FIRST = 4
"""Runs that are drawn until somebody chooses."""
LINES = 20
"""Runs of one page of the list."""
PHONE = 700
"""Pixels of a window below which it is one."""


def page(visit: Visit) -> None:
    """Build it."""
    with frame(visit, "runs"):
        watching = Watching(visit)
    ui.timer(0.05, watching.begin, once=True)
    ui.timer(AGAIN, watching.look)


class Watching:
    """One person's look at the runs."""

    def __init__(self, visit: Visit) -> None:
        """Place it here."""
        self.visit, say = visit, visit.say
        self.records: dict[str, Record] = {}
        self.shown: Any = None
        self.narrow = False
        self.chosen = False
        self.count = ui.label(say("loading_runs")).classes("progress muted")
        with ui.element("div").classes("finder"):
            self.find = ui.input(placeholder=say("find_runs")).props("dense outlined clearable").classes("wide")
        columns = [
            {"name": name, "label": say(f"run_{name}"), "field": name, "sortable": True, "align": align}
            for name, align in (
                ("name", "left"),
                ("algorithm", "left"),
                ("world", "left"),
                ("state", "left"),
                ("progress", "right"),
                ("return", "right"),
                ("rate", "right"),
            )
        ]
        # Sorted by what they are, not by how they are written.
        for column in columns:
            if column["name"] in ("progress", "return", "rate"):
                column[":format"] = "(value, row) => row.told[" + repr(column["name"]) + "]"
        columns[3][":format"] = "(value, row) => row.told.state"
        self.table = ui.table(
            columns=columns, rows=[], row_key="name", selection="multiple", pagination={"rowsPerPage": LINES}
        ).classes("runs")
        self.table.props('flat dense :grid="$q.screen.lt.sm" :rows-per-page-options="[20, 50, 200]"')
        self.table.bind_filter_from(self.find, "value", lambda text: text or "")
        self.table.on_select(self._select)
        self.curves = ui.element("div").classes("charts")
        self.details = ui.element("div").classes("details")

    @property
    def watched(self) -> Watched:
        """The runs that the site is about."""
        assert self.visit.site.watched is not None
        return self.visit.site.watched

    async def begin(self) -> None:
        """How wide it is seen, then the first look."""
        self.narrow = int(await ui.run_javascript("window.innerWidth", timeout=5)) < PHONE
        await self.look()

    async def _select(self) -> None:
        self.chosen = True
        await self.draw()

    async def look(self) -> None:
        """Bring the list and what is drawn up to date."""
        found = await run.io_bound(lambda: self._lines())
        if found is None:
            return
        self.records, lines = found
        say = self.visit.say
        going = sum(line["state"] == "under_way" for line in lines)
        self.count.set_text(say("runs_count", count=f"{len(lines):,}", going=f"{going:,}") if lines else say("no_runs"))
        if lines != self.table.rows:
            self.table.rows = lines
            if not self.chosen:
                self.table.selected = lines[:FIRST]
        await self.draw()

    def _lines(self) -> tuple[dict[str, Record], list[dict[str, Any]]]:
        records = self.watched.records()
        return records, [self._line(self.watched.line(name, record)) for name, record in records.items()]

    def _line(self, line: dict[str, Any]) -> dict[str, Any]:
        """With what its numbers are told as."""
        written = {
            "state": self.visit.say(line["state"]),
            "progress": f"{line['step']:,} ({line['share']:.0%})",
            "return": told(line["return"]),
            "rate": told(line["rate"], 3),
        }
        return {**line, "progress": line["share"], "told": written}

    async def draw(self) -> None:
        """What is chosen, where it is not drawn already."""
        names = [line["name"] for line in self.table.selected if line["name"] in self.records]
        chosen = [self.records[name] for name in names]
        served = await run.io_bound(lambda: [open_pages(each.folder) for each in chosen]) or []
        key = [
            (name, len(record.rows), record.under_way, pages)
            for name, record, pages in zip(names, chosen, served, strict=True)
        ]
        if key == self.shown:
            return
        self.shown = key
        drawn = await run.io_bound(lambda: (self.watched.drawn(chosen, self.narrow), [files(x.folder) for x in chosen]))
        if drawn is None or key != self.shown:
            return
        (pictures, differ), shown = drawn
        self.curves.clear()
        with self.curves:
            if chosen and not pictures:
                ui.label(self.visit.say("no_figures")).classes("muted")
            for picture in pictures:
                ui.html(f'<div class="chart">{picture}</div>', sanitize=False)
            if differ is not None:
                ui.label(self.visit.say("differ")).classes("title")
                ui.html(_as_html(differ.head, differ.rows), sanitize=False)
        self.details.clear()
        with self.details:
            for name, record, media, pages in zip(names, chosen, shown, served, strict=True):
                self._detail(name, record, media, pages)

    def _detail(self, name: str, record: Record, media: Sequence[str], pages: Mapping[str, str]) -> None:
        """One run: its newest figures, films and pictures, and what opens its pages."""
        say = self.visit.say
        for page, address in pages.items():
            ui.link(f"{name}: {say(page)}", address, new_tab=True).classes("open")
        with ui.expansion(name).classes("run"):
            if record.failure:
                ui.label(record.failure).classes("bad")
            if record.rows:
                last = record.rows[-1]
                figures = {key: value for key, value in (last.get("metrics") or {}).items()}
                rows = [[key.replace("_", " "), told(value)] for key, value in figures.items() if _is_number(value)]
                ui.html(_as_html([say("newest_figures"), f"{last['step']:,}"], rows), sanitize=False)
            for file in media:
                address = f"/file?run={quote(name)}&file={quote(file)}"
                if file.endswith((".gif", ".png", ".svg")):
                    with ui.element("figure").classes("film"):
                        ui.html(f'<img src="{escape(address)}" alt="{escape(file)}" loading="lazy">', sanitize=False)
                        ui.label(file).classes("muted")
                elif file.endswith(".mp4"):
                    film = f'<video src="{escape(address)}" controls muted preload="none"></video>'
                    ui.html(film, sanitize=False)
                else:
                    ui.link(file, address, new_tab=True)
            ui.label(say("its_pages")).classes("muted")
            for command in _commands(record):
                ui.label(command).classes("command")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _commands(record: Record) -> list[str]:
    """What opens the pages of a run, and goes on with it."""
    where = as_typed(record.folder)
    judge = ((record.config.get("relabel") or {}).get("judge") or {}).get("type")
    asks = [f"retorno compare {where}"] if judge == "People" else []
    on = [f"retorno resume {where}"] if unfinished(record) else []
    return [*asks, f"retorno report {where}", f"retorno play {where}", *on]


def _as_html(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    above = "".join(f"<th>{escape(each)}</th>" for each in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    inside = f"<thead><tr>{above}</tr></thead><tbody>{lines}</tbody>"
    return f'<div class="scrolls"><table class="plain">{inside}</table></div>'


def file(request: Request) -> Response:
    """A film, picture or report of a run, and nothing else."""
    watched = request.scope["retorno"].watched
    name, wanted = request.query_params.get("run", ""), request.query_params.get("file", "")
    record = None if watched is None else watched.records().get(name)
    found = None if record is None or "\0" in wanted else file_of(record.folder, wanted)
    if found is None:
        return PlainTextResponse("retorno: there is no such file\n", 404)
    # What a report or a drawing holds is shown, and no script of it runs.
    safe = {"content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"}
    return FileResponse(found, media_type=SHOWN[found.suffix.lower()], headers=safe)
