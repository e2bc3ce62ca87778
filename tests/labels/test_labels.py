"""Labels are lent once, kept for ever, and read back as they were said."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from retorno import labels as people
from retorno.labels import LabelsError
from retorno.labels.tables import metadata

HERONS = {"prompt": "what is a heron?", "answers": ["a bird", "a fish", "go away"]}
HOSTILE = '<script>alert(1)</script>\u202e\x00\ud800 "quoted" \U0001f600'


@pytest.fixture
def labels(tmp_path: Path) -> people.Labels:
    return people.Labels.open(tmp_path / "labels.db")


def asked(count: int) -> list[dict[str, object]]:
    return [{"prompt": f"word {i}?", "answers": ["yes", "no"]} for i in range(count)]


def test_a_query_is_lent_to_one_person_and_comes_back(labels: people.Labels) -> None:
    first, second = labels.add("ranking", asked(2))
    ana = labels.lend("ranking", "Ana")
    assert ana is not None and ana.id == first and ana.content == asked(1)[0]
    assert labels.lend("ranking", "Ana") == ana, "whoever comes again gets the same one"
    bea = labels.lend("ranking", "Bea", seconds=-1)
    assert bea is not None and bea.id == second
    assert labels.lend("ranking", "Cai") == bea, "the time of Bea's loan is over"
    assert labels.lend("ranking", "Dora") is None
    labels.give_back(first, "Ana")
    dora = labels.lend("ranking", "Dora")
    assert dora is not None and dora.id == first
    labels.skip(first, "Dora")
    assert labels.lend("ranking", "Dora") is None and labels.lend("ranking", "Ana") == ana
    assert labels.lend("demonstration", "Ana") is None


def test_a_label_counts_once(labels: people.Labels) -> None:
    [query] = labels.add("ranking", [HERONS], wanted=2)
    [other] = labels.add("demonstration", [HERONS])
    labels.save(other, "Ana", {"answer": "a bird"})
    one = labels.save(query, "Ana", {"ranks": [0, 1, None]}, seconds=3.0)
    assert labels.save(query, "Ana", {"ranks": [0, 1, None]}) == one, "said again, it is the same label"
    assert labels.progress("ranking", "Ana") == (1, 1, 1)
    labels.save(query, " Ana ", {"ranks": [1, 0, None]}, seconds=2.0)
    labels.save(query, "Bea", {"ranks": [0, 0, 1]})
    assert [(x.label.labeller, x.label.content["ranks"]) for x in labels.labelled("ranking")] == [
        ("Ana", [1, 0, None]),
        ("Bea", [0, 0, 1]),
    ]
    assert labels.progress("ranking", "Ana") == (2, 1, 0)
    late = labels.save(query, "Cai", {"ranks": [2, 1, 0]})
    assert late.labeller == "Cai" and labels.progress("ranking", "Cai") == (3, 1, 0), "a late label is kept too"


def test_labels_as_they_stood_are_the_same_for_ever(labels: people.Labels) -> None:
    first, second = labels.add("ranking", asked(2))
    labels.save(first, "Ana", {"ranks": [0, 1]})
    then = labels.save(second, "Ana", {"ranks": [1, 0]}).made
    labels.save(first, "Ana", {"ranks": [1, 0]})
    labels.undo("ranking", "Ana")
    assert [x.label.content["ranks"] for x in labels.labelled("ranking", then)] == [[0, 1], [1, 0]]
    assert [x.label.content["ranks"] for x in labels.labelled("ranking")] == [[1, 0]]


def test_the_newest_label_is_undone(labels: people.Labels) -> None:
    first, second = labels.add("ranking", asked(2))
    labels.save(first, "Ana", {"ranks": [0, 1]})
    labels.save(second, "Ana", {"ranks": [1, 0]})
    undone = labels.undo("ranking", "Ana")
    assert undone is not None and undone.query.id == second and undone.label.content == {"ranks": [1, 0]}
    again = labels.lend("ranking", "Ana")
    assert again == undone.query and labels.lend("ranking", "Bea") is None
    labels.save(second, "Ana", {"ranks": [0, 0]})
    assert [x.label.content["ranks"] for x in labels.labelled("ranking")] == [[0, 1], [0, 0]]
    assert labels.undo("ranking", "Bea") is None


def test_what_is_asked_twice_is_one_query(labels: people.Labels) -> None:
    assert labels.add("ranking", [HERONS]) == labels.add("ranking", [{**HERONS, "scores": [1.0, 0.0, -1.0]}])
    [query] = labels.add("ranking", [HERONS])
    labels.save(query, "Ana", {"ranks": [0, 1, 2]})
    labels.add("ranking", [HERONS])
    assert labels.lend("ranking", "Bea") is None
    labels.add("ranking", [HERONS], wanted=2)
    assert labels.lend("ranking", "Bea") is not None


def test_labels_for_a_prompt_that_is_gone(labels: people.Labels) -> None:
    first, second = labels.add("ranking", asked(2))
    held = labels.lend("ranking", "Ana")
    assert held is not None and held.id == first
    labels.keep_only("ranking", [second])
    bea = labels.lend("ranking", "Bea")
    assert bea is not None and bea.id == second, "it is not asked again"
    labels.save(first, "Ana", {"ranks": [0, 1]})
    assert [x.query.id for x in labels.labelled()] == [first], "what was being said counts"
    with pytest.raises(LabelsError, match="no query 77"):
        labels.save(77, "Ana", {"ranks": [0, 1]})
    labels.keep_only("ranking", [first, second])
    assert labels.progress("ranking", "Ana").open == 1


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\nb", "a\u202eb", "\x00"])
def test_names_that_cannot_be_read_are_refused(labels: people.Labels, name: str) -> None:
    with pytest.raises(LabelsError, match="labeller's name"):
        labels.lend("ranking", name)


def test_fifteen_labellers_at_once(labels: people.Labels) -> None:
    """Each in a thread; three go away for good with a query in hand. Nobody is stuck, no query is labelled twice."""
    count = 45
    labels.add("ranking", asked(count))
    gone = [labels.lend("ranking", f"labeller {i}", seconds=0.3) for i in range(3)]
    assert len({query.id for query in gone if query is not None}) == 3
    failures: list[BaseException] = []

    def work(number: int) -> None:
        rng, who = random.Random(number), f"labeller {number}"
        try:
            while labels.progress("ranking", who).open:
                query = labels.lend("ranking", who, seconds=60)
                if query is None:
                    time.sleep(0.05)  # All are lent.
                elif rng.random() < 0.1:
                    labels.give_back(query.id, who)
                else:
                    labels.save(query.id, who, {"ranks": rng.sample([0, 1], 2)}, rng.random())
        except BaseException as error:
            failures.append(error)

    at_work = [threading.Thread(target=work, args=(i,)) for i in range(3, 15)]
    for one in at_work:
        one.start()
    for one in at_work:
        one.join(timeout=60)
    assert not failures and not any(one.is_alive() for one in at_work)
    given = Counter(x.query.id for x in labels.labelled())
    assert len(given) == count and set(given.values()) == {1}


KILLED = """
import os, random, signal, sys, time
from retorno.labels import Labels
labels = Labels.open(sys.argv[1])
for number in range(int(sys.argv[2])):
    seen, told = os.pipe()
    child = os.fork()
    if child == 0:
        for i in range(10_000):
            query = labels.lend("ranking", "Ana")
            labels.save(query.id, "Ana", {"ranks": [0, 1], "number": [number, i]})
            os.write(told, f"{query.id} {number} {i}\\n".encode())
    os.close(told)
    first = os.read(seen, 100)
    time.sleep(random.Random(number).uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(seen, "rb") as rest:
        os.write(1, first + rest.read())
"""


def test_no_label_is_lost_to_a_hundred_kills(labels: people.Labels) -> None:
    """What was told to be saved is there, once; nothing is half there; the database opens each time."""
    labels.add("ranking", asked(1500))
    command = [sys.executable, "-c", KILLED, str(labels.where), "100"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    said = {int(query): [int(number), int(i)] for query, number, i in (line.split() for line in told if line)}
    there = {x.query.id: x.label.content["number"] for x in labels.labelled()}
    assert len(said) >= 100 and said.items() <= there.items()
    assert len(there) - len(said) <= 100, "a label more only where the kill came between saving and telling"
    assert sqlite3.connect(labels.where).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_other_databases_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "films.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE film (name TEXT)")
    with pytest.raises(LabelsError, match="database of something else, with tables film"):
        people.Labels.open(other)
    text = tmp_path / "notes.db"
    text.write_text("not a database at all, but long enough to be read as the head of one\n" * 20)
    before = text.read_bytes()
    with pytest.raises(LabelsError, match="not a database; something else lies there"):
        people.Labels.open(text)
    assert text.read_bytes() == before
    with pytest.raises(LabelsError, match="is a folder"):
        people.Labels.open(tmp_path)
    with pytest.raises(LabelsError, match="there is no folder"):
        people.Labels.open(tmp_path / "nowhere" / "labels.db")
    with pytest.raises(LabelsError, match="not a database's URL"):
        people.Labels.open("postgres//x://")
    with pytest.raises(LabelsError, match="PostgreSQL: postgresql"):
        people.Labels.open("sqlite:///x.db")


def test_a_database_of_another_version(labels: people.Labels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A newer one is refused untouched; an older one is brought to today's, and a copy of it is kept."""
    [query] = labels.add("ranking", [HERONS])
    labels.save(query, "Ana", {"ranks": [0, 1, 2]})
    path = Path(labels.where)
    later = tmp_path / "later.db"
    shutil.copyfile(path, later)
    with sqlite3.connect(later) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '99'")
    with pytest.raises(LabelsError, match="version 99, and this retorno knows versions up to 1: update retorno"):
        people.Labels.open(later)
    # Tomorrow's retorno has one version more.
    scripts = Path(people.__file__).parent / "migrations"
    folder = shutil.copytree(scripts, tmp_path / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "v2_mood.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision = '2', '1'\n"
        "def upgrade():\n    op.add_column('label', sa.Column('mood', sa.Text))\n"
    )
    monkeypatch.setattr(people.opening, "FOLDER", folder)
    assert [x.label.content for x in people.Labels.open(path).labelled()] == [{"ranks": [0, 1, 2]}]
    kept = path.with_name("labels.db.version-1")
    monkeypatch.undo()
    assert [x.label.content for x in people.Labels.open(kept).labelled()] == [{"ranks": [0, 1, 2]}]
    with pytest.raises(LabelsError, match="version 2"):
        people.Labels.open(path)


def test_the_migrations_make_the_tables_that_are_used(labels: people.Labels) -> None:
    with labels.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        sql = connection.execute(sa.text("SELECT sql FROM sqlite_master WHERE name = 'label_once'")).scalar_one()
    assert "UNIQUE" in sql and "WHERE withdrawn IS NULL" in sql


def test_a_database_that_cannot_be_written_says_so(labels: people.Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    [query] = labels.add("ranking", [HERONS])
    monkeypatch.setattr(people.opening, "PATIENCE", 0.05)
    mine = people.Labels.open(labels.where)
    with sqlite3.connect(labels.where, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LabelsError, match="database is locked; another program has held it"):
            mine.save(query, "Ana", {"ranks": [0, 1, 2]})
        other.execute("ROLLBACK")
    mine.save(query, "Ana", {"ranks": [0, 1, 2]})


def test_thumbs_are_rankings_and_demonstrations(labels: people.Labels) -> None:
    said = [("a bird", 1, "Ana"), ("a fish", -1, "Ana"), ("a dog", -1, "Ana"), ("a bird", 1, "Bea")]
    for answer, thumb, who in said:
        [query] = labels.add("chat", [{"prompt": "what is a heron?", "answer": answer}], wanted=0)
        labels.save(query, who, {"thumb": thumb})
    assert list(people.rankings(labels)) == [
        {"prompt": "what is a heron?", "answers": ["a bird", "a fish", "a dog"], "ranks": [0, 1, 1], "labeller": "Ana"}
    ]
    assert [record["labeller"] for record in people.demonstrations(labels)] == ["Ana", "Bea"]


def test_agreement(labels: people.Labels) -> None:
    query, other = labels.add("ranking", [{**HERONS, "scores": [2.0, 1.0, 1.0]}, asked(1)[0]], wanted=3)
    labels.save(query, "Ana", {"ranks": [0, 1, 2]})
    labels.save(query, "Bea", {"ranks": [0, 2, 1]})
    labels.save(query, "Cai", {"ranks": [0, 0, None]})
    labels.save(other, "Ana", {"ranks": [0, 1]})
    said = list(labels.labelled("ranking"))
    assert people.between_labellers(said) == (2, 3), "Ana and Bea on three pairs; Cai tells none of them apart"
    assert people.between_labellers(said, "Cai").share is None
    assert people.with_scores(said) == (2 + 0.5 + 2 + 0.5, 6)
    assert people.with_scores(said, "Ana") == (2.5, 3)
