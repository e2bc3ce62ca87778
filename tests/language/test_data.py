"""Texts from files: what they become, and what is said of those that cannot be read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import retorno as rt
from retorno import language
from retorno.algorithms.preferences.reward_model import scores
from retorno.environments.registry import WorldName
from retorno.language import DataError, StoredModel
from retorno.language.records import answer_of, asked_of, prompt_of, ranking_of, records
from retorno.language.tokenizer import Tokenizer

MODEL = str(Path(__file__).with_name("models") / "qwen3")
"""It has no tokenizer: its texts are tokens, 0 to 39."""
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def written(file: Path, *records: Any) -> Path:
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def column(world: Any, number: int = 0) -> tuple[list[int], list[int], list[bool]]:
    """A column's tokens, actions and choices, as far as its episode goes."""
    rows = int(np.argmax(np.asarray(world.lived.steps.last)[:, number])) + 1
    lived = world.lived
    return (
        lived.steps.obs[:rows, number].tolist(),
        lived.action[: rows - 1, number].tolist(),
        lived.choices[: rows - 1, number].tolist(),
    )


def test_a_demonstration_is_lived_again_and_its_answer_alone_is_chosen(tmp_path: Path) -> None:
    end = StoredModel(MODEL).architecture.ends[0]
    world = language.demonstrations(written(tmp_path / "a.jsonl", {"prompt": [5, 6, 7], "answer": [8, 9]}), MODEL)
    tokens, actions, choices = column(world)
    assert tokens == [5, 6, 7, 8, 9, end]
    assert actions == tokens[1:]
    assert choices == [False, False, True, True, True]
    assert world.lived.steps.discount[5, 0] == 0


def test_all_spellings_are_one_record(tmp_path: Path) -> None:
    spelt = [
        [{"question": [5], "response": [6]}],
        [{"instruction": [5], "output": [6], "source": "elsewhere"}],
    ]
    worlds = [language.demonstrations(records, MODEL) for records in spelt]
    worlds.append(language.demonstrations(written(tmp_path / "a.jsonl", {"prompt": [5], "completion": [6]}), MODEL))
    (tmp_path / "b.json").write_text('[{"prompt": [5], "answer": [6]}]')
    worlds.append(language.demonstrations(tmp_path / "b.json", MODEL))
    assert len({str(column(world)) for world in worlds}) == 1
    (tmp_path / "folder").mkdir()
    written(tmp_path / "folder" / "a.jsonl", {"prompt": [5], "answer": [6]})
    written(tmp_path / "folder" / "b.jsonl", {"prompt": [5], "answer": [7]})
    assert language.demonstrations(tmp_path / "folder", MODEL).transitions == 4


def talkative() -> Any:
    """A model whose tokens are letters, with a chat template."""
    tokenizers = pytest.importorskip("tokenizers")
    letters = {"</s>": 0, **{c: i for i, c in enumerate("<>user asintbcdxyz\n", 1)}}
    rules = tokenizers.Tokenizer(tokenizers.models.BPE(letters, []))
    rules.add_special_tokens([tokenizers.AddedToken("</s>", normalized=False, special=True)])
    made = language.load(MODEL)
    return language.LanguageModel(made.architecture, Tokenizer(rules, TEMPLATE), made.policy)


def test_of_a_conversation_each_turn_of_the_assistant_is_an_answer() -> None:
    model = talkative()
    model = replace(model, architecture=replace(model.architecture, ends=(0,)))
    turns = [("user", "ab"), ("assistant", "cd"), ("user", "x"), ("assistant", "yz")]
    record = {"messages": [{"role": role, "content": said} for role, said in turns]}
    tokens, _, choices = column(language.demonstrations([record], model))
    free = [token for token, chosen in zip(tokens[1:], choices, strict=True) if chosen]
    assert model.tokenizer.decode(free, specials=True).replace(" ", "") == "cd</s>yz</s>"
    asked = language.prompt_tokens([{"messages": record["messages"][:1]}], model)[0]
    assert tokens[: len(asked)] == asked


