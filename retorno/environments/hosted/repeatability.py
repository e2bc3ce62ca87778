"""Whether an environment lives an episode again as it was: what a run is resumed by, tried before it is trained.

A stretch of an episode is lived twice, with a reset between, and its first steps again and again: what an environment
keeps across resets often shows in one life of many only, and then from the first step on (BipedalWalker-v3 does, by how
Box2D's contacts come to lie in memory).
"""

from __future__ import annotations

import copy
import time
from typing import Any, NamedTuple

import gymnasium as gym
import jax
import numpy as np

from retorno.environments.hosted.legality import LegalReader, sample

STRETCH = 16
"""Steps that are lived twice."""
OFTEN, FEW = 24, 2
"""How often its first steps are lived again, and how many."""
SECONDS = 0.4
"""After so long it is enough: a slow world is tried by fewer steps."""
TOLD = ("action_mask", "only_action", "discount")
"""What an info says that is made rows of."""


class Lived(NamedTuple):
    """One row, as the environment gave it."""

    observation: Any
    reward: Any = 0.0
    terminated: Any = False
    truncated: Any = False
    info: Any = None


def why_not_repeated(env: gym.Env, seed: int, late: str = "") -> str | None:
    """What differed when an episode was lived again; None where nothing did. The environment is left in some state.

    Args:
        env: it must be nobody's else.
        seed: of the episode.
        late: what it says of legal actions with steps alone (`legality.told_by_a_step`).

    >>> why_not_repeated(gym.make("CartPole-v1"), 0) is None
    True
    """
    began = time.perf_counter()
    first = _live(env, seed, STRETCH, late, began + SECONDS / 3)
    if time.perf_counter() - began > 2 * SECONDS:
        return None  # To begin again takes too long: nothing is known.
    for length in (STRETCH, *[FEW] * OFTEN):
        again = _live(env, seed, min(length, len(first) - 1), late)
        for row, (before, after) in enumerate(zip(first, again, strict=False)):
            for what, one, other in zip(Lived._fields, before, after, strict=True):
                if (found := _difference(one, other)) is not None:
                    place, was, then = found
                    return f"{place}the {what} of row {row} was {was}, and {then} the next time"
        if len(again) <= min(length, len(first) - 1):
            return f"the episode ended after {len(again) - 1} steps, and did not the time before"
        if time.perf_counter() - began > SECONDS:
            break
    return None


def _live(env: gym.Env, seed: int, length: int, late: str, until: float = np.inf) -> list[Lived]:
    """The first rows of an episode of random actions, always the same: one step at least, if it has one."""
    actions = copy.deepcopy(env.action_space)
    actions.seed(seed)
    reader = LegalReader(actions, [env], late)
    observation, info = env.reset(seed=seed)
    reader.start(info)
    rows = [Lived(copy.deepcopy(observation), info=_told(info))]
    ended = False
    while not ended and len(rows) <= length and (len(rows) == 1 or time.perf_counter() < until):
        legal = jax.tree.map(lambda x: x[0], reader.read([info], [False], [len(rows) == 1]))
        observation, reward, terminated, truncated, info = env.step(sample(actions, legal))
        ended = bool(terminated or truncated)
        rows.append(Lived(copy.deepcopy(observation), reward, terminated, truncated, _told(info)))
    return rows


def _told(info: Any) -> dict[str, Any]:
    return {name: copy.deepcopy(info[name]) for name in TOLD if name in info}


def _difference(one: Any, other: Any) -> tuple[str, Any, Any] | None:
    """The first number in which two things that an environment gave differ, and where; None where they are equal."""
    leaves, there = jax.tree.leaves(one), jax.tree.leaves(other)
    if len(leaves) != len(there):
        return "", one, other
    for leaf, then in zip(leaves, there, strict=True):
        if not np.array_equal(leaf, then):
            before, after = np.asarray(leaf), np.asarray(then)
            if before.shape != after.shape or not before.shape:
                return "", leaf, then
            k = int(np.argmax(before.ravel() != after.ravel()))
            return f"number {k} of ", before.ravel()[k], after.ravel()[k]
    return None
