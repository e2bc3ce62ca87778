"""Texts as they are written: piece by piece, and in turns, of which only what is new is read.

What a model has read of a text is its key–value cache. It is kept between turns, and taken back to where a new text
and the one that was read part: so one more message costs its own tokens, and another answer to the same message none.
"""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int

from retorno.core import constants
from retorno.core.policy import Carry, Policy, initial_carries
from retorno.language.architecture import ModelError
from retorno.language.decoder import with_window
from retorno.language.generation import (
    ROOM,
    Answer,
    Sampling,
    Writing,
    first_of,
    prompt_tokens,
    require_room,
    require_stops,
    write,
)
from retorno.language.model import LanguageModel
from retorno.language.tokenizer import Tokenizer, library
from retorno.networks.transformer import back_to, with_slots

SLOTS = 256
"""Room of a new memory; it doubles when it is full, and then programs are compiled for the larger one."""

Pieces = Generator[str, None, Answer]
"""Text as it is written; to close it ends the writing. What it returns at its end is the whole answer."""


def stream(
    model: LanguageModel,
    prompt: str | Sequence[int],
    tokens: int = 64,
    sampling: Sampling = Sampling(),  # noqa: B008 (it cannot change)
    seed: int = 0,
    stop: Sequence[str] = (),
    memory: Memory | None = None,
) -> Pieces:
    """Go on with a prompt, and tell the text as it is written, in whole characters.

    Raises:
        ModelError: when the model has no tokenizer; else as `generate`.

    Args:
        model: what `load` gave.
        prompt: a text, or tokens.
        tokens: how many may follow.
        sampling: how each is drawn.
        seed: what is drawn follows from it: the same as by `generate`.
        stop: texts that end the answer, which is what stands before the first of them.
        memory: what was read before; of a prompt that begins as that did only the rest is read.
    """
    given = prompt_tokens(model, prompt, 0)
    require_room(model, len(given), tokens)
    require_stops(model, stop)
    if model.tokenizer is None:
        raise ModelError("a stream is text, and the model's folder holds no tokenizer.json: copy it there, or generate")
    return _stream(model.tokenizer, memory or Memory(model), given, tokens, sampling.plain(), seed, tuple(stop))


def _stream(
    tokenizer: Tokenizer,
    memory: Memory,
    prompt: list[int],
    tokens: int,
    sampling: Sampling,
    seed: int,
    stop: tuple[str, ...],
) -> Pieces:
    speech, written, ends = _Speech(tokenizer, stop), [], memory.model.architecture.ends
    for token in memory.write(prompt, tokens, sampling, seed):
        written.append(token)
        if token in ends:
            break
        if piece := speech.add(token):
            yield piece
        if speech.stopped:
            return Answer(speech.said, tuple(written), True)
    if rest := speech.rest():
        yield rest
    return Answer(speech.said, tuple(written), speech.stopped or written[-1] in ends)


class Memory:
    """What a model has read and written of one text."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.tokens: list[int] = []
        """Of which it holds keys and values."""
        self._slots = 0
        self._carry: Carry = None

    def write(self, prompt: list[int], tokens: int, sampling: Sampling, seed: int) -> Iterator[int]:
        """Go on with a prompt of one token or more, token by token; the one that ends it is the last."""
        if self._carry is None:
            self.tokens = []
        known = next((i for i, (a, b) in enumerate(zip(self.tokens, prompt, strict=False)) if a != b), None)
        known = min(len(self.tokens), len(prompt)) if known is None else known
        known = min(known, len(prompt) - 1)
        fresh = prompt[known:-1]
        rows = -(-len(fresh) // ROOM) * ROOM
        self._make_room(max(len(prompt) + tokens, known + rows))
        policy = with_window(self.model.policy, self._slots)
        carry, self._carry = back_to(self._carry, known), None  # Until it is whole again there is none.
        if fresh:
            carry = _read(policy, carry, np.pad(np.array([fresh], np.int32), [(0, 0), (0, rows - len(fresh))]))
        writing = Writing(
            count=jnp.int32(0),
            token=jnp.array(prompt[-1:], jnp.int32),
            first=jnp.zeros(1, bool),
            carry=back_to(carry, len(prompt) - 1),
            written=jnp.zeros((1, 1), jnp.int32),  # Each token is told at once.
            length=jnp.zeros(1, jnp.int32),
            ended=jnp.zeros(1, bool),
            key=jax.random.key(seed),
        )
        ends = jnp.array(self.model.architecture.ends, jnp.int32)
        self.tokens = prompt[:-1]
        for count in range(1, tokens + 1):
            last, self._carry = int(writing.token[0]), None
            writing = write(policy, writing, ends, sampling, jnp.int32(count))
            self._carry = writing.carry
            self.tokens.append(last)
            yield int(writing.token[0])

    def _make_room(self, rows: int) -> None:
        slots = max(self._slots, SLOTS)
        while slots < rows:
            slots *= 2
        if self._carry is None:
            self._carry = initial_carries(with_window(self.model.policy, slots), 1)
        elif slots > self._slots:
            self._carry = with_slots(self._carry, slots)
        self._slots = slots


@functools.partial(constants.jit, donate_argnums=1)
def _read(policy: Policy, carry: Carry, tokens: Int[Array, "1 T"]) -> Carry:
    """Read on; what is read after the text's own tokens is written over later, and not seen before."""
    return jax.vmap(policy.read)(tokens, jnp.zeros(tokens.shape, bool), carry)


