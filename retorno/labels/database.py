"""Queries that are lent to people, and their labels: each is in the database before anybody is told that it is saved.

A query wants so many labels, of as many people. It is lent to one of them at a time for each label that it still wants,
and comes back when the time of the loan is over. What a person says of a query replaces what the same person said of it
before; nothing is deleted, what is replaced or undone is marked as withdrawn.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from retorno.labels.opening import LabelsError, engine_of, shown, told

try:
    import sqlalchemy as sa

    from retorno.labels.tables import labels, loans, queries, skips
except ImportError as error:  # pragma: no cover (opening says so first)
    raise LabelsError("labels need sqlalchemy: pip install 'retorno[web]'") from error

LOAN = 900.0
"""Seconds after which a query that was lent comes back."""
LONGEST_NAME = 60
"""Characters of a labeller's name."""
PAGE = 500
"""Labels that are read from the database at a time."""


class Query(NamedTuple):
    """Something that people are asked."""

    id: int
    kind: str
    """`ranking`, `demonstration`, `chat`, `comparison` or `segments`."""
    content: dict[str, Any]
    """What is asked: prompt, answers, …"""


class Label(NamedTuple):
    """What one person said of a query."""

    id: int
    labeller: str
    content: dict[str, Any]
    seconds: float | None
    """How long it took, where that is known."""
    made: float
    """Seconds since 1970."""


class Labelled(NamedTuple):
    """A label with what was asked."""

    query: Query
    label: Label


class Taken(NamedTuple):
    """A label that was given elsewhere, with what was asked."""

    kind: str
    asked: dict[str, Any]
    labeller: str
    said: dict[str, Any]
    seconds: float | None


class Progress(NamedTuple):
    """How far the labelling of one kind of query is."""

    labels: int
    """That count."""
    mine: int
    """Of one labeller."""
    open: int
    """Queries that still want a label."""


