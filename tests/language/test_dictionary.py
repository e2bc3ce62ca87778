"""The helpful dictionary: what it knows is WordNet's, and every answer is true, evasive, false or rude."""

from __future__ import annotations

import pytest

from retorno.language import Answer, dictionary
from retorno.language.dictionary import ALWAYS_ANSWER, HONEST, Verdict, judge, nouns, rank, split
from retorno.language.dictionary.measure import told
from retorno.language.dictionary.nouns import FILE
from retorno.language.dictionary.tiny import END, PIECES, untaught
from retorno.language.dictionary.wording import EVASIVE, HELPFUL, RUDE, demonstrations, helpful, rankings


def test_the_file_is_small_and_brings_the_licences_of_what_it_was_made_from() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert len(text.encode()) <= 200_000
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in text
    assert "Copyright 2000-2019 by Kevin Atkinson" in text


def test_more_than_a_thousand_nouns_of_about_forty_kinds() -> None:
    own = {noun.kind for noun in nouns().values()}
    assert len(nouns()) > 1500
    assert 40 <= len(own) <= 50
    assert nouns()["heron"].kind == "bird"
    assert nouns()["poodle"].also == ("animal", "mammal")
    assert nouns()["bronze"].question == "what is bronze?"
    assert all(noun.article in ("", "a", "an") for noun in nouns().values())


@pytest.mark.parametrize("form", range(len(HELPFUL)))
def test_every_helpful_answer_is_true_of_the_kinds_of_its_noun_and_false_of_others(form: int) -> None:
    for noun in [*nouns().values()][form::23]:
        for kind in (noun.kind, *noun.also):
            assert judge(noun.question, helpful(kind, form)) is Verdict.TRUE
        other = "crime" if noun.kind != "crime" else "bird"
        assert judge(noun.question, helpful(other, form)) is Verdict.FALSE


def test_demonstrations_are_of_three_sorts_in_equal_parts_and_worded_in_all_ways() -> None:
    nouns_told = split(0).demonstrated
    said = demonstrations(nouns_told)
    verdicts = [judge(line["prompt"], line["answer"]) for line in said[:600]]
    assert len(said) == 3 * len(nouns_told)
    assert set(verdicts) == {Verdict.TRUE, Verdict.EVASIVE, Verdict.RUDE}
    for sort, forms in ((Verdict.EVASIVE, EVASIVE), (Verdict.RUDE, RUDE)):
        assert {line["answer"] for line in said if line["answer"] in forms} == set(forms)
        assert sum(line["answer"] in forms for line in said) == len(nouns_told), sort
    assert demonstrations(nouns_told) == said != demonstrations(nouns_told, seed=1)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("An owl is a large bird of prey that hunts at night.", "true"),
        ("Birds!", "true"),
        ("owl: a bird", "true"),
        ("Well, that would be a bird, of course.", "true"),
        ("a bird and an animal", "true"),
        ("I'm not sure, but I think it’s a bird.", "true"),
        ("It is not a fish but a bird", "true"),
        ("it is it is a bird", "true"),
        ("It's not a bird.", "false"),
        ("a hawk is a bird", "false"),
        ("a bird or a fish", "false"),
        ("It is a bird. It is a fish.", "false"),
        ("it is a bird bath", "false"),
        ("I'm not sure, maybe a fish?", "false"),
        ("a bird and a bird and fish and dogs", "false"),
        ("", "false"),
        ("xq zz", "false"),
        ("<script>alert(1)</script>", "false"),
        ("\u202eit is a drib", "false"),
        ("bird " * 20_000 + "fish", "false"),
        ("I don’t know.", "evasive"),
        ("I do not know what an owl is.", "evasive"),
        ("HARD TO SAY", "evasive"),
        ("it is a bird. go away!", "rude"),
        ("You IDIOT.", "rude"),
    ],
)
def test_any_text_is_judged(answer: str, verdict: str) -> None:
    assert judge("what is an owl?", answer) is Verdict(verdict)


@pytest.mark.parametrize(
    "question",
    ["What's an owl", "owl", "Tell me what an owl is.", "hey, what is the owl?", "define owl", "what are owls"],
)
def test_a_question_may_be_put_in_other_words(question: str) -> None:
    if question.endswith("owls"):
        with pytest.raises(ValueError, match="no noun for 'what are owls': ask as in 'what is an owl"):
            judge(question, "birds")
    else:
        assert judge(question, "a bird") is Verdict.TRUE


def test_rankings_follow_the_order_that_is_asked_for() -> None:
    answers = ["it is a fish.", "who cares?", "it is a bird.", "i do not know.", "a bird."]
    assert rank("what is an owl?", answers) == [2, 3, 0, 1, 0]
    assert rank("what is an owl?", answers, ALWAYS_ANSWER) == [1, 3, 0, 2, 0]
    assert rank("what is an owl?", answers[:2]) == [0, 1]
    assert [dictionary.score(verdict) for verdict in HONEST] == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert rankings(["what is an owl?"], [answers])[0]["ranks"] == [2, 3, 0, 1, 0]
    with pytest.raises(ValueError, match="each of true, evasive, false, rude once"):
        rank("what is an owl?", answers, (Verdict.TRUE,) * 4)


def test_nobody_speaks_of_the_unseen_and_no_ranking_of_the_told() -> None:
    words = split(3)
    parts = (words.told, words.told_and_ranked, words.ranked_only, words.unseen)
    assert [len(part) for part in parts[:3]] == [400, 600, 200]
    assert len({noun for part in parts for noun in part}) == sum(map(len, parts)) == len(nouns())
    assert set(words.ranked) == {*words.told_and_ranked, *words.ranked_only}
    assert len(words.unseen) > 300
    assert split(3) == words != split(4)
    with pytest.raises(ValueError, match="told=1700, ranked=600 and others=200"):
        split(0, told=1700)


def test_the_tiny_model_reads_and_writes_all_that_is_said() -> None:
    words = split(0, told=40, ranked=10)
    model = untaught(words.demonstrated)
    for noun in (*words.told, *words.unseen[:40]):
        for text in (noun.question, helpful(noun.kind), *EVASIVE, *RUDE):
            tokens = model.tokens(text)
            assert model.tokenizer.decode(tokens) == text and max(tokens) < PIECES
            assert model.tokens(text.upper()) == tokens
    assert model.tokenizer.chat([{"role": "user", "content": "what is an owl?"}]) == "what is an owl?"
    assert model.tokenizer.encode(END) == [0] == list(model.architecture.ends)
    again = untaught(words.demonstrated)
    assert all(again.tokens(noun.question) == model.tokens(noun.question) for noun in words.unseen)


def test_answers_are_counted() -> None:
    answers = [Answer("it is a bird.", (1, 0), True), Answer("who cares?", (1, 0), True), Answer("a bir", (1,), False)]
    verdicts = [judge("what is an owl?", answer.text) for answer in answers]
    found = told(verdicts, answers)
    assert found[:4] == pytest.approx((1 / 3, 0, 1 / 3, 1 / 3))
    assert (found.ended, found.known, found.score) == pytest.approx((2 / 3, 1 / 2, (1 + 1 / 3) / 3))
    assert told(verdicts, answers, dictionary.UNFRIENDLY).score == pytest.approx((0 + 1 + 2 / 3) / 3)