def test_each_turn_of_a_conversation_is_answered_anew() -> None:
    """The others say what they said, as a demonstration of the same conversation has it; the last turn may be open."""
    model = talkative()
    model = replace(model, architecture=replace(model.architecture, ends=(0,)))
    turns = [("user", "ab"), ("assistant", "cd"), ("user", "x"), ("assistant", "yz")]
    messages = [{"role": role, "content": said} for role, said in turns]
    tokens, _, choices = column(language.demonstrations([{"messages": messages}], model))
    for record in (messages, messages[:-1]):
        world: Any = language.prompts([{"messages": record}], model, answer=5, every_turn=True)
        first, then = world.world.prompts[0]
        given = [token for token in [*first.tolist(), *then.tolist()] if token >= 0]
        assert given == [tokens[0], *(t for t, chosen in zip(tokens[1:], choices, strict=True) if not chosen)]
        assert world.rows == len(given) + 2 * 5
    once: Any = language.prompts([{"messages": messages}], model, answer=5)
    assert once.world.lengths.shape == (1, 1) and once.rows == len(tokens) - 3 + 5  # yz and its end
    said: Any = language.prompts([{"prompt": [5], "then": [[6, 7], [8]]}], MODEL, answer=2)
    assert said.world.prompts.tolist() == [[[5, -1, -1], [6, 7, -1], [8, -1, -1]]]
    with pytest.raises(DataError, match="expected a list of what is said after each answer"):
        language.prompts([{"prompt": [5], "then": "really?"}], MODEL, answer=2)
    with pytest.raises(DataError, match="would be 30 tokens long with its answers of 9, of 20"):
        language.prompts([{"prompt": [5], "then": [[6], [7]]}], MODEL, answer=9, longest=20)


def read(file: Path) -> list[Any]:
    return [record for _, record in records(file)]


def test_a_table_s_texts_may_have_several_lines_and_any_character(tmp_path: Path) -> None:
    said = 'prompt,answer\r\n"a\r\nb","c, \u2028 d"\r\ne,\r\n'
    (tmp_path / "t.csv").write_bytes(said.encode("utf-8-sig"))
    assert read(tmp_path / "t.csv") == [
        {"prompt": "a\r\nb", "answer": "c, \u2028 d"},
        {"prompt": "e", "answer": None},
    ]
    with pytest.raises(DataError, match=r"t.csv, line 4: answer is None: expected a text"):
        language.demonstrations(tmp_path / "t.csv", MODEL.replace("qwen3", "llama"))


def test_half_a_character_has_no_tokens() -> None:
    with pytest.raises(DataError, match=r"record 0 holds half of a character \(a lone surrogate\)"):
        language.demonstrations([{"prompt": "a", "answer": "\ud800"}], MODEL.replace("qwen3", "llama"))


