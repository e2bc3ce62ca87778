"""Text as a world: the state is the token sequence, an action is the next token.

What a language model is trained on, in its smallest form, with an exact model beside it.
"""

from __future__ import annotations

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
from retorno.core.time_step import Only, TimeStep, restart, transition
from retorno.environments.wrappers import Together

END = 0
"""The token that ends a text, and that stands before its first one (as in GPT-2)."""


class Written(NamedTuple):
    """What of the text determines its future."""

    length: Int[Array, ""]
    """How many tokens there are, the prompt's included."""
    matched: Int[Array, ""]
    """How many of the pattern's tokens have been emitted, in order."""
    prompt: Int[Array, ""]
    """Which of the prompts it began with."""


class Tokens(Environment):
    """Emit a hidden pattern, token by token, then end the text.

    A token that continues the pattern earns 1, any other nothing and leaves the pattern where it
    was; every token costs `cost`, the end included; token 0 ends the text (discount 0). A text of
    `limit` tokens after the prompt is cut (`last` alone). So the best return is
    `len(pattern) · (1 − cost) − cost`, and `model()` says so exactly.

    Observes the last token, Discrete(vocabulary), 0 before the first. The default pattern follows
    the token 1 with 4 and later with 5: a policy that sees the last token alone cannot emit it,
    one that remembers the text can.

    Each text begins with one of `prompts`, all equally likely: a run of rows on which `Only` the next
    token is legal. It earns and costs nothing. Before a shorter prompt its text waits, on rows that
    allow only a token 0 that ends nothing, so that texts which begin together are free together. No
    row holds an array as long as the vocabulary, which may be of any size.

    Raises:
        ValueError: when pattern or prompts hold the end token or one outside of the vocabulary.
    """

    pattern: tuple[int, ...] = eqx.field(static=True, default=(3, 1, 4, 1, 5))
    vocabulary: int = eqx.field(static=True, default=8)
    cost: float = eqx.field(static=True, default=0.1)
    limit: int = eqx.field(static=True, default=20)
    prompts: tuple[tuple[int, ...], ...] = eqx.field(static=True, default=())

    def __check_init__(self) -> None:
        for name, text in (("pattern", self.pattern), *(("prompts", prompt) for prompt in self.prompts)):
            if not all(END < token < self.vocabulary for token in text):
                raise ValueError(f"{name} must hold tokens 1 to {self.vocabulary - 1} ({END} is the end), got {text}")
        if not 0 < len(self.pattern) < self.limit:
            raise ValueError(f"limit must leave room for the pattern and the end, got {self.limit} for {self.pattern}")

    @property
    def observation_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.vocabulary)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.vocabulary)

    @property
    def _longest(self) -> int:
        """The rows before a text is free."""
        return max(map(len, self.prompts), default=0)

    def _legal(self, length: Int[Array, ""], prompt: Int[Array, ""]) -> Only | None:
        if not self.prompts:
            return None
        waiting = [self._longest - len(prompt) for prompt in self.prompts]
        forced = [[END] * wait + [*prompt, -1] for wait, prompt in zip(waiting, self.prompts, strict=True)]
        return Only(jnp.array(forced, jnp.int32)[prompt, jnp.minimum(length, self._longest)])

    def reset(self, key: Key[Array, ""]) -> tuple[Written, TimeStep]:
        prompt = jax.random.randint(key, (), 0, max(len(self.prompts), 1))
        length = jnp.int32(0)
        return Written(length, jnp.int32(0), prompt), restart(jnp.int32(END), self._legal(length, prompt))

    def together(self) -> Together:
        """Texts that wait for each other, so that their prompts are read at once."""
        return Together(self, self._longest, self._longest + self.limit + 1)

    def step(self, state: Written, action: Int[Array, ""], key: Key[Array, ""]) -> tuple[Written, TimeStep]:
        token = jnp.asarray(action, jnp.int32)
        free = state.length >= self._longest
        # The end follows the pattern's last token, but does not count as one of its tokens.
        wanted = jnp.array([*self.pattern, END], jnp.int32)[state.matched]
        right = free & (token == wanted) & (token != END)
        length = state.length + 1
        row = transition(
            token,
            right - self.cost * free,
            terminated=free & (token == END),
            truncated=length >= self._longest + self.limit,
            legal=self._legal(length, state.prompt),
        )
        return Written(length, state.matched + right, state.prompt), row

    def model(self) -> MDP:
        """The exact model: one state for each row before the text is free, and for each length of the matched pattern.

        It has no time limit: a cut text's value is that of going on.
        """
        transitions: dict[Any, dict[Any, Any]] = {}
        matched = [f"matched {m}" for m in range(len(self.pattern) + 1)]
        starts = []
        for k, prompt in enumerate(self.prompts):
            forced = [END] * (self._longest - len(prompt)) + [*prompt]
            rows = [f"prompt {k}, row {i}" for i in range(self._longest)]
            for here, token, there in zip(rows, forced, [*rows, matched[0]][1:], strict=True):
                transitions[here] = {token: [(1.0, there, 0.0)]}
            starts.append((rows + matched)[0])
        for m, here in enumerate(matched):
            transitions[here] = {token: [(1.0, here, -self.cost)] for token in range(self.vocabulary)}
            transitions[here][END] = [(1.0, "end", -self.cost)]
            if m < len(self.pattern):
                transitions[here][self.pattern[m]] = [(1.0, matched[m + 1], 1 - self.cost)]
        return mdp(transitions, initial={start: 1 / len(starts) for start in starts} if starts else matched[0])


def hidden_pattern(seed: int, length: int = 5, vocabulary: int = 8) -> tuple[int, ...]:
    """A pattern drawn from a seed in which some token is followed by two different ones.

    Raises:
        ValueError: when the length or the vocabulary leaves no room for that.

    Args:
        seed: what is drawn follows from it.
        length: of the pattern, in tokens.
        vocabulary: how many tokens there are.

    >>> ambiguous(hidden_pattern(seed=0))
    True
    """
    if length < 2 or vocabulary < 2:
        raise ValueError(
            f"a pattern with a repeat needs length >= 2 and vocabulary >= 2, got {length} and {vocabulary}"
        )
    rng = np.random.default_rng(seed)
    while True:
        pattern = tuple(int(token) for token in rng.integers(1, vocabulary, length))
        if ambiguous(pattern):
            return pattern


def ambiguous(pattern: tuple[int, ...]) -> bool:
    """Whether some token of a text is followed by different tokens, so that it alone does not tell the next.

    Args:
        pattern: the text.

    >>> ambiguous((1, 2, 1, 3)), ambiguous((1, 2, 3))
    (True, False)
    """
    followers = set(zip((END, *pattern), (*pattern, END), strict=True))
    return len(followers) > len({token for token, _ in followers})
