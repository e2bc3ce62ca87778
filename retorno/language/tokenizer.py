"""From text to tokens and back, by the rules that a model was trained with: those of the library `tokenizers`."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retorno.language.architecture import ModelError
from retorno.language.weights import read_json, write_json

MOST_TURNS = 100_000
"""Of loops over numbers in a chat template, all together."""
FILE, TEMPLATE = "tokenizer.json", "chat_template.jinja"


def library(name: str) -> Any:
    """A package of the extra `language`.

    Raises:
        ModelError: when it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelError(f"language models need {name}: pip install 'retorno[language]'") from error


@dataclass(frozen=True)
class Tokenizer:
    """A model's tokenizer, and how it wants conversations written."""

    rules: Any
    """A `tokenizers.Tokenizer`."""
    template: str | None = None
    """Jinja; None where the model was not made for conversations."""
    specials: Mapping[str, str] | None = None
    """Names of special tokens that the template may use, such as `bos_token`."""

    @property
    def vocabulary(self) -> int:
        """How many tokens there are, the special ones included."""
        return self.rules.get_vocab_size()

    def written(self, token: int) -> str | None:
        """How a token is written; None where there is none of this number."""
        return self.rules.id_to_token(token)

    def number(self, written: str) -> int | None:
        """The token that is written so; None where there is none."""
        return self.rules.token_to_id(written)

    def differs(self, other: Tokenizer) -> int | None:
        """The first token that another tokenizer writes otherwise, or has not; None where there is none."""
        number = max(self.vocabulary, other.vocabulary)
        return next((token for token in range(number) if self.written(token) != other.written(token)), None)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text; what is written as a special token is one."""
        return self.rules.encode(text, add_special_tokens=False).ids

    def decode(self, tokens: Iterable[int], specials: bool = False) -> str:
        """The text of tokens, with or without the special ones."""
        return self.rules.decode(list(tokens), skip_special_tokens=not specials)

    def chat(self, messages: Sequence[Mapping[str, str]], answer: bool = True) -> str:
        """A conversation as the model was trained to read one, and, for an `answer`, the beginning of it.

        The template is rendered in a sandbox: it sees the messages and nothing else.

        Raises:
            ModelError: when there is no template, or it refuses the messages.

        Args:
            messages: each a `role` ("system", "user" or "assistant") and its `content`.
            answer: whether the model's own turn follows.
        """
        jinja = library("jinja2")
        if self.template is None:
            raise ModelError("the model has no chat template: it was made to continue texts, so give it one")

        def refuse(reason: str) -> None:
            raise jinja.TemplateError(reason)

        sandbox = _sandbox()
        sandbox.globals["raise_exception"] = refuse
        given = {**(self.specials or {}), "messages": list(messages), "add_generation_prompt": answer}
        try:
            return sandbox.from_string(self.template).render(given)
        except (jinja.TemplateError, TypeError, ArithmeticError, OverflowError) as error:
            raise ModelError(f"the chat template refuses these messages: {error}") from error

    def save(self, folder: Path) -> None:
        """Write it into a model folder."""
        self.rules.save(str(folder / FILE))
        said = {"tokenizer_class": "PreTrainedTokenizerFast", **(self.specials or {})}
        if self.template is not None:
            (folder / TEMPLATE).write_text(self.template, encoding="utf-8")
        write_json(folder / "tokenizer_config.json", said)


def _sandbox() -> Any:
    """Where a template is rendered: nothing of Python is within its reach, and it comes to an end."""
    left = MOST_TURNS

    def counted(*bounds: int) -> range:
        nonlocal left
        turns = range(*bounds)
        left -= len(turns)
        if left < 0:
            raise OverflowError(f"its loops take more than {MOST_TURNS} turns")
        return turns

    class Sandbox(library("jinja2.sandbox").ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(["*", "**"])

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            size = 1
            for x in (left, right):
                size *= len(x) if hasattr(x, "__len__") else 1 if isinstance(x, float) else abs(x)
            if operator == "**" or size > MOST_TURNS:
                raise OverflowError(f"{left!r:.20} {operator} {right!r:.20} is more than it may compute")
            return left * right

    sandbox = Sandbox(trim_blocks=True, lstrip_blocks=True)
    sandbox.globals["range"] = counted
    return sandbox


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer of a model folder; None where it holds none.

    Raises:
        ModelError: when it cannot be read.
    """
    if not (folder / FILE).exists():
        return None
    tokenizers = library("tokenizers")
    try:
        rules = tokenizers.Tokenizer.from_file(str(folder / FILE))
    except Exception as error:  # The library raises nothing more exact.
        raise ModelError(f"{folder / FILE} cannot be read: {error}; copy it again") from error
    settings = folder / "tokenizer_config.json"
    said = read_json(settings) if settings.exists() else {}
    specials = {
        name: token if isinstance(token, str) else token["content"]
        for name, token in said.items()
        if name in ("bos_token", "eos_token", "pad_token", "unk_token") and token is not None
    }
    template = said.get("chat_template")
    if isinstance(template, list):  # Several, by name.
        template = next((each["template"] for each in template if each["name"] == "default"), None)
    if (folder / TEMPLATE).exists():
        template = (folder / TEMPLATE).read_text(encoding="utf-8")
    return Tokenizer(rules, template, specials)
