"""A database of labels, made or brought to today's version when it is opened."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retorno.core.errors import RetornoError


class LabelsError(RetornoError):
    """Something about labels that their user can mend."""


try:
    import sqlalchemy as sa
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import event, exc
except ImportError as error:
    raise LabelsError(f"labels need {error.name}: pip install 'retorno[web]'") from error

FOLDER = Path(__file__).parent / "migrations"
PATIENCE = 30
"""Seconds that a write waits for other writers."""


def is_url(where: str | Path) -> bool:
    """Whether a place is a database's URL and not a file.

    >>> is_url("postgresql://localhost/labels"), is_url("runs/x/labels.db")
    (True, False)
    """
    return isinstance(where, str) and "://" in where


def engine_of(where: str | Path) -> sa.Engine:
    """What speaks to a database: a file of SQLite, made if it is not there, or a URL such as PostgreSQL's.

    Raises:
        LabelsError: when nothing can be opened there, something else lies there, or a newer retorno made it.
    """
    if is_url(where):
        engine = _by_url(str(where))
    else:
        path = Path(where)
        if path.is_dir():
            raise LabelsError(f"{path} is a folder; labels are in a file: {path / 'labels.db'}")
        if not path.parent.is_dir():
            raise LabelsError(f"{path}: there is no folder {path.parent}: make it, or give another file for the labels")
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)), poolclass=sa.NullPool, connect_args={"timeout": PATIENCE}
        )
        event.listen(engine, "connect", _as_we_begin)
        event.listen(engine, "begin", _at_once)
    with told(where):
        _upgrade(engine, where)
    return engine


def _by_url(url: str) -> sa.Engine:
    try:
        engine = sa.create_engine(url, pool_pre_ping=True)
    except (exc.ArgumentError, exc.NoSuchModuleError) as error:
        raise LabelsError(f"not a database's URL: {shown(url)}; such as postgresql://localhost/labels") from error
    except ImportError as error:
        raise LabelsError(f"{shown(url)} needs {error.name}: pip install 'retorno[web]' psycopg[binary]") from error
    if engine.dialect.name != "postgresql":
        raise LabelsError(
            f"{shown(url)}: labels are in a file of SQLite, or in PostgreSQL: postgresql://localhost/labels"
        )
    return engine


def shown(where: str | Path) -> str:
    """A place without its password."""
    return sa.make_url(str(where)).render_as_string() if is_url(where) and _readable(str(where)) else str(where)


def _readable(url: str) -> bool:
    with contextlib.suppress(exc.ArgumentError):
        return bool(sa.make_url(url))
    return False


def _as_we_begin(connection: Any, _: object) -> None:
    # The driver would begin transactions by itself, and late: two who read first would both write.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")


def _at_once(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reads") else "BEGIN IMMEDIATE")


@contextlib.contextmanager
def told(where: str | Path) -> Iterator[None]:
    """What goes wrong inside is told as of this place, without the library's words around it."""
    try:
        yield
    except exc.DBAPIError as error:
        what = " ".join(str(error.orig).split())
        advice = {
            "file is not a database": "something else lies there: give another file",
            "database is locked": f"another program has held it for {PATIENCE} seconds: end that, then try again",
            "unable to open database file": "the file cannot be made or opened: look at its folder and its rights",
            "readonly": "the file or its folder may not be written to",
            "disk is full": "make room on the disk, then try again",
        }
        more = next((f"; {each}" for sign, each in advice.items() if sign in what), "")
        raise LabelsError(f"labels in {shown(where)}: {what}{more}") from error


def _upgrade(engine: sa.Engine, where: str | Path) -> None:
    """Today's tables: made, or changed from those of an older version, of which a copy is kept beside a file."""
    scripts = _scripts()
    today = scripts.get_current_head()
    with engine.connect().execution_options(reads=True) as connection:
        if MigrationContext.configure(connection).get_current_revision() == today:
            return
    with engine.begin() as connection:
        version = MigrationContext.configure(connection).get_current_revision()
        if version == today:  # Another program was faster.
            return
        there = sa.inspect(connection).get_table_names()
        if version is None and there:
            raise LabelsError(
                f"{shown(where)} is a database of something else, with tables {', '.join(sorted(there)[:5])}: "
                "give another"
            )
        known = [script.revision for script in scripts.walk_revisions()]
        if version is not None and version not in known:
            raise LabelsError(
                f"{shown(where)} holds labels of version {version}, and this retorno knows versions up to {today}: "
                "update retorno"
            )
        if version is not None and not is_url(where):
            # Nobody writes now: the transaction has begun.
            shutil.copyfile(where, Path(where).with_name(f"{Path(where).name}.version-{version}"))
        steps = lambda revision, _: scripts._upgrade_revs("head", revision)  # noqa: E731 (as alembic's manual has it)
        with EnvironmentContext(Config(), scripts, fn=steps) as environment:
            environment.configure(connection=connection)
            environment.run_migrations()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(FOLDER), version_locations=[str(FOLDER)])
