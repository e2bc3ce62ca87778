"""The best of n answers, as they are drawn, against its law."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from retorno import language
from retorno.language.decoder import with_window
from retorno.language.judging import answer_log_probs

LLAMA = Path(__file__).with_name("models") / "llama"


def test_the_best_of_n_is_drawn_from_its_law() -> None:
    """Answers of one token, of five different scores: P(best ≤ s) is P(score ≤ s) to the power of n."""
    model, tokens, n, often = language.load(LLAMA), [5, 9, 7], 4, 512
    policy = with_window(model.policy, 32)
    heads: Any = policy.unroll(jnp.array(tokens), jnp.arange(3) == 0, policy.initial_carry())
    probs = np.exp(np.asarray(jax.nn.log_softmax(heads["policy"].logits[-1]), np.float64))
    tokenizer, ends = model.tokenizer, model.architecture.ends
    assert tokenizer is not None

    def score(text: str) -> float:
        return sum(map(ord, text)) % 5

    texts = ["" if token in ends else tokenizer.decode([token]) for token in range(len(probs))]
    mass = np.bincount([int(score(text)) for text in texts], probs, 5)
    below = np.cumsum(mass)
    law = np.diff(below**n, prepend=0.0)
    by = lambda prompts, answers: [score(answer) for answer in answers]  # noqa: E731
    said = language.best_of(model, [tokens] * often, by, n, tokens=1, seed=3)
    seen = np.bincount([int(score(answer.text)) for answer in said], minlength=5)
    assert chisquare(seen, law / law.sum() * often).pvalue > 1e-3
    assert chisquare(seen, mass / mass.sum() * often).pvalue < 1e-6, "one alone has another law"
    with pytest.raises(language.JudgeError, match="the best of 0 answers: expected 1 or more"):
        language.best_of(model, [tokens], by, 0)


def test_how_likely_an_answer_is_takes_in_its_end() -> None:
    model, prompt, answer = language.load(LLAMA), [5, 9, 7], [4, 11]
    whole = language.log_probs(model, [*prompt, *answer, model.architecture.ends[0]])
    (found,) = answer_log_probs(model, [prompt], [answer])
    assert found == pytest.approx(whole[-3:].sum(), abs=1e-4)
