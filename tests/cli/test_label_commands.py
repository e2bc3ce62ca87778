"""`retorno rank`, `retorno chat --page` and `retorno labels`: what they serve, without serving it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from retorno.labels import Labels

LLAMA = Path(__file__).parents[1] / "language" / "models" / "llama"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What would be served."""
    served: dict[str, Any] = {}

    def serve(site: Any, address: Any) -> None:
        served.update(site=site, url=address.url())
        address.socket.close()

    monkeypatch.setattr("retorno.web.serving.serve", serve)
    return served


def written(file: Path, *records: Any) -> Path:
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def test_a_file_is_ranked_exported_and_taken_back(cli, site: dict[str, Any], tmp_path: Path) -> None:
    file = written(tmp_path / "words.jsonl", {"prompt": "a?", "answers": ["b", "c"]}, {"prompt": "d?"})
    code, out, err = cli("rank", file)
    place = tmp_path / "words.labels.db"
    assert code == 0 and out.startswith("http://127.0.0.1:") and "/rank?token=" in out and str(place) in err
    labels: Labels = site["site"].labels
    assert site["site"].pages == ("rank", "write") and len(labels.queries("demonstration")) == 2
    query = labels.lend("ranking", "Ana")
    assert query is not None
    labels.save(query.id, "Ana", {"ranks": [1, 0]}, 2.0)
    assert cli("rank", file)[1].split("token=")[1] == out.split("token=")[1], "pages outlive their server"
    assert site["site"].labels.lend("ranking", "Bea") is None
    written(file, {"prompt": "d?"})
    cli("rank", file, "--wanted", 2)
    assert site["site"].labels.lend("ranking", "Bea") is None, "a prompt that is gone is not asked"
    exported = tmp_path / "rankings.jsonl"
    assert cli("labels", "export", place, exported)[0] == 0
    record = json.loads(exported.read_text())
    assert record == {"prompt": "a?", "answers": ["b", "c"], "ranks": [1, 0], "labeller": "Ana", "seconds": 2.0}
    other = tmp_path / "other.db"
    code, _, err = cli("labels", "import", other, written(tmp_path / "poem.jsonl", {"verse": "x"}))
    assert code == 2 and "poem.jsonl" in err and not other.exists()
    assert cli("labels", "import", other, exported)[0] == 0
    assert cli("labels", "export", other, tmp_path / "again.jsonl")[0] == 0
    assert (tmp_path / "again.jsonl").read_text() == exported.read_text()
    code, out, _ = cli("labels", "statistics", other, "--json")
    assert code == 0 and json.loads(out)["labellers"][0]["labeller"] == "Ana"
    assert "Ana" in cli("labels", "statistics", place)[1]


def test_a_model_answers_prompts_and_chats(cli, site: dict[str, Any], tmp_path: Path) -> None:
    prompts = written(tmp_path / "p.jsonl", {"prompt": "the heron"}, {"messages": [{"role": "user", "content": "hi"}]})
    code, _, err = cli("rank", LLAMA, "--prompts", prompts, "--answers", 2, "--tokens", 8)
    assert code == 0, err
    questions = site["site"].questions
    assert questions.fill(site["site"].labels) == 2
    query = site["site"].labels.lend("ranking", "Ana")
    assert query.content["models"] == [str(LLAMA)] * 2 and len(set(query.content["answers"])) == 2
    code, out, err = cli("chat", LLAMA, LLAMA, "--page", "--labels", tmp_path / "chat.db", "--tokens", 8)
    assert code == 0 and "/chat?token=" in out, err
    pieces = list(site["site"].models[0].answer([{"role": "user", "content": "a heron"}], 0))
    assert len(pieces) >= 1 and site["site"].pages == ("chat",)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rank", LLAMA], "Give --prompts FILE"),
        (["rank", "nowhere.jsonl"], "there is no nowhere.jsonl"),
        (["rank", "a.jsonl", "--prompts", "b.jsonl"], "is a file of texts"),
        (["rank", "a.jsonl", "--answers", 12], "two to nine"),
        (["labels", "export", "nowhere.db", "x.jsonl"], "there are no labels in nowhere.db"),
        (["labels", "export", "postgresql://", "x.jsonl"], "postgresql"),
        (["chat", LLAMA, "--page", "--labels", "nowhere/x.db"], "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_opened_is_one_line(cli, arguments: list[Any], told: str) -> None:
    code, out, err = cli(*arguments)
    assert code == 2 and out == "" and told in err and len(err.splitlines()) == 1
