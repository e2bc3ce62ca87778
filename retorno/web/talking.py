"""Language models on disk, as the pages use them: they answer prompts, and score answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retorno.algorithms.preferences.reward_model import RewardModel, scores
from retorno.core import constants
from retorno.core.errors import RetornoError
from retorno.language import LanguageModel, Memory, Sampling, StoredModel, load, rankings, stream
from retorno.run import policy_folder
from retorno.run.config import from_json
from retorno.run.folder import read_config
from retorno.run.known import known
from retorno.web.shown import Prompt


@dataclass
class Talker:
    """A model folder, or a run over a model: its newest policy, while it goes on training."""

    where: str
    tokens: int = 64
    """That an answer may have; fewer where what was said leaves no room for them."""
    sampling: Sampling = Sampling()  # noqa: RUF009 (it cannot change)
    stop: tuple[str, ...] = ()
    """Texts that end an answer."""
    system: str | None = None
    """What the model is told before a conversation."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _read: tuple[Any, Memory] | None = field(default=None, init=False, repr=False)

    @property
    def name(self) -> str:
        """Where it lies, as it was typed."""
        return self.where

    def answer(self, prompt: Prompt, seed: int) -> Iterator[str]:
        """The answer; a prompt too long for the model loses its beginning."""
        if self.system is not None and not isinstance(prompt, str):
            prompt = [{"role": "system", "content": self.system}, *prompt]
        with self._lock:
            model = self.model
            longest = model.architecture.longest
            given = model.tokens(written(model, prompt))
            given = given[-max(longest - self.tokens, longest // 2) :]
            tokens = min(self.tokens, longest - len(given))
            assert self._read is not None
            yield from stream(model, given, tokens, self.sampling, seed, self.stop, self._read[1])

    @property
    def model(self) -> LanguageModel:
        """As it is on the disk now."""
        version = StoredModel(self.where).version
        if self._read is None or self._read[0] != version:
            self._read = version, Memory(load(self.where))
        return self._read[1].model


def written(model: LanguageModel, prompt: Prompt) -> str:
    """A prompt as a model reads it: a conversation by its template, or, where it has none, one turn a line."""
    if isinstance(prompt, str):
        return prompt
    if model.tokenizer is not None and model.tokenizer.template is not None:
        return model.tokenizer.chat(prompt)
    return "\n".join(message["content"] for message in prompt)


@dataclass
class ScoredBy:
    """The reward model that a run has learnt, newest first."""

    run: str
    _read: tuple[Any, Any] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Look whether it is one.

        Raises:
            RetornoError: when the run learns something else.
        """
        algorithm = from_json(read_config(Path(self.run))["algorithm"], known())
        if not isinstance(algorithm, RewardModel):
            raise RetornoError(
                f"{self.run} is a run of {type(algorithm).__name__}: answers are scored by one of RewardModel"
            )

    def scores(self, prompt: Prompt, answers: Sequence[str]) -> list[float]:
        """How good each answer is."""
        model = StoredModel(self.run)
        if self._read is None or self._read[0] != model.version:
            self._read = model.version, policy_folder.read_each(Path(self.run))[0].policies[0]
        # Ranks are needed for the shape alone.
        world = rankings([{"prompt": prompt, "answers": list(answers), "ranks": list(range(len(answers)))}], model)
        return [float(x) for x in _scores(self._read[1], world.lived.steps)]


@constants.jit
def _scores(network: Any, rows: Any) -> Any:
    return scores(network, rows)
