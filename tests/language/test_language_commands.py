"""The stages on the command line: each begins with what the one before has learnt."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from retorno import language
from retorno.cli.main import main
from retorno.cli.options import UsageError
from retorno.cli.texts import _usually_trained, of_language
from retorno.cli.train import choose, told_relabel, typed
from retorno.language import Everything, LoRA, StoredModel
from retorno.networks import Tempered
from retorno.run import policy_folder
from retorno.run.relabel import ClipRewards, InTurn

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
    inspected = capsys.readouterr().out
    assert "--network.trained everything" in inspected
    assert re.search(r"best +none yet", inspected), "no returns are lived"
    assert main(["evaluate", "runs/sft-told-1", "--world", "told.jsonl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] > 0

    assert main(["train", "reward_model", "ranked.jsonl", "--model", "runs/sft-told-1", *small, "3"]) == 0
    assert "accuracy" in capsys.readouterr().out
    (texts / "mine.py").write_text("def short(prompts, answers): return [-len(answer) for answer in answers]")
    drawn = ["--prompts", "told.jsonl", "--tokens", "8", "--json"]
    judges = ["runs/reward_model-ranked-1", "mine.py:short"]
    assert main(["judge", "runs/sft-told-1", "--frontier", "--best-of", "1", "4", *drawn, "--by", *judges]) == 0
    *points, one, four = json.loads(capsys.readouterr().out)["points"]
    assert (one["best_of"], four["best_of"], one["kl"][0]) == (1, 4, 0)
    assert four["kl"][0] == pytest.approx(math.log(4) - 3 / 4)
    assert four["scores"][judges[0]][0] > one["scores"][judges[0]][0], "the first judge chooses"
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
        ("train", "sft", "told.jsonl", "--model", MODEL, "--keep", "best", "--num-envs", "1"): "none are lived",
        ("train", "dpo", "told.jsonl", "--model", MODEL): "expected answers and ranks, or chosen and rejected",
        ("train", "sft", "nowhere.jsonl", "--model", MODEL): "there is no nowhere.jsonl",
        ("train", "sft", "told.jsonl", "--model", "smolm2"): "no model 'smolm2'",
        ("train", "sft", "told.jsonl", "--model", MODEL, "--num-envs", "9"): "only 2 were recorded: choose num_envs=2",
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
    """A rollout is one answer of each environment, for it is scored as a whole; the file is found from anywhere, and
    the function gets texts.
    """
    (texts / "mine.py").write_text("def short(prompts, answers): return [-len(answer) for answer in answers]")
    model, named = ["--model", MODEL, "--num-envs", "3"], "mine.py:short"
    for given in (["--relabel", "function_score", "--relabel.function", named], ["--reward", named, "--kl=0"]):
        told, rest = of_language("ppo", "told.jsonl", {"answer": 8}, [*model, *given])
        assert told is not None
        algorithm: Any
        _, algorithm, relabel, _ = choose("ppo", told.world.named.name, rest, told.algorithm)
        assert algorithm.rollout == algorithm.network.window == told.world.lockstep.rows
        paid: Any = told.rewarded(relabel)
        function: Any = paid.relabels[0] if isinstance(paid, InTurn) else paid
        assert (function.function, algorithm.num_envs) == (f"{texts / 'mine.py'}:short", 3)
        words = told_relabel(paid)
        assert words.startswith(f"function_score --relabel.function {texts / 'mine.py'}:short")
        assert "(" not in words and "written" not in words
        both = told_relabel(InTurn((function, ClipRewards(5.0))))
        assert both == f"{told_relabel(function)}, then clip_rewards --relabel.most 5.0"
        assert function.model == StoredModel(str(Path(MODEL).resolve()))


def test_a_critic_may_begin_as_a_reward_model(texts: Path) -> None:
    given = ["--model", MODEL, "--reward", "runs/scorer", "--critic", "runs/scorer", "--trained", "upper_layers"]
    told, rest = of_language("ppo", "told.jsonl", {"answer": 8}, given)
    assert told is not None
    algorithm: Any
    for rank in ("--rank", "--trained.rank", "--network.trained.rank"):
        narrow = ["--trained", "lora", rank, "2"]
        _, algorithm, _, _ = choose("ppo", told.world.named.name, narrow, told.algorithm)
        assert algorithm.network.trained == LoRA(rank=2)
    _, algorithm, _, _ = choose("ppo", told.world.named.name, rest, told.algorithm)
    made: Any = told.completed(algorithm)
    actor, critic = made.network.actor, made.network.critic
    assert (actor.weights.model, critic.weights.model) == (str(Path(MODEL).resolve()), str(texts / "runs" / "scorer"))
    assert critic == replace(actor, weights=critic.weights) and not actor.stop_gradient
    assert "--network Apart" in " ".join(typed(made, type(made)()))
    with pytest.raises(UsageError, match="is for what learns a critic, as ppo does; grpo learns none"):
        of_language("grpo", "told.jsonl", {"answer": 8}, given)


def test_a_policy_may_learn_at_a_temperature(texts: Path) -> None:
    """It is the policy's, and not its critic's; the option is not DPO's own `--temperature`."""
    given = ["--model", MODEL, "--critic", MODEL, "--answer-temperature"]
    told, _ = of_language("ppo", "told.jsonl", {"answer": 8}, [*given, "0.5"])
    assert told is not None
    algorithm: Any = told.algorithm
    assert told.completed(algorithm).network.actor == Tempered(0.5, algorithm.network)
    told, rest = of_language("dpo", "ranked.jsonl", {}, ["--model", MODEL, "--temperature", "0.2"])
    assert told is not None and rest == ["--temperature", "0.2"] and told.completed(algorithm) == algorithm
    with pytest.raises(UsageError, match="a positive number, 1 for none, got '0'"):
        of_language("ppo", "told.jsonl", {"answer": 8}, [*given, "0"])


