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
    turn: Int[Array, ""]
    """How many answers were given before."""
    length: Int[Array, ""]
    """How many tokens there are since, those included that left no choice."""


class Prompts(Environment):
    """Answer prompts, token by token.

    A text begins with one of the prompts, all equally likely: its first row shows the prompt's first token, and on
    the rows before its last one `Only` the next is legal. What follows is free. The answer is over with any of the
    tokens that end one, and with its token number `answer`: nothing that came after would be part of it, so that
    both are ends (discount 0), and no value is asked of what lies behind them. Whether an answer was ended or cut
    is told by its last token.

    In a conversation the other side speaks again after an answer: its words are `Only` rows too, and what follows
    them is free. The end is that of the last answer.

    Rewards are 0. Observes the last token, Discrete(vocabulary). No row holds an array as long as the vocabulary.
    `together()` is what to train in: prompts are read at once and answers written in lockstep, shorter prompts wait
    before they begin, on rows that belong to no text.

    Args:
        prompts: the tokens of each, one or more.
        vocabulary: how many tokens there are.
        ends: those that end an answer; none where every answer has all its tokens.
        answer: how many tokens an answer has at most, the one that ends it included.
        then: of each prompt what the other side says after each answer but the last, as tokens; nothing where all
            are answered once.

    Raises:
        ValueError: when there is no prompt, one is empty, or a token is not in the vocabulary.

    >>> world = Prompts([[3, 1], [2]], vocabulary=8, ends=[0], answer=4)
    >>> world, world.together().lockstep
    (<Prompts: 2, of 1 to 2 tokens out of 8; answers of up to 4>, Lockstep(prompt=1, rows=6))
    >>> Prompts([[3, 1], [2]], 8, answer=4, then=[[[5, 2], [6]], []]).together().lockstep.rows
    17
    """

    prompts: Int[Array, "N S Q"]
    """What the other side says in each of S turns; behind its last token stands `FREE`, of the longest as well."""
    lengths: Int[Array, "N S"]
    """0 where a conversation has fewer turns."""
    ends: Int[Array, " E"]
    vocabulary: int = eqx.field(static=True)
    answer: int = eqx.field(static=True)

    def __init__(
        self,
        prompts: Sequence[Sequence[int]],
        vocabulary: int,
        ends: Sequence[int] = (0,),
        answer: int = 32,
        then: Sequence[Sequence[Sequence[int]]] = (),
    ) -> None:
        if not len(prompts):
            raise ValueError("there is no prompt: give one or more, each a list of tokens")
        if answer < 1:
            raise ValueError(f"an answer has one token or more, got answer={answer}")
        if len(then) not in (0, len(prompts)):
            raise ValueError(f"then says of each prompt what follows its answers: got {len(then)} for {len(prompts)}")
        said = [[prompt, *more] for prompt, more in zip(prompts, then or [()] * len(prompts), strict=True)]
        shape = len(said), max(map(len, said))
        lengths = np.zeros(shape, np.int32)
        padded = np.full((*shape, max(len(turn) for turns in said for turn in turns) + 1), FREE, np.int32)
        for number, turns in enumerate(said):
            for place, turn in enumerate(turns):
                of = f"prompt {number}" if place == 0 else f"turn {place + 1} of prompt {number}"
                if not len(turn):
                    raise ValueError(f"{of} is empty: begin it with one token, for instance the one that begins a text")
                if outside := [token for token in turn if not 0 <= token < vocabulary]:
                    raise ValueError(f"{of} holds token {outside[0]}: tokens are 0 to {vocabulary - 1} (vocabulary)")
                padded[number, place, : len(turn)], lengths[number, place] = turn, len(turn)
        if wrong := [end for end in ends if not 0 <= end < vocabulary]:
            raise ValueError(f"ends holds token {wrong[0]}: tokens are 0 to {vocabulary - 1} (vocabulary)")
        prepare()
        self.prompts, self.lengths = jnp.asarray(padded), jnp.asarray(lengths)
        self.ends = jnp.asarray(np.array(ends, np.int32))
        self.vocabulary, self.answer = vocabulary, answer

    def __repr__(self) -> str:
        lengths = np.asarray(self.lengths)[:, 0]
        turns = f"up to {self.lengths.shape[1]} " if self.lengths.shape[1] > 1 else ""
        return (
            f"<Prompts: {len(lengths):,}, of {lengths.min()} to {lengths.max()} tokens out of {self.vocabulary:,}; "
            f"{turns}answers of up to {self.answer}>"
        )

    @property
    def longest(self) -> int:
        """How many tokens the longest prompt has."""
        return int(np.asarray(self.lengths)[:, 0].max())

    @property
    def observation_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.vocabulary)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.vocabulary)

    def _left(self, state: Answering) -> Only:
        return Only(self.prompts[state.prompt, state.turn, jnp.minimum(state.length, self.prompts.shape[2] - 1)])

    def reset(self, key: Key[Array, ""]) -> tuple[Answering, TimeStep]:
        state = Answering(jax.random.randint(key, (), 0, len(self.lengths)), jnp.int32(0), jnp.int32(1))
        return state, restart(self.prompts[state.prompt, 0, 0], self._left(state))

    def step(self, state: Answering, action: Int[Array, ""], key: Key[Array, ""]) -> tuple[Answering, TimeStep]:
        token, turns = jnp.asarray(action, jnp.int32), self.lengths[state.prompt]
        answered = state.length - turns[state.turn]
        over = (answered >= 0) & ((token == self.ends).any() | (answered + 1 >= self.answer))
        more = (state.turn + 1 < len(turns)) & (turns[jnp.minimum(state.turn + 1, len(turns) - 1)] > 0)
        state = Answering(
            prompt=state.prompt,
            turn=state.turn + (over & more),
            length=jnp.where(over & more, 0, state.length + 1),
        )
        return state, transition(token, 0.0, terminated=over & ~more, legal=self._left(state))

    def held_back(self, state: Answering) -> Int[Array, ""]:
        return self.lengths[:, 0].max() - self.lengths[state.prompt, 0]

    def together(self) -> Together:
        """Texts that wait for each other, so that their prompts are read at once."""
        lengths = np.asarray(self.lengths)
        after = lengths[:, 1:].sum(1) + self.answer * (lengths > 0).sum(1)
        return Together(self, self.longest - 1, self.longest + int(after.max()))

    def model(self, score: Callable[[tuple[int, ...], tuple[int, ...]], float]) -> MDP:
        """The exact model: each text is a state, and with its answer's last token it is paid.

        There are N · Vᴬ of them, for V tokens and answers of A: for small worlds.

        Args:
            score: of a prompt and an answer, the token that ended it included.

        Raises:
            ValueError: when there are several turns.
        """
        if self.lengths.shape[1] > 1:
            raise ValueError("the exact model is of prompts that are answered once: here the other side speaks again")
        transitions: dict[Any, dict[Any, Any]] = {}
        prompts, lengths = np.asarray(self.prompts)[:, 0], np.asarray(self.lengths)[:, 0]
        starts = [tuple(row[:n].tolist()) for row, n in zip(prompts, lengths, strict=True)]
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
