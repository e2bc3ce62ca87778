"""The tables of a database of labels, as they are today; `migrations/` is how they came to be so."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text

metadata = MetaData()

queries = Table(
    "query",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    # The digest of kind and content: what is asked twice is one query.
    Column("key", Text, nullable=False, unique=True),
    # JSON, with nothing but ASCII in it: any text of a model can be stored, half a surrogate and a NUL too.
    Column("content", Text, nullable=False),
    # How many more labels it shall get.
    Column("missing", Integer, nullable=False),
    Column("withdrawn", Boolean, nullable=False),
    Column("added", Float, nullable=False),
    Index("query_wanting", "kind", "missing"),
)
labels = Table(
    "label",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("query_id", Integer, ForeignKey("query.id"), nullable=False, index=True),
    Column("labeller", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("seconds", Float),
    Column("made", Float, nullable=False),
    # When it was taken back or another of the same person took its place: no label is deleted.
    Column("withdrawn", Float),
    Index("label_of_labeller", "labeller", "id"),
)
Index(
    "label_once",
    labels.c.query_id,
    labels.c.labeller,
    unique=True,
    sqlite_where=labels.c.withdrawn.is_(None),
    postgresql_where=labels.c.withdrawn.is_(None),
)
loans = Table(
    "loan",
    metadata,
    Column("query_id", Integer, ForeignKey("query.id"), primary_key=True),
    Column("labeller", Text, primary_key=True),
    Column("until", Float, nullable=False),
)
skips = Table(
    "skip",
    metadata,
    Column("query_id", Integer, ForeignKey("query.id"), primary_key=True),
    Column("labeller", Text, primary_key=True),
)