def test_what_judges_reads_the_same_tokens(texts: Path) -> None:
    """Numbers of tokens go from the one to the other: those of another tokenizer would be nonsense, and no error."""
    other = shutil.copytree(MODEL, texts / "other")
    rules = json.loads((other / "tokenizer.json").read_text())
    words = rules["model"]["vocab"]
    one, two = list(words)[-2:]
    words[one], words[two] = words[two], words[one]
    (other / "tokenizer.json").write_text(json.dumps(rules))
    for option in ("--reward", "--critic"):
        assert of_language("ppo", "told.jsonl", {}, ["--model", MODEL, option, MODEL])[0] is not None
        with pytest.raises(UsageError, match=r"other reads other tokens than .*: number \d+ is '.+' there"):
            of_language("ppo", "told.jsonl", {}, ["--model", MODEL, option, "other"])


def test_a_tiny_model_that_has_learnt_nothing_is_there_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made once, to the same bits, and trained as a whole; a large one by narrow layers beside its own."""
    weights = []
    for folder in ("one", "two"):
        monkeypatch.setenv("RETORNO_CACHE", str(tmp_path / folder))
        told, _ = of_language("sft", str(_told(tmp_path)), {}, ["--model", "tiny"])
        assert told is not None
        algorithm: Any = told.algorithm
        assert algorithm.network.trained == Everything()
        weights.append(StoredModel("tiny").read())
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    large = replace(StoredModel("tiny").architecture, layers=30, width=576, hidden=1536)
    monkeypatch.setattr(StoredModel, "architecture", large)
    assert _usually_trained(StoredModel("tiny")) == LoRA()


def _told(folder: Path) -> Path:
    (folder / "told.jsonl").write_text(json.dumps({"prompt": "what is an owl?", "answer": "it is a bird."}) + "\n")
    return folder / "told.jsonl"


def test_a_reward_models_run_pays_and_distance_is_taken_off(texts: Path) -> None:
    given = ["--model", MODEL, "--reward", "runs/scorer", "--kl", "0.2"]
    told, _ = of_language("ppo", "told.jsonl", {"answer": 8}, given)
    assert told is not None
    several, _ = of_language("ppo", "told.jsonl", {}, [*given[:3], "runs/scorer,runs/other"])
    assert several is not None and several.relabel is not None
    score: Any = several.relabel.relabels[0]
    assert [each.network.weights.model for each in (score, *score.beside)] == [
        str(texts / "runs" / name) for name in ("scorer", "other")
    ]
    with pytest.raises(UsageError, match=r"expected --world\.answer from 1 to"):
        of_language("ppo", "told.jsonl", {"answer": 4096}, given)
    paid: Any = told.rewarded(None)
    score, near = paid.relabels
    assert score.network.weights.model == str(texts / "runs" / "scorer")
    assert (near.weight, near.reference.weights.model) == (0.2, str(Path(MODEL).resolve()))
    for unended, worth in ((None, -1.0), ("-3", -3.0), ("none", None)):
        cut, rest = of_language("ppo", "told.jsonl", {"answer": 8}, given + (["--unended", unended] if unended else []))
        assert cut is not None and not rest and cut.rewarded(None).relabels[0].unended == worth
    with pytest.raises(UsageError, match="the score of an answer that is cut, a number or none, got 'low'"):
        of_language("ppo", "told.jsonl", {"answer": 8}, [*given, "--unended", "low"])
    with pytest.raises(UsageError, match="give --reward as well"):
        of_language("ppo", "told.jsonl", {"answer": 8}, ["--model", MODEL, "--unended", "0"])
    for kl in ("-1", "far"):
        with pytest.raises(UsageError, match="--kl is the weight of the distance in nats"):
            of_language("ppo", "told.jsonl", {"answer": 8}, ["--model", MODEL, "--kl", kl])
    with pytest.raises(UsageError, match="here it learns from a recording"):
        of_language("sft", "told.jsonl", {}, ["--model", MODEL, "--reward", "runs/scorer"])
    with pytest.raises(UsageError, match="--relabel says where rewards come from, and so do"):
        told.rewarded(language.FunctionScore())
