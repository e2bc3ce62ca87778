"""Models in one file, as llama.cpp writes them: weights, quantised or not, tokenizer and chat template.

The library `gguf` reads the file and undoes the quantisation, with NumPy alone. Rows of queries and keys lie there in
another order: pairs that are turned together are neighbours, where ours are half a head apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retorno.language.architecture import Architecture, ModelError
from retorno.language.tokenizer import Tokenizer, library
from retorno.language.weights import joined
from retorno.networks.rotary import Interpolated, Rotary, Stretch, YaRN

PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""A layer's arrays, and what model folders call them."""
AROUND = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
SPECIAL = (3, 4)
"""Types of tokens that are no text: control tokens and those that users added."""
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Llama 3 and Qwen 2 cut texts into words; they differ in how many digits may stand together."""


@dataclass(frozen=True)
class GGUF:
    """A model in one file."""

    architecture: Architecture
    tokenizer: Tokenizer
    tensors: Any
    """As `gguf` reads them."""
    file: Path
    interleaved: bool
    """Whether rows of queries and keys lie pair by pair, as in what was converted from Llama."""

    def arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """The decoder's arrays by our names, in float32, one after another.

        Raises:
            ModelError: when some are not there, or are no part of a decoder.
        """
        dequantize = library("gguf.quants").dequantize
        turned = (".q_proj.", ".k_proj.") if self.interleaved else ()
        held = {_called(tensor.name, self.file): tensor for tensor in self.tensors}

        def read(name: str) -> np.ndarray:
            array = dequantize(held[name].data, held[name].tensor_type)
            return _halves(array, self.architecture.head_width) if any(x in name for x in turned) else array

        return joined(self.architecture, held, read, str(self.file))


def read_gguf(file: Path) -> GGUF:
    """Open a model's file.

    Raises:
        ModelError: when it cannot be read, or holds a model or tokenizer of another kind.
    """
    gguf = library("gguf")
    try:
        reader = gguf.GGUFReader(file)
        said = {name: field.contents() for name, field in reader.fields.items()}
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ModelError(f"{file} cannot be read: {error}; expected a GGUF file, whole") from error
    names = {_called(tensor.name, file): tensor for tensor in reader.tensors}
    interleaved = said["general.architecture"] == "llama"
    return GGUF(_architecture(said, names, file), _tokenizer(said, file), reader.tensors, file, interleaved)


def _called(name: str, file: Path) -> str:
    """What model folders call an array.

    >>> _called("blk.3.attn_q.weight", Path("model.gguf"))
    'model.layers.3.self_attn.q_proj.weight'
    """
    match name.split("."):
        case ["blk", layer, part, kind] if part in PARTS:
            return f"model.layers.{layer}.{PARTS[part]}.{kind}"
        case [part, kind] if part in AROUND:
            return f"{AROUND[part]}.{kind}"
    raise ModelError(f"{file} holds {name}, which no decoder here has: take the model's folder instead")


def _halves(rows: np.ndarray, head_width: int) -> np.ndarray:
    """Rows of each head as ours are: the first of each pair, then the second of each."""
    pairs = rows.reshape(-1, head_width // 2, 2, *rows.shape[1:])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def _architecture(said: dict[str, Any], tensors: dict[str, Any], file: Path) -> Architecture:
    kind = said["general.architecture"]
    if kind not in ("llama", "qwen2", "qwen3"):
        raise ModelError(f"{file} holds a model of architecture {kind!r}; expected llama, qwen2 or qwen3")

    def of(name: str, default: Any = None) -> Any:
        if (value := said.get(f"{kind}.{name}", default)) is None:
            raise ModelError(f"{file} says no {kind}.{name}: is it whole?")
        return value

    heads, width = of("attention.head_count"), of("embedding_length")
    head_width = of("attention.key_length", width // heads)
    if of("rope.dimension_count", head_width) != head_width:
        raise ModelError(f"{file}: heads of which only a part is turned are not computed here")
    ends = [said.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot")]
    return Architecture(
        vocabulary=int(tensors["model.embed_tokens.weight"].shape[-1]),
        width=width,
        layers=of("block_count"),
        num_heads=heads,
        key_heads=of("attention.head_count_kv", heads),
        head_width=head_width,
        hidden=of("feed_forward_length"),
        longest=of("context_length"),
        epsilon=round(of("attention.layer_norm_rms_epsilon"), 12),
        rotary=Rotary(of("rope.freq_base", 10_000.0), _stretch(said, kind, file)),
        tied="lm_head.weight" not in tensors,
        projection_bias="model.layers.0.self_attn.q_proj.bias" in tensors,
        out_bias="model.layers.0.self_attn.o_proj.bias" in tensors,
        head_norms="model.layers.0.self_attn.q_norm.weight" in tensors,
        begin=said.get("tokenizer.ggml.bos_token_id"),
        ends=tuple(dict.fromkeys(end for end in ends if end is not None)),
    )


def _stretch(said: dict[str, Any], kind: str, file: Path) -> Stretch | None:
    def of(name: str, default: Any = None) -> Any:
        return said.get(f"{kind}.rope.scaling.{name}", default)

    match of("type", "none"):
        case "none":
            return None
        case "linear":
            return Interpolated(of("factor"))
        case "yarn":
            return YaRN(of("factor"), of("original_context_length"))
        case other:
            raise ModelError(f"{file}: rotary positions of type {other!r}; expected none, linear or yarn")


def _tokenizer(said: dict[str, Any], file: Path) -> Tokenizer:
    tokenizers = library("tokenizers")
    pre_tokenizers = tokenizers.pre_tokenizers

    def words(digits: str) -> Any:
        cut = pre_tokenizers.Split(tokenizers.Regex(WORDS % digits), "isolated")
        return [cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]

    whole = pre_tokenizers.ByteLevel(add_prefix_space=False)
    ways = {
        "gpt-2": [whole],
        "smollm": [pre_tokenizers.Digits(individual_digits=True), whole],
        "llama-bpe": words("{1,3}"),
        "qwen2": words(""),
    }
    model, way = said.get("tokenizer.ggml.model"), said.get("tokenizer.ggml.pre", "gpt-2")
    if model != "gpt2" or way not in ways:
        raise ModelError(
            f"{file} has a tokenizer of kind {model!r}, {way!r}; expected 'gpt2' with {', '.join(ways)}: take the "
            "model's folder, which holds tokenizer.json"
        )
    tokens = said["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in said["tokenizer.ggml.merges"]]
    rules = tokenizers.Tokenizer(
        tokenizers.models.BPE({token: i for i, token in enumerate(tokens)}, merges, ignore_merges=way == "llama-bpe")
    )
    rules.pre_tokenizer = pre_tokenizers.Sequence(ways[way])
    rules.decoder = tokenizers.decoders.ByteLevel()
    kinds = said.get("tokenizer.ggml.token_type", [])
    special = [token for token, kind in zip(tokens, kinds, strict=False) if kind in SPECIAL]
    rules.add_special_tokens([tokenizers.AddedToken(token, normalized=False, special=True) for token in special])
    names = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}
    ids = {name: said.get(f"tokenizer.ggml.{theirs}_token_id") for name, theirs in names.items()}
    specials = {name: tokens[i] for name, i in ids.items() if i is not None}
    return Tokenizer(rules, said.get("tokenizer.chat_template"), specials)
