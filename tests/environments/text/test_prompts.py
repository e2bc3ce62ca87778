"""Prompts: a text by hand, prompts of different lengths together, their exact model, what is refused."""

from __future__ import annotations

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import retorno as rt
from retorno import bellman
from retorno.environments.hosted.export import to_gymnasium
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.environments.text.prompts import FREE, Prompts
from retorno.run.collect import collect
from retorno.run.evaluate import evaluate
from retorno.run.loop import begin_native

END, ALSO = 0, 5
WORLD = Prompts([[3, END, 2], [4]], vocabulary=8, ends=[END, ALSO], answer=3)
TALK = Prompts([[3, 1], [4]], vocabulary=8, ends=[END], answer=3, then=[[[6, END], [7]], []])
"""In the first conversation the other side speaks three times."""

reset = jax.jit(lambda world, key: world.reset(key))
step = jax.jit(lambda world, state, action, key: world.step(state, action, key))


def write(prompt: int, tokens: list[int], world: Prompts = WORLD) -> list[Any]:
    """The rows of a text that begins with this prompt, as far as it goes."""
    keys = (jax.random.key(i) for i in range(100))
    state, row = next(begun for begun in (reset(world, key) for key in keys) if begun[0].prompt == prompt)
    rows = [row]
    for token in tokens:
        state, row = step(world, state, jnp.int32(token), jax.random.key(0))
        rows.append(row)
        if row.last:
            break
    return rows


@pytest.mark.parametrize(
    ("prompt", "tokens", "left", "ended"),
    [
        # A token that ends answers is a token like any other within a prompt.
        (0, [END, 2, 7, 6, 1], [END, 2, FREE, FREE, FREE, FREE], 6),
        (0, [END, 2, 7, ALSO, 1], [END, 2, FREE, FREE, FREE], 5),
        (1, [END], [FREE, FREE], 2),
    ],
)
def test_a_text_by_hand(prompt: int, tokens: list[int], left: list[int], ended: int) -> None:
    rows = write(prompt, tokens)
    assert [int(row.obs) for row in rows] == [(3, 4)[prompt], *tokens][:ended]
    assert [int(row.legal.action) for row in rows] == left
    assert [bool(row.last) for row in rows] == [False] * (ended - 1) + [True]
    assert [float(row.discount) for row in rows] == [1.0] * (ended - 1) + [0.0], "an answer that is cut is over too"
    assert [bool(row.first) for row in rows] == [True] + [False] * (ended - 1)
    assert not any(float(row.reward) for row in rows)


def test_a_conversation_by_hand() -> None:
    """The other side's words leave no choice, and nothing in them is an end; an answer that is cut is answered too."""
    rows = write(0, [1, 5, END, 6, END, 5, 5, 5, 7, END, 2], TALK)
    assert [int(row.obs) for row in rows] == [3, 1, 5, END, 6, END, 5, 5, 5, 7, END]
    assert [int(row.legal.action) for row in rows] == [1, FREE, FREE, 6, END, FREE, FREE, FREE, 7, FREE, FREE]
    assert [bool(row.last) for row in rows] == [False] * 10 + [True]
    assert [float(row.discount) for row in rows] == [1.0] * 10 + [0.0]
    assert len(write(1, [END, 2], TALK)) == 2, "who is answered once is not spoken to again"


def test_conversations_of_any_length_go_side_by_side() -> None:
    """A rollout holds all that is said, and what the other side says is as it was written."""
    world = TALK.together()
    assert world.rows == 2 + 3 + 2 + 3 + 1 + 3
    algorithm = rt.PPO(network=rt.networks.MLP((8,)), num_envs=32, rollout=world.rows, minibatches=1)
    run = begin_native(algorithm, world, None, jnp.uint32(0), jnp.int32(100), 32)
    _, lived = jax.jit(lambda run: collect(algorithm, run.learner, world, run.stage, run.seed, jax.random.key(0)))(run)
    rows, choices = jax.tree.map(np.asarray, lived.steps), np.asarray(lived.choices)
    lengths = set()
    for env in range(32):
        begun = int(rows.first[: world.rows, env].argmax())
        over = begun + 1 + int(rows.last[begun + 1 :, env].argmax())
        said, free = rows.obs[begun : over + 1, env].tolist(), choices[begun:over, env].tolist()
        assert rows.discount[over, env] == 0, "nobody is cut off"
        given = [token for token, chosen in zip(said[1:], free, strict=True) if not chosen]
        assert [said[0], *given] == ([3, 1, 6, END, 7] if said[0] == 3 else [4])
        assert sum(free) <= 3 * (3 if said[0] == 3 else 1)
        lengths.add(len(said))
    assert len(lengths) > 3