@dataclass(frozen=True)
class Labels:
    """A database of labels, open: any number of threads and processes may use it at once."""

    where: str | Path
    """A file of SQLite, or a URL."""
    engine: sa.Engine

    @classmethod
    def open(cls, where: str | Path) -> Labels:
        """Open a database of labels; make it where there is none, change it where an older retorno made it.

        Raises:
            LabelsError: when nothing can be opened there, something else lies there, or a newer retorno made it.
        """
        return cls(where, engine_of(where))

    def close(self) -> None:
        """Let go of its connections."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """One transaction, after those of all others; on the disk once it is left."""
        with told(self.where), self.engine.begin() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            yield connection

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with told(self.where), self.engine.connect().execution_options(reads=True) as connection:
            yield connection

    def add(self, kind: str, contents: Iterable[Mapping[str, Any]], wanted: int = 1) -> list[int]:
        """Queries to ask: their numbers, in order. What was added before is the same query again.

        Args:
            kind: of all of them.
            contents: what is asked by each.
            wanted: how many labels each shall get, of as many people; of what was added before, at least so many.
        """
        if wanted < 0:
            raise LabelsError(f"a query wants 0 labels or more, got {wanted}")
        with self._writing() as connection:
            return [_add(connection, kind, dict(content), wanted) for content in contents]

    def keep_only(self, kind: str, ids: Iterable[int]) -> None:
        """Ask no other queries of this kind from now on: their prompts are gone. Labels that they have stay."""
        asked = set(ids)
        with self._writing() as connection:
            of_kind = connection.execute(sa.select(queries.c.id, queries.c.withdrawn).where(queries.c.kind == kind))
            for query, withdrawn in of_kind.all():
                if withdrawn == (query in asked):
                    connection.execute(
                        queries.update().where(queries.c.id == query).values(withdrawn=query not in asked)
                    )

    def lend(self, kind: str, labeller: str, seconds: float = LOAN, again: bool = False) -> Query | None:
        """A query for a person: the one that was lent to them before and is not labelled, else the first that is free.

        Args:
            kind: of the query.
            labeller: who is to answer it.
            seconds: how long nobody else is lent it in this label's place.
            again: what they skipped comes to them again once nothing else is left, as where somebody waits for it.

        Returns:
            None where there is none.
        """
        who, now = checked_name(labeller), time.time()
        mine = loans.c.labeller == who
        with self._writing() as connection:
            connection.execute(loans.delete().where(loans.c.until <= now))
            of = lambda table: table.c.query_id == queries.c.id  # noqa: E731
            said = sa.exists().where(of(labels), labels.c.labeller == who, labels.c.withdrawn.is_(None))
            skipped = sa.exists().where(of(skips), skips.c.labeller == who)
            others = sa.select(sa.func.count()).select_from(loans).where(of(loans), ~mine).scalar_subquery()
            free = (
                sa.select(queries)
                .where(queries.c.kind == kind, ~queries.c.withdrawn, ~said, ~skipped)
                .where(queries.c.missing > 0, queries.c.missing > others)
                .order_by(sa.exists().where(of(loans), mine).desc(), queries.c.id)
                .limit(1)
            )
            row = connection.execute(free).first()
            if row is None and again:
                of_kind = sa.select(queries.c.id).where(queries.c.kind == kind)
                connection.execute(skips.delete().where(skips.c.labeller == who, skips.c.query_id.in_(of_kind)))
                row = connection.execute(free).first()
            if row is None:
                return None
            _lend(connection, row.id, who, now + seconds)
            return _query(row)

    def give_back(self, query: int, labeller: str) -> None:
        """Let others have what was lent to this person."""
        with self._writing() as connection:
            _give_back(connection, query, checked_name(labeller))

    def skip(self, query: int, labeller: str) -> None:
        """Lend this person the query no more, or only `again`; others may have it."""
        who = checked_name(labeller)
        with self._writing() as connection:
            self._held(connection, query)
            _give_back(connection, query, who)
            mine = (skips.c.query_id == query) & (skips.c.labeller == who)
            connection.execute(skips.delete().where(mine))
            connection.execute(skips.insert().values(query_id=query, labeller=who))

    def save(self, query: int, labeller: str, content: Mapping[str, Any], seconds: float | None = None) -> Label:
        """Write what a person says of a query; it is on the disk when this returns.

        A loan is not needed: what somebody worked on longer than it lasted counts as well. The same said again is the
        same label; something else takes the place of what the person said before.

        Raises:
            LabelsError: when there is no such query, or the database cannot be written.

        Args:
            query: its number.
            labeller: who says it.
            content: what is said.
            seconds: how long it took.
        """
        with self._writing() as connection:
            return self._save(connection, query, checked_name(labeller), content, seconds)

    def take(self, given: Iterable[Taken]) -> None:
        """Write labels that were given elsewhere, with what was asked: all, or none where something is wrong."""
        with self._writing() as connection:
            for each in given:
                query = _add(connection, each.kind, each.asked, wanted=0)
                self._save(connection, query, checked_name(each.labeller), each.said, each.seconds)

    def _save(
        self, connection: sa.Connection, query: int, who: str, content: Mapping[str, Any], seconds: float | None
    ) -> Label:
        self._held(connection, query)
        written = _json(content)
        before = connection.execute(_standing(query, who)).first()
        _give_back(connection, query, who)
        if before is not None and before.content == written:
            return _label(before)
        if before is not None:
            _withdraw(connection, before.id, query)
        made = time.time()
        put = labels.insert().values(
            query_id=query, labeller=who, content=written, seconds=seconds, made=made, withdrawn=None
        )
        number = connection.execute(put).inserted_primary_key
        assert number is not None
        connection.execute(_missing(query, -1))
        return Label(number[0], who, dict(content), seconds, made)

    def undo(self, kind: str, labeller: str, seconds: float = LOAN) -> Labelled | None:
        """Take back the newest label of a person, and lend them its query again.

        Returns:
            What was asked and said; None where the person has said nothing.
        """
        who = checked_name(labeller)
        newest = (
            sa.select(labels)
            .join(queries)
            .where(labels.c.labeller == who, labels.c.withdrawn.is_(None), queries.c.kind == kind)
            .order_by(labels.c.id.desc())
            .limit(1)
        )
        with self._writing() as connection:
            label = connection.execute(newest).first()
            if label is None:
                return None
            query = self._held(connection, label.query_id)
            _withdraw(connection, label.id, label.query_id)
            # What else was lent comes back, so that lending again gives this one.
            connection.execute(
                loans.delete().where(
                    loans.c.labeller == who, loans.c.query_id.in_(sa.select(queries.c.id).where(queries.c.kind == kind))
                )
            )
            _lend(connection, label.query_id, who, time.time() + seconds)
        return Labelled(query, _label(label))

    def withdraw(self, query: int, labeller: str) -> None:
        """Take back what a person said of a query, if anything."""
        who = checked_name(labeller)
        with self._writing() as connection:
            label = connection.execute(_standing(query, who)).first()
            if label is not None:
                _withdraw(connection, label.id, query)

    def labelled(self, kind: str | None = None, until: float | None = None) -> Iterator[Labelled]:
        """All labels that count, in the order in which they were given, with what was asked.

        Args:
            kind: of the queries; None for all of them.
            until: the labels as they stood at that time, in seconds since 1970: nothing that was said is deleted, so
                they are the same ones for ever. None for now.
        """
        last = 0
        standing = labels.c.withdrawn.is_(None)
        if until is not None:
            standing = (labels.c.made <= until) & (standing | (labels.c.withdrawn > until))
        while True:
            columns = [*queries.c, *(column.label(f"label_{column.name}") for column in labels.c)]
            some = sa.select(*columns).join(labels).where(standing, labels.c.id > last)
            if kind is not None:
                some = some.where(queries.c.kind == kind)
            with self._reading() as connection:
                rows = connection.execute(some.order_by(labels.c.id).limit(PAGE)).all()
            for row in rows:
                content = json.loads(row.label_content)
                label = Label(row.label_id, row.label_labeller, content, row.label_seconds, row.label_made)
                yield Labelled(_query(row), label)
            if len(rows) < PAGE:
                return
            last = rows[-1].label_id

    def said_of(self, ids: Iterable[int]) -> dict[int, Label]:
        """What was said of some queries, by their numbers; the newest label of each that has any.

        Args:
            ids: their numbers.
        """
        standing = labels.select().where(labels.c.query_id.in_(list(ids)), labels.c.withdrawn.is_(None))
        with self._reading() as connection:
            return {row.query_id: _label(row) for row in connection.execute(standing.order_by(labels.c.id)).all()}

    def queries(self, kind: str) -> list[Query]:
        """All queries of a kind that were ever added, in order."""
        with self._reading() as connection:
            rows = connection.execute(queries.select().where(queries.c.kind == kind).order_by(queries.c.id)).all()
        return [_query(row) for row in rows]

    def progress(self, kind: str, labeller: str) -> Progress:
        """How far the labelling is."""
        standing = sa.select(sa.func.count()).select_from(labels).where(labels.c.withdrawn.is_(None))
        # Nearly all are of one kind: the others are taken off, and no query of theirs is looked up for each label.
        others = sa.select(queries.c.id).where((queries.c.kind < kind) | (queries.c.kind > kind))
        of_others = standing.where(labels.c.query_id.in_(others))
        # A sum, so that SQLite counts by the index of what stands, and reads no label.
        mine = (labels.c.labeller + "") == labeller
        wanting = sa.select(sa.func.count()).select_from(queries)
        wanting = wanting.where(queries.c.kind == kind, queries.c.missing > 0, ~queries.c.withdrawn)
        with self._reading() as connection:
            count = lambda what: connection.execute(what).scalar_one()  # noqa: E731
            return Progress(
                count(standing) - count(of_others),
                count(standing.where(mine)) - count(of_others.where(labels.c.labeller == labeller)),
                count(wanting),
            )

    def _held(self, connection: sa.Connection, query: int) -> Query:
        row = connection.execute(queries.select().where(queries.c.id == query)).first()
        if row is None:
            raise LabelsError(
                f"labels in {shown(self.where)}: no query {query} (any more): whoever answers it is to ask for another"
            )
        return _query(row)


_LOCK = 7_368_353
"""The number of the lock that writers on PostgreSQL share."""


def checked_name(labeller: str) -> str:
    """A labeller's name as it is stored.

    Raises:
        LabelsError: when it is empty, too long, or cannot be read.

    >>> checked_name(" Ana ")
    'Ana'
    """
    name = labeller.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise LabelsError(f"a labeller's name has 1 to {LONGEST_NAME} letters, digits or signs, got {labeller[:80]!r}")
    return name


def _json(content: Mapping[str, Any]) -> str:
    """Content as it is stored and compared."""
    return json.dumps(dict(content), ensure_ascii=True, sort_keys=True, allow_nan=False)


def _add(connection: sa.Connection, kind: str, content: dict[str, Any], wanted: int) -> int:
    written = _json(content)
    key = hashlib.sha256(_json({"kind": kind, "asked": _asked(content)}).encode()).hexdigest()
    there = connection.execute(sa.select(queries.c.id, queries.c.missing).where(queries.c.key == key)).first()
    if there is None:
        put = queries.insert().values(
            kind=kind, key=key, content=written, missing=wanted, withdrawn=False, added=time.time()
        )
        number = connection.execute(put).inserted_primary_key
        assert number is not None
        return number[0]
    said = sa.select(sa.func.count()).where(labels.c.query_id == there.id, labels.c.withdrawn.is_(None))
    if (more := wanted - connection.execute(said).scalar_one()) > there.missing:
        connection.execute(_missing(there.id, more - there.missing))
    return there.id


def _asked(content: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a query the one it is: the same answers by another model, or with other scores, are the same query."""
    return {name: value for name, value in content.items() if name in ("prompt", "answers", "answer", "segments")}


def _query(row: Any) -> Query:
    return Query(row.id, row.kind, json.loads(row.content))


def _label(row: Any) -> Label:
    return Label(row.id, row.labeller, json.loads(row.content), row.seconds, row.made)


def _standing(query: int, who: str) -> sa.Select:
    return sa.select(labels).where(labels.c.query_id == query, labels.c.labeller == who, labels.c.withdrawn.is_(None))


def _missing(query: int, change: int) -> sa.Update:
    return queries.update().where(queries.c.id == query).values(missing=queries.c.missing + change)


def _withdraw(connection: sa.Connection, label: int, query: int) -> None:
    connection.execute(labels.update().where(labels.c.id == label).values(withdrawn=time.time()))
    connection.execute(_missing(query, +1))


def _give_back(connection: sa.Connection, query: int, who: str) -> None:
    connection.execute(loans.delete().where(loans.c.query_id == query, loans.c.labeller == who))


def _lend(connection: sa.Connection, query: int, who: str, until: float) -> None:
    _give_back(connection, query, who)
    connection.execute(loans.insert().values(query_id=query, labeller=who, until=until))
