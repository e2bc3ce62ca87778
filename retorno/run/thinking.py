"""What a player thinks of a position: of each move how good, how likely, and how it would go on."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from retorno.core import constants
from retorno.core.environment import Environment
from retorno.core.policy import Policy
from retorno.core.time_step import TimeStep, allowed
from retorno.search import SearchPolicy
from retorno.search.trees import LINE, Found, evaluator_of
from retorno.search.uct import UCTPolicy, rollouts


class Thought(NamedTuple):
    """Of one position, for whoever moves there."""

    action: int
    """What the player would do."""
    policy: Float[np.ndarray, " A"]
    """How much it is for each move: what the search recommends."""
    prior: Float[np.ndarray, " A"] | None
    """What the network recommends before it looks ahead, where there is one."""
    value: float | None
    """Of the position, −1 to 1, where the player says one."""
    q: Float[np.ndarray, " A"] | None
    """Of each move; NaN for those that were not looked at."""
    lines: Int[np.ndarray, "A L"]
    """How it would go on behind each move; −1 where nothing is thought any more."""


def think(policy: Policy, row: TimeStep) -> Thought:
    """What a player thinks of a row.

    Args:
        policy: a player without a memory.
        row: what whoever moves sees.
    """
    if isinstance(policy, SearchPolicy | UCTPolicy):
        found, prior = jax.device_get(_searched(policy, row))
        q = np.where(found.visits > 0, found.q, np.nan)
        known = prior if isinstance(policy, SearchPolicy) else None
        return Thought(int(found.action), found.policy, known, float(found.value), q, found.lines)
    heads = jax.device_get(_heads(policy, row))
    chances = heads["policy"]
    value = float(heads["value"]) if "value" in heads else None
    return Thought(
        action=int(chances.argmax()),
        policy=chances,
        prior=chances if value is not None else None,
        value=value,
        q=None,
        lines=np.full((len(chances), LINE), -1),
    )


def seconds_of(said: str) -> float | None:
    """How long a move may take, where that was said: "2s", ".5s".

    >>> seconds_of("1.5s"), seconds_of("200")
    (1.5, None)
    """
    number = said.removesuffix("s")
    known = said.endswith("s") and re.fullmatch(r"\d+\.?\d*|\.\d+", number)
    return float(number) if known and float(number) > 0 else None


def in_time(policy: SearchPolicy | UCTPolicy, world: Environment, seconds: float) -> SearchPolicy | UCTPolicy:
    """A player that looks ahead by as many simulations as a move may take on this machine, as it is now.

    Args:
        policy: who looks ahead.
        world: the game, whose first position the time is taken on.
        seconds: a move's; what is compiled before the first does not count.

    Raises:
        ModelError: when memory does not hold so many.
    """
    row, count = world.reset(jax.random.key(0))[1], 64
    for _ in range(2):  # A simulation costs a little more where there are many.
        player = _with(policy, count)
        think(player, row)
        began = time.perf_counter()
        think(player, row)
        count = max(1, int(count * seconds / (time.perf_counter() - began)))
    return _with(policy, count)


def _with(policy: SearchPolicy | UCTPolicy, simulations: int) -> Any:
    return replace(policy, config=replace(policy.config, simulations=simulations))  # type: ignore[type-var]


@constants.jit
def _searched(policy: SearchPolicy | UCTPolicy, row: TimeStep) -> tuple[Found, Array]:
    """The search, and what is thought before it."""
    if isinstance(policy, SearchPolicy):
        evaluator, discount, seed = evaluator_of(policy.network), policy.discount, policy.seed
    else:
        actions = row.legal.shape[0]  # type: ignore[union-attr]
        evaluator, discount, seed = rollouts(policy.model, actions), 1.0, 0
    found = policy.config.search(policy.model, evaluator, row, jax.random.key(seed), discount)
    return found, jax.nn.softmax(allowed(row.legal, evaluator(row.obs)[0]))


@constants.jit
def _heads(policy: Policy, row: TimeStep) -> dict[str, Array]:
    heads, _ = policy.step(row.obs, row.first, policy.initial_carry())
    told = {"policy": jax.nn.softmax(allowed(row.legal, heads["policy"].logits))}
    return told | ({"value": jnp.asarray(heads["value"])} if "value" in heads else {})
