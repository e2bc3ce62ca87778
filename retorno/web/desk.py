"""What one person works on: a query that is lent to them, saved, skipped or taken back while the page stays live."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nicegui import run

from retorno.labels import Labelled, LabelsError, Query
from retorno.web.site import Status, Visit

AGAIN = 1.0
"""Seconds after which somebody who waits for a query is asked for."""


class Desk:
    """The query that lies before one person, of one kind."""

    def __init__(
        self,
        visit: Visit,
        kind: str,
        status: Status,
        show: Callable[[Query | None, Mapping[str, Any] | None], None],
        refresh: Callable[[], Any],
        again: bool = False,
    ) -> None:
        """Nothing lies there yet.

        Args:
            visit: who works.
            kind: of the queries.
            status: where it is said what became of a label.
            show: shows a query, with what was said of it where that was taken back.
            refresh: brings the figures of the page up to date.
            again: what is skipped comes again once nothing else is left.
        """
        self.visit, self.kind, self.status, self.show, self.refresh = visit, kind, status, show, refresh
        self.again = again
        self.labels = visit.site.labels
        self.query: Query | None = None
        self.busy = False
        """Whether the database is asked: meanwhile nothing else is."""
        self.began = 0.0

    async def next(self) -> None:
        """The next query, if there is one."""
        lent = await self._do(partial(self.labels.lend, self.kind, self.visit.labeller, again=self.again))
        self._take(lent, None)
        await self.refresh()

    async def wait(self) -> None:
        """Where there was none, see whether there is one now."""
        if self.query is None and not self.busy:
            await self.next()

    async def save(self, said: Mapping[str, Any]) -> bool:
        """Write a label; when it is in the database that is said, and the next query comes: whether it is there."""
        if self.query is None or self.busy:
            return False
        took = time.monotonic() - self.began
        if await self._do(self.labels.save, self.query.id, self.visit.labeller, said, took) is None:
            return False
        self.status.saved()
        await self.next()
        return True

    async def skip(self) -> None:
        """Another one; this one comes to this person no more, or last."""
        if self.query is None or self.busy:
            return
        await self._do(self.labels.skip, self.query.id, self.visit.labeller)
        self.status.hint("")
        await self.next()

    async def undo(self) -> None:
        """Take back the label before, and show it again."""
        if self.busy:
            return
        undone: Labelled | None = await self._do(self.labels.undo, self.kind, self.visit.labeller)
        if undone is not None:
            self.status.hint("")
            self._take(undone.query, undone.label.content)
            await self.refresh()

    def _take(self, query: Query | None, said: Mapping[str, Any] | None) -> None:
        self.query, self.began = query, time.monotonic()
        self.show(query, said)

    async def _do(self, act: Any, *given: Any) -> Any:
        """Ask the database; what goes wrong is said, and the page stays as it is."""
        self.busy = True
        try:
            return await run.io_bound(act, *given)
        except LabelsError as error:
            self.status.failed(error)
            if self.query is not None and f"no query {self.query.id}" in str(error):
                self._take(None, None)  # It is gone: another comes.
        finally:
            self.busy = False
