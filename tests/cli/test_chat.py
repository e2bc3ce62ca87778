"""`retorno chat`, on a folder that `transformers` made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from retorno.language import data, records

LLAMA = Path(__file__).parents[1] / "language" / "models" / "llama"


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is typed, line by line; what is asked is told to nobody."""

    def typed(*lines: str) -> None:
        left = list(lines)

        def line(_: str) -> str:
            if not left:
                raise EOFError
            if (said := left.pop(0)) == "^C":
                raise KeyboardInterrupt
            return said

        monkeypatch.setattr("builtins.input", line)

    return typed


def test_a_conversation_in_the_terminal(cli, types) -> None:
    types("/regenerate", "hi", "", "/regenerate", "/what", "/new", "hi", "/quit", "never said")
    code, out, err = cli("chat", LLAMA, "--tokens", 6, "--temperature", 0)
    answers = out.splitlines()
    assert code == 0 and len(answers) == 3 and len(set(answers)) == 1
    assert "no answer yet" in err and err.count("/quit") == 2
    types("hi", "^C")
    assert cli("chat", LLAMA, "--tokens", 6, "--temperature", 0)[:2] == (0, answers[0] + "\n")


def test_two_models_are_compared_blind_and_the_vote_is_a_ranking(cli, types, tmp_path: Path) -> None:
    votes = tmp_path / "votes.jsonl"
    types("hi", "perhaps", "a", "go", "-", "/regenerate", "b", "/new", "hi", "=", "hi")
    code, out, err = cli("chat", LLAMA, LLAMA, "--tokens", 6, "--votes", votes)
    told = [json.loads(line) for line in votes.read_text().splitlines()]
    assert code == 0 and [each["ranks"] for each in told] == [[0, 1], [1, 0], [0, 0]]
    assert f"kept in {votes}" in " ".join(err.split()) and str(LLAMA) not in out
    # The conversation goes on with what was preferred, and with the first where nothing was.
    prompts = [each["prompt"] for each in told]
    assert [len(prompt) for prompt in prompts] == [1, 3, 1]
    assert prompts[1][1]["content"] == told[0]["answers"][0]
    assert len(list(records.records(votes))) == 3 and data.rankings(votes, str(LLAMA)) is not None


def test_what_cannot_be_talked_to_is_one_line(cli) -> None:
    for models, told in (
        ((), "one model to talk to, or two to compare, got 0"),
        (("a", "b", "c"), "got 3"),
        (("nowhere",), "expected a folder of a model or run"),
    ):
        code, out, err = cli("chat", *models)
        assert code == 2 and out == "" and told in err and len(err.splitlines()) == 1
