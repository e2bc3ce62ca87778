"""The same work in retorno and in transformers; run by language.py, each with its own Python."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from measure import serve

BATCH, PROMPT, TOKENS = 16, 16, 48
SMALL = os.environ.get("SMALL", "")
"""A model folder: 4 layers of 256."""
SMOLLM2 = os.environ.get("SMOLLM2", "")
"""The file of SmolLM2."""


def prompts(vocabulary: int) -> list[list[int]]:
    return [[(7 * i + 11 * j) % (vocabulary - 10) + 5 for j in range(PROMPT)] for i in range(BATCH)]


def retorno(model: str) -> Callable[[], float]:
    """Tokens a second, drawn from the whole distribution; no text ends."""
    from dataclasses import replace

    from retorno import language

    read = language.load(model)
    read = replace(read, architecture=replace(read.architecture, ends=()))
    return _rate(lambda: language.generate(read, prompts(read.architecture.vocabulary), TOKENS))


def transformers(**where: Any) -> Callable[[], float]:
    """The same by `generate`, with the number of threads that is faster for it."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(dtype=torch.float32, **where).eval()
    given = torch.tensor(prompts(model.config.vocab_size))
    settings = {"max_new_tokens": TOKENS, "do_sample": True, "top_k": 0, "pad_token_id": 0}
    model.generation_config.eos_token_id = None
    generate = _rate(lambda: model.generate(given, attention_mask=torch.ones_like(given), **settings))
    rates = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        rates[threads] = max(generate(), generate())
    torch.set_num_threads(max(rates, key=lambda threads: rates[threads]))
    return generate


def _rate(work: Callable[[], Any]) -> Callable[[], float]:
    clock = time.process_time if os.environ.get("CLOCK") == "cpu" else time.perf_counter

    def measure() -> float:
        began = clock()
        work()
        return BATCH * TOKENS / (clock() - began)

    return measure


if __name__ == "__main__":
    folder, _, file = SMOLLM2.rpartition("/")
    serve(
        {
            "retorno_small": lambda: retorno(SMALL),
            "retorno_smollm2": lambda: retorno(SMOLLM2),
            "transformers_small": lambda: transformers(pretrained_model_name_or_path=SMALL),
            "transformers_smollm2": lambda: transformers(pretrained_model_name_or_path=folder, gguf_file=file),
        }
    )