@rt.hyperparameters
class Grouped(rt.PPO):
    group: int = 2


def test_shorter_prompts_wait_before_they_begin_and_groups_begin_alike() -> None:
    """On rows that are `last`, so that they are no part of the text: the last token of each prompt is in one row."""
    world = WORLD.together()
    algorithm = Grouped(network=rt.networks.MLP((8,)), num_envs=6, rollout=2 * world.rows, minibatches=1)
    run = begin_native(algorithm, world, None, jnp.uint32(0), jnp.int32(100), 6)
    _, lived = jax.jit(lambda run: collect(algorithm, run.learner, world, run.stage, run.seed, jax.random.key(0)))(run)
    rows = jax.tree.map(np.asarray, lived.steps)
    seen = np.zeros((2, 6), int)
    for env, turn in product(range(6), (0, 1)):
        start = turn * world.rows
        begun = start + int(rows.first[start : start + world.rows, env].argmax())
        prompt = [3, END, 2] if rows.obs[begun, env] == 3 else [4]
        free = start + world.prompt
        seen[turn, env] = len(prompt)
        assert begun == free + 1 - len(prompt) and rows.obs[begun : free + 1, env].tolist() == prompt
        assert rows.first[start : start + world.rows, env].sum() == 1
        assert rows.last[start:begun, env].all() and not rows.last[begun : free + 1, env].any()
        assert not lived.choices[start:free, env].any() and lived.choices[free, env]
    assert set(seen.ravel()) == {1, 3} and (seen[:, ::2] == seen[:, 1::2]).all()
    assert (lived.action[:, ::2] != lived.action[:, 1::2]).any(), "what is chosen differs"
    result = evaluate(run.learner.network, world, episodes=16)
    assert 1 <= result.lengths.min() < result.lengths.max() <= 3 + 2


def test_hosted_neighbours_begin_alike() -> None:
    """By the episode's number, in this process and in others."""
    for parallel in (False, 2):
        environments = gymnasium(lambda: to_gymnasium(WORLD), parallel=parallel).open(4, seed=0, group=2)
        try:
            begun = environments.reset().obs
        finally:
            environments.close()
        assert begun.tolist() == [3, 3, 4, 4]


def test_the_model_knows_the_value() -> None:
    """Of the best answer, and of one drawn evenly: by the model, and by adding up."""
    world = Prompts([[1], [2]], vocabulary=3, ends=[0], answer=2)

    def score(prompt: tuple[int, ...], answer: tuple[int, ...]) -> float:
        return float(prompt[0] * sum(answer) - (answer[-1] != 0))

    model = world.model(score)
    # [0], [1 0], [1 1], [1 2], [2 0], [2 1], [2 2]: 0, p, 2p − 1, 3p − 1, 2p, 3p − 1, 4p − 1.
    evenly = np.mean([sum([p, 2 * p - 1, 3 * p - 1, 2 * p, 3 * p - 1, 4 * p - 1]) / 9 for p in (1, 2)])
    assert bellman.solve(model, discount=1.0).start_value == pytest.approx(np.mean([3, 7]))
    assert bellman.evaluate(model, bellman.uniform, discount=1.0).start_value == pytest.approx(evenly)


def test_prompts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="there is no prompt"):
        Prompts([], 8)
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        Prompts([[1], []], 8)
    with pytest.raises(ValueError, match=r"prompt 1 holds token 8: tokens are 0 to 7"):
        Prompts([[1], [2, 8]], 8)
    with pytest.raises(ValueError, match="prompt 0 holds token -1"):
        Prompts([[-1], [2, 8]], 8)
    with pytest.raises(ValueError, match="ends holds token 9"):
        Prompts([[1]], 8, ends=[0, 9])
    with pytest.raises(ValueError, match="turn 2 of prompt 0 is empty"):
        Prompts([[1]], 8, then=[[[]]])
    with pytest.raises(ValueError, match="turn 3 of prompt 0 holds token 8"):
        Prompts([[1]], 8, then=[[[1], [8]]])
    with pytest.raises(ValueError, match="got 1 for 2"):
        Prompts([[1], [2]], 8, then=[[]])
    with pytest.raises(ValueError, match="answered once: here the other side speaks again"):
        TALK.model(lambda prompt, answer: 0.0)
    with pytest.raises(ValueError, match="one token or more"):
        Prompts([[1]], 8, answer=0)