def test_texts_in_the_spellings_of_others() -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]}]
    told = [{"from": "human", "value": "a b"}, {"from": "gpt", "value": "c"}]
    user, assistant = {"role": "user", "content": "a b"}, {"role": "assistant", "content": "c"}
    assert prompt_of({"messages": parts}, "here") == ([user], "messages")
    assert prompt_of({"conversations": told}, "here") == ([user, assistant], "conversations")
    assert asked_of({"conversations": told}, "here") == [user]
    assert answer_of({"prompt": "a b", "completion": [assistant]}, "here") == "c"
    assert (prompt_of({"prompt": 7}, "here")[0], answer_of({"answer": 2.5}, "here")) == ("7", "2.5")
    assert ranking_of({"prompt": "a", "answers": ["b", 3, "d"], "ranks": [1.0, 0.0, float("nan")]}, "here") == (
        "a", ["b", "3", "d"], [1, 0, -1],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"prompt": "a", "answer": True}, "here: answer is True: expected a text, messages, or tokens"),
        ({"prompt": "a", "answer": [{"role": "user", "content": "b"}]}, "expected one, of the assistant"),
        ({"prompt": [{"role": "user", "content": [{"type": "image"}]}]}, "expected a role and its content, a text"),
        ({"messages": [{"role": "assistant", "content": "b"}]}, "here asks nothing: only the assistant speaks"),
        ({"prompt": "a", "answers": [None, "b"], "ranks": [0, 1]}, "here: answers is None"),
        ({"prompt": "a", "answers": ["b"] * 2, "ranks": [0, 200]}, r"expected 0 for the best and on, to 127"),
        ({"prompt": "a", "answers": ["b", "c", "b"], "ranks": [0, 1, 2]}, "contradicts itself: the answer 'b' is rank"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "contradicts itself: the answer 'b' is ranked 0 and 1"),
    ],
)
def test_a_text_that_is_none_is_told_with_its_place(record: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        asked_of(record, "here")
        ranking_of(record, "here") if "ranks" in record or "chosen" in record else answer_of(record, "here")


def test_rankings_stand_side_by_side(tmp_path: Path) -> None:
    records = [
        {"prompt": [5], "answers": [[6], [7, 8], [9]], "ranks": [1, 0, None]},
        {"prompt": [4], "chosen": [6], "rejected": [7]},
    ]
    world = language.rankings(written(tmp_path / "r.jsonl", *records), MODEL)
    assert (world.columns, world.group) == (6, 3)
    assert world.lived.extras["ranking"][0].tolist() == [[1, 0, -1]] * 3 + [[0, 1, -1]] * 3
    assert column(world, 1)[0][:3] == [5, 7, 8]
    assert np.asarray(world.lived.transitions)[:, 5].sum() == 0  # Nobody's answer.


def test_held_out_prompts_are_always_the_same_ones() -> None:
    records = [{"prompt": [i % 20, i % 7], "answer": [i % 5]} for i in range(140)]
    parts = [language.demonstrations(records, MODEL, held_out=0.3, held=held) for held in (False, True)]
    shown = [{tuple(column(world, i)[0][:2]) for i in range(world.columns)} for world in parts]
    assert not shown[0] & shown[1]
    whole = language.demonstrations(records, MODEL).transitions
    assert sum(world.transitions for world in parts) == whole
    assert 0.15 < parts[1].transitions / whole < 0.45


def test_a_run_goes_on_with_the_texts_that_it_began_with(tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", *({"prompt": [5, i], "answer": [6]} for i in range(8)))
    world: Any = language.demonstrations(file, MODEL, held_out=0.1)
    again: Any = WorldName.recorded(json.loads(json.dumps(world.named.as_json()))).make()
    np.testing.assert_array_equal(again.lived.action, world.lived.action)
    written(file, {"prompt": [5, 1], "answer": [7]})
    with pytest.raises(DataError, match="holds other texts than when the run began"):
        WorldName.recorded(world.named.as_json()).make()


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"promt": "x", "answer": "y"}, "line 1 has 'promt', 'answer': expected one of prompt, .* did you mean prompt"),
        ({"prompt": [1], "reply": [2]}, "expected one of answer, completion"),
        ({"prompt": [1], "answer": [999]}, r"expected a text, messages, or tokens 0 to 39"),
        ({"prompt": "x", "answer": "y"}, "no tokenizer"),
        ({"prompt": [1] * 60, "answer": [2] * 60}, "line 1 is 121 tokens long, of 64"),
        ([1, 2], "expected a record with fields"),
    ],
)
def test_a_demonstration_that_cannot_be_read_is_named(tmp_path: Path, record: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        language.demonstrations(written(tmp_path / "a.jsonl", record), MODEL)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"prompt": [1], "answers": [[2], [3]], "ranks": [0]}, "2 answers and 1 ranks"),
        ({"prompt": [1], "answers": [[2], [3]], "ranks": [0, -1]}, "0 for the best and on, to 127, null where"),
        ({"prompt": [1], "answers": [[2], [3]], "ranks": [0, 0]}, "leaves nothing to learn from"),
        ({"prompt": [1], "chosen": [2]}, "expected answers and ranks, or chosen and rejected"),
    ],
)
def test_a_ranking_that_cannot_be_read_is_named(tmp_path: Path, record: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        language.rankings(written(tmp_path / "a.jsonl", record), MODEL)


def test_files_that_are_not_there_or_not_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no .*nowhere\.jsonl"):
        language.demonstrations(tmp_path / "nowhere.jsonl", MODEL)
    (tmp_path / "data.arrow").write_bytes(b"")
    with pytest.raises(DataError, match="arrow or parquet files, which are not read here"):
        language.demonstrations(tmp_path, MODEL)
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt": "\xe9"}')
    with pytest.raises(DataError, match="expected text in UTF-8"):
        language.demonstrations(tmp_path / "latin.jsonl", MODEL)


def test_a_run_over_a_model_is_a_model(tmp_path: Path) -> None:
    """Stages in a row: each begins with what the one before has learnt, its heads included."""
    file = written(
        tmp_path / "r.jsonl", *({"prompt": [5, i], "answers": [[6], [7]], "ranks": [0, 1]} for i in range(4))
    )
    first = language.Decoder(StoredModel(MODEL), language.LoRA(rank=2), window=8)
    world = language.rankings(file, MODEL)
    with rt.train(rt.algorithms.RewardModel(network=first, num_envs=4), world, 60, folder=tmp_path / "scores") as run:
        run.run_to_end()
    model = language.load(tmp_path / "scores")
    np.testing.assert_allclose(
        language.log_probs(model, [5, 1, 6, 7]),
        language.log_probs(language.LanguageModel(model.architecture, None, run.policy), [5, 1, 6, 7]),
        rtol=1e-4, atol=1e-4,
    )  # fmt: skip
    lived = jax.tree.map(jnp.asarray, world.lived)

    def loss(lift: Any, centre: float) -> Any:
        bias = lambda policy: policy.policy.last["value"].bias  # noqa: E731
        lifted: Any = eqx.tree_at(bias, run.policy, replace_fn=lambda own: own + lift)
        return rt.algorithms.RewardModel(network=first, num_envs=4, centre=centre)._loss(lifted, lived)[0]

    # Rankings leave open where 0 is; `centre` draws the mean of the scores there.
    free, drawn = (jax.jit(jax.grad(loss), static_argnums=1)(jnp.float32(1), centre) for centre in (0.0, 0.5))
    scored = jax.jit(scores)(run.policy, lived.steps)
    assert abs(free) < 1e-6
    np.testing.assert_allclose(drawn, 1 + scored.mean(), rtol=1e-4)
    arrays = StoredModel(str(tmp_path / "scores")).read()
    assert "last/value/weight" in arrays
    inside = jax.eval_shape(lambda: jnp.asarray(StoredModel(str(tmp_path / "scores")).read()["last/value/weight"]))
    assert inside.shape == arrays["last/value/weight"].shape  # Also where a program is being made.
    assert language.rankings(file, str(tmp_path / "scores")).columns == world.columns
    with pytest.raises(language.ModelError, match="is a run of QLearning over a network that is no language model"):
        with rt.train("q_learning", "student", 20, folder=tmp_path / "table") as other:
            other.run_to_end()
        language.load(tmp_path / "table")


def test_prompts_are_a_world_by_its_name(tmp_path: Path) -> None:
    """Which a run records, and another day makes again, with the same prompts."""
    file = written(tmp_path / "a.jsonl", {"prompt": [5, 6, 7]}, {"question": [8]})
    world: Any = language.prompts(file, MODEL, answer=4)
    ends = StoredModel(MODEL).architecture.ends
    assert (world.prompt, world.rows) == (2, 3 + 4) and world.world.ends.tolist() == list(ends)
    assert world.world.prompts[:, 0].tolist() == [[5, 6, 7, -1], [8, -1, -1, -1]]
    name = WorldName.of(world)
    assert name is not None and name.settings["answer"] == 4
    again: Any = WorldName.recorded(json.loads(json.dumps(name.as_json()))).make()
    assert again.rows == world.rows and again.named == name
    short: Any = language.prompts(file, MODEL, longest=20)
    assert short.rows == 20  # What the longest prompt leaves room for.
    written(file, {"prompt": [5, 6]})
    with pytest.raises(DataError, match="holds other texts than when the run began"):
        name.make()
    with pytest.raises(DataError, match="an answer of 99999 tokens: expected `answer` from 1 to"):
        language.prompts(file, MODEL, answer=99_999)
    with pytest.raises(DataError, match="holds no records"):
        language.prompts([], MODEL, answer=4)
