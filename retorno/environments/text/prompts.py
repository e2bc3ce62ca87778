"""Prompts to answer: the state is the text so far, an action is the next token.

What a language model is taught in by rewards. The world pays nothing: a relabel judges the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Int, Key

from retorno.core.environment import Environment
from retorno.core.mdp import MDP, mdp
from retorno.core.runtime import prepare
from retorno.core.time_step import Only, TimeStep, restart, transition
from retorno.environments.wrappers import Together

FREE = -1
"""What is left to do where a text is free; and what stands behind a prompt's last token, which is no token."""


class Answering(NamedTuple):
    """What of a text determines its future."""

    prompt: Int[Array, ""]
    """Which of the prompts it began with."""
    length: Int[Array, ""]
    """How many tokens there are, the prompt's included."""


class Prompts(Environment):
    """Answer prompts, token by token.

    A text begins with one of the prompts, all equally likely: its first row shows the prompt's first token, and on
    the rows before its last one `Only` the next is legal. What follows is free. The answer is over with any of the
    tokens that end one, and with its token number `answer`: nothing that came after would be part of it, so that
    both are ends (discount 0), and no value is asked of what lies behind them. Whether an answer was ended or cut
    is told by its last token.

    Rewards are 0. Observes the last token, Discrete(vocabulary). No row holds an array as long as the vocabulary.
    `together()` is what to train in: prompts are read at once and answers written in lockstep, shorter prompts wait
    before they begin, on rows that belong to no text.

    Args:
        prompts: the tokens of each, one or more.
        vocabulary: how many tokens there are.
        ends: those that end an answer; none where every answer has all its tokens.
        answer: how many tokens an answer has at most, the one that ends it included.

    Raises:
        ValueError: when there is no prompt, one is empty, or a token is not in the vocabulary.

    >>> world = Prompts([[3, 1], [2]], vocabulary=8, ends=[0], answer=4)
    >>> world, world.together().lockstep
    (<Prompts: 2, of 1 to 2 tokens out of 8; answers of up to 4>, Lockstep(prompt=1, rows=6))
    """

    prompts: Int[Array, "N Q"]
    """Behind each prompt's last token stands `FREE`, behind that of the longest as well."""
    lengths: Int[Array, " N"]
    ends: Int[Array, " E"]
    vocabulary: int = eqx.field(static=True)
    answer: int = eqx.field(static=True)

    def __init__(
        self, prompts: Sequence[Sequence[int]], vocabulary: int, ends: Sequence[int] = (0,), answer: int = 32
    ) -> None:
        if not len(prompts):
            raise ValueError("there is no prompt: give one or more, each a list of tokens")
        if answer < 1:
            raise ValueError(f"an answer has one token or more, got answer={answer}")
        lengths = np.array([len(prompt) for prompt in prompts], np.int32)
        if not lengths.all():
            raise ValueError(
                f"prompt {int(np.argmin(lengths))} is empty: begin it with one token, for instance the one that "
                "begins a text"
            )
        padded = np.full((len(prompts), lengths.max() + 1), FREE, np.int32)
        for row, prompt in zip(padded, prompts, strict=True):
            row[: len(prompt)] = prompt
        inside = np.arange(padded.shape[1]) < lengths[:, None]
        outside = inside & ((padded < 0) | (padded >= vocabulary))
        if outside.any():
            number, place = np.argwhere(outside)[0]
            raise ValueError(
                f"prompt {number} holds token {padded[number, place]}: tokens are 0 to {vocabulary - 1} (vocabulary)"
            )
        if wrong := [end for end in ends if not 0 <= end < vocabulary]:
            raise ValueError(f"ends holds token {wrong[0]}: tokens are 0 to {vocabulary - 1} (vocabulary)")
        prepare()
        self.prompts, self.lengths = jnp.asarray(padded), jnp.asarray(lengths)
        self.ends = jnp.asarray(np.array(ends, np.int32))
        self.vocabulary, self.answer = vocabulary, answer

    def __repr__(self) -> str:
        lengths = np.asarray(self.lengths)
        return (
            f"<Prompts: {len(lengths):,}, of {lengths.min()} to {lengths.max()} tokens out of {self.vocabulary:,}; "
            f"answers of up to {self.answer}>"
        )

    @property
    def longest(self) -> int:
        """How many tokens the longest prompt has."""
        return self.prompts.shape[1] - 1

    @property
    def observation_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.vocabulary)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.vocabulary)

    def _left(self, state: Answering) -> Only:
        return Only(self.prompts[state.prompt, jnp.minimum(state.length, self.longest)])

    def reset(self, key: Key[Array, ""]) -> tuple[Answering, TimeStep]:
        state = Answering(jax.random.randint(key, (), 0, len(self.lengths)), jnp.int32(1))
        return state, restart(self.prompts[state.prompt, 0], self._left(state))

    def step(self, state: Answering, action: Int[Array, ""], key: Key[Array, ""]) -> tuple[Answering, TimeStep]:
        token = jnp.asarray(action, jnp.int32)
        answered = state.length - self.lengths[state.prompt]
        over = (token == self.ends).any() | (answered + 1 >= self.answer)
        state = state._replace(length=state.length + 1)
        return state, transition(token, 0.0, terminated=(answered >= 0) & over, legal=self._left(state))

    def held_back(self, state: Answering) -> Int[Array, ""]:
        return self.longest - self.lengths[state.prompt]

    def together(self) -> Together:
        """Texts that wait for each other, so that their prompts are read at once."""
        return Together(self, self.longest - 1, self.longest + self.answer)

    def model(self, score: Callable[[tuple[int, ...], tuple[int, ...]], float]) -> MDP:
        """The exact model: each text is a state, and with its answer's last token it is paid.

        There are N · Vᴬ of them, for V tokens and answers of A: for small worlds.

        Args:
            score: of a prompt and an answer, the token that ended it included.
        """
        transitions: dict[Any, dict[Any, Any]] = {}
        starts = [
            tuple(row[:n].tolist()) for row, n in zip(np.asarray(self.prompts), np.asarray(self.lengths), strict=True)
        ]
        ends = set(np.asarray(self.ends).tolist())

        def name(number: int, said: tuple[int, ...]) -> str:
            return " ".join(map(str, (f"prompt {number}:", *said)))

        under_way: list[tuple[int, tuple[int, ...]]] = [(number, ()) for number in range(len(starts))]
        while under_way:
            number, said = under_way.pop()
            transitions[name(number, said)] = choices = {}
            for token in range(self.vocabulary):
                now = (*said, token)
                if token in ends or len(now) == self.answer:
                    choices[token] = [(1.0, "end", score(starts[number], now))]
                else:
                    choices[token] = [(1.0, name(number, now), 0.0)]
                    under_way.append((number, now))
        return mdp(transitions, initial={name(number, ()): 1 / len(starts) for number in range(len(starts))})
