"""The dictionary is taught in three steps, each a run that goes on where it stopped."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from retorno.cli.language import Telling
from retorno.cli.main import main
from retorno.language import Answer, ModelError, dictionary, load
from retorno.language.dictionary import ALWAYS_ANSWER, ask, judge, lessons, tiny
from retorno.language.dictionary.lessons import GUESSED, OWN, Lessons
from retorno.language.dictionary.wording import END
from retorno.run import training
from retorno.run.loop import begin_native

SAID = ("it is a bird.", "i do not know.", "i am not sure.", "who cares?")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model and a few words with which every program is compiled soon."""
    shape = replace(tiny.TINY, width=8, layers=1, num_heads=1, key_heads=1, head_width=8, hidden=8)
    monkeypatch.setattr(tiny, "TINY", shape)
    monkeypatch.setattr(lessons, "SCORED", 4)
    monkeypatch.setattr(sys.modules[ask.__module__], "AT_ONCE", 32)


def few(folder: Path, **more: Any) -> Lessons:
    return Lessons(folder, told=16, ranked=8, others=8, readings=1, comparisons=1, answers=800, **more)


def test_three_steps_each_of_which_goes_on(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taught = few(tmp_path / "words")
    taught.begin()
    with taught.fine_tuned() as run:
        next(iter(run))
    with few(tmp_path / "words").fine_tuned() as again:
        assert 0 < again.step <= again.steps
        again.run_to_end()
    # Who has learnt nothing says nothing that could be ranked.
    with monkeypatch.context() as patch:
        patch.setattr(
            lessons, "ask", lambda model, nouns, count, seed: [[Answer(text, (), True) for text in SAID]] * 16
        )
        with taught.reward_model() as run:
            run.run_to_end()
    ranked = [json.loads(line) for line in Path(taught.path("rankings.jsonl")).read_text().splitlines()]
    assert {line["prompt"] for line in ranked} == {noun.question for noun in taught.words.ranked}
    assert all(len(line["answers"]) == OWN + GUESSED for line in ranked)
    assert all(judge(line["prompt"], line["answers"][-1]).value in ("true", "false") for line in ranked)
    with taught.ppo() as run:
        run.run_to_end()
    assert load(taught.path("ppo")).tokenizer is not None
    asked = [json.loads(line)["prompt"] for line in Path(taught.path("prompts.jsonl")).read_text().splitlines()]
    known = {noun.question for noun in taught.words.demonstrated}
    assert sum(question in known for question in asked) == len(asked) / 2
    with monkeypatch.context() as patch:
        # These are begun and not trained: the program for that is not compiled.
        patch.setattr(training, "begin_beside", begin_native)
        for other in (taught.grpo, taught.rloo, taught.dpo):
            with other() as beside:
                assert beside.step == 0 < beside.steps
    points = taught.frontier(2)
    assert (points[0].step, points[0].kl, points[-1].step) == (0, (0, 0, 0), run.step)
    assert sum(share for share, _, _ in points[-1].scores.values()) == pytest.approx(1)

    # From elsewhere all of it is found learnt, and shows it.
    monkeypatch.chdir(tmp_path)
    Telling(few(Path("words")), Console(file=io.StringIO())).all()
    assert (tmp_path / "words" / "frontier.png").exists()


def test_what_was_begun_otherwise_is_not_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few(tmp_path).begin()
    few(tmp_path).begin()
    with pytest.raises(ModelError, match=r"was begun with seed=0, not 1: choose another folder"):
        few(tmp_path, seed=1).begin()
    with pytest.raises(ModelError, match=r"was begun with order=.*'true', 'evasive'"):
        few(tmp_path, order=ALWAYS_ANSWER).begin()
    assert main(["language", "demo", "--folder", str(tmp_path)]) == 2
    assert "was begun with" in capsys.readouterr().err
    assert main(["language", "lesson"]) == 2
    assert "expected `retorno language demo`" in capsys.readouterr().err
    assert main(["language"]) == 0


def test_second_thoughts_say_what_was_right() -> None:
    nouns = dictionary.split(0).told[:40]
    said = dictionary.second_thoughts(nouns)
    assert len(said) == 2 * len(nouns)
    for line in said:
        question, answer = line["prompt"].removesuffix(END).split("? ")
        right = judge(question, answer).value == "true"
        assert line["answer"].startswith("yes, " if right else "no, ")
        assert judge(question, line["answer"].split(", ")[1]).value == "true"


def test_what_came_last_is_a_question_or_doubts_an_answer() -> None:
    tokenizer = tiny.tokenizer(dictionary.split(0).told[:20])
    turns = [("user", "what is an owl?"), ("assistant", "it is a fish."), ("user", "Really?")]
    messages = [{"role": role, "content": text} for role, text in turns]
    assert tokenizer.chat(messages) == f"what is an owl? it is a fish.{END}"
    assert tokenizer.chat(messages[:1]) == "what is an owl?"
    assert tokenizer.chat([*messages[:2], {"role": "user", "content": "What is a carp?"}]) == "What is a carp?"
