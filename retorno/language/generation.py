"""Going on with texts: a model's `step`, vmapped over texts, behind one `read` of all prompts."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Key

from retorno.core import constants
from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Policy
from retorno.language.architecture import ModelError
from retorno.language.decoder import POLICY, with_window
from retorno.language.model import LanguageModel
from retorno.ops.distributions import Categorical, LinearCategorical
from retorno.ops.sampling import top_k, top_p

ROOM = 32
"""Caches and programs are made for multiples of so many tokens: texts of about one length share them."""


@hyperparameters
class Sampling:
    """How the next token is drawn."""

    greedy: bool = False
    """Take the likeliest one; nothing is random."""
    temperature: NonNegative = 1.0
    """Logits are divided by it: below 1 the likely becomes likelier, and at 0 it is greedy."""
    top_k: Count | None = None
    """Draw among so many of the likeliest."""
    top_p: UnitInterval | None = None
    """Draw among the likeliest, as few as have this probability together."""

    def plain(self) -> Sampling:
        """The same, of which nothing is left over that changes nothing: at temperature 0 it is greedy."""
        return Sampling(greedy=True) if self.greedy or self.temperature == 0 else self

    def __call__(self, policy: Categorical | LinearCategorical, key: Key[Array, ""]) -> Int[Array, ""]:
        if self.greedy:
            return policy.mode()
        whole = policy.whole() if isinstance(policy, LinearCategorical) else policy
        logits = whole.logits / jnp.maximum(self.temperature, 1e-6)
        if self.top_k is not None:
            logits = top_k(logits, self.top_k)
        if self.top_p is not None:
            logits = top_p(logits, self.top_p)
        return Categorical(logits).sample(key)


class Answer(NamedTuple):
    """What a model made of a prompt."""

    text: str
    """Without the tokens that end it; empty where the model has no tokenizer."""
    tokens: tuple[int, ...]
    """The one that ended it included."""
    ended: bool
    """Whether the model ended it; else it was cut."""


def generate(
    model: LanguageModel,
    prompts: str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]],
    tokens: int = 64,
    sampling: Sampling = Sampling(),  # noqa: B008 (it cannot change)
    seed: int = 0,
    stop: Sequence[str] = (),
) -> list[Answer]:
    """Go on with prompts, all side by side, until each has ended or has so many tokens more.

    Raises:
        ModelError: when a prompt is empty and the model has no token to begin with, holds tokens that the model does
            not have, or is too long for it; when there are stop strings and the model has no tokenizer.

    Args:
        model: what `load` gave.
        prompts: texts, or the tokens of each; one alone needs no list around it.
        tokens: how many may follow.
        sampling: how each is drawn.
        seed: what is drawn follows from it, for each prompt by its place among them.
        stop: texts that end an answer, which is what stands before the first of them.

    Returns:
        One answer a prompt.
    """
    alone = isinstance(prompts, str) or any(isinstance(each, int) for each in prompts)
    texts: Any = [prompts] if alone else prompts
    begun = [prompt_tokens(model, text, number) for number, text in enumerate(texts)]
    if not begun:
        return []
    longest = max(map(len, begun))
    require_room(model, longest, tokens)
    require_stops(model, stop)
    rows = _rounded(longest)
    window = min(_rounded(longest + tokens), model.architecture.longest)
    # Shorter prompts wait first, on rows that belong to no text.
    prompt = np.zeros((len(begun), rows), np.int32)
    first = np.zeros((len(begun), rows), bool)
    for i, text in enumerate(begun):
        prompt[i, rows - len(text) :] = text
        first[i, rows - len(text)] = True
    policy, ends = with_window(model.policy, window), jnp.array(model.architecture.ends, jnp.int32)
    writing = begin(policy, prompt, first, tokens, jax.random.key(seed))
    every = LOOK if stop else tokens
    for until in range(every, tokens + every, every):
        writing = write(policy, writing, ends, sampling.plain(), jnp.int32(min(until, tokens)))
        written, length, ended = map(np.asarray, (writing.written, writing.length, writing.ended))
        answers = [_answer(model, row[:n].tolist(), stop) for row, n in zip(written, length, strict=True)]
        if all(answer.ended for answer in answers):
            break
        if stop:
            writing = writing._replace(ended=ended | np.array([answer.ended for answer in answers]))
    return answers


LOOK = 16
"""After so many tokens it is looked for stop strings, where several texts are written side by side."""


def _rounded(rows: int) -> int:
    return -(-rows // ROOM) * ROOM


def require_room(model: LanguageModel, prompt: int, tokens: int) -> None:
    """Refuse an answer for which there is no room.

    Raises:
        ModelError: when it has no token, or the model was not made for texts so long.
    """
    if tokens < 1:
        raise ModelError(f"an answer has one token or more, got tokens={tokens}")
    if prompt + tokens > (room := model.architecture.longest):
        raise ModelError(
            f"a prompt of {prompt} tokens and {tokens} to follow are more than the {room} of this model: shorten the "
            "prompt, or ask for fewer tokens"
        )


def require_stops(model: LanguageModel, stop: Sequence[str]) -> None:
    """Refuse stop strings that cannot be found.

    Raises:
        ModelError: when one is empty, or the model writes no text.
    """
    if isinstance(stop, str) or not all(stop):
        raise ModelError(f"stop holds texts that end an answer, none of them empty, got {stop!r}")
    if stop and model.tokenizer is None:
        raise ModelError("stop strings are looked for in text, and the model's folder holds no tokenizer.json")


def prompt_tokens(model: LanguageModel, text: str | Sequence[int], number: int) -> list[int]:
    """A prompt's tokens: as they are given, or those of the text."""
    tokens = model.tokens(text) if isinstance(text, str) else list(text)
    begin, known = model.architecture.begin, model.architecture.vocabulary
    if not tokens and begin is not None:
        tokens = [begin]
    if not tokens:
        raise ModelError(f"prompt {number} is empty, and this model has no token that begins a text: give it one word")
    if wrong := [token for token in tokens if not 0 <= token < known]:
        raise ModelError(f"prompt {number} holds token {wrong[0]}; the model's are 0 to {known - 1}")
    return tokens