class _Speech:
    """Text as it is told: whole characters, and nothing that may be the beginning of a stop string."""

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...]) -> None:
        self.said = ""
        self.stopped = False
        self._tokens: list[int] = []
        self._held = ""
        self._tokenizer, self._stop = tokenizer, stop
        self._pieces: Any = library("tokenizers").decoders.DecodeStream(skip_special_tokens=True)

    def add(self, token: int) -> str:
        """What may be told after one more token."""
        self._tokens.append(token)
        return self._tell(self._pieces.step(self._tokenizer.rules, token) or "")

    def rest(self) -> str:
        """What was held back, where nothing follows any more: half a character is told as the decoder writes it."""
        whole = self._tokenizer.decode(self._tokens)
        piece = self._tell(whole.removeprefix(self.said + self._held))
        if self.stopped:
            return piece
        held, self._held = self._held, ""
        self.said += held
        return piece + held

    def _tell(self, piece: str) -> str:
        text = self._held + piece
        if (place := first_of(text, self._stop)) is not None:
            self.stopped, told, self._held = True, text[:place], ""
        else:
            keep = max((_begun(text, stop) for stop in self._stop), default=0)
            told, self._held = text[: len(text) - keep], text[len(text) - keep :]
        self.said += told
        return told


def _begun(text: str, stop: str) -> int:
    """How much of a stop string a text ends with.

    >>> _begun("the heron us", "user:")
    2
    """
    return next((n for n in range(min(len(stop), len(text)), 0, -1) if text.endswith(stop[:n])), 0)


class Conversation:
    """Turns of a user and a model, as the model's chat template writes them."""

    def __init__(
        self,
        model: LanguageModel,
        messages: Sequence[dict[str, str]] = (),
        tokens: int = 256,
        sampling: Sampling = Sampling(),  # noqa: B008 (it cannot change)
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> None:
        """A conversation, begun with `messages`, each a `role` and its `content`; the rest is as of `stream`."""
        self.model, self.messages = model, [dict(message) for message in messages]
        self.tokens, self.sampling, self.seed, self.stop = tokens, sampling, seed, stop
        self._memory = Memory(model)
        self._answers = 0

    def say(self, message: str) -> Pieces:
        """What the model answers to a message, as it is written.

        Where it is closed before its end the answer is what was told.

        Raises:
            ModelError: when the conversation is longer than the model was made for, or it has no chat template.
        """
        return self._answer([*self.messages, {"role": "user", "content": message}])

    def again(self) -> Pieces:
        """Another answer to the last message.

        Raises:
            ModelError: when there is none yet.
        """
        if not self.messages or self.messages[-1]["role"] != "assistant":
            raise ModelError("there is no answer yet that another one could stand for: say something first")
        return self._answer(self.messages[:-1])

    def _answer(self, messages: list[dict[str, str]]) -> Pieces:
        tokenizer, longest = self.model.tokenizer, self.model.architecture.longest
        if tokenizer is None:
            raise ModelError("a conversation is text, and the model's folder holds no tokenizer.json: copy it there")
        prompt = self.model.tokens(tokenizer.chat(messages))
        if len(prompt) >= longest:
            raise ModelError(
                f"the conversation is {len(prompt)} tokens long, and the model was made for {longest}: begin a new one"
            )
        tokens, seed = min(self.tokens, longest - len(prompt)), self.seed + self._answers
        pieces = stream(self.model, prompt, tokens, self.sampling, seed, self.stop, self._memory)
        self._answers += 1
        return self._tell(messages, pieces)

    def _tell(self, messages: list[dict[str, str]], pieces: Pieces) -> Pieces:
        told: list[str] = []
        try:
            while True:
                try:
                    piece = next(pieces)
                except StopIteration as end:
                    return end.value
                told.append(piece)
                yield piece
        finally:
            pieces.close()
            self.messages = [*messages, {"role": "assistant", "content": "".join(told)}]
