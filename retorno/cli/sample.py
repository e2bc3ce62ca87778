"""`retorno sample MODEL`: what a language model makes of a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from retorno.cli.options import Flag, UsageError, parse
from retorno.cli.terminal import note, print_json
from retorno.core.hyperparameters import Count, NonNegative, UnitInterval


@dataclass(frozen=True)
class Sample:
    """Go on with one prompt or several, by a language model on this disk."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER|FILE.gguf|smollm2")]
    """A model folder in Hugging Face's layout, a GGUF file, smollm2 or tiny."""
    prompt: tuple[str, ...] = ()
    """What to go on with; several are answered side by side."""
    chat: Flag = False
    """The prompt is what a user says: write it as the model's chat template wants it."""
    tokens: Count | None = None
    """How many may follow; 64, or as many as there is room for, where it is not said."""
    samples: Count = 1
    """Answers for each prompt."""
    temperature: NonNegative = 1.0
    """Below 1 the likely becomes likelier; at 0 the likeliest token is taken."""
    top_k: Count | None = None
    """Draw among so many of the likeliest tokens."""
    top_p: UnitInterval | None = None
    """Draw among the likeliest tokens, as few as have this probability together."""
    seed: int = 0
    """Of what is drawn."""
    json: Flag = False
    """Print one JSON object and nothing else."""


def run(arguments: list[str]) -> int:
    given = parse(Sample, arguments, "retorno sample")
    if not given.prompt:
        raise UsageError('nothing to go on with: give --prompt "What is a heron?"')
    from retorno import language

    model = language.load(given.model)
    prompts = [_asked(model, prompt) if given.chat else prompt for prompt in given.prompt]
    sampling = language.Sampling(temperature=given.temperature, top_k=given.top_k, top_p=given.top_p)
    each = [prompt for prompt in prompts for _ in range(given.samples)]
    tokens = model.room([model.tokens(prompt) for prompt in each], given.tokens)
    answers = language.generate(model, each, tokens, sampling, given.seed)
    told = [prompt for prompt in given.prompt for _ in range(given.samples)]
    if given.json:
        records = [{"prompt": prompt, **answer._asdict()} for prompt, answer in zip(told, answers, strict=True)]
        print_json({"model": given.model, "answers": records})
        return 0
    for asked, prompt, answer in zip(each, told, answers, strict=True):
        if len(answers) > 1:
            note(f"> {harmless(prompt)}")
        print(harmless(answer.text if given.chat else prompt + answer.text))
        if not answer.ended:
            full = len(model.tokens(asked)) + len(answer.tokens) >= model.architecture.longest
            more = "as long a text as the model was made for" if full else "--tokens gives it more room"
            note(f"cut after {len(answer.tokens)} tokens: {more}")
    return 0


def _asked(model: object, prompt: str) -> str:
    from retorno.language import LanguageModel, ModelError

    assert isinstance(model, LanguageModel)
    if model.tokenizer is None:
        raise ModelError("the model's folder holds no tokenizer.json: copy the file there")
    return model.tokenizer.chat([{"role": "user", "content": prompt}])


def harmless(text: str) -> str:
    r"""A model's text for a terminal: what would steer it, or turn the direction of writing, is spelled out.

    >>> harmless("a\x1b[2Jb\n")
    'a\\x1b[2Jb\n'
    """
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