def _answer(model: LanguageModel, tokens: list[int], stop: Sequence[str]) -> Answer:
    """What was written; where a stop string is found, up to the token that completed it."""
    ended = tokens[-1] in model.architecture.ends
    said = tokens[:-1] if ended else tokens
    if model.tokenizer is None:
        return Answer("", tuple(tokens), ended)
    text = model.tokenizer.decode(said)
    if (place := first_of(text, stop)) is None:
        return Answer(text, tuple(tokens), ended)
    decode = model.tokenizer.decode
    count = next(n for n in range(1, len(said) + 1) if first_of(decode(said[:n]), stop) is not None)
    return Answer(text[:place], tuple(said[:count]), True)


def first_of(text: str, stop: Sequence[str]) -> int | None:
    r"""Where the first of these begins in a text.

    >>> first_of("a heron.\nuser:", ["user", "\n"])
    8
    """
    places = [place for each in stop if (place := text.find(each)) >= 0]
    return min(places, default=None)


class Writing(NamedTuple):
    """Texts under way."""

    count: Int[Array, ""]
    """How many tokens were written."""
    token: Int[Array, " B"]
    """The last of each text."""
    first: Bool[Array, " B"]
    """Whether that is its first."""
    carry: Carry
    written: Int[Array, "B N"]
    length: Int[Array, " B"]
    """How many tokens of each answer count."""
    ended: Bool[Array, " B"]
    key: Key[Array, ""]


@functools.partial(constants.jit, static_argnums=3)
def begin(
    policy: Policy, prompt: Int[Array, "B P"], first: Bool[Array, "B P"], tokens: int, key: Key[Array, ""]
) -> Writing:
    """Read all prompts but their last tokens, to be answered with up to so many."""
    texts = prompt.shape[0]
    return Writing(
        count=jnp.int32(0),
        token=prompt[:, -1],
        first=first[:, -1],
        carry=jax.vmap(lambda prompt, first: policy.read(prompt, first, None))(prompt[:, :-1], first[:, :-1]),
        written=jnp.zeros((texts, tokens), jnp.int32),
        length=jnp.zeros(texts, jnp.int32),
        ended=jnp.zeros(texts, bool),
        key=key,
    )


@functools.partial(constants.jit, donate_argnums=1)
def write(
    policy: Policy, writing: Writing, ends: Int[Array, " E"], sampling: Sampling, until: Int[Array, ""]
) -> Writing:
    """Write on until so many tokens stand, or all texts have ended."""
    texts = writing.token.shape[0]

    def one(token: Array, first: Array, carry: Carry, key: Key[Array, ""]) -> tuple[Array, Carry]:
        heads, carry = policy.step(token, first, carry)
        return sampling(heads[POLICY], key), carry

    def step(now: Writing) -> Writing:
        of = lambda text: jax.random.fold_in(jax.random.fold_in(now.key, text), now.count)  # noqa: E731
        token, carry = jax.vmap(one)(now.token, now.first, now.carry, jax.vmap(of)(jnp.arange(texts)))
        return Writing(
            count=now.count + 1,
            token=token,
            first=jnp.zeros_like(now.first),
            carry=carry,
            written=now.written.at[:, now.count].set(token),
            length=now.length + ~now.ended,
            ended=now.ended | (token[:, None] == ends).any(axis=1),
            key=now.key,
        )

    return jax.lax.while_loop(lambda now: (now.count < until) & ~now.ended.all(), step, writing)


def log_probs(model: LanguageModel, text: str | Sequence[int]) -> Float[np.ndarray, " T"]:
    """How likely a model finds each token of a text, after those before it: log-probabilities of all but the first.

    Raises:
        ModelError: when it has fewer than two tokens or more than the model was made for.

    Args:
        model: what `load` gave.
        text: the text, or its tokens.
    """
    tokens = prompt_tokens(model, text, 0)
    if not 2 <= len(tokens) <= model.architecture.longest:
        raise ModelError(f"a text of 2 to {model.architecture.longest} tokens is needed, got {len(tokens)}")
    rows = min(-(-len(tokens) // ROOM) * ROOM, model.architecture.longest)
    padded = np.pad(np.asarray(tokens, np.int32), (0, rows - len(tokens)))
    return np.asarray(_log_probs(with_window(model.policy, rows), padded))[: len(tokens) - 1]


@constants.jit
def _log_probs(policy: Policy, tokens: Int[Array, " T"]) -> Float[Array, " T-1"]:
    heads: Any = policy.unroll(tokens, jnp.arange(tokens.shape[0]) == 0, policy.initial_carry())
    return jax.vmap(lambda policy, token: policy.log_prob(token))(
        jax.tree.map(lambda x: x[:-1], heads[POLICY]), tokens[1:]
    )
