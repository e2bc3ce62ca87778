"""A decoder's arrays in a model folder: where each lies, read and written.

A folder in the usual layout holds config.json and safetensors, in one file or in several with an index. Only
safetensors are read: other formats hold pickled objects, which may run anything when they are opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from retorno.language.architecture import Architecture, ModelError

INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
SHARD_BYTES = 5 * 10**9
"""A file of a folder holds no more."""


@dataclass(frozen=True)
class Place:
    """Where one array of ours lies in a folder: in several of theirs, side by side, perhaps transposed."""

    name: str
    theirs: tuple[str, ...]
    rows: tuple[int, ...] = ()
    """How many rows each has, where there are several."""
    transposed: bool = False

    def join(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Our array, from theirs."""
        parts = [arrays[name].T if self.transposed else arrays[name] for name in self.theirs]
        return np.ascontiguousarray(np.concatenate(parts) if len(parts) > 1 else parts[0])

    def split(self, array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Theirs, from our array."""
        for name, part in zip(self.theirs, np.split(array, np.cumsum(self.rows)[:-1]), strict=True):
            yield name, np.ascontiguousarray(part.T if self.transposed else part)


def places(architecture: Architecture) -> list[Place]:
    """Where each array of a decoder lies; `last/weight` is the last layer's, where it is not the embedding."""
    return list(_gpt2_places(architecture) if architecture.rotary is None else _llama_places(architecture))


def _gpt2_places(a: Architecture) -> Iterator[Place]:
    yield Place("input/tokens/weight", ("transformer.wte.weight",))
    yield Place("positions/weight", ("transformer.wpe.weight",))
    layers = {
        "attention_norm": "ln_1",
        "query_key_value": "attn.c_attn",
        "out": "attn.c_proj",
        "forward_norm": "ln_2",
        "up": "mlp.c_fc",
        "down": "mlp.c_proj",
    }
    names = {f"blocks/{i}/{ours}": f"h.{i}.{theirs}" for i in range(a.layers) for ours, theirs in layers.items()}
    for ours, theirs in (names | {"norm": "ln_f"}).items():
        kind = "scale" if "norm" in ours else "weight"
        yield Place(f"{ours}/{kind}", (f"transformer.{theirs}.weight",), transposed=kind == "weight")
        yield Place(f"{ours}/bias", (f"transformer.{theirs}.bias",))
    if not a.tied:
        yield Place("last/weight", ("lm_head.weight",))


def _llama_places(a: Architecture) -> Iterator[Place]:
    queries, keys = a.num_heads * a.head_width, a.key_heads * a.head_width
    yield Place("input/tokens/weight", ("model.embed_tokens.weight",))
    for i in range(a.layers):
        ours, theirs = f"blocks/{i}", f"model.layers.{i}"
        linear = {
            "query_key_value": ("self_attn", ("q_proj", "k_proj", "v_proj"), (queries, keys, keys), a.projection_bias),
            "out": ("self_attn", ("o_proj",), (), a.out_bias),
            "up": ("mlp", ("gate_proj", "up_proj"), (a.hidden, a.hidden), a.forward_bias),
            "down": ("mlp", ("down_proj",), (), a.forward_bias),
        }
        for name, (part, layers, rows, bias) in linear.items():
            at = [f"{theirs}.{part}.{layer}" for layer in layers]
            yield Place(f"{ours}/{name}/weight", tuple(f"{x}.weight" for x in at), rows)
            if bias:
                yield Place(f"{ours}/{name}/bias", tuple(f"{x}.bias" for x in at), rows)
        yield Place(f"{ours}/attention_norm/scale", (f"{theirs}.input_layernorm.weight",))
        yield Place(f"{ours}/forward_norm/scale", (f"{theirs}.post_attention_layernorm.weight",))
        if a.head_norms:
            yield Place(f"{ours}/query_norm/scale", (f"{theirs}.self_attn.q_norm.weight",))
            yield Place(f"{ours}/key_norm/scale", (f"{theirs}.self_attn.k_norm.weight",))
    yield Place("norm/scale", ("model.norm.weight",))
    if not a.tied:
        yield Place("last/weight", ("lm_head.weight",))


def joined(
    architecture: Architecture, names: Iterable[str], read: Callable[[str], np.ndarray], where: str
) -> Iterator[tuple[str, np.ndarray]]:
    """A decoder's arrays by our names, one after another: of what is not kept no more is in memory than one.

    Args:
        architecture: what it is made of.
        names: what is there, as a folder calls it.
        read: one of them.
        where: what it is called in messages.

    Raises:
        ModelError: when some are not there.
    """
    # Some folders hold the decoder alone, without the name of what is around it.
    around = "transformer." if architecture.rotary is None else "model."
    held = {name if name.startswith((around, "lm_head.")) else around + name: name for name in names}
    wanted = places(architecture)
    missing = [name for place in wanted for name in place.theirs if name not in held]
    if missing:
        raise ModelError(
            f"{where} lacks {len(missing)} of the arrays that its config.json promises, {missing[0]} among them: "
            "copy the whole folder"
        )
    return ((place.name, place.join({name: read(held[name]) for name in place.theirs})) for place in wanted)


def read_folder(folder: Path) -> dict[str, np.ndarray]:
    """All arrays of a model folder, by the names that they have there.

    Raises:
        ModelError: when there are none, one file is missing or broken, or they are pickled.
    """
    if (folder / INDEX).exists():
        names = sorted(set(read_json(folder / INDEX)["weight_map"].values()))
    elif (folder / WHOLE).exists():
        names = [WHOLE]
    else:
        if pickled := [file.name for pattern in PICKLED for file in folder.glob(pattern)]:
            raise ModelError(
                f"{folder} holds its weights as {pickled[0]}, which would have to be unpickled: that may run anything. "
                "Take the safetensors of the same model, or write them where you trust the file: "
                "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW) of transformers"
            )
        raise ModelError(f"{folder} holds no {WHOLE} and no {INDEX}: expected a model folder with safetensors")
    if missing := [name for name in names if Path(name).name != name or not (folder / name).exists()]:
        raise ModelError(
            f"{folder} lacks {missing[0]}, {len(missing)} of the {len(names)} files that its index names: copy it again"
        )
    arrays: dict[str, np.ndarray] = {}
    for name in names:
        try:
            arrays |= load_file(folder / name)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{folder / name} cannot be read: {error}; copy it again") from error
    return arrays


def write_folder(folder: Path, architecture: Architecture, arrays: Mapping[str, Any], shard_bytes: int) -> None:
    """Write a decoder's arrays, which have our names, as a model folder holds them."""
    theirs = dict(part for place in places(architecture) for part in place.split(np.asarray(arrays[place.name])))
    shards: list[dict[str, np.ndarray]] = [{}]
    for name, array in theirs.items():
        if shards[-1] and sum(x.nbytes for x in shards[-1].values()) + array.nbytes > shard_bytes:
            shards.append({})
        shards[-1][name] = array
    of = f"of-{len(shards):05}"
    files = [WHOLE] if len(shards) == 1 else [f"model-{i:05}-{of}.safetensors" for i in range(1, len(shards) + 1)]
    for file, shard in zip(files, shards, strict=True):
        save_file(shard, folder / file, {"format": "pt"})
    if len(shards) > 1:
        total = sum(x.nbytes for x in theirs.values())
        map_ = {name: file for file, shard in zip(files, shards, strict=True) for name in shard}
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": map_})


def read_json(file: Path) -> dict[str, Any]:
    """What a JSON file holds.

    Raises:
        ModelError: when it is not there, or no JSON object.
    """
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{file.parent} holds no {file.name}: expected a model folder in Hugging Face's layout"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read: {error}; copy it again") from error
    if not isinstance(held, dict):
        raise ModelError(f"{file} holds {type(held).__name__}, expected a JSON object")
    return held


def write_json(file: Path, held: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(held, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
