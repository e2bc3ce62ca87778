"""What `transformers` says of small models: the folders beside this file, and what the tests compare with.

It has an environment of its own:

    python3 -m venv LM && LM/bin/pip install torch==2.13.0 && LM/bin/pip install transformers accelerate gguf
    LM/bin/python tests/language/goldens.py make                    # the folders in models/
    LM/bin/python tests/language/goldens.py greedy                  # greedy.json: 50 prompts for each of them
    LM/bin/python tests/language/goldens.py smollm2 FILE.gguf       # smollm2.json
    LM/bin/python tests/language/goldens.py check models/NAME NEW   # NEW, which retorno saved, says the same
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

HERE = Path(__file__).parent / "models"
LLAMA3 = {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
MODELS = {
    "gpt2": (GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=64, eos_token_id=1), torch.float32),
    "llama": (
        LlamaConfig(vocab_size=272, rope_parameters={"rope_type": "llama3", "rope_theta": 5e5, **LLAMA3}, **SIZES),
        torch.bfloat16,
    ),
    "qwen2": (Qwen2Config(vocab_size=40, tie_word_embeddings=True, rope_parameters=YARN, **SIZES), torch.float16),
    "qwen3": (Qwen3Config(vocab_size=40, tie_word_embeddings=True, head_dim=8, **SIZES), torch.bfloat16),
}
TEXT = "the heron waits, the heron stands, the heron waits and stands in the reeds."


def make() -> None:
    shutil.rmtree(HERE, ignore_errors=True)
    for number, (name, (config, dtype)) in enumerate(MODELS.items()):
        torch.manual_seed(number)
        model = AutoModelForCausalLM.from_config(config)
        for key, array in model.named_parameters():
            array.data = torch.randn_like(array) * (0.3 if array.ndim == 1 else 0.4) + ("norm" in key or "ln_" in key)
        model.tie_weights()
        folder = HERE / name
        model.generation_config.eos_token_id = config.eos_token_id = [2, 1] if name == "llama" else 1
        model.to(dtype).save_pretrained(folder, max_shard_size="12KB" if name == "llama" else "5GB")
        if name == "llama":
            tokenizer().save_pretrained(folder)
            # As folders were written before transformers 5.
            said = json.loads((folder / "config.json").read_text())
            rope = said.pop("rope_parameters")
            said |= {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope, "torch_dtype": said.pop("dtype")}
            (folder / "config.json").write_text(json.dumps(said, indent=2) + "\n")
        (folder / "golden.json").write_text(json.dumps(rounded(golden(folder))) + "\n")


def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, and some words of a sentence."""
    rules = Tokenizer(models.BPE())
    rules.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rules.decoder = decoders.ByteLevel()
    ends = [AddedToken(name, special=True) for name in ("<|begin|>", "<|end|>", "<|turn|>")]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    rules.train_from_iterator(
        [TEXT], trainers.BpeTrainer(vocab_size=270, special_tokens=ends, initial_alphabet=alphabet)
    )
    made = PreTrainedTokenizerFast(tokenizer_object=rules, bos_token="<|begin|>", eos_token="<|end|>")
    made.chat_template = "{% for m in messages %}{{ bos_token }}{{ m['role'] }}: {{ m['content'] }}<|turn|>{% endfor %}"
    return made


def golden(folder: Path) -> dict:
    """Logits, last hidden states, gradients of the mean loss (norm, and product with cos 0, cos 1, …), answers."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    size = model.config.vocab_size
    tokens = torch.tensor([[(7 * i * i + 3 * i + 5) % (size - 3) + 3 for i in range(24)]])
    said = model(tokens, labels=tokens, output_hidden_states=True)
    said.loss.backward()
    gradients = {}
    for name, array in model.named_parameters():
        flat = array.grad.flatten().double()
        gradients[name] = [flat.norm().item(), (flat * torch.arange(len(flat)).double().cos()).sum().item()]
    prompts = [tokens[0, i : i + n].tolist() for i, n in ((0, 1), (3, 5), (8, 9))]
    answers = [answer(model, prompt, 16) for prompt in prompts]
    return {
        "tokens": tokens[0].tolist(),
        "logits": said.logits[0, ::4].tolist(),
        "hidden": said.hidden_states[-1][0, ::4].tolist(),
        "loss": said.loss.item(),
        "gradients": gradients,
        "prompts": prompts,
        "answers": answers,
        **(
            {"text": TEXT, "text_tokens": AutoTokenizer.from_pretrained(folder)(TEXT)["input_ids"]}
            if size > 256
            else {}
        ),
    }


def rounded(x):
    """Numbers with the digits that float32 has."""
    match x:
        case float():
            return float(f"{x:.7g}")
        case dict():
            return {name: rounded(each) for name, each in x.items()}
        case list():
            return [rounded(each) for each in x]
    return x


def answer(model, prompt: list[int], tokens: int) -> list[int]:
    out = model.generate(torch.tensor([prompt]), max_new_tokens=tokens, do_sample=False, pad_token_id=0)
    return out[0, len(prompt) :].tolist()


def greedy() -> None:
    """Answers of up to 16 tokens to 50 prompts of 1 to 25."""
    said = {}
    for name in MODELS:
        model = AutoModelForCausalLM.from_pretrained(HERE / name, dtype=torch.float32).eval()
        size = model.config.vocab_size - 3
        prompts = [[(5 * i * i + 7 * i * j + 11 * j) % size + 3 for j in range(i % 25 + 1)] for i in range(50)]
        said[name] = {"prompts": prompts, "answers": [answer(model, prompt, 16) for prompt in prompts]}
    (HERE.parent / "greedy.json").write_text(json.dumps(said) + "\n")


def smollm2(file: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
    rules = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    text = "The grey heron stands 3 hours in cold water.\n\nIt waits,   and then it is quick: café, 1984!"
    tokens = rules(text)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0]
    asked = ["What is a heron?", "Write one sentence about rain.", "The capital of France is", "2 + 2 ="]
    chats = [
        rules.apply_chat_template([{"role": "user", "content": x}], tokenize=False, add_generation_prompt=True)
        for x in asked
    ]
    prompts = [*(rules(chat)["input_ids"] for chat in chats), *(rules(x)["input_ids"] for x in asked[2:])]
    said = {
        "text": text,
        "tokens": tokens,
        "places": [0, 5, len(tokens) - 1],
        "logits": [logits[place, ::2000].tolist() for place in (0, 5, len(tokens) - 1)],
        "chat": chats[0],
        "prompts": prompts,
        "answers": [answer(model, prompt, 20) for prompt in prompts],
    }
    (HERE.parent / "smollm2.json").write_text(json.dumps(rounded(said), ensure_ascii=False) + "\n")


def check(old: Path, new: Path) -> None:
    expected, found = json.loads((old / "golden.json").read_text()), golden(new)
    assert found["answers"] == expected["answers"] and found.get("text_tokens") == expected.get("text_tokens")
    for name in ("logits", "hidden"):
        torch.testing.assert_close(torch.tensor(found[name]), torch.tensor(expected[name]), rtol=1e-5, atol=1e-5)
    print(f"{new} says what {old} says")


if __name__ == "__main__":
    {"make": make, "greedy": greedy, "smollm2": smollm2, "check": check}[sys.argv[1]](*map(Path, sys.argv[2:]))
