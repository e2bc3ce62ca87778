"""Files as questions, and labels as files: what is written is read back as it was said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retorno import labels as people
from retorno import language
from retorno.language.labelled import questions, taken
from retorno.language.records import DataError, records

HERONS = {"prompt": "what is a heron?", "answers": ["a bird", "a fish", "go away"]}
HOSTILE = '<script>alert(1)</script>\u202e\x00\ud800 "quoted" \U0001f600'


@pytest.fixture
def labels(tmp_path: Path) -> people.Labels:
    return people.Labels.open(tmp_path / "labels.db")


def test_records_are_written_and_taken_back(labels: people.Labels, tmp_path: Path) -> None:
    messages = [{"role": "user", "content": HOSTILE}]
    ranked, other = labels.add(
        "ranking", [HERONS, {"prompt": messages, "answers": [HOSTILE, "b"], "models": ["x", "y"]}]
    )
    [written] = labels.add("demonstration", [{"prompt": "what is an oak?"}])
    labels.save(ranked, "Ana", {"ranks": [0, None, 1], "ratings": [7, None, 1]}, seconds=4.26)
    labels.save(ranked, "Bea", {"ranks": [0, 0, 0], "all_bad": True})
    labels.save(other, "Ana", {"ranks": [0, 1]})
    labels.save(written, "Ana", {"answer": "a tree"}, seconds=9.0)
    said = list(people.rankings(labels))
    assert said[0] == {**HERONS, "ranks": [0, None, 1], "ratings": [7, None, 1], "labeller": "Ana", "seconds": 4.3}
    assert said[1] == {**HERONS, "ranks": [0, 0, 0], "all_bad": True, "labeller": "Bea"}
    assert people.write_records(tmp_path / "rankings.jsonl", people.rankings(labels)) == 3
    assert people.write_records(tmp_path / "demonstrations.jsonl", people.demonstrations(labels)) == 1
    again = people.Labels.open(tmp_path / "again.db")
    for _ in range(2):  # The second time nothing is new.
        again.take(taken(tmp_path / "rankings.jsonl"))
        again.take(taken(tmp_path / "demonstrations.jsonl"))
        assert list(people.rankings(again)) == said
        assert list(people.demonstrations(again)) == [
            {"prompt": "what is an oak?", "answer": "a tree", "labeller": "Ana", "seconds": 9.0}
        ]
    assert again.lend("ranking", "Cai") is None, "what was ranked elsewhere is not asked"


def test_pairs_and_labels_without_a_name_are_taken(labels: people.Labels, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    pair = {"prompt": "p", "chosen": "a", "rejected": "b"}
    file.write_text("\n".join(map(json.dumps, [pair, pair, {"prompt": "p", "answers": ["a", "b"], "ranks": [1, 0]}])))
    labels.take(taken(file))
    assert [(r["ranks"], r["labeller"]) for r in people.rankings(labels)] == [
        ([0, 1], "imported"),
        ([0, 1], "imported 2"),
        ([1, 0], "imported 3"),
    ]
    ranked, alone = questions(file)
    assert ranked == [{"prompt": "p", "answers": ["a", "b"]}] * 3 and alone == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[1]", "line 1 is"),
        ("{", "line 1 is no JSON"),
        ('{"prompt": "", "answer": "x"}', "for people to read"),
        ('{"prompt": [{"role": "user"}], "answer": "x"}', "expected a role and its content"),
        ('{"prompt": "p", "answers": ["a"], "ranks": [0]}', "two answers or more"),
        ('{"prompt": "p", "answers": ["a", "b"], "ranks": [0]}', "2 answers and 1 ranks"),
        ('{"prompt": "p", "answers": ["a", "b"], "ranks": [0, 1.5]}', "ranks are"),
        ('{"prompt": "p", "score": 1}', "neither a ranking"),
        ('{"prompt": [3, 4], "answer": "x"}', "for people to read"),
    ],
)
def test_records_that_cannot_be_taken(labels: people.Labels, tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(line)
    with pytest.raises(DataError, match=said):
        labels.take(taken(file))
    assert list(labels.labelled()) == []


def test_a_conversation_ends_with_a_demonstration(labels: people.Labels) -> None:
    said = [{"role": "user", "content": "what is an oak?"}, {"role": "assistant", "content": "a tree"}]
    labels.take(taken([{"messages": said}]))
    assert list(people.demonstrations(labels)) == [{"prompt": said[:1], "answer": "a tree", "labeller": "imported"}]


def test_a_database_of_labels_is_learnt_from(labels: people.Labels) -> None:
    """As the file that is written of it; a run that goes on finds the labels that it began with."""
    llama = str(Path(__file__).with_name("models") / "llama")
    first, second = labels.add(
        "ranking", [{"prompt": "a", "answers": ["b", "c"]}, {"prompt": "d", "answers": ["e", "f"]}]
    )
    labels.save(first, "Ana", {"ranks": [0, 1]})
    world = language.rankings(str(labels.where), llama)
    assert world.named is not None
    labels.save(second, "Ana", {"ranks": [1, 0]})
    grown = language.rankings(str(labels.where), llama)
    assert world.lived.steps.first.shape[1] == 2 and grown.lived.steps.first.shape[1] == 4
    settings = dict(world.named.settings)
    again = language.rankings(settings.pop("source"), settings.pop("model"), **settings)
    assert again.lived.steps.first.shape[1] == 2
    assert len(list(records(labels.where))) == 2
    with pytest.raises(DataError, match="expected a database of labels"):
        language.rankings("nowhere/labels.db", llama)
