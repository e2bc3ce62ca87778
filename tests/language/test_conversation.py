"""Texts told as they are written, and in turns of which only what is new is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import retorno as rt
from retorno.language import Conversation, Memory, ModelError, Sampling, conversation, stream
from retorno.web.talking import Talker

LLAMA = Path(__file__).with_name("models") / "llama"
GREEDY = Sampling(greedy=True)


@pytest.fixture(scope="module")
def model() -> Any:
    """No token ends its answers: it has learnt nothing, and would end where it likes."""
    read = rt.language.load(LLAMA)
    return replace(read, architecture=replace(read.architecture, ends=()))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows were read, each time that some were."""
    rows: list[int] = []
    read = conversation._read

    def counted(policy: Any, carry: Any, tokens: Any) -> Any:
        rows.append(tokens.shape[1])
        return read(policy, carry, tokens)

    monkeypatch.setattr(conversation, "_read", counted)
    return rows


def told(pieces: Any) -> tuple[list[str], Any]:
    """The pieces of a stream, and the answer at its end."""
    said: list[str] = []
    while True:
        try:
            said.append(next(pieces))
        except StopIteration as end:
            return said, end.value


def test_a_stream_tells_what_generate_gives(model: Any) -> None:
    for seed in range(4):
        (whole,) = rt.language.generate(model, "the heron", 16, seed=seed)
        pieces, answer = told(stream(model, "the heron", 16, seed=seed))
        assert answer == whole and "".join(pieces) == whole.text
    ends = whole.tokens[3]
    ended = replace(model, architecture=replace(model.architecture, ends=(9999, ends)))
    (whole,) = rt.language.generate(ended, "the heron", 16, seed=3)
    assert told(stream(ended, "the heron", 16, seed=3))[1] == whole
    assert whole.ended and whole.tokens[-1] == ends and len(whole.tokens) <= 4


def test_characters_are_told_whole(model: Any) -> None:
    text = "café ☕ und 鷺"
    for cut in (0, 1):
        speech = conversation._Speech(model.tokenizer, ())
        tokens = model.tokens(text)
        pieces = [speech.add(token) for token in tokens[: len(tokens) - cut]]
        assert "�" not in "".join(pieces) and len(pieces) > len(text)
        # Half a character at the end is told as the decoder writes it.
        assert "".join(pieces) + speech.rest() == model.tokenizer.decode(tokens[: len(tokens) - cut])


def test_a_stop_string_ends_an_answer_and_its_beginning_is_held_back(model: Any) -> None:
    speech = conversation._Speech(model.tokenizer, ("reeds", "stop"))
    pieces = [
        speech.add(token) for token in model.tokens("the heron reads, then rests in reeds.") if not speech.stopped
    ]
    assert "".join(pieces) == speech.said == "the heron reads, then rests in " and speech.rest() == ""
    (whole,) = rt.language.generate(model, "the heron", 16, seed=1)
    stop = next(c for c in whole.text[3:] if c.isascii() and c.isalnum())
    (cut, other) = rt.language.generate(model, ["the heron", "reeds"], 16, seed=1, stop=[stop])
    assert cut.ended and cut.text == whole.text[: whole.text.find(stop)] and stop in model.tokenizer.decode(cut.tokens)
    assert stop not in model.tokenizer.decode(cut.tokens[:-1]) and stop not in other.text
    pieces, answer = told(stream(model, "the heron", 16, seed=1, stop=[stop]))
    assert answer == cut and "".join(pieces) == cut.text


def test_of_a_turn_only_what_is_new_is_read(model: Any, reads: list[int]) -> None:
    """Two turns, and another answer to the second: each is what a fresh reading of the whole conversation gives."""
    talk = Conversation(model, tokens=6, sampling=GREEDY)
    for message in ("hi", "the heron"):
        messages = [*talk.messages, {"role": "user", "content": message}]
        (fresh,) = rt.language.generate(model, model.tokenizer.chat(messages), 6, GREEDY)
        pieces, answer = told(talk.say(message))
        assert answer.tokens == fresh.tokens and talk.messages[-1]["content"] == "".join(pieces)
    assert reads == [32, 32] and len(talk.messages) == 4
    before = list(talk.messages)
    assert told(talk.again())[1].tokens == fresh.tokens and talk.messages == before
    assert reads == [32, 32]  # Nothing is new.


def test_a_stream_that_is_closed_leaves_what_was_told(model: Any) -> None:
    talk = Conversation(model, tokens=8, sampling=GREEDY)
    pieces = talk.say("hi")
    said = next(pieces)
    pieces.close()
    assert talk.messages[-1] == {"role": "assistant", "content": said}
    messages = [*talk.messages, {"role": "user", "content": "go"}]
    (fresh,) = rt.language.generate(model, model.tokenizer.chat(messages), 4, GREEDY)
    talk.tokens = 4
    assert told(talk.say("go"))[1].tokens == fresh.tokens


def test_a_memory_grows_with_what_it_holds(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "SLOTS", 32)
    memory, text = Memory(model), [3, 1, 4, 1, 5, 9, 2, 6]
    for tokens in (text, text * 4, text * 2, [5, 4]):
        (fresh,) = rt.language.generate(model, [tokens], 8, GREEDY)
        assert tuple(memory.write(tokens, 8, GREEDY, 0)) == fresh.tokens


def test_what_cannot_be_said_is_refused_before_anything_is_told(model: Any) -> None:
    for arguments, match in (
        (("the heron", 100), "more than the 64"),
        (("the heron", 0), "one token or more"),
        (([3, 999], 4), "holds token 999"),
    ):
        with pytest.raises(ModelError, match=match):
            stream(model, *arguments)
    for stop in ("user", [""]):
        with pytest.raises(ModelError, match="texts that end an answer, none of them empty"):
            stream(model, "the heron", 4, stop=stop)
    bare = replace(model, tokenizer=None)
    with pytest.raises(ModelError, match=r"a stream is text, and the model's folder holds no tokenizer\.json"):
        stream(bare, [3], 4)
    with pytest.raises(ModelError, match="stop strings are looked for in text"):
        rt.language.generate(bare, [[3]], 4, stop=["x"])
    with pytest.raises(ModelError, match="a conversation is text"):
        Conversation(bare).say("hi")
    with pytest.raises(ModelError, match="no answer yet"):
        Conversation(model).again()
    with pytest.raises(ModelError, match="tokens long, and the model was made for 64: begin a new one"):
        Conversation(model).say("heron, duck, goose " * 20)


def test_where_an_answer_leaves_no_room_for_what_is_asked_it_is_shorter(model: Any) -> None:
    """The model was made for 64 tokens, and nobody has to know that."""
    assert (model.room([[1] * 9, [1] * 20]), model.room([[1] * 9], 60), model.room([[1] * 99])) == (44, 60, 1)
    talker = Talker(str(LLAMA), tokens=256, sampling=GREEDY)
    assert len(model.tokens("".join(talker.answer("the heron " * 30, 0)))) <= 32
