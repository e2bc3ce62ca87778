"""`retorno sample`, on a folder that `transformers` made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[1] / "language" / "models"
LLAMA = MODELS / "llama"


def test_sampled_answers_are_told_as_text_and_as_json(cli) -> None:
    asked = ("sample", LLAMA, "--prompt", "the heron", "--tokens", 16, "--temperature", 0)
    code, out, err = cli(*asked)
    assert code == 0 and out.startswith("the heron") and ("cut after" in err or not err)
    code, out, _ = cli(*asked, "--samples", 2, "--json")
    first, second = json.loads(out)["answers"]
    assert code == 0 and first == second and first["prompt"] == "the heron" and len(first["tokens"]) <= 16


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([LLAMA], 'give --prompt "What is a heron?"'),
        (["nowhere", "--prompt", "a"], "expected a folder of a model or run, a FILE.gguf, smollm2 or tiny"),
        ([MODELS / "qwen3", "--prompt", "a"], "holds no tokenizer.json"),
        ([MODELS / "qwen3", "--prompt", "a", "--chat"], "holds no tokenizer.json"),
        ([LLAMA, "--prompt", "a", "--tokens", 64], "are more than the 64 of this model"),
        ([LLAMA, "--prompt", "a", "--temperature", -1], "at least 0"),
    ],
)
def test_what_cannot_be_sampled_is_one_line(cli, arguments, told: str) -> None:
    code, out, err = cli("sample", *arguments)
    assert code == 2 and out == "" and told in err and len(err.splitlines()) == 1
