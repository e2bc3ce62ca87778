"""The stages on the command line: each begins with what the one before has learnt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retorno.cli.main import main
from retorno.cli.train import choose, of_language
from retorno.run import policy_folder

MODEL = str(Path(__file__).with_name("models") / "llama")
KINDS = {"heron": "a bird", "cod": "a fish", "fox": "a beast", "fly": "an insect", "owl": "a bird", "eel": "a fish"}


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    asked = [(f"what is a {word}?", kind) for word, kind in KINDS.items()]
    records = {
        "told.jsonl": [{"prompt": prompt, "answer": kind} for prompt, kind in asked],
        "ranked.jsonl": [{"prompt": p, "answers": [k, "go away", k[::-1]], "ranks": [0, 2, 1]} for p, k in asked],
    }
    for name, each in records.items():
        (tmp_path / name).write_text("".join(json.dumps(record) + "\n" for record in each))
    return tmp_path


def test_stages_in_a_row(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--steps", "600", "--learning-rate", "1e-2", "--num-envs"]
    begun = [
        "train",
        "sft",
        "told.jsonl",
        "--model",
        MODEL,
        "--trained",
        "everything",
        "--world.held_out",
        "0.4",
    ]  # Batches of one: held out or not, one shape.
    assert main([*begun, *small, "1"]) == 0
    out, err = capsys.readouterr()
    assert "recorded: nothing is lived" in err
    assert "loss" in err
    assert out.startswith("sft told.jsonl: loss ") and " on what was held out" in out
    assert main(["inspect", "runs/sft-told-1"]) == 0
    assert "--network.trained everything" in capsys.readouterr().out
    assert main(["evaluate", "runs/sft-told-1", "--world", "told.jsonl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] > 0

    assert main(["train", "reward_model", "ranked.jsonl", "--model", "runs/sft-told-1", *small, "3"]) == 0
    assert "accuracy" in capsys.readouterr().out
    (texts / "mine.py").write_text("def short(prompts, answers): return [-len(answer) for answer in answers]")
    drawn = ["--prompts", "told.jsonl", "--tokens", "8", "--json"]
    judges = ["runs/reward_model-ranked-1", "mine.py:short"]
    assert main(["judge", "runs/sft-told-1", "--frontier", *drawn, "--by", *judges]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert [point["step"] for point in points] == policy_folder.steps(Path("runs/sft-told-1"))[::-1]
    assert points[-1]["kl"][0] > points[-1]["kl"][1] > 1  # Everything was trained, on six words.
    assert {*points[0]["scores"]} == {*judges}
    twice = ["runs/sft-told-1", "runs/sft-told-1", "--temperature", "0"]
    assert main(["judge", *twice, *drawn, "--by", "mine.py:short"]) == 0
    same = json.loads(capsys.readouterr().out)
    assert (same["wins"], same["ties"], same["rate"]) == (0, len(KINDS), 0.5)


def test_what_cannot_be_is_said(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (texts / "wrong.py").write_text("def fewer(prompts, answers): return [1.0]")
    said = {
        ("train", "sft", "told.jsonl"): "told.jsonl is read as texts, but whose tokens are they?",
        ("train", "dpo", "told.jsonl", "--model", MODEL): "expected answers and ranks, or chosen and rejected",
        ("train", "sft", "nowhere.jsonl", "--model", MODEL): "there is no nowhere.jsonl",
        ("train", "sft", "told.jsonl", "--model", "smolm2"): "no model 'smolm2'",
        ("train", "sft", "told.jsonl", "--model", MODEL): "only 2 were recorded: choose num_envs=2 or fewer",
        ("sample", MODEL, "--prompt", "a", "--prompt", "b"): "--prompt is given twice",
        ("train", "ppo", "told.jsonl", "--model", MODEL, "--world.answer", "8", "--relabel", "function_score"): (
            "function must say where the reward is"
        ),
        ("judge", MODEL, "--prompts", "told.jsonl"): "which prompts, and who judges?",
        (
            "judge",
            MODEL,
            "--prompts",
            "told.jsonl",
            "--by",
            "wrong.py:fewer",
            "--tokens",
            "8",
        ): "1 scores for 6 answers",
    }
    for command, words in said.items():
        assert main([*command]) == 2
        assert words in capsys.readouterr().err
    assert not (texts / "runs").exists()


def test_answers_to_prompts_are_rewarded_by_a_function_that_is_named(texts: Path) -> None:
    """A rollout is one answer of each environment, for it is judged as a whole; the file is found from anywhere."""
    (texts / "mine.py").write_text("def short(prompts, answers): return [-len(answer) for answer in answers]")
    given = ["--model", MODEL, "--relabel", "function_score", "--relabel.function", "mine.py:short", "--num-envs", "3"]
    usual, world, rest = of_language("ppo", "told.jsonl", {"answer": 8}, given)
    _, algorithm, relabel, _ = choose("ppo", world.named.name, rest, usual)
    assert algorithm.rollout == algorithm.network.window == world.lockstep.rows
    assert (relabel.function, algorithm.num_envs) == (f"{texts / 'mine.py'}:short", 3)
